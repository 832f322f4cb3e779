//! A machine in a folder: images that are names only, a libtorch that is empty, and ranks that
//! are shell scripts. Nothing of it trains; the launcher cannot tell.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use mlperf_run::events::{RankEvent, Spent};
use mlperf_run::mlperf::RunStatus;
use tempfile::TempDir;

/// Far above what anything here takes; reached only by a bug.
const LIMIT: Duration = Duration::from_secs(120);

const RECIPE: &str = r#"
[run]
device = "cpu"
num_ranks = 2
seed = 17
max_duration = "2ep"
[mlperf]
cache_clear = ""
[train]
batch_size = 4
[scheduler]
t_warmup = "0ep"
"#;

/// What every script can use: `$2` is the recipe, `$4` the run's folder.
const PROLOGUE: &str = r#"#!/bin/sh
echo "$$" > "$4/pid-$RANK"
run_dir="$4"
run_start() { cat "$STAGE/run_start"; }
run_stop() { echo "log of $run_dir" > "$run_dir/mllog.txt"; cat "$STAGE/run_stop_$1"; }
failed() { echo "{\"event\":\"failed\",\"rank\":$RANK,\"kind\":\"$1\",\"message\":\"$2\"}"; }
"#;

/// A rank that trains well.
pub(super) const GOOD: &str = r#"
[ "$RANK" = 0 ] && run_start && run_stop success
exit 0
"#;

pub(crate) struct Stage {
    folder: TempDir,
}

impl Stage {
    /// A stage on which every rank plays `script`.
    pub(crate) fn with_ranks(script: &str) -> Self {
        let stage = Self { folder: tempfile::tempdir().unwrap() };
        stage.put("recipe.toml", RECIPE);
        stage.put("torch/version.py", "__version__ = '2.11.0+cu130'\n");
        stage.put("torch/lib/libtorch_cpu.so", "");
        stage.put("run_start", &format!("{}\n", run_start().to_line()));
        for status in [RunStatus::Success, RunStatus::Aborted] {
            let name = format!("run_stop_{status:?}").to_lowercase();
            stage.put(&name, &format!("{}\n", run_stop(status).to_line()));
        }
        for split in ["train", "val"] {
            for class in ["cat", "dog"] {
                (0..8).for_each(|i| stage.put(&format!("images/{split}/{class}/{i}.JPEG"), ""));
            }
        }
        stage.put("rank", &format!("{PROLOGUE}{script}"));
        fs::set_permissions(stage.path("rank"), fs::Permissions::from_mode(0o755)).unwrap();
        stage
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn put(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(super) fn read(&self, name: &str) -> String {
        let path = self.path(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// `mlperf-run` in this folder, with this machine's libtorch and ranks.
    pub(super) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mlperf-run"));
        command
            .args(args)
            .current_dir(self.folder.path())
            .env("MLPERF_RUN_RANK_BIN", self.path("rank"))
            .env("MLPERF_LIBTORCH", self.path("torch"))
            .env("STAGE", self.folder.path())
            .env("CUDA_VISIBLE_DEVICES", "")
            .env_remove("MASTER_PORT")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Trains `recipe.toml` as system `box`.
    pub(super) fn training(&self, more: &[&str]) -> Command {
        let args = ["--recipe", "recipe.toml", "--data", "images", "--system", "box"];
        self.command(&[args.as_slice(), more].concat())
    }

    pub(super) fn train(&self, more: &[&str]) -> Told {
        Told::of(self.training(more).output().unwrap())
    }

    /// Starts to train and returns when `file` is there.
    pub(super) fn train_until(&self, file: &str) -> Child {
        let child = self.training(&[]).spawn().unwrap();
        wait_for(&self.path(file));
        child
    }

    /// Whether the process that wrote its number into `file` has gone.
    pub(super) fn is_gone(&self, file: &str) -> bool {
        !Path::new("/proc").join(self.read(file).trim()).exists()
    }
}

/// What a program said and how it ended.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Told {
    pub(super) fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Waits for `child` to end by itself.
    pub(super) fn by(mut child: Child) -> Self {
        let start = Instant::now();
        while child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < LIMIT, "still running");
            thread::sleep(Duration::from_millis(5));
        }
        Self::of(child.wait_with_output().unwrap())
    }

    /// Ended with `code`, with every one of `words` on standard error.
    #[track_caller]
    pub(super) fn expect(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for word in words {
            assert!(self.stderr.contains(word), "'{word}' is missing\n{self:#?}");
        }
    }
}

/// Waits until `path` is there and has been written.
pub(super) fn wait_for(path: &Path) {
    let start = Instant::now();
    while fs::metadata(path).map_or(0, |file| file.len()) == 0 {
        assert!(start.elapsed() < LIMIT, "{} does not appear", path.display());
        thread::sleep(Duration::from_millis(5));
    }
}

fn run_start() -> RankEvent {
    RankEvent::RunStart {
        time_ms: 1_700_000_000_000,
        num_train: 16,
        num_eval: 16,
        num_epochs: 2,
        steps_per_epoch: 4,
        batch_size: 4,
        target: 0.759,
    }
}

fn run_stop(status: RunStatus) -> RankEvent {
    RankEvent::RunStop {
        status,
        epoch: 2,
        accuracy: Some(0.8),
        minutes: 1.25,
        images_per_s: 1234.0,
        data_wait: 0.01,
        io_wait: 0.0,
        data_verdict: None,
        time: Spent::default(),
    }
}
