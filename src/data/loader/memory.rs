//! How much memory can be used without evicting anything.

use std::fs;

use rustix::fs::statvfs;

/// The folder for in-memory files.
pub(in crate::data) const SHARED: &str = "/dev/shm";

/// Free memory of a machine, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Free {
    /// Memory to spare on the machine or in the control group, whichever is less. Cached pages of
    /// files count as spare. 0 if it is unknown.
    pub memory: u64,
    /// Free space for in-memory files.
    pub shared: u64,
}

impl Free {
    /// The memory that is free now.
    pub fn now() -> Self {
        let shared = statvfs(SHARED).map_or(0, |space| space.f_bavail * space.f_frsize);
        Self { memory: available(), shared }
    }

    /// The default limit of decoded images (`"auto"`).
    pub(in crate::data) fn for_images(&self) -> u64 {
        self.memory.min(self.shared) / 10 * 7
    }
}

/// Computes [`Free::memory`].
pub(in crate::data) fn available() -> u64 {
    let machine = field(&read("/proc/meminfo"), "MemAvailable:").map_or(0, |kib| kib << 10);
    let group = GROUPS.iter().find_map(|files| files.spare(&read));
    group.map_or(machine, |spare| machine.min(spare))
}

/// Where a control group reports its limit and usage.
struct Group {
    folder: &'static str,
    limit: &'static str,
    used: &'static str,
    /// Fields of its `memory.stat`: pages of files, and the part of them that is in memory only.
    pages: [&'static str; 2],
}

/// Version 2, then version 1.
const GROUPS: [Group; 2] = [
    Group {
        folder: "/sys/fs/cgroup",
        limit: "memory.max",
        used: "memory.current",
        pages: ["file", "shmem"],
    },
    Group {
        folder: "/sys/fs/cgroup/memory",
        limit: "memory.limit_in_bytes",
        used: "memory.usage_in_bytes",
        pages: ["total_cache", "total_shmem"],
    },
];

impl Group {
    /// Bytes to spare; `None` if there is no such group or no limit.
    fn spare(&self, read: &dyn Fn(&str) -> String) -> Option<u64> {
        let read = |file: &str| read(&format!("{}/{file}", self.folder));
        let number = |file: &str| read(file).trim().parse::<u64>().ok();
        let (limit, used) = (number(self.limit)?, number(self.used)?);
        let stat = read("memory.stat");
        let [cached, in_memory] = self.pages.map(|word| field(&stat, word).unwrap_or(0));
        Some(limit.saturating_sub(used.saturating_sub(cached.saturating_sub(in_memory))))
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The number after a field name at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().map(str::split_whitespace);
    let mut words = lines.find_map(|mut words| (words.next() == Some(name)).then_some(words))?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spare_memory_is_at_most_that_of_the_machine() {
        let total = field(&read("/proc/meminfo"), "MemTotal:").unwrap() << 10;
        assert!((1..total).contains(&available()), "{} of {total}", available());
        assert_eq!(field("a 1\nfile 23\nfile_dirty 4", "file"), Some(23));
    }

    #[test]
    fn both_versions_of_control_groups_are_read_and_in_memory_files_are_not_spare() {
        let file = |path: &str| {
            let text = match path.strip_prefix("/sys/fs/cgroup/").unwrap() {
                "memory.max" | "memory/memory.limit_in_bytes" => "1000\n",
                "memory.current" | "memory/memory.usage_in_bytes" => "600\n",
                "memory.stat" => "anon 100\nfile 500\nshmem 200\n",
                "memory/memory.stat" => "cache 1\ntotal_cache 500\ntotal_shmem 200\n",
                other => panic!("{other}"),
            };
            text.to_owned()
        };
        for group in &GROUPS {
            assert_eq!(group.spare(&file), Some(700), "{}", group.folder);
            assert_eq!(group.spare(&|_| String::new()), None);
        }
        assert_eq!(GROUPS[0].spare(&|_| "max\n".to_owned()), None, "no limit");
    }
}
