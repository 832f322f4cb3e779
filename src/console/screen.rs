//! Shows a run's progress: one line per epoch, and on a terminal also a progress bar.

use indicatif::ProgressBar;

use super::{
    course::Course,
    manner::{Manner, Template},
    note,
    numbers::{counted, duration, grouped, percent},
};
use crate::{events::RankEvent, mlperf::RunStatus};

/// Displays the events of a run.
#[derive(Debug)]
pub struct Screen {
    manner: Manner,
    bar: ProgressBar,
    course: Option<Course>,
    /// The last trained epoch, whose line waits for its accuracy.
    epoch: Option<EpochFigures>,
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
        Self { manner, bar, course: None, epoch: None }
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
                batch_size,
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
                let steps = [*num_epochs, *steps_per_epoch];
                self.course = Some(Course::new(steps, *batch_size, *target));
                self.bar = self.manner.bar(*steps_per_epoch, Template::Epoch);
            }
            RankEvent::Steps { epoch, step, loss, images_per_s, time } => {
                self.close_epoch(None);
                let Some(course) = &self.course else { return };
                self.bar.set_prefix(format!("epoch {epoch} of {}", course.num_epochs()));
                let rates = (*loss, *images_per_s, time.data_wait_fraction());
                self.bar.set_message(bar_text(course, (*epoch, *step), rates));
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
            RankEvent::Evaluated { epoch, accuracy, .. } => {
                if let Some(course) = &mut self.course {
                    course.evaluated(*epoch, *accuracy);
                }
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
}

/// A wait for data that is worth a look.
const WAITS: f64 = 0.02;

/// The line under the bar. What matters less comes last, because a narrow terminal cuts it.
fn bar_text(
    course: &Course,
    (epoch, step): (usize, usize),
    (loss, images_per_s, data_wait): (f64, f64, f64),
) -> String {
    let forecast = match course.to_target(epoch, step, images_per_s) {
        Some(left) => Some(format!("target in ~{}", duration(left))),
        None => course
            .to_the_end(epoch, step, images_per_s)
            .map(|left| format!("ends in ~{}", duration(left))),
    };
    let figures = [
        Some(format!("{} images/s", grouped(images_per_s))),
        Some(format!("loss {loss:.3}")),
        course.accuracy().map(|accuracy| percent(accuracy, 2)),
        forecast,
        (data_wait >= WAITS).then(|| format!("waiting for data {}", percent(data_wait, 0))),
    ];
    figures.into_iter().flatten().collect::<Vec<_>>().join("  ")
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
    fn the_line_under_the_bar_fits_into_60_columns_until_data_is_awaited() {
        let mut course = Course::new([20, 50], 1000, 0.759);
        let text = bar_text(&course, (2, 50), (2.5, 800.0, 0.0));
        assert_eq!(text, "800 images/s  loss 2.500  ends in ~18 min 45 s");
        course.evaluated(2, 0.4);
        course.evaluated(4, 0.5);
        let text = bar_text(&course, (4, 50), (2.5, 12_345.0, 0.01));
        assert_eq!(text, "12 345 images/s  loss 2.500  50.00 %  target in ~20 s");
        assert!(text.chars().count() <= 60);
        let text = bar_text(&course, (4, 50), (2.5, 12_345.0, 0.25));
        assert!(text.ends_with("target in ~20 s  waiting for data 25 %"), "{text}");
    }
}
