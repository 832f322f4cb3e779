//! What a recipe says about a method, before anything is built.

#[cfg(feature = "torch")]
use super::algorithm::{Algorithm, MethodContext};
#[cfg(feature = "torch")]
use crate::libtorch::BridgeError;
use crate::{data::DataConfig, model::ModelSpec, problems::Problems};

/// A table `[algorithms.NAME]`. A method implements what it needs; the defaults change nothing.
pub trait Method {
    /// Adds values that are out of range, or that make the method do nothing with `data`.
    fn check(&self, _data: &DataConfig, _problems: &mut Problems) {}

    /// Adds what the method cannot do with the network `spec`, which all methods have changed.
    fn check_model(&self, _spec: &ModelSpec, _problems: &mut Problems) {}

    /// Why MLPerf's closed division forbids the method: the text that follows `algorithms.NAME`,
    /// which is empty where every setting is forbidden. `None` where it is allowed.
    fn closed_obstacle(&self) -> Option<&'static str> {
        Some("")
    }

    /// Why a captured step cannot be replayed as every step, as a clause about the method.
    fn graph_obstacle(&self) -> Option<&'static str> {
        None
    }

    /// Sets what the loader makes of an image.
    fn change_data(&self, _data: &mut DataConfig) {}

    /// Changes the plan of the network.
    fn change_model(&self, _spec: &mut ModelSpec) {}

    /// Image sizes by epoch, where the method sets them.
    fn image_sizes(&self, _crop_size: usize, _num_epochs: usize) -> Option<ImageSizes> {
        None
    }

    /// The method in its first state, where it acts during training.
    ///
    /// `Sized` keeps it out of the table of `dyn Method`, so that a program which only checks
    /// recipes does not link libtorch.
    #[cfg(feature = "torch")]
    fn start(&self, _context: &MethodContext) -> Result<Option<Box<dyn Algorithm>>, BridgeError>
    where
        Self: Sized,
    {
        Ok(None)
    }
}

/// Sizes of the training images by epoch, px; index 0 is epoch 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSizes {
    /// Of the crops that the loader makes.
    pub loaded: Vec<usize>,
    /// Of the images that the network sees.
    pub trained: Vec<usize>,
}

/// Requires one crop size for the whole run, for the method `name`, which sets sizes.
pub(super) fn refuse_changing_crops(name: &str, data: &DataConfig, problems: &mut Problems) {
    if data.train.crop_size.changes() {
        problems.add(format!(
            "algorithms.{name} and the parts of data.train.crop_size both set image sizes; switch the \
             method off (algorithms.{name} = false) or write one crop_size"
        ));
    }
}

/// Requires an `alpha` for which a few attempts draw a number from Beta(alpha, alpha).
pub(super) fn check_alpha(key: &str, alpha: f64, problems: &mut Problems) {
    if !(alpha > 0.0 && alpha <= 4.0) {
        problems.add(format!("{key} ({alpha}) must be above 0 and at most 4"));
    }
}
