"""The training step of ResNet-50 in PyTorch, eager or compiled, for `scripts/gpu/bench`.

    python3 bench_gpu.py STACK SIDE BATCH STEPS eager|compile cpu|cuda

STACK is `baseline` (soft cross-entropy) or `optimized` (BlurPool as depthwise convolutions, binary
cross-entropy, an average of the weights every 20 steps, images of 176 px resized on the device),
each with autocast to bf16 on channels-last images, decoupled SGD, and uint8 images and labels copied
from pinned memory to the device in every step. Prints one line of JSON.
"""
import json
import sys
import time

import torch
from torch import nn
from torch.nn import functional

WARM_UP = 5
EMA_INTERVAL, EMA_SHARE = 20, 1 - 2 ** (-20 / 100)
CROP = 176  # of the optimized recipe


class Blur(nn.Module):
    def __init__(self, channels, stride):
        super().__init__()
        row = torch.tensor([1.0, 2.0, 1.0])
        self.register_buffer("kernel", (row[:, None] * row / 16).repeat(channels, 1, 1, 1))
        self.stride = stride

    def forward(self, x):
        return functional.conv2d(x, self.kernel.to(x.dtype), None, self.stride, 1, 1, x.shape[1])


def conv(inputs, outputs, kernel, stride, blurred):
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(Blur(inputs, 1), layer) if blurred and stride > 1 and inputs >= 16 else layer


class Bottleneck(nn.Module):
    def __init__(self, inputs, width, stride, blurred):
        super().__init__()
        self.branch = nn.Sequential(
            conv(inputs, width, 1, 1, blurred), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
            conv(width, width, 3, stride, blurred), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
            conv(width, 4 * width, 1, 1, blurred), nn.BatchNorm2d(4 * width),
        )
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != 4 * width:
            self.shortcut = nn.Sequential(
                conv(inputs, 4 * width, 1, stride, blurred), nn.BatchNorm2d(4 * width))

    def forward(self, x):
        y = self.branch(x)
        y += self.shortcut(x)
        return y.relu_()


def resnet50(blurred):
    pool = [nn.MaxPool2d(3, 1, 1), Blur(64, 2)] if blurred else [nn.MaxPool2d(3, 2, 1)]
    layers = [conv(3, 64, 7, 2, False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), *pool]
    inputs = 64
    for stage, depth in enumerate((3, 4, 6, 3)):
        for block in range(depth):
            width = 64 << stage
            layers.append(Bottleneck(inputs, width, 2 if stage and not block else 1, blurred))
            inputs = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 1000))


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
