"""Sends the metrics of a run to MLflow: python scripts/metrics/mlflow.py RUN [EXPERIMENT].

RUN is a folder run_N. Needs `pip install mlflow`; MLFLOW_TRACKING_URI says where to, otherwise ./mlruns.
"""

import json
import pathlib
import sys

# Python looks for modules next to the script first, where this file has the package's own name.
sys.path.pop(0)
import mlflow

run_dir = pathlib.Path(sys.argv[1])
manifest = json.loads((run_dir / "manifest.json").read_text())
mlflow.set_experiment(sys.argv[2] if len(sys.argv) > 2 else "mlperf-run")
with mlflow.start_run(run_name=f"{run_dir.parent.name}/{run_dir.name}"):
    mlflow.log_params({"recipe": manifest["recipe"]["name"], "seed": manifest["seed"], "ranks": manifest["world_size"]})
    for line in (run_dir / "metrics.jsonl").open():
        sample = json.loads(line)
        kind, step = sample.pop("kind"), sample.pop("step")
        values = {f"{kind}/{name}": value for name, value in sample.items() if isinstance(value, (int, float))}
        mlflow.log_metrics(values, step=step)
