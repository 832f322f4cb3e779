//! Runs on several machines: the launchers of both are on this one, and ranks are shell scripts.

use std::{
    net::TcpListener,
    process::{Child, Command},
};

use rustix::process::{Pid, Signal, kill_process};

use super::stage::{GOOD, Stage, Told, wait_for};

/// Two machines with two ranks each.
struct Pair {
    stage: Stage,
    rdzv: String,
}

impl Pair {
    fn with_ranks(script: &str) -> Self {
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        Self { stage: Stage::with_ranks(script), rdzv: format!("127.0.0.1:{port}") }
    }

    /// The launcher of `node` with two ranks and the images of the stage.
    fn command(&self, node: &str, more: &[&str]) -> Command {
        self.command_with(node, ["2", "images"], more)
    }

    fn command_with(&self, node: &str, [nproc, data]: [&str; 2], more: &[&str]) -> Command {
        let mut command = self.stage.command(&["--recipe", "recipe.toml", "--system", "box"]);
        command.args(["--nnodes", "2", "--node-rank", node, "--rdzv", &self.rdzv]);
        command.args(["--nproc", nproc, "--data", data]).args(more);
        command
    }

    fn start(&self, node: &str, more: &[&str]) -> Child {
        self.command(node, more).spawn().unwrap()
    }

    /// How both ended.
    fn train(&self) -> [Told; 2] {
        ["0", "1"].map(|node| self.start(node, &[])).map(Told::by)
    }

    /// Starts both and returns when all ranks have started.
    fn train_until_started(&self) -> [Child; 2] {
        let children = ["0", "1"].map(|node| self.start(node, &[]));
        (0..4)
            .for_each(|rank| wait_for(&self.stage.path(&format!("results/box/run_0/pid-{rank}"))));
        children
    }

    /// Whether no rank is left.
    fn is_empty(&self) -> bool {
        (0..4).all(|rank| self.stage.is_gone(&format!("results/box/run_0/pid-{rank}")))
    }
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn ranks_of_two_machines_are_one_world() {
    let script = format!(
        "echo $LOCAL_RANK $WORLD_SIZE $LOCAL_WORLD_SIZE $MASTER_ADDR $GLOO_SOCKET_IFNAME $2 \
         > $STAGE/env-$RANK; echo $MLPERF_RUN_KEY $MASTER_PORT > $STAGE/key-$RANK{GOOD}"
    );
    let pair = Pair::with_ranks(&script);
    let [first, second] = pair.train();
    first.expect(0, &["target reached after 1.25 minutes", "4 ranks on the CPU"]);
    second.expect(0, &["2 ranks on node 1"]);
    let run_dir = pair.stage.path("results/box/run_0").canonicalize().unwrap();
    for rank in 0..4 {
        let recipe = match rank {
            0 | 1 => "results/box/run_0/recipe.toml".to_owned(),
            _ => run_dir.join("recipe-node-1.toml").display().to_string(),
        };
        let expected = format!("{} 4 2 127.0.0.1 lo {recipe}\n", rank % 2);
        assert_eq!(pair.stage.read(&format!("env-{rank}")), expected);
        assert_eq!(pair.stage.read(&format!("key-{rank}")), pair.stage.read("key-0"));
    }
    assert!(pair.stage.read("key-0").len() > 32);
}

#[test]
fn a_rank_of_another_machine_that_fails_is_named_with_its_host() {
    let script = r#"[ "$RANK" = 3 ] && echo "its last words" >&2 && exit 9
                    exec sleep 600"#;
    let pair = Pair::with_ranks(script);
    let [first, second] = pair.train();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    first.expect(6, &[&format!("rank 3 on {}: ended with code 9", host.trim()), "its last words"]);
    second.expect(6, &[]);
    assert!(pair.is_empty(), "a rank outlived the run");
}

#[test]
fn machines_with_different_inputs_do_not_train() {
    for (inputs, more, words) in [
        (
            ["2", "images"],
            "optimizer.lr=0.125",
            "optimizer.lr = 0.125 on this node and optimizer.lr = ",
        ),
        (["2", "others"], "run.seed=1", "copy the same data set to all nodes"),
        (["1", "images"], "run.seed=1", "1 ranks on this node and 2 ranks on node 0"),
    ] {
        let pair = Pair::with_ranks(GOOD);
        for split in ["train", "val"] {
            for class in ["cat", "dog"] {
                (8..16)
                    .for_each(|i| pair.stage.put(&format!("others/{split}/{class}/{i}.JPEG"), ""));
            }
        }
        let first = pair.start("0", &[]);
        let second = pair.command_with("1", inputs, &["--set", more]).spawn().unwrap();
        let [first, second] = [first, second].map(Told::by);
        first.expect(3, &["node 1 on ", words]);
        second.expect(3, &[words]);
        assert!(!pair.stage.path("results/box/run_0/pid-0").exists(), "a rank was started");
    }
}

#[test]
fn a_machine_that_does_not_come_is_named() {
    let pair = Pair::with_ranks(GOOD);
    let alone = ["--set", "train.watch.join_timeout_s=1"];
    let first = Told::by(pair.start("0", &alone));
    first.expect(3, &["node 1 did not arrive within 1 s (arrived: node 0 on "]);
    let second = Told::by(pair.start("1", &alone));
    second.expect(3, &["node 0 could not be reached at 127.0.0.1:", "within 1 s", "--node-rank 0"]);
}

#[test]
fn a_machine_without_the_key_is_not_let_in() {
    let pair = Pair::with_ranks(GOOD);
    let first = pair.start("0", &[]);
    let stranger = pair.command("1", &[]).env("MLPERF_RUN_KEY", "guessed").spawn().unwrap();
    Told::by(stranger).expect(3, &["node 0 refuses this node", "MLPERF_RUN_KEY"]);
    signal(&first, Signal::TERM);
    Told::by(first).expect(7, &[]);
}

#[test]
fn a_machine_that_comes_twice_is_refused_and_one_that_died_may_come_again() {
    let pair = Pair::with_ranks(GOOD);
    let start = |node: &str| {
        let place = ["--nproc", "2", "--node-rank", node, "--rdzv", &pair.rdzv];
        let world = ["--nnodes", "3", "--set", "train.batch_size=6"];
        pair.stage.training(&[place.as_slice(), &world].concat()).spawn().unwrap()
    };
    let [first, second, third] = ["0", "1", "1"].map(start);
    // One of the two is told; the other waits on.
    let [mut waiting, refused] = {
        let (mut second, mut third) = (second, third);
        loop {
            match (second.try_wait().unwrap(), third.try_wait().unwrap()) {
                (Some(_), _) => break [third, second],
                (_, Some(_)) => break [second, third],
                _ => std::thread::sleep(std::time::Duration::from_millis(20)),
            }
        }
    };
    Told::by(refused).expect(3, &["node 1 is there already"]);
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    // Node 0 notices within a moment; until then the new one is refused as well.
    let again = loop {
        let mut again = start("1");
        std::thread::sleep(std::time::Duration::from_secs(1));
        if again.try_wait().unwrap().is_none() {
            break again;
        }
    };
    let last = start("2");
    for launcher in [first, again, last] {
        Told::by(launcher).expect(0, &[]);
    }
}

#[test]
fn machines_that_are_ready_end_with_the_code_of_the_one_that_refuses() {
    let pair = Pair::with_ranks(GOOD);
    let start = |node: &str, lr: &str| {
        let place = ["--nproc", "2", "--node-rank", node, "--rdzv", &pair.rdzv];
        let more = ["--nnodes", "3", "--set", "train.batch_size=6", "--set", lr];
        pair.stage.training(&[place.as_slice(), &more].concat()).spawn().unwrap()
    };
    let lr = ["optimizer.lr=0.5", "optimizer.lr=0.5", "optimizer.lr=0.25"];
    let told = [0, 1, 2].map(|node| start(&node.to_string(), lr[node])).map(Told::by);
    told[0].expect(3, &["node 2 on "]);
    told[1].expect(3, &[]);
    told[2].expect(3, &["optimizer.lr = 0.25 on this node"]);
}

#[test]
fn all_machines_end_when_the_launcher_of_one_is_killed() {
    for (victim, code, words) in [(1, 6, "its launcher has ended"), (0, 6, "node 0 on ")] {
        let pair = Pair::with_ranks("exec sleep 600");
        let children = pair.train_until_started();
        signal(&children[victim], Signal::KILL);
        let told = children.map(Told::by);
        told[1 - victim].expect(code, &[words]);
        let left = if victim == 0 { 2..4 } else { 0..2 };
        for rank in left {
            assert!(pair.stage.is_gone(&format!("results/box/run_0/pid-{rank}")), "rank {rank}");
        }
        // Shell scripts do not end with the launcher, as ranks do.
        let orphans = if victim == 0 { 0..2 } else { 2..4 };
        for rank in orphans {
            let pid = pair.stage.read(&format!("results/box/run_0/pid-{rank}"));
            let _ = kill_process(Pid::from_raw(pid.trim().parse().unwrap()).unwrap(), Signal::KILL);
        }
    }
}

#[test]
fn a_signal_to_one_or_all_machines_interrupts_the_run_once() {
    let obeys = r#"trap 'echo 1 > $STAGE/obeyed-$RANK; sleep 0.3; exit 7' TERM
                   touch "$STAGE/ready-$RANK"; echo 1 > "$STAGE/ready-$RANK"
                   while :; do sleep 0.05; done"#;
    for signalled in [&[0_usize][..], &[1], &[0, 1], &[1, 0]] {
        let pair = Pair::with_ranks(obeys);
        let children = pair.train_until_started();
        (0..4).for_each(|rank| wait_for(&pair.stage.path(&format!("ready-{rank}"))));
        for &node in signalled {
            signal(&children[node], Signal::TERM);
            // In the last case, the second signal comes when the first one has stopped the run.
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        let told = children.map(Told::by);
        told[0].expect(7, &["interrupted"]);
        told[1].expect(7, &[]);
        for rank in 0..4 {
            assert!(pair.stage.path(&format!("obeyed-{rank}")).exists(), "rank {rank} was killed");
        }
    }
}

#[test]
fn options_for_several_machines_are_checked() {
    let stage = Stage::with_ranks(GOOD);
    for (args, words) in [
        (
            ["--nnodes", "2", "--node-rank", "2", "--rdzv", "a:1"],
            "--node-rank 2 is not below --nnodes 2",
        ),
        (["--nnodes", "2", "--node-rank", "0", "--rdzv", "node0"], "--rdzv node0 is not HOST:PORT"),
        (["--nnodes", "2", "--node-rank", "0", "--rdzv", "a:0"], "--rdzv a:0 is not HOST:PORT"),
    ] {
        stage.train(&args).expect(2, &[words]);
    }
    let args = ["--nnodes", "2", "--node-rank", "0", "--rdzv", "a:1", "--interface", "eth-none"];
    stage.train(&args).expect(2, &["no network interface 'eth-none'", "lo"]);
    let args = ["--nnodes", "2", "--node-rank", "0", "--rdzv", "192.0.2.1:29400", "--nproc", "1"];
    stage
        .train(&args)
        .expect(3, &["cannot listen at 192.0.2.1:29400", "start node 0 on that host"]);
}
