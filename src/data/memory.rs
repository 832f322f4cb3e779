//! How much memory may be filled without anybody having to give some back.

use std::fs;

/// Bytes: what the machine has to spare, or the control group, whichever is less. Cached pages of
/// files count as spare. 0 where nothing can be told.
pub(super) fn available() -> u64 {
    let machine = field(&read("/proc/meminfo"), "MemAvailable:").map_or(0, |kib| kib << 10);
    let group = "/sys/fs/cgroup";
    let number = |file: &str| read(&format!("{group}/{file}")).trim().parse::<u64>().ok();
    let (Some(limit), Some(used)) = (number("memory.max"), number("memory.current")) else {
        return machine;
    };
    let cached = field(&read(&format!("{group}/memory.stat")), "file").unwrap_or(0);
    machine.min(limit.saturating_sub(used.saturating_sub(cached)))
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The number after a word at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().map(str::split_whitespace);
    let mut words = lines.find_map(|mut words| (words.next() == Some(name)).then_some(words))?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spare_memory_is_part_of_the_machines() {
        let total = field(&read("/proc/meminfo"), "MemTotal:").unwrap() << 10;
        assert!((1..total).contains(&available()), "{} of {total}", available());
        assert_eq!(field("a 1\nfile 23\nfile_dirty 4", "file"), Some(23));
    }
}
