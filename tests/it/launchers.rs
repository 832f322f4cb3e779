//! Ranks that other launchers start: the same training, and no socket that other machines can reach.

use std::{
    collections::BTreeSet,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::train::{Bench, assert_ok, images};

/// Starts the ranks of a world of two with the recipe of the first run, each with its own variables.
fn start(
    bench: &Bench,
    run_dir: &Path,
    variables: impl Fn(usize) -> Vec<(&'static str, String)>,
) -> Vec<Child> {
    let recipe = bench.path("run_0/recipe.toml");
    start_with(&[recipe.clone(), recipe], run_dir, variables)
}

/// The same with a recipe for each.
fn start_with(
    recipes: &[PathBuf; 2],
    run_dir: &Path,
    variables: impl Fn(usize) -> Vec<(&'static str, String)>,
) -> Vec<Child> {
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let start = |rank: usize| {
        Command::new(env!("CARGO_BIN_EXE_mlperf-rank"))
            .arg("--recipe")
            .arg(&recipes[rank])
            .arg("--run-dir")
            .arg(run_dir)
            .envs(variables(rank))
            .env("MASTER_PORT", port.to_string())
            .env("OMP_NUM_THREADS", "1")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    (0..2).map(start).collect()
}

#[test]
fn ranks_train_alike_whoever_starts_them() {
    let bench = Bench::new(2);
    assert_ok(&bench.run(&images(), &[]), 0);
    let expected = fs::read(bench.path("run_0/weights.safetensors")).unwrap();
    let text = |number: usize| number.to_string();
    let torchrun =
        |rank| vec![("RANK", text(rank)), ("LOCAL_RANK", text(rank)), ("WORLD_SIZE", text(2))];
    let open_mpi = |rank| {
        vec![
            ("OMPI_COMM_WORLD_RANK", text(rank)),
            ("OMPI_COMM_WORLD_SIZE", text(2)),
            ("OMPI_COMM_WORLD_LOCAL_RANK", text(rank)),
            ("OMPI_COMM_WORLD_LOCAL_SIZE", text(2)),
        ]
    };
    let slurm = |rank| {
        vec![
            ("SLURM_PROCID", text(rank)),
            ("SLURM_NTASKS", text(2)),
            ("SLURM_LOCALID", text(rank)),
            ("SLURM_NNODES", text(1)),
        ]
    };
    for (name, ranks) in [
        ("torchrun", &torchrun as &dyn Fn(usize) -> Vec<(&'static str, String)>),
        ("open_mpi", &open_mpi),
        ("slurm", &slurm),
    ] {
        let run_dir = bench.path(name);
        fs::create_dir(&run_dir).unwrap();
        for rank in start(&bench, &run_dir, ranks) {
            assert_ok(&rank.wait_with_output().unwrap(), 0);
        }
        let weights = fs::read(run_dir.join("weights.safetensors")).unwrap();
        assert!(weights == expected, "{name}: the weights differ");
    }
}

/// The processes that the main thread of `process` has started.
pub(crate) fn children_of(process: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap();
    children.split_whitespace().map(|word| word.parse().unwrap()).collect()
}

/// Local addresses on which `process` listens, in the hexadecimal digits of `/proc/net/tcp`.
pub(crate) fn listening(process: u32) -> BTreeSet<String> {
    let links = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    let sockets: Vec<String> = links
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter_map(|link| {
            Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        })
        .collect();
    let mut addresses = BTreeSet::new();
    for table in ["tcp", "tcp6"] {
        let text = fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // State 0A is LISTEN.
            if fields[3] == "0A" && sockets.iter().any(|inode| inode == fields[9]) {
                addresses.insert(fields[1].split_once(':').unwrap().0.to_owned());
            }
        }
    }
    addresses
}

#[test]
fn ranks_of_one_machine_listen_on_the_loopback_interface_only() {
    let bench = Bench::new(2);
    let long = ["--set", "run.max_duration=200ep", "--set", "mlperf.target=0.999"];
    let mut command = bench.command(&images(), &long);
    let mut run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    bench.wait_for("\"run_start\"");
    let ranks = children_of(run.id());
    let found: Vec<_> = ranks.iter().map(|rank| listening(*rank)).collect();
    run.kill().unwrap();
    run.wait().unwrap();
    assert_eq!(ranks.len(), 2);
    let loopback = BTreeSet::from(["0100007F".to_owned()]);
    assert_eq!(found, [loopback.clone(), loopback]);
}

#[test]
fn ranks_that_do_not_arrive_are_named() {
    let bench = Bench::new(2);
    let limit = ["--set", "train.watch.join_timeout_s=2"];
    assert_ok(&bench.run(&images(), &limit), 0);
    let run = |name: &str, ranks: &[(usize, &str)]| {
        let run_dir = bench.path(name);
        fs::create_dir(&run_dir).unwrap();
        let variables = |rank: usize| {
            let key = ranks.iter().find(|(other, _)| *other == rank);
            // One of the two ranks may not be started at all.
            let place = if key.is_some() { rank.to_string() } else { "none".to_owned() };
            vec![
                ("RANK", place),
                ("WORLD_SIZE", "2".to_owned()),
                ("MLPERF_RUN_KEY", key.map_or("", |(_, key)| *key).to_owned()),
            ]
        };
        let ended = start(&bench, &run_dir, variables).into_iter();
        ended
            .map(|rank| String::from_utf8(rank.wait_with_output().unwrap().stderr).unwrap())
            .collect::<Vec<_>>()
    };
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let missing = |missing: usize, arrived: usize| {
        format!("rank {missing} did not arrive within 2 s (arrived: {arrived} on {})", host.trim())
    };
    let said = run("without_1", &[(0, "")]);
    assert!(said[0].contains(&missing(1, 0)), "{said:#?}");
    let said = run("without_0", &[(1, "")]);
    assert!(said[1].contains("rank 0 could not be reached at 127.0.0.1 port"), "{said:#?}");
    let said = run("other_key", &[(0, "secret"), (1, "guess")]);
    assert!(said[0].contains(&missing(1, 0)), "{said:#?}");
}

#[test]
fn a_rank_with_another_recipe_or_data_set_than_rank_0_does_not_train() {
    let bench = Bench::new(2);
    assert_ok(&bench.run(&images(), &[]), 0);
    let other_images = bench.path("other-images");
    let copied = Command::new("cp").args(["-r", "-T"]).args([&images(), &other_images]).output();
    assert_ok(&copied.unwrap(), 0);
    let class = fs::read_dir(other_images.join("train")).unwrap().next().unwrap().unwrap().path();
    let image = fs::read_dir(class).unwrap().next().unwrap().unwrap().path();
    fs::rename(&image, image.with_file_name("renamed.jpg")).unwrap();
    let recipe = fs::read_to_string(bench.path("run_0/recipe.toml")).unwrap();
    let images = images().canonicalize().unwrap().display().to_string();
    for (name, recipe_of_1, words) in [
        (
            "lr",
            recipe.replace("lr = 0.1\n", "lr = 0.2\n"),
            "its recipe or seed is not that of rank 0",
        ),
        (
            "data",
            recipe.replace(&images, other_images.to_str().unwrap()),
            "its data set is not that",
        ),
    ] {
        assert_ne!(recipe_of_1, recipe, "{name}");
        let run_dir = bench.path(name);
        fs::create_dir(&run_dir).unwrap();
        let paths = [bench.path("run_0/recipe.toml"), bench.path(&format!("{name}.toml"))];
        fs::write(&paths[1], recipe_of_1).unwrap();
        let variables =
            |rank: usize| vec![("RANK", rank.to_string()), ("WORLD_SIZE", "2".to_owned())];
        let ranks = start_with(&paths, &run_dir, variables);
        let ended: Vec<_> =
            ranks.into_iter().map(|rank| rank.wait_with_output().unwrap()).collect();
        assert_ok(&ended[1], 3);
        let said = String::from_utf8_lossy(&ended[1].stderr);
        assert!(said.contains(words), "{said}");
        assert_ok(&ended[0], 6);
        assert!(!run_dir.join("weights.safetensors").exists(), "{name}: it trained");
    }
}
