//! Weights as safetensors under torchvision's names, so that
//! `torchvision.models.resnet50().load_state_dict` takes them.

use std::path::Path;

use tch::{Kind, Tensor};

use super::{error::TrainError, tensor_file};
use crate::{
    atomic_file,
    model::{Named, Weights},
};

/// Writes parameters and buffers to `path`, in fp32, as a whole or not at all. `num_steps` becomes batch
/// norm's `num_batches_tracked`.
pub fn save_weights(weights: &Weights, num_steps: usize, path: &Path) -> Result<(), TrainError> {
    let mut named: Vec<Named> = Vec::new();
    for (name, tensor) in weights.all() {
        named.push((name.clone(), tensor.detach().to_kind(Kind::Float)));
        if let Some(bn) = name.strip_suffix("running_var") {
            let counter = Tensor::from(num_steps as i64);
            named.push((format!("{bn}num_batches_tracked"), counter));
        }
    }
    let failed = |reason| TrainError::TensorFile { path: path.to_owned(), reason };
    atomic_file::write(path, &tensor_file::encode(&named).map_err(failed)?)
        .map_err(|source| TrainError::File { path: path.to_owned(), source })
}
