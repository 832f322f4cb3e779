//! The metrics of a run: its files, and what the server shows.

use std::time::SystemTime;

use super::stage::Stage;
use crate::{
    console::Screen,
    events::RankEvent,
    launch::{RunFolder, host_name},
    metrics::{Kind, Metrics, MetricsServer, Sample, exposition},
    recipe::Recipe,
};

/// Where the metrics of a run go.
pub(super) struct RunMetrics {
    /// The files; `None` if they cannot be written.
    files: Option<Metrics>,
    server: Option<MetricsServer>,
    /// `recipe`, `seed` and `run`, which the server adds to every value.
    labels: [(&'static str, String); 3],
    /// The last sample of each kind.
    last: Vec<Sample>,
}

impl RunMetrics {
    /// Creates the files in the run's folder. Without them, a run goes on with a warning.
    pub(super) fn create(
        folder: &RunFolder,
        recipe: &Recipe,
        (name, stage): (&str, &Stage),
        screen: &Screen,
    ) -> Self {
        let files = Metrics::create(folder.path(), recipe, &host_name());
        if let Err(error) = &files {
            warn(screen, error);
        }
        let labels = [
            ("recipe", name.to_owned()),
            ("seed", recipe.seed.to_string()),
            ("run", folder.path().display().to_string()),
        ];
        Self { files: files.ok(), server: stage.metrics_server.clone(), labels, last: Vec::new() }
    }

    /// Adds an event that was heard at `time`, or that an interrupted run heard.
    pub(super) fn hear(&mut self, event: &RankEvent, time: Option<SystemTime>, screen: &Screen) {
        let Some(files) = &mut self.files else { return };
        let (sample, written) = files.hear(event, time);
        if let Err(error) = &written {
            warn(screen, error);
        }
        if let (Some(server), Some(sample)) = (&self.server, sample) {
            let kind = sample.kind;
            self.last.retain(|other| other.kind != kind);
            self.last.push(sample);
            self.last.sort_by_key(|sample| place(sample.kind));
            let labels = self.labels.each_ref().map(|(name, value)| (*name, value.as_str()));
            server.set(exposition(&self.last, &labels));
        }
    }
}

/// The order in which kinds are looked at for a value that several have.
fn place(kind: Kind) -> usize {
    match kind {
        Kind::End => 0,
        Kind::Steps => 1,
        Kind::Evaluation => 2,
        Kind::Epoch => 3,
    }
}

fn warn(screen: &Screen, error: &std::io::Error) {
    screen.line(&format!("warning: cannot write metrics ({error}); free the disk"));
}
