//! What a run was made from, so that it can be told apart from another and made again.

use std::{
    fmt::Write,
    fs::File,
    io::{self, Read},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::LaunchError;
use crate::{
    data::{DataError, Dataset, Index, SynthConfig, import},
    recipe::{DeviceChoice, Division, Recipe},
};

/// `manifest.json` of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Manifest {
    /// Ruleset that the log is meant for; `check --ruleset auto` reads it here.
    pub ruleset: String,
    /// Division of the submission.
    pub division: Division,
    /// What was asked for.
    pub recipe: RecipeStamp,
    /// Seed of the run.
    pub seed: u64,
    /// Ranks.
    pub world_size: usize,
    /// Where they computed.
    pub device: DeviceChoice,
    /// What was trained on.
    pub data_set: DataStamp,
    /// Version of libtorch.
    pub libtorch: String,
    /// Commit that the launcher was built from.
    pub commit: Option<&'static str>,
    /// The program of the ranks.
    pub program: ProgramStamp,
    /// The machine.
    pub host: String,
    /// The command line.
    pub argv: Vec<String>,
    /// When the run was launched, RFC 3339.
    pub started: String,
}

/// Which recipe.
#[derive(Clone, Debug, Serialize)]
pub struct RecipeStamp {
    /// As `--recipe` finds it.
    pub name: String,
    /// Of the resolved recipe beside this manifest.
    pub sha256: String,
}

/// Which program.
#[derive(Clone, Debug, Serialize)]
pub struct ProgramStamp {
    /// Its file.
    pub path: PathBuf,
    /// Of the file.
    pub sha256: String,
}

/// Which images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DataStamp {
    /// Their folder.
    pub path: PathBuf,
    /// Training images.
    pub num_train: usize,
    /// Validation images.
    pub num_eval: usize,
    /// Classes.
    pub num_classes: usize,
    /// Of the names of all images, relative to the folder, in the order of their indices.
    pub listing_sha256: String,
    /// Where a run on these images may be submitted, if they are a store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_division: Option<import::Division>,
    /// Of the store's manifest: names are the same in stores of other sizes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_sha256: Option<String>,
    /// What the built-in image set was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synth: Option<SynthConfig>,
}

impl RecipeStamp {
    /// The stamp of a resolved recipe.
    pub fn of(name: &str, recipe: &Recipe) -> Self {
        Self { name: name.to_owned(), sha256: recipe.sha256() }
    }
}

impl ProgramStamp {
    /// Reads the program.
    pub fn of(path: &Path) -> Result<Self, LaunchError> {
        let sha256 = File::open(path).and_then(hash_of).map_err(|source| LaunchError::Io {
            what: format!("read {}", path.display()),
            source,
        })?;
        Ok(Self { path: path.to_owned(), sha256 })
    }
}

impl DataStamp {
    /// Stamps what lies at `path`; no image is read.
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
            listing_sha256: hex(&hasher.finalize()),
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

fn hash_of(mut file: impl Read) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hasher.finalize())),
            n => hasher.update(&buffer[..n]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string takes every write");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_hashed_as_sha256sum_does() {
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash_of(b"abc".as_slice()).unwrap(), of_abc);
    }
}
