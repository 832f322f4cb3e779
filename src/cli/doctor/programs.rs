//! The programs and libraries of a run.

use std::path::Path;

use super::finding::Finding;
use crate::{
    launch::{Libtorch, find_rank_program},
    recipe::DeviceChoice,
};

const SETUP: &str = "run scripts/setup";

pub(super) fn findings(libtorch: Option<&Path>, device: DeviceChoice) -> Vec<Finding> {
    let rank = match find_rank_program() {
        Ok(path) => Finding::ok("programs", format!("mlperf-rank is {}", path.display())),
        Err(error) => failure("programs", &error.to_string()),
    };
    let libtorch = match Libtorch::find(libtorch) {
        Ok(libtorch) => libtorch,
        Err(error) => return vec![rank, failure("libtorch", &error.to_string())],
    };
    let found = format!("{} in {}", libtorch.version(), libtorch.lib_dir().display());
    let has = |name: &str| libtorch.lib_dir().join(name).is_file();
    let finding = if device == DeviceChoice::Cuda && !has("libtorch_cuda.so") {
        let found = format!("{found} is for processors only");
        Finding::fail("libtorch", found, "run scripts/setup --gpu")
    } else {
        Finding::ok("libtorch", found)
    };
    vec![rank, finding]
}

/// An error whose last part is the fix.
fn failure(topic: &'static str, error: &str) -> Finding {
    let (found, fix) = error.rsplit_once("; ").unwrap_or((error, SETUP));
    Finding::fail(topic, found, fix)
}
