"""The images, the peers and the report of `scripts/bench/data`."""

import ctypes
import pathlib
import random
import statistics
import sys
import time


def photos(source, target):
    """Compresses the generated set as finely as ImageNet's photographs: 116 KB per image on average."""
    from PIL import Image
    for file in sorted(pathlib.Path(source).rglob("*.JPEG")):
        copy = pathlib.Path(target) / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        Image.open(file).save(copy, quality=97, subsampling="4:2:0")


def take(store, target):
    """Writes the training images of a store as files of the same quality, without the store's markers."""
    import io

    import pyarrow
    from PIL import Image
    pathlib.Path(target).mkdir()
    for shard in sorted(pathlib.Path(store).glob("train-*.arrow")):
        table = pyarrow.ipc.open_stream(shard).read_all()
        for row, cell in enumerate(table["image"].to_pylist()):
            image = Image.open(io.BytesIO(cell["bytes"]))
            image.save(pathlib.Path(target, f"{shard.stem}-{row:05}.JPEG"), quality="keep")


def image_files(folder):
    return sorted(pathlib.Path(folder).rglob("*.JPEG"))


def measure(number, side, name, files, path):
    """Prints the rate of `path` over `files` after a warm-up on some of them."""
    for file in files[:64]:
        path(file)
    start = time.process_time()
    for file in files:
        path(file)
    rate = len(files) / (time.process_time() - start)
    print(number, side, name, f"{rate:.0f}", sep="\t", flush=True)


def torchvision_paths(side):
    """Yields the name of each path and its function from a file to a crop."""
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
    for side in map(int, sides.split(",")):
        for name, path in torchvision_paths(side):
            measure(number, side, name, image_files(folder), path)


def dali(number, sides, folder):
    """Measures DALI's decoder of random crops on the CPU with one thread."""
    from nvidia.dali import fn, pipeline_def, types

    files = list(map(str, image_files(folder)))

    @pipeline_def(batch_size=64, num_threads=1, device_id=None)
    def crops(side):
        jpegs, _ = fn.readers.file(files=files)
        decoded = fn.decoders.image_random_crop(jpegs, device="cpu", output_type=types.RGB)
        resized = fn.resize(decoded, size=(side, side), interp_type=types.INTERP_TRIANGULAR)
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


def ffcv(number, sides, name, folder):
    """Measures FFCV's path for JPEGs, which decodes the whole image and then resizes the crop, by its own C
    functions. The images are in memory and the crops are drawn beforehand, so the rate is that of FFCV's
    compiled loops."""
    import numpy
    from PIL import Image
    from torchvision.transforms import RandomResizedCrop

    library = ctypes.CDLL(next(map(str, pathlib.Path(".peers/ffcv").rglob("_libffcv*.so"))))
    library.resize.argtypes = 11 * [ctypes.c_int64]
    library.imdecode.argtypes = (
        [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p]
        + 6 * [ctypes.c_uint32] + 2 * [ctypes.c_bool])
    for side in map(int, sides.split(",")):
        crop = numpy.empty((side, side, 3), numpy.uint8)
        whole = numpy.empty(4096 * 4096 * 3, numpy.uint8)
        jobs = []
        for file in image_files(folder):
            image = Image.open(file)
            width, height = image.size
            box = RandomResizedCrop.get_params(image, (0.08, 1.0), (3 / 4, 4 / 3))
            jobs.append((numpy.fromfile(file, numpy.uint8), height, width, box))

        def path(job):
            jpeg, height, width, (top, left, rows, columns) = job
            failed = library.imdecode(jpeg.ctypes.data, jpeg.size, height, width, whole.ctypes.data,
                                      height, width, 0, 0, 1, 1, False, False)
            assert not failed
            library.resize(0, whole.ctypes.data, height, width, top, top + rows, left, left + columns,
                           crop.ctypes.data, side, side)

        random.shuffle(jobs)
        measure(number, side, name, jobs, path)


# The path that the report compares each path with, where that is not the store with a bilinear filter.
# A peer is compared with our path whose filter is closest to its own, our own paths with the one that they
# should improve on.
OURS = {
    "FFCV": "mlperf-run, store, area",
    "mlperf-run, files, area": "mlperf-run, store, area",
    "mlperf-run, files, bilinear": "mlperf-run, store, bilinear",
    "mlperf-run, store, bilinear, dct_scale": "mlperf-run, store, bilinear",
    "mlperf-run, store, area, dct_scale": "mlperf-run, store, area",
    "mlperf-run, store, bilinear, cache": "mlperf-run, store, bilinear",
    "mlperf-run, store, area, cache": "mlperf-run, store, area",
    "FFCV, 400 px": "mlperf-run, 400 px, area",
    "mlperf-run, 400 px, area, cache": "mlperf-run, 400 px, area",
    "mlperf-run, 400 px, bilinear, cache": "mlperf-run, 400 px, bilinear",
    "mlperf-run, store, area, by the clock, 1 threads": "mlperf-run, store, area, by the clock, 2 threads",
}


def report(table):
    rates = {}
    for line in open(table):
        if line[0].isdigit():
            _, side, name, rate = line.rstrip("\n").split("\t")
            rates.setdefault((int(side), name), []).append(float(rate))
    medians = {key: statistics.median(values) for key, values in rates.items()}
    for (side, name), values in sorted(rates.items()):
        line = f"{side:4} px  {name:50} {medians[side, name]:6.0f} images/s " \
            f"({min(values):.0f} to {max(values):.0f}, n = {len(values)})"
        ours = OURS.get(name, None if name.startswith("mlperf-run") else "mlperf-run, store, bilinear")
        if (side, ours) in medians:
            line += f", {ours.removeprefix('mlperf-run, ')} / it = {medians[side, ours] / medians[side, name]:.2f}"
        print(line)


VERBS = {"photos": photos, "take": take, "run": run, "dali": dali, "ffcv": ffcv, "report": report}
VERBS[sys.argv[1]](*sys.argv[2:])
