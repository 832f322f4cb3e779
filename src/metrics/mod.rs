//! Metrics of a run where people look for them: `metrics.jsonl`, `TensorBoard`'s event files, and
//! Prometheus' text on a port. The launcher makes them from the events that it hears; ranks know
//! nothing of them.

mod exposition;
mod sample;
mod sampler;
mod server;
mod tensorboard;

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
    time::SystemTime,
};

pub use exposition::exposition;
pub use sample::{Kind, Sample};
pub use sampler::Sampler;
pub use server::MetricsServer;
pub use tensorboard::EventFile;

use crate::{events::RankEvent, recipe::Recipe, run_dir};

/// The metrics of one run.
#[derive(Debug)]
pub struct Metrics {
    sampler: Sampler,
    lines: File,
    tensorboard: EventFile,
    has_failed: bool,
}

impl Metrics {
    /// Creates `metrics.jsonl` and `tensorboard/` in the folder of a run of `recipe` on `host`.
    pub fn create(run_dir: &Path, recipe: &Recipe, host: &str) -> io::Result<Self> {
        let folder = run_dir.join(run_dir::TENSORBOARD);
        fs::create_dir(&folder)?;
        Ok(Self {
            sampler: Sampler::new(recipe),
            lines: File::create_new(run_dir.join(run_dir::METRICS))?,
            tensorboard: EventFile::create(&folder, host, SystemTime::now())?,
            has_failed: false,
        })
    }

    /// Adds an event that was heard at `time`, or that an earlier run heard. Returns what became of it,
    /// and the first error in writing: after that, nothing more is written, because the run is being
    /// timed and goes on.
    pub fn hear(
        &mut self,
        event: &RankEvent,
        time: Option<SystemTime>,
    ) -> (Option<Sample>, io::Result<()>) {
        let Some(sample) = self.sampler.sample(event, time) else { return (None, Ok(())) };
        if self.has_failed {
            return (Some(sample), Ok(()));
        }
        let written = self.write(&sample, time);
        self.has_failed = written.is_err();
        (Some(sample), written)
    }

    fn write(&mut self, sample: &Sample, time: Option<SystemTime>) -> io::Result<()> {
        self.lines.write_all(sample.to_line().as_bytes())?;
        self.tensorboard.add(sample, time.unwrap_or_else(SystemTime::now))
    }
}
