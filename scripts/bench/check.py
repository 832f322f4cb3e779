"""Makes the tree of logs, times both programs on it and reports, for `scripts/bench/check`."""
import json
import pathlib
import statistics
import subprocess
import sys
import time

OURS = "target/bench/release/mlperf-run"
NUM_SYSTEMS, NUM_RUNS, LOG_BYTES = 56, 5, 304_000


def make(tree):
    base = pathlib.Path("tests/logs/ok_open.txt").read_text().splitlines()
    stop = next(at for at, line in enumerate(base) if '"run_stop"' in line)
    last = json.loads(base[stop - 1].split(":::MLLOG ")[1])
    folder = pathlib.Path(tree) / "Somebody"
    (folder / "systems").mkdir(parents=True)
    for system in range(NUM_SYSTEMS):
        name = f"box_{system}"
        resnet = folder / "results" / name / "resnet"
        resnet.mkdir(parents=True)
        for run in range(NUM_RUNS):
            lines, size = [], sum(map(len, base))
            while size < LOG_BYTES:
                # A trainer that logs its speed writes mostly such records.
                record = {
                    "namespace": "", "time_ms": last["time_ms"], "event_type": "POINT_IN_TIME",
                    "key": "tracked_stats", "value": {"throughput": 20000.5 + len(lines), "loss": 1 / (1 + len(lines))},
                    "metadata": {"file": "trainer.rs", "lineno": 120, "step": len(lines)},
                }
                lines.append(":::MLLOG " + json.dumps(record))
                size += len(lines[-1]) + 1
            text = "\n".join(base[:stop] + lines + base[stop:]) + "\n"
            (resnet / f"result_{run}.txt").write_text(text)
        description = dict.fromkeys(
            "system_name host_processor_model_name host_processor_core_count accelerator_model_name framework "
            "hw_notes sw_notes".split(), name)
        description |= dict.fromkeys(
            "number_of_nodes host_processors_per_node accelerators_per_node".split(), "1")
        description |= {"submitter": "Somebody", "division": "open", "status": "onprem"}
        (folder / "systems" / f"{name}.json").write_text(json.dumps(description))


def timed(command, cwd=None):
    start = time.perf_counter()
    subprocess.run(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def run(tree, pairs):
    root = pathlib.Path.cwd()
    folder = pathlib.Path(tree) / "Somebody"
    ours = str(root / OURS)
    log = "tests/logs/ok_closed_with_tensors.txt"
    for number in range(60):
        print("one log, check", number, timed([ours, "check", "--ruleset", "2.0.0", log]), sep="\t")
    for number in range(int(pairs)):
        print("280 logs, check", number, timed([ours, "check", "--ruleset", "2.0.0", folder]), sep="\t")
        print("280 logs, score", number, timed([ours, "score", "--ruleset", "2.0.0", folder]), sep="\t")
        reference = [sys.executable, "-m", "mlperf_logging.result_summarizer", folder, "training", "2.0.0"]
        # It writes summary.json into its working directory.
        print("280 logs, reference summarizer", number, timed(reference, cwd=tree), sep="\t", flush=True)


def report(path):
    figures = {}
    for line in pathlib.Path(path).read_text().splitlines()[2:]:
        what, _, seconds = line.split("\t")
        figures.setdefault(what, []).append(float(seconds))
    for what, seconds in figures.items():
        print(f"{what}: median {statistics.median(seconds):.4f} s, {min(seconds):.4f} to {max(seconds):.4f}, n = {len(seconds)}")
    reference = statistics.median(figures["280 logs, reference summarizer"])
    for what in ("280 logs, check", "280 logs, score"):
        print(f"{what}: 1/{reference / statistics.median(figures[what]):.0f} of the summarizer's time")


{"make": make, "run": run, "report": report}[sys.argv[1]](*sys.argv[2:])
