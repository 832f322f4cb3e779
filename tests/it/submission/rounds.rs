//! Verdicts on the published submissions of the rounds since 4.1, and on altered copies of them,
//! against the reference's tools, run for real.
//!
//! `MLPERF_RUN_ROUNDS` names the folder of submissions.

use std::{
    fs,
    path::{Path, PathBuf},
};

use mlperf_run::compliance::{Ruleset, Strictness};
use mlperf_run::submission::{submissions_in, verify};

use super::verify::reference;
use crate::check::say;
use crate::mutants::seed_and_count;
use crate::rounds::{rounds, ruleset};

/// What is changed in the logs of one benchmark, in the order of their names.
type Alteration = (&'static str, fn(&[PathBuf]));

const ALTERATIONS: &[Alteration] = &[
    ("nothing", |_| ()),
    ("a log is missing", |logs| fs::remove_file(&logs[0]).unwrap()),
    ("a log is there twice", |logs| fs::write(&logs[1], fs::read(&logs[0]).unwrap()).unwrap()),
    ("one log is cut off", |logs| cut(&logs[0])),
    ("two logs are cut off", |logs| {
        cut(&logs[0]);
        cut(&logs[1]);
    }),
    ("one run is aborted", |logs| edit(&logs[0], "\"success\"", "\"aborted\"")),
    ("the batch sizes differ", |logs| {
        edit(
            &logs[0],
            "\"key\": \"global_batch_size\", \"value\": ",
            "\"key\": \"global_batch_size\", \"value\": 1",
        );
    }),
    ("all runs converge at once", |logs| {
        for log in logs {
            for name in ["epoch_num", "samples_count"] {
                edit(log, &format!("\"{name}\": "), &format!("\"{name}\": 0.0"));
            }
        }
    }),
    ("a log has no accuracy", |logs| edit(&logs[0], "\"eval_accuracy\"", "\"eval_precision\"")),
    ("a log has no seed", |logs| edit(&logs[0], "\"seed\"", "\"sead\"")),
];

fn edit(log: &Path, from: &str, to: &str) {
    let text = fs::read(log).unwrap();
    let text: String = text.into_iter().map(char::from).collect();
    let bytes: Vec<u8> =
        text.replace(from, to).chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    fs::write(log, bytes).unwrap();
}

fn cut(log: &Path) {
    let text = fs::read(log).unwrap();
    fs::write(log, &text[..text.len() / 2]).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in from.read_dir().unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            // Not fs::copy, which would keep a file read-only.
            fs::write(to, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

/// The logs of the first benchmark of the first system.
fn first_logs(submission: &Path) -> Vec<PathBuf> {
    let folders = |path: &Path| {
        let mut below: Vec<_> = path.read_dir().unwrap().map(|it| it.unwrap().path()).collect();
        below.sort();
        below
    };
    let system = &folders(&submission.join("results"))[0];
    let benchmark = folders(system).into_iter().find(|path| path.is_dir()).unwrap();
    folders(&benchmark).into_iter().filter(|path| path.extension().is_some()).collect()
}

/// Asserts that we and the reference agree on copies of every submission of a round, each with
/// `num_alterations` of the alterations. Returns the number of copies, and of those that the package
/// checker accepts.
fn compared(round: &Path, ruleset: Ruleset, num_alterations: usize) -> (usize, usize) {
    let folder = tempfile::tempdir().unwrap();
    let (mut trees, mut ours) = (Vec::new(), Vec::new());
    let mut alterations = ALTERATIONS.iter().cycle();
    for submission in submissions_in(round) {
        for (number, (what, alter)) in alterations.by_ref().take(num_alterations).enumerate() {
            let name = submission.file_name().unwrap();
            let tree = folder.path().join(number.to_string()).join(name);
            copy(&submission, &tree);
            alter(&first_logs(&tree));
            ours.push((what, verify(&tree, ruleset, Strictness::default())));
            trees.push(tree);
        }
    }
    let theirs = reference(ruleset, &trees);
    for (((what, ours), tree), [package, seeds, repository]) in ours.iter().zip(&trees).zip(theirs)
    {
        let said = || format!("{ruleset} {} {what}: {:#?}", tree.display(), ours.findings);
        assert_eq!(Some(ours.package_checker_accepts()), package, "package, {}", said());
        assert_eq!(Some(ours.repo_checker_accepts()), repository, "repository, {}", said());
        if let Some(seeds) = seeds {
            assert_eq!(ours.seed_checker_accepts().unwrap_or(true), seeds, "seeds, {}", said());
        }
    }
    let accepted = ours.iter().filter(|(_, verdict)| verdict.package_checker_accepts()).count();
    (trees.len(), accepted)
}

/// Each submission with one alteration, and with all of them if `MLPERF_RUN_ORACLE` asks for
/// thousands.
#[test]
fn submissions_of_the_rounds_since_4_1_are_judged_as_the_reference_judges_them() {
    let Some((folder, _)) = rounds() else { return };
    let (_, count) = seed_and_count();
    let num_alterations = if count < 1000 { 1 } else { ALTERATIONS.len() };
    for (round, next) in [("v4.1", "5.0.0"), ("v5.0", "5.1.0"), ("v5.1", "6.0.0")] {
        let own = format!("{}.0", &round[1..]);
        for named in [own.as_str(), next] {
            let (num, accepted) = compared(&folder.join(round), ruleset(named), num_alterations);
            say(&format!("{round} under {named}: {num} submissions compared, {accepted} accepted"));
            assert!(num >= 5 && accepted > 0);
        }
    }
}
