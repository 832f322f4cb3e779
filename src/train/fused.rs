//! The choice between the fused kernels and libtorch's own, for the passes of training and
//! evaluation.

use std::sync::Arc;

use tch::{Device, Tensor};

use super::{engine::StepEngine, step::autocast};
use crate::{
    data::cache_folder,
    libtorch::{
        BridgeError,
        kernels::{Kernels, Storage},
    },
    model::{Mode, ResNet},
    recipe::{FusedKernels, Precision},
};

/// Computes logits in one precision, on fused kernels if it has them.
pub(super) struct Forward {
    precision: Precision,
    device: Device,
    kernels: Option<Arc<Kernels>>,
}

impl Forward {
    /// Passes on libtorch's own kernels.
    pub(super) fn unfused(precision: Precision, device: Device) -> Self {
        Self { precision, device, kernels: None }
    }

    /// Precision of the passes.
    pub(super) fn precision(&self) -> Precision {
        self.precision
    }

    /// The fused kernels that the passes run on.
    pub(super) fn kernels(&self) -> Option<Arc<Kernels>> {
        self.kernels.clone()
    }

    /// Whether the passes run on fused kernels.
    pub(super) fn is_fused(&self) -> bool {
        self.kernels.is_some()
    }

    /// Logits `[N, K]` of images `[N, 3, R, R]`.
    pub(super) fn logits(
        &self,
        model: &ResNet,
        images: &Tensor,
        mode: Mode,
    ) -> Result<Tensor, BridgeError> {
        let _autocast = autocast(self.precision, self.device)?;
        match &self.kernels {
            Some(kernels) => model.forward_fused(images, mode, kernels),
            None => Ok(model.forward(images, mode)),
        }
    }

    /// Number format of the activations.
    fn storage(&self) -> Storage {
        match self.precision {
            Precision::Fp64 => Storage::Fp64,
            Precision::Fp32 => Storage::Fp32,
            Precision::AmpBf16 => Storage::Bf16,
            Precision::AmpFp16 => Storage::Fp16,
        }
    }
}

impl StepEngine {
    /// Loads the fused kernels for training and evaluation on a GPU and tries them, if the recipe asks
    /// for them. Returns a message if it cannot have them; both then use libtorch's own.
    pub(super) fn fuse(&mut self) -> Option<String> {
        let (Device::Cuda(gpu), FusedKernels::Auto) =
            (self.device, self.recipe.train.fused_kernels)
        else {
            return None;
        };
        let fused = match self.recipe.fusion_obstacle() {
            Some(obstacle) => Err(obstacle.to_owned()),
            None => self.fuse_by(|storage| Kernels::cuda(gpu, storage, &cache_folder())),
        };
        let reason = fused.err()?;
        Some(format!("the network runs on libtorch's own kernels, because {reason}"))
    }

    /// Emulates the fused kernels, for tests without a GPU.
    #[cfg(test)]
    pub(super) fn emulate_fused(&mut self) {
        self.fuse_by(|storage| Ok(Kernels::emulated(storage))).expect("emulation always loads");
    }

    /// Takes all kernels, or none if one of the formats fails.
    pub(super) fn fuse_by(
        &mut self,
        load: impl Fn(Storage) -> Result<Kernels, BridgeError>,
    ) -> Result<(), String> {
        let load = |storage| load(storage).map(Arc::new).map_err(|error| error.to_string());
        let [train, eval] = [self.forward.storage(), self.eval_forward.storage()];
        let kernels = load(train)?;
        let eval_kernels = if eval == train { Arc::clone(&kernels) } else { load(eval)? };
        self.forward.kernels = Some(kernels);
        self.eval_forward.kernels = Some(eval_kernels);
        let tried = self.try_fused();
        if tried.is_err() {
            self.forward.kernels = None;
            self.eval_forward.kernels = None;
        }
        self.optimizer.fuse(self.forward.kernels());
        tried
    }
}
