//! How many accelerators a loader feeds, from its throughput and theirs at the image sizes of each
//! epoch of a recipe.

use super::{forecast::Throughput, resolved::Recipe};

/// The epoch in which a loader feeds the fewest accelerators.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Feeds {
    /// Accelerators.
    pub num_accelerators: f64,
    /// From 1.
    pub epoch: usize,
    /// Size of the crops that the loader makes, px.
    pub crop_size: usize,
    /// Size of the images that the network sees, px.
    pub image_size: usize,
    /// Images a second that one accelerator trains at that size.
    pub images_per_s: f64,
}

impl Feeds {
    /// The most demanding epoch of `recipe`. `supply` is by crop size, for the whole machine.
    pub fn least(recipe: &Recipe, supply: &Throughput, demand: &Throughput) -> Self {
        let epochs = (1..).zip(recipe.crop_sizes.iter().zip(&recipe.image_sizes));
        let feeds = epochs.map(|(epoch, (&crop_size, &image_size))| {
            let images_per_s = demand.network_images_per_s(image_size) / demand.num_ranks as f64;
            let num_accelerators = supply.network_images_per_s(crop_size) / images_per_s;
            Self { num_accelerators, epoch, crop_size, image_size, images_per_s }
        });
        feeds
            .min_by(|a, b| a.num_accelerators.total_cmp(&b.num_accelerators))
            .expect("a recipe has an epoch")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{IMAGENET, RecipeFile, StepRate};

    fn table(rates: &[(usize, f64)]) -> Throughput {
        let steps =
            rates.iter().map(|&(image_size, images_per_s)| StepRate { image_size, images_per_s });
        Throughput::of_rates("a test", steps.collect()).unwrap()
    }

    #[test]
    fn the_epoch_that_feeds_fewest_counts() {
        let mut recipe = Recipe::resolve(RecipeFile::default(), &IMAGENET).unwrap();
        recipe.crop_sizes = vec![100, 100, 200];
        recipe.image_sizes = vec![50, 100, 200];
        let supply = table(&[(100, 9000.0), (200, 3000.0)]);
        let mut demand = table(&[(50, 8000.0), (100, 4000.0), (200, 1000.0)]);
        demand.num_ranks = 2;
        let least = Feeds::least(&recipe, &supply, &demand);
        assert_eq!((least.epoch, least.crop_size, least.image_size), (1, 100, 50));
        assert!((least.num_accelerators - 2.25).abs() < 1e-9, "{least:?}");
        assert!((least.images_per_s - 4000.0).abs() < 1e-9, "{least:?}");
    }
}
