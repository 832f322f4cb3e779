"""The checks of `scripts/gpu/check`.

Every check is a row of the table: its name, whether it holds, and the figures by which one can tell. The exit
code is 1 if a check does not hold. A check that needs more time than is left is reported as not run.
"""
import argparse
import json
import math
import os
import pathlib
import subprocess
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
parser.add_argument("--batch", type=int, default=256)
parser.add_argument("--steps", type=int, default=50)
parser.add_argument("--limit-s", type=float, default=235, help="no check begins later")
options = parser.parse_args()

START = time.monotonic()
PROGRAMS = pathlib.Path("target/gpu")
OUT = pathlib.Path(os.environ.get("OUT", PROGRAMS / "check"))
ON_GPU = options.device == "cuda"
PRECISION = "amp_bf16"
# Unfused steps with other convolution algorithms round differently. Fused steps may differ by twice as much,
# and by this fraction of the loss.
ROUNDING = 1e-3
CASES = [("optimized", 88), ("optimized", 176), ("baseline", 224)]

# libtorch of the Python that will also run the peers.
TORCH = subprocess.run(
    [sys.executable, "-c", "import os, torch; print(os.path.dirname(torch.__file__))"],
    capture_output=True, text=True).stdout.strip()
if not TORCH:
    sys.exit(f"gpu/check: {sys.executable} has no torch; name a Python with torch 2.11.0 by PYTHON")
rows, runs = [], []


def note(name, holds, figures):
    rows.append({"check": name, "holds": holds, "figures": figures})
    mark = {True: "ok", False: "FAILED", None: "not run"}[holds]
    print(f"{mark:<8} {name:<44} {figures}", flush=True)


def left_s():
    return options.limit_s - (time.monotonic() - START)


def bench(recipe, side, *changes, environment=None, steps=options.steps, all_sides=False):
    """The figures of `bench step`, one dictionary for each image size; [] if it failed or there is no time."""
    if left_s() <= 0:
        return []
    command = [PROGRAMS / "mlperf-run", "bench", "step", "--recipe", recipe, "--device", options.device,
               "--batch", str(options.batch), "--steps", str(steps), "--libtorch", TORCH, "--json"]
    command += ["--all-sides"] if all_sides else ["--side", str(side)]
    for change in ("run.seed=1", f"train.precision={PRECISION}", f"eval.precision={PRECISION}", *changes):
        command += ["--set", change]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(environment or {})})
    figures = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    runs.append({"recipe": recipe, "changes": changes, "figures": figures, "stderr": done.stderr[-2000:]})
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        return []
    return figures


def one(*arguments, **more):
    figures = bench(*arguments, **more)
    return figures[0] if figures else None


def peer(recipe, side, mode):
    """Images a second of PyTorch's step; None if it failed or there is no time."""
    if left_s() <= 0:
        return None
    command = [sys.executable, "scripts/gpu/bench.py", recipe, str(side), str(options.batch),
               str(options.steps), mode, options.device]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=max(left_s(), 1) + 60)
    except subprocess.TimeoutExpired:
        return None
    runs.append({"peer": mode, "recipe": recipe, "side": side, "stdout": done.stdout, "stderr": done.stderr[-2000:]})
    return json.loads(done.stdout)["images_per_s"] if done.returncode == 0 else None


def check_kernels():
    environment = {**os.environ, "LD_LIBRARY_PATH": f"{TORCH}/lib:{os.environ.get('LD_LIBRARY_PATH', '')}"}
    if ON_GPU:
        environment["MLPERF_RUN_TEST_GPU"] = "1"
    command = [PROGRAMS / "kernel-tests", "kernels::tests::operations", "kernels::tests::update", "--skip",
               "the_order_in_which_blocks", "--test-threads=1"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    runs.append({"kernels": done.stdout[-6000:], "stderr": done.stderr[-4000:]})
    said = [line for line in done.stdout.splitlines() if line.startswith("test result")]
    if done.returncode:
        print(done.stdout[-4000:], file=sys.stderr)
    note("kernels equal libtorch in fp64", done.returncode == 0 and "0 passed" not in said[-1], said[-1] if said else "no result")


def check_training():
    """Fused against unfused steps. Returns the figures of both by (recipe, side)."""
    rates, rounding = {}, None
    for recipe, side in CASES:
        fused = one(recipe, side, 'train.fused_kernels="auto"')
        plain = one(recipe, side, 'train.fused_kernels="off"')
        name = f"fused steps train alike: {recipe}, {side} px"
        if rounding is None and plain:
            other = one(recipe, side, 'train.fused_kernels="off"', "train.deterministic=true")
            rounding = abs(other["loss"] / plain["loss"] - 1) if other else None
        if not fused or rounding is None:
            note(name, None, "no figures")
            continue
        difference, limit = abs(fused["loss"] / plain["loss"] - 1), 2 * rounding + ROUNDING
        note(name, difference <= limit and fused["fused"] == ON_GPU and fused["recorded"] == ON_GPU,
             f"loss {fused['loss']:.6f} fused, {plain['loss']:.6f} unfused (relative difference {difference:.1e}, allowed"
             f" {limit:.1e}) {fused.get('not_fused') or fused.get('not_recorded') or ''}")
        rates[recipe, side] = (fused, plain)
    return rates


def check_modes():
    fused, deterministic = 'train.fused_kernels="auto"', "train.deterministic=true"
    steps = min(options.steps, 20)

    def run(*changes, **more):
        return one("optimized", 88, fused, deterministic, *changes, steps=steps, **more)

    def compare_runs(name, figures, holds, said):
        if all(figures):
            note(name, holds(*figures), said(*figures))
        else:
            note(name, None, "no figures")

    graph = run()
    compare_runs("a graph changes no bit of the loss", (graph, run('train.cuda_graphs="off"')),
          lambda graph, without: graph["loss"] == without["loss"],
          lambda graph, without: f"{graph['loss']!r} and {without['loss']!r}")
    compare_runs("NCCL in a world of one", (graph, run("train.ddp.in_world_of_one=true")),
          lambda graph, nccl: nccl["loss"] == graph["loss"] and nccl["recorded"] == ON_GPU,
          lambda graph, nccl: f"loss {nccl['loss']!r}, {nccl['images_per_s']:.0f} images/s {nccl.get('not_recorded') or ''}")
    # Allocations without a cache are calls that no capture may make.
    compare_runs("a capture that fails costs only time", (graph, run(environment={"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"})),
          lambda graph, failed: failed["loss"] == graph["loss"] and not failed["recorded"],
          lambda graph, failed: f"loss {failed['loss']!r} {failed.get('not_recorded') or ''}")
    if ON_GPU:
        fp16 = [one("optimized", 88, f'train.fused_kernels="{which}"', "train.precision=amp_fp16", steps=steps)
                for which in ("auto", "off")]
        compare_runs("fp16 with loss scaling", fp16,
              lambda fused, plain: math.isfinite(fused["loss"]) and abs(fused["loss"] / plain["loss"] - 1) <= 20 * ROUNDING,
              lambda fused, plain: f"loss {fused['loss']:.6f} fused, {plain['loss']:.6f} unfused")
    sides = bench("optimized", None, fused, steps=5, all_sides=True)
    compare_runs("all image sizes in one process", sides or [None], lambda *sides: all(side["recorded"] == ON_GPU for side in sides),
          lambda *sides: f"{len(sides)} sizes, peak {max(s.get('peak_gpu_mb') or s['peak_host_mb'] for s in sides):.0f} MB")


def compare(rates):
    for recipe, side in CASES:
        if (recipe, side) not in rates:
            continue
        fused, plain = rates[recipe, side]
        eager, compiled = peer(recipe, side, "eager"), peer(recipe, side, "compile")
        ratio = lambda it: f"{it:.0f} ({fused['images_per_s'] / it:.2f})" if it else "failed"
        note(f"images/s: {recipe}, {side} px", True,
             f"fused {fused['images_per_s']:.0f}, unfused {ratio(plain['images_per_s'])}, eager {ratio(eager)},"
             f" torch.compile {ratio(compiled)}; evaluation {fused['eval_images_per_s']:.0f};"
             f" {fused.get('peak_gpu_mb') or fused['peak_host_mb']:.0f} MB")


check_kernels()
rates = check_training()
check_modes()
compare(rates)
OUT.mkdir(parents=True, exist_ok=True)
version = subprocess.run([PROGRAMS / "mlperf-run", "--version"], capture_output=True, text=True).stdout.strip()
card = subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"],
                      capture_output=True, text=True).stdout.strip() if ON_GPU else "no GPU"
(OUT / "check.json").write_text(json.dumps({"version": version, "card": card, "rows": rows, "runs": runs}, indent=1))
print(f"{version}, {card}, {time.monotonic() - START:.0f} s; {OUT}/check.json")
sys.exit(1 if any(row["holds"] is False for row in rows) else 0)
