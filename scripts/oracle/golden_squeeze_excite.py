#!/usr/bin/env python3
"""Writes tests/golden/squeeze_excite.json: passes of torchvision's ResNets with squeeze-and-excitation.

    .peers/torch/bin/python scripts/oracle/golden_squeeze_excite.py > tests/golden/squeeze_excite.json

As Composer places it: after each convolution with at least min_channels inputs and outputs, with two
linear layers without biases (Hu et al. 2018, section 3). In float64. Weights and images are filled by
the hash that resnet_forward.json uses. Needs torch (scripts/bench/setup-peers).
"""

import json

import numpy
import torch
import torchvision
from torch import nn

SALT = 77
CASES = [
    ("resnet18", 64, 128, [3, 3, 40, 40]),
    ("resnet50", 0.125, 256, [2, 3, 33, 33]),
]
NUM_CLASSES = 5
SMOOTHING = 0.1


def hash_fill(number, shape):
    """Numbers in [-0.5, 0.5), by element, in unsigned 32-bit arithmetic."""
    i = numpy.arange(int(numpy.prod(shape)), dtype=numpy.uint64)
    mask = numpy.uint64(0xFFFFFFFF)
    def times(x, factor):
        return (x * numpy.uint64(factor)) & mask
    start = (number * 2246822519 + SALT * 3266489917) & 0xFFFFFFFF
    x = (times(i, 2654435761) + numpy.uint64(start)) & mask
    x = times(x ^ (x >> numpy.uint64(15)), 2246822519)
    x = times(x ^ (x >> numpy.uint64(13)), 3266489917)
    x ^= x >> numpy.uint64(16)
    return torch.from_numpy(x.astype(numpy.float64) / 2.0**32 - 0.5).reshape(shape)


class Excited(nn.Module):
    """A convolution whose channels are weighed by what all of its pixels show."""

    def __init__(self, conv, latent):
        super().__init__()
        self.conv = conv
        hidden = int(latent if latent >= 1 else latent * conv.out_channels)
        self.fc1 = nn.Linear(conv.out_channels, hidden, bias=False)
        self.fc2 = nn.Linear(hidden, conv.out_channels, bias=False)

    def forward(self, x):
        x = self.conv(x)
        weights = torch.sigmoid(self.fc2(torch.relu(self.fc1(x.mean(dim=(2, 3))))))
        return x * weights[:, :, None, None]


def excite(module, latent, least):
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d):
            if min(child.in_channels, child.out_channels) >= least:
                setattr(module, name, Excited(child, latent))
        else:
            excite(child, latent, least)


def fill(net):
    for p, (name, tensor) in enumerate(net.named_parameters()):
        v = hash_fill(p, list(tensor.shape))
        if tensor.dim() >= 2:
            v = v * 12**0.5 * (2.0 / tensor[0].numel()) ** 0.5
        else:
            v = v * 0.4 + 0.5 if name.endswith("weight") else v * 0.2
        tensor.data.copy_(v)
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    for k, norm in enumerate(norms):
        v = hash_fill(5000 + k, list(norm.running_mean.shape))
        norm.running_mean.copy_(v * 0.2)
        norm.running_var.copy_(v * 0.5 + 1.0)


def our_name(name):
    return name.replace(".conv.weight", ".weight").replace(".fc1.", ".se.fc1.").replace(".fc2.", ".se.fc2.")


def case(arch, latent, least, shape):
    net = getattr(torchvision.models, arch)(num_classes=NUM_CLASSES).double()
    excite(net, latent, least)
    net.double()
    fill(net)
    images = hash_fill(9999, shape) * 4.0
    labels = [(2 * i + 1) % NUM_CLASSES for i in range(shape[0])]
    with torch.no_grad():
        eval_logits = net.eval()(images).tolist()
    logits = net.train()(images)
    loss = nn.functional.cross_entropy(logits, torch.tensor(labels), label_smoothing=SMOOTHING)
    loss.backward()
    norms = [[our_name(name), tensor.grad.norm().item()] for name, tensor in net.named_parameters()]
    return {
        "model": arch,
        "num_classes": NUM_CLASSES,
        "latent_channels": latent,
        "min_channels": least,
        "salt": SALT,
        "input_shape": shape,
        "labels": labels,
        "smoothing": SMOOTHING,
        "loss": "cross_entropy",
        "eval_logits": eval_logits,
        "train_logits": logits.tolist(),
        "loss_value": loss.item(),
        "num_parameters": sum(tensor.numel() for tensor in net.parameters()),
        "grad_l2_norms": norms,
        "after_train_forward": {"bn1.running_mean[:8]": net.bn1.running_mean[:8].tolist()},
    }


made_with = {"torch": torch.__version__, "torchvision": torchvision.__version__}
cases = [case(*given) for given in CASES]
print(json.dumps({"made_with": made_with, "cases": cases}, indent=1))
