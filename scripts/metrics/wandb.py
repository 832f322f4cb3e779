"""Sends the metrics of a run to Weights & Biases: python scripts/metrics/wandb.py RUN [PROJECT].

RUN is a folder run_N. Needs `pip install wandb`; WANDB_MODE=offline writes a local folder instead of sending.
"""

import json
import pathlib
import sys

# Python looks for modules next to the script first, where this file has the package's own name.
sys.path.pop(0)
import wandb

run_dir = pathlib.Path(sys.argv[1])
manifest = json.loads((run_dir / "manifest.json").read_text())
project = sys.argv[2] if len(sys.argv) > 2 else "mlperf-run"
run = wandb.init(project=project, name=f"{run_dir.parent.name}/{run_dir.name}", config=manifest)
for line in (run_dir / "metrics.jsonl").open():
    sample = json.loads(line)
    kind, step = sample.pop("kind"), sample.pop("step")
    run.log({f"{kind}/{name}": value for name, value in sample.items() if isinstance(value, (int, float))}, step=step)
run.finish()
