//! The weights that a run begins with, if they are not random.

use crate::{
    hash,
    recipe::Recipe,
    run_dir::WeightsStamp,
    weights::{Fit, WeightsFile},
};

/// Weights, and where they fit in the network of a recipe.
pub(super) struct GivenWeights {
    pub(super) stamp: WeightsStamp,
    fit: Fit,
    /// Classes that the file names, if they are others than those of the images.
    other_names: Vec<String>,
}

impl GivenWeights {
    /// Those that `recipe` names, for images of `classes`, which are none if unknown.
    pub(super) fn of(recipe: &Recipe, classes: &[String]) -> anyhow::Result<Option<Self>> {
        let Some(path) = &recipe.model.weights else { return Ok(None) };
        let file = WeightsFile::open(path)?;
        let fit = Fit::of(&file, &recipe.spec)?;
        let is_other =
            fit.other_classes.is_none() && !classes.is_empty() && file.classes() != classes;
        let other_names = if is_other { file.classes().to_owned() } else { Vec::new() };
        let sha256 = hash::sha256_of(path)?.sha256;
        Ok(Some(Self { stamp: WeightsStamp { path: path.clone(), sha256 }, fit, other_names }))
    }

    /// What is taken from the file, in words.
    pub(super) fn describe(&self) -> String {
        let head = match self.other_names.first() {
            Some(first) => format!(
                "; the last layer is kept, which was trained on other classes ({first} ...)"
            ),
            None => String::new(),
        };
        format!(
            "starts from {}: {}{head}; such a run is no MLPerf result",
            self.stamp.path.display(),
            self.fit.describe()
        )
    }
}
