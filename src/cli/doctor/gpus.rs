//! GPUs and their driver, by NVML.

use nvml_wrapper::{
    Device, Nvml,
    enum_wrappers::device::{P2pCapabilitiesIndex, P2pStatus},
    error::NvmlError,
};

use super::finding::Finding;
use crate::recipe::DeviceChoice;

/// CUDA 13, for which libtorch 2.11.0 is built, needs this driver.
const LEAST_DRIVER: u32 = 580;
/// CUDA 13 has no code for older GPUs than these, of the Turing generation.
const LEAST_CAPABILITY: (i32, i32) = (7, 5);
/// Memory that a driver uses by itself, bytes.
const IDLE_BYTES: u64 = 1 << 30;

/// What the driver says.
#[derive(Clone, Debug)]
struct Facts {
    driver: String,
    gpus: Vec<Gpu>,
    /// Pairs of GPUs that cannot read each other's memory.
    num_pairs_without_access: usize,
}

#[derive(Clone, Debug)]
struct Gpu {
    name: String,
    capability: (i32, i32),
    total_bytes: u64,
    used_bytes: u64,
    is_persistent: Option<bool>,
    has_mig: bool,
    /// The limit that applies, and the default one, mW.
    power_limits: Option<[u32; 2]>,
}

/// All findings on GPUs. Without a GPU, that is a failure if the recipe needs one.
pub(super) fn findings(device: DeviceChoice) -> Vec<Finding> {
    match Facts::read() {
        Ok(facts) if !facts.gpus.is_empty() => findings_of(&facts),
        read => {
            let found = match read {
                Ok(_) => "the driver finds no GPU".to_owned(),
                Err(error) => format!("no GPU or no driver ({error})"),
            };
            let fix = "install NVIDIA's driver, and start a container with --gpus all; or train with \
                       --device cpu";
            let finding = match device {
                DeviceChoice::Cuda => Finding::fail("gpu", found, fix),
                DeviceChoice::Auto | DeviceChoice::Cpu => Finding::ok("gpu", found),
            };
            vec![finding]
        }
    }
}

impl Facts {
    fn read() -> Result<Self, NvmlError> {
        let nvml = Nvml::init()?;
        let devices: Result<Vec<Device<'_>>, _> =
            (0..nvml.device_count()?).map(|index| nvml.device_by_index(index)).collect();
        let devices = devices?;
        let pairs = (0..devices.len()).flat_map(|a| (a + 1..devices.len()).map(move |b| (a, b)));
        let lacks_access = |(a, b): &(usize, usize)| {
            let status = devices[*a].p2p_status(&devices[*b], P2pCapabilitiesIndex::Read);
            status.is_ok_and(|status| status != P2pStatus::Ok)
        };
        Ok(Self {
            driver: nvml.sys_driver_version()?,
            num_pairs_without_access: pairs.filter(lacks_access).count(),
            gpus: devices.iter().map(Gpu::read).collect::<Result<_, _>>()?,
        })
    }
}

impl Gpu {
    fn read(device: &Device<'_>) -> Result<Self, NvmlError> {
        let capability = device.cuda_compute_capability()?;
        let memory = device.memory_info()?;
        let limits = [device.enforced_power_limit(), device.power_management_limit_default()];
        let power_limits = match limits {
            [Ok(limit), Ok(default)] => Some([limit, default]),
            _ => None,
        };
        Ok(Self {
            name: device.name()?,
            capability: (capability.major, capability.minor),
            total_bytes: memory.total,
            used_bytes: memory.used,
            // Containers and virtual machines often may not ask this, MIG and the power limits.
            is_persistent: device.is_in_persistent_mode().ok(),
            has_mig: device.mig_mode().is_ok_and(|mode| mode.current == 1),
            power_limits,
        })
    }
}

fn findings_of(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![driver(&facts.driver), gpus(&facts.gpus)];
    for (index, gpu) in facts.gpus.iter().enumerate() {
        findings.extend(troubles(index, gpu));
    }
    if facts.gpus.len() > 1 {
        findings.push(match facts.num_pairs_without_access {
            0 => Finding::ok("gpu", "all GPUs can read each other's memory"),
            num => Finding::warn(
                "gpu",
                format!("{num} pairs of GPUs cannot read each other's memory"),
                "turn off the IOMMU or ACS in the BIOS, or see nvidia-smi topo -p2p r",
            )
            .costing("most of the bandwidth of the all-reduce, which then goes through the host"),
        });
    }
    findings
}

fn driver(version: &str) -> Finding {
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(major) if major < LEAST_DRIVER => Finding::fail(
            "driver",
            format!("version {version}"),
            format!("install driver {LEAST_DRIVER} or newer, which CUDA 13 needs"),
        ),
        _ => Finding::ok("driver", format!("version {version}")),
    }
}

fn gpus(gpus: &[Gpu]) -> Finding {
    let gb = |gpu: &Gpu| gpu.total_bytes as f64 / f64::from(1 << 30);
    let first = &gpus[0];
    let found = format!("{} x {}, {:.0} GiB", gpus.len(), first.name, gb(first));
    if gpus.iter().any(|gpu| gpu.name != first.name) {
        let fix = "choose equal ones with CUDA_VISIBLE_DEVICES";
        return Finding::warn("gpu", "the GPUs are not all of one kind", fix)
            .costing("the difference: every step waits for the slowest");
    }
    Finding::ok("gpu", found)
}

fn troubles(index: usize, gpu: &Gpu) -> Vec<Finding> {
    let mut troubles = Vec::new();
    if gpu.capability < LEAST_CAPABILITY {
        let (major, minor) = gpu.capability;
        let found = format!("GPU {index} has compute capability {major}.{minor}");
        troubles.push(Finding::fail("gpu", found, "use one of 7.5 or newer, which CUDA 13 needs"));
    }
    if gpu.has_mig {
        let fix = "turn it off with nvidia-smi -mig 0 to train on the whole GPU";
        let found = format!("GPU {index} is divided by MIG");
        troubles.push(Finding::warn("gpu", found, fix).costing("the other parts of the GPU"));
    }
    if gpu.used_bytes > IDLE_BYTES {
        let found = format!("{:.1} GB of GPU {index} are in use", gpu.used_bytes as f64 / 1e9);
        troubles.push(Finding::warn("gpu", found, "end the other programs that nvidia-smi lists"));
    }
    if gpu.is_persistent == Some(false) {
        let found = format!("GPU {index} is not in persistence mode");
        let finding = Finding::warn("gpu", found, "run nvidia-smi -pm 1");
        troubles.push(finding.costing("some seconds at each start"));
    }
    if let Some([limit, default]) = gpu.power_limits.filter(|[limit, default]| limit < default) {
        let watts = |milliwatts: u32| f64::from(milliwatts) / 1e3;
        let found =
            format!("GPU {index} is limited to {:.0} of {:.0} W", watts(limit), watts(default));
        let fix = format!("run nvidia-smi -i {index} -pl {:.0}", watts(default));
        troubles.push(Finding::warn("gpu", found, fix).costing("speed under load"));
    }
    troubles
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Verdict, *};

    fn good() -> Facts {
        let gpu = Gpu {
            name: "NVIDIA H100 80GB HBM3".to_owned(),
            capability: (9, 0),
            total_bytes: 80 << 30,
            used_bytes: 500 << 20,
            is_persistent: Some(true),
            has_mig: false,
            power_limits: Some([700_000, 700_000]),
        };
        Facts { driver: "580.95.05".to_owned(), gpus: vec![gpu; 8], num_pairs_without_access: 0 }
    }

    #[test]
    fn a_good_machine_has_no_complaint() {
        let findings = findings_of(&good());
        assert!(findings.iter().all(|it| it.verdict == Verdict::Ok), "{findings:#?}");
        assert_eq!(findings[1].found, "8 x NVIDIA H100 80GB HBM3, 80 GiB");
    }

    #[test]
    fn every_trouble_is_named_with_its_fix() {
        let spoil = |spoil: fn(&mut Facts)| {
            let mut facts = good();
            spoil(&mut facts);
            facts
        };
        for (facts, verdict, words) in [
            (spoil(|it| it.driver = "570.1".to_owned()), Verdict::Fail, "580"),
            (spoil(|it| it.gpus[3].capability = (7, 0)), Verdict::Fail, "GPU 3"),
            (spoil(|it| it.gpus[1].has_mig = true), Verdict::Warn, "-mig 0"),
            (spoil(|it| it.gpus[2].used_bytes = 5 << 30), Verdict::Warn, "GPU 2"),
            (spoil(|it| it.gpus[0].is_persistent = Some(false)), Verdict::Warn, "-pm 1"),
            (
                spoil(|it| it.gpus[7].power_limits = Some([400_000, 700_000])),
                Verdict::Warn,
                "-i 7 -pl 700",
            ),
            (
                spoil(|it| it.gpus[7].name = "other".to_owned()),
                Verdict::Warn,
                "CUDA_VISIBLE_DEVICES",
            ),
            (spoil(|it| it.num_pairs_without_access = 3), Verdict::Warn, "3 pairs"),
        ] {
            let bad: Vec<_> =
                findings_of(&facts).into_iter().filter(|it| it.verdict != Verdict::Ok).collect();
            assert_eq!(bad.len(), 1, "{bad:#?}");
            assert_eq!(bad[0].verdict, verdict);
            assert!(bad[0].lines().contains(words), "{words}: {}", bad[0].lines());
        }
    }

    #[test]
    fn a_missing_gpu_fails_where_the_recipe_needs_one() {
        if Facts::read().is_ok() {
            return;
        }
        assert_eq!(findings(DeviceChoice::Cuda)[0].verdict, Verdict::Fail);
        assert_eq!(findings(DeviceChoice::Auto)[0].verdict, Verdict::Ok);
    }
}
