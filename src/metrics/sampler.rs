//! Makes samples of events. The learning rate and the size of images follow from the recipe.

use std::time::{SystemTime, UNIX_EPOCH};

use super::sample::{Kind, Sample, Values};
use crate::{
    events::{RankEvent, Spent},
    optim::Schedule,
    recipe::Recipe,
};

/// What turns an event into a sample.
#[derive(Clone, Debug)]
pub struct Sampler {
    schedule: Schedule,
    image_sizes: Vec<usize>,
    steps_per_epoch: usize,
    batch_size: usize,
    /// When the clock was started, ms since the Unix epoch.
    start_ms: Option<u64>,
}

impl Sampler {
    /// For a run of `recipe`.
    pub fn new(recipe: &Recipe) -> Self {
        Self {
            schedule: recipe.schedule.clone(),
            image_sizes: recipe.image_sizes.clone(),
            steps_per_epoch: recipe.run_length.steps_per_epoch,
            batch_size: recipe.run_length.batch_size,
            start_ms: None,
        }
    }

    /// The sample of an event that was heard at `time`; `None` if it measures nothing. An event without
    /// a time was heard by the interrupted run that this one goes on with.
    pub fn sample(&mut self, event: &RankEvent, time: Option<SystemTime>) -> Option<Sample> {
        let (kind, epoch, step) = match event {
            RankEvent::RunStart { time_ms, .. } => {
                self.start_ms = Some(*time_ms);
                return None;
            }
            RankEvent::Steps { epoch, step, .. } => (Kind::Steps, *epoch, *step),
            RankEvent::EpochStop { epoch, .. } => (Kind::Epoch, *epoch, self.steps_per_epoch),
            RankEvent::Evaluated { epoch, .. } => (Kind::Evaluation, *epoch, self.steps_per_epoch),
            RankEvent::RunStop { epoch, .. } => (Kind::End, *epoch, self.steps_per_epoch),
            _ => return None,
        };
        let step = epoch.saturating_sub(1) * self.steps_per_epoch + step;
        let (mut minutes, mut status) = (self.minutes(time), None);
        if let RankEvent::RunStop { minutes: exactly, status: ended, .. } = event {
            (minutes, status) = (Some(*exactly), Some(*ended));
        }
        let values = self.values(event, step);
        let samples = step * self.batch_size;
        Some(Sample { kind, step, epoch, minutes, samples, values, status })
    }

    fn values(&self, event: &RankEvent, step: usize) -> Values {
        let learning_rate = Some(self.schedule.lr(step.saturating_sub(1)));
        let size_of = |epoch: usize| self.image_sizes.get(epoch.saturating_sub(1)).copied();
        match event {
            RankEvent::Steps { epoch, loss, images_per_s, time, .. } => Values {
                loss: finite(*loss),
                images_per_s: Some(*images_per_s),
                learning_rate,
                image_size: size_of(*epoch).map(|size| size as f64),
                data_wait: Some(time.data_wait_fraction()),
                ..waits(time)
            },
            RankEvent::EpochStop {
                loss,
                train_s,
                images_per_s,
                data_wait,
                time,
                image_size,
                ..
            } => Values {
                loss: finite(*loss),
                images_per_s: Some(*images_per_s),
                learning_rate,
                image_size: Some(*image_size as f64),
                seconds: Some(*train_s),
                data_wait: Some(*data_wait),
                ..waits(time)
            },
            RankEvent::Evaluated { accuracy, eval_s, .. } => {
                Values { accuracy: Some(*accuracy), seconds: Some(*eval_s), ..Values::default() }
            }
            RankEvent::RunStop { accuracy, images_per_s, data_wait, time, .. } => Values {
                accuracy: *accuracy,
                images_per_s: Some(*images_per_s),
                data_wait: Some(*data_wait),
                ..waits(time)
            },
            _ => Values::default(),
        }
    }

    fn minutes(&self, time: Option<SystemTime>) -> Option<f64> {
        let since_1970 = time?.duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
        Some((since_1970 - self.start_ms? as f64 / 1e3) / 60.0)
    }
}

/// JSON has no NaN.
fn finite(value: f64) -> Option<f64> {
    Some(value).filter(|value| value.is_finite())
}

fn waits(time: &Spent) -> Values {
    Values {
        io_wait_s: Some(time.io_wait_s),
        decode_wait_s: Some(time.decode_wait_s),
        copy_wait_s: Some(time.copy_wait_s),
        ..Values::default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::recipe::{self, RunContext};

    fn sampler() -> Sampler {
        let source = recipe::find("demo/baseline").unwrap();
        let context =
            RunContext { world_size: 2, num_classes: 16, num_train: 3200, num_eval: 1600 };
        let recipe = Recipe::resolve(recipe::load(&source, &[]).unwrap(), &context).unwrap();
        let mut sampler = Sampler::new(&recipe);
        let start = RankEvent::RunStart {
            time_ms: 60_000,
            num_train: 3200,
            num_eval: 1600,
            num_epochs: 20,
            steps_per_epoch: 50,
            batch_size: 64,
            target: 0.759,
        };
        assert_eq!(sampler.sample(&start, Some(UNIX_EPOCH)), None);
        sampler
    }

    fn steps(loss: f64) -> RankEvent {
        let time = Spent { io_wait_s: 1.0, decode_wait_s: 2.0, copy_wait_s: 3.0, compute_s: 6.0 };
        RankEvent::Steps { epoch: 3, step: 10, loss, images_per_s: 800.0, time }
    }

    #[test]
    fn steps_become_a_sample_with_everything_that_follows_from_the_recipe() {
        let time = UNIX_EPOCH + Duration::from_secs(150);
        let sample = sampler().sample(&steps(2.5), Some(time)).unwrap();
        assert_eq!((sample.step, sample.epoch, sample.samples), (110, 3, 110 * 64));
        assert_eq!(sample.minutes, Some(1.5));
        let Values { loss, data_wait, image_size, learning_rate, .. } = sample.values;
        assert_eq!((loss, data_wait, image_size), (Some(2.5), Some(0.25), Some(48.0)));
        assert!(learning_rate.is_some_and(|lr| lr > 0.39 && lr <= 0.4), "{learning_rate:?}");
    }

    #[test]
    fn a_loss_that_is_no_number_is_absent_and_the_line_stays_json() {
        let sample = sampler().sample(&steps(f64::NAN), None).unwrap();
        assert_eq!((sample.values.loss, sample.minutes), (None, None));
        let again: Sample = serde_json::from_str(&sample.to_line()).unwrap();
        assert_eq!(again, sample);
    }

    #[test]
    fn an_evaluation_has_the_step_after_which_it_happened() {
        let event = RankEvent::Evaluated {
            epoch: 4,
            accuracy: 0.5,
            num_right: 800,
            num_images: 1600,
            eval_s: 0.4,
            statistics_s: 0.0,
        };
        let sample = sampler().sample(&event, None).unwrap();
        assert_eq!((sample.kind, sample.step), (Kind::Evaluation, 200));
        let names: Vec<_> = sample.values().map(|(name, ..)| name).collect();
        assert_eq!(names, ["accuracy", "seconds"]);
    }
}
