//! Rank and world size from the environment variables of torchrun, Open MPI, Slurm or PMI, read once.

use crate::{
    hash,
    libtorch::{GroupTimeouts, Rendezvous},
};

/// The position of this process among all ranks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    /// Global rank, from 0.
    pub rank: usize,
    /// Rank on this machine, from 0; also the GPU index.
    pub local_rank: usize,
    /// Ranks on this machine, which share its cores, memory and storage.
    pub local_world_size: usize,
    /// Total number of ranks.
    pub world_size: usize,
    /// Host of rank 0.
    pub master_addr: String,
    /// Port that rank 0 listens on.
    pub master_port: u16,
    /// What the ranks of a run know and others do not, from `MLPERF_RUN_KEY`; empty if it is not set.
    pub key: String,
}

/// An invalid environment variable.
#[derive(Debug, thiserror::Error)]
#[error(
    "environment variable {name} is '{value}', not {wanted}; start ranks with mlperf-run or \
     torchrun"
)]
pub struct WorldError {
    name: &'static str,
    value: String,
    wanted: &'static str,
}

/// The names of the variables of one launcher.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Names {
    rank: &'static str,
    world_size: &'static str,
    local_rank: &'static str,
    local_world_size: &'static str,
}

const TORCHRUN: Names = Names {
    rank: "RANK",
    world_size: "WORLD_SIZE",
    local_rank: "LOCAL_RANK",
    local_world_size: "LOCAL_WORLD_SIZE",
};
const OPEN_MPI: Names = Names {
    rank: "OMPI_COMM_WORLD_RANK",
    world_size: "OMPI_COMM_WORLD_SIZE",
    local_rank: "OMPI_COMM_WORLD_LOCAL_RANK",
    local_world_size: "OMPI_COMM_WORLD_LOCAL_SIZE",
};
const SLURM: Names = Names {
    rank: "SLURM_PROCID",
    world_size: "SLURM_NTASKS",
    local_rank: "SLURM_LOCALID",
    local_world_size: "SLURM_NTASKS_PER_NODE",
};
const PMI: Names = Names {
    rank: "PMI_RANK",
    world_size: "PMI_SIZE",
    local_rank: "MPI_LOCALRANKID",
    local_world_size: "MPI_LOCALNRANKS",
};

impl Names {
    /// Torchrun's names, unless only another launcher's are there. `mpirun` within a Slurm job sets
    /// its own names too, and they describe the ranks.
    fn of(lookup: &impl Fn(&str) -> Option<String>) -> Self {
        let is_set = |names: &Self| {
            [names.rank, names.world_size].iter().any(|name| lookup(name).is_some())
                || (*names == TORCHRUN && lookup(names.local_rank).is_some())
        };
        [TORCHRUN, OPEN_MPI, PMI, SLURM].into_iter().find(is_set).unwrap_or(TORCHRUN)
    }
}

impl World {
    /// Reads the environment variables through `lookup`; a single process if they are not set.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, WorldError> {
        let number = |name: &'static str, default: usize| match lookup(name) {
            None => Ok(default),
            Some(value) => {
                value.parse().map_err(|_| WorldError { name, value, wanted: "a whole number" })
            }
        };
        let names = Names::of(&lookup);
        let (rank, world_size) = (number(names.rank, 0)?, number(names.world_size, 1)?);
        if rank >= world_size {
            let value = rank.to_string();
            return Err(WorldError { name: names.rank, value, wanted: "below the world size" });
        }
        let local_rank = number(names.local_rank, rank)?;
        // Without a local world size, a rank shares the machine with at least the ranks before it.
        let num_nodes = number("SLURM_NNODES", 1)?.max(1);
        let default = if names == SLURM { world_size.div_ceil(num_nodes) } else { world_size };
        let local_world_size = number(names.local_world_size, default.max(local_rank + 1))?;
        if local_rank >= local_world_size {
            let value = local_world_size.to_string();
            let wanted = "above the local rank";
            return Err(WorldError { name: names.local_world_size, value, wanted });
        }
        if names != TORCHRUN && local_world_size < world_size && lookup("MASTER_ADDR").is_none() {
            let wanted = "the host of rank 0, which ranks on several hosts need";
            return Err(WorldError { name: "MASTER_ADDR", value: String::new(), wanted });
        }
        let port = number("MASTER_PORT", 29500)?;
        let master_port = u16::try_from(port).map_err(|_| WorldError {
            name: "MASTER_PORT",
            value: port.to_string(),
            wanted: "a port below 65536",
        })?;
        Ok(Self {
            rank,
            local_rank,
            local_world_size,
            world_size,
            master_addr: lookup("MASTER_ADDR").unwrap_or_else(|| "127.0.0.1".to_owned()),
            master_port,
            key: lookup("MLPERF_RUN_KEY").unwrap_or_default(),
        })
    }

    /// Whether this is rank 0, which writes the log and reports progress.
    pub fn is_main(&self) -> bool {
        self.rank == 0
    }

    /// This rank's number among the ranks on its machine, and how many there are.
    pub fn on_machine(&self) -> (usize, usize) {
        let num_ranks = self.local_world_size.min(self.world_size);
        (self.local_rank % num_ranks, num_ranks)
    }

    /// This rank's part of `count` resources of the machine, such as cores; at least one.
    pub fn fraction_of(&self, count: usize) -> usize {
        (count / self.local_world_size).max(1)
    }

    /// The address where the ranks meet.
    pub fn rendezvous(&self, timeouts: GroupTimeouts) -> Rendezvous {
        Rendezvous {
            host: self.master_addr.clone(),
            port: self.master_port,
            rank: self.rank,
            world_size: self.world_size,
            timeouts,
            // Whoever reaches the store can list its names, so the secret itself is in none.
            store_name: hash::sha256(format!("store {}", self.key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(pairs: &[(&str, &str)]) -> Result<World, WorldError> {
        let find = |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string());
        World::from_env(find)
    }

    #[test]
    fn torchruns_variables_are_read() {
        let world = world(&[
            ("RANK", "9"),
            ("LOCAL_RANK", "1"),
            ("WORLD_SIZE", "16"),
            ("LOCAL_WORLD_SIZE", "8"),
            ("MASTER_ADDR", "node0"),
            ("MASTER_PORT", "1234"),
        ]);
        let world = world.unwrap();
        assert_eq!((world.rank, world.world_size), (9, 16));
        assert_eq!((world.local_rank, world.local_world_size), (1, 8));
        assert_eq!((world.master_addr.as_str(), world.master_port), ("node0", 1234));
        assert!(!world.is_main());
    }

    #[test]
    fn other_launchers_names_are_read_where_torchruns_are_not_there() {
        let slurm = [
            ("SLURM_PROCID", "3"),
            ("SLURM_NTASKS", "4"),
            ("SLURM_LOCALID", "1"),
            ("SLURM_NNODES", "2"),
            ("MASTER_ADDR", "node0"),
        ];
        let mpi = [
            ("OMPI_COMM_WORLD_RANK", "1"),
            ("OMPI_COMM_WORLD_SIZE", "2"),
            ("OMPI_COMM_WORLD_LOCAL_RANK", "1"),
            ("OMPI_COMM_WORLD_LOCAL_SIZE", "2"),
        ];
        let pmi = [("PMI_RANK", "1"), ("PMI_SIZE", "2")];
        let numbers =
            |world: World| [world.rank, world.world_size, world.local_rank, world.local_world_size];
        assert_eq!(numbers(world(&slurm).unwrap()), [3, 4, 1, 2]);
        assert_eq!(numbers(world(&mpi).unwrap()), [1, 2, 1, 2]);
        assert_eq!(numbers(world(&pmi).unwrap()), [1, 2, 1, 2]);
        assert_eq!(numbers(world(&[&slurm[..], &mpi].concat()).unwrap()), [1, 2, 1, 2]);
        let torchrun = [("RANK", "0"), ("WORLD_SIZE", "1")];
        assert_eq!(numbers(world(&[&slurm[..], &torchrun].concat()).unwrap()), [0, 1, 0, 1]);
    }

    #[test]
    fn cores_are_not_shared_with_ranks_of_other_machines() {
        let many = [("WORLD_SIZE", "64"), ("LOCAL_WORLD_SIZE", "8"), ("RANK", "8")];
        let one_of_64 = world(&[many.as_slice(), &[("LOCAL_RANK", "0")]].concat()).unwrap();
        assert_eq!((one_of_64.fraction_of(128), one_of_64.fraction_of(4)), (16, 1));
    }

    #[test]
    fn without_variables_the_world_has_one_rank() {
        let alone = world(&[]).unwrap();
        assert_eq!((alone.rank, alone.world_size, alone.local_world_size), (0, 1, 1));
        assert!(alone.is_main());
    }

    #[test]
    fn ranks_share_one_machine_by_default() {
        let third = world(&[("RANK", "2"), ("WORLD_SIZE", "4")]).unwrap();
        assert_eq!((third.local_rank, third.local_world_size), (2, 4));
        let on_the_fourth_gpu = world(&[("LOCAL_RANK", "3")]).unwrap();
        assert_eq!(on_the_fourth_gpu.on_machine(), (0, 1), "the others are not in its world");
        assert_eq!((on_the_fourth_gpu.local_rank, on_the_fourth_gpu.local_world_size), (3, 4));
    }

    #[test]
    fn invalid_variables_are_reported() {
        for (pairs, named) in [
            (vec![("RANK", "one")], "RANK is 'one'"),
            (vec![("RANK", "2"), ("WORLD_SIZE", "2")], "RANK is '2'"),
            (
                vec![("SLURM_PROCID", "0"), ("SLURM_NTASKS", "4"), ("SLURM_NNODES", "2")],
                "MASTER_ADDR is '', not the host of rank 0",
            ),
            (vec![("LOCAL_WORLD_SIZE", "0")], "LOCAL_WORLD_SIZE is '0'"),
            (
                vec![("LOCAL_RANK", "2"), ("LOCAL_WORLD_SIZE", "2")],
                "LOCAL_WORLD_SIZE is '2', not above the local rank",
            ),
            (vec![("MASTER_PORT", "70000")], "MASTER_PORT is '70000'"),
        ] {
            let error = world(&pairs).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
