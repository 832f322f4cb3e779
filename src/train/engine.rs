//! What a training step needs: model, optimizer, process group, methods and captured graphs.
//!
//! The trainer drives it over epochs. The warm-up and the step benchmark drive it on synthetic
//! images.

use tch::{Device, Kind, Tensor};

use super::{
    batch::{Layout, Uploader, num_bytes},
    captured_step::{CaptureMode, CapturedStep, GraphCapture},
    error::TrainError,
    evaluate::{CapturedEvaluation, EvalWeights},
    fused::Forward,
    step::kind,
    targets::Targets,
    weights_file::load_weights,
};
use crate::{
    algorithms::{Algorithms, GradientClipping, MethodContext, Progress},
    distributed::{BufferSync, Ddp, DistError, Shared, World},
    libtorch::{self, BridgeError, GroupTimeouts, HalfKind, Math, TensorList},
    model::{Place, ResNet, init},
    optim::{LossScaler, Optimizer},
    recipe::{DdpConfig, GradientCompression, OnNonfinite, Precision, Recipe, TrainConfig},
};

/// Everything that the steps of a rank need.
pub struct StepEngine {
    pub(super) recipe: Recipe,
    pub(super) world: World,
    pub(super) device: Device,
    pub(super) model: ResNet,
    /// How training computes logits.
    pub(super) forward: Forward,
    /// How evaluation does.
    pub(super) eval_forward: Forward,
    /// Declared before `ddp`, because fields are dropped in order: NCCL destroys a group only
    /// after every graph that captured its collectives is gone.
    pub(super) captured: Vec<CapturedStep>,
    pub(super) capture: Option<GraphCapture>,
    pub(super) captured_evaluations: Vec<CapturedEvaluation>,
    /// Correct predictions of this evaluation so far, `[]`, int64, on the device.
    pub(super) num_correct: Tensor,
    pub(super) ddp: Ddp,
    pub(super) optimizer: Optimizer,
    pub(super) scaler: LossScaler,
    pub(super) uploader: Uploader,
    pub(super) algorithms: Algorithms,
    pub(super) eval_weights: EvalWeights,
    pub(super) progress: Progress,
    /// Layers that are frozen now.
    num_frozen: usize,
    pub(super) mode: CaptureMode,
}

impl StepEngine {
    /// Joins the process group, and builds model and optimizer on `device`.
    pub fn build(recipe: &Recipe, world: &World, device: Device) -> Result<Self, TrainError> {
        Self::on(process_group(recipe, world, device)?, recipe, world, device)
    }

    /// Builds model and optimizer on `device`, for the ranks of `ddp`.
    pub(super) fn on(
        ddp: Ddp,
        recipe: &Recipe,
        world: &World,
        device: Device,
    ) -> Result<Self, TrainError> {
        let TrainConfig { tf32, cudnn_benchmark: benchmark, deterministic, .. } = recipe.train;
        Math { tf32, benchmark, deterministic }.set()?;
        tch::manual_seed(recipe.seed as i64);
        let place = Place { kind: kind(recipe.train.precision), device };
        let model = ResNet::new(&recipe.spec, place);
        init(model.weights(), &recipe.model.initializers);
        let layout = match recipe.algorithms.channels_last {
            Some(_) => Layout::ChannelsLast,
            None => Layout::ChannelsFirst,
        };
        if layout == Layout::ChannelsLast {
            let parameters = model.weights().parameters().iter().map(|(_, tensor)| tensor);
            parameters.filter(|t| t.dim() == 4).try_for_each(libtorch::set_channels_last)?;
        }
        let clipping = recipe.algorithms.gradient_clipping.as_ref();
        if let Some(path) = &recipe.model.weights {
            load_weights(model.weights(), &recipe.spec, path)?;
        }
        let optimizer = Optimizer::new(&recipe.optimizer, model.weights().trainable())?
            .clipped(clipping.map(GradientClipping::clip));
        let smoothing = recipe.algorithms.label_smoothing.as_ref();
        let targets = Targets::new(smoothing, recipe.run_context.num_classes);
        let data = &recipe.data;
        let eval_weights = EvalWeights::new(model.weights())?;
        let mut engine = Self {
            uploader: Uploader::new(
                place,
                largest_batch(recipe),
                layout,
                [data.mean, data.std],
                targets,
            )?,
            algorithms: algorithms(recipe, world.rank, eval_weights.trained())?,
            eval_weights,
            recipe: recipe.clone(),
            world: world.clone(),
            device,
            forward: Forward::unfused(recipe.train.precision, device),
            eval_forward: Forward::unfused(eval_precision(recipe), device),
            model,
            ddp,
            optimizer,
            scaler: scaler(recipe, device),
            progress: Progress::default(),
            num_frozen: 0,
            mode: CaptureMode::on(device, recipe.train.cuda_graphs),
            captured: Vec::new(),
            capture: None,
            captured_evaluations: Vec::new(),
            num_correct: Tensor::zeros([], (Kind::Int64, device)),
        };
        engine.attach()?;
        Ok(engine)
    }

    /// Makes `epoch`, from 0, the current one, and freezes the layers that it does not train.
    pub(super) fn enter_epoch(&mut self, epoch: usize) -> Result<(), TrainError> {
        self.progress.epoch = epoch;
        let num_frozen = self.values().num_frozen;
        if num_frozen == self.num_frozen {
            return Ok(());
        }
        self.num_frozen = num_frozen;
        self.model.weights().freeze_first(num_frozen);
        self.optimizer.select_trained()?;
        if self.ddp.is_reduced() {
            // A reducer waits for every gradient that it was built for. Batch norm's statistics are each
            // rank's own, so nothing is sent.
            self.ddp.reduce(&shared(&self.model, &self.recipe.train.ddp))?;
        }
        Ok(())
    }

    /// Broadcasts rank 0's weights, and all-reduces gradients from now on.
    pub(super) fn attach(&mut self) -> Result<(), DistError> {
        self.ddp.attach(&shared(&self.model, &self.recipe.train.ddp))
    }
}

pub(super) fn process_group(
    recipe: &Recipe,
    world: &World,
    device: Device,
) -> Result<Ddp, DistError> {
    if world.world_size > 1 || recipe.train.ddp.in_world_of_one {
        Ddp::join(world, device, timeouts(recipe))
    } else {
        Ok(Ddp::alone())
    }
}

/// How long ranks wait for each other.
pub(super) fn timeouts(recipe: &Recipe) -> GroupTimeouts {
    GroupTimeouts {
        join_s: recipe.train.watch.join_timeout_s,
        collective_s: recipe.train.ddp.timeout_s,
    }
}

fn scaler(recipe: &Recipe, device: Device) -> LossScaler {
    let scaling = &recipe.train.grad_scaler;
    match (recipe.train.precision, recipe.train.on_nonfinite) {
        (Precision::AmpFp16, _) => {
            LossScaler::on(scaling.init_scale, scaling.growth_interval, device)
        }
        (_, OnNonfinite::Skip) => LossScaler::check(device),
        (_, OnNonfinite::Stop) => LossScaler::Off,
    }
}

/// Precision of evaluation. Weights in fp64 compute in fp64.
fn eval_precision(recipe: &Recipe) -> Precision {
    match recipe.train.precision {
        Precision::Fp64 => Precision::Fp64,
        Precision::Fp32 | Precision::AmpBf16 | Precision::AmpFp16 => recipe.eval.precision,
    }
}

/// Bytes of the largest batch that a rank is given.
fn largest_batch(recipe: &Recipe) -> usize {
    let image_size = recipe.crop_sizes.iter().copied().max().unwrap_or(0);
    let train = num_bytes(recipe.batch_per_rank, image_size);
    train.max(num_bytes(recipe.eval_batch_per_rank, recipe.data.eval.crop_size))
}

/// The methods of `recipe` in their first state.
pub(super) fn algorithms(
    recipe: &Recipe,
    rank: usize,
    weights: &TensorList,
) -> Result<Algorithms, BridgeError> {
    let Recipe { run_length, image_sizes, seed, .. } = recipe;
    let context = MethodContext { weights, run_length, image_sizes, seed: *seed, rank };
    recipe.algorithms.start(&context)
}

fn shared<'a>(model: &'a ResNet, config: &DdpConfig) -> Shared<'a> {
    let weights = model.weights();
    Shared {
        parameters: weights.trainable().map(|(_, tensor)| tensor).collect(),
        frozen: weights.frozen().map(|(_, tensor)| tensor).collect(),
        buffers: weights.buffers().iter().map(|(_, tensor)| tensor).collect(),
        sync: if config.broadcast_buffers { BufferSync::EachForward } else { BufferSync::Start },
        bucket_mb: config.bucket_mb,
        compression: match config.compression {
            GradientCompression::Off => None,
            GradientCompression::Fp16 => Some(HalfKind::Fp16),
            GradientCompression::Bf16 => Some(HalfKind::Bf16),
        },
    }
}
