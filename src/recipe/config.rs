//! The sections of a recipe that concern the whole run. The other sections are in the modules that
//! they configure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{checkpoint::CheckpointConfig, microbatch::Microbatch};
use crate::{mlperf::Division, optim::Time};

/// `[run]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RunConfig {
    /// Names the results; absent: the name of the recipe's file.
    pub name: String,
    /// `auto`, `cpu` or `cuda`.
    pub device: DeviceChoice,
    /// Ranks, one process each; 0: one per GPU, or one per core up to 2 on CPU.
    pub num_ranks: usize,
    /// Seed of weights, order and crops; absent: from the system's randomness.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Epochs before scaling, `"90ep"`.
    pub max_duration: Time,
    /// Factor on `max_duration`; epochs are rounded down.
    pub scale_schedule_ratio: f64,
    /// The factor applies to the warm-up too.
    pub scale_warmup: bool,
}

/// Where to train.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum DeviceChoice {
    /// GPUs where there are any.
    Auto,
    /// Processor cores.
    Cpu,
    /// GPUs. It is an error if there are none.
    Cuda,
}

/// `[train]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Images in a step, over all ranks.
    pub batch_size: usize,
    /// Images of a rank in one forward and backward pass, for batches that do not fit the memory;
    /// absent: all of the rank's batch. `"auto"` halves it on the largest images in warm-up until they
    /// fit. Batch norm takes its statistics over a microbatch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub microbatch: Option<Microbatch>,
    /// Precision of forward and backward.
    pub precision: Precision,
    /// On GPUs: use TF32, with 10 bits of mantissa, for fp32 products.
    pub tf32: bool,
    /// On GPUs: cuDNN times its kernels during warm-up and keeps the fastest.
    pub cudnn_benchmark: bool,
    /// Use algorithms whose results do not depend on the order of threads, where libtorch has them.
    /// On GPUs they are slower and exclude `cudnn_benchmark`.
    pub deterministic: bool,
    /// On GPUs: capture a step once for each image size, and replay it in one launch.
    pub cuda_graphs: CudaGraphs,
    /// On GPUs: compute batch norm, `ReLU`, residual sums, blur and pooling in fused kernels.
    pub fused_kernels: FusedKernels,
    /// What happens when a loss is not finite.
    pub on_nonfinite: OnNonfinite,
    /// `[train.grad_scaler]`, for fp16.
    pub grad_scaler: GradScalerConfig,
    /// `[train.ddp]`: how gradients are reduced over ranks
    pub ddp: DdpConfig,
    /// `[train.checkpoint]`: when the state is saved
    pub checkpoint: CheckpointConfig,
    /// `[train.watch]`: when a run that does not go on is ended
    pub watch: WatchConfig,
}

/// What happens when a loss is not finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnNonfinite {
    /// The run ends.
    Stop,
    /// Updates with gradients that are not finite are skipped on all ranks, as fp16's loss scaling does.
    /// The run ends after ten losses in a row that are not finite.
    Skip,
}

/// `[train.watch]`: when the launcher ends a run that does not go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WatchConfig {
    /// A rank may be stopped for so long, as by SIGSTOP, s.
    pub stopped_timeout_s: u64,
    /// No rank makes a step for so long, s.
    pub stall_timeout_s: u64,
    /// Ranks wait so long for each other at the start, s: each has listed the images before.
    pub join_timeout_s: u64,
    /// No rank goes on for so long before the first step, s: warm-up may compile kernels.
    pub start_timeout_s: u64,
}

/// Whether steps on a GPU are captured in CUDA graphs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CudaGraphs {
    /// Where the methods of the recipe and the machine allow it. A run without graphs reports why.
    Auto,
    /// Never.
    Off,
}

/// Whether the network runs on fused kernels, which are compiled for the GPU during warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FusedKernels {
    /// Where the methods of the recipe and the machine allow it. A run without them reports why.
    Auto,
    /// Never.
    Off,
}

/// Precision of forward and backward. Weights are fp32, or fp64 with `fp64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// fp32.
    Fp32,
    /// fp64 throughout. It is slow and serves to compare the arithmetic with another implementation.
    Fp64,
    /// bf16 autocast.
    AmpBf16,
    /// fp16 autocast with loss scaling.
    AmpFp16,
}

/// `[train.grad_scaler]`: loss scaling (Micikevicius et al. 2017, section 3.2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GradScalerConfig {
    /// First scale.
    pub init_scale: f64,
    /// Good steps before the scale doubles.
    pub growth_interval: usize,
}

/// The number format in which gradients travel between ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GradientCompression {
    /// Their own.
    Off,
    /// Half the bytes of fp32. A gradient beyond 65504 becomes infinite: `amp_fp16` skips such a step, and
    /// so does `train.on_nonfinite = "skip"`.
    Fp16,
    /// Half the bytes of fp32, with 8 bits of precision.
    Bf16,
}

/// `[train.ddp]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DdpConfig {
    /// Rank 0's batch-norm statistics overwrite the others' before each training forward.
    pub broadcast_buffers: bool,
    /// Ranks average their batch-norm statistics before each evaluation.
    pub bn_sync_before_eval: bool,
    /// Size of a gradient bucket, MiB.
    pub bucket_mb: usize,
    /// The number format in which gradients travel.
    pub compression: GradientCompression,
    /// A rank fails if the other ranks or its GPU do not answer for this long, s. The default is
    /// long because ranks wait for the slowest one to finish its part of an evaluation. Ranks that
    /// exit are noticed much earlier.
    pub timeout_s: u64,
    /// Reduce gradients in a world of one too, to measure and test the reduction on a single GPU.
    pub in_world_of_one: bool,
}

/// `[eval]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EvalConfig {
    /// Time between evaluations. The last epoch is always evaluated.
    pub interval: Time,
    /// Time before the first evaluation.
    pub start: Time,
    /// Shifts all evaluations: every `4ep` with an offset of `3ep` means epochs 3, 7, 11 ... (`MXNet`
    /// counts its offset from 0 and calls this one 2).
    pub offset: Time,
    /// Images in an evaluation step, over all ranks; 0: the training batch.
    pub batch_size: usize,
    /// Precision of the forward pass. fp32 is the most accurate: top-1 compares logits that may
    /// differ by less than half precision resolves.
    pub precision: Precision,
}

/// `[mlperf]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MlperfConfig {
    /// Who submits, `submission_org` of the log; empty: filled in by the launcher.
    pub org: String,
    /// The system, `submission_platform` of the log; empty: filled in by the launcher.
    pub platform: String,
    /// Division of the submission.
    pub division: Division,
    /// Ruleset of the log, `"2.0.0"` or `"4.0.0"`.
    pub ruleset: String,
    /// `submission_status` of the log.
    pub status: String,
    /// Top-1 accuracy to exceed.
    pub target: f64,
    /// The run ends when the target is exceeded.
    pub stop_on_target: bool,
    /// Shell command that empties the page cache before the run; empty: none.
    pub cache_clear: String,
    /// Number of runs, each with a new seed unless one is given.
    pub runs: usize,
}

impl MlperfConfig {
    /// Whether `accuracy` reaches the target, which it must exceed.
    pub fn is_reached(&self, accuracy: f64) -> bool {
        accuracy > self.target
    }
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            device: DeviceChoice::Auto,
            num_ranks: 0,
            seed: None,
            max_duration: Time::Epochs(90.0),
            scale_schedule_ratio: 1.0,
            scale_warmup: false,
        }
    }
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            batch_size: 2048,
            microbatch: None,
            precision: Precision::Fp32,
            tf32: true,
            cudnn_benchmark: true,
            deterministic: false,
            cuda_graphs: CudaGraphs::Auto,
            fused_kernels: FusedKernels::Auto,
            on_nonfinite: OnNonfinite::Stop,
            grad_scaler: GradScalerConfig::default(),
            ddp: DdpConfig::default(),
            checkpoint: CheckpointConfig::default(),
            watch: WatchConfig::default(),
        }
    }
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            stopped_timeout_s: 5,
            stall_timeout_s: 300,
            join_timeout_s: 300,
            start_timeout_s: 1800,
        }
    }
}

impl Default for GradScalerConfig {
    fn default() -> Self {
        Self { init_scale: 65536.0, growth_interval: 2000 }
    }
}

impl Default for DdpConfig {
    fn default() -> Self {
        Self {
            broadcast_buffers: false,
            bn_sync_before_eval: false,
            bucket_mb: 25,
            compression: GradientCompression::Off,
            timeout_s: 600,
            in_world_of_one: false,
        }
    }
}

impl Default for EvalConfig {
    fn default() -> Self {
        Self {
            interval: Time::Epochs(1.0),
            start: Time::Epochs(0.0),
            offset: Time::Epochs(0.0),
            batch_size: 0,
            precision: Precision::Fp32,
        }
    }
}

impl Default for MlperfConfig {
    fn default() -> Self {
        Self {
            org: String::new(),
            platform: String::new(),
            division: Division::Open,
            ruleset: "4.0.0".to_owned(),
            status: "research".to_owned(),
            target: 0.759,
            stop_on_target: true,
            cache_clear: "sync && echo 3 > /proc/sys/vm/drop_caches".to_owned(),
            runs: 1,
        }
    }
}
