//! A complete log, and calls that a session rejects.

use std::{
    io,
    sync::{Arc, Mutex},
};

use super::super::{AdamOptions, LarsOptions, Optimizer, PlainOptions, SgdOptions};
use super::*;

/// Returns the given times in order, then repeats the last.
struct Script(Mutex<Vec<u64>>);

impl Clock for Script {
    fn now_ms(&self) -> u64 {
        let mut times = self.0.lock().unwrap();
        if times.len() > 1 { times.remove(0) } else { times[0] }
    }
}

fn clock(times: &[u64]) -> Box<dyn Clock> {
    Box::new(Script(Mutex::new(times.to_vec())))
}

/// Records every single write.
#[derive(Clone, Default)]
struct Writes(Arc<Mutex<Vec<Vec<u8>>>>);

impl Write for Writes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().push(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Writes {
    fn records(&self) -> Vec<Value> {
        let writes = self.0.lock().unwrap();
        writes
            .iter()
            .map(|line| {
                let text = std::str::from_utf8(line).unwrap();
                assert_eq!(text.matches('\n').count(), 1, "each write must be one line: {text:?}");
                assert!(text.ends_with('\n'), "{text:?}");
                serde_json::from_str(text.strip_prefix(":::MLLOG ").unwrap()).unwrap()
            })
            .collect()
    }

    fn keys(&self) -> Vec<String> {
        self.records().iter().map(|record| record["key"].as_str().unwrap().into()).collect()
    }
}

fn running(writes: &Writes, times: &[u64]) -> Session<Running> {
    let session = Session::open(Box::new(writes.clone()), clock(times));
    session.init_start().unwrap().init_stop().unwrap().run_start().unwrap()
}

fn hyperparameters(optimizer: Optimizer) -> Hyperparameters {
    Hyperparameters {
        seed: 42,
        global_batch_size: 2048,
        train_samples: 1_281_167,
        eval_samples: 50_000,
        gradient_accumulation_steps: 1,
        bn_span: 256,
        opt_name: "sgd".into(),
        optimizer,
    }
}

#[test]
fn a_complete_run_logs_every_required_record() {
    let writes = Writes::default();
    let mut session = running(&writes, &[10, 20, 1_000, 2_000, 61_000]);
    assert_eq!(session.start_ms(), 1_000);
    session.block_start(1, 3).unwrap();
    session.epoch_start(1).unwrap();
    session.epoch_stop(1).unwrap();
    session.eval_start(1).unwrap();
    session.eval_accuracy(1, 0.25).unwrap();
    session.eval_stop(1).unwrap();
    session.tracked_stats(1, serde_json::json!({"throughput": 2.5})).unwrap();
    session.block_stop().unwrap();
    let stopped = session.run_stop(RunStatus::Success).unwrap();
    assert_eq!((stopped.elapsed_ms(), stopped.status()), (60_000, RunStatus::Success));

    let records = writes.records();
    let start = &records[3];
    assert_eq!(start["metadata"]["first_epoch_num"], 1);
    assert_eq!(start["metadata"]["epoch_count"], 3);
    let accuracy = records.iter().find(|record| record["key"] == "eval_accuracy").unwrap();
    assert_eq!((&accuracy["value"], &accuracy["metadata"]["epoch_num"]), (&0.25.into(), &1.into()));
    assert_eq!(accuracy["metadata"]["file"], file!());
    assert_eq!(records.last().unwrap()["metadata"]["status"], "success");
}

#[test]
fn an_abort_within_an_epoch_closes_only_the_block() {
    let writes = Writes::default();
    let mut session = running(&writes, &[0]);
    session.block_start(1, 4).unwrap();
    session.epoch_start(1).unwrap();
    session.run_stop(RunStatus::Aborted).unwrap();
    assert_eq!(
        writes.keys()[2..],
        ["run_start", "block_start", "epoch_start", "block_stop", "run_stop"]
    );
}

#[test]
fn a_clock_that_steps_back_stays_at_the_latest_time() {
    let writes = Writes::default();
    let session = running(&writes, &[5_000, 4_000, 6_000, 1_000]);
    let stopped = session.run_stop(RunStatus::Aborted).unwrap();
    assert_eq!(stopped.elapsed_ms(), 0);
    let times: Vec<_> =
        writes.records().iter().map(|record| record["time_ms"].as_u64().unwrap()).collect();
    assert_eq!(times, [5_000, 5_000, 6_000, 6_000]);
}

#[test]
fn caches_that_were_not_cleared_are_logged_as_such() {
    let writes = Writes::default();
    let reason = "exit status: 1".to_string();
    Session::open(Box::new(writes.clone()), clock(&[0]))
        .cache_clear(&CacheClear::Failed { reason })
        .unwrap()
        .cache_clear(&CacheClear::Cleared)
        .unwrap();
    let records = writes.records();
    assert_eq!((&records[0]["value"], &records[1]["value"]), (&false.into(), &true.into()));
    assert_eq!(records[0]["metadata"]["reason"], "exit status: 1");
}

#[test]
fn each_optimizer_logs_its_own_keys_and_no_missing_values() {
    let writes = Writes::default();
    let sgd = SgdOptions {
        base_learning_rate: 2.0,
        end_learning_rate: None,
        decay_poly_power: None,
        decay_steps: Some(100),
        momentum: 0.9,
        weight_decay: 5e-5,
        warmup_epochs: 8.0,
    };
    let lars = LarsOptions {
        base_learning_rate: 10.5,
        end_learning_rate: 1e-4,
        decay_poly_power: Some(2.0),
        decay_steps: 14_000,
        epsilon: 0.0,
        momentum: 0.9,
        weight_decay: 5e-5,
        warmup_epochs: 2.0,
    };
    let session = Session::open(Box::new(writes.clone()), clock(&[0]))
        .hyperparameters(&hyperparameters(Optimizer::Sgd(sgd)))
        .unwrap();
    let keys = writes.keys();
    assert!(keys.contains(&"sgd_opt_learning_rate_decay_steps".into()));
    assert!(keys.contains(&"opt_learning_rate_warmup_epochs".into()));
    assert!(!keys.contains(&"sgd_opt_end_learning_rate".into()));
    session.hyperparameters(&hyperparameters(Optimizer::Lars(lars))).unwrap();
    let lars_keys = writes.keys().split_off(keys.len());
    assert_eq!(lars_keys.iter().filter(|key| key.starts_with("lars_")).count(), 8);

    let plain = PlainOptions {
        base_learning_rate: 0.02,
        end_learning_rate: 0.0,
        decay_steps: 100,
        weight_decay: 0.1,
        warmup_epochs: 2.0,
    };
    let adam = AdamOptions { plain: plain.clone(), betas: [0.9, 0.999], epsilon: 1e-8 };
    for (optimizer, prefix, own) in [
        (Optimizer::Adamw(adam.clone()), "opt_adamw_", 4),
        (Optimizer::Lamb(adam), "opt_lamb_", 4),
        (Optimizer::Plain(plain), "opt_weight_decay", 1),
    ] {
        let writes = Writes::default();
        Session::open(Box::new(writes.clone()), clock(&[0]))
            .hyperparameters(&hyperparameters(optimizer))
            .unwrap();
        let keys = writes.keys();
        assert_eq!(keys.iter().filter(|key| key.starts_with(prefix)).count(), own, "{keys:?}");
        assert_eq!(keys.iter().filter(|key| key.starts_with("opt_")).count(), 5 + own);
    }
}

#[test]
fn calls_out_of_order_are_rejected_and_write_nothing() {
    let writes = Writes::default();
    let early = Session::open(Box::new(writes.clone()), clock(&[0])).init_stop();
    let error = early.err().unwrap().to_string();
    assert_eq!(error, "cannot log init_stop now: init_start has not been logged");
    let mut session = running(&writes, &[0]);
    assert!(session.epoch_start(0).is_err());
    assert!(session.block_stop().is_err());
    assert!(session.eval_accuracy(1, f64::NAN).is_err());
    session.block_start(1, 1).unwrap();
    assert!(session.block_start(2, 1).is_err());
    assert_eq!(writes.keys(), ["init_start", "init_stop", "run_start", "block_start"]);
}

#[test]
fn a_full_disk_is_an_error_that_names_the_record() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let error = Session::open(Box::new(Full), clock(&[0])).init_start().err().unwrap();
    assert!(error.to_string().starts_with("cannot write init_start"), "{error}");
}
