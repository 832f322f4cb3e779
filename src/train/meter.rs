//! Measures a run and reports it: images a second, mean losses, where the time went. A step reads
//! the clock twice and the loader's clock twice. Everything else happens when progress is due.

use std::time::{Duration, Instant};

use super::{
    error::TrainError,
    event_sink::EventSink,
    nonfinite::{Finding, Nonfinite},
};
use crate::{
    data::{BadImage, LoaderContext, LoaderStats, diagnosis},
    distributed::World,
    events::{RankEvent, Spent},
    libtorch::Readout,
    mlperf::RunStatus,
    optim::Schedule,
    recipe::Recipe,
};

/// Progress reports of an epoch.
const TELLS_PER_EPOCH: usize = 20;

/// What has been measured, and where reports go. Epochs count from 1.
pub(super) struct Meter<'a> {
    event_sink: &'a mut EventSink,
    rank: usize,
    batch_size: usize,
    steps_per_epoch: usize,
    nonfinite: Nonfinite,
    image_sizes: Vec<usize>,
    schedule: Schedule,
    epoch: usize,
    epoch_start: Mark,
    /// When progress was last due, and after which step.
    last_due: (Mark, usize),
    pending: Option<Pending>,
    /// Sum of the finite losses of this epoch, and their number.
    epoch_loss: (f64, usize),
    /// Steps of this epoch that were reported.
    epoch_steps: usize,
    /// Steps reported since the run started or was resumed.
    num_steps: usize,
    /// Time that the host spent copying batches to the device.
    copied: Duration,
    spent: Spent,
    train_s: f64,
    /// Of the first epoch, which may read from a cold disk, and of all others.
    waits: [(LoaderStats, f64); 2],
    accuracy: Option<f64>,
}

/// A progress report that waits for its loss.
struct Pending {
    step: usize,
    num_steps: usize,
    losses: Readout,
    images_per_s: f64,
    time: Spent,
}

/// A moment, and the readings of the clocks then.
#[derive(Clone, Copy)]
struct Mark {
    moment: Instant,
    stats: LoaderStats,
    copied: Duration,
}

impl Mark {
    /// Where the time went from this mark to `now`.
    fn until(&self, now: &Self) -> Spent {
        let stats = now.stats.since(&self.stats);
        let total_s = (now.moment - self.moment).as_secs_f64();
        let copy_wait_s = now.copied.saturating_sub(self.copied).as_secs_f64();
        Spent {
            io_wait_s: stats.io_wait_s(),
            decode_wait_s: stats.decode_wait_s(),
            copy_wait_s,
            compute_s: (total_s - stats.wait_s - copy_wait_s).max(0.0),
        }
    }
}

impl<'a> Meter<'a> {
    /// Starts with empty counts.
    pub(super) fn new(world: &World, recipe: &Recipe, event_sink: &'a mut EventSink) -> Self {
        let now =
            Mark { moment: Instant::now(), stats: LoaderStats::default(), copied: Duration::ZERO };
        Self {
            event_sink,
            rank: world.rank,
            batch_size: recipe.run_length.batch_size,
            steps_per_epoch: recipe.run_length.steps_per_epoch,
            nonfinite: Nonfinite::new(recipe.train.on_nonfinite),
            image_sizes: recipe.image_sizes.clone(),
            schedule: recipe.schedule.clone(),
            epoch: 0,
            epoch_start: now,
            last_due: (now, 0),
            pending: None,
            epoch_loss: (0.0, 0),
            epoch_steps: 0,
            num_steps: 0,
            copied: Duration::ZERO,
            spent: Spent::default(),
            train_s: 0.0,
            waits: [(LoaderStats::default(), 0.0); 2],
            accuracy: None,
        }
    }

    /// Starts an epoch, of which a resumed run has made `num_done` steps before. `stats` are the
    /// loader's so far.
    pub(super) fn epoch_start(&mut self, epoch: usize, num_done: usize, stats: LoaderStats) {
        self.epoch = epoch;
        self.epoch_start = self.mark(stats);
        self.last_due = (self.epoch_start, num_done);
        (self.epoch_loss, self.epoch_steps) = ((0.0, 0), 0);
    }

    fn mark(&self, stats: LoaderStats) -> Mark {
        Mark { moment: Instant::now(), stats, copied: self.copied }
    }

    /// Where events go.
    pub(super) fn event_sink(&mut self) -> &mut EventSink {
        self.event_sink
    }

    /// Adds the time in which the host copied a batch to the device.
    pub(super) fn copied(&mut self, time: Duration) {
        self.copied += time;
    }

    /// The largest number of steps between two reports.
    pub(super) fn interval(&self) -> usize {
        self.steps_per_epoch.div_ceil(TELLS_PER_EPOCH)
    }

    /// Whether progress is due after `step`. It is always due after the last step of an epoch, so that
    /// the mean loss covers all steps.
    pub(super) fn is_due(&self, step: usize) -> bool {
        step.is_multiple_of(self.interval()) || step == self.steps_per_epoch
    }

    /// Adds a progress report with the losses of the steps since the last one. The report goes out
    /// when the next one is due: by then the device has computed the losses, and nothing waits.
    pub(super) fn steps(
        &mut self,
        step: usize,
        losses: Readout,
        stats: LoaderStats,
    ) -> Result<(), TrainError> {
        let now = self.mark(stats);
        let (last, last_step) = std::mem::replace(&mut self.last_due, (now, step));
        let num_steps = step - last_step;
        let seconds = (now.moment - last.moment).as_secs_f64();
        let images_per_s = (num_steps * self.batch_size) as f64 / seconds;
        let time = last.until(&now);
        let before = self.pending.replace(Pending { step, num_steps, losses, images_per_s, time });
        before.map_or(Ok(()), |before| self.report(&before))
    }

    fn report(&mut self, steps: &Pending) -> Result<(), TrainError> {
        let (epoch, losses) = (self.epoch, steps.losses.values()?);
        let first = steps.step + 1 - losses.len();
        match self.nonfinite.hear(&losses) {
            Finding::None => {}
            Finding::Skipped(at, num) => {
                let (step, loss, of) = (first + at, losses[at], losses.len());
                let message = format!(
                    "the loss of rank {} is {loss} in step {step} of epoch {epoch}, and not finite in {num} \
                     of {of} steps; their updates were skipped",
                    self.rank
                );
                self.event_sink.send_own(&RankEvent::Warning { message });
            }
            Finding::Ends(at) => {
                let (step, loss) = (first + at, losses[at]);
                let lr = self.schedule.lr((epoch - 1) * self.steps_per_epoch + step - 1);
                return Err(TrainError::Diverged { epoch, step, lr, loss });
            }
        }
        let finite: Vec<f64> = losses.into_iter().filter(|loss| loss.is_finite()).collect();
        // In fp32, as the device would add them.
        let loss_sum = f64::from(finite.iter().fold(0.0f32, |sum, loss| sum + *loss as f32));
        self.epoch_loss.0 += loss_sum;
        self.epoch_loss.1 += finite.len();
        self.num_steps += steps.num_steps;
        self.epoch_steps += steps.num_steps;
        if finite.is_empty() {
            return Ok(());
        }
        let loss = loss_sum / finite.len() as f64;
        let Pending { step, images_per_s, time, .. } = *steps;
        self.event_sink.send(&RankEvent::Steps { epoch, step, loss, images_per_s, time });
        Ok(())
    }

    /// Ends the epoch, after reading its last loss from the device.
    pub(super) fn epoch_stop(&mut self, stats: LoaderStats) -> Result<(), TrainError> {
        if let Some(last) = self.pending.take() {
            self.report(&last)?;
        }
        let (start, now) = (self.epoch_start, self.mark(stats));
        let train_s = (now.moment - start.moment).as_secs_f64();
        let (stats, time) = (stats.since(&start.stats), start.until(&now));
        self.train_s += train_s;
        self.spent = self.spent.plus(&time);
        let waits = &mut self.waits[usize::from(self.epoch > 1)];
        *waits = (waits.0.plus(&stats), waits.1 + train_s);
        // A run that was resumed at the end of an epoch has made no step in it.
        if self.epoch_loss.1 == 0 {
            return Ok(());
        }
        self.event_sink.send(&RankEvent::EpochStop {
            epoch: self.epoch,
            loss: self.epoch_loss.0 / self.epoch_loss.1 as f64,
            train_s,
            images_per_s: (self.epoch_steps * self.batch_size) as f64 / train_s,
            data_wait: stats.wait_s / train_s,
            time,
            image_size: self.image_sizes[self.epoch - 1],
        });
        Ok(())
    }

    /// Reports `[correct, evaluated]` images over all ranks of an evaluation that took `eval_s`, of which
    /// `statistics_s` for batch norm's statistics, and returns the accuracy.
    pub(super) fn evaluated(
        &mut self,
        [num_right, num_images]: [u64; 2],
        [eval_s, statistics_s]: [f64; 2],
    ) -> f64 {
        let accuracy = num_right as f64 / num_images.max(1) as f64;
        self.accuracy = Some(accuracy);
        let epoch = self.epoch;
        self.event_sink.send(&RankEvent::Evaluated {
            epoch,
            accuracy,
            num_right,
            num_images,
            eval_s,
            statistics_s,
        });
        accuracy
    }

    /// Reports images that were left out.
    pub(super) fn left_out(&mut self, bad: Vec<BadImage>) {
        for BadImage { path, reason } in bad {
            self.event_sink.send_own(&RankEvent::BadImage { rank: self.rank, path, reason });
        }
    }

    /// Ends the run. `clock` is set on the rank that keeps the log.
    pub(super) fn run_stop(&mut self, clock: Option<(RunStatus, f64)>, known: &LoaderContext) {
        let (later, later_s) = self.waits[1];
        let data_wait = fraction(later.wait_s, later_s);
        let io_wait = fraction(later.io_wait_s(), later_s);
        let (rank, time) = (self.rank, self.spent);
        let data_verdict = diagnosis(self.waits, known);
        let Some((status, minutes)) = clock else {
            let data_verdict = data_verdict.map(|words| format!("rank {rank} {words}"));
            let event = RankEvent::RankStop { rank, data_wait, io_wait, data_verdict, time };
            return self.event_sink.send_own(&event);
        };
        let images = self.num_steps * self.batch_size;
        self.event_sink.send(&RankEvent::RunStop {
            status,
            epoch: self.epoch,
            accuracy: self.accuracy,
            minutes,
            images_per_s: fraction(images as f64, self.train_s),
            data_wait,
            io_wait,
            data_verdict,
            time,
        });
    }
}

fn fraction(part_s: f64, total_s: f64) -> f64 {
    if total_s > 0.0 { part_s / total_s } else { 0.0 }
}
