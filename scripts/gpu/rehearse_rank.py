"""Times one rank's steps and predicts the minutes of all ranks, for `scripts/gpu/rehearse-rank`.

    python3 rehearse_rank.py PROGRAM RECIPE NUM_RANKS DEVICE DATA OUT
"""
import json
import os
import pathlib
import subprocess
import sys
import tomllib

program, recipe, num_ranks, device, data, out = sys.argv[1:]
num_ranks, out = int(num_ranks), pathlib.Path(out)
steps = os.environ.get("STEPS", "20")
bus_gb_s = float(os.environ.get("BUS_GB_S", "200"))
disk_gb_s = float(os.environ.get("DISK_GB_S", "10"))
PARAMETERS = {"resnet18": 11.7e6, "resnet34": 21.8e6, "resnet50": 25.6e6, "resnet101": 44.5e6, "resnet152": 60.2e6}
NUM_TRAIN, NUM_EVAL = 1_281_167, 50_000
IMAGENET_GB = 138  # its training images as published


def run(*arguments):
    done = subprocess.run([program, *arguments], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


planned = run("plan", "--recipe", recipe, "--nproc", str(num_ranks))
plan = tomllib.loads(planned)
first_side = next(int(cells[2]) for cells in map(str.split, planned.splitlines()) if cells[:2] == ["#", "1"])
batch = plan["train"]["batch_size"] // num_ranks
arch = plan["model"]["arch"]


def measure(*more):
    lines = run("bench", "step", "--recipe", recipe, "--device", device, "--batch", str(batch), "--steps", steps,
                "--all-sides", "--json", *os.environ.get("SET", "").split(), *more).splitlines()
    return {rates["side"]: rates for rates in map(json.loads, lines)}


fed, noise = measure("--data", data), measure()
# A ring moves 2 (n - 1) / n of the gradients, in fp32, over each link.
reduce_s = 2 * (num_ranks - 1) / num_ranks * 4 * PARAMETERS.get(arch, PARAMETERS["resnet50"]) / (bus_gb_s * 1e9)
table = [f'source = "one rank of {num_ranks} on {next(iter(fed.values()))["device"]}, rehearsed"', f"num_ranks = {num_ranks}"]
eval_rate = min(rates["eval_images_per_s"] for rates in fed.values())
table.append(f"eval_s = {NUM_EVAL / num_ranks / eval_rate}")
print(f"{'side':>5} {'ms':>9} {'noise ms':>9} {'recorded':>9} {'waiting':>8} {'starved':>7} {'peak MB':>8}")
for side, rates in sorted(fed.items()):
    ms, without = rates["step_ms"][1], noise[side]["step_ms"][1]
    # The device is idle for the time that a step takes beyond one on images that are already on it.
    starved = max(0.0, 1 - without / ms)
    peak = rates.get("peak_gpu_mb", rates["peak_host_mb"])
    print(f"{side:>5} {ms:>9.2f} {without:>9.2f} {str(rates['recorded']).lower():>9} {100 * rates['data_wait']:>6.1f} %"
          f" {100 * starved:>5.1f} % {peak:>8.0f}")
    table += ["[[step]]", f"side = {side}", f"images_per_s = {batch * num_ranks / (ms / 1e3 + reduce_s)}"]
# The first epoch reads all files from the disk, because MLPerf's rules have the caches dropped before a run.
first_rate = batch * num_ranks / (fed[first_side]["step_ms"][1] / 1e3 + reduce_s)
cold_s = max(0.0, IMAGENET_GB / disk_gb_s - NUM_TRAIN / first_rate)
table.insert(2, f"first_epoch_extra_s = {cold_s}")
out.mkdir(parents=True, exist_ok=True)
(out / "throughput.toml").write_text("\n".join(table) + "\n")
predicted = run("plan", "--recipe", recipe, "--nproc", str(num_ranks), "--throughput", str(out / "throughput.toml"))
print("\n".join(line for line in predicted.splitlines() if line.startswith("#")))
print(f"""assumed: {num_ranks} equal devices that do not slow one another; an all-reduce of {1e3 * reduce_s:.2f} ms at
{bus_gb_s:.0f} GB/s that does not overlap with other work; each evaluation of {NUM_EVAL:,} images at the rate of the validation images at hand, decoded,
{num_ranks * eval_rate:,.0f} images/s; {cold_s:.1f} s more for a first epoch that reads {IMAGENET_GB} GB at {disk_gb_s:g} GB/s from the disk, and files in
the page cache afterwards; waiting is measured with this machine's processors, and one device's share of a
machine with {num_ranks} devices may be smaller""")
