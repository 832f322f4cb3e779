//! `[data]` of a recipe.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Which half of a data set.
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

/// Where a run on a store may be submitted (MLPerf training rules, data set section); of two that
/// are told, the greater one holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreDivision {
    /// Reformatted without loss: both divisions.
    ClosedSafe,
    /// Training images were shrunk: the open division.
    OpenOnly,
}

/// What a bad image leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum OnBad {
    /// The import ends with an error that names it.
    Fail,
    /// It is left out and listed in the manifest.
    Skip,
    /// What can be decoded of it is compressed anew; where nothing can, it is left out.
    Reencode,
}

/// Threads that any process may be asked to decode with: more than the largest machines have cores.
pub const MAX_THREADS: usize = 1024;
/// Batches that may be decoded ahead: gigabytes at any batch size that trains.
pub const MAX_BATCHES_AHEAD: usize = 256;

/// `[data]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Folder whose `train` and `val` hold `CLASS/*.JPEG`, archives or shards of any known form;
    /// absent where `synth` is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// The built-in image set to train on where no `path` is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synth: Option<SynthConfig>,
    /// In which order an epoch shows the training images.
    pub order: Order,
    /// Seed of order, crops and flips; absent: the run's seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_seed: Option<u64>,
    /// The images that fill no whole batch sit an epoch out; else the last batch of an epoch is
    /// filled up with the images that opened it.
    pub drop_last: bool,
    /// Decoding threads of each rank, at most 1024; 0 shares out the cores of the machine.
    pub num_workers: usize,
    /// Batches that are decoded ahead of the trainer, 1 to 256.
    pub batches_ahead: usize,
    /// What an image that cannot be decoded leads to.
    pub on_bad_image: OnBadImage,
    /// Mean of each channel, of pixels 0 to 1.
    pub mean: [f64; 3],
    /// Standard deviation of each channel, of pixels 0 to 1.
    pub std: [f64; 3],
    /// Training crops.
    pub train: TrainTransform,
    /// Evaluation crops.
    pub eval: EvalTransform,
}

/// In which order an epoch shows the training images. Either way an order follows from seed, epoch
/// and world alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// This program's own. What does not divide by the ranks sits an epoch out.
    #[default]
    Keyed,
    /// That of torch's `DistributedSampler`, so of FFCV under data parallelism: what is lacking to
    /// a multiple of the ranks is shown twice.
    Torch,
}

impl Order {
    /// Training samples that each of `world_size` ranks can see in an epoch.
    pub fn shard_len(self, num_samples: usize, world_size: usize) -> usize {
        match self {
            Self::Keyed => num_samples / world_size,
            Self::Torch => num_samples.div_ceil(world_size),
        }
    }
}

/// What an image that cannot be decoded leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBadImage {
    /// The run ends with an error that names the file.
    Error,
    /// The next sample of its batch takes its place in training; evaluation leaves it out.
    Skip,
}

/// `[data.train]`: random-resized crop and flip (Szegedy et al. 2014, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainTransform {
    /// Side of the crop after resizing, px.
    pub crop_size: usize,
    /// Least and largest share of the image's area.
    pub scale: [f64; 2],
    /// Least and largest width / height.
    pub ratio: [f64; 2],
    /// Filter of the resize.
    pub interpolation: Interpolation,
    /// Probability of a horizontal flip.
    pub hflip: f64,
    /// Large crops are decoded at a half, quarter or eighth of their size, by the fewer
    /// coefficients of a smaller inverse DCT: faster, and no longer torchvision's pixels.
    pub dct_scale: bool,
    /// Shuffles blocks of neighbours and, within some blocks at a time, images: for disks and
    /// networks that are slow at random. Only on stores, whose neighbours are of all classes.
    pub block_shuffle: bool,
    /// Memory for decoded images, which later epochs then need not decode: `"off"`, `"auto"`
    /// (seven tenths of what is spare) or a size as `"64GiB"`, for all ranks of a machine together.
    /// The first epoch decodes whole images for it.
    pub ram_cache: RamCache,
    /// Of stores of several sizes an epoch reads the smallest whose longest side is at least this
    /// many times the crop's, else the largest. At 2 about as many crops are enlarged as at 224 px of
    /// `ImageNet`'s own images, whose longest side is 2.2 times that.
    pub store_scale: f64,
}

/// How much memory decoded images may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RamCache {
    /// None.
    #[default]
    Off,
    /// Most of what is spare when training starts.
    Auto,
    /// So many bytes.
    Bytes(u64),
}

/// Units of sizes, as powers of two.
const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];

impl TryFrom<String> for RamCache {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "off" => return Ok(Self::Off),
            "auto" => return Ok(Self::Auto),
            _ => {}
        }
        let size = UNITS.iter().find_map(|(unit, shift)| {
            let number: u64 = text.strip_suffix(unit)?.trim().parse().ok()?;
            number.checked_mul(1 << shift).filter(|&bytes| bytes > 0)
        });
        size.map(Self::Bytes).ok_or_else(|| {
            format!("ram_cache ('{text}') is no size; write \"auto\", \"off\" or as \"64GiB\"")
        })
    }
}

impl From<RamCache> for String {
    fn from(cache: RamCache) -> Self {
        match cache {
            RamCache::Off => "off".to_owned(),
            RamCache::Auto => "auto".to_owned(),
            RamCache::Bytes(bytes) => {
                // The largest unit that leaves a whole number; sizes are read in KiB at least.
                let whole = UNITS.iter().find(|(_, shift)| bytes.trailing_zeros() >= *shift);
                let (unit, shift) = whole.unwrap_or(&("KiB", 10));
                format!("{}{unit}", bytes >> shift)
            }
        }
    }
}

/// `[data.eval]`: the centre crop.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvalTransform {
    /// Length of the short side that the crop is cut from, px.
    pub resize_size: usize,
    /// Side of the crop, px.
    pub crop_size: usize,
    /// Order of crop and resize.
    pub geometry: Geometry,
    /// Filter of the resize.
    pub interpolation: Interpolation,
}

/// Order of crop and resize in evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Geometry {
    /// FFCV: cut the centre square of the original, then resize it once.
    Ffcv,
    /// torchvision: resize the short side, then cut the centre.
    Torchvision,
}

/// Filter of a resize.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// `OpenCV`'s `INTER_AREA`.
    Area,
    /// Bilinear with antialiasing, as PIL and torchvision.
    Bilinear,
    /// Bicubic with antialiasing, as PIL and torchvision.
    Bicubic,
    /// Nearest neighbour.
    Nearest,
}

/// `[data.synth]`: the built-in image set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SynthConfig {
    /// Classes.
    pub num_classes: usize,
    /// Training images, over all classes.
    pub num_train: usize,
    /// Validation images, over all classes.
    pub num_eval: usize,
    /// About the long side of an image, px.
    pub size: usize,
    /// Clutter, colour noise, jitter of the texture's period, occlusion: 0 (easy) to 1.
    pub difficulty: f64,
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
            train: TrainTransform::default(),
            eval: EvalTransform::default(),
        }
    }
}

impl Default for TrainTransform {
    fn default() -> Self {
        Self {
            crop_size: 224,
            scale: [0.08, 1.0],
            ratio: [3.0 / 4.0, 4.0 / 3.0],
            interpolation: Interpolation::Area,
            hflip: 0.5,
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
            seed: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_the_cache_are_read_and_written_alike() {
        for text in ["off", "auto", "64GiB", "1TiB", "1536MiB", "7KiB"] {
            let cache = RamCache::try_from(text.to_owned()).unwrap();
            assert_eq!(String::from(cache), text);
        }
        assert_eq!(RamCache::try_from("2 GiB".to_owned()), Ok(RamCache::Bytes(2 << 30)));
        for text in ["", "64", "64GB", "-1GiB", "0GiB", "99999999999TiB", "on"] {
            let error = RamCache::try_from(text.to_owned()).unwrap_err();
            assert!(error.ends_with("write \"auto\", \"off\" or as \"64GiB\""), "{error}");
        }
    }
}
