//! `mlperf-run doctor`.

use serde_json::Value;

use super::stage::{GOOD, Stage, Told};

fn findings(told: &Told) -> Vec<Value> {
    serde_json::from_str(&told.stdout).unwrap_or_else(|error| panic!("{error}: {told:#?}"))
}

fn of_topic<'a>(findings: &'a [Value], topic: &str) -> &'a Value {
    findings.iter().find(|it| it["topic"] == topic).unwrap_or_else(|| panic!("no {topic}"))
}

#[test]
fn a_machine_that_can_run_is_told_so() {
    let stage = Stage::with_ranks(GOOD);
    let told = Told::of(
        stage.command(&["doctor", "--json", "--results", "new/results"]).output().unwrap(),
    );
    told.expect(0, &[]);
    let findings = findings(&told);
    for topic in
        ["programs", "libtorch", "gpu", "cores", "memory", "shm", "files", "cache", "results"]
    {
        assert_ne!(of_topic(&findings, topic)["verdict"], "fail", "{topic}");
    }
    assert!(!stage.path("new").exists(), "it leaves nothing behind");
}

#[test]
fn what_would_stop_a_run_ends_with_3_and_its_cure() {
    let stage = Stage::with_ranks(GOOD);
    let mut command = stage.command(&["doctor", "--data", "nowhere"]);
    let told = Told::of(command.env("MLPERF_LIBTORCH", stage.path("images")).output().unwrap());
    assert_eq!(told.code, Some(3), "{told:#?}");
    for words in ["fail  libtorch", "scripts/setup", "fail  data", "nowhere"] {
        assert!(told.stdout.contains(words), "'{words}' is missing: {told:#?}");
    }
}

#[test]
fn the_disk_of_real_images_is_measured() {
    let stage = Stage::with_ranks(GOOD);
    let images = stage.path("real");
    let config = mlperf_run::data::SynthConfig {
        num_classes: 2,
        num_train: 64,
        num_eval: 8,
        size: 64,
        ..mlperf_run::data::SynthConfig::default()
    };
    let images = mlperf_run::data::synth::ensure(&config, &images, None).unwrap();
    let data = images.to_str().unwrap();
    let told = Told::of(stage.command(&["doctor", "--json", "--data", data]).output().unwrap());
    told.expect(0, &[]);
    let findings = findings(&told);
    let found = of_topic(&findings, "data")["found"].as_str().unwrap();
    assert!(found.contains("64 images to train on, 8 images to evaluate, 2 classes"), "{found}");
    let disk = of_topic(&findings, "disk")["found"].as_str().unwrap();
    assert!(disk.contains("MB/s"), "{disk}");
}
