#!/usr/bin/env python3
"""Writes tests/golden/update_bn.json: batch norm's statistics that torch.optim.swa_utils.update_bn takes.

    .peers/torch/bin/python scripts/oracle/golden_update_bn.py > tests/golden/update_bn.json

A ResNet-18 in float64 with weights and images by formula reads three steps of eight images, whole or
in the parts of two ranks. Written are the first four numbers of each statistic. Needs torch
(scripts/bench/setup-peers).
"""

import json

import torch
import torchvision
from torch.optim.swa_utils import update_bn

NUM_CLASSES = 4
IMAGE_SIZE = 16
BATCH = 8
NUM_STEPS = 3
MEAN = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64)
STD = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64)


def network():
    net = torchvision.models.resnet18(num_classes=NUM_CLASSES).double()
    for i, tensor in enumerate(net.parameters()):
        numbers = [(i + 31 * j) % 17 for j in range(tensor.numel())]
        # In fp32, like ours.
        numbers = torch.tensor(numbers, dtype=torch.float32) / 34.0 - 0.2
        tensor.data.copy_(numbers.double().view_as(tensor))
    return net


def batch(step, first, last):
    size = IMAGE_SIZE * IMAGE_SIZE * 3
    pixels = [((i * 2654435761 + step * 97) >> 7) & 0xFF for i in range(first * size, last * size)]
    images = torch.tensor(pixels, dtype=torch.float64).view(-1, IMAGE_SIZE, IMAGE_SIZE, 3)
    return ((images / 255 - MEAN) / STD).permute(0, 3, 1, 2)


def statistics(world_size):
    net, share = network(), BATCH // world_size
    parts = range(0, BATCH, share)
    update_bn([batch(step, at, at + share) for step in range(NUM_STEPS) for at in parts], net)
    buffers = net.named_buffers()
    return {name: tensor[:4].tolist() for name, tensor in buffers if "running" in name}


made_with = {"torch": torch.__version__, "torchvision": torchvision.__version__}
by_world_size = {str(world_size): statistics(world_size) for world_size in (1, 2)}
print(json.dumps({"made_with": made_with, "by_world_size": by_world_size}, indent=1))
