//! Weights as safetensors under torchvision's names, so that
//! `torchvision.models.resnet50().load_state_dict` takes them.

use std::{collections::HashMap, fs, path::Path};

use safetensors::tensor::{Dtype, TensorView, serialize};
use tch::{Device, Kind, Tensor};

use super::error::TrainError;
use crate::model::Weights;

/// Writes parameters and buffers to `path`, atomically. `num_steps` becomes batch norm's
/// `num_batches_tracked`.
pub fn save_weights(weights: &Weights, num_steps: usize, path: &Path) -> Result<(), TrainError> {
    let mut all: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for (name, tensor) in weights.all() {
        all.push((name.clone(), shape(tensor), bytes(tensor)));
    }
    let counter = (num_steps as i64).to_le_bytes();
    let mut views = HashMap::new();
    for (name, shape, bytes) in &all {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
        views.insert(name.clone(), view.map_err(|e| failed(path, &e))?);
        if let Some(bn) = name.strip_suffix("running_var") {
            let view = TensorView::new(Dtype::I64, Vec::new(), &counter);
            views.insert(format!("{bn}num_batches_tracked"), view.map_err(|e| failed(path, &e))?);
        }
    }
    let file = serialize(views, None).map_err(|e| failed(path, &e))?;
    let part = path.with_extension("part");
    fs::write(&part, file)
        .and_then(|()| fs::rename(&part, path))
        .map_err(|source| TrainError::File { path: path.to_owned(), source })
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> TrainError {
    TrainError::Checkpoint { path: path.to_owned(), reason: error.to_string() }
}

fn shape(tensor: &Tensor) -> Vec<usize> {
    tensor.size().iter().map(|&n| n as usize).collect()
}

/// The numbers in row-major `[N, C, H, W]` order, whatever the layout on the device.
fn bytes(tensor: &Tensor) -> Vec<u8> {
    let flat = tensor.detach().to_device(Device::Cpu).to_kind(Kind::Float).contiguous().view([-1]);
    let numbers = Vec::<f32>::try_from(&flat).expect("one dimension of fp32");
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}
