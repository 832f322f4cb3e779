//! The networks: ResNets (He et al. 2015) in the form called v1.5, with torchvision's names.
//! This room knows no rank, no recipe and no log.

mod config;

pub use config::{Arch, Block, Blueprint, Blur, BlurOrder, CustomConfig, Initializer, ModelConfig};
