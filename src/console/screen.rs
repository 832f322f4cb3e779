//! Shows a run's progress: one line per epoch, and on a terminal also a progress bar.

use std::{
    env,
    io::{IsTerminal, stderr},
    sync::Once,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use super::{
    note,
    numbers::{counted, duration, grouped, percent},
};
use crate::{events::RankEvent, mlperf::RunStatus};

/// How much is shown on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Lines and progress bars.
    Bars,
    /// Only lines.
    Lines,
    /// Only errors.
    Quiet,
}

impl Manner {
    /// Bars on a terminal, lines otherwise.
    pub fn of_stderr() -> Self {
        let is_dumb = env::var("TERM").is_ok_and(|term| term == "dumb");
        if stderr().is_terminal() && !is_dumb { Self::Bars } else { Self::Lines }
    }

    fn bar(self, length: usize, template: Template) -> ProgressBar {
        if self != Self::Bars {
            return ProgressBar::hidden();
        }
        let colour =
            if env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty()) { "" } else { ".cyan" };
        let text = match template {
            Template::Epoch => format!("epoch {{prefix}} [{{bar:24{colour}}}] {{msg}}"),
            Template::Count => {
                format!("{{prefix}} [{{bar:24{colour}}}] {{pos}} of {{len}}  {{eta}} left")
            }
        };
        let style = ProgressStyle::with_template(&text).expect("a constant template");
        ProgressBar::new(length as u64).with_style(style)
    }
}

#[derive(Clone, Copy)]
enum Template {
    Epoch,
    Count,
}

/// Displays the events of a run.
#[derive(Debug)]
pub struct Screen {
    manner: Manner,
    bar: ProgressBar,
    course: Option<Course>,
    /// The last trained epoch, whose line waits for its accuracy.
    epoch: Option<EpochFigures>,
    accuracy: Option<f64>,
}

/// The maximum length of the run and its start.
#[derive(Clone, Copy, Debug)]
struct Course {
    num_epochs: usize,
    steps_per_epoch: usize,
    start: Instant,
}

#[derive(Clone, Copy, Debug)]
struct EpochFigures {
    epoch: usize,
    loss: f64,
    images_per_s: f64,
    data_wait: f64,
}

impl Screen {
    /// An empty screen.
    pub fn new(manner: Manner) -> Self {
        let bar = ProgressBar::hidden();
        Self { manner, bar, course: None, epoch: None, accuracy: None }
    }

    /// Shows one event.
    pub fn show(&mut self, event: &RankEvent) {
        match event {
            RankEvent::Ready { rank: 0, device, num_threads, num_params } => self.line(&format!(
                "rank 0 is ready: {device}, {}, {}",
                counted(*num_threads, "thread"),
                counted(*num_params, "weight")
            )),
            RankEvent::RunStart {
                num_train,
                num_eval,
                num_epochs,
                steps_per_epoch,
                target,
                ..
            } => {
                self.line(&format!(
                    "the clock runs: {} to train on, {} to evaluate, at most {} to {}",
                    counted(*num_train, "image"),
                    grouped(*num_eval as f64),
                    counted(*num_epochs, "epoch"),
                    percent(*target, 2)
                ));
                self.course = Some(Course {
                    num_epochs: *num_epochs,
                    steps_per_epoch: *steps_per_epoch,
                    start: Instant::now(),
                });
                self.bar = self.manner.bar(*steps_per_epoch, Template::Epoch);
            }
            RankEvent::Steps { epoch, step, loss, images_per_s, .. } => {
                self.close_epoch(None);
                self.bar.set_prefix(epoch.to_string());
                self.bar.set_message(self.bar_text((*epoch, *step), *loss, *images_per_s));
                self.bar.set_position(*step as u64);
            }
            RankEvent::EpochStop { epoch, loss, images_per_s, data_wait, .. } => {
                self.close_epoch(None);
                self.epoch = Some(EpochFigures {
                    epoch: *epoch,
                    loss: *loss,
                    images_per_s: *images_per_s,
                    data_wait: *data_wait,
                });
            }
            RankEvent::Evaluated { accuracy, .. } => {
                self.accuracy = Some(*accuracy);
                self.close_epoch(Some(*accuracy));
            }
            RankEvent::Warning { message } => self.line(&format!("warning: {message}")),
            RankEvent::BadImage { rank, path, reason } => {
                self.line(&format!("rank {rank} skips {}: {reason}", path.display()));
            }
            RankEvent::RunStop { status, minutes, .. } => {
                self.close_epoch(None);
                self.bar.finish_and_clear();
                self.line(&match status {
                    RunStatus::Success => format!("target reached after {minutes:.2} minutes"),
                    RunStatus::Aborted => format!("target not reached in {minutes:.2} minutes"),
                });
            }
            RankEvent::Ready { .. }
            | RankEvent::Checkpoint { .. }
            | RankEvent::Alive { .. }
            | RankEvent::RankStop { .. }
            | RankEvent::Failed { .. } => {}
        }
    }

    /// Shows a line that is not an event.
    pub fn line(&self, text: &str) {
        if self.manner != Manner::Quiet {
            self.bar.suspend(|| note(text));
        }
    }

    /// Removes the bar from the screen, so that later output starts on its own line.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// Writes the line of the last trained epoch, once.
    fn close_epoch(&mut self, accuracy: Option<f64>) {
        if let Some(figures) = self.epoch.take() {
            self.line(&epoch_line(&figures, accuracy));
        }
    }

    fn bar_text(&self, (epoch, step): (usize, usize), loss: f64, images_per_s: f64) -> String {
        let accuracy = self.accuracy.map(|accuracy| format!("accuracy {}", percent(accuracy, 2)));
        let left = self.course.and_then(|c| c.time_left(epoch, step, c.start.elapsed()));
        let figures = [
            Some(format!("{} images/s", grouped(images_per_s))),
            Some(format!("loss {loss:.3}")),
            accuracy,
            left.map(|left| format!("at most {} left", duration(left))),
        ];
        figures.into_iter().flatten().collect::<Vec<_>>().join("  ")
    }
}

impl Course {
    /// Time to the end of the last epoch, extrapolated from `elapsed`.
    fn time_left(&self, epoch: usize, step: usize, elapsed: Duration) -> Option<Duration> {
        let done = (epoch - 1) * self.steps_per_epoch + step;
        let left = (self.num_epochs * self.steps_per_epoch).checked_sub(done)?;
        (done > 0).then(|| elapsed.mul_f64(left as f64 / done as f64))
    }
}

fn epoch_line(figures: &EpochFigures, accuracy: Option<f64>) -> String {
    let EpochFigures { epoch, loss, images_per_s, data_wait } = figures;
    let accuracy = accuracy.map(|a| format!("  accuracy {}", percent(a, 2))).unwrap_or_default();
    format!(
        "epoch {epoch}{accuracy}  loss {loss:.3}  {} images/s  waiting for data {}",
        grouped(*images_per_s),
        percent(*data_wait, 1)
    )
}

/// Counts up to a known total, with a bar, or with one line at the first count.
#[derive(Debug)]
pub struct Counter {
    manner: Manner,
    what: String,
    bar: ProgressBar,
    announced: Once,
}

impl Counter {
    /// A counter of `total` things. It shows nothing before the first count.
    pub fn new(manner: Manner, what: &str, total: usize) -> Self {
        let bar = manner.bar(total, Template::Count).with_prefix(what.to_owned());
        Self { manner, what: what.to_owned(), bar, announced: Once::new() }
    }

    /// Sets how many are done.
    pub fn set(&self, count: usize) {
        self.announced.call_once(|| {
            if self.manner == Manner::Lines {
                note(&self.what);
            }
        });
        self.bar.set_position(count as u64);
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIGURES: EpochFigures =
        EpochFigures { epoch: 12, loss: 1.2341, images_per_s: 12_345.4, data_wait: 0.003 };

    #[test]
    fn an_evaluated_epoch_is_one_line() {
        assert_eq!(
            epoch_line(&FIGURES, Some(0.713)),
            "epoch 12  accuracy 71.30 %  loss 1.234  12 345 images/s  waiting for data 0.3 %"
        );
    }

    #[test]
    fn an_epoch_without_evaluation_has_no_accuracy() {
        assert_eq!(
            epoch_line(&FIGURES, None),
            "epoch 12  loss 1.234  12 345 images/s  waiting for data 0.3 %"
        );
    }

    #[test]
    fn the_time_left_follows_from_the_completed_fraction() {
        let course = Course { num_epochs: 10, steps_per_epoch: 50, start: Instant::now() };
        let left = |epoch, step| course.time_left(epoch, step, Duration::from_secs(60));
        assert_eq!(left(2, 50), Some(Duration::from_secs(240)));
        assert_eq!(left(10, 50), Some(Duration::ZERO));
        assert_eq!(left(1, 0), None);
    }

    #[test]
    fn the_bar_shows_rate_loss_accuracy_and_the_end() {
        let mut screen = Screen::new(Manner::Quiet);
        assert_eq!(screen.bar_text((1, 1), 2.5, 800.0), "800 images/s  loss 2.500");
        screen.accuracy = Some(0.5);
        screen.course = Some(Course { num_epochs: 1, steps_per_epoch: 1, start: Instant::now() });
        assert_eq!(
            screen.bar_text((1, 1), 2.5, 800.0),
            "800 images/s  loss 2.500  accuracy 50.00 %  at most 0 s left"
        );
    }
}
