//! The environment of a rank: torchrun's names, its share of the cores, the way to libtorch.

use std::ffi::OsString;

use super::{Crew, Libtorch, devices::Device};

/// Keeps glibc from giving big blocks back to the kernel after every step, which costs a tenth of
/// the speed of training on the processor.
const MALLOC: &str = "glibc.malloc.mmap_threshold=1073741824:\
                      glibc.malloc.trim_threshold=4294967296:\
                      glibc.malloc.top_pad=67108864";

/// What all ranks of a run share.
#[derive(Clone, Debug)]
pub(super) struct World<'a> {
    pub(super) crew: &'a Crew,
    pub(super) libtorch: &'a Libtorch,
    /// Where rank 0 waits for the others.
    pub(super) port: u16,
}

impl World<'_> {
    /// The variables of `rank` that differ from the launcher's own. `inherited` is the launcher's
    /// environment: `OMP_NUM_THREADS` and `GLIBC_TUNABLES` that a person set are left alone.
    pub(super) fn variables(
        &self,
        rank: usize,
        inherited: impl Fn(&str) -> Option<OsString>,
    ) -> Vec<(&'static str, OsString)> {
        let num_ranks = self.crew.num_ranks.to_string();
        let mut library_path = self.libtorch.lib_dir().into_os_string();
        if let Some(path) = inherited("LD_LIBRARY_PATH").filter(|path| !path.is_empty()) {
            library_path.push(":");
            library_path.push(path);
        }
        let mut variables: Vec<(&str, OsString)> = vec![
            ("RANK", rank.to_string().into()),
            ("LOCAL_RANK", rank.to_string().into()),
            ("WORLD_SIZE", num_ranks.clone().into()),
            ("LOCAL_WORLD_SIZE", num_ranks.into()),
            ("MASTER_ADDR", "127.0.0.1".into()),
            ("MASTER_PORT", self.port.to_string().into()),
            ("LD_LIBRARY_PATH", library_path),
            ("MLPERF_RUN_EVENTS", "json".into()),
        ];
        if inherited("OMP_NUM_THREADS").is_none() {
            variables.push(("OMP_NUM_THREADS", self.crew.threads_per_rank.to_string().into()));
        }
        if self.crew.device == Device::Cpu && inherited("GLIBC_TUNABLES").is_none() {
            variables.push(("GLIBC_TUNABLES", MALLOC.into()));
        }
        variables
    }
}
