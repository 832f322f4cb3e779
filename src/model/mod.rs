//! The networks: `ResNets` (He et al. 2015) in the v1.5 variant, with torchvision's names. This
//! module knows nothing of ranks, recipes or logs.

mod config;
mod excitation;
#[cfg(feature = "torch")]
mod fused;
mod fusion;
#[cfg(feature = "torch")]
mod init;
#[cfg(feature = "torch")]
mod layers;
#[cfg(feature = "torch")]
mod resnet;
mod shapes;
#[cfg(feature = "torch")]
mod weights;

#[cfg(feature = "torch")]
pub use self::{
    init::init,
    layers::{Mode, blur, blurred_conv, max_pool},
    resnet::ResNet,
    weights::{Named, Place, Weights},
};
pub use config::{
    Arch, Block, Blur, BlurOrder, BranchDrop, CustomConfig, DropBy, Initializer, ModelConfig,
    ModelSpec,
};
pub use excitation::Excitation;
pub use shapes::TensorShape;
