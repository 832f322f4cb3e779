//! How long a planned run takes on a machine whose throughput is known.
//!
//! The model: a step takes `a + b image_size^2` seconds, because launches, updates and all-reduce do
//! not grow with the images and convolutions do. The slower of network and loader sets the pace.
//! The model gives 23.3 minutes for the run that took `MosaicML` 23.55 (MLPerf Training v2.0).

use serde::Deserialize;

use super::resolved::Recipe;
use crate::events::RankEvent;

/// Images per second that a machine trains, and the time besides the steps.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Throughput {
    /// Source of the figures.
    pub source: String,
    /// Ranks that they were measured with.
    pub num_ranks: usize,
    /// `[[step]]`: rates of the training step, without waiting for images.
    #[serde(rename = "step")]
    pub steps: Vec<StepRate>,
    /// Images per second that the loader delivers, over all ranks; absent: as many as needed.
    pub loader_images_per_s: Option<f64>,
    /// Seconds by which the first epoch is longer: cold files.
    #[serde(default)]
    pub first_epoch_extra_s: f64,
    /// Seconds of an evaluation.
    #[serde(default)]
    pub eval_s: f64,
    /// Seconds by which the first evaluation is longer.
    #[serde(default)]
    pub first_eval_extra_s: f64,
}

/// Images per second at one image size.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepRate {
    /// Size of the training images, px.
    #[serde(rename = "side")]
    pub image_size: usize,
    /// Over all ranks.
    pub images_per_s: f64,
}

impl Throughput {
    /// Reads a table, one of [`Throughput`]'s fields a line.
    ///
    /// # Errors
    /// What is wrong, and the fix.
    pub fn parse(text: &str) -> Result<Self, String> {
        let table: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        table.checked()
    }

    /// The throughput of the run that wrote these events: rates by image size, the median of the
    /// later epochs where a size occurs more than once.
    ///
    /// # Errors
    /// The events hold no whole epoch.
    pub fn of_run(source: &str, events: &[RankEvent]) -> Result<Self, String> {
        let mut epochs: Vec<(usize, f64)> = Vec::new();
        let mut evaluations_s = Vec::new();
        let (mut num_ranks, mut epoch_images, mut first_epoch_s) = (0, 0.0, 0.0);
        for event in events {
            match event {
                RankEvent::Ready { .. } => num_ranks += 1,
                RankEvent::RunStart { steps_per_epoch, batch_size, .. } => {
                    epoch_images = (steps_per_epoch * batch_size) as f64;
                }
                RankEvent::EpochStop { image_size, train_s, .. } => {
                    if epochs.is_empty() {
                        first_epoch_s = *train_s;
                    }
                    epochs.push((*image_size, *train_s));
                }
                RankEvent::Evaluated { eval_s, .. } => evaluations_s.push(*eval_s),
                _ => {}
            }
        }
        // The first epoch may have read from a cold disk, and counts only if there is no other.
        let settled = &epochs[usize::from(epochs.len() > 1)..];
        let mut image_sizes: Vec<usize> =
            settled.iter().map(|(image_size, _)| *image_size).collect();
        image_sizes.sort_unstable();
        image_sizes.dedup();
        let steps = image_sizes.into_iter().map(|image_size| {
            let seconds =
                settled.iter().filter(|(s, _)| *s == image_size).map(|(_, seconds)| *seconds);
            StepRate { image_size, images_per_s: epoch_images / median(seconds.collect()) }
        });
        let first_eval_s = evaluations_s.first().copied().unwrap_or(0.0);
        let eval_s = median(evaluations_s.split_off(usize::from(evaluations_s.len() > 1)));
        let mut table = Self {
            source: source.to_owned(),
            num_ranks,
            steps: steps.collect(),
            loader_images_per_s: None,
            first_epoch_extra_s: 0.0,
            eval_s,
            first_eval_extra_s: (first_eval_s - eval_s).max(0.0),
        }
        .checked()?;
        let expected_s = epoch_images * table.image_s(epochs[0].0);
        table.first_epoch_extra_s = (first_epoch_s - expected_s).max(0.0);
        Ok(table)
    }

    fn checked(mut self) -> Result<Self, String> {
        let seconds = [self.first_epoch_extra_s, self.eval_s, self.first_eval_extra_s];
        if seconds.iter().any(|s| !(s.is_finite() && *s >= 0.0)) {
            return Err(format!("seconds ({seconds:?}) must be finite numbers from 0"));
        }
        let rates = self.steps.iter().map(|step| step.images_per_s).chain(self.loader_images_per_s);
        if let Some(rate) = rates.into_iter().find(|rate| !(rate.is_finite() && *rate > 0.0)) {
            return Err(format!("images_per_s ({rate}) must be a finite number above 0"));
        }
        self.steps.sort_by_key(|step| step.image_size);
        if self.steps.is_empty()
            || self.steps.windows(2).any(|two| two[0].image_size == two[1].image_size)
        {
            return Err("[[step]] must give one images_per_s or more, each for another side".into());
        }
        Ok(self)
    }

    /// A table of rates that were measured on one rank or machine.
    ///
    /// # Errors
    /// There are none, or an image size occurs twice.
    pub fn of_rates(source: &str, steps: Vec<StepRate>) -> Result<Self, String> {
        let table = Self {
            source: source.to_owned(),
            num_ranks: 1,
            steps,
            loader_images_per_s: None,
            first_epoch_extra_s: 0.0,
            eval_s: 0.0,
            first_eval_extra_s: 0.0,
        };
        table.checked()
    }

    /// Images a second of `image_size` px over all ranks, with an unlimited loader.
    pub(super) fn network_images_per_s(&self, image_size: usize) -> f64 {
        1.0 / self.network_s(image_size)
    }

    /// Seconds for one training image of `image_size` px, or for loading it, whichever is longer.
    fn image_s(&self, image_size: usize) -> f64 {
        let loader = self.loader_images_per_s.map_or(0.0, |rate| 1.0 / rate);
        self.network_s(image_size).max(loader)
    }

    /// Linear in `image_size^2` between the sizes of the table and beyond them; proportional to it if
    /// there is only one.
    fn network_s(&self, image_size: usize) -> f64 {
        let pixels = |image_size: usize| (image_size * image_size) as f64;
        let at = |step: &StepRate| (pixels(step.image_size), 1.0 / step.images_per_s);
        let upper = self.steps.partition_point(|step| step.image_size < image_size);
        let (low, high) = match self.steps.len() {
            1 => ((0.0, 0.0), at(&self.steps[0])),
            n => {
                let upper = upper.clamp(1, n - 1);
                (at(&self.steps[upper - 1]), at(&self.steps[upper]))
            }
        };
        let slope = (high.1 - low.1) / (high.0 - low.0);
        (low.1 + slope * (pixels(image_size) - low.0)).max(0.0)
    }

    /// Minutes from `run_start` to the end of each epoch of `recipe`, its evaluation included.
    ///
    /// # Errors
    /// The table was measured with another number of ranks.
    pub fn minutes(&self, recipe: &Recipe) -> Result<Vec<f64>, String> {
        let num_ranks = recipe.run_context.world_size;
        if num_ranks != self.num_ranks {
            return Err(format!(
                "the throughput was measured on {} ranks and the plan is for {num_ranks}; plan with \
                 --nproc {} or take another table",
                self.num_ranks, self.num_ranks
            ));
        }
        let epoch_images =
            (recipe.run_length.steps_per_epoch * recipe.run_length.batch_size) as f64;
        let mut seconds = self.first_epoch_extra_s;
        let mut first_eval_s = self.first_eval_extra_s;
        Ok((1..)
            .zip(&recipe.image_sizes)
            .map(|(epoch, image_size)| {
                seconds += epoch_images * self.image_s(*image_size);
                if recipe.eval_epochs.contains(&epoch) {
                    seconds += self.eval_s + std::mem::take(&mut first_eval_s);
                }
                seconds / 60.0
            })
            .collect())
    }
}

/// 0 of nothing.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Spent;

    fn table(steps: &[(usize, f64)]) -> Throughput {
        let steps =
            steps.iter().map(|&(image_size, images_per_s)| StepRate { image_size, images_per_s });
        Throughput::of_rates("a test", steps.collect()).unwrap()
    }

    #[test]
    fn seconds_are_linear_in_pixels_between_and_beyond_the_sides() {
        // 1 ms + 1 us * image_size^2
        let rate = |image_size: f64| 1.0 / (1e-3 + 1e-6 * image_size * image_size);
        let table = table(&[(200, rate(200.0)), (100, rate(100.0))]);
        for image_size in [50, 100, 150, 200, 300] {
            let seconds = table.image_s(image_size);
            assert!(
                (seconds - 1.0 / rate(image_size as f64)).abs() < 1e-12,
                "{image_size}: {seconds}"
            );
        }
    }

    #[test]
    fn one_side_alone_scales_with_pixels_and_the_loader_is_a_floor() {
        let mut table = table(&[(100, 1000.0)]);
        assert!((table.image_s(200) - 4e-3).abs() < 1e-12);
        table.loader_images_per_s = Some(500.0);
        assert!((table.image_s(100) - 2e-3).abs() < 1e-12);
        assert!((table.image_s(200) - 4e-3).abs() < 1e-12);
    }

    #[test]
    fn a_run_gives_its_own_table() {
        let epoch = |epoch, image_size, train_s| RankEvent::EpochStop {
            epoch,
            loss: 1.0,
            train_s,
            images_per_s: 0.0,
            data_wait: 0.0,
            time: Spent::default(),
            image_size,
        };
        let evaluated = |eval_s| RankEvent::Evaluated {
            epoch: 1,
            accuracy: 0.5,
            num_right: 1,
            num_images: 2,
            eval_s,
            statistics_s: 0.0,
        };
        let ready = |rank| RankEvent::Ready {
            rank,
            device: "cpu".to_owned(),
            num_threads: 1,
            num_params: 1,
        };
        let start = RankEvent::RunStart {
            time_ms: 0,
            num_train: 100,
            num_eval: 10,
            num_epochs: 4,
            steps_per_epoch: 10,
            batch_size: 10,
            target: 0.7,
        };
        let events = [
            ready(0),
            ready(1),
            start,
            epoch(1, 50, 5.0),
            evaluated(3.0),
            epoch(2, 50, 1.0),
            evaluated(2.0),
            epoch(3, 100, 4.0),
            evaluated(2.0),
        ];
        let table = Throughput::of_run("run_0", &events).unwrap();
        assert_eq!((table.num_ranks, table.steps.len()), (2, 2));
        assert!((table.steps[0].images_per_s - 100.0).abs() < 1e-9);
        assert!((table.first_epoch_extra_s - 4.0).abs() < 1e-9);
        assert!((table.eval_s - 2.0).abs() < 1e-9 && (table.first_eval_extra_s - 1.0).abs() < 1e-9);
        assert!(Throughput::of_run("run_0", &events[..3]).unwrap_err().contains("[[step]]"));
    }

    #[test]
    fn what_cannot_be_a_throughput_is_refused() {
        let head = "source = \"x\"\nnum_ranks = 8\n";
        for (text, said) in [
            (String::new(), "source"),
            (head.to_owned(), "step"),
            (format!("{head}[[step]]\nside = 88\nimages_per_s = 0"), "above 0"),
            (format!("{head}eval_s = -1\n[[step]]\nside = 88\nimages_per_s = 1"), "from 0"),
            (format!("{head}[[step]]\nside = 88\nspeed = 1"), "speed"),
        ] {
            let error = Throughput::parse(&text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
