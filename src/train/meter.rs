//! Counts what a run does and tells it: images a second, mean losses, where the time went. Two
//! readings of the clock a step, and two of the loader's; all else when progress is due.

use std::time::{Duration, Instant};

use super::{error::TrainError, event_sink::EventSink};
use crate::{
    data::{BadImage, LoaderContext, LoaderStats, diagnosis},
    distributed::World,
    events::{RankEvent, RunStatus, Spent},
    libtorch::Readout,
    recipe::Recipe,
};

/// Times within an epoch that progress is told.
const TELLS_PER_EPOCH: usize = 20;

/// What has been counted, and who is told. Epochs from 1.
pub(super) struct Meter<'a> {
    event_sink: &'a mut EventSink,
    rank: usize,
    batch_size: usize,
    steps_per_epoch: usize,
    is_main: bool,
    image_sizes: Vec<usize>,
    epoch: usize,
    epoch_start: Mark,
    /// When progress was last due, and after which step.
    last_due: (Mark, usize),
    pending: Option<Pending>,
    epoch_loss: f64,
    /// Time in which batches were moved to the device.
    copied: Duration,
    spent: Spent,
    train_s: f64,
    /// Of the first epoch, whose data may come cold, and of all others.
    waits: [(LoaderStats, f64); 2],
    accuracy: Option<f64>,
}

/// Progress that is still to be told.
struct Pending {
    step: usize,
    num_steps: usize,
    loss_sum: Readout,
    images_per_s: f64,
    time: Spent,
}

/// A moment, and what the clocks showed then.
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
    /// Nothing counted yet.
    pub(super) fn new(world: &World, recipe: &Recipe, event_sink: &'a mut EventSink) -> Self {
        let now =
            Mark { moment: Instant::now(), stats: LoaderStats::default(), copied: Duration::ZERO };
        Self {
            event_sink,
            rank: world.rank,
            batch_size: recipe.run_length.batch_size,
            steps_per_epoch: recipe.run_length.steps_per_epoch,
            is_main: world.is_main(),
            image_sizes: recipe.image_sizes.clone(),
            epoch: 0,
            epoch_start: now,
            last_due: (now, 0),
            pending: None,
            epoch_loss: 0.0,
            copied: Duration::ZERO,
            spent: Spent::default(),
            train_s: 0.0,
            waits: [(LoaderStats::default(), 0.0); 2],
            accuracy: None,
        }
    }

    /// An epoch begins; `stats` is where the loader's time went so far.
    pub(super) fn epoch_start(&mut self, epoch: usize, stats: LoaderStats) {
        self.epoch = epoch;
        self.epoch_start = self.mark(stats);
        self.last_due = (self.epoch_start, 0);
        self.epoch_loss = 0.0;
    }

    fn mark(&self, stats: LoaderStats) -> Mark {
        Mark { moment: Instant::now(), stats, copied: self.copied }
    }

    /// A batch took so long to be moved to the device, as the host sees it.
    pub(super) fn copied(&mut self, time: Duration) {
        self.copied += time;
    }

    /// Whether progress is to be told after `step`. Only rank 0's is; the last step of an epoch is
    /// always due, so that its mean is whole.
    pub(super) fn is_due(&self, step: usize) -> bool {
        let every = self.steps_per_epoch.div_ceil(TELLS_PER_EPOCH);
        self.is_main && (step.is_multiple_of(every) || step == self.steps_per_epoch)
    }

    /// Progress; `loss_sum` is over the steps since the last one. It is told when the next is due:
    /// the device, which lags behind the host, has come to it by then and nobody waits.
    pub(super) fn steps(
        &mut self,
        step: usize,
        loss_sum: Readout,
        stats: LoaderStats,
    ) -> Result<(), TrainError> {
        let now = self.mark(stats);
        let (last, last_step) = std::mem::replace(&mut self.last_due, (now, step));
        let num_steps = step - last_step;
        let seconds = (now.moment - last.moment).as_secs_f64();
        let images_per_s = (num_steps * self.batch_size) as f64 / seconds;
        let time = last.until(&now);
        let before =
            self.pending.replace(Pending { step, num_steps, loss_sum, images_per_s, time });
        before.map_or(Ok(()), |before| self.tell(&before))
    }

    fn tell(&mut self, steps: &Pending) -> Result<(), TrainError> {
        let (epoch, loss_sum) = (self.epoch, steps.loss_sum.value()?);
        let loss = loss_sum / steps.num_steps as f64;
        if !loss.is_finite() {
            return Err(TrainError::Diverged { epoch, loss });
        }
        self.epoch_loss += loss_sum;
        let Pending { step, images_per_s, time, .. } = *steps;
        self.event_sink.tell(&RankEvent::Steps { epoch, step, loss, images_per_s, time });
        Ok(())
    }

    /// The epoch is done, here and, once its last loss is read, on the device.
    pub(super) fn epoch_stop(&mut self, stats: LoaderStats) -> Result<(), TrainError> {
        if let Some(last) = self.pending.take() {
            self.tell(&last)?;
        }
        let (start, now) = (self.epoch_start, self.mark(stats));
        let train_s = (now.moment - start.moment).as_secs_f64();
        let (stats, time) = (stats.since(&start.stats), start.until(&now));
        self.train_s += train_s;
        self.spent = self.spent.plus(&time);
        let waits = &mut self.waits[usize::from(self.epoch > 1)];
        *waits = (waits.0.plus(&stats), waits.1 + train_s);
        self.event_sink.tell(&RankEvent::EpochStop {
            epoch: self.epoch,
            loss: self.epoch_loss / self.steps_per_epoch as f64,
            train_s,
            images_per_s: (self.steps_per_epoch * self.batch_size) as f64 / train_s,
            data_wait: stats.wait_s / train_s,
            time,
            image_size: self.image_sizes[self.epoch - 1],
        });
        Ok(())
    }

    /// `[right, eval_weights]` of an evaluation over all ranks that took `eval_s`; the accuracy.
    pub(super) fn evaluated(&mut self, [num_right, num_images]: [u64; 2], eval_s: f64) -> f64 {
        let accuracy = num_right as f64 / num_images.max(1) as f64;
        self.accuracy = Some(accuracy);
        let epoch = self.epoch;
        self.event_sink.tell(&RankEvent::Evaluated {
            epoch,
            accuracy,
            num_right,
            num_images,
            eval_s,
        });
        accuracy
    }

    /// Images that were left out.
    pub(super) fn left_out(&mut self, bad: Vec<BadImage>) {
        for BadImage { path, reason } in bad {
            self.event_sink.tell_own(&RankEvent::BadImage { rank: self.rank, path, reason });
        }
    }

    /// This rank is through; the clock stands after `minutes` where this rank holds it.
    pub(super) fn run_stop(&mut self, clock: Option<(RunStatus, f64)>, known: &LoaderContext) {
        let (later, later_s) = self.waits[1];
        let data_wait = fraction(later.wait_s, later_s);
        let io_wait = fraction(later.io_wait_s(), later_s);
        let (rank, time) = (self.rank, self.spent);
        let data_verdict = diagnosis(self.waits, known);
        let Some((status, minutes)) = clock else {
            let data_verdict = data_verdict.map(|words| format!("rank {rank} {words}"));
            let event = RankEvent::RankStop { rank, data_wait, io_wait, data_verdict, time };
            return self.event_sink.tell_own(&event);
        };
        let images = self.epoch * self.steps_per_epoch * self.batch_size;
        self.event_sink.tell(&RankEvent::RunStop {
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
