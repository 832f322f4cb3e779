//! What a recipe costs: pixels, arithmetic, and predicted minutes.

use super::{forecast::Throughput, resolved::Recipe};

/// Full size of an image, px: that of the reference.
const FULL_SIZE: f64 = 224.0;
/// A training step computes as much as three forward passes.
const PASSES: f64 = 3.0;

/// What a whole run of a recipe costs.
#[derive(Clone, Debug, PartialEq)]
pub struct Cost {
    /// Epochs.
    pub num_epochs: usize,
    /// Epochs at 224 px with as many pixels as all epochs of the run.
    pub full_size_epochs: f64,
    /// Operations of convolutions and classifier in training, 10^18.
    pub eflop: f64,
    /// Predicted minutes of the whole run, evaluations included; none where the throughput is of
    /// another number of ranks.
    pub minutes: Option<f64>,
}

impl Cost {
    /// What `recipe` costs on a machine of `throughput`.
    pub fn of(recipe: &Recipe, throughput: &Throughput) -> Self {
        let epoch_images = recipe.run_length.steps_per_epoch * recipe.run_length.batch_size;
        let sizes = recipe.image_sizes.iter();
        let macs: f64 = sizes.clone().map(|size| recipe.spec.macs(*size) as f64).sum();
        Self {
            num_epochs: recipe.run_length.num_epochs,
            full_size_epochs: sizes.map(|size| (*size as f64 / FULL_SIZE).powi(2)).sum(),
            eflop: 2.0 * PASSES * macs * epoch_images as f64 / 1e18,
            minutes: throughput.minutes(recipe).ok().and_then(|minutes| minutes.last().copied()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{IMAGENET, RecipeFile, RunContext, StepRate};

    #[test]
    fn an_epoch_at_full_size_is_one_and_costs_what_the_network_computes() {
        let mut file = RecipeFile::default();
        file.run.max_duration = "2ep".parse().unwrap();
        file.scheduler.t_warmup = "0ep".parse().unwrap();
        let recipe = Recipe::resolve(file, &RunContext { world_size: 1, ..IMAGENET }).unwrap();
        let rates = vec![StepRate { image_size: 224, images_per_s: 1000.0 }];
        let mut throughput = Throughput::of_rates("a test", rates).unwrap();
        let cost = Cost::of(&recipe, &throughput);
        assert!((cost.full_size_epochs - 2.0).abs() < 1e-12);
        // 4.09 GMAC an image (He et al. 2015, version 1.5).
        assert!(
            (cost.eflop / (2.0 * 6.0 * 4.089e9 * 1.28e6 / 1e18) - 1.0).abs() < 0.01,
            "{cost:?}"
        );
        assert!((cost.minutes.unwrap() - 2.0 * 1280.0 / 60.0).abs() < 0.1, "{cost:?}");
        throughput.num_ranks = 8;
        assert_eq!(Cost::of(&recipe, &throughput).minutes, None);
    }
}
