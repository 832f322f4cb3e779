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
    model::{Mode, ResNet, fusion_obstacle},
    recipe::{FusedKernels, Precision, Recipe},
};

/// Computes logits in one precision, with fused kernels if it has any.
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

    /// The fused kernels of this precision, compiled for the GPU if they are not cached. Returns
    /// the reason instead if libtorch's kernels have to do.
    pub(super) fn fuse(&mut self, recipe: &Recipe) -> Result<(), String> {
        if let Some(obstacle) = obstacle(recipe) {
            return Err(obstacle.to_owned());
        }
        if let Device::Cuda(gpu) = self.device {
            let kernels = Kernels::cuda(gpu, storage(self.precision), &cache_folder())
                .map_err(|e| e.to_string())?;
            self.kernels = Some(Arc::new(kernels));
        }
        Ok(())
    }

    /// Emulated kernels, for tests without a GPU.
    #[cfg(test)]
    pub(super) fn emulate(&mut self) {
        self.kernels = Some(Arc::new(Kernels::emulated(storage(self.precision))));
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
}

/// The setting of a recipe because of which it cannot use fused kernels, if there is one.
fn obstacle(recipe: &Recipe) -> Option<&'static str> {
    if recipe.algorithms.channels_last.is_none() {
        return Some("algorithms.channels_last is off");
    }
    fusion_obstacle(&recipe.spec)
}

fn storage(precision: Precision) -> Storage {
    match precision {
        Precision::Fp64 => Storage::Fp64,
        Precision::Fp32 => Storage::Fp32,
        Precision::AmpBf16 => Storage::Bf16,
        Precision::AmpFp16 => Storage::Fp16,
    }
}

impl StepEngine {
    /// Takes the fused kernels for training and evaluation, if the recipe asks for them. Returns a
    /// message if they cannot be used.
    pub(super) fn fuse(&mut self) -> Option<String> {
        if self.recipe.train.fused_kernels == FusedKernels::Off {
            return None;
        }
        let fused = self.forward.fuse(&self.recipe);
        let fused = fused.and_then(|()| self.eval_forward.fuse(&self.recipe));
        let reason = fused.err()?;
        Some(format!("training runs on libtorch's own kernels, because {reason}"))
    }
}
