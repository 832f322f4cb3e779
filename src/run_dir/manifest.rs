//! What a run was made from, so that it can be compared with others and repeated.
//!
//! Fields that only people read have defaults, so that a manifest without them can be read.

use std::{
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    data::{DataError, Dataset, Index, StoreDivision, SynthConfig, import},
    hash::{self, hex},
    mlperf::Division,
    recipe::{DeviceChoice, Recipe},
};

/// `manifest.json` of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunManifest {
    /// Ruleset that the log is meant for; `check --ruleset auto` reads it here.
    pub ruleset: String,
    /// Division of the submission.
    pub division: Division,
    /// The recipe.
    pub recipe: RecipeStamp,
    /// Seed of the run.
    pub seed: u64,
    /// Ranks.
    pub world_size: usize,
    /// Where they computed.
    pub device: DeviceChoice,
    /// The images.
    pub data_set: DataStamp,
    /// Version of libtorch.
    pub libtorch: String,
    /// Commit that the launcher was built from.
    pub commit: Option<String>,
    /// The program of the ranks.
    pub program: ProgramStamp,
    /// The interrupted run that this one goes on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<ResumeStamp>,
    /// The weights that the run began with, if they were not random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<WeightsStamp>,
    /// The machine.
    pub host: String,
    /// The command line.
    #[serde(default)]
    pub argv: Vec<String>,
    /// When the run was launched, RFC 3339.
    #[serde(default)]
    pub started: String,
}

/// The recipe of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RecipeStamp {
    /// As `--recipe` finds it.
    pub name: String,
    /// Hash of the resolved recipe next to this manifest.
    #[serde(default)]
    pub sha256: String,
}

/// Where a resumed run begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumeStamp {
    /// The folder of the interrupted run.
    pub run: PathBuf,
    /// Updates made before its checkpoint.
    pub step: usize,
}

/// The weights that a run began with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightsStamp {
    /// Their file.
    pub path: PathBuf,
    /// Hash of the file.
    pub sha256: String,
}

/// The program of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProgramStamp {
    /// Its file.
    #[serde(default)]
    pub path: PathBuf,
    /// Hash of the file.
    pub sha256: String,
}

/// The images of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataStamp {
    /// Their folder.
    #[serde(default)]
    pub path: PathBuf,
    /// Training images.
    pub num_train: usize,
    /// Validation images.
    pub num_eval: usize,
    /// Classes.
    #[serde(default)]
    pub num_classes: usize,
    /// Hash of the names of all images, relative to the folder, in the order of their indices.
    pub listing_sha256: String,
    /// Where a run on these images may be submitted, if they are a store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_division: Option<StoreDivision>,
    /// Hash of the store's manifest: the names are the same in stores of other sizes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_sha256: Option<String>,
    /// What the built-in image set was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synth: Option<SynthConfig>,
}

impl RunManifest {
    /// The text of `manifest.json`.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("text and counts are JSON")
    }
}

impl RecipeStamp {
    /// The stamp of a resolved recipe.
    pub fn of(name: &str, recipe: &Recipe) -> Self {
        Self { name: name.to_owned(), sha256: recipe.sha256() }
    }
}

impl ProgramStamp {
    /// Reads the program.
    pub fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), sha256: hash::sha256_of(path)?.sha256 })
    }
}

impl DataStamp {
    /// Stamps the data set at `path` without reading an image.
    pub fn of(
        path: &Path,
        dataset: &Dataset,
        synth: Option<SynthConfig>,
    ) -> Result<Self, DataError> {
        let mut hasher = Sha256::new();
        for folder in [&dataset.train, &dataset.eval] {
            add_listing(&mut hasher, path, folder);
        }
        Ok(Self {
            path: path.to_owned(),
            num_train: dataset.train.len(),
            num_eval: dataset.eval.len(),
            num_classes: dataset.num_classes(),
            listing_sha256: hex(hasher.finalize()),
            store_division: dataset.division(),
            store_sha256: import::identity_of(path)?,
            synth,
        })
    }
}

fn add_listing(hasher: &mut Sha256, root: &Path, folder: &Index) {
    for i in 0..folder.len() {
        let path = folder.path(i);
        let name = path.strip_prefix(root).unwrap_or(&path);
        hasher.update(name.as_os_str().as_bytes());
        hasher.update(b"\n");
    }
}
