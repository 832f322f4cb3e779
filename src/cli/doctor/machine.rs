//! Processor, memory, limits and clock of the machine.

use std::{
    fs::{self, OpenOptions},
    path::Path,
};

use rustix::process::{Resource, getrlimit};

use super::finding::Finding;
use crate::{cli::threads, console::counted, data::Free};

const GIB: f64 = (1u64 << 30) as f64;
/// Descriptors of a rank: threads, sockets of all peers, archives.
const LEAST_FILES: u64 = 4096;
/// Ranks exchange memory through `/dev/shm`, NCCL most of all.
const LEAST_SHM_GIB: f64 = 1.0;

/// What the machine says.
#[derive(Clone, Copy, Debug)]
struct Facts {
    num_cores: usize,
    num_ranks: usize,
    free_gib: f64,
    shm_gib: f64,
    /// Descriptors that a process may have; `None` is no limit.
    max_files: Option<u64>,
    /// Memory that a process may lock; `None` is no limit.
    max_locked: Option<u64>,
    has_infiniband: bool,
    can_drop_caches: bool,
    /// Whether a service keeps the clock right, if that can be told.
    is_clock_synced: Option<bool>,
}

/// All findings for `num_ranks` ranks.
pub(super) fn findings(num_ranks: usize) -> Vec<Finding> {
    findings_of(&Facts::read(num_ranks))
}

impl Facts {
    fn read(num_ranks: usize) -> Self {
        let Free { memory, shared } = Free::now();
        let drop_caches = OpenOptions::new().write(true).open("/proc/sys/vm/drop_caches");
        Self {
            num_cores: threads::num_cores(),
            num_ranks,
            free_gib: memory as f64 / GIB,
            shm_gib: shared as f64 / GIB,
            max_files: getrlimit(Resource::Nofile).current,
            max_locked: getrlimit(Resource::Memlock).current,
            has_infiniband: fs::read_dir("/sys/class/infiniband")
                .is_ok_and(|mut entries| entries.next().is_some()),
            can_drop_caches: drop_caches.is_ok(),
            is_clock_synced: is_clock_synced(),
        }
    }
}

/// systemd's and chrony's services leave these files.
fn is_clock_synced() -> Option<bool> {
    let has = |path: &str| Path::new(path).exists();
    if has("/run/systemd/timesync/synchronized") || has("/run/chrony/chronyd.pid") {
        return Some(true);
    }
    has("/run/systemd/timesync").then_some(false)
}

fn findings_of(facts: &Facts) -> Vec<Finding> {
    let Facts { num_cores, num_ranks, free_gib, .. } = *facts;
    let cores = format!(
        "{}, {:.1} a rank",
        counted(num_cores, "core"),
        num_cores as f64 / num_ranks as f64
    );
    let mut findings = vec![if num_cores < num_ranks {
        Finding::warn("cores", cores, format!("start {num_cores} ranks or fewer with --nproc"))
            .costing("more than half of the speed, because ranks wait for each other")
    } else {
        Finding::ok("cores", cores)
    }];
    findings.push(Finding::ok(
        "memory",
        format!("{free_gib:.1} GiB free, {:.1} a rank", free_gib / num_ranks as f64),
    ));
    let shm = format!("{:.1} GiB free in /dev/shm", facts.shm_gib);
    findings.push(if facts.shm_gib < LEAST_SHM_GIB {
        let fix = "start the container with --ipc=host or --shm-size=8g";
        Finding::warn("shm", shm, fix)
            .costing("NCCL's fast path between GPUs, and space for data.train.ram_cache")
    } else {
        Finding::ok("shm", shm)
    });
    match facts.max_files {
        Some(max) if max < LEAST_FILES => findings.push(Finding::warn(
            "files",
            format!("a process may open {max} files"),
            "raise it with ulimit -n 65536",
        )),
        _ => findings.push(Finding::ok("files", "enough files may be open")),
    }
    if facts.has_infiniband && facts.max_locked.is_some() {
        let fix = "set ulimit -l unlimited, or --ulimit memlock=-1 for a container";
        findings.push(
            Finding::warn("network", "InfiniBand, but memory cannot be locked", fix)
                .costing("most of the bandwidth between machines"),
        );
    }
    findings.push(if facts.can_drop_caches {
        Finding::ok("cache", "the page cache can be cleared, as MLPerf requires before a run")
    } else {
        let fix =
            "run as root, or set mlperf.cache_clear = \"sudo /sbin/sysctl -w vm.drop_caches=3\"";
        Finding::warn(
            "cache",
            "the page cache cannot be cleared, as MLPerf requires before a run",
            fix,
        )
        .costing("the validity of a submission, not speed")
    });
    match facts.is_clock_synced {
        Some(true) => findings.push(Finding::ok("clock", "a time service runs")),
        Some(false) => findings.push(Finding::warn(
            "clock",
            "the clock is not synchronized",
            "start systemd-timesyncd or chronyd, so that logs of several machines can be compared",
        )),
        None => {}
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Verdict, *};

    const GOOD: Facts = Facts {
        num_cores: 128,
        num_ranks: 8,
        free_gib: 900.0,
        shm_gib: 500.0,
        max_files: Some(1 << 16),
        max_locked: None,
        has_infiniband: true,
        can_drop_caches: true,
        is_clock_synced: Some(true),
    };

    #[test]
    fn a_good_machine_has_no_complaint() {
        assert!(
            findings_of(&GOOD).iter().all(|it| it.verdict == Verdict::Ok),
            "{:#?}",
            findings_of(&GOOD)
        );
    }

    #[test]
    fn every_trouble_is_named_with_its_fix() {
        for (facts, words) in [
            (Facts { num_cores: 4, ..GOOD }, "--nproc"),
            (Facts { shm_gib: 0.06, ..GOOD }, "--shm-size"),
            (Facts { max_files: Some(1024), ..GOOD }, "ulimit -n"),
            (Facts { max_locked: Some(65_536), ..GOOD }, "memlock"),
            (Facts { can_drop_caches: false, ..GOOD }, "cache_clear"),
            (Facts { is_clock_synced: Some(false), ..GOOD }, "chronyd"),
        ] {
            let bad: Vec<_> =
                findings_of(&facts).into_iter().filter(|it| it.verdict != Verdict::Ok).collect();
            assert_eq!(bad.len(), 1, "{bad:#?}");
            assert!(bad[0].lines().contains(words), "{words}: {}", bad[0].lines());
        }
    }
}
