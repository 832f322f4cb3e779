//! What is refused before anything starts: exit 3, one sentence, the cure in it.

use std::{fs, net::TcpListener};

use super::stage::{Stage, Told};

/// Ranks that leave a trace: nobody may start them here.
const TRACE: &str = r#"echo started > "$STAGE/started"; exit 0"#;

#[track_caller]
fn refuses(stage: &Stage, more: &[&str], words: &[&str]) {
    let told = stage.train(more);
    told.expect(3, words);
    is_one_sentence(stage, &told);
}

#[track_caller]
fn is_one_sentence(stage: &Stage, told: &Told) {
    assert_eq!(told.stderr.lines().count(), 1, "{told:#?}");
    assert!(told.stderr.starts_with("error: "), "{told:#?}");
    assert_eq!(told.stdout, "");
    assert!(!stage.path("started").exists(), "a rank was started");
}

#[test]
fn a_results_folder_that_cannot_be_written() {
    let stage = Stage::with_ranks(TRACE);
    stage.put("file", "");
    refuses(&stage, &["--results", "file"], &["cannot write results to file/", "--results DIR"]);
}

#[test]
fn a_port_that_is_in_use() {
    let stage = Stage::with_ranks(TRACE);
    let holder = TcpListener::bind(("0.0.0.0", 0)).unwrap();
    let port = holder.local_addr().unwrap().port().to_string();
    let output = stage.training(&[]).env("MASTER_PORT", &port).output().unwrap();
    let told = Told::of(output);
    told.expect(3, &[&format!("MASTER_PORT {port} cannot be used"), "unset it"]);
    is_one_sentence(&stage, &told);
}

#[test]
fn a_libtorch_of_another_version() {
    let stage = Stage::with_ranks(TRACE);
    stage.put("torch/version.py", "__version__ = '2.9.1+cpu'\n");
    refuses(&stage, &[], &["version 2.9.1+cpu", "requires 2.11.0", "scripts/setup"]);
}

#[test]
fn a_folder_that_is_no_libtorch() {
    let stage = Stage::with_ranks(TRACE);
    refuses(&stage, &["--libtorch", "images"], &["no libtorch in images", "given by --libtorch"]);
}

#[test]
fn a_rank_program_that_is_not_there() {
    let stage = Stage::with_ranks(TRACE);
    fs::remove_file(stage.path("rank")).unwrap();
    refuses(&stage, &[], &["cannot read", "rank"]);
}

#[test]
fn a_gpu_recipe_on_a_machine_without_gpus() {
    let stage = Stage::with_ranks(TRACE);
    let words = ["this machine has none", "--device cpu", "--recipe demo/optimized"];
    refuses(&stage, &["--device", "cuda"], &words);
}

#[test]
fn a_gpu_recipe_without_gpus_and_without_images() {
    let stage = Stage::with_ranks(TRACE);
    let output = stage.command(&["--recipe", "optimized.toml"]).output().unwrap();
    let told = Told::of(output);
    told.expect(
        3,
        &["this machine has none", "images", "--device cpu", "--data DIR", "demo/optimized"],
    );
    is_one_sentence(&stage, &told);
}

#[test]
fn images_that_are_not_there() {
    let stage = Stage::with_ranks(TRACE);
    fs::remove_dir_all(stage.path("images")).unwrap();
    refuses(&stage, &[], &["there are no images at images", "--data DIR", "demo/optimized"]);
}

#[test]
fn data_sets_that_cannot_be_learnt_from() {
    let stage = Stage::with_ranks(TRACE);
    for split in ["train", "val"] {
        fs::remove_dir_all(stage.path(&format!("images/{split}/dog"))).unwrap();
    }
    refuses(&stage, &[], &["only one class"]);
    fs::remove_dir_all(stage.path("images/val/cat")).unwrap();
    refuses(&stage, &[], &["images/val"]);
}

#[test]
fn a_store_of_a_later_version_or_half_of_one() {
    let stage = Stage::with_ranks(TRACE);
    let manifest = |version, division| {
        format!("{{\"version\":{version},\"division\":\"{division}\",\"shards\":[]}}")
    };
    stage.put("images/manifest.json", &manifest(2, "closed-safe"));
    refuses(&stage, &[], &["manifest.json has version 2", "update mlperf-run, or import again"]);
    stage.put("images/manifest.json", &manifest(1, "elsewhere-only"));
    refuses(&stage, &[], &["manifest.json", "elsewhere-only", "import again"]);
    stage.put("images/unfinished.json", "{}");
    refuses(&stage, &[], &["not finished", "run the same `mlperf-run data import` again"]);
}

#[test]
fn blocks_of_images_that_nobody_has_shuffled() {
    let stage = Stage::with_ranks(TRACE);
    let set = ["--set", "data.train.block_shuffle=true"];
    refuses(&stage, &set, &["block_shuffle", "data import DATA --out STORE"]);
}

#[test]
fn a_recipe_that_does_not_exist_or_is_not_valid() {
    let stage = Stage::with_ranks(TRACE);
    let told = Told::of(stage.command(&["--recipe", "demo/optimised"]).output().unwrap());
    told.expect(3, &["no recipe 'demo/optimised'", "did you mean 'demo/optimized'?"]);
    refuses(&stage, &["--set", "train.batch_sise=8"], &["batch_sise"]);
    refuses(&stage, &["--set", "train.batch_size=\"big\""], &["train.batch_size"]);
    refuses(&stage, &["--nproc", "3"], &["train.batch_size (4)", "3 ranks"]);
}

#[test]
fn images_in_memory_that_there_is_no_room_for() {
    let stage = Stage::with_ranks(TRACE);
    let words = ["ram_cache asks for 1099511627.8 GB, but only", "\"auto\""];
    refuses(&stage, &["--set", "data.train.ram_cache=1000000TiB"], &words);
    assert!(!stage.path("results/box/run_0").exists(), "a run that never was left a folder");
}

#[test]
fn a_system_name_that_is_no_folder_name() {
    let stage = Stage::with_ranks(TRACE);
    let args = ["--recipe", "recipe.toml", "--data", "images", "--system", "../elsewhere"];
    let told = Told::of(stage.command(&args).output().unwrap());
    told.expect(3, &["'../elsewhere' is not a valid system name"]);
}

#[test]
fn an_error_in_the_second_recipe_is_found_before_the_first_one_runs() {
    let stage = Stage::with_ranks(TRACE);
    stage.put("broken.toml", "[train]\nbatch_size = 0\n");
    let told = stage.train(&["--recipe", "broken.toml"]);
    told.expect(3, &["batch_size"]);
    assert!(!stage.path("started").exists(), "a rank was started");
}
