//! Own weights: fine-tuning, evaluation, predictions, and files for other programs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use mlperf_run::{
    data::{SynthConfig, synth},
    model::{Arch, Block, Blur, BlurOrder, BranchDrop, CustomConfig, DropBy, Mode, ModelConfig},
    model::{Excitation, ModelSpec, Place, ResNet, init},
    train::save_weights,
    weights::{Usage, WeightsFile, write_onnx},
};
use safetensors::SafeTensors;
use serde_json::Value;
use tch::{CModule, Device, Kind, Tensor, no_grad};

use crate::{
    check::say,
    launch::report::peers,
    train::{Bench, assert_ok, images},
};

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The run that all tests here start from: 4 classes, 2 epochs.
fn trained() -> (Bench, PathBuf) {
    let bench = Bench::new(1);
    assert_ok(&bench.run(&images(), &[]), 0);
    let weights = bench.path("run_0/weights.safetensors");
    (bench, weights)
}

#[test]
fn an_evaluation_of_the_weights_of_a_run_repeats_its_accuracy() {
    let (bench, _) = trained();
    let data = images();
    let out = bench.path("evaluation");
    let output = bench.bare(&[
        "eval",
        "--weights",
        "results/here/run_0",
        "--data",
        data.to_str().unwrap(),
        "--device",
        "cpu",
        "--json",
        "--out",
        out.to_str().unwrap(),
    ]);
    assert_ok(&output, 0);
    let evaluation: Value = serde_json::from_str(&text(&output)).unwrap();
    let accuracy = &bench.json("run_0/summary.json")["accuracy"];
    assert_eq!(&evaluation["top1"], accuracy);
    assert_eq!((&evaluation["num_images"], &evaluation["top5"]), (&42.into(), &1.0.into()));
    // Sums of the confusion matrix are the counts by class.
    let sum = |key: &str, class: &Value| -> u64 {
        let cells = evaluation["confusion"].as_array().unwrap().iter();
        cells.filter(|it| &it[key] == class).map(|it| it["num_images"].as_u64().unwrap()).sum()
    };
    for class in evaluation["classes"].as_array().unwrap() {
        assert_eq!(class["num_images"], sum("class", &class["class"]));
        assert_eq!(class["num_predicted"], sum("predicted", &class["class"]));
    }
    let table = fs::read_to_string(out.join("classes.csv")).unwrap();
    assert!(
        table.starts_with("class,num_images,num_right") && table.lines().count() == 5,
        "{table}"
    );
    let confusion = fs::read_to_string(out.join("confusion.csv")).unwrap();
    let num = evaluation["confusion"].as_array().unwrap().len();
    assert_eq!(confusion.lines().count(), num + 1);
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("Confusion matrix") && page.contains("c0003"));
    check_page(&out.join("report.html"));
}

/// Opens the page in Chromium, where there is one.
fn check_page(page: &Path) {
    let Some(python) = peers("the test of an evaluation in Chromium") else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/oracle/report.py");
    let output = Command::new(python).arg(script).arg(page).output().unwrap();
    assert_ok(&output, 0);
    let views = text(&output);
    assert_eq!(views.lines().count(), 4);
    for view in views.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        for list in ["messages", "requests", "faint"] {
            assert_eq!(view[list], Value::Array(Vec::new()), "{list}: {view:#}");
        }
        assert_eq!(view["sideways"], 0, "{view:#}");
    }
}

#[test]
fn predictions_name_the_classes_and_every_unreadable_image() {
    let (bench, _) = trained();
    let val = images().join("val");
    let broken = bench.path("broken.jpg");
    fs::write(&broken, "no image").unwrap();
    let predict = |extra: &[&str]| {
        let common = ["predict", "--weights", "results/here/run_0", "--device", "cpu", "--json"];
        bench.bare(&[&common[..], extra].concat())
    };
    let output = predict(&["--top", "2", val.to_str().unwrap(), broken.to_str().unwrap()]);
    assert_ok(&output, 3);
    let lines: Vec<Value> =
        text(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 43);
    let (last, predicted) = lines.split_last().unwrap();
    assert!(last["error"].as_str().unwrap().contains("unknown format"), "{last}");
    let mut num_right = 0;
    for line in predicted {
        let classes = line["classes"].as_array().unwrap();
        assert_eq!(classes.len(), 2, "{line}");
        let probability = |i: usize| classes[i]["probability"].as_f64().unwrap();
        assert!(probability(0) >= probability(1) && probability(0) + probability(1) <= 1.0 + 1e-9);
        let path = line["path"].as_str().unwrap();
        num_right +=
            u32::from(path.contains(&format!("/{}/", classes[0]["class"].as_str().unwrap())));
    }
    let accuracy = bench.json("run_0/summary.json")["accuracy"].as_f64().unwrap();
    assert!((f64::from(num_right) / 42.0 - accuracy).abs() < 1e-9);
    let one = val.join("c0000");
    let one = fs::read_dir(one).unwrap().next().unwrap().unwrap().path();
    let output = predict(&["absent.jpg", one.to_str().unwrap()]);
    assert_ok(&output, 3);
    assert!(text(&output).contains("absent.jpg") && text(&output).lines().count() == 2);
}

/// A set of a few images with classes that the first training has not seen.
fn few_images() -> PathBuf {
    let config = SynthConfig {
        num_classes: 6,
        num_train: 120,
        num_eval: 240,
        size: 80,
        difficulty: 0.2,
        seed: 99,
        ..SynthConfig::default()
    };
    synth::ensure(&config, &Path::new(env!("CARGO_TARGET_TMPDIR")).join("images"), None).unwrap()
}

#[test]
fn fine_tuning_beats_training_from_scratch_on_few_images() {
    let common = "[run]\ndevice = \"cpu\"\nnum_ranks = 1\nseed = 17\n\
        [mlperf]\ncache_clear = \"\"\ntarget = 0.99\n[model]\narch = \"custom\"\n\
        [model.custom]\nblock = \"basic\"\ndepths = [1, 1, 1]\nwidth = 16\n\
        [data.train]\ncrop_size = 40\nscale = [0.5, 1.0]\n\
        [data.eval]\nresize_size = 44\ncrop_size = 40\n\
        [optimizer]\nlr = 0.04\n[scheduler]\nt_warmup = \"1ep\"\n[algorithms.channels_last]\n";
    let bench = Bench::new(1);
    let folder = bench.folder();
    fs::write(folder.join("common.toml"), common).unwrap();
    let recipe = |name: &str, text: &str| {
        let text = format!("extends = \"common.toml\"\n{text}");
        fs::write(folder.join(format!("{name}.toml")), text).unwrap();
    };
    recipe(
        "many",
        "[run]\nmax_duration = \"6ep\"\n[train]\nbatch_size = 40\n[eval]\ninterval = \"6ep\"\n\
         [data.synth]\nnum_classes = 12\nnum_train = 1200\nnum_eval = 120\nsize = 80\n\
         difficulty = 0.2\nseed = 3\n",
    );
    let few =
        "[run]\nmax_duration = \"5ep\"\n[train]\nbatch_size = 20\n[eval]\ninterval = \"5ep\"\n";
    recipe("scratch", few);
    let tuned = "[model]\nweights = \"results/here/run_0/weights.safetensors\"\n\
                 freeze = [\"conv1\", \"bn1\", \"layer1\"]\n[optimizer.lr_multipliers]\nfc = 5.0\n";
    recipe("tuned", &format!("{few}{tuned}"));
    let train = |name: &str, data: &[&str]| {
        let recipe = format!("{name}.toml");
        let common = ["--recipe", &recipe, "--system", "here"];
        let output = bench.bare(&[&common[..], data].concat());
        assert_ok(&output, 5);
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    train("many", &[]);
    let data = few_images();
    let data = ["--data", data.to_str().unwrap()];
    train("scratch", &data);
    let said = train("tuned", &data);
    assert!(
        said.contains("45 tensors; the last layer is new (12 classes there, 6 here)"),
        "{said}"
    );
    let accuracy =
        |run: &str| bench.json(&format!("{run}/summary.json"))["accuracy"].as_f64().unwrap();
    let (scratch, tuned) = (accuracy("run_1"), accuracy("run_2"));
    assert!(tuned > scratch + 0.1, "{tuned} after fine-tuning, {scratch} from scratch");
    // Frozen layers are bit for bit those of the first run, statistics included; others are not.
    let files = ["run_0", "run_2"]
        .map(|run| fs::read(bench.path(&format!("{run}/weights.safetensors"))).unwrap());
    let [before, after] = files.each_ref().map(|bytes| SafeTensors::deserialize(bytes).unwrap());
    for (name, tensor) in before.iter() {
        let is_frozen = ["conv1.", "bn1.", "layer1."].iter().any(|it| name.starts_with(it));
        let is_counter = name.ends_with("num_batches_tracked");
        if !is_counter && !name.starts_with("fc.") {
            let is_equal = tensor.data() == after.tensor(name).unwrap().data();
            assert_eq!(is_equal, is_frozen, "{name}");
        }
    }
    // Such a run is no MLPerf result, and says so.
    assert!(!bench.path("resnet/result_2.txt").exists());
    let manifest = bench.json("run_2/manifest.json");
    assert_eq!(manifest["weights"]["sha256"].as_str().unwrap().len(), 64);
    let check = bench.bare(&["check", "results/here/run_2/mllog.txt"]);
    assert_ok(&check, 0);
    assert!(text(&check).contains("the run began with the weights of"), "{}", text(&check));
    let package = bench.bare(&["package", "results/here/run_2", "--out", "submission"]);
    assert_ok(&package, 3);
}

#[test]
fn ranks_start_from_the_same_weights_and_keep_frozen_layers() {
    let (bench, weights) = trained();
    let set = format!("model.weights={:?}", weights.to_str().unwrap());
    let args = ["--set", &set, "--set", "model.freeze=[\"conv1\", \"layer1\"]", "--nproc", "2"];
    assert_ok(&bench.run(&images(), &args), 0);
    check_kept(&weights, &bench.path("run_1/weights.safetensors"));
    // SWA retakes the statistics of the layers that are trained, and of no others.
    let averaged = ["--set", "algorithms.swa={start=\"0ep\"}"];
    assert_ok(&bench.run(&images(), &[&args[..], &averaged].concat()), 0);
    check_kept(&weights, &bench.path("run_2/weights.safetensors"));
}

/// The first convolution and stage are as before; the first batch norm is not.
fn check_kept(before: &Path, after: &Path) {
    let files = [before, after].map(|path| fs::read(path).unwrap());
    let [before, after] = files.each_ref().map(|bytes| SafeTensors::deserialize(bytes).unwrap());
    for (name, is_kept) in [
        ("conv1.weight", true),
        ("layer1.0.bn1.running_mean", true),
        ("bn1.weight", false),
        ("bn1.running_mean", false),
    ] {
        let is_equal = before.tensor(name).unwrap().data() == after.tensor(name).unwrap().data();
        assert_eq!(is_equal, is_kept, "{name}");
    }
}

#[test]
fn weights_that_do_not_fit_are_refused_before_any_rank_starts() {
    let (bench, weights) = trained();
    let weights = weights.to_str().unwrap();
    let refused = |sets: &[&str], words: &[&str]| {
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        let output = bench.run(&images(), &sets);
        assert_ok(&output, 3);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        for word in words {
            assert!(said.contains(word), "{word}: {said}");
        }
    };
    let own = format!("model.weights={weights:?}");
    refused(&[&own, "model.custom.width=16"], &["conv1.weight is [8, 3, 7, 7]", "[16, 3, 7, 7]"]);
    refused(
        &[&own, "model.custom.depths=[1, 2]"],
        &["lacks layer2.1.conv1.weight", "depths [1, 1]"],
    );
    refused(&["model.weights=\"absent.safetensors\""], &["absent.safetensors", "name a file"]);
    refused(&["model.freeze=[\"layer7\"]"], &["model.freeze names layer7", "layer1, layer2"]);
    refused(
        &["model.freeze=[\"conv1\", \"bn1\", \"layer1\", \"layer2\", \"fc\"]"],
        &["nothing is trained"],
    );
    refused(&["optimizer.lr_multipliers.head=2.0"], &["optimizer.lr_multipliers names head", "fc"]);
    refused(&[&own, "mlperf.division=closed"], &["model.weights"]);
    let pickle = bench.path("w.pth");
    fs::write(&pickle, b"PK\x03\x04 and so on").unwrap();
    let pickle = format!("model.weights={:?}", pickle.to_str().unwrap());
    refused(&[&pickle], &["w.pth is a pickle", "save_file"]);
    // An evaluation needs to know which output is which class.
    let data = few_images();
    let output = bench.bare(&["eval", "--weights", weights, "--data", data.to_str().unwrap()]);
    assert_ok(&output, 3);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("know no class \"c0004\""), "{said}");
}

/// A network with every layer that a recipe can ask for, and weights that nothing cancels.
fn network(blur: Option<BlurOrder>) -> (ResNet, ModelSpec) {
    let block = if blur.is_some() { Block::Bottleneck } else { Block::Basic };
    let custom = Some(CustomConfig { block, depths: vec![1, 2], width: 16 });
    let config = ModelConfig { arch: Arch::Custom, custom, ..ModelConfig::default() };
    let blur = blur.map(|order| Blur { convs: true, maxpools: true, order, min_channels: 4 });
    let drop = BranchDrop { by: DropBy::Sample, rates: vec![0.1, 0.2, 0.3] };
    let branch_drop = blur.is_some().then_some(drop);
    let excitation = blur.as_ref().map(|_| Excitation { latent_channels: 0.25, min_channels: 16 });
    let spec = ModelSpec { blur, branch_drop, excitation, ..config.spec(7) };
    tch::manual_seed(3);
    let model = ResNet::new(&spec, Place { kind: Kind::Float, device: Device::Cpu });
    init(model.weights(), &config.initializers);
    no_grad(|| {
        for (name, tensor) in model.weights().buffers() {
            let mut tensor = tensor.shallow_clone();
            let _ = tensor.uniform_(if name.ends_with("var") { 0.5 } else { -0.5 }, 1.0);
        }
    });
    (model, spec)
}

#[test]
fn onnx_computes_what_the_network_does() {
    let Some(python) = peers("the test of ONNX in onnxruntime") else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for blur in [None, Some(BlurOrder::BlurFirst), Some(BlurOrder::ConvFirst)] {
        let (model, spec) = network(blur);
        save_weights(model.weights(), 5, &Usage::default(), &at("w.safetensors")).unwrap();
        let file = WeightsFile::open(&at("w.safetensors")).unwrap();
        let names = ("class_names", "[\"a\", \"b\"]".to_owned());
        write_onnx(&file, &spec, &[names], &at("m.onnx")).unwrap();
        // Two numbers and sizes of images, odd ones too.
        for (num, height, width) in [(3, 64, 64), (1, 75, 50)] {
            let images = Tensor::randn([num, 3, height, width], (Kind::Float, Device::Cpu));
            let expected = no_grad(|| model.forward(&images, Mode::Eval));
            let images = Vec::<f32>::try_from(images.flatten(0, -1)).unwrap();
            let bytes: Vec<u8> = images.iter().flat_map(|number| number.to_le_bytes()).collect();
            fs::write(at("images.bin"), bytes).unwrap();
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/oracle/onnx.py");
            let shape = [num, 3, height, width].map(|n| n.to_string());
            let output = Command::new(&python)
                .arg(script)
                .args([at("m.onnx"), at("images.bin")])
                .args(shape)
                .output()
                .unwrap();
            assert_ok(&output, 0);
            let found: Value = serde_json::from_str(&text(&output)).unwrap();
            assert_eq!(found["metadata"]["class_names"], "[\"a\", \"b\"]");
            let logits: Vec<f64> = serde_json::from_value(found["logits"].clone()).unwrap();
            let expected =
                Vec::<f64>::try_from(expected.to_kind(Kind::Double).flatten(0, -1)).unwrap();
            assert_eq!(logits.len(), expected.len());
            for (found, expected) in logits.iter().zip(&expected) {
                assert!(
                    (found - expected).abs() < 1e-4 * expected.abs().max(1.0),
                    "{found} {expected}"
                );
            }
        }
    }
}

#[test]
fn torchscript_computes_what_the_network_does_for_any_number_and_size_of_images() {
    let (bench, weights) = trained();
    let bytes = fs::read(&weights).unwrap();
    let out = bench.path("m.pt");
    let export = |format: &str, out: &Path| {
        let output = bench.bare(&[
            "export",
            "--weights",
            "results/here/run_0",
            "--format",
            format,
            "--out",
            out.to_str().unwrap(),
        ]);
        assert_ok(&output, 0);
    };
    export("torchscript", &out);
    let module = CModule::load(&out).unwrap();
    let custom = Some(CustomConfig { block: Block::Basic, depths: vec![1, 1], width: 8 });
    let config = ModelConfig { arch: Arch::Custom, custom, ..ModelConfig::default() };
    let model = ResNet::new(&config.spec(4), Place { kind: Kind::Float, device: Device::Cpu });
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    for (name, tensor) in model.weights().all() {
        let view = tensors.tensor(name).unwrap();
        let loaded = Tensor::f_from_data_size(view.data(), &tensor.size(), Kind::Float).unwrap();
        no_grad(|| tensor.shallow_clone().copy_(&loaded));
    }
    for size in [[1, 3, 32, 32], [5, 3, 47, 64]] {
        let images = Tensor::randn(size, (Kind::Float, Device::Cpu));
        let found = module.forward_ts(std::slice::from_ref(&images)).unwrap();
        let expected = no_grad(|| model.forward(&images, Mode::Eval));
        assert!(found.allclose(&expected, 1e-5, 1e-6, false), "{size:?}");
    }
    // Safetensors come back as they were: tensors, class names and recipe.
    let copy = bench.path("copy.safetensors");
    export("safetensors", &copy);
    assert!(fs::read(&copy).unwrap() == bytes);
}

/// torchvision's own network, its weights and its logits.
#[test]
fn torchvisions_weights_give_torchvisions_predictions() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".peers/torch/bin/python");
    if !python.is_file() {
        say("skipping torchvision's weights: scripts/bench/setup-peers has not installed it");
        return;
    }
    let bench = Bench::new(1);
    let folder = bench.folder();
    let image = fs::read_dir(images().join("val/c0001")).unwrap().next().unwrap().unwrap().path();
    let script =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/oracle/torchvision_weights.py");
    let output = Command::new(python).arg(script).arg(folder).arg(&image).output().unwrap();
    assert_ok(&output, 0);
    let expected: Vec<f64> = serde_json::from_str(&text(&output)).unwrap();
    let weights = folder.join("resnet18.safetensors");
    fs::write(folder.join("names.txt"), "zero\none\ntwo\nthree\nfour\nfive\nsix\n").unwrap();
    let names = folder.join("names.txt");
    let output = bench.bare(&[
        "predict",
        "--weights",
        weights.to_str().unwrap(),
        "--classes",
        names.to_str().unwrap(),
        "--device",
        "cpu",
        "--top",
        "7",
        "--json",
        "--set",
        "data.eval.geometry=torchvision",
        "--set",
        "data.eval.resize_size=64",
        "--set",
        "data.eval.crop_size=56",
        image.to_str().unwrap(),
    ]);
    assert_ok(&output, 0);
    let line: Value = serde_json::from_str(&text(&output)).unwrap();
    for class in line["classes"].as_array().unwrap() {
        let (index, found) =
            (class["index"].as_u64().unwrap(), class["probability"].as_f64().unwrap());
        let expected = expected[index as usize];
        assert!((found - expected).abs() < 2e-2, "class {index}: {found}, {expected}");
    }
    assert_eq!(line["classes"].as_array().unwrap().len(), 7);
}
