"""Peers of the data bench, and its report; see bench-data."""

import pathlib
import statistics
import sys
import time


def paths(side):
    """Name and function from a file to a crop, of every peer that can be imported."""
    import torchvision
    from PIL import Image
    from torchvision import transforms as v1
    from torchvision.transforms import v2

    pil = v1.Compose([v1.RandomResizedCrop(side), v1.RandomHorizontalFlip(), v1.PILToTensor()])
    yield "Pillow + torchvision, uint8", lambda path: pil(Image.open(path).convert("RGB"))
    example = v1.Compose([
        v1.RandomResizedCrop(side), v1.RandomHorizontalFlip(), v1.ToTensor(),
        v1.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])])
    yield "Pillow + torchvision, PyTorch's example", lambda path: example(Image.open(path).convert("RGB"))
    tensors = v2.Compose([v2.RandomResizedCrop(side, antialias=True), v2.RandomHorizontalFlip()])
    rgb = torchvision.io.ImageReadMode.RGB
    yield "torchvision.io + v2, uint8", lambda path: tensors(torchvision.io.decode_jpeg(
        torchvision.io.read_file(str(path)), mode=rgb))


def run(number, sides, folder):
    import torch
    torch.set_num_threads(1)
    files = sorted(pathlib.Path(folder).rglob("*.JPEG"))
    for side in map(int, sides.split(",")):
        for name, path in paths(side):
            for file in files[:64]:
                path(file)
            start = time.process_time()
            for file in files:
                path(file)
            rate = len(files) / (time.process_time() - start)
            print(number, side, name, f"{rate:.0f}", sep="\t", flush=True)


def dali(number, sides, folder):
    """DALI on the processor: its decoder of random crops, one thread."""
    from nvidia.dali import fn, pipeline_def, types

    files = sorted(map(str, pathlib.Path(folder).rglob("*.JPEG")))

    @pipeline_def(batch_size=64, num_threads=1, device_id=None)
    def crops(side):
        jpegs, _ = fn.readers.file(files=files)
        pictures = fn.decoders.image_random_crop(jpegs, device="cpu", output_type=types.RGB)
        resized = fn.resize(pictures, size=(side, side), interp_type=types.INTERP_TRIANGULAR)
        return fn.flip(resized, horizontal=fn.random.coin_flip())

    for side in map(int, sides.split(",")):
        pipeline = crops(side)
        pipeline.build()
        pipeline.run()
        start = time.process_time()
        for _ in range(len(files) // 64):
            pipeline.run()
        rate = len(files) // 64 * 64 / (time.process_time() - start)
        print(number, side, "DALI, processor", f"{rate:.0f}", sep="\t", flush=True)


def report(table):
    rates = {}
    for line in open(table):
        if line[0].isdigit():
            _, side, name, rate = line.rstrip("\n").split("\t")
            rates.setdefault((int(side), name), []).append(float(rate))
    medians = {key: statistics.median(values) for key, values in rates.items()}
    for (side, name), values in sorted(rates.items()):
        ratio = medians[side, "mlperf-run, store"] / medians[side, name]
        print(f"{side:4} px  {name:42} {medians[side, name]:6.0f} images/s/core "
              f"({min(values):.0f} to {max(values):.0f}, n = {len(values)}), store / it = {ratio:.2f}")


{"run": run, "dali": dali, "report": report}[sys.argv[1]](*sys.argv[2:])
