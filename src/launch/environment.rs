//! The environment variables of a rank: torchrun's names, its number of threads, libtorch's location and
//! the network.

use std::ffi::OsString;

use super::{
    Libtorch, RankLayout,
    devices::Device,
    nodes::{Interface, random_text},
};

/// Keeps glibc from returning large blocks to the kernel after every step, which would cost a tenth
/// of the training speed on the CPU.
const MALLOC: &str = "glibc.malloc.mmap_threshold=1073741824:\
                      glibc.malloc.trim_threshold=4294967296:\
                      glibc.malloc.top_pad=67108864";

/// The environment that the ranks of a machine share.
#[derive(Clone, Debug)]
pub(super) struct World<'a> {
    pub(super) rank_layout: &'a RankLayout,
    pub(super) libtorch: &'a Libtorch,
    /// The ranks of this machine among all.
    pub(super) placement: Placement,
}

/// Where the ranks of a machine are among all ranks of a run.
#[derive(Clone, Debug)]
pub(super) struct Placement {
    /// The first rank of this machine.
    pub(super) first_rank: usize,
    /// Ranks on all machines.
    pub(super) world_size: usize,
    /// Host and port on which rank 0 waits for the others.
    pub(super) master: (String, u16),
    /// What the ranks of this run know and others do not.
    pub(super) key: String,
    /// The network to the other machines.
    pub(super) interface: Option<Interface>,
}

impl Placement {
    /// All ranks are on this machine; rank 0 waits on `port`.
    pub(super) fn alone(rank_layout: &RankLayout, port: u16) -> Self {
        Self {
            first_rank: 0,
            world_size: rank_layout.num_ranks,
            master: ("127.0.0.1".to_owned(), port),
            key: random_text(),
            interface: None,
        }
    }
}

impl World<'_> {
    /// The variables of a rank that differ from the launcher's own. `inherited` looks up the launcher's
    /// environment; `OMP_NUM_THREADS`, `GLIBC_TUNABLES` and the names of network interfaces are left
    /// alone if the user set them.
    pub(super) fn variables(
        &self,
        local_rank: usize,
        inherited: impl Fn(&str) -> Option<OsString>,
    ) -> Vec<(&'static str, OsString)> {
        let Placement { first_rank, world_size, master, key, interface } = &self.placement;
        let mut library_path = self.libtorch.lib_dir().into_os_string();
        if let Some(path) = inherited("LD_LIBRARY_PATH").filter(|path| !path.is_empty()) {
            library_path.push(":");
            library_path.push(path);
        }
        let mut variables: Vec<(&str, OsString)> = vec![
            ("RANK", (first_rank + local_rank).to_string().into()),
            ("LOCAL_RANK", local_rank.to_string().into()),
            ("WORLD_SIZE", world_size.to_string().into()),
            ("LOCAL_WORLD_SIZE", self.rank_layout.num_ranks.to_string().into()),
            ("MASTER_ADDR", master.0.clone().into()),
            ("MASTER_PORT", master.1.to_string().into()),
            ("MLPERF_RUN_KEY", key.into()),
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
        // NCCL would take eth10 for eth1 without the sign.
        for (name, sign) in [("GLOO_SOCKET_IFNAME", ""), ("NCCL_SOCKET_IFNAME", "=")] {
            if let (Some(Interface(interface)), None) = (interface, inherited(name)) {
                variables.push((name, format!("{sign}{interface}").into()));
            }
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
        let placement = Placement::alone(rank_layout, 29_500);
        let world = World { rank_layout, libtorch: &libtorch, placement };
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
    fn ranks_of_another_machine_get_their_place_and_their_network() {
        let libtorch = Libtorch::fake("/opt/torch");
        let placement = Placement {
            first_rank: 4,
            world_size: 6,
            master: ("node0".to_owned(), 1234),
            key: "k".to_owned(),
            interface: Some(Interface("eth1".to_owned())),
        };
        let world = World { rank_layout: &RANK_LAYOUT, libtorch: &libtorch, placement };
        let gloo = |name: &str| (name == "GLOO_SOCKET_IFNAME").then(|| OsString::from("ib0"));
        let variables: HashMap<_, _> = world.variables(1, gloo).into_iter().collect();
        for (name, value) in [
            ("RANK", "5"),
            ("LOCAL_RANK", "1"),
            ("WORLD_SIZE", "6"),
            ("LOCAL_WORLD_SIZE", "2"),
            ("MASTER_ADDR", "node0"),
            ("MASTER_PORT", "1234"),
            ("MLPERF_RUN_KEY", "k"),
            ("NCCL_SOCKET_IFNAME", "=eth1"),
        ] {
            assert_eq!(variables[name], value, "{name}");
        }
        assert!(!variables.contains_key("GLOO_SOCKET_IFNAME"), "the user's own choice stays");
    }

    #[test]
    fn gpu_ranks_need_no_malloc_setting() {
        let rank_layout = RankLayout { device: Device::Cuda, ..RANK_LAYOUT };
        assert!(!variables(&rank_layout, &[]).contains_key("GLIBC_TUNABLES"));
    }
}
