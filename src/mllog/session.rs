//! One run's log, as a chain of states.

use std::io::Write;
use std::panic::Location;

use serde_json::Value;

use super::event::Event;
use super::sink::{Clock, MllogError, Sink};
use super::values::{Hyperparameters, Submission, number};
use super::{CacheClear, Key};

type Site = &'static Location<'static>;

/// How a run ended; `run_stop`'s `metadata.status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The target was reached.
    Success,
    /// The run ended without it.
    Aborted,
}

impl Status {
    /// The word in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Aborted => "aborted",
        }
    }
}

/// The log of one run in state `S`.
pub struct Session<S> {
    sink: Sink,
    state: S,
}

/// Before the clock: the system is being set up.
pub struct Init {
    started: bool,
}

/// Set up; the data set has not been touched.
pub struct Ready(());

/// The clock runs.
pub struct Running {
    start_ms: u64,
    /// First epoch of the block that is open.
    block: Option<usize>,
}

/// The clock stands.
pub struct Stopped {
    start_ms: u64,
    stop_ms: u64,
    status: Status,
}

impl<S> Session<S> {
    fn put(&mut self, event: &Event) -> Result<u64, MllogError> {
        self.sink.put(event)
    }
}

impl Session<Init> {
    /// A new log. Nothing is written yet.
    pub fn open(writer: Box<dyn Write + Send>, clock: Box<dyn Clock>) -> Self {
        Self { sink: Sink::new(writer, clock), state: Init { started: false } }
    }

    /// Logs who submits.
    #[track_caller]
    pub fn submission(mut self, submission: &Submission) -> Result<Self, MllogError> {
        let site = Location::caller();
        for (key, text) in submission.records() {
            self.put(&Event::of(key, text, site))?;
        }
        Ok(self)
    }

    /// Logs whether the caches were cleared.
    #[track_caller]
    pub fn cache_clear(mut self, cleared: &CacheClear) -> Result<Self, MllogError> {
        let site = Location::caller();
        self.put(&match cleared {
            CacheClear::Cleared => Event::of(Key::CacheClear, true, site),
            CacheClear::Failed { reason } => {
                Event::of(Key::CacheClear, false, site).with("reason", reason.as_str())
            }
        })?;
        Ok(self)
    }

    /// Logs that setting up begins.
    #[track_caller]
    pub fn init_start(mut self) -> Result<Self, MllogError> {
        self.put(&Event::bare(Key::InitStart, Location::caller()))?;
        self.state.started = true;
        Ok(self)
    }

    /// Logs what the run trains with.
    #[track_caller]
    pub fn hyperparameters(mut self, values: &Hyperparameters) -> Result<Self, MllogError> {
        let site = Location::caller();
        for (key, value) in values.records()? {
            self.put(&Event::of(key, value, site))?;
        }
        Ok(self)
    }

    /// Logs that the weights of these names have been initialized.
    #[track_caller]
    pub fn weights_initialization(
        mut self,
        names: impl IntoIterator<Item = String>,
    ) -> Result<Self, MllogError> {
        let site = Location::caller();
        for name in names {
            self.put(&Event::bare(Key::WeightsInitialization, site).with("tensor", name))?;
        }
        Ok(self)
    }

    /// Logs that everything that may be done before the clock is done.
    #[track_caller]
    pub fn init_stop(mut self) -> Result<Session<Ready>, MllogError> {
        if !self.state.started {
            let reason = "init_start has not been logged";
            return Err(MllogError::Order { key: Key::InitStop, reason });
        }
        self.put(&Event::bare(Key::InitStop, Location::caller()))?;
        Ok(Session { sink: self.sink, state: Ready(()) })
    }
}

impl Session<Ready> {
    /// Starts the clock.
    #[track_caller]
    pub fn run_start(mut self) -> Result<Session<Running>, MllogError> {
        let start_ms = self.put(&Event::bare(Key::RunStart, Location::caller()))?;
        Ok(Session { sink: self.sink, state: Running { start_ms, block: None } })
    }
}

impl Session<Running> {
    /// The time of `run_start`, ms since the Unix epoch.
    pub fn start_ms(&self) -> u64 {
        self.state.start_ms
    }

    /// Logs that a block of `epoch_count` epochs, evaluation included, begins.
    #[track_caller]
    pub fn block_start(
        &mut self,
        first_epoch: usize,
        epoch_count: usize,
    ) -> Result<(), MllogError> {
        if self.state.block.is_some() {
            let reason = "the block before it is still open";
            return Err(MllogError::Order { key: Key::BlockStart, reason });
        }
        let event = epoch_event(Key::BlockStart, first_epoch, Location::caller())?;
        self.put(&event.with("epoch_count", epoch_count))?;
        self.state.block = Some(first_epoch);
        Ok(())
    }

    /// Logs that the open block ends.
    #[track_caller]
    pub fn block_stop(&mut self) -> Result<(), MllogError> {
        let Some(first_epoch) = self.state.block.take() else {
            let reason = "no block is open";
            return Err(MllogError::Order { key: Key::BlockStop, reason });
        };
        self.put(&epoch_event(Key::BlockStop, first_epoch, Location::caller())?)?;
        Ok(())
    }

    /// Logs that training epoch `epoch` begins.
    #[track_caller]
    pub fn epoch_start(&mut self, epoch: usize) -> Result<(), MllogError> {
        self.put_epoch(epoch_event(Key::EpochStart, epoch, Location::caller()))
    }

    /// Logs that training epoch `epoch` ends.
    #[track_caller]
    pub fn epoch_stop(&mut self, epoch: usize) -> Result<(), MllogError> {
        self.put_epoch(epoch_event(Key::EpochStop, epoch, Location::caller()))
    }

    /// Logs that the evaluation after epoch `epoch` begins.
    #[track_caller]
    pub fn eval_start(&mut self, epoch: usize) -> Result<(), MllogError> {
        self.put_epoch(epoch_event(Key::EvalStart, epoch, Location::caller()))
    }

    /// Logs the top-1 accuracy after epoch `epoch`, 0 to 1.
    #[track_caller]
    pub fn eval_accuracy(&mut self, epoch: usize, accuracy: f64) -> Result<(), MllogError> {
        let mut event = epoch_event(Key::EvalAccuracy, epoch, Location::caller())?;
        event.value = number(Key::EvalAccuracy, accuracy)?;
        self.put_epoch(Ok(event))
    }

    /// Logs that the evaluation after epoch `epoch` ends.
    #[track_caller]
    pub fn eval_stop(&mut self, epoch: usize) -> Result<(), MllogError> {
        self.put_epoch(epoch_event(Key::EvalStop, epoch, Location::caller()))
    }

    /// Logs figures that no rule reads, such as `{"throughput": 25120.5, "train_loss": 2.1}`.
    #[track_caller]
    pub fn tracked_stats(&mut self, epoch: usize, stats: Value) -> Result<(), MllogError> {
        let mut event = epoch_event(Key::TrackedStats, epoch, Location::caller())?;
        event.value = stats;
        self.put_epoch(Ok(event))
    }

    /// Stops the clock. May come at any moment: an open block is closed first; an epoch or an
    /// evaluation that was cut short stays without its stop, because it had none.
    #[track_caller]
    pub fn run_stop(mut self, status: Status) -> Result<Session<Stopped>, MllogError> {
        let site = Location::caller();
        if let Some(first_epoch) = self.state.block.take() {
            self.put(&epoch_event(Key::BlockStop, first_epoch, site)?)?;
        }
        let event = Event::bare(Key::RunStop, site).with("status", status.as_str());
        let stop_ms = self.put(&event)?;
        let state = Stopped { start_ms: self.state.start_ms, stop_ms, status };
        Ok(Session { sink: self.sink, state })
    }

    fn put_epoch(&mut self, event: Result<Event, MllogError>) -> Result<(), MllogError> {
        self.put(&event?).map(drop)
    }
}

impl Session<Stopped> {
    /// Milliseconds from `run_start` to `run_stop`.
    pub fn elapsed_ms(&self) -> u64 {
        self.state.stop_ms - self.state.start_ms
    }

    /// How the run ended.
    pub fn status(&self) -> Status {
        self.state.status
    }
}

/// A record about an epoch; blocks call its number `first_epoch_num`.
fn epoch_event(key: Key, epoch: usize, site: Site) -> Result<Event, MllogError> {
    if epoch == 0 {
        return Err(MllogError::Order { key, reason: "epochs count from 1" });
    }
    let name = match key {
        Key::BlockStart | Key::BlockStop => "first_epoch_num",
        _ => "epoch_num",
    };
    Ok(Event::bare(key, site).with(name, epoch))
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::super::{AdamOptions, LarsOptions, Optimizer, PlainOptions, SgdOptions};
    use super::*;

    /// Ticks through given times, then stays at the last.
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

    /// Keeps every single write apart.
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
                    assert_eq!(text.matches('\n').count(), 1, "one write, one line: {text:?}");
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
    fn a_whole_run_logs_every_record_with_what_the_rules_ask_for() {
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
        let stopped = session.run_stop(Status::Success).unwrap();
        assert_eq!((stopped.elapsed_ms(), stopped.status()), (60_000, Status::Success));

        let records = writes.records();
        let start = &records[3];
        assert_eq!(start["metadata"]["first_epoch_num"], 1);
        assert_eq!(start["metadata"]["epoch_count"], 3);
        let accuracy = records.iter().find(|record| record["key"] == "eval_accuracy").unwrap();
        assert_eq!(
            (&accuracy["value"], &accuracy["metadata"]["epoch_num"]),
            (&0.25.into(), &1.into())
        );
        assert_eq!(accuracy["metadata"]["file"], file!());
        assert_eq!(records.last().unwrap()["metadata"]["status"], "success");
    }

    #[test]
    fn an_abort_inside_an_epoch_closes_the_block_and_forges_no_stop() {
        let writes = Writes::default();
        let mut session = running(&writes, &[0]);
        session.block_start(1, 4).unwrap();
        session.epoch_start(1).unwrap();
        session.run_stop(Status::Aborted).unwrap();
        assert_eq!(
            writes.keys()[2..],
            ["run_start", "block_start", "epoch_start", "block_stop", "run_stop"]
        );
    }

    #[test]
    fn a_clock_that_steps_back_is_held() {
        let writes = Writes::default();
        let session = running(&writes, &[5_000, 4_000, 6_000, 1_000]);
        let stopped = session.run_stop(Status::Aborted).unwrap();
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
    fn each_optimizer_logs_its_own_family_of_keys_and_nothing_it_lacks() {
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
    fn what_does_not_fit_is_refused_and_not_written() {
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
}
