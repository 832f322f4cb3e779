"""ResNet-50 in plain PyTorch, with BlurPool as depthwise convolutions where `blurred`."""
import torch
from torch import nn
from torch.nn import functional


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


def resnet50(blurred, num_classes=1000):
    pool = [nn.MaxPool2d(3, 1, 1), Blur(64, 2)] if blurred else [nn.MaxPool2d(3, 2, 1)]
    layers = [conv(3, 64, 7, 2, False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), *pool]
    inputs = 64
    for stage, depth in enumerate((3, 4, 6, 3)):
        for block in range(depth):
            width = 64 << stage
            layers.append(Bottleneck(inputs, width, 2 if stage and not block else 1, blurred))
            inputs = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, num_classes))
