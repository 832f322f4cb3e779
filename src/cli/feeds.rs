//! The recipe mode of `bench data`: which crops a recipe needs and how many accelerators it feeds.

use std::path::Path;

use super::plan;
use crate::{
    console::counted,
    data::TrainTransform,
    recipe::{self, Feeds, IMAGENET, Recipe, StepRate, Throughput},
};

/// The most crop sizes that are measured for a recipe; the rest is interpolated.
const MAX_SIDES: usize = 5;
/// The default throughput table.
const PUBLISHED: &str = include_str!("../../configs/throughput/composer-optimized-8xA100.toml");

/// A recipe and the throughput of the accelerators that train it.
pub(super) struct Feeding {
    name: String,
    recipe: Recipe,
    demand: Throughput,
}

impl Feeding {
    /// Resolves a recipe for `ImageNet`. `throughput` is a table or the folder of a run.
    pub(super) fn of(
        name: &str,
        overrides: &[String],
        throughput: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let source = recipe::find(name)?;
        let mut file = recipe::load(&source, overrides)?;
        file.run.num_ranks = 1;
        file.model.num_classes = 0;
        (file.data.path, file.data.synth) = (None, None);
        let demand = match throughput {
            Some(path) => plan::throughput(path)?,
            None => Throughput::parse(PUBLISHED).expect("the built-in table is valid"),
        };
        let recipe = Recipe::resolve(file, &IMAGENET)?;
        Ok(Self { name: source.name, recipe, demand })
    }

    /// The recipe's crop sizes; if there are many, the smallest, the largest and some in between.
    pub(super) fn image_sizes(&self) -> Vec<usize> {
        let mut image_sizes = self.recipe.crop_sizes.clone();
        image_sizes.sort_unstable();
        image_sizes.dedup();
        if image_sizes.len() <= MAX_SIDES {
            return image_sizes;
        }
        (0..MAX_SIDES).map(|i| image_sizes[i * (image_sizes.len() - 1) / (MAX_SIDES - 1)]).collect()
    }

    /// How the recipe crops, decodes and caches images.
    pub(super) fn transform(&self) -> TrainTransform {
        self.recipe.epoch_values[0].transform
    }

    /// How many accelerators `cores` feed, given the images per second at each crop size.
    pub(super) fn verdict(&self, rates: Vec<StepRate>, cores: usize) -> Result<String, String> {
        let supply = Throughput::of_rates("this machine", rates)?;
        let Feeds { num_accelerators, epoch, crop_size, image_size, images_per_s } =
            Feeds::least(&self.recipe, &supply, &self.demand);
        let known: Vec<usize> = self.demand.steps.iter().map(|step| step.image_size).collect();
        let how = match (known.first(), known.last()) {
            (Some(&least), Some(&most)) if (least..=most).contains(&image_size) => "",
            _ if known.len() == 1 => ", an upper bound by pixels",
            _ => ", extrapolated",
        };
        Ok(format!(
            "{}: {} feed {num_accelerators:.1} accelerators, fewest in epoch {epoch} (crops of \
             {crop_size} px, trained at {image_size} px: {images_per_s:.0} images/s each{how}); \
             by {}",
            self.name,
            counted(cores, "core"),
            self.demand.source
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feeding(name: &str) -> Feeding {
        Feeding::of(name, &[], None).unwrap()
    }

    #[test]
    fn a_recipes_own_crop_sizes_are_measured_including_the_extremes() {
        assert_eq!(feeding("optimized").image_sizes(), [176]);
        let fastest = feeding("fastest");
        let (image_sizes, all) = (fastest.image_sizes(), &fastest.recipe.crop_sizes);
        assert!(image_sizes.len() <= MAX_SIDES && image_sizes.is_sorted(), "{image_sizes:?}");
        assert_eq!((image_sizes.first(), image_sizes.last()), (all.iter().min(), all.iter().max()));
    }

    #[test]
    fn the_most_demanding_epoch_of_a_recipe_counts() {
        let rates = vec![StepRate { image_size: 176, images_per_s: 24_781.0 }];
        let said = feeding("optimized").verdict(rates, 64).unwrap();
        assert!(said.starts_with("optimized: 64 cores feed 5.0 accelerators"), "{said}");
        let epoch = "epoch 1 (crops of 176 px, trained at 88 px: 4956 images/s each, extrapolated)";
        assert!(said.contains(epoch) && said.contains("8 x A100"), "{said}");
    }
}
