//! Metrics of a run, where other programs look for them.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
};

use mlperf_run::metrics::{Kind, Sample};
use serde_json::Value;

use super::{
    report::{FULL, full_stage, peers},
    stage::{Stage, Told},
};

fn samples(stage: &Stage) -> Vec<Sample> {
    let lines = stage.read("results/box/run_0/metrics.jsonl");
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_event_that_measures_is_a_line_of_metrics() {
    let stage = full_stage();
    stage.train(&[]).expect(0, &[]);
    let samples = samples(&stage);
    let count = |kind| samples.iter().filter(|sample| sample.kind == kind).count();
    let counts = [Kind::Steps, Kind::Epoch, Kind::Evaluation, Kind::End].map(count);
    assert_eq!(counts, [8, 2, 2, 1]);
    let last = samples.iter().rfind(|sample| sample.kind == Kind::Steps).unwrap();
    assert_eq!((last.step, last.epoch, last.samples), (8, 2, 32));
    assert_eq!((last.values.loss, last.values.images_per_s), (Some(1.5), Some(800.0)));
    assert!(last.values.learning_rate.is_some() && last.minutes.is_some(), "{last:?}");
    let end = samples.last().unwrap();
    assert_eq!((end.minutes, end.values.accuracy), (Some(1.25), Some(0.8)));
}

#[test]
fn tensorboard_reads_the_event_files() {
    let Some(python) = peers("the test of TensorBoard's files") else { return };
    let stage = full_stage();
    stage.train(&[]).expect(0, &[]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/oracle/read_tensorboard.py");
    let folder = stage.path("results/box/run_0/tensorboard");
    let output = Command::new(python).arg(script).arg(folder).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    let scalars: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {complaint}"));
    let points = |tag: &str| -> Vec<(u64, f64)> {
        let points = scalars[tag].as_array().unwrap_or_else(|| panic!("no {tag}: {scalars}"));
        points.iter().map(|it| (it[0].as_u64().unwrap(), it[1].as_f64().unwrap())).collect()
    };
    let losses: Vec<_> = samples(&stage)
        .iter()
        .filter(|sample| sample.kind == Kind::Steps)
        .map(|sample| (sample.step as u64, sample.values.loss.unwrap()))
        .collect();
    assert_eq!(points("train/loss"), losses);
    assert_eq!(points("eval/accuracy").len(), 2);
    assert_eq!(points("epoch/image_size"), [(4, 64.0), (8, 128.0)]);
}

#[test]
fn a_port_serves_the_metrics_while_the_run_goes_on() {
    let script = r#"
[ "$RANK" = 0 ] || exit 0
run_start
cat "$STAGE/events"
while [ ! -s "$STAGE/asked" ]; do sleep 0.05; done
run_stop success
"#;
    let stage = full_stage();
    stage.put("rank", &stage.read("rank").replace(FULL, script));
    let mut child = stage.training(&["--metrics-port", "0"]).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("metrics: http://").unwrap().strip_suffix("/metrics");
    let address = address.unwrap().to_owned();
    assert!(address.starts_with("127.0.0.1:"), "others must not read it: {address}");
    // The accuracy is that of the last event.
    let text = loop {
        let text = get(&address);
        if text.lines().any(|it| it.starts_with("mlperf_run_accuracy{") && it.ends_with(" 0.8")) {
            break text;
        }
        assert!(child.try_wait().unwrap().is_none(), "the run ended before its metrics: {text}");
    };
    assert!(
        text.contains(
            "mlperf_run_loss{recipe=\"recipe\",seed=\"17\",run=\"results/box/run_0\"} 1.5"
        ),
        "{text}"
    );
    fs::write(stage.path("asked"), "yes").unwrap();
    // Otherwise the program could not write to it any more.
    std::io::copy(&mut stderr, &mut std::io::sink()).unwrap();
    Told::by(child).expect(0, &[]);
}

fn get(address: &str) -> String {
    let mut client = TcpStream::connect(address).unwrap();
    write!(client, "GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_port_that_is_taken_or_no_port_is_refused() {
    let stage = full_stage();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    stage.train(&["--metrics-port", &address]).expect(3, &["choose another --metrics-port"]);
    stage.train(&["--metrics-port", "x"]).expect(2, &["write a port, as 9400"]);
}

/// Modules that write down what they are told.
const WANDB: &str = "
import json, sys
class Run:
    def log(self, values, step): print(json.dumps([values, step]))
    def finish(self): print('finished')
def init(project, name, config):
    assert config['seed'] == 17 and name == 'box/run_0', name
    return Run()
";
const MLFLOW: &str = "
import contextlib, json
def set_experiment(name): pass
def log_params(params): assert params['seed'] == 17
def log_metrics(values, step): print(json.dumps([values, step]))
@contextlib.contextmanager
def start_run(run_name):
    yield
    print('finished')
";

#[test]
fn scripts_send_every_sample_to_wandb_and_mlflow() {
    let stage = full_stage();
    stage.train(&[]).expect(0, &[]);
    for (name, module) in [("wandb", WANDB), ("mlflow", MLFLOW)] {
        stage.put(&format!("modules/{name}.py"), module);
        let script = format!("{}/scripts/metrics/{name}.py", env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new("python3");
        command.arg(script).arg(stage.path("results/box/run_0"));
        let told = Told::of(command.env("PYTHONPATH", stage.path("modules")).output().unwrap());
        told.expect(0, &[]);
        assert_eq!(told.stdout.lines().count(), samples(&stage).len() + 1, "{told:#?}");
        assert!(told.stdout.contains("\"evaluation/accuracy\": 0.8"), "{told:#?}");
        assert!(told.stdout.ends_with("finished\n"), "{told:#?}");
    }
}
