//! Files of weights: what a file holds, to which network its weights belong, and where they fit.
//!
//! A file is safetensors under torchvision's names. Ours also say how to use the weights ([`Usage`]).
//! Those of torchvision and timm do not, so their network is read off names and shapes.

mod error;
mod file;
mod fit;
mod network;
mod onnx;
mod rewrite;

pub use error::WeightsError;
pub use file::{Usage, WeightsFile};
pub use fit::Fit;
pub use onnx::write_onnx;
