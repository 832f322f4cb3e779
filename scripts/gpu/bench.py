"""The training step of ResNet-50 in PyTorch, eager or compiled, for `scripts/gpu/bench`.

    python3 bench.py STACK SIDE BATCH STEPS eager|compile cpu|cuda

STACK is `baseline` (soft cross-entropy) or `optimized` (BlurPool as depthwise convolutions, binary
cross-entropy, an average of the weights every 20 steps, images of 176 px resized on the device),
each with autocast to bf16 on channels-last images, decoupled SGD, and uint8 images and labels copied
from pinned memory to the device in every step. Prints one line of JSON.
"""
import json
import sys
import time

import torch
from torch.nn import functional

from resnet import resnet50

WARM_UP = 5
EMA_INTERVAL, EMA_SHARE = 20, 1 - 2 ** (-20 / 100)
CROP = 176  # of the optimized recipe


def main():
    stack, side, batch, steps, mode, device = sys.argv[1:]
    side, batch, steps, optimized = int(side), int(batch), int(steps), stack == "optimized"
    torch.manual_seed(1)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    model = resnet50(optimized).to(device, memory_format=torch.channels_last)
    forward = torch.compile(model) if mode == "compile" else model
    parameters = list(model.parameters())
    average = [tensor.detach().clone() for tensor in model.state_dict().values()]
    optimizer = torch.optim.SGD(parameters, lr=0.01, momentum=0.875, fused=True)
    crop = max(side, CROP) if optimized else side
    pixels = torch.randint(256, (batch, crop, crop, 3), dtype=torch.uint8)
    labels = torch.arange(batch) % 1000
    if device == "cuda":
        pixels, labels = pixels.pin_memory(), labels.pin_memory()
    scale = torch.full((1, 3, 1, 1), 1 / 58.0, device=device)

    def step(number):
        images = pixels.to(device, non_blocking=True).permute(0, 3, 1, 2)
        images = (images.float() - 120.0) * scale
        if crop != side:
            images = functional.interpolate(images, size=side, mode="nearest")
        targets = torch.full((batch, 1000), 0.08 / 1000, device=device)
        targets.scatter_(1, labels.to(device, non_blocking=True)[:, None], 1 - 0.08 + 0.08 / 1000)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16):
            logits = forward(images)
        logits = logits.float()
        if optimized:
            loss = functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / batch
        else:
            loss = functional.cross_entropy(logits, targets)
        loss.backward()
        with torch.no_grad():
            torch._foreach_mul_(parameters, 1 - 5e-4 * 0.01 / 2.048)
        optimizer.step()
        if optimized and number % EMA_INTERVAL == 0:
            floats = [(a, b) for a, b in zip(average, model.state_dict().values()) if a.is_floating_point()]
            torch._foreach_lerp_([a for a, _ in floats], [b for _, b in floats], EMA_SHARE)

    for number in range(1, WARM_UP + 1):
        step(number)
    # Five steps at a time, as `mlperf-run bench step` does, so that the GPU's queue stays full.
    lap = min(steps, 5 if device == "cuda" else 1)
    times = []
    for first in range(WARM_UP + 1, WARM_UP + steps // lap * lap + 1, lap):
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        for number in range(first, first + lap):
            step(number)
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(1e3 * (time.perf_counter() - start) / lap)
    times.sort()
    median = times[len(times) // 2]
    spread = [times[0], median, times[-1]]
    print(json.dumps({"images_per_s": 1e3 * batch / median, "step_ms": spread}))


main()
