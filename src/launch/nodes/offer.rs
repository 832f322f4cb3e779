//! A run as node 0 describes it to the other nodes, and what they compare before they take part.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::NodeError;
use crate::{
    launch::{LaunchError, recipe_values::first_difference},
    run_dir::{self, DataStamp, RunManifest},
};

/// Values of a recipe in which nodes may differ: where the images are, and what names the machine. The
/// seed is node 0's.
const OWN_VALUES: [&str; 6] =
    ["data.path", "model.weights", "run.seed", "mlperf.org", "mlperf.platform", "mlperf.status"];

/// A run that all nodes are to start.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// The place of the recipe on the command line, which is the same for all nodes.
    pub recipe_index: usize,
    /// The resolved recipe, TOML.
    pub recipe: String,
    /// Its seed.
    pub seed: u64,
    /// The folder of the run on node 0.
    pub run_dir: PathBuf,
    /// `manifest.json` in this folder.
    pub manifest: RunManifest,
    /// The folder of the checkpoint to go on from.
    pub checkpoint: Option<PathBuf>,
    /// Ranks of each node.
    pub ranks_per_node: usize,
    /// Host and port of rank 0.
    pub master: (String, u16),
    /// The key of the run's store.
    pub key: String,
}

/// What a node has of its own for an offered run.
#[derive(Clone, Copy, Debug)]
pub struct OwnInputs<'a> {
    /// Its recipe, resolved with the seed of the offer, TOML.
    pub recipe: &'a str,
    /// Its images.
    pub data_set: &'a DataStamp,
    /// SHA-256 of its mlperf-rank.
    pub program_sha256: &'a str,
    /// Version of its libtorch.
    pub libtorch: &'a str,
    /// Its ranks.
    pub num_ranks: usize,
}

impl Offer {
    /// An error unless ranks of this node would train as those of node 0.
    pub fn check(&self, own: &OwnInputs<'_>) -> Result<(), NodeError> {
        let differs =
            |what: String, first: String, fix| Err(NodeError::Differs { what, first, fix });
        if own.num_ranks != self.ranks_per_node {
            let [what, first] =
                [own.num_ranks, self.ranks_per_node].map(|num| format!("{num} ranks"));
            return differs(what, first, "give the same --nproc to all nodes");
        }
        let difference = first_difference([own.recipe, &self.recipe], &OWN_VALUES)
            .map_err(|error| NodeError::Rejected(format!("its recipe cannot be read: {error}")))?;
        if let Some([what, first]) = difference {
            return differs(what, first, "give all nodes the same recipe and --set");
        }
        let names =
            |data: &DataStamp| [Some(data.listing_sha256.clone()), data.store_sha256.clone()];
        if names(own.data_set) != names(&self.manifest.data_set) {
            let [what, first] = [own.data_set, &self.manifest.data_set]
                .map(|data| format!("{} + {} images", data.num_train, data.num_eval));
            return differs(
                format!("{what} at {}", own.data_set.path.display()),
                format!("{first} with other names or another store"),
                "copy the same data set to all nodes, or name it with --data DIR",
            );
        }
        if own.libtorch != self.manifest.libtorch {
            let [what, first] =
                [own.libtorch, &self.manifest.libtorch].map(|it| format!("libtorch {it}"));
            return differs(what, first, "install the same on all nodes");
        }
        if own.program_sha256 != self.manifest.program.sha256 {
            let [what, first] = [own.program_sha256, &self.manifest.program.sha256]
                .map(|sha256| format!("mlperf-rank {}", &sha256[..sha256.len().min(12)]));
            return differs(what, first, "install the same build on all nodes");
        }
        Ok(())
    }

    /// Makes the folder of the run on this node, unless it sees node 0's. Returns whether it does.
    pub fn make_folder(&self) -> Result<bool, LaunchError> {
        let path = self.run_dir.join(run_dir::MANIFEST);
        let cannot = |path: &Path, source| LaunchError::Results { path: path.to_owned(), source };
        match fs::read(&path) {
            Ok(bytes) if bytes == self.manifest.to_json().as_bytes() => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => {
                let taken = io::Error::other("it has another run, and node 0's is not seen here");
                return Err(cannot(&self.run_dir, found.err().unwrap_or(taken)));
            }
        }
        if let Some(checkpoint) = &self.checkpoint {
            let reason =
                "its checkpoint is not seen on this node, which runs on several nodes need";
            return Err(LaunchError::Resume {
                path: checkpoint.clone(),
                reason: reason.to_owned(),
            });
        }
        fs::create_dir_all(&self.run_dir).map_err(|source| cannot(&self.run_dir, source))?;
        Ok(false)
    }

    /// Writes the recipe of the ranks of `node`, with this node's place of the images.
    pub fn write_recipe(&self, node: usize, data: &Path) -> Result<PathBuf, LaunchError> {
        let path = self.run_dir.join(format!("recipe-node-{node}.toml"));
        let mut table: toml::Table = self.recipe.parse().expect("node 0 has written TOML");
        let section = table.get_mut("data").and_then(toml::Value::as_table_mut);
        let section = section.expect("a resolved recipe has images");
        section.insert("path".to_owned(), data.display().to_string().into());
        fs::write(&path, table.to_string())
            .map_err(|source| LaunchError::Results { path: path.clone(), source })?;
        Ok(path)
    }
}
