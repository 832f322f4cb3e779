//! Counts what a run does and tells it: images a second, mean losses, the share of time that waits
//! for data.

use std::time::Instant;

use super::{error::TrainError, watch::Watch};
use crate::{
    data::{BadImage, Stall},
    dist::{World, c10d::Readout},
    events::{RankEvent, RunStatus},
    recipe::Recipe,
};

/// Times within an epoch that progress is told.
const TELLS_PER_EPOCH: usize = 20;

/// What has been counted, and who is told. Epochs from 1.
pub(super) struct Meter<'a> {
    watch: &'a mut Watch,
    rank: usize,
    batch_size: usize,
    steps_per_epoch: usize,
    is_main: bool,
    sides: Vec<usize>,
    epoch: usize,
    epoch_start: Instant,
    stall_before: Stall,
    /// When progress was last due, and after which step.
    last_due: (Instant, usize),
    untold: Option<Untold>,
    epoch_loss: f64,
    train_s: f64,
    /// Of all epochs but the first, whose data may come cold.
    later: (Stall, f64),
    accuracy: Option<f64>,
}

/// Progress that is still to be told.
struct Untold {
    step: usize,
    num_steps: usize,
    loss_sum: Readout,
    images_per_s: f64,
}

impl<'a> Meter<'a> {
    /// Nothing counted yet.
    pub(super) fn new(world: &World, recipe: &Recipe, watch: &'a mut Watch) -> Self {
        let now = Instant::now();
        Self {
            watch,
            rank: world.rank,
            batch_size: recipe.horizon.batch_size,
            steps_per_epoch: recipe.horizon.steps_per_epoch,
            is_main: world.is_main(),
            sides: recipe.sides.clone(),
            epoch: 0,
            epoch_start: now,
            stall_before: Stall::default(),
            last_due: (now, 0),
            untold: None,
            epoch_loss: 0.0,
            train_s: 0.0,
            later: (Stall::default(), 0.0),
            accuracy: None,
        }
    }

    /// An epoch begins; `stall` is where the loader's time went so far.
    pub(super) fn epoch_start(&mut self, epoch: usize, stall: Stall) {
        self.epoch = epoch;
        self.epoch_start = Instant::now();
        self.stall_before = stall;
        self.last_due = (self.epoch_start, 0);
        self.epoch_loss = 0.0;
    }

    /// Whether progress is to be told after `step`. Only rank 0's is; the last step of an epoch is
    /// always due, so that its mean is whole.
    pub(super) fn is_due(&self, step: usize) -> bool {
        let every = self.steps_per_epoch.div_ceil(TELLS_PER_EPOCH);
        self.is_main && (step.is_multiple_of(every) || step == self.steps_per_epoch)
    }

    /// Progress; `loss_sum` is over the steps since the last one. It is told when the next is due:
    /// the device, which lags behind the host, has come to it by then and nobody waits.
    pub(super) fn steps(&mut self, step: usize, loss_sum: Readout) -> Result<(), TrainError> {
        let num_steps = step - self.last_due.1;
        let seconds = self.last_due.0.elapsed().as_secs_f64();
        let images_per_s = (num_steps * self.batch_size) as f64 / seconds;
        self.last_due = (Instant::now(), step);
        let before = self.untold.replace(Untold { step, num_steps, loss_sum, images_per_s });
        before.map_or(Ok(()), |before| self.tell(&before))
    }

    fn tell(&mut self, steps: &Untold) -> Result<(), TrainError> {
        let (epoch, loss_sum) = (self.epoch, steps.loss_sum.value()?);
        let loss = loss_sum / steps.num_steps as f64;
        if !loss.is_finite() {
            return Err(TrainError::Diverged { epoch, loss });
        }
        self.epoch_loss += loss_sum;
        let Untold { step, images_per_s, .. } = *steps;
        self.watch.tell(&RankEvent::Steps { epoch, step, loss, images_per_s });
        Ok(())
    }

    /// The epoch is done, here and, once its last loss is read, on the device.
    pub(super) fn epoch_stop(&mut self, stall: Stall) -> Result<(), TrainError> {
        if let Some(last) = self.untold.take() {
            self.tell(&last)?;
        }
        let train_s = self.epoch_start.elapsed().as_secs_f64();
        let stall = stall.since(&self.stall_before);
        self.train_s += train_s;
        if self.epoch > 1 {
            self.later = (self.later.0.plus(&stall), self.later.1 + train_s);
        }
        self.watch.tell(&RankEvent::EpochStop {
            epoch: self.epoch,
            loss: self.epoch_loss / self.steps_per_epoch as f64,
            train_s,
            images_per_s: (self.steps_per_epoch * self.batch_size) as f64 / train_s,
            data_wait: stall.wait_s / train_s,
            side: self.sides[self.epoch - 1],
        });
        Ok(())
    }

    /// `[right, judged]` of an evaluation over all ranks that took `eval_s`; the accuracy.
    pub(super) fn evaluated(&mut self, [num_right, num_images]: [u64; 2], eval_s: f64) -> f64 {
        let accuracy = num_right as f64 / num_images.max(1) as f64;
        self.accuracy = Some(accuracy);
        let epoch = self.epoch;
        self.watch.tell(&RankEvent::Evaluated { epoch, accuracy, num_right, num_images, eval_s });
        accuracy
    }

    /// Pictures that were left out.
    pub(super) fn left_out(&mut self, bad: Vec<BadImage>) {
        for BadImage { path, reason } in bad {
            self.watch.tell_own(&RankEvent::BadImage { rank: self.rank, path, reason });
        }
    }

    /// The clock stands, after `minutes`.
    pub(super) fn run_stop(&mut self, status: RunStatus, minutes: f64) {
        let (stall, later_s) = self.later;
        let images = self.epoch * self.steps_per_epoch * self.batch_size;
        self.watch.tell(&RankEvent::RunStop {
            status,
            epoch: self.epoch,
            accuracy: self.accuracy,
            minutes,
            images_per_s: if self.train_s > 0.0 { images as f64 / self.train_s } else { 0.0 },
            data_wait: share(stall.wait_s, later_s),
            io_wait: share(stall.io_wait_s(), later_s),
            data_verdict: stall.verdict(later_s),
        });
    }
}

fn share(part_s: f64, total_s: f64) -> f64 {
    if total_s > 0.0 { part_s / total_s } else { 0.0 }
}
