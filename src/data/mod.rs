//! The data plane: from files on a disk to uint8 batches in the trainer's hands. This room knows
//! no model and no tensor.

mod config;
pub mod random;
pub mod synth;

pub use config::{
    DataConfig, EvalTransform, Geometry, Interpolation, OnBadImage, SynthConfig, TrainTransform,
};
