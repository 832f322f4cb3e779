//! The tensors of a network, with torchvision's names and order.

use tch::{Device, Kind, Tensor, no_grad};

use crate::tensor_name::{is_in_module, layer_of};

/// Kind and device of the tensors of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Kind of floating-point tensors.
    pub kind: Kind,
    /// Device.
    pub device: Device,
}

/// A tensor and its name.
pub type Named = (String, Tensor);

/// Parameters and buffers in torchvision's order. The order is the same in every process, as
/// collectives require.
///
/// `num_batches_tracked` is absent: nothing reads it, and updating it would cost a kernel per batch
/// norm and step. Checkpoints compute it from the step count.
#[derive(Debug)]
pub struct Weights {
    parameters: Vec<Named>,
    buffers: Vec<Named>,
    place: Place,
    /// Modules that are not trained.
    frozen: Vec<String>,
}

impl Weights {
    pub(super) fn new(place: Place, frozen: &[String]) -> Self {
        Self { parameters: Vec::new(), buffers: Vec::new(), place, frozen: frozen.to_owned() }
    }

    /// Whether the tensor `name` is not trained.
    pub(super) fn is_frozen(&self, name: &str) -> bool {
        self.frozen.iter().any(|module| is_in_module(name, module))
    }

    pub(super) fn parameter(&mut self, name: &str, size: &[i64]) -> Tensor {
        let tensor = Tensor::zeros(size, (self.place.kind, self.place.device));
        let tensor = tensor.set_requires_grad(!self.is_frozen(name));
        self.parameters.push((name.to_owned(), tensor.shallow_clone()));
        tensor
    }

    pub(super) fn buffer(&mut self, name: &str, channels: i64, value: f64) -> Tensor {
        let tensor = Tensor::full([channels], value, (self.place.kind, self.place.device));
        self.buffers.push((name.to_owned(), tensor.shallow_clone()));
        tensor
    }

    /// Trains all layers but the first `num_layers` and those that are never trained.
    pub fn freeze_first(&self, num_layers: usize) {
        let layers = self.parameters.chunk_by(|(a, _), (b, _)| layer_of(a) == layer_of(b));
        for (number, layer) in layers.enumerate() {
            for (name, tensor) in layer {
                let is_trained = number >= num_layers && !self.is_frozen(name);
                let _ = tensor.set_requires_grad(is_trained);
            }
        }
    }

    /// All parameters, trained or frozen.
    pub fn parameters(&self) -> &[Named] {
        &self.parameters
    }

    /// The parameters that training changes.
    pub fn trainable(&self) -> impl Iterator<Item = &Named> {
        self.parameters.iter().filter(|(_, tensor)| tensor.requires_grad())
    }

    /// The parameters that training does not change.
    pub fn frozen(&self) -> impl Iterator<Item = &Named> {
        self.parameters.iter().filter(|(_, tensor)| !tensor.requires_grad())
    }

    /// The running statistics of batch norm.
    pub fn buffers(&self) -> &[Named] {
        &self.buffers
    }

    /// The running statistics that training changes.
    pub fn moving_buffers(&self) -> impl Iterator<Item = &Named> {
        self.buffers.iter().filter(|(name, _)| !self.is_frozen(name))
    }

    /// Parameters, then buffers.
    pub fn all(&self) -> impl Iterator<Item = &Named> {
        self.parameters.iter().chain(&self.buffers)
    }

    /// The tensor with this name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.all().find(|(n, _)| n == name).map(|(_, tensor)| tensor)
    }

    /// Number of trainable parameters (elements).
    pub fn num_parameters(&self) -> usize {
        self.trainable().map(|(_, tensor)| tensor.numel()).sum()
    }

    /// Copies of all tensors, in the order of [`Weights::all`].
    pub fn snapshot(&self) -> Vec<Tensor> {
        no_grad(|| self.all().map(|(_, tensor)| tensor.detach().copy()).collect())
    }

    /// Copies a [`Weights::snapshot`] back.
    pub fn restore(&self, snapshot: &[Tensor]) {
        no_grad(|| {
            for ((_, tensor), saved) in self.all().zip(snapshot) {
                tensor.shallow_clone().copy_(saved);
            }
        });
    }
}
