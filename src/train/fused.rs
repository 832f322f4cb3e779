//! The choice between the fused kernels and libtorch's own, for the passes of training and
//! evaluation.

use std::sync::Arc;

use tch::{Device, Kind, Tensor};

use super::{
    engine::StepEngine,
    error::{TrainError, unwound},
    step::autocast,
};
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
    /// for them. Returns a message if a rank cannot have them; all ranks then use libtorch's own.
    pub(super) fn fuse(&mut self) -> Result<Option<String>, TrainError> {
        let (Device::Cuda(gpu), FusedKernels::Auto) =
            (self.device, self.recipe.train.fused_kernels)
        else {
            return Ok(None);
        };
        let without =
            |reason: &str| format!("the network runs on libtorch's own kernels: {reason}");
        if let Some(obstacle) = self.recipe.fusion_obstacle() {
            return Ok(Some(without(obstacle)));
        }
        let fused = unwound(|| {
            let fused = self.fuse_by(|storage| Kernels::cuda(gpu, storage, &cache_folder()));
            fused.map_err(TrainError::Unavailable)
        });
        let num_failed = Tensor::from(i64::from(fused.is_err()));
        self.ddp.sum(&num_failed)?;
        if i64::try_from(&num_failed).expect("one number") == 0 {
            return Ok(None);
        }
        self.unfuse();
        let reason = fused
            .map_or_else(|e| e.to_string(), |()| "another rank cannot use fused ones".to_owned());
        // A kernel that accessed foreign memory leaves the GPU unusable for this process.
        let one = || Ok(Tensor::ones([1], (Kind::Float, self.device)).double_value(&[0]));
        if unwound(one).is_err() {
            let reason = format!("{reason}; set train.fused_kernels = \"off\"");
            return Err(TrainError::Device(reason));
        }
        Ok(Some(without(&reason)))
    }

    /// Emulates the fused kernels, for tests without a GPU.
    #[cfg(test)]
    pub(super) fn emulate_fused(&mut self) {
        self.fuse_by(|storage| Ok(Kernels::emulated(storage))).expect("emulation always loads");
    }

    /// Takes the kernels of all formats and tries them.
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
        self.try_fused()?;
        self.optimizer.fuse(self.forward.kernels());
        Ok(())
    }

    /// Goes back to libtorch's kernels.
    fn unfuse(&mut self) {
        self.forward.kernels = None;
        self.eval_forward.kernels = None;
        self.optimizer.fuse(None);
    }
}
