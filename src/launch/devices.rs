//! Detects the machine's devices and decides the number of ranks. GPUs are counted in `/proc` and
//! `/dev`, without torch.

use std::{fs, path::Path, thread};

use super::LaunchError;
use crate::recipe::DeviceChoice;

/// The default number of CPU ranks: enough to train data-parallel, few enough for a laptop.
const CPU_RANKS: usize = 2;

/// The devices of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Processor cores that this process may use.
    pub num_cores: usize,
    /// GPUs that this process may use.
    pub num_gpus: usize,
}

/// The ranks of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RankLayout {
    /// The device type of all ranks.
    pub device: Device,
    /// Number of ranks.
    pub num_ranks: usize,
    /// CPU threads per rank.
    pub threads_per_rank: usize,
}

/// The device type of a rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// CPU cores.
    Cpu,
    /// One GPU per rank.
    Cuda,
}

impl Machine {
    /// Detects this machine's devices.
    pub fn detect() -> Self {
        let num_present = count_gpus(Path::new("/"));
        let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
        Self {
            num_cores: thread::available_parallelism().map_or(1, usize::from),
            num_gpus: count_visible(num_present, visible.as_deref()),
        }
    }
}

impl RankLayout {
    /// Chooses device and number of ranks. `num_ranks` 0 means as many as fit the machine.
    pub fn detect(
        choice: DeviceChoice,
        num_ranks: usize,
        machine: &Machine,
    ) -> Result<Self, LaunchError> {
        let Machine { num_cores, num_gpus } = *machine;
        let device = match choice {
            DeviceChoice::Cpu => Device::Cpu,
            DeviceChoice::Auto if num_gpus == 0 => Device::Cpu,
            DeviceChoice::Cuda if num_gpus == 0 => return Err(LaunchError::NoGpu),
            DeviceChoice::Auto | DeviceChoice::Cuda => Device::Cuda,
        };
        let num_ranks = match (num_ranks, device) {
            (0, Device::Cpu) => num_cores.min(CPU_RANKS),
            (0, Device::Cuda) => num_gpus,
            (n, Device::Cuda) if n > num_gpus => {
                return Err(LaunchError::TooFewGpus { num_ranks: n, num_gpus });
            }
            (n, _) => n,
        };
        Ok(Self { device, num_ranks, threads_per_rank: (num_cores / num_ranks).max(1) })
    }

    /// The layout with the threads that ranks inherit in `OMP_NUM_THREADS`, if it is set.
    #[must_use]
    pub fn inheriting(self, omp_num_threads: Option<&str>) -> Self {
        let inherited = omp_num_threads.and_then(|number| number.trim().parse().ok());
        let threads_per_rank = inherited.filter(|&number| number > 0);
        Self { threads_per_rank: threads_per_rank.unwrap_or(self.threads_per_rank), ..self }
    }

    /// A warning for the user if `machine` is too small for this layout.
    pub fn warning(&self, machine: &Machine) -> Option<String> {
        let (num_ranks, num_cores) = (self.num_ranks, machine.num_cores);
        let threads = self.threads_per_rank;
        if self.device == Device::Cpu && num_ranks <= num_cores && num_ranks * threads > num_cores {
            return Some(format!(
                "OMP_NUM_THREADS is {threads}, so that {num_ranks} ranks x {threads} threads share \
                 {num_cores} processor cores and will be slow; unset it"
            ));
        }
        (self.device == Device::Cpu && num_ranks > num_cores).then(|| {
            format!(
                "{num_ranks} ranks share {num_cores} processor cores and will be slow; \
                 --nproc {num_cores} gives each rank its own core"
            )
        })
    }
}

impl From<Device> for DeviceChoice {
    fn from(device: Device) -> Self {
        match device {
            Device::Cpu => Self::Cpu,
            Device::Cuda => Self::Cuda,
        }
    }
}

/// Counts the GPUs that the driver lists under `root`, or else device files: a sandbox may hide the
/// list but pass the devices through.
fn count_gpus(root: &Path) -> usize {
    let count = |folder: &str, is_gpu: fn(&str) -> bool| {
        let names = fs::read_dir(root.join(folder)).into_iter().flatten().flatten();
        names.filter(|entry| entry.file_name().to_str().is_some_and(is_gpu)).count()
    };
    match count("proc/driver/nvidia/gpus", |_| true) {
        0 => count("dev", |name| {
            name.strip_prefix("nvidia").is_some_and(|number| number.parse::<u32>().is_ok())
        }),
        listed => listed,
    }
}

/// Counts the GPUs that `CUDA_VISIBLE_DEVICES` leaves visible, as CUDA reads it: the list ends at
/// the first invalid entry, and an entry is an index or a UUID that begins with `GPU-` or `MIG-`.
fn count_visible(num_present: usize, visible: Option<&str>) -> usize {
    let Some(list) = visible else { return num_present };
    let names_a_gpu = |entry: &str| match entry.parse::<usize>() {
        Ok(index) => index < num_present,
        Err(_) => num_present > 0 && (entry.starts_with("GPU-") || entry.starts_with("MIG-")),
    };
    list.split(',').map(str::trim).take_while(|entry| names_a_gpu(entry)).count()
}

/// Reads the host name, the default name of the system in the results folder.
pub fn host_name() -> String {
    fs::read_to_string(Path::new("/proc/sys/kernel/hostname"))
        .map(|name| name.trim().to_owned())
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAPTOP: Machine = Machine { num_cores: 8, num_gpus: 0 };
    const SERVER: Machine = Machine { num_cores: 64, num_gpus: 8 };

    fn detect(choice: DeviceChoice, num_ranks: usize, machine: Machine) -> RankLayout {
        RankLayout::detect(choice, num_ranks, &machine).unwrap()
    }

    #[test]
    fn auto_uses_every_gpu_or_two_cpu_ranks() {
        let rank_layout = detect(DeviceChoice::Auto, 0, SERVER);
        assert_eq!(
            rank_layout,
            RankLayout { device: Device::Cuda, num_ranks: 8, threads_per_rank: 8 }
        );
        let rank_layout = detect(DeviceChoice::Auto, 0, LAPTOP);
        assert_eq!(
            rank_layout,
            RankLayout { device: Device::Cpu, num_ranks: 2, threads_per_rank: 4 }
        );
        let one_core = Machine { num_cores: 1, num_gpus: 0 };
        assert_eq!(detect(DeviceChoice::Auto, 0, one_core).num_ranks, 1);
    }

    #[test]
    fn more_ranks_than_cores_are_allowed_with_a_warning() {
        let two_cores = Machine { num_cores: 2, num_gpus: 0 };
        let rank_layout = detect(DeviceChoice::Cpu, 8, two_cores);
        assert_eq!((rank_layout.num_ranks, rank_layout.threads_per_rank), (8, 1));
        assert!(rank_layout.warning(&two_cores).unwrap().contains("--nproc 2"));
        let rank_layout = detect(DeviceChoice::Cpu, 2, two_cores);
        assert_eq!(rank_layout.warning(&two_cores), None);
        assert_eq!(rank_layout.inheriting(None), rank_layout);
        let inheriting = rank_layout.inheriting(Some("2"));
        assert_eq!(inheriting.threads_per_rank, 2);
        let warning = inheriting.warning(&two_cores).unwrap();
        assert!(warning.contains("2 ranks x 2 threads share 2 processor cores"), "{warning}");
    }

    #[test]
    fn missing_gpus_are_reported_with_the_fix() {
        let error = RankLayout::detect(DeviceChoice::Cuda, 0, &LAPTOP).unwrap_err().to_string();
        assert!(error.contains("--device cpu"), "{error}");
        let error = RankLayout::detect(DeviceChoice::Cuda, 9, &SERVER).unwrap_err().to_string();
        assert!(error.contains("--nproc 8"), "{error}");
    }

    #[test]
    fn gpus_are_counted_from_the_drivers_list_or_from_device_files() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(count_gpus(root.path()), 0);
        for name in ["nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "null"] {
            let path = root.path().join("dev").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        assert_eq!(count_gpus(root.path()), 2);
        fs::create_dir_all(root.path().join("proc/driver/nvidia/gpus/0000:0f:00.0")).unwrap();
        assert_eq!(count_gpus(root.path()), 1, "the driver's list takes precedence");
    }

    #[test]
    fn cuda_visible_devices_is_read_as_cuda_reads_it() {
        for (visible, expected) in [
            (None, 4),
            (Some(""), 0),
            (Some("-1"), 0),
            (Some("0"), 1),
            (Some("3, 1"), 2),
            (Some("0,4,1"), 1),
            (Some("GPU-8f2c,GPU-11aa"), 2),
            (Some("NoDevFiles"), 0),
        ] {
            assert_eq!(count_visible(4, visible), expected, "{visible:?}");
        }
        assert_eq!(count_visible(0, Some("GPU-8f2c")), 0);
    }
}
