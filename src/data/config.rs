//! The `[data]` table of a recipe.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::data::ram_cache::RamCache;
use crate::{data::transform::augment::Augmentation, time::ByEpoch};

/// A split of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// `train`.
    Train,
    /// `val` or `validation`.
    Eval,
}

impl Split {
    pub(in crate::data) fn folder_name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Eval => "val",
        }
    }
}

/// The MLPerf divisions in which a run on a store may be submitted (MLPerf training rules, data set
/// section). Of two divisions, the greater (more restrictive) one applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreDivision {
    /// Images were reformatted without loss: closed and open division.
    ClosedSafe,
    /// Images were changed or left out: open division only.
    OpenOnly,
}

/// What `data import` does with a bad image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum OnBad {
    /// End the import with an error that names the image.
    Fail,
    /// Leave the image out and list it in the manifest.
    Skip,
    /// Compress what can be decoded again; leave the image out if nothing can.
    Reencode,
}

/// What `data import` does with the orientation that a camera wrote into an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Exif {
    /// Leave the image as it is stored, as torchvision does.
    #[default]
    Ignore,
    /// Turn the image upright, as Pillow's `exif_transpose` and Hugging Face's datasets do (open
    /// division).
    Apply,
}

/// Upper limit of decoding threads per process: more than the largest machines have cores.
pub const MAX_THREADS: usize = 1024;
/// Upper limit of batches decoded ahead: gigabytes at any practical batch size.
pub const MAX_BATCHES_AHEAD: usize = 256;

/// The `[data]` table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Folder whose `train` and `val` hold `CLASS/*.JPEG`, archives or shards in any supported
    /// format. Absent if `synth` is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// The built-in image set, used if `path` is not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synth: Option<SynthConfig>,
    /// The shuffling order of the training images.
    pub order: Order,
    /// Seed of shuffling, crops and flips. Default: the run's seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_seed: Option<u64>,
    /// Drop the last incomplete batch of an epoch. If false, the last batch is filled up with the
    /// first images of the epoch.
    pub drop_last: bool,
    /// Decoding threads per rank, at most 1024; 0 divides the machine's cores among the ranks.
    pub num_workers: usize,
    /// Number of batches to prefetch (decode ahead of the trainer), 1 to 256.
    pub batches_ahead: usize,
    /// What to do with an image that cannot be decoded.
    pub on_bad_image: OnBadImage,
    /// Mean of each channel, for pixels scaled to 0..1.
    pub mean: [f64; 3],
    /// Standard deviation of each channel, for pixels scaled to 0..1.
    pub std: [f64; 3],
    /// Training crops.
    pub train: TrainDataConfig,
    /// Evaluation crops.
    pub eval: EvalTransform,
}

/// The shuffling order of the training images. Both orders depend only on the seed, the epoch and
/// the world size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// This program's own shuffle. Samples beyond a multiple of the world size are dropped for the
    /// epoch.
    #[default]
    Keyed,
    /// The order of PyTorch's `DistributedSampler`, which FFCV uses in data-parallel training.
    /// Samples are repeated to fill up to a multiple of the world size.
    Torch,
}

impl Order {
    /// Training samples per epoch of each of `world_size` ranks.
    pub fn shard_len(self, num_samples: usize, world_size: usize) -> usize {
        match self {
            Self::Keyed => num_samples / world_size,
            Self::Torch => num_samples.div_ceil(world_size),
        }
    }
}

/// What to do with an image that cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnBadImage {
    /// End the run with an error that names the file.
    Error,
    /// In training, show the next sample of the batch instead; in evaluation, leave the image out.
    Skip,
}

/// `[data.train]`: random-resized crop and flip (Szegedy et al. 2014, section 6).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrainDataConfig {
    /// Side length of the crop after resizing, px.
    pub crop_size: ByEpoch<usize>,
    /// Smallest and largest crop area, as a fraction of the image's area.
    pub scale: ByEpoch<[f64; 2]>,
    /// Smallest and largest aspect ratio (width / height).
    pub ratio: ByEpoch<[f64; 2]>,
    /// Interpolation of the resize.
    pub interpolation: Interpolation,
    /// Probability of a horizontal flip.
    pub hflip: f64,
    /// Which epochs flip an image; set by `algorithms.alternating_flip`.
    #[serde(skip)]
    pub flip: Flip,
    /// Set by `algorithms.randaugment`.
    #[serde(skip)]
    pub augmentation: Option<Augmentation>,
    /// Decode large crops at 1/2, 1/4 or 1/8 of their size with a smaller inverse DCT. This is
    /// faster, but the pixels differ from torchvision's.
    pub dct_scale: bool,
    /// Shuffle blocks of neighbouring images, and the images within a few blocks at a time, for
    /// disks and networks with slow random access (FFCV's quasi-random order). Only for stores,
    /// because `data import` has shuffled their images.
    pub block_shuffle: bool,
    /// Memory for decoded images, so that later epochs need not decode them again: `"off"`,
    /// `"auto"` (70 % of the spare memory) or a size such as `"64GiB"`, shared by all ranks of a
    /// machine. The first epoch then decodes whole images.
    pub ram_cache: RamCache,
    /// If the data set has stores of several image sizes, an epoch reads the smallest one whose
    /// longest side is at least `store_scale` times the crop size, or else the largest. At 2, about
    /// as many crops are enlarged as with the original `ImageNet` images at 224 px (their longest
    /// side is 2.2 times that).
    pub store_scale: f64,
}

/// How the images of an epoch are cropped, flipped, decoded and cached; see [`TrainDataConfig`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainTransform {
    /// Smallest and largest crop area, as a fraction of the image's area.
    pub scale: [f64; 2],
    /// Smallest and largest aspect ratio (width / height).
    pub ratio: [f64; 2],
    /// Interpolation of the resize.
    pub interpolation: Interpolation,
    /// Probability of a horizontal flip.
    pub hflip: f64,
    /// Which epochs flip an image.
    pub flip: Flip,
    /// How rows are augmented after the flip.
    pub augmentation: Option<Augmentation>,
    /// Whether large crops are decoded with a smaller inverse DCT.
    pub dct_scale: bool,
    /// Whether blocks of neighbouring images are shuffled.
    pub block_shuffle: bool,
    /// Memory for decoded images.
    pub ram_cache: RamCache,
    /// How much longer than the crop the longest side of a store's images must be.
    pub store_scale: f64,
}

impl TrainDataConfig {
    /// The transform of an epoch with crops of `scale` and `ratio`.
    pub fn transform(&self, scale: [f64; 2], ratio: [f64; 2]) -> TrainTransform {
        let Self { interpolation, hflip, flip, augmentation, .. } = *self;
        let Self { dct_scale, block_shuffle, .. } = *self;
        let Self { ram_cache, store_scale, .. } = *self;
        TrainTransform {
            scale,
            ratio,
            interpolation,
            hflip,
            flip,
            augmentation,
            dct_scale,
            block_shuffle,
            ram_cache,
            store_scale,
        }
    }
}

/// Which epochs flip an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flip {
    /// Each by chance.
    #[default]
    Random,
    /// The first by chance, then every other one.
    Alternating,
}

/// `[data.eval]`: the centre crop.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EvalTransform {
    /// Length of the short side before the centre crop, px.
    pub resize_size: usize,
    /// Side length of the crop, px.
    pub crop_size: usize,
    /// Order of crop and resize.
    pub geometry: Geometry,
    /// Interpolation of the resize.
    pub interpolation: Interpolation,
}

/// Order of crop and resize in evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Geometry {
    /// FFCV: crop a centred square of the original image, then resize it once.
    Ffcv,
    /// torchvision: resize the short side, then crop the centre.
    Torchvision,
}

/// Interpolation method of a resize.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// `OpenCV`'s `INTER_AREA`.
    Area,
    /// Bilinear with antialiasing, as in PIL and torchvision.
    Bilinear,
    /// Bicubic with antialiasing, as in PIL and torchvision.
    Bicubic,
    /// Nearest neighbour.
    Nearest,
}

/// `[data.synth]`: the built-in image set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SynthConfig {
    /// Number of classes.
    pub num_classes: usize,
    /// Number of training images over all classes.
    pub num_train: usize,
    /// Number of validation images over all classes.
    pub num_eval: usize,
    /// Approximate long side of an image, px.
    pub size: usize,
    /// Difficulty, 0 (easy) to 1: clutter, colour noise, jitter of the texture's period, occlusion.
    pub difficulty: f64,
    /// Smallest and largest semi-axis of the object that gives an image its class, as fractions of the
    /// image's short side, 0.05 to 1. With a wide range, a network must learn its classes at many scales.
    pub object_size: [f64; 2],
    /// Factor of the textures' periods, 0.25 to 4. At 1, a period is about a sixth of the object.
    pub texture_scale: f64,
    /// Seed of classes and images.
    pub seed: u64,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            path: None,
            synth: None,
            order: Order::Keyed,
            order_seed: None,
            drop_last: true,
            num_workers: 0,
            batches_ahead: 2,
            on_bad_image: OnBadImage::Error,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
            train: TrainDataConfig::default(),
            eval: EvalTransform::default(),
        }
    }
}

impl Default for TrainTransform {
    fn default() -> Self {
        TrainDataConfig::default().transform([0.08, 1.0], [3.0 / 4.0, 4.0 / 3.0])
    }
}

impl Default for TrainDataConfig {
    fn default() -> Self {
        Self {
            crop_size: 224.into(),
            scale: [0.08, 1.0].into(),
            ratio: [3.0 / 4.0, 4.0 / 3.0].into(),
            interpolation: Interpolation::Area,
            hflip: 0.5,
            flip: Flip::Random,
            augmentation: None,
            dct_scale: false,
            block_shuffle: false,
            ram_cache: RamCache::Off,
            store_scale: 2.0,
        }
    }
}

impl Default for EvalTransform {
    fn default() -> Self {
        Self {
            resize_size: 256,
            crop_size: 224,
            geometry: Geometry::Ffcv,
            interpolation: Interpolation::Area,
        }
    }
}

impl Default for SynthConfig {
    fn default() -> Self {
        Self {
            num_classes: 16,
            num_train: 3200,
            num_eval: 1600,
            size: 160,
            difficulty: 0.6,
            object_size: [0.38, 0.48],
            texture_scale: 1.0,
            seed: 0,
        }
    }
}
