//! The environment variables of a rank: torchrun's names, its number of threads and libtorch's
//! location.

use std::ffi::OsString;

use super::{Libtorch, RankLayout, devices::Device};

/// Keeps glibc from returning large blocks to the kernel after every step, which would cost a tenth
/// of the training speed on the CPU.
const MALLOC: &str = "glibc.malloc.mmap_threshold=1073741824:\
                      glibc.malloc.trim_threshold=4294967296:\
                      glibc.malloc.top_pad=67108864";

/// The environment that all ranks of a run share.
#[derive(Clone, Debug)]
pub(super) struct World<'a> {
    pub(super) rank_layout: &'a RankLayout,
    pub(super) libtorch: &'a Libtorch,
    /// The port on which rank 0 waits for the others.
    pub(super) port: u16,
}

impl World<'_> {
    /// The variables of `rank` that differ from the launcher's own. `inherited` looks up the
    /// launcher's environment; `OMP_NUM_THREADS` and `GLIBC_TUNABLES` are left alone if the user
    /// set them.
    pub(super) fn variables(
        &self,
        rank: usize,
        inherited: impl Fn(&str) -> Option<OsString>,
    ) -> Vec<(&'static str, OsString)> {
        let num_ranks = self.rank_layout.num_ranks.to_string();
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
            ("MLPERF_RUN_LAUNCHER", std::process::id().to_string().into()),
        ];
        if inherited("OMP_NUM_THREADS").is_none() {
            variables
                .push(("OMP_NUM_THREADS", self.rank_layout.threads_per_rank.to_string().into()));
        }
        if self.rank_layout.device == Device::Cpu && inherited("GLIBC_TUNABLES").is_none() {
            variables.push(("GLIBC_TUNABLES", MALLOC.into()));
        }
        variables
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const RANK_LAYOUT: RankLayout =
        RankLayout { device: Device::Cpu, num_ranks: 2, threads_per_rank: 4 };

    fn variables(
        rank_layout: &RankLayout,
        inherited: &[(&str, &str)],
    ) -> HashMap<&'static str, String> {
        let libtorch = Libtorch::fake("/opt/torch");
        let world = World { rank_layout, libtorch: &libtorch, port: 29_500 };
        let inherited: HashMap<&str, &str> = inherited.iter().copied().collect();
        let variables = world.variables(1, |name| inherited.get(name).map(Into::into));
        variables.into_iter().map(|(name, value)| (name, value.into_string().unwrap())).collect()
    }

    #[test]
    fn a_rank_gets_the_names_that_torchrun_uses() {
        let variables = variables(&RANK_LAYOUT, &[]);
        for (name, value) in [
            ("RANK", "1"),
            ("LOCAL_RANK", "1"),
            ("WORLD_SIZE", "2"),
            ("LOCAL_WORLD_SIZE", "2"),
            ("MASTER_ADDR", "127.0.0.1"),
            ("MASTER_PORT", "29500"),
            ("OMP_NUM_THREADS", "4"),
            ("MLPERF_RUN_EVENTS", "json"),
            ("LD_LIBRARY_PATH", "/opt/torch/lib"),
        ] {
            assert_eq!(variables[name], value, "{name}");
        }
        assert!(variables["GLIBC_TUNABLES"].contains("trim_threshold=4294967296"));
    }

    #[test]
    fn libtorch_comes_first_and_the_users_settings_stay() {
        let own = [("LD_LIBRARY_PATH", "/cuda"), ("OMP_NUM_THREADS", "1"), ("GLIBC_TUNABLES", "x")];
        let variables = variables(&RANK_LAYOUT, &own);
        assert_eq!(variables["LD_LIBRARY_PATH"], "/opt/torch/lib:/cuda");
        assert!(!variables.contains_key("OMP_NUM_THREADS"));
        assert!(!variables.contains_key("GLIBC_TUNABLES"));
    }

    #[test]
    fn gpu_ranks_need_no_malloc_setting() {
        let rank_layout = RankLayout { device: Device::Cuda, ..RANK_LAYOUT };
        assert!(!variables(&rank_layout, &[]).contains_key("GLIBC_TUNABLES"));
    }
}
