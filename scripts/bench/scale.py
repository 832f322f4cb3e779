"""Predicts the minutes of runs on many GPUs: the tables of docs/design/scale.md, which has the sources.

[m] is measured, [p] published, [c] computed from those."""
import math

IMAGES, EVAL_IMAGES, PER_HOST = 1_281_167, 50_000, 8
FIXED_MS, PLAIN_NS, BLUR_NS = 2.42, 2.671, 2.892  # [c] fitted to the prototype's steps on one H100 [m]
DDP_COPY_MS = 0.55                                # [m] a step through NCCL in a world of one, minus one without
START_S, GAP_S, EVAL_FIXED_S = 0.8, 0.011, 0.02   # [p] NVIDIA's logs: to the first epoch; an epoch; an evaluation
BN_BYTES = 4 * 2 * 26_560                         # [c] running mean and variance
GPUS = {  # slope, fixed: against H100 [c]; bus: all-reduce in a host, between hosts [p]; disk: GB/s a host [c]
    "A100": dict(slope=2.15, fixed=1.40, bus=(232.5, 192), latency_us=56, hop_us=6.0, cores=128, disk=(2.0, 2.0)),
    "H100": dict(slope=1.0, fixed=1.0, bus=(476, 370), latency_us=25, hop_us=3.4, cores=112, disk=(4.7, 2.0)),
}
# core: images/s a core at the crop size [m]; store: bytes to read [p, c]; eval_rate: images/s on an H100 [m].
RECIPES = {
    "nvidia-closed": dict(blur=False, bucket_mb=64, broadcast=False, core=1694, store=148.6e9, eval_rate=6520),
    "optimized": dict(blur=True, bucket_mb=25, broadcast=True, core=3475, store=40e9, eval_rate=3970),
}


def layers():
    """(parameters, multiplications) of ResNet-50's layers at 224 px, last layer first, as backward meets them."""
    convs, cin, side = [(3, 64, 7, 112)], 64, 56  # input and output channels, kernel, output size
    for width, blocks, out in ((64, 3, 56), (128, 4, 28), (256, 6, 14), (512, 3, 7)):
        for block in range(blocks):
            convs += [(cin, width, 1, side), (width, width, 3, out), (width, 4 * width, 1, out)]
            convs += [(cin, 4 * width, 1, out)] if block == 0 else []
            cin, side = 4 * width, out
    found = [(i * o * k * k + 2 * o, i * o * k * k * out * out) for i, o, k, out in convs[::-1]]
    return [(2048 * 1000 + 1000, 2048 * 1000), *found]


def all_reduce_ms(size, n, gpu):
    """The quicker of ring and tree, by the formulas and latencies of NCCL's tuning model."""
    nodes, ring = n // PER_HOST, 2 * (n - 1) / n * size
    if nodes == 1:
        return ring / gpu["bus"][0] / 1e6 + gpu["latency_us"] / 1e3
    ring_us = 8.4 + 2 * (n - nodes) * gpu["hop_us"] + 2 * (nodes - 1) * 14
    tree_us = 8.4 + 2 * (7 * 4 + math.log2(nodes) * 14)
    tree = 2 * size / 0.92 / (0.6 if size <= 24e6 else 0.7 if size <= 48e6 else 0.8)
    return min(us / 1e3 + load / gpu["bus"][1] / 1e6 for us, load in ((ring_us, ring), (tree_us, tree)))


def exposed_ms(compute, n, gpu, bucket_mb, width=4, broadcast=False):
    """What backward, two thirds of `compute`, does not hide; gradients of `width` bytes, first bucket 1 MiB."""
    backward, total = compute * 2 / 3, sum(m for _, m in layers())
    end, done, size, limit = 0, 0, 0, 1 << 20
    for i, (params, macs) in enumerate(layers()):
        done, size = done + macs, size + params * width
        if size >= limit or i == len(layers()) - 1:
            end, size, limit = max(end, backward * done / total) + all_reduce_ms(size, n, gpu), 0, bucket_mb << 20
    return max(0, end - backward) + DDP_COPY_MS + (all_reduce_ms(BN_BYTES, n, gpu) if broadcast else 0)


def compute_ms(batch, side, gpu, blur=False):
    return FIXED_MS * gpu["fixed"] + batch * side ** 2 * (BLUR_NS if blur else PLAIN_NS) * gpu["slope"] / 1e6


def sides(recipe, epochs):
    """Image size by epoch; `optimized` stops an epoch before its end and grows from 88 to 176 px at 40 to 80 %."""
    grown = (min(1, max(0, (e / (epochs + 1) - 0.4) / 0.4)) for e in range(round(epochs)))
    return [224 if recipe == "nvidia-closed" else round(176 * (0.5 + 0.5 * g) / 4) * 4 for g in grown]


def predict(recipe, kind, n, batch, epochs, num_evals):
    """Minutes by part. `our order` is what a new order over all images adds to fixed shards of each host."""
    gpu, r, hosts, steps = GPUS[kind], RECIPES[recipe], n // PER_HOST, math.ceil(IMAGES / batch)
    read_s = r["store"] / hosts / gpu["disk"][hosts > 1] / 1e9
    decode_s = IMAGES / hosts / gpu["cores"] / r["core"]
    parts = dict.fromkeys(("compute", "exposed", "evaluation", "fixed", "first epoch", "our order"), 0.0)
    for epoch, side in enumerate(sides(recipe, epochs)):
        compute = compute_ms(batch / n, side, gpu, r["blur"])
        exposed = exposed_ms(compute, n, gpu, r["bucket_mb"], broadcast=r["broadcast"])
        train_s = steps * (compute + exposed) / 1e3
        parts["compute"] += steps * compute / 1e3
        parts["exposed"] += steps * exposed / 1e3
        shard = max(0, (read_s if epoch == 0 else decode_s) - train_s)
        unread = (1 - 1 / hosts) ** epoch if hosts > 1 else epoch == 0
        parts["first epoch"] += shard
        parts["our order"] += max(0, read_s * unread - train_s, decode_s - train_s) - shard
    parts["evaluation"] = num_evals * (math.ceil(EVAL_IMAGES / n) / r["eval_rate"] * gpu["slope"] + EVAL_FIXED_S)
    parts["fixed"] = START_S + GAP_S * epochs
    return {k: v / 60 for k, v in parts.items()}


# [p] Epochs that LARS needs at a batch: MLCommons' reference points, and the checker's lines between them.
RCP = ((4096, 36.0), (8192, 40.4), (16384, 47.3), (20480, 49.5), (32768, 56), (65536, 84.5))
CLOSED = (  # GPU, GPUs, global batch, epochs to the target, evaluations, published minutes
    ("A100", 8, 3264, 35, 9, 28.69), ("A100", 64, 3264, 35, 9, 4.50), ("A100", 128, 16384, 47, 12, 2.82),
    ("A100", 512, 20480, 50, 13, None), ("A100", 1024, 35840, 58.7, 15, 0.555), ("H100", 8, 3200, 35, 9, 13.27),
    ("H100", 16, 3200, 35, 9, 7.52), ("H100", 64, 3200, 35, 9, 2.51), ("H100", 512, 20480, 50, 13, 0.509),
    ("H100", 768, 32256, 56, 14, 0.369), ("H100", 3584, 57344, 77, 20, 0.183),
)
OPEN = ((8, 2048, 27, 9), (64, 4096, 27, 9), (512, 16384, 36, 12))


if __name__ == "__main__":
    print("ms: all-reduce of fp32, fp16 at once, of BN statistics | exposed, fp32/25, fp32/64, fp16/25 MB | compute")
    for kind, n, batch in [(k, *case) for k in GPUS for case in ((8, 408), (64, 51), (512, 40))]:
        gpu, compute = GPUS[kind], compute_ms(batch, 224, GPUS[kind])
        row = [all_reduce_ms(size, n, gpu) for size in (102.2e6, 51.1e6, BN_BYTES)]
        row += [exposed_ms(compute, n, gpu, mb, width) for mb, width in ((25, 4), (64, 4), (25, 2))]
        print(kind, n, *(f"{x:.2f}" for x in (*row, compute)))
    print("\nimages a GPU | images/s a GPU: A100, H100 at 224 px, H100 with blur at 176, 88 px")
    cases = (("A100", 224, False), ("H100", 224, False), ("H100", 176, True), ("H100", 88, True))
    for batch in (408, 256, 64, 40, 32, 16, 8, 4):
        print(batch, *(round(batch * 1e3 / compute_ms(batch, side, GPUS[k], blur)) for k, side, blur in cases))
    print("\n512 GPUs, 224 px: global batch, epochs | minutes of compute and exposed all-reduce: A100, H100")
    for batch, epochs in RCP:
        steps, pairs = math.ceil(IMAGES / batch) * epochs, [(compute_ms(batch / 512, 224, g), g) for g in GPUS.values()]
        print(batch, epochs, *(f"{steps * (c + exposed_ms(c, 512, g, 64)) / 6e4:.2f}" for c, g in pairs))
    print("\nminutes: compute, exposed, evaluation, fixed, first epoch | total | our order adds | published")
    runs = [("nvidia-closed", *run) for run in CLOSED]
    for run in runs + [("optimized", kind, *run, None) for kind in GPUS for run in OPEN]:
        parts = predict(*run[:6])
        added, total = parts.pop("our order"), sum(parts.values())
        error = f"{run[6]} {total / run[6] - 1:+.1%}" if run[6] else "-"
        print(*run[:4], "|", *(f"{v:.3f}" for v in parts.values()), "|", f"{total:.3f} | {added:.3f} | {error}")
