//! The guides in `docs/guides`, from start to end: every file is written, every command is run, and what
//! a guide quotes is compared with what the programs say.

mod guide;
mod stand_ins;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use self::guide::{Step, matches};
use crate::check::say;

/// Longest time of a command, s; reached only by a bug.
const LIMIT_S: &str = "300";

/// A reader of a guide.
struct Reader {
    guide: &'static str,
    /// Where the guide begins; programs that it names without a path are in `bin`.
    folder: PathBuf,
    environment: Vec<(&'static str, PathBuf)>,
}

impl Reader {
    /// Does what the guide says, in order. Gives the commands that no test can run.
    fn follow(&self) -> Vec<String> {
        let mut not_run = Vec::new();
        for step in guide::read(self.guide) {
            match step {
                Step::Write { name, text } => fs::write(self.folder.join(name), text).unwrap(),
                Step::Quote { path, text } => self.check_quote(&path, &text),
                Step::Run(command) if command.not_run.is_some() => not_run.push(command.text),
                Step::Run(command) => self.run(&command),
            }
        }
        not_run
    }

    /// A quoted piece of source is still there.
    fn check_quote(&self, path: &str, text: &str) {
        let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
        assert!(source.contains(text), "{}: {path} no longer has\n{text}", self.guide);
    }

    fn run(&self, command: &guide::Command) {
        let place = format!("docs/guides/{}:{}: {}", self.guide, command.line, command.text);
        let script = command.text.strip_prefix("python ");
        let python = script.and_then(|script| python_for(&self.folder.join(script)));
        if script.is_some() && python.is_none() {
            say(&format!("skipping {place}: no Python here has its packages"));
            return;
        }
        let mut shell = Command::new("timeout");
        shell.args([LIMIT_S, "bash", "-c", &format!("exec 2>&1\n{}", command.text)]);
        shell.current_dir(&self.folder).env("OMP_NUM_THREADS", "1").env("CUDA_VISIBLE_DEVICES", "");
        let own = python.iter().map(|python| python.parent().unwrap().to_owned());
        let programs = own.chain([self.folder.join("bin")]);
        let path = std::env::var_os("PATH").unwrap();
        let path = std::env::join_paths(programs.chain(std::env::split_paths(&path))).unwrap();
        shell.env("PATH", path).envs(self.environment.iter().cloned());
        let output = shell.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(command.exit_code), "{place}\n{text}");
        let lines: Vec<&str> = text.lines().collect();
        let expected = command.output.join("\n");
        assert!(
            command.output.is_empty() || matches(&command.output, &lines),
            "{place}\n-- the guide quotes\n{expected}\n-- the programs say\n{text}"
        );
    }
}

/// A Python of the project's environments that has every package that `script` imports.
fn python_for(script: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(script).unwrap();
    let is_import = |line: &&str| line.starts_with("import ") || line.starts_with("from ");
    let imports: Vec<&str> = text.lines().filter(is_import).collect();
    let environments = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".peers")).ok()?;
    let mut pythons = environments.map(|entry| entry.unwrap().path().join("bin/python"));
    pythons.find(|python| {
        let imported = Command::new(python).args(["-c", &imports.join("\n")]).output();
        imported.is_ok_and(|output| output.status.success())
    })
}

#[test]
fn a_vendor_comes_from_the_archives_to_a_submission() {
    let (folder, stage) = (stand_ins::clone(), stand_ins::gpus());
    stand_ins::imagenet(folder.path());
    let environment = stand_ins::environment(&stage);
    let reader = Reader { guide: "submission.md", folder: folder.path().into(), environment };
    assert_eq!(
        reader.follow(),
        ["git clone URL mlperf-run && cd mlperf-run", "scripts/setup --gpu"]
    );
}

#[cfg(feature = "torch")]
#[test]
fn a_researcher_comes_from_photos_to_weights_in_python() {
    let folder = stand_ins::clone();
    stand_ins::photos(folder.path());
    stand_ins::resnet18(folder.path());
    let reader =
        Reader { guide: "own-images.md", folder: folder.path().into(), environment: Vec::new() };
    assert!(reader.follow().is_empty());
}

#[cfg(feature = "torch")]
#[test]
fn a_maintainer_comes_from_a_paper_to_a_tested_method() {
    let folder = stand_ins::clone();
    let reader =
        Reader { guide: "new-method.md", folder: folder.path().into(), environment: Vec::new() };
    assert_eq!(reader.follow(), ["scripts/bench/sweep-demo 5", ".ci/run"]);
}
