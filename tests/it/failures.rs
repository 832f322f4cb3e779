//! What breaks while a run goes on, by the real programs: disks, images, numbers.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use mlperf_run::{console::note, events::RankEvent};

use crate::train::{Bench, assert_ok, images};

/// A run that does not end by itself within the time of a test.
const LONG: [&str; 4] = ["--set", "run.max_duration=4000ep", "--set", "mlperf.target=0.999"];

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn assert_said(output: &Output, words: &[&str]) {
    let said = said(output);
    for word in words {
        assert!(said.contains(word), "'{word}' is missing in {said}");
    }
}

/// A copy of the tiny image set that a test may damage.
fn own_images(bench: &Bench) -> PathBuf {
    let copy = bench.path("own-images");
    fs::create_dir_all(&copy).unwrap();
    let copied = Command::new("cp").args(["-r", "-T"]).args([&images(), &copy]).output().unwrap();
    assert_ok(&copied, 0);
    copy
}

fn first_image(data: &Path) -> PathBuf {
    let sorted = |folder: &Path| {
        let mut paths: Vec<_> =
            fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
        paths.sort_unstable();
        paths
    };
    sorted(&sorted(&data.join("train"))[0]).remove(0)
}

fn start(bench: &Bench, data: &Path, extra: &[&str]) -> Child {
    let mut command = bench.command(data, &[&LONG[..], extra].concat());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_run_that_diverges_names_its_first_bad_step() {
    let bench = Bench::new(2);
    // The first loss is that of the initial weights; the first update ruins these.
    let huge = ["--set", "optimizer.lr=1e30", "--set", "scheduler.t_warmup=\"0ep\""];
    let output = bench.run(&images(), &huge);
    assert_ok(&output, 3);
    assert_said(&output, &["in step 2 of epoch 1, at a learning rate of", "lower optimizer.lr"]);
    let skipping =
        bench.run(&images(), &[&huge[..], &["--set", "train.on_nonfinite=skip"]].concat());
    assert_ok(&skipping, 3);
    assert!(!bench.path("resnet/result_1.txt").exists());
}

#[test]
fn an_image_that_vanishes_or_shrinks_in_a_run_is_named() {
    for (damage, words) in [
        ((|path| fs::remove_file(path).unwrap()) as fn(&Path), "No such file"),
        (|path| fs::write(path, &fs::read(path).unwrap()[..300]).unwrap(), "on_bad_image"),
    ] {
        let bench = Bench::new(2);
        let data = own_images(&bench);
        let image = first_image(&data);
        let run = start(&bench, &data, &[]);
        bench.wait_for("\"epoch_stop\"");
        damage(&image);
        let output = run.wait_with_output().unwrap();
        assert_ok(&output, 3);
        assert_said(&output, &[image.file_name().unwrap().to_str().unwrap(), words]);
    }
}

/// A run whose results are on a small disk, in a mount namespace of its own.
struct SmallDisk {
    bench: Bench,
    run: Child,
}

impl SmallDisk {
    /// `None`, with a word on standard error, without the right to mount.
    fn start(options: &str, extra: &[&str]) -> Option<Self> {
        let bench = Bench::new(2);
        let results = bench.path("").parent().unwrap().to_owned();
        fs::create_dir_all(&results).unwrap();
        if !Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|it| it.success())
        {
            note("skipped: no right to make a mount namespace");
            return None;
        }
        let wanted = bench.command(&images(), extra);
        let mount = format!("mount -t tmpfs -o {options} none results && cd . && exec \"$@\"");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &mount, "sh"]).arg(wanted.get_program());
        command.args(wanted.get_args()).current_dir(wanted.get_current_dir().unwrap());
        command.env("OMP_NUM_THREADS", "1").stdout(Stdio::piped()).stderr(Stdio::piped());
        Some(Self { run: command.spawn().unwrap(), bench })
    }

    /// A path of the results as the run sees it.
    fn path(&self, name: &str) -> PathBuf {
        let inside = format!("/proc/{}/root", self.run.id());
        Path::new(&inside).join(self.bench.path(name).strip_prefix("/").unwrap())
    }

    fn wait_for(&self, event: &str) {
        let events = self.path("run_0/events.jsonl");
        for _ in 0..2400 {
            if fs::read_to_string(&events).is_ok_and(|text| text.contains(event)) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("the run never came to {event}");
    }

    /// Leaves not a byte.
    fn fill(&self) {
        let filler = fs::File::create(self.path("filler")).unwrap();
        for size in [1 << 16, 1 << 10, 1] {
            while std::io::Write::write_all(&mut &filler, &vec![0; size]).is_ok() {}
        }
    }
}

#[test]
fn a_full_disk_ends_a_run_at_once_and_leaves_whole_files() {
    let Some(disk) = SmallDisk::start("size=4m", &LONG) else { return };
    disk.wait_for("\"checkpoint\"");
    disk.fill();
    // The files are gone with the run; these descriptors keep them.
    let [log, events] = ["mllog.txt", "events.jsonl"]
        .map(|name| fs::File::open(disk.path(&format!("run_0/{name}"))).unwrap());
    let output = disk.run.wait_with_output().unwrap();
    assert_ok(&output, 6);
    assert_said(&output, &["to the MLPerf log; free the disk"]);
    let text = |file| std::io::read_to_string(file).unwrap();
    let log = text(log);
    let whole = |line: &str| {
        let record = line.strip_prefix(":::MLLOG ").unwrap_or("");
        serde_json::from_str::<serde_json::Value>(record).is_ok()
    };
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines.len() > 20 && lines[..lines.len() - 1].iter().all(|line| whole(line)), "{log}");
    let events = text(events);
    let lines: Vec<&str> = events.lines().collect();
    let all = lines[..lines.len() - 1].iter().all(|line| RankEvent::from_line(line).is_some());
    assert!(all, "{events}");
}

#[test]
fn a_read_only_disk_is_refused_before_anything_starts() {
    let Some(disk) = SmallDisk::start("ro", &[]) else { return };
    let output = disk.run.wait_with_output().unwrap();
    assert_ok(&output, 3);
    assert_said(&output, &["cannot write results", "--results DIR"]);
}
