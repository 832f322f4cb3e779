//! Whole runs by the real programs on a tiny set of real JPEGs: from a recipe to a judged log.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    mem::MaybeUninit,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use mlperf_run::data::{SynthConfig, synth};
use rustix::{
    fs::inotify,
    io::Errno,
    process::{Pid, Signal, kill_process},
};
use serde_json::Value;
use tempfile::TempDir;

/// Far above what anything here takes; reached only by a bug.
const LIMIT: Duration = Duration::from_secs(120);

/// A tiny image set, made once for all tests and runs.
pub(crate) fn images() -> PathBuf {
    let config = SynthConfig {
        num_classes: 4,
        num_train: 96,
        num_eval: 42,
        size: 64,
        difficulty: 0.0,
        seed: 5,
        ..SynthConfig::default()
    };
    synth::ensure(&config, &Path::new(env!("CARGO_TARGET_TMPDIR")).join("images"), None).unwrap()
}

/// A folder with a recipe for seconds of training, and room for results.
pub(crate) struct Bench {
    folder: TempDir,
}

impl Bench {
    pub(crate) fn new(num_ranks: usize) -> Self {
        let folder = TempDir::new().unwrap();
        let recipe = format!(
            "[run]\ndevice = \"cpu\"\nnum_ranks = {num_ranks}\nseed = 3\nmax_duration = \"2ep\"\n\
             [mlperf]\ncache_clear = \"\"\ntarget = 0.01\nstop_on_target = false\n\
             [model]\narch = \"custom\"\n\
             [model.custom]\nblock = \"basic\"\ndepths = [1, 1]\nwidth = 8\n\
             [data.train]\ncrop_size = 32\n[data.eval]\nresize_size = 36\ncrop_size = 32\n\
             [optimizer]\nlr = 0.1\n[scheduler]\nt_warmup = \"2ba\"\n\
             [train]\nbatch_size = 16\n[eval]\nbatch_size = 16\n\
             [algorithms.channels_last]\n"
        );
        fs::write(folder.path().join("tiny.toml"), recipe).unwrap();
        Self { folder }
    }

    pub(crate) fn command(&self, data: &Path, extra: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mlperf-run"));
        command
            .current_dir(self.folder.path())
            .args(["--recipe", "tiny.toml", "--system", "here", "--quiet"])
            .args(["--data".as_ref(), data.as_os_str()])
            .args(extra)
            .env("OMP_NUM_THREADS", "1");
        command
    }

    pub(crate) fn run(&self, data: &Path, extra: &[&str]) -> Output {
        self.command(data, extra).output().unwrap()
    }

    /// Runs the program with `words` only.
    pub(crate) fn bare(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mlperf-run"));
        command.current_dir(self.folder.path()).args(words).env("OMP_NUM_THREADS", "1");
        command.output().unwrap()
    }

    /// The folder with the recipe, where the program runs.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("results/here").join(name)
    }

    /// Waits until the first run has told of `event`.
    pub(crate) fn wait_for(&self, event: &str) {
        let (start, events) = (Instant::now(), self.path("run_0/events.jsonl"));
        while !fs::read_to_string(&events).is_ok_and(|text| text.contains(event)) {
            assert!(start.elapsed() < LIMIT, "the run never came to {event}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_str(&fs::read_to_string(self.path(name)).unwrap()).unwrap()
    }

    /// Value of each key of a log, the last one where it repeats.
    pub(crate) fn log(&self, name: &str) -> BTreeMap<String, Value> {
        let text = fs::read_to_string(self.path(name)).unwrap();
        let records = text.lines().map(|line| line.strip_prefix(":::MLLOG ").expect("a record"));
        records
            .map(|record| serde_json::from_str::<Value>(record).unwrap())
            .map(|record| (record["key"].as_str().unwrap().to_owned(), record))
            .collect()
    }
}

pub(crate) fn assert_ok(output: &Output, code: i32) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
}

#[test]
fn logs_of_real_runs_are_accepted_by_the_reference_checker() {
    for ruleset in ["2.0.0", "4.0.0"] {
        let bench = Bench::new(2);
        let set = format!("mlperf.ruleset={ruleset}");
        let output = bench.run(&images(), &["--set", &set, "--runs", "2"]);
        assert_ok(&output, 0);
        for n in [0, 1] {
            let log = bench.path(&format!("resnet/result_{n}.txt"));
            let oracle = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/oracle/mlcommons");
            let judged = Command::new(oracle).arg(ruleset).arg(&log).output().unwrap();
            assert_ok(&judged, 0);
            let ours = Command::new(env!("CARGO_BIN_EXE_mlperf-run"))
                .args(["check", "--strict"])
                .arg(&log)
                .output()
                .unwrap();
            assert_ok(&ours, 0);
            assert!(String::from_utf8_lossy(&ours.stdout).contains(ruleset));
        }
        let seeds = [0, 1].map(|n| bench.json(&format!("run_{n}/manifest.json"))["seed"].clone());
        assert_ne!(seeds[0], seeds[1], "each run has a seed of its own");
    }
}

#[test]
fn a_run_leaves_all_that_documents_it() {
    let bench = Bench::new(2);
    assert_ok(&bench.run(&images(), &[]), 0);
    let log = bench.log("resnet/result_0.txt");
    assert_eq!(log["train_samples"]["value"], 96);
    assert_eq!(log["eval_samples"]["value"], 42);
    assert_eq!(log["seed"]["value"], 3);
    assert_eq!(log["global_batch_size"]["value"], 16);
    assert_eq!(log["run_stop"]["metadata"]["status"], "success");
    assert_eq!(log["cache_clear"]["value"], false);
    assert!(log["cache_clear"]["metadata"]["reason"].as_str().unwrap().contains("no command"));
    // 42 images over 2 ranks in steps of 8: each is judged once, none is padded.
    let events = fs::read_to_string(bench.path("run_0/events.jsonl")).unwrap();
    let evaluations: Vec<Value> = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["event"] == "evaluated")
        .collect();
    assert_eq!(evaluations.len(), 2);
    assert!(evaluations.iter().all(|event| event["num_images"] == 42), "{evaluations:?}");
    let time = &bench.json("run_0/summary.json")["time"];
    assert!(time["compute_s"].as_f64().unwrap() > 0.0, "{time}");
    assert!(events.contains("\"event\":\"rank_stop\",\"rank\":1"), "{events}");
    for file in ["recipe.toml", "manifest.json", "summary.json", "rank-0.log", "rank-1.log"] {
        assert!(bench.path("run_0").join(file).exists(), "{file}");
    }
    let weights = fs::read(bench.path("run_0/weights.safetensors")).unwrap();
    let weights = safetensors::SafeTensors::deserialize(&weights).unwrap();
    assert_eq!(weights.tensor("conv1.weight").unwrap().shape(), [8, 3, 7, 7]);
    assert_eq!(weights.tensor("fc.weight").unwrap().shape(), [4, 16]);
    let counter = weights.tensor("layer2.0.bn2.num_batches_tracked").unwrap();
    assert_eq!(counter.data(), 12i64.to_le_bytes(), "6 steps in each of 2 epochs");
}

#[test]
fn the_same_seed_gives_the_same_weights() {
    let weights = |extra: &[&str]| {
        let bench = Bench::new(1);
        assert_ok(&bench.run(&images(), extra), 0);
        fs::read(bench.path("run_0/weights.safetensors")).unwrap()
    };
    let first = weights(&[]);
    assert!(first == weights(&["--set", "data.num_workers=3"]), "threads must not matter");
    assert!(first != weights(&["--seed", "4"]));
}

/// A folder with a copy of the set, named `set`.
fn copied() -> TempDir {
    let folder = TempDir::new().unwrap();
    let copied = Command::new("cp").arg("-r").arg(images()).arg(folder.path().join("set")).status();
    assert!(copied.unwrap().success());
    folder
}

#[test]
fn no_image_is_opened_before_the_clock_runs() {
    let folder = copied();
    let set = folder.path().join("set");
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    for split in ["train", "val"] {
        for class in fs::read_dir(set.join(split)).unwrap() {
            let class = class.unwrap().path();
            inotify::add_watch(&watch, class, inotify::WatchFlags::OPEN).unwrap();
        }
    }
    let bench = Bench::new(2);
    let mut run = bench.command(&set, &[]).stdout(Stdio::null()).spawn().unwrap();
    let log = bench.path("run_0/mllog.txt");
    let has_started = || fs::read_to_string(&log).is_ok_and(|log| log.contains("\"run_start\""));
    let mut room = [MaybeUninit::uninit(); 4096];
    let mut opened = inotify::Reader::new(&watch, &mut room);
    let mut num_opened = 0;
    loop {
        match opened.next() {
            Ok(event) if event.events().contains(inotify::ReadFlags::ISDIR) => {}
            Ok(event) => {
                // The log is read after the image was opened: what it lacks now it lacked then.
                let name = event.file_name();
                assert!(num_opened > 0 || has_started(), "{name:?} was opened before run_start");
                num_opened += 1;
            }
            Err(Errno::WOULDBLOCK) if run.try_wait().unwrap().is_some() => break,
            Err(Errno::WOULDBLOCK) => thread::sleep(Duration::from_millis(1)),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(run.wait().unwrap().code(), Some(0));
    assert!(num_opened >= 2 * (96 + 42), "only {num_opened} images were seen to be opened");
}

/// A copy of the set with one image replaced by `bytes`.
fn spoiled(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = copied();
    let class = fs::read_dir(folder.path().join("set/train")).unwrap().next().unwrap().unwrap();
    let image = fs::read_dir(class.path()).unwrap().next().unwrap().unwrap().path();
    fs::write(&image, bytes).unwrap();
    (folder, image)
}

#[test]
fn an_image_that_cannot_be_read_is_named_or_counted() {
    let (folder, image) = spoiled(b"\x89PNG\r\n\x1a\n and so on");
    let set = folder.path().join("set");
    let name = image.file_name().unwrap().to_str().unwrap();

    let bench = Bench::new(2);
    let output = bench.run(&set, &[]);
    assert_ok(&output, 3);
    assert!(String::from_utf8_lossy(&output.stderr).contains(name), "{output:?}");
    assert!(!bench.path("resnet/result_0.txt").exists(), "a broken run is no result");

    let output = bench.run(&set, &["--set", "data.on_bad_image=skip"]);
    assert_ok(&output, 0);
    let num_skipped = bench.json("run_1/summary.json")["num_skipped"].as_u64().unwrap();
    assert!(num_skipped >= 1, "{num_skipped}");
}

#[test]
fn a_missed_target_ends_aborted_with_its_own_code() {
    let bench = Bench::new(1);
    assert_ok(&bench.run(&images(), &["--set", "mlperf.target=0.999"]), 5);
    let log = bench.log("resnet/result_0.txt");
    assert_eq!(log["run_stop"]["metadata"]["status"], "aborted");
}

/// Status that the log of a run gives that `signal` stops once it has done `event`.
fn interrupted(bench: &Bench, target: &str, (event, signal): (&str, Signal)) -> Value {
    let long = ["--set", "run.max_duration=100000ep", "--set", target];
    let mut command = bench.command(&images(), &long);
    let mut run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    bench.wait_for(event);
    kill_process(Pid::from_child(&run), signal).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(7));
    bench.log("resnet/result_0.txt")["run_stop"]["metadata"]["status"].clone()
}

#[test]
fn a_signal_ends_in_a_whole_log() {
    let bench = Bench::new(2);
    let stop = ("\"evaluated\"", Signal::INT);
    assert_eq!(interrupted(&bench, "mlperf.target=0.999", stop), "aborted");
    let judged = Command::new(env!("CARGO_BIN_EXE_mlperf-run"))
        .arg("check")
        .arg(bench.path("resnet/result_0.txt"))
        .output()
        .unwrap();
    assert_ok(&judged, 0);
}

#[test]
fn a_signal_after_the_target_takes_nothing_back() {
    let stop = ("\"evaluated\"", Signal::TERM);
    assert_eq!(interrupted(&Bench::new(2), "mlperf.target=0.01", stop), "success");
}

#[test]
fn mlperf_run_needs_no_libtorch_and_mlperf_rank_does() {
    let needed = |program: &str| {
        let bytes = fs::read(program).unwrap();
        let elf = goblin::elf::Elf::parse(&bytes).unwrap();
        elf.libraries.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let of_torch = |name: &String| name.contains("torch") || name.contains("c10");
    let launcher = needed(env!("CARGO_BIN_EXE_mlperf-run"));
    assert!(!launcher.iter().any(of_torch), "{launcher:?}");
    let rank = needed(env!("CARGO_BIN_EXE_mlperf-rank"));
    assert!(rank.iter().any(of_torch), "{rank:?}");
    assert!(
        !rank.iter().any(|name| name.contains("cuda")),
        "one program for CPU and GPU: {rank:?}"
    );
}

/// Process of `rank` among the children of the launcher.
fn rank_process(launcher: &std::process::Child, rank: usize) -> Pid {
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", launcher.id()));
    let ranks = children.unwrap();
    let is_rank = |pid: &&str| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|pair| pair == format!("RANK={rank}").as_bytes())
    };
    let pid = ranks.split_whitespace().find(is_rank).expect("a process of this rank");
    Pid::from_raw(pid.parse().unwrap()).unwrap()
}

#[test]
fn a_rank_that_is_killed_ends_the_run_at_once_and_is_named() {
    for lost in [0, 1] {
        let bench = Bench::new(2);
        let long = ["--set", "run.max_duration=100000ep", "--set", "mlperf.target=0.999"];
        let mut command = bench.command(&images(), &long);
        let run = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        bench.wait_for("\"epoch_stop\"");
        kill_process(rank_process(&run, lost), Signal::KILL).unwrap();
        let output = run.wait_with_output().unwrap();
        assert_ok(&output, 6);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains(&format!("rank {lost}")), "{told}");
        assert!(!bench.path("resnet/result_0.txt").exists(), "a broken run is no result");
        assert!(bench.path("run_0/mllog.txt").exists(), "what was measured stays");
    }
}

#[test]
fn a_rank_that_hangs_ends_the_run_in_a_sentence() {
    let bench = Bench::new(2);
    let mut command = bench.command(&images(), &["--set", "run.max_duration=100000ep"]);
    command.args(["--set", "mlperf.target=0.999", "--set", "train.ddp.timeout_s=12"]);
    // The launcher would name rank 1 before the collective gives up.
    command.args(["--set", "train.watch.stopped_timeout_s=600"]);
    let run = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    bench.wait_for("\"epoch_stop\"");
    kill_process(rank_process(&run, 1), Signal::STOP).unwrap();
    let output = run.wait_with_output().unwrap();
    assert_ok(&output, 6);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("rank 0") && told.contains("12000ms"), "{told}");
    assert!(!told.contains("panicked"), "{told}");
}

#[test]
fn a_rank_that_finds_no_gpu_names_the_cure() {
    let bench = Bench::new(1);
    assert_ok(&bench.run(&images(), &[]), 0);
    let recipe = fs::read_to_string(bench.path("run_0/recipe.toml")).unwrap();
    let recipe = recipe.replace("device = \"cpu\"", "device = \"cuda\"");
    fs::write(bench.path("cuda.toml"), recipe).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_mlperf-rank"))
        .args(["--recipe".as_ref(), bench.path("cuda.toml").as_os_str()])
        .args(["--run-dir".as_ref(), bench.path("run_0").as_os_str()])
        .env("CUDA_VISIBLE_DEVICES", "")
        .output()
        .unwrap();
    assert_ok(&output, 3);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("GPU") && told.contains("--device cpu"), "{told}");
}

/// As torchrun and srun start it, past the launcher.
#[test]
fn a_rank_by_itself_refuses_images_that_its_recipe_may_not_be_trained_on() {
    let bench = Bench::new(1);
    let run = |data: &Path, extra: &[&str]| {
        assert_ok(&bench.run(data, extra), 0);
        fs::read_to_string(bench.path("run_0/recipe.toml")).unwrap()
    };
    let store = bench.folder.path().join("store");
    let imported = Command::new(env!("CARGO_BIN_EXE_mlperf-run"))
        .args(["data", "import", "--max-side", "48", "--out"])
        .args([&store, &images()])
        .output();
    assert_ok(&imported.unwrap(), 0);
    let recipe = run(&store, &[]);
    let (unshuffled, images) = (images().display().to_string(), store.display().to_string());
    let in_blocks = recipe.replace("block_shuffle = false", "block_shuffle = true");
    let cases = [
        (recipe.replace("division = \"open\"", "division = \"closed\""), "were changed on import"),
        (in_blocks.replace(&images, &unshuffled), "block_shuffle keeps neighbours together"),
    ];
    for (changed, reason) in cases {
        assert_ne!(changed, recipe);
        fs::write(bench.path("changed.toml"), changed).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_mlperf-rank"))
            .args(["--recipe".as_ref(), bench.path("changed.toml").as_os_str()])
            .args(["--run-dir".as_ref(), bench.path("run_0").as_os_str()])
            .output()
            .unwrap();
        assert_ok(&output, 3);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains(reason), "{told}");
    }
}

/// A recipe for two ranks, and the command of one of them.
fn one_of_two(bench: &Bench) -> Command {
    assert_ok(&bench.run(&images(), &[]), 0);
    let recipe = fs::read_to_string(bench.path("run_0/recipe.toml")).unwrap();
    let changed = recipe.replace("num_ranks = 1", "num_ranks = 2");
    assert_ne!(changed, recipe);
    fs::write(bench.path("two.toml"), changed).unwrap();
    let folder = bench.path("two");
    fs::create_dir(&folder).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mlperf-rank"));
    command.args(["--recipe".as_ref(), bench.path("two.toml").as_os_str()]);
    command.args(["--run-dir".as_ref(), folder.as_os_str()]);
    command
}

#[test]
fn a_rank_that_is_not_one_of_as_many_as_its_recipe_says_is_refused() {
    let output = one_of_two(&Bench::new(1)).output().unwrap();
    assert_ok(&output, 3);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("run.num_ranks is 2") && told.contains("one of 1"), "{told}");
}

#[test]
fn a_signal_ends_a_rank_that_waits_for_another() {
    let bench = Bench::new(1);
    let mut rank = one_of_two(&bench)
        .env("SLURM_PROCID", "1")
        .env("SLURM_NTASKS", "2")
        .env("MASTER_PORT", "1")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Its log is the last thing before it waits.
    thread::sleep(Duration::from_secs(3));
    assert!(rank.try_wait().unwrap().is_none(), "nobody listens, so it waits");
    let begin = Instant::now();
    kill_process(Pid::from_child(&rank), Signal::TERM).unwrap();
    assert_eq!(rank.wait().unwrap().code(), Some(7));
    assert!(begin.elapsed() < LIMIT, "it would wait for ten minutes");
}

#[test]
fn the_cuda_bridge_asks_libtorch_for_nothing_it_lacks() {
    let bridge = fs::read(env!("MLPERF_RUN_CUDA_BRIDGE")).unwrap();
    let bridge = goblin::elf::Elf::parse(&bridge).expect("scripts/setup installs CUDA's headers");
    let named = |elf: &goblin::elf::Elf, keep: fn(&goblin::elf::Sym) -> bool| {
        let symbols = elf.dynsyms.iter().filter(keep);
        symbols
            .filter_map(|symbol| elf.dynstrtab.get_at(symbol.st_name))
            .map(str::to_owned)
            .collect()
    };
    let defined: Vec<String> = named(&bridge, |symbol| !symbol.is_import());
    assert!(defined.iter().any(|name| name == "ml_cuda"), "{defined:?}");
    let libtorch = Path::new(env!("MLPERF_RUN_LIBTORCH_LIB"));
    let libraries = ["torch_cuda", "c10_cuda", "torch_cpu", "c10"]
        .map(|name| libtorch.join(format!("lib{name}.so")));
    let runtime = libtorch.join("../../nvidia/cu13/lib/libcudart.so.13");
    let offered: BTreeSet<String> = libraries
        .into_iter()
        .chain([runtime])
        .flat_map(|path| -> Vec<String> {
            let library = fs::read(path).unwrap();
            let library = goblin::elf::Elf::parse(&library).unwrap();
            named(&library, |symbol| !symbol.is_import())
        })
        .collect();
    let wanted: Vec<String> = named(&bridge, goblin::elf::Sym::is_import);
    // c10, at and c10d are libtorch's name spaces, cuda.. its runtime; the rest is C++'s.
    let of_torch = |name: &&String| {
        name.starts_with("cuda")
            || ["N3c10", "N2at", "N4c10d"].iter().any(|space| name.contains(space))
    };
    let wanted: Vec<&String> = wanted.iter().filter(of_torch).collect();
    for some in ["ProcessGroupNCCL", "cudaStreamEndCapture"] {
        assert!(wanted.iter().any(|name| name.contains(some)), "{wanted:?}");
    }
    let lacking: Vec<_> = wanted.iter().filter(|name| !offered.contains(**name)).collect();
    assert!(lacking.is_empty(), "{lacking:?}");
}

#[test]
fn a_closed_log_lacks_nothing_but_the_accuracy() {
    for ruleset in ["2.0.0", "4.0.0"] {
        let bench = Bench::new(1);
        // As deep as ResNet-50: the older rules want its 161 tensors listed.
        let recipe = format!(
            "extends = \"nvidia-closed\"\n\
             [run]\ndevice = \"cpu\"\nnum_ranks = 1\nmax_duration = \"4ep\"\n\
             [mlperf]\nruleset = \"{ruleset}\"\nstatus = \"research\"\ncache_clear = \"\"\n\
             [model]\narch = \"custom\"\nnum_classes = 0\n\
             [model.custom]\nblock = \"bottleneck\"\ndepths = [3, 4, 6, 3]\nwidth = 4\n\
             [data.train]\ncrop_size = 32\n[data.eval]\nresize_size = 36\ncrop_size = 32\n\
             [train]\nbatch_size = 32\nprecision = \"fp32\"\n[eval]\nbatch_size = 42\n"
        );
        fs::write(bench.folder.path().join("tiny.toml"), recipe).unwrap();
        assert_ok(&bench.run(&images(), &["--runs", "1"]), 5);
        let log = bench.path("resnet/result_0.txt");
        let oracle = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/oracle/mlcommons");
        let judged = Command::new(oracle).arg(ruleset).arg(&log).output().unwrap();
        let said = String::from_utf8_lossy(&judged.stderr);
        let complaints: Vec<&str> = said.lines().filter(|line| line.contains("FAIL")).collect();
        assert!(complaints.iter().all(|line| line.contains("accuracy")), "{ruleset}: {said}");

        let ours = Command::new(env!("CARGO_BIN_EXE_mlperf-run"))
            .args(["check", "--json", "--ruleset", ruleset])
            .arg(&log)
            .output()
            .unwrap();
        let report: Value = serde_json::from_slice(&ours.stdout).unwrap();
        let findings = report["files"][0]["findings"].as_array().unwrap();
        let errors = findings.iter().filter(|finding| finding["severity"] == "error");
        let keys: Vec<&Value> = errors.map(|finding| &finding["key"]).collect();
        assert!(keys.iter().all(|key| *key == "eval_accuracy"), "{ruleset}: {findings:?}");
    }
}
