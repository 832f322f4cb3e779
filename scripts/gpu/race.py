"""The race of `scripts/gpu/race`. Each arm is timed from its first training image to the end of the evaluation
that exceeds the target, after a warm-up on synthetic images, as MLPerf's rules time a run."""
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib

import torch
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from resnet import resnet50

PROGRAM = pathlib.Path("target/gpu/mlperf-run")
OUT = pathlib.Path(os.environ.get("OUT", "target/gpu/race"))
DEVICE = os.environ.get("DEVICE", "cuda")
WORKERS = int(os.environ.get("WORKERS", "12"))
CHANGES = [part for change in os.environ.get("SET", "").split() for part in ("--set", change)]
LIBTORCH = os.path.dirname(torch.__file__)
# Side of the decoded images that the second arm keeps on the GPU, px.
KEPT = 224


def run(*arguments):
    done = subprocess.run([PROGRAM, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    if done.returncode not in (0, 5):  # 5: the target was missed
        sys.exit(f"gpu/race: mlperf-run {arguments[0]} ended with code {done.returncode}")
    return done.stdout


def ours(store, scratch):
    """Minutes to the target, or None; and the accuracies."""
    run("--recipe", "demo/gpu", "--data", store, "--device", DEVICE, "--results", scratch, "--system", "race",
        "--libtorch", LIBTORCH, *CHANGES)
    log = scratch / "race" / "resnet" / "result_0.txt"
    times, accuracies = {}, []
    for line in log.read_text().splitlines():
        record = json.loads(line.partition(":::MLLOG ")[2])
        if record["key"] in ("run_start", "run_stop"):
            times[record["key"]] = record["time_ms"]
            status = record["metadata"].get("status")
        if record["key"] == "eval_accuracy":
            accuracies.append(record["value"])
    minutes = (times["run_stop"] - times["run_start"]) / 60e3
    return minutes if status == "success" else None, accuracies


class Images(Dataset):
    """The files of a split, decoded by Pillow: random crops to train on, centre crops to evaluate."""

    def __init__(self, folder, recipe, split):
        self.classes = {name: i for i, name in enumerate(sorted(os.listdir(folder / split)))}
        self.files = sorted((folder / split).glob("*/*"))
        self.recipe, self.is_train = recipe["data"], split == "train"

    def __len__(self):
        return len(self.files)

    def decoded(self, i):
        from PIL import Image
        return Image.open(self.files[i]).convert("RGB"), self.classes[self.files[i].parent.name]

    def __getitem__(self, i):
        import numpy
        image, label = self.decoded(i)
        if self.is_train:
            side = self.recipe["train"]["crop_size"]
            left, top, width, height = random_box(*image.size, self.recipe["train"])
            image = image.resize((side, side), 2, (left, top, left + width, top + height))
            if torch.rand(()) < self.recipe["train"]["hflip"]:
                image = image.transpose(0)
        else:
            side = self.recipe["eval"]["crop_size"]
            part = side / self.recipe["eval"]["resize_size"] * min(image.size)
            left, top = (image.width - part) / 2, (image.height - part) / 2
            image = image.resize((side, side), 2, (left, top, left + part, top + part))
        return torch.from_numpy(numpy.array(image)), label


class Kept(Images):
    """Whole images at one size."""

    def __getitem__(self, i):
        import numpy
        image, label = self.decoded(i)
        return torch.from_numpy(numpy.array(image.resize((KEPT, KEPT), 2))), label


def random_box(width, height, crop):
    """torchvision's RandomResizedCrop: left, top, width and height in pixels."""
    for _ in range(10):
        area = width * height * float(torch.empty(()).uniform_(*crop["scale"]))
        ratio = math.exp(float(torch.empty(()).uniform_(*map(math.log, crop["ratio"]))))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(torch.randint(width - w + 1, ())), int(torch.randint(height - h + 1, ())), w, h
    return 0, 0, width, height


class Resident:
    """All images on the device, decoded. Crops are sampled there."""

    def __init__(self, dataset, batch, crop, side):
        loader = DataLoader(Kept(*dataset), 256, num_workers=WORKERS)
        parts = [(images.to(DEVICE), labels.to(DEVICE)) for images, labels in loader]
        self.pixels, self.labels = (torch.cat(part) for part in zip(*parts))
        self.batch, self.crop, self.side = batch, crop, side

    def __iter__(self):
        order = torch.randperm(len(self.labels), device=DEVICE) if self.crop else torch.arange(len(self.labels), device=DEVICE)
        for part in order.split(self.batch):
            if self.crop and len(part) < self.batch:
                return
            images = self.pixels[part].permute(0, 3, 1, 2).float()
            yield functional.grid_sample(images, self.boxes(len(part)), align_corners=False), self.labels[part]

    def boxes(self, num):
        """Random boxes with the recipe's areas, and flips; whole images in evaluation."""
        scale, shift = torch.ones(num, 2, device=DEVICE), torch.zeros(num, 2, device=DEVICE)
        if self.crop:
            area = torch.empty(num, device=DEVICE).uniform_(*self.crop["scale"])
            ratio = torch.empty(num, device=DEVICE).uniform_(*map(math.log, self.crop["ratio"])).exp()
            scale = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], 1).clamp(max=1)
            shift = (2 * torch.rand(num, 2, device=DEVICE) - 1) * (1 - scale)
            scale[:, 0] *= (torch.rand(num, device=DEVICE) < 0.5) * 2 - 1
        theta = torch.cat([torch.diag_embed(scale), shift[:, :, None]], 2)
        return functional.affine_grid(theta, (num, 3, self.side, self.side), align_corners=False)


def to_device(images):
    """Images of a loader, [N, H, W, 3] uint8, on the device; others as they are."""
    if images.dtype != torch.uint8:
        return images
    return images.to(DEVICE, non_blocking=True).permute(0, 3, 1, 2).float()


def pytorch(recipe, sides, train, evaluation):
    """Minutes to the target, or None; and the accuracies."""
    torch.manual_seed(recipe["run"]["seed"])
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    num_classes = recipe["data"]["synth"]["num_classes"]
    model = resnet50(True, num_classes).to(DEVICE, memory_format=torch.channels_last)
    torch.nn.init.constant_(model[-1].bias, -math.log(num_classes))
    rule, smoothing = recipe["optimizer"], recipe["algorithms"]["label_smoothing"]["smoothing"]
    ema, num_epochs, batch = recipe["algorithms"]["ema"], len(sides), recipe["train"]["batch_size"]
    interval = int(ema["update_interval"].removesuffix("ba"))
    keep = 2 ** (-interval / int(ema["half_life"].removesuffix("ba")))
    parameters = list(model.parameters())
    weights = [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]
    average = None
    optimizer = torch.optim.SGD(parameters, lr=rule["lr"], momentum=rule["momentum"], fused=DEVICE == "cuda")
    mean = 255 * torch.tensor(recipe["data"]["mean"], device=DEVICE)[:, None, None]
    std = 255 * torch.tensor(recipe["data"]["std"], device=DEVICE)[:, None, None]

    def step(images, labels, side, lr):
        images = (to_device(images) - mean) / std
        if images.shape[-1] != side:
            images = functional.interpolate(images, size=side, mode="nearest")
        images = images.contiguous(memory_format=torch.channels_last)
        targets = torch.full((len(labels), num_classes), smoothing / num_classes, device=DEVICE)
        targets.scatter_(1, labels.to(DEVICE, non_blocking=True)[:, None], 1 - smoothing + smoothing / num_classes)
        with torch.autocast(DEVICE, torch.bfloat16):
            logits = model(images)
        loss = functional.binary_cross_entropy_with_logits(logits.float(), targets, reduction="sum") / len(labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.param_groups[0]["lr"] = lr
        with torch.no_grad():
            torch._foreach_mul_(parameters, 1 - rule["weight_decay"] * lr / rule["lr"])
        optimizer.step()

    def rate(number, num_steps):
        num_warm_up = num_steps * int(recipe["scheduler"]["t_warmup"].removesuffix("ep")) // num_epochs
        if number < num_warm_up:
            return rule["lr"] * number / num_warm_up
        return rule["lr"] * 0.5 * (1 + math.cos(math.pi * (number - num_warm_up) / (num_steps - num_warm_up)))

    # Algorithms are chosen and memory is allocated on synthetic images; then everything is put back.
    saved = [tensor.clone() for tensor in model.state_dict().values()]
    crop = recipe["data"]["train"]["crop_size"]
    for side in sorted(set(sides)):
        for _ in range(3):
            step(torch.full((batch, 3, crop, crop), 128.0, device=DEVICE), torch.zeros(batch, dtype=torch.int64), side, 0.0)
    with torch.no_grad():
        for tensor, before in zip(model.state_dict().values(), saved):
            tensor.copy_(before)
    optimizer.state.clear()

    accuracies, number, start = [], 0, time.monotonic()
    num_steps = num_epochs * (recipe["data"]["synth"]["num_train"] // batch)
    for epoch, side in enumerate(sides, 1):
        for images, labels in train:
            step(images, labels, side, rate(number, num_steps))
            number += 1
            if number % interval == 0:
                with torch.no_grad():
                    if average is None:
                        average = [tensor.clone() for tensor in weights]
                    torch._foreach_lerp_(average, weights, 1 - keep)
        if epoch < int(recipe["eval"]["start"].removesuffix("ep")):
            continue
        trained = [tensor.clone() for tensor in weights]
        if average:
            torch._foreach_copy_(weights, average)
        model.eval()
        correct = torch.zeros((), device=DEVICE)
        num = 0
        with torch.no_grad(), torch.autocast(DEVICE, torch.bfloat16):
            for images, labels in evaluation:
                images = ((to_device(images) - mean) / std).contiguous(memory_format=torch.channels_last)
                correct += (model(images).argmax(1) == labels.to(DEVICE)).sum()
                num += len(labels)
        accuracies.append(float(correct) / num)
        model.train()
        torch._foreach_copy_(weights, trained)
        if accuracies[-1] > recipe["mlperf"]["target"]:
            return (time.monotonic() - start) / 60, accuracies
    return None, accuracies


def main():
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="race-"))
    plan = run("plan", "--recipe", "demo/gpu", *CHANGES)
    recipe = tomllib.loads(plan)
    table = [line.split() for line in plan.splitlines() if line.startswith("#  ")]
    sides = [int(cells[2]) for cells in table if cells[1].isdigit()]
    synth, batch = recipe["data"]["synth"], recipe["train"]["batch_size"]
    folder, store = scratch / "images", scratch / "store"
    named = [part for key in ("num_classes", "num_train", "num_eval", "size", "difficulty", "seed")
             for part in (f"--{key.replace('_', '-')}", synth[key])]
    run("data", "synth", "--out", folder, *named)
    run("data", "import", folder, "--out", store)

    arms = {"mlperf-run": lambda: ours(store, scratch / "results")}
    try:
        import PIL  # noqa: F401
        datasets = [(folder, recipe, split) for split in ("train", "val")]
        arms[f"PyTorch, {WORKERS} workers"] = lambda: pytorch(
            recipe, sides,
            DataLoader(Images(*datasets[0]), batch, shuffle=True, drop_last=True, num_workers=WORKERS,
                       pin_memory=DEVICE == "cuda", persistent_workers=True),
            DataLoader(Images(*datasets[1]), recipe["eval"]["batch_size"], num_workers=WORKERS,
                       pin_memory=DEVICE == "cuda", persistent_workers=True))
        arms["PyTorch, images on the device"] = lambda: pytorch(
            recipe, sides,
            Resident(datasets[0], batch, recipe["data"]["train"], recipe["data"]["train"]["crop_size"]),
            Resident(datasets[1], recipe["eval"]["batch_size"], None, recipe["data"]["eval"]["crop_size"]))
    except ImportError:
        print("gpu/race: no Pillow here, so PyTorch cannot decode images and does not run", file=sys.stderr)

    results = {}
    for name, arm in arms.items():
        minutes, accuracies = arm()
        results[name] = {"minutes": minutes, "accuracies": accuracies}
        said = f"{minutes:.2f} minutes" if minutes else "target missed"
        print(f"{name:<32} {said:<16} after {len(accuracies)} evaluations, {100 * accuracies[-1]:.2f} %", flush=True)
    OUT.mkdir(parents=True, exist_ok=True)
    version = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True).stdout.strip()
    (OUT / "race.json").write_text(json.dumps({"version": version, "results": results}, indent=1))
    shutil.rmtree(scratch)


main()
