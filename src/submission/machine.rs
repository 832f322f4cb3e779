//! Reads the description of a machine from its files. Unknown fields stay empty, to be filled in by
//! hand.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use super::system::{Availability, SystemDescription};
use crate::mlperf::Division;

/// `submission_org` of a run that is not a submission.
const UNVERIFIED: &str = "unverified, not a submission";

impl SystemDescription {
    /// This machine.
    pub fn from_machine() -> Self {
        Self::below(Path::new("/"))
    }

    /// The machine whose files are below `root`.
    fn below(root: &Path) -> Self {
        let processor = Processor::read(root);
        let gpus = gpu_models(root);
        let storage = disks(root);
        let memory = fs::read_to_string(root.join("proc/meminfo")).unwrap_or_default();
        let models: BTreeSet<&str> = gpus.iter().map(String::as_str).collect();
        let models = models.into_iter().collect::<Vec<_>>().join(", ");
        Self {
            submitter: UNVERIFIED.to_owned(),
            division: Division::Open,
            status: Availability::Research,
            system_name: name(&processor, gpus.len(), &models),
            number_of_nodes: "1".to_owned(),
            host_processors_per_node: processor.num_sockets.to_string(),
            host_processor_core_count: processor.num_cores.to_string(),
            host_processor_vcpu_count: (processor.num_threads / processor.num_sockets).to_string(),
            host_processor_frequency: processor.frequency,
            host_processor_caches: processor.caches,
            host_processor_model_name: processor.model,
            host_memory_capacity: memory_capacity(&memory).unwrap_or_default(),
            accelerators_per_node: gpus.len().to_string(),
            accelerator_model_name: if models.is_empty() { "N/A".to_owned() } else { models },
            framework: format!("mlperf-run {}", env!("CARGO_PKG_VERSION")),
            operating_system: operating_system(root),
            host_processor_interconnect: String::new(),
            host_storage_type: storage.iter().map(Disk::kind).collect::<Vec<_>>().join(", "),
            host_storage_capacity: storage
                .iter()
                .map(Disk::capacity)
                .collect::<Vec<_>>()
                .join(", "),
            host_networking: networking(root),
            host_networking_topology: String::new(),
            host_memory_configuration: String::new(),
            accelerator_host_interconnect: String::new(),
            accelerator_frequency: String::new(),
            accelerator_on_chip_memories: String::new(),
            accelerator_memory_configuration: String::new(),
            accelerator_memory_capacity: String::new(),
            accelerator_interconnect: String::new(),
            accelerator_interconnect_topology: String::new(),
            cooling: String::new(),
            hw_notes: String::new(),
            other_software_stack: String::new(),
            sw_notes: String::new(),
        }
    }
}

/// The contents of `/proc/cpuinfo`.
struct Processor {
    model: String,
    /// Processors of the machine.
    num_sockets: usize,
    /// Cores per processor.
    num_cores: usize,
    /// Threads of the machine.
    num_threads: usize,
    frequency: String,
    caches: String,
}

impl Processor {
    fn read(root: &Path) -> Self {
        let text = fs::read_to_string(root.join("proc/cpuinfo")).unwrap_or_default();
        let all = |key| text.lines().filter_map(move |line| value_of(line, key));
        let first = |key| all(key).next();
        let num_threads = all("processor").count().max(1);
        let num_sockets = all("physical id").collect::<BTreeSet<_>>().len().max(1);
        Self {
            model: first("model name").unwrap_or("unknown processor").to_owned(),
            num_sockets,
            num_cores: first("cpu cores")
                .and_then(|cores| cores.parse().ok())
                .unwrap_or(num_threads / num_sockets),
            num_threads,
            frequency: frequency(root)
                .or_else(|| Some(format!("{} MHz", first("cpu MHz")?)))
                .unwrap_or_default(),
            caches: first("cache size").unwrap_or_default().to_owned(),
        }
    }
}

/// The highest clock rate (`/proc/cpuinfo` has only the current one).
fn frequency(root: &Path) -> Option<String> {
    let path = root.join("sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq");
    let kilohertz: u64 = fs::read_to_string(path).ok()?.trim().parse().ok()?;
    Some(format!("{} MHz", kilohertz / 1000))
}

/// The value of a line `key : value`, the format of files in `/proc`.
fn value_of<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let (name, value) = line.split_once(':')?;
    (name.trim() == key).then(|| value.trim())
}

fn name(processor: &Processor, num_gpus: usize, models: &str) -> String {
    let host = format!("{}x {}", processor.num_sockets, processor.model);
    match num_gpus {
        0 => format!("{host}, {} threads", processor.num_threads),
        _ => format!("{num_gpus}x {models}, {host}"),
    }
}

fn memory_capacity(meminfo: &str) -> Option<String> {
    let total = meminfo.lines().find_map(|line| value_of(line, "MemTotal"))?;
    let kib: f64 = total.strip_suffix("kB")?.trim().parse().ok()?;
    Some(format!("{:.0} GiB", kib / 1024.0 / 1024.0))
}

/// One disk.
struct Disk {
    name: String,
    gigabytes: f64,
    rotates: bool,
}

impl Disk {
    /// The kind of disk. The properties of a virtual disk say nothing about the hardware behind it.
    fn kind(&self) -> String {
        let kind = match self.name.get(..2) {
            Some("nv") => "NVMe SSD",
            Some("vd" | "xv") => "virtual disk",
            _ if self.rotates => "hard disk",
            _ => "SSD",
        };
        kind.to_owned()
    }

    fn capacity(&self) -> String {
        format!("{:.0} GB", self.gigabytes)
    }
}

/// Disks by name, without partitions and virtual block devices.
fn disks(root: &Path) -> Vec<Disk> {
    let entries = fs::read_dir(root.join("sys/block")).into_iter().flatten().flatten();
    let disk = |entry: fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let read = |file: &str| fs::read_to_string(entry.path().join(file)).unwrap_or_default();
        let is_real = ["nvme", "sd", "vd", "xvd", "hd"].iter().any(|kind| name.starts_with(kind));
        // In sectors of 512 bytes, whatever the disk's own sector size.
        let sectors: f64 = read("size").trim().parse().ok().filter(|sectors| *sectors > 0.0)?;
        let rotates = read("queue/rotational").trim() == "1";
        is_real.then(|| Disk { gigabytes: sectors * 512.0 / 1e9, rotates, name })
    };
    let mut disks: Vec<_> = entries.filter_map(disk).collect();
    disks.sort_by(|a, b| a.name.cmp(&b.name));
    disks
}

/// Network cards with a link, by speed, such as `2x 200 Gbit/s`.
fn networking(root: &Path) -> String {
    let entries = fs::read_dir(root.join("sys/class/net")).into_iter().flatten().flatten();
    let mut speeds: BTreeMap<u64, usize> = BTreeMap::new();
    for card in entries.map(|entry| entry.path()).filter(|card| card.join("device").exists()) {
        let megabits = fs::read_to_string(card.join("speed")).unwrap_or_default();
        if let Some(megabits) = megabits.trim().parse().ok().filter(|megabits| *megabits > 0) {
            *speeds.entry(megabits).or_default() += 1;
        }
    }
    let cards = speeds
        .iter()
        .rev()
        .map(|(megabits, count)| format!("{count}x {} Gbit/s", *megabits as f64 / 1000.0));
    cards.collect::<Vec<_>>().join(", ")
}

fn gpu_models(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root.join("proc/driver/nvidia/gpus")).into_iter().flatten();
    let folders = entries.flatten().map(|entry| entry.path());
    folders.map(|folder| gpu_model(&folder)).collect()
}

fn gpu_model(folder: &Path) -> String {
    let text = fs::read_to_string(folder.join("information")).unwrap_or_default();
    text.lines().find_map(|line| value_of(line, "Model")).unwrap_or("unknown GPU").to_owned()
}

/// Distribution and kernel.
fn operating_system(root: &Path) -> String {
    let release = fs::read_to_string(root.join("etc/os-release")).unwrap_or_default();
    let kernel = fs::read_to_string(root.join("proc/sys/kernel/osrelease")).unwrap_or_default();
    let distribution = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let distribution = distribution.unwrap_or("Linux").trim_matches('"');
    format!("{distribution}, kernel {}", kernel.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, name: &str, text: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn describes_a_server_from_its_files() {
        let root = tempfile::tempdir().unwrap();
        let thread = |n: usize| {
            format!(
                "processor\t: {n}\nmodel name\t: AMD EPYC 7513\ncpu MHz\t\t: 2600.000\n\
                 cache size\t: 512 KB\nphysical id\t: {}\ncpu cores\t: 32\n\n",
                n / 2
            )
        };
        put(root.path(), "proc/cpuinfo", &(0..4).map(thread).collect::<String>());
        put(root.path(), "proc/meminfo", "MemTotal:       1056768000 kB\nMemFree: 1 kB\n");
        put(root.path(), "etc/os-release", "NAME=\"Debian\"\nPRETTY_NAME=\"Debian 12\"\n");
        put(root.path(), "proc/sys/kernel/osrelease", "6.1.0\n");
        for gpu in ["0000:01:00.0", "0000:41:00.0"] {
            let name = format!("proc/driver/nvidia/gpus/{gpu}/information");
            put(root.path(), &name, "Model: \t\t NVIDIA H200\nIRQ:   \t\t 17\n");
        }
        for (disk, sectors) in [("nvme0n1", "7501476528"), ("sda", "1000"), ("loop0", "8")] {
            put(root.path(), &format!("sys/block/{disk}/size"), sectors);
        }
        put(root.path(), "sys/block/sda/queue/rotational", "1\n");
        for (card, speed) in [("a", "200000"), ("b", "200000"), ("c", "1000"), ("d", "-1")] {
            put(root.path(), &format!("sys/class/net/{card}/speed"), speed);
            put(root.path(), &format!("sys/class/net/{card}/device/x"), "");
        }
        put(root.path(), "sys/class/net/lo/speed", "100");
        assert_eq!(SystemDescription::below(root.path()).host_processor_frequency, "2600.000 MHz");
        put(root.path(), "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "3650000\n");
        let system = SystemDescription::below(root.path());
        assert_eq!(system.host_processor_frequency, "3650 MHz");
        assert_eq!(system.host_storage_type, "NVMe SSD, hard disk");
        assert_eq!(system.host_storage_capacity, "3841 GB, 0 GB");
        assert_eq!(system.host_networking, "2x 200 Gbit/s, 1x 1 Gbit/s");
        assert_eq!(system.system_name, "2x NVIDIA H200, 2x AMD EPYC 7513");
        assert_eq!(system.host_processors_per_node, "2");
        assert_eq!(system.host_processor_core_count, "32");
        assert_eq!(system.host_processor_vcpu_count, "2");
        assert_eq!(system.host_memory_capacity, "1008 GiB");
        assert_eq!(system.accelerators_per_node, "2");
        assert_eq!(system.accelerator_model_name, "NVIDIA H200");
        assert_eq!(system.operating_system, "Debian 12, kernel 6.1.0");
        assert_eq!(system.cooling, "");
    }

    #[test]
    fn unknown_properties_are_not_invented() {
        let root = tempfile::tempdir().unwrap();
        let system = SystemDescription::below(root.path());
        assert_eq!(system.system_name, "1x unknown processor, 1 threads");
        assert_eq!(system.accelerator_model_name, "N/A");
        assert_eq!(system.host_memory_capacity, "");
        assert_eq!(system.submitter, UNVERIFIED);
    }
}
