//! The inputs of a run, for identifying and reproducing it.

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

/// The contents of a run's `manifest.json`.
#[derive(Clone, Debug, Serialize)]
pub struct Manifest {
    /// Ruleset of the log; `check --ruleset auto` reads it.
    pub ruleset: String,
    /// Division of the submission.
    pub division: Division,
    /// The requested recipe.
    pub recipe: RecipeStamp,
    /// Seed of the run.
    pub seed: u64,
    /// Number of ranks.
    pub world_size: usize,
    /// Device type of the ranks.
    pub device: DeviceChoice,
    /// The images.
    pub data_set: DataStamp,
    /// Version of libtorch.
    pub libtorch: String,
    /// Commit from which the launcher was built.
    pub commit: Option<&'static str>,
    /// The rank program.
    pub program: ProgramStamp,
    /// The host name.
    pub host: String,
    /// The command line.
    pub argv: Vec<String>,
    /// When the run was launched, RFC 3339.
    pub started: String,
}

/// Identifies a recipe.
#[derive(Clone, Debug, Serialize)]
pub struct RecipeStamp {
    /// The name that `--recipe` accepts.
    pub name: String,
    /// SHA-256 of the resolved recipe next to this manifest.
    pub sha256: String,
}

/// Identifies a program.
#[derive(Clone, Debug, Serialize)]
pub struct ProgramStamp {
    /// Its file.
    pub path: PathBuf,
    /// SHA-256 of the file.
    pub sha256: String,
}

/// Identifies the images.
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
    /// SHA-256 of the names of all images, relative to the folder, in index order.
    pub listing_sha256: String,
    /// For stores, the division in which a run on these images may be submitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_division: Option<import::Division>,
    /// SHA-256 of the store's manifest. (Stores of other image sizes have the same names.)
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_sha256: Option<String>,
    /// Parameters of the built-in image set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synth: Option<SynthConfig>,
}

impl RecipeStamp {
    /// Stamps a resolved recipe.
    pub fn of(name: &str, recipe: &Recipe) -> Self {
        Self { name: name.to_owned(), sha256: recipe.sha256() }
    }
}

impl ProgramStamp {
    /// Reads and stamps the program.
    pub fn of(path: &Path) -> Result<Self, LaunchError> {
        let sha256 = File::open(path).and_then(hash_of).map_err(|source| LaunchError::Io {
            what: format!("read {}", path.display()),
            source,
        })?;
        Ok(Self { path: path.to_owned(), sha256 })
    }
}

impl DataStamp {
    /// Stamps the data set at `path`; reads no image.
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
        write!(text, "{byte:02x}").expect("writing to a string succeeds");
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
