//! Checks power measurements next to the logs, as `power_checker` of `mlperf_logging` does:
//! `power/result_N/node_J.txt` and `sw_K.txt`, numbered from 0, with equally many nodes and
//! switches in each run. The measured values are not read.

use std::{collections::BTreeSet, path::Path};

use super::code::Code;
use super::finding::Findings;
use super::listing::names;

/// Why the reference ends in a traceback.
type Crash = String;

/// Names (without `.txt`) of the logs whose runs fail because of their power measurements; `None`
/// where the reference crashes. `folder` is the full path of `path` in the tree.
pub(super) fn check_power(
    folder: &Path,
    path: &Path,
    logs: &[String],
    findings: &mut Findings,
) -> Option<BTreeSet<String>> {
    match incomplete(folder, logs) {
        Ok(runs) => {
            for run in &runs {
                let message = "nodes or switches are missing or not numbered from 0";
                findings.add(Code::PowerIncomplete, &path.join(run), message);
            }
            Some(runs)
        }
        Err(crash) => {
            findings.add(Code::PowerUnreadable, path, crash);
            None
        }
    }
}

fn incomplete(folder: &Path, logs: &[String]) -> Result<BTreeSet<String>, Crash> {
    let mut runs = BTreeSet::new();
    let mut counts: [Vec<usize>; 2] = Default::default();
    for log in logs {
        let run = folder.join(log);
        if !run.exists() {
            runs.insert(log.clone());
            continue;
        }
        if !run.is_dir() {
            return Err(format!("{log} is not a folder"));
        }
        let files = names(&run);
        for (kind, counts) in ["node", "sw"].into_iter().zip(&mut counts) {
            let numbers =
                files.iter().filter(|name| name.starts_with(kind)).map(|name| number(name));
            let numbers = numbers.collect::<Result<Vec<_>, _>>()?;
            let distinct: BTreeSet<_> = numbers.iter().collect();
            let last = numbers.len() as i128 - 1;
            if distinct.len() < numbers.len() || !numbers.iter().all(|n| (0..=last).contains(n)) {
                runs.insert(log.clone());
            }
            counts.push(numbers.len());
        }
    }
    for counts in counts {
        let usual = most_frequent(&counts).ok_or("no run has a folder in it")?;
        // The index counts only runs that have a folder, as in the reference.
        let differing = counts.iter().zip(logs).filter(|(count, _)| **count != usual);
        runs.extend(differing.map(|(_, log)| log.clone()));
    }
    Ok(runs)
}

/// J of `node_J.txt`.
fn number(name: &str) -> Result<i128, Crash> {
    let stem = Path::new(name).file_stem().unwrap_or_default().to_string_lossy();
    let digits = stem.rsplit('_').next().unwrap_or_default();
    digits.trim().parse().map_err(|_| format!("{name} has no number after its last underscore"))
}

/// The most frequent value; the first of several.
fn most_frequent(values: &[usize]) -> Option<usize> {
    let count = |value: &usize| values.iter().filter(|other| *other == value).count();
    values.iter().rev().max_by_key(|value| count(value)).copied()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn judged(files: &[&str]) -> Result<Vec<String>, Crash> {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let logs = ["result_0", "result_1", "result_2"].map(str::to_owned);
        incomplete(folder.path(), &logs).map(|runs| runs.into_iter().collect())
    }

    #[test]
    fn each_run_has_equally_many_nodes_and_switches_numbered_from_0() {
        let sound =
            ["result_0/node_0.txt", "result_1/node_0.txt", "result_2/node_0.txt", "result_2/log"];
        assert_eq!(judged(&sound), Ok(vec![]));
        assert_eq!(judged(&sound[..2]), Ok(vec!["result_2".into()]));
        let more = [&sound[..], &["result_1/node_1.txt"]].concat();
        assert_eq!(judged(&more), Ok(vec!["result_1".into()]));
        let from_one = [&sound[1..], &["result_0/node_1.txt"]].concat();
        assert_eq!(judged(&from_one), Ok(vec!["result_0".into()]));
    }

    #[test]
    fn a_crash_of_the_reference_has_a_reason() {
        assert!(judged(&[]).unwrap_err().contains("no run has a folder"));
        assert!(judged(&["result_0"]).unwrap_err().contains("result_0 is not a folder"));
        assert!(judged(&["result_0/node.txt"]).unwrap_err().contains("node.txt has no number"));
    }
}
