//! Runs on several hosts: network namespaces that a switch connects, each with a launcher of its own.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use mlperf_run::console::note;

use crate::{
    launchers::{children_of, listening},
    train::{Bench, assert_ok, images},
};

/// Hosts `node0`, `node1`, .. with the addresses 10.77.0.1, 10.77.0.2, ...
struct Network {
    /// Processes that hold the namespaces: the switch, then the hosts.
    holders: Vec<Child>,
}

impl Network {
    /// `None`, with a word on standard error, without the right to make one.
    fn with_hosts(num_hosts: usize) -> Option<Self> {
        let hold = || {
            let mut unshare = Command::new("unshare");
            unshare.args(["--net", "--uts", "--mount", "sh", "-c", "echo; exec sleep 600"]);
            unshare.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()
        };
        let mut network = Self { holders: Vec::new() };
        for _ in 0..=num_hosts {
            network.holders.extend(hold());
        }
        // A line of output says that the namespaces are there.
        let ready = |holder: &mut Child| {
            let mut byte = [0];
            let stdout = holder.stdout.as_mut().expect("it was asked for");
            std::io::Read::read_exact(stdout, &mut byte).is_ok()
        };
        let all_ready = network.holders.iter_mut().all(ready);
        if network.holders.len() <= num_hosts || !all_ready || !network.connect(num_hosts) {
            note("skipped: no right to make network namespaces, or no ip and unshare");
            return None;
        }
        Some(network)
    }

    fn connect(&self, num_hosts: usize) -> bool {
        let cable = |host: usize| {
            let pid = self.holders[host + 1].id();
            format!(
                "ip link add p{host} type veth peer name eth0 netns {pid} \
                 && ip link set p{host} master br0 up"
            )
        };
        let bridge = "ip link add br0 type bridge && ip link set br0 up".to_owned();
        let script = [bridge].into_iter().chain((0..num_hosts).map(cable));
        let script = script.collect::<Vec<_>>().join(" && ");
        let ok = |output: Output| output.status.success();
        let set_up = |host: usize| {
            let address = format!("10.77.0.{}/24", host + 1);
            let script = format!(
                "hostname node{host} && ip link set lo up && ip link set eth0 up \
                 && ip address add {address} dev eth0"
            );
            ok(self.enter(host + 1).args(["sh", "-c", &script]).output().unwrap())
        };
        ok(self.enter(0).args(["sh", "-c", &script]).output().unwrap())
            && (0..num_hosts).all(set_up)
    }

    /// A command in the namespaces of a holder.
    fn enter(&self, holder: usize) -> Command {
        let mut command = Command::new("nsenter");
        let target = self.holders[holder].id().to_string();
        command.args(["--target", &target, "--net", "--uts", "--mount"]);
        command
    }

    /// The launcher of `host`, which starts one rank of the run of `bench`.
    fn launch(&self, host: usize, bench: &Bench, more: &[&str]) -> Child {
        let (num_hosts, host_text) = ((self.holders.len() - 1).to_string(), host.to_string());
        let place = ["--nproc", "1", "--nnodes", &num_hosts, "--node-rank", &host_text];
        let wanted =
            bench.command(&images(), &[&place[..], &["--rdzv", "10.77.0.1:29400"], more].concat());
        let mut command = self.enter(host + 1);
        command.arg(format!("--wdns={}", wanted.get_current_dir().unwrap().display()));
        command.arg(wanted.get_program()).args(wanted.get_args());
        command.env("OMP_NUM_THREADS", "1").stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for holder in &mut self.holders {
            let _ = holder.kill();
            let _ = holder.wait();
        }
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn weights(bench: &Bench) -> Vec<u8> {
    fs::read(bench.path("run_0/weights.safetensors")).unwrap()
}

#[test]
fn several_hosts_train_to_the_weights_of_one() {
    for num_hosts in [2, 3] {
        let Some(network) = Network::with_hosts(num_hosts) else { return };
        let batch = ["--set", "train.batch_size=18", "--set", "eval.batch_size=18"];
        let alone = Bench::new(num_hosts);
        assert_ok(&alone.run(&images(), &batch), 0);
        let bench = Bench::new(num_hosts);
        let last = num_hosts - 1;
        if num_hosts == 3 {
            // The last host has a disk of its own.
            let results = bench.path("").parent().unwrap().to_owned();
            fs::create_dir_all(&results).unwrap();
            let mount = network
                .enter(num_hosts)
                .args(["mount", "-t", "tmpfs", "none"])
                .arg(results)
                .output();
            assert_ok(&mount.unwrap(), 0);
        }
        let launchers: Vec<_> =
            (0..num_hosts).map(|host| network.launch(host, &bench, &batch)).collect();
        for launcher in launchers {
            assert_ok(&launcher.wait_with_output().unwrap(), 0);
        }
        assert!(weights(&bench) == weights(&alone), "{num_hosts} hosts: the weights differ");
        let events = fs::read_to_string(bench.path("run_0/events.jsonl")).unwrap();
        let says_so = events.contains(&format!("is not a folder that node {last} sees"));
        assert_eq!(says_so, num_hosts == 3, "{events}");
        assert_eq!(bench.json("run_0/manifest.json")["world_size"], num_hosts);
        assert!(bench.path("resnet/result_0.txt").exists());
    }
}

#[test]
fn a_host_that_is_cut_off_ends_the_run_on_both_sides() {
    let Some(network) = Network::with_hosts(2) else { return };
    let bench = Bench::new(2);
    let long = ["--set", "run.max_duration=4000ep", "--set", "mlperf.target=0.999"];
    let [first, second] = [0, 1].map(|host| network.launch(host, &bench, &long));
    bench.wait_for("\"steps\"");
    let ranks = [&first, &second].map(|launcher| children_of(launcher.id())).concat();
    assert_eq!(ranks.len(), 2);
    // The store of rank 0, and Gloo's sockets.
    let found: Vec<_> = ranks.iter().map(|rank| listening(*rank)).collect();
    let own = |address: &str| BTreeSet::from([address.to_owned()]);
    assert_eq!(found, [own("01004D0A"), own("02004D0A")], "they listen at their address only");
    let cut = network.enter(0).args(["ip", "link", "set", "p1", "down"]).output().unwrap();
    assert_ok(&cut, 0);
    let [first, second] = [first, second].map(|child| child.wait_with_output().unwrap());
    assert_ok(&first, 6);
    assert!(
        said(&first).contains("rank 1 on node1: its launcher has ended, or its host"),
        "{}",
        said(&first)
    );
    assert_ok(&second, 6);
    assert!(said(&second).contains("node 0 on node0 is lost"), "{}", said(&second));
    for rank in ranks {
        wait_for_end(rank);
    }
}

/// The kernel ends a rank with its launcher, a moment later.
fn wait_for_end(process: u32) {
    let proc = format!("/proc/{process}");
    for _ in 0..100 {
        if !Path::new(&proc).exists() {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("a rank outlived its launcher");
}
