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
}

impl GivenWeights {
    /// Those that `recipe` names.
    pub(super) fn of(recipe: &Recipe) -> anyhow::Result<Option<Self>> {
        let Some(path) = &recipe.model.weights else { return Ok(None) };
        let fit = Fit::of(&WeightsFile::open(path)?, &recipe.spec)?;
        let sha256 = hash::sha256_of(path)?.sha256;
        Ok(Some(Self { stamp: WeightsStamp { path: path.clone(), sha256 }, fit }))
    }

    /// What is taken from the file, in words.
    pub(super) fn describe(&self) -> String {
        format!(
            "starts from {}: {}; such a run is no MLPerf result",
            self.stamp.path.display(),
            self.fit.describe()
        )
    }
}
