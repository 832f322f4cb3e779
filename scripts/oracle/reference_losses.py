"""Computes the losses of 50 steps of the published systems in plain PyTorch, for comparison with the trainer.

The script implements the formulas of the submitted versions and shares nothing with the trainer: blur as
a depthwise convolution, explicit losses, updates tensor by tensor. Both sides compute weights and images
from the same formula. The script simulates ranks one after another: each rank has its own batch-norm
statistics, rank 0's overwrite the others' before each forward pass, and gradients are means over ranks.

    python scripts/oracle/reference_losses.py OUT_DIR      (PyTorch 2.11, numpy; half a minute)
"""
import math
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F

CLASSES, CROP, BATCH, EPOCHS, STEPS_PER_EPOCH, WIDTH, STAGES = 10, 32, 32, 10, 5, 8, 2
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def uniform(n, p):
    """Numbers 0 to n of stream p, in [0, 1): a multiply-and-xorshift hash of 32 bits."""
    x = (np.arange(n, dtype=np.uint64) * 2654435761 + p * 2246822519) & 0xFFFFFFFF
    for factor in (0x85EBCA6B, 0xC2B2AE35):
        x = ((x ^ (x >> 16)) * factor) & 0xFFFFFFFF
    return (x ^ (x >> 16)) / 2**32


def images_and_labels(step):
    pixels = np.floor(uniform(BATCH * CROP * CROP * 3, 1000 + step) * 256)
    labels = np.floor(uniform(BATCH, 5000 + step) * CLASSES)
    images = torch.from_numpy(pixels.reshape(BATCH, CROP, CROP, 3)).permute(0, 3, 1, 2)
    mean, std = (torch.tensor(v, dtype=torch.float64).reshape(1, 3, 1, 1) for v in (MEAN, STD))
    return (images - 255 * mean) / (255 * std), torch.from_numpy(labels).long()


def parameter_shapes():
    """torchvision's names and order for bottlenecks of depths 1 1."""
    def bn(name, channels):
        return [(f"{name}.weight", (channels,)), (f"{name}.bias", (channels,))]
    shapes = [("conv1.weight", (WIDTH, 3, 7, 7)), *bn("bn1", WIDTH)]
    inputs = WIDTH
    for stage in range(STAGES):
        width, name = WIDTH << stage, f"layer{stage + 1}.0"
        for i, (c_out, c_in, k) in enumerate(((width, inputs, 1), (width, width, 3), (4 * width, width, 1)), 1):
            shapes += [(f"{name}.conv{i}.weight", (c_out, c_in, k, k)), *bn(f"{name}.bn{i}", c_out)]
        shapes += [(f"{name}.downsample.0.weight", (4 * width, inputs, 1, 1)), *bn(f"{name}.downsample.1", 4 * width)]
        inputs = 4 * width
    return shapes + [("fc.weight", (CLASSES, inputs)), ("fc.bias", (CLASSES,))]


def layers():
    """Names of layers, in their order."""
    return list(dict.fromkeys(name.rsplit(".", 1)[0] for name, _ in parameter_shapes()))


def first_weights():
    weights = {}
    for p, (name, shape) in enumerate(parameter_shapes()):
        v = torch.from_numpy(uniform(math.prod(shape), p) - 0.5).reshape(shape)
        if len(shape) > 1:
            v = v * math.sqrt(12 * 2 / math.prod(shape[1:]))
        else:
            v = 0.5 + 0.4 * v if name.endswith("weight") else 0.2 * v
        weights[name] = v
    return weights


def first_buffers():
    buffers = {}
    for name, shape in parameter_shapes():
        if len(shape) == 1 and name.endswith("weight"):
            buffers[name[:-6] + "running_mean"] = torch.zeros(shape, dtype=torch.float64)
            buffers[name[:-6] + "running_var"] = torch.ones(shape, dtype=torch.float64)
    return buffers


class Net:
    def __init__(self, blurred, training=True):
        self.blurred, self.training = blurred, training

    def blur(self, x, stride):
        row = torch.tensor([1.0, 2.0, 1.0], dtype=x.dtype)
        kernel = (row[:, None] * row[None, :] / 16).expand(x.shape[1], 1, 3, 3)
        return F.conv2d(x, kernel, stride=stride, padding=1, groups=x.shape[1])

    def conv(self, x, name, stride=1):
        weight = self.w[f"{name}.weight"]
        if self.blurred and stride > 1 and weight.shape[1] >= 16:
            x = self.blur(x, 1)
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[2] // 2)

    def bn(self, x, name):
        return F.batch_norm(x, self.b[f"{name}.running_mean"], self.b[f"{name}.running_var"],
                            self.w[f"{name}.weight"], self.w[f"{name}.bias"], self.training, 0.1, 1e-5)

    def __call__(self, x, weights, buffers):
        self.w, self.b = weights, buffers
        x = F.relu(self.bn(self.conv(x, "conv1", 2), "bn1"))
        x = self.blur(F.max_pool2d(x, 3, 1, 1), 2) if self.blurred else F.max_pool2d(x, 3, 2, 1)
        for stage in range(STAGES):
            name, stride = f"layer{stage + 1}.0", 1 if stage == 0 else 2
            y = F.relu(self.bn(self.conv(x, f"{name}.conv1"), f"{name}.bn1"))
            y = F.relu(self.bn(self.conv(y, f"{name}.conv2", stride), f"{name}.bn2"))
            y = self.bn(self.conv(y, f"{name}.conv3"), f"{name}.bn3")
            x = F.relu(y + self.bn(self.conv(x, f"{name}.downsample.0", stride), f"{name}.downsample.1"))
        return F.linear(x.mean((2, 3)), self.w["fc.weight"], self.w["fc.bias"])


class MosaicOptimized:
    """BCE, blur, progressive resizing, decoupled SGDW, cosine with warm-up, EMA."""
    blurred, lr_0, momentum, decay, smoothing = True, 0.1, 0.875, 5e-4, 0.08
    warmup_steps, ema_interval, ema_half_life = 2 * STEPS_PER_EPOCH, 2, 10

    def num_frozen(self, epoch):
        return 0

    def side(self, epoch):
        r = min(max((epoch / EPOCHS - 0.4) / (1 - 0.2 - 0.4), 0), 1)
        return round(CROP * (0.5 + 0.5 * r) / 4) * 4

    def resize(self, images, side):
        return images if side == CROP else F.interpolate(images, scale_factor=side / CROP, mode="nearest")

    def loss(self, z, labels):
        t = F.one_hot(labels, CLASSES).to(z.dtype) * (1 - self.smoothing) + self.smoothing / CLASSES
        return (z.clamp(min=0) - z * t + torch.log1p(torch.exp(-z.abs()))).sum() / len(z)

    def lr(self, step):
        if step < self.warmup_steps:
            return self.lr_0 * step / self.warmup_steps
        total = EPOCHS * STEPS_PER_EPOCH
        return self.lr_0 * 0.5 * (1 + math.cos(math.pi * (step - self.warmup_steps) / (total - self.warmup_steps)))

    def update(self, name, w, g, state, step):
        lr = self.lr(step)
        state[name] = g.clone() if name not in state else self.momentum * state[name] + g
        w.mul_(1 - self.decay * lr / self.lr_0).sub_(lr * state[name])


class Frozen(MosaicOptimized):
    """The same with layers frozen one after another, after each epoch as by Composer's LayerFreezing(0.2, 0.8)."""

    def num_frozen(self, epoch):
        return int(0.8 * max((epoch / EPOCHS - 0.2) / (1 - 0.2), 0) * (len(layers()) - 1))


class NvidiaClosed(MosaicOptimized):
    """Cross-entropy with MXNet's smoothing, LARS with corrected momentum, polynomial decay."""
    blurred, lr_0, momentum, decay, smoothing = False, 1.0, 0.9, 5e-5, 0.1
    eta, end_lr, ema_half_life = 0.001, 1e-4, None

    def side(self, epoch):
        return CROP

    def loss(self, z, labels):
        t = torch.full_like(z, self.smoothing / (CLASSES - 1)).scatter(1, labels[:, None], 1 - self.smoothing)
        return -(t * F.log_softmax(z, 1)).sum() / len(z)

    def lr(self, step):
        k, total = step + 1, EPOCHS * STEPS_PER_EPOCH
        if k <= self.warmup_steps:
            return self.lr_0 * k / self.warmup_steps
        done = (k - self.warmup_steps) / (total - self.warmup_steps)
        return self.end_lr + (self.lr_0 - self.end_lr) * (1 - done) ** 2

    def update(self, name, w, g, state, step):
        decays = w.dim() > 1 or name == "fc.bias"
        d = g + self.decay * w if decays else g
        if w.dim() > 1:
            w_norm, g_norm = w.norm(), g.norm()
            if w_norm > 0 and g_norm > 0:
                d = d * (self.eta * w_norm / (g_norm + self.decay * w_norm))
        state[name] = d.clone() if name not in state else self.momentum * state[name] + d
        w.sub_(self.lr(step) * state[name])


def run(system, num_ranks, dtype):
    """Losses by step and rank, and of the evaluated weights on the first batch at the end."""
    net, per_rank = Net(system.blurred), BATCH // num_ranks
    cast = lambda tensors: {name: t.to(dtype).clone() for name, t in tensors.items()}
    weights = {name: t.requires_grad_() for name, t in cast(first_weights()).items()}
    buffers = [cast(first_buffers()) for _ in range(num_ranks)]
    state, average, rows = {}, None, []
    for step in range(EPOCHS * STEPS_PER_EPOCH):
        images, labels = images_and_labels(step)
        images = system.resize(images.to(dtype), system.side(step // STEPS_PER_EPOCH))
        frozen = layers()[:system.num_frozen(step // STEPS_PER_EPOCH)]
        trained = {name: w for name, w in weights.items() if name.rsplit(".", 1)[0] not in frozen}
        losses, grads = [], {name: 0 for name in trained}
        for own in buffers[1:]:
            for name in own:
                own[name].copy_(buffers[0][name])
        for rank in range(num_ranks):
            part = slice(rank * per_rank, (rank + 1) * per_rank)
            loss = system.loss(net(images[part], weights, buffers[rank]), labels[part])
            for name, g in zip(trained, torch.autograd.grad(loss, list(trained.values()))):
                grads[name] = grads[name] + g / num_ranks
            losses.append(loss.item())
        rows.append(losses)
        with torch.no_grad():
            for name, w in trained.items():
                system.update(name, w, grads[name], state, step)
            if system.ema_half_life and (step + 1) % system.ema_interval == 0:
                now = {**weights, **buffers[0]}
                s = 2 ** (-system.ema_interval / system.ema_half_life)
                average = cast(now) if average is None else {n: s * average[n] + (1 - s) * now[n] for n in now}
    with torch.no_grad():
        evaluated = average or {**weights, **buffers[0]}
        images, labels = images_and_labels(0)
        logits = Net(system.blurred, training=False)(images.to(dtype), evaluated, evaluated)
        rows.append([system.loss(logits, labels).item()])
    return rows


def main():
    torch.set_num_threads(1)  # the tensors are tiny
    out = pathlib.Path(sys.argv[1])
    systems = {"optimized": MosaicOptimized(), "nvidia-closed": NvidiaClosed(), "frozen": Frozen()}
    for name, system in systems.items():
        for num_ranks in (1, 2):
            for kind, dtype in (("fp64", torch.float64), ("fp32", torch.float32)):
                rows = run(system, num_ranks, dtype)
                text = "".join(" ".join(f"{loss:.17g}" for loss in row) + "\n" for row in rows)
                (out / f"{name}-{num_ranks}-{kind}.txt").write_text(text)


main()
