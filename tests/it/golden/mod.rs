//! Exact numbers that the methods must reproduce: read from the folder that `MLPERF_RUN_GOLDEN`
//! names, else from `tests/golden`. Each test holds for any folder of the same topics.

#[cfg(feature = "torch")]
mod methods;
#[cfg(feature = "torch")]
mod model;
#[cfg(feature = "torch")]
mod optim;
mod schedule;
#[cfg(feature = "torch")]
mod tensors;

use std::path::{Path, PathBuf};

use serde_json::Value;

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");

/// The file of a topic.
fn read(topic: &str) -> Value {
    let folder = std::env::var_os("MLPERF_RUN_GOLDEN").map_or(COMMITTED.into(), PathBuf::from);
    read_in(&folder, topic)
}

/// The file of a topic that is made by a script of this project, and so lies here only.
fn committed(topic: &str) -> Value {
    read_in(Path::new(COMMITTED), topic)
}

fn read_in(folder: &Path, topic: &str) -> Value {
    let file = folder.join(format!("{topic}.json"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    serde_json::from_str(&text).unwrap()
}
