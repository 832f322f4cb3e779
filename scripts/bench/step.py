"""The training step of `benches/step.rs` in PyTorch: the same operations on the same shapes.

Prints the seconds of each counted step. The file contains its own network because the comparison does not
include torchvision.
"""
import os
import time

import torch
from torch import nn


def conv(inputs, outputs, kernel, stride=1):
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


class Bottleneck(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        self.branch = nn.Sequential(
            conv(inputs, width, 1), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
            conv(width, width, 3, stride), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
            conv(width, 4 * width, 1), nn.BatchNorm2d(4 * width),
        )
        self.shortcut = None
        if stride != 1 or inputs != 4 * width:
            self.shortcut = nn.Sequential(conv(inputs, 4 * width, 1, stride), nn.BatchNorm2d(4 * width))

    def forward(self, x):
        y = self.branch(x)
        y += x if self.shortcut is None else self.shortcut(x)
        return y.relu_()


def resnet50():
    layers = [conv(3, 64, 7, 2), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for stage, depth in enumerate((3, 4, 6, 3)):
        for block in range(depth):
            width = 64 << stage
            layers.append(Bottleneck(inputs, width, 2 if stage and not block else 1))
            inputs = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 1000))


def main():
    torch.manual_seed(1)
    batch, side = int(os.environ["BENCH_BATCH"]), int(os.environ["BENCH_SIDE"])
    half = os.environ["BENCH_PRECISION"] == "amp_bf16"
    model = resnet50().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.875, fused=True)
    images = torch.randn(batch, 3, side, side).to(memory_format=torch.channels_last)
    targets = torch.full((batch, 1000), 0.001)
    for step in range(2 + int(os.environ["BENCH_STEPS"])):
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = model(images)
        nn.functional.cross_entropy(logits.float(), targets).backward()
        # Decoupled decay, as in `benches/step.rs`.
        with torch.no_grad():
            torch._foreach_mul_(list(model.parameters()), 1 - 5e-4 * 0.01 / 2.048)
        optimizer.step()
        if step >= 2:
            print(time.perf_counter() - start)


main()
