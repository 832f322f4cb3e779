//! What a reader of a guide has and a test has not: ImageNet's archives, 8 GPUs, a folder of photos. The
//! stand-ins have the names and the structure of the real ones, so that the same commands work.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::launch::stage::Stage;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// `scripts/test --test it FILTER` without cargo, which is at work already. It compares pages and schema
/// and does not write them, so that no test changes the project.
const TEST: &str = r#"#!/bin/sh
[ "$1 $2" = "--test it" ] || exit 2
unset WRITE_PAGES WRITE_SCHEMA
cd "ROOT" && exec "TESTS" "$3"
"#;

/// A clone with the built program: recipes, which ask for no GPU, examples and scripts.
pub(super) fn clone() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for name in ["configs", "examples", "Cargo.toml", "LICENSE"] {
        let mut copy = Command::new("cp");
        let copied = copy.arg("-r").arg(Path::new(ROOT).join(name)).arg(root).status();
        assert!(copied.unwrap().success());
    }
    for name in ["baseline", "nvidia-closed"] {
        let path = root.join(format!("configs/{name}.toml"));
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("device = \"cuda\"") && text.contains("\"amp_fp16\""), "{text}");
        let text = text.replace("device = \"cuda\"", "device = \"cpu\"");
        fs::write(&path, text.replace("\"amp_fp16\"", "\"amp_bf16\"")).unwrap();
    }
    fs::create_dir(root.join("scripts")).unwrap();
    let (script, tests) = (root.join("scripts/test"), std::env::current_exe().unwrap());
    fs::write(&script, TEST.replace("ROOT", ROOT).replace("TESTS", tests.to_str().unwrap()))
        .unwrap();
    fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(root.join("bin")).unwrap();
    symlink(env!("CARGO_BIN_EXE_mlperf-run"), root.join("bin/mlperf-run")).unwrap();
    folder
}

/// `ILSVRC2012` in `root`: both archives of 1000 classes, with a few images each, and labels.
pub(super) fn imagenet(root: &Path) {
    let root = root.join("ILSVRC2012");
    fs::create_dir(&root).unwrap();
    let image = fs::read(Path::new(ROOT).join("tests/fixtures/images/exif-1.jpg")).unwrap();
    let images = |names: &[String]| {
        let mut archive = tar::Builder::new(Vec::new());
        for name in names {
            add(&mut archive, name, &image);
        }
        archive.into_inner().unwrap()
    };
    let classes: Vec<_> = (0..1000).map(|number| format!("n{:08}", 1_440_764 + number)).collect();
    let mut train = tar::Builder::new(Vec::new());
    for class in &classes {
        // Together more than a step's 2048.
        let names = [0, 1, 2].map(|number| format!("{class}_{number}.JPEG"));
        add(&mut train, &format!("{class}.tar"), &images(&names));
    }
    fs::write(root.join("ILSVRC2012_img_train.tar"), train.into_inner().unwrap()).unwrap();
    let names: Vec<_> = (1..=1000).map(|i| format!("ILSVRC2012_val_{i:08}.JPEG")).collect();
    let labels = names.iter().zip(&classes).map(|(name, class)| format!("{name} {class}\n"));
    fs::write(root.join("val_labels.txt"), labels.collect::<String>()).unwrap();
    fs::write(root.join("ILSVRC2012_img_val.tar"), images(&names)).unwrap();
}

fn add(archive: &mut tar::Builder<Vec<u8>>, name: &str, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    archive.append_data(&mut header, name, content).unwrap();
}

/// Ranks that write the log of a run that reached the target, with the seed and the names of their
/// recipe, each run an hour after the one before it. In run 2, the kernel kills one of them.
const RANKS: &str = r#"
run=${run_dir##*_}
[ "$RANK" = 5 ] && [ "$run" = 2 ] && kill -KILL $$
[ "$RANK" = 0 ] || exit 0
[ "$run" = 2 ] && sleep 60
value() { sed -n "s/^$1 = //p" "$2" | head -n 1; }
run_start
sed -e "s/\"value\": 1234/\"value\": $(value seed "$2")/" -e "s/\"Somebody\"/$(value org "$2")/" \
    -e "s/\"one-box\"/$(value platform "$2")/" -e "s/\"onprem\"/$(value status "$2")/" "$STAGE/log" |
  awk -v later="$run" '{
    match($0, /"time_ms": [0-9]+/)
    time = substr($0, RSTART + 11, RLENGTH - 11) + later * 3600000
    printf "%s%.0f%s\n", substr($0, 1, RSTART + 10), time, substr($0, RSTART + RLENGTH)
  }' > "$run_dir/mllog.txt"
cat "$STAGE/run_stop_success"
"#;

/// Eight GPUs: ranks that are scripts.
pub(super) fn gpus() -> Stage {
    let stage = Stage::with_ranks(RANKS);
    stage.put("log", include_str!("../../logs/ok_open.txt"));
    stage
}

/// What makes the launcher start the ranks of `stage`.
pub(super) fn environment(stage: &Stage) -> Vec<(&'static str, PathBuf)> {
    vec![
        ("MLPERF_RUN_RANK_BIN", stage.path("rank")),
        ("MLPERF_LIBTORCH", stage.path("torch")),
        ("STAGE", stage.path("")),
    ]
}

/// `photos` in `root`: three classes, most of them JPEGs, as phones and web sites leave them.
#[cfg(feature = "torch")]
pub(super) fn photos(root: &Path) {
    use mlperf_run::data::{SynthConfig, synth};

    let config = SynthConfig {
        num_classes: 3,
        num_train: 90,
        num_eval: 30,
        size: 80,
        difficulty: 0.0,
        seed: 5,
        ..SynthConfig::default()
    };
    let images = Path::new(env!("CARGO_TARGET_TMPDIR")).join("images");
    let images = synth::ensure(&config, &images, None).unwrap().join("train");
    for (number, class) in ["kestrel", "robin", "wren"].into_iter().enumerate() {
        let folder = root.join("photos").join(class);
        fs::create_dir_all(&folder).unwrap();
        for entry in fs::read_dir(images.join(format!("c{number:04}"))).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
        }
    }
    for (name, photo) in [
        ("exif-6.jpg", "robin/IMG_0107.jpg"),
        ("lossy.webp", "robin/robin-on-a-branch.webp"),
        ("rgb.tif", "wren/scan.tif"),
    ] {
        let fixture = Path::new(ROOT).join("tests/fixtures/images").join(name);
        fs::copy(fixture, root.join("photos").join(photo)).unwrap();
    }
}

/// `resnet18.safetensors` in `root`, as torchvision's weights for `ImageNet` become one; these know nothing.
#[cfg(feature = "torch")]
pub(super) fn resnet18(root: &Path) {
    use mlperf_run::{
        model::{Arch, ModelConfig, Place, ResNet, init},
        train::save_weights,
        weights::Usage,
    };
    use tch::{Device, Kind};

    let config = ModelConfig { arch: Arch::Resnet18, ..ModelConfig::default() };
    tch::manual_seed(3);
    let place = Place { kind: Kind::Float, device: Device::Cpu };
    let model = ResNet::new(&config.spec(1000), place);
    init(model.weights(), &config.initializers);
    save_weights(model.weights(), 0, &Usage::default(), &root.join("resnet18.safetensors"))
        .unwrap();
}
