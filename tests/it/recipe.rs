//! Recipes from outside: the built-in ones, and what a person who mistypes reads.

use std::fs;

use mlperf_run::recipe::{
    Origin, Plan, Recipe, RecipeError, RecipeFile, RunContext, Source, built_in_names, find, load,
};
use tempfile::TempDir;

pub(crate) fn loaded(text: &str, overrides: &[&str]) -> Result<RecipeFile, RecipeError> {
    let origin = Origin::File("my.toml".into());
    let source = Source { name: "my".to_owned(), text: text.to_owned(), origin };
    load(&source, &overrides.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
}

pub(crate) fn imagenet(world_size: usize) -> RunContext {
    RunContext { world_size, num_classes: 1000, num_train: 1_281_167, num_eval: 50_000 }
}

/// The data set and the ranks that a recipe is made for.
fn home(file: &RecipeFile) -> RunContext {
    match &file.data.synth {
        None => imagenet(8),
        Some(synth) => RunContext {
            world_size: 2,
            num_classes: synth.num_classes,
            num_train: synth.num_train,
            num_eval: synth.num_eval,
        },
    }
}

pub(crate) fn at_home(name: &str) -> Recipe {
    let file = load(&find(name).unwrap(), &[]).unwrap();
    let run_context = home(&file);
    Recipe::resolve(file, &run_context).unwrap()
}

#[test]
fn every_built_in_recipe_resolves_and_survives_being_written_out() {
    assert!(built_in_names().count() >= 4);
    for name in built_in_names() {
        let recipe = at_home(name);
        assert_eq!(recipe.run.name, name.replace('/', "-"));
        let again = loaded(&recipe.to_toml(), &[]).unwrap();
        let again = Recipe::resolve(again, &recipe.run_context).unwrap();
        assert_eq!(again, recipe, "{name}");
        assert_eq!(again.sha256(), recipe.sha256(), "{name}");
    }
}

#[test]
fn every_file_in_configs_is_built_in() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/configs");
    for (sub, prefix) in [("", ""), ("/demo", "demo/")] {
        for file in fs::read_dir(format!("{folder}{sub}")).unwrap() {
            let file = file.unwrap().file_name().into_string().unwrap();
            if let Some(stem) = file.strip_suffix(".toml") {
                let name = format!("{prefix}{stem}");
                assert!(built_in_names().any(|known| known == name), "{name} is not built in");
            }
        }
    }
}

#[test]
fn the_hash_tells_recipes_and_seeds_apart() {
    let hash = |overrides: &[&str]| {
        let file = loaded("[run]\nseed = 1", overrides).unwrap();
        Recipe::resolve(file, &imagenet(8)).unwrap().sha256()
    };
    assert_eq!(hash(&[]), hash(&[]));
    assert_eq!(hash(&[]).len(), 64);
    assert_ne!(hash(&[]), hash(&["run.seed=2"]));
    assert_ne!(hash(&[]), hash(&["optimizer.lr=1"]));
}

#[test]
fn the_published_recipes_have_the_published_shape() {
    let (baseline, optimized) = (at_home("baseline"), at_home("optimized"));
    assert_eq!((baseline.run_length.num_epochs, optimized.run_length.num_epochs), (90, 28));
    assert_eq!(baseline.eval_epochs[..2], [4, 8]);
    assert_eq!(optimized.eval_epochs, [3, 6, 9, 12, 15, 18, 21, 24, 27, 28]);
    assert_eq!((baseline.schedule.warmup_steps(), optimized.schedule.warmup_steps()), (5000, 5000));
    assert_eq!(baseline.spec.blur, None);
    assert!(optimized.spec.blur.is_some());
    let ramp = [96, 104, 112, 116, 124, 132, 140, 148, 156, 164, 172];
    let image_sizes = [[88; 12].as_slice(), &ramp, &[176; 5]].concat();
    assert_eq!((optimized.image_sizes, optimized.crop_sizes), (image_sizes, vec![176; 28]));
    let eval = &optimized.data.eval;
    assert_eq!((eval.resize_size, eval.crop_size), (232, 224));
    assert_eq!(at_home("demo/baseline").spec.blur, None);
}

#[test]
fn the_example_for_own_images_resolves() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/train_your_images.toml");
    let source = find(path).unwrap();
    assert_eq!(source.name, "train_your_images");
    let file = load(&source, &[]).unwrap();
    let run_context = RunContext { world_size: 1, num_classes: 2, num_train: 500, num_eval: 100 };
    assert!(Recipe::resolve(file, &run_context).is_ok());
}

#[test]
fn methods_that_cannot_work_are_refused_with_the_cure() {
    const RESIZING: &str = "[algorithms.progressive_resizing]\n";
    for (text, words) in [
        (format!("{RESIZING}initial_scale = 0.0"), ["initial_scale (0)", "above 0"]),
        (format!("{RESIZING}initial_scale = 0.001"), ["is 0 px", "raise initial_scale"]),
        (format!("{RESIZING}initial_scale = 1.0"), ["changes nothing", "remove the table"]),
        (format!("{RESIZING}size_increment = 0"), ["size_increment (0)", "1 or more"]),
        (format!("{RESIZING}delay_fraction = 0.9"), ["more than the whole run", "lower one"]),
        ("[algorithms.ema]\ninclude_buffers = false".to_owned(), ["include_buffers", "remove"]),
        ("[algorithms.ema]\nhalf_life = \"0ba\"".to_owned(), ["half_life (0ba)", "above 0"]),
        (
            "[algorithms.fixres]\ntrain_crop_size = 300".to_owned(),
            ["train_crop_size (300) exceeds eval_crop_size (224)", "lower"],
        ),
        ("[algorithms.mixup]\nalpha = 0.0".to_owned(), ["mixup.alpha (0)", "above 0 and at most"]),
        ("[algorithms.cutmix]\nalpha = 9".to_owned(), ["cutmix.alpha (9)", "at most 4"]),
        ("[algorithms.cutout]\nlength = 1.5".to_owned(), ["cutout.length (1.5)", "from 0 to 1"]),
        ("[algorithms.colout]\np_row = 1.0".to_owned(), ["colout.p_row (1)", "below 1"]),
        ("[algorithms.sam]\ninterval = 0".to_owned(), ["sam.interval (0)", "1 or more"]),
        ("[algorithms.swa]\n[algorithms.ema]".to_owned(), ["swa and algorithms.ema", "remove"]),
        (
            "[algorithms.selective_backprop]\nend = 0.2".to_owned(),
            ["selective_backprop.end (0.2) is not after start (0.5)", "remove the table"],
        ),
        (
            "[algorithms.gradient_clipping]\nthreshold = -1".to_owned(),
            ["gradient_clipping.threshold (-1)", "above 0"],
        ),
        (
            "[algorithms.stochastic_depth]\ndrop_rate = 1.0".to_owned(),
            ["stochastic_depth.drop_rate (1)", "below 1"],
        ),
        (
            "[mlperf]\ndivision = \"closed\"\n[algorithms.mixup]".to_owned(),
            ["division is closed", "algorithms.mixup"],
        ),
    ] {
        let source = Source { name: "mine".to_owned(), text, origin: Origin::BuiltIn };
        let run_context =
            RunContext { world_size: 1, num_classes: 2, num_train: 5000, num_eval: 100 };
        let error = Recipe::resolve(load(&source, &[]).unwrap(), &run_context).unwrap_err();
        let error = error.to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
}

/// Text of the recipe, overrides, and what the message must hold.
const MISTYPED: [(&str, &[&str], &[&str]); 23] = [
    ("[model]\nbn_momentun = 1", &[], &["my.toml:2", "model.bn_momentun", "mean bn_momentum?"]),
    ("[modle]\nx = 1", &[], &["my.toml:1", "unknown key modle", "mean model?"]),
    ("[model]\nfrobnicate = 1", &[], &["my.toml:2", "known here: arch,"]),
    ("[train.ddp]\n\nbucket_md = 1", &[], &["my.toml:3", "train.ddp.bucket_md", "bucket_mb?"]),
    ("[algorithms.blurpol]", &[], &["my.toml:1", "algorithms.blurpol", "mean blurpool?"]),
    ("[model]\narch = \"resnet51\"", &[], &["my.toml:2", "model.arch = \"resnet51\"", "resnet50"]),
    ("[model]\ninitializers = [\"bn_one\"]", &[], &["my.toml:2", "model.init", "mean bn_ones?"]),
    ("[model.custom]\nwidth = 3", &[], &["my.toml:1", "model.custom lacks block"]),
    ("[train]\nbatch_size = \"x\"", &[], &["my.toml:2", "train.batch_size", "\"x\"", "a whole"]),
    ("[train]\nbatch_size = -1", &[], &["my.toml:2", "train.batch_size", "-1", "a whole number"]),
    ("[optimizer]\nlr = \"x\"", &[], &["my.toml:2", "optimizer.lr", "\"x\"", "a number"]),
    (
        "[optimizer]\nmomentum = [{ until = \"3ep\", vaule = 0.9 }, { value = 0.8 }]",
        &[],
        &["my.toml:2", "optimizer.momentum: part 1: unknown field `vaule`", "`until`, `value`"],
    ),
    (
        "[train]\nmicrobatch = \"all\"",
        &[],
        &[
            "my.toml:2",
            "train.microbatch",
            "(\"all\") is no number of images; write one such as 64",
        ],
    ),
    ("[run]\nmax_duration = \"8min\"", &[], &["my.toml:2", "run.max_duration", "8min", "\"8ep\""]),
    ("[train.checkpoint]\ninterval = 5", &[], &["my.toml:2", "interval", "as \"5ep\""]),
    ("run = 3", &[], &["my.toml:1", "run", "a table"]),
    ("[data]\nmean = [1, 2, 3, 4]", &[], &["my.toml:2", "data.mean has 4 values and takes 3"]),
    ("[train\nbatch_size = 3", &[], &["my.toml:1"]),
    ("[run]\nseed = 1\nseed = 2", &[], &["my.toml:3", "duplicate"]),
    ("extends = 3", &[], &["my.toml:1", "extends (3)", "extends = \"baseline\""]),
    ("[run]\nseed = 1", &["run.sed=2"], &["--set run.sed=2", "unknown key run.sed", "mean seed?"]),
    ("", &["run.seed"], &["--set run.seed", "section.key=value"]),
    ("", &["data.train.scale=[1,"], &["--set data.train.scale=[1,", "quote strings"]),
];

#[test]
fn a_mistyped_recipe_is_refused_with_file_line_key_and_cure() {
    for (text, overrides, parts) in MISTYPED {
        let message = loaded(text, overrides).unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "{text:?} {overrides:?}: no {part:?} in: {message}");
        }
    }
}

#[test]
fn the_place_is_that_of_the_file_that_has_the_mistake() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("base.toml"), "[run]\nseed = 1\n\n[model]\nbn_esp = 1\n").unwrap();
    fs::write(path("top.toml"), "extends = \"base\"\n[run]\nseed = 2\n").unwrap();
    let top = find(path("top.toml").to_str().unwrap()).unwrap();
    let message = load(&top, &[]).unwrap_err().to_string();
    assert!(message.starts_with(path("base.toml").to_str().unwrap()), "{message}");
    assert!(message.contains("base.toml:5: unknown key model.bn_esp"), "{message}");
}

#[test]
fn a_recipe_extends_another_key_by_key_and_overrides_win() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let middle = "extends = \"optimized\"\n[optimizer]\nlr = 1.5\n";
    fs::write(path("middle.toml"), middle).unwrap();
    fs::write(path("top.toml"), "extends = \"middle.toml\"\n[eval]\ninterval = \"2ep\"\n").unwrap();
    let top = find(path("top.toml").to_str().unwrap()).unwrap();
    let overrides = ["optimizer.momentum=0.9", "algorithms.blurpool=false"].map(str::to_owned);
    let file = load(&top, &overrides).unwrap();
    assert_eq!((file.optimizer.lr, file.optimizer.momentum), (1.5.into(), 0.9.into()));
    assert_eq!(file.eval.interval.to_string(), "2ep");
    assert_eq!((file.data.mean[0], file.run.num_ranks), (0.485, 8), "from optimized, baseline");
    assert_eq!(file.algorithms.blurpool, None);
    assert_eq!(file.run.name, "top");
}

#[test]
fn recipes_below_one_configs_folder_extend_each_other_wherever_it_lies() {
    let folder = TempDir::new().unwrap();
    let demo = folder.path().join("configs/demo");
    fs::create_dir_all(&demo).unwrap();
    fs::write(demo.join("baseline.toml"), "[run]\nseed = 4711\n").unwrap();
    fs::write(demo.join("own.toml"), "extends = \"demo/baseline\"\n").unwrap();
    let own = find(demo.join("own.toml").to_str().unwrap()).unwrap();
    assert_eq!(own.name, "demo/own");
    assert_eq!(load(&own, &[]).unwrap().run.seed, Some(4711));
}

#[test]
fn recipes_in_a_circle_are_refused() {
    let folder = TempDir::new().unwrap();
    for (name, next) in [("a", "b"), ("b", "c"), ("c", "b")] {
        fs::write(folder.path().join(format!("{name}.toml")), format!("extends = \"{next}\""))
            .unwrap();
    }
    let a = find(folder.path().join("a.toml").to_str().unwrap()).unwrap();
    let message = load(&a, &[]).unwrap_err().to_string();
    assert!(message.contains("b -> c -> b"), "{message}");
}

#[test]
fn an_unknown_recipe_is_refused_with_the_known_names() {
    let message = find("optimised.toml").unwrap_err().to_string();
    for part in ["'optimised.toml'", "did you mean 'optimized'?", "demo/baseline"] {
        assert!(message.contains(part), "{message}");
    }
    let message = find("/no/such/file.toml").unwrap_err().to_string();
    assert!(message.contains("/no/such/file.toml") && message.contains("baseline"), "{message}");
    let message = loaded("\nextends = \"nonesuch\"", &[]).unwrap_err().to_string();
    assert!(message.contains("my.toml:2: no recipe 'nonesuch'"), "{message}");
}

#[test]
fn a_recipe_that_cannot_be_read_names_the_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("binary.toml");
    fs::write(&path, [0xff, 0xfe, 0x00]).unwrap();
    let message = find(path.to_str().unwrap()).unwrap_err().to_string();
    assert!(message.contains("binary.toml"), "{message}");
}

/// What is changed in a sound recipe, and what the message must hold: key, value, cure.
const UNSOUND: &[(&[&str], &[&str])] = &[
    (&["run.max_duration=6ep"], &["t_warmup (8ep)", "(6 epochs", "lower scheduler.t_warmup"]),
    (&["run.max_duration=0ep"], &["run.max_duration (0ep)", "less than one epoch", "raise"]),
    (&["run.max_duration=0.5dur"], &["run.max_duration (0.5dur)", "\"90ep\""]),
    (&["run.max_duration=1000000ep"], &["run.max_duration (1000000ep)", "stay within"]),
    (&["run.scale_schedule_ratio=-1"], &["run.scale_schedule_ratio (-1)", "above 0"]),
    (&["run.scale_schedule_ratio=nan"], &["run.scale_schedule_ratio (NaN)"]),
    (&["run.scale_schedule_ratio=0.001"], &["scale_schedule_ratio (0.001)", "less than one"]),
    (&["run.name=../up"], &["run.name ('../up')", "without slashes"]),
    (&["mlperf.target=75.9"], &["mlperf.target (75.9)", "0.759"]),
    (&["mlperf.target=0"], &["mlperf.target (0)"]),
    (&["mlperf.target=1"], &["mlperf.target (1)"]),
    (&["mlperf.ruleset=1.9.0"], &["mlperf.ruleset (1.9.0)", "2.0.0, 2.1.0, 3.0.0, 3.1.0, 4.0.0"]),
    (&["mlperf.status=cloudy"], &["mlperf.status (cloudy)", "cloud, onprem, preview, research"]),
    (&["mlperf.runs=0"], &["mlperf.runs (0)", "1 or more"]),
    (
        &["mlperf.division=closed", "algorithms.blurpool=true"],
        &["division is closed", "decoupled_sgdw", "algorithms.blurpool", "cosine", "\"open\""],
    ),
    (&["model.arch=custom"], &["model.arch is custom", "[model.custom]", "add it"]),
    (
        &["model.custom={block=\"basic\", depths=[1], width=8}"],
        &["[model.custom]", "set model.arch = \"custom\" or remove"],
    ),
    (
        &["model.arch=custom", "model.custom={block=\"basic\", depths=[], width=0}"],
        &["2 problems", "model.custom.width (0)", "model.custom.depths ([])", "one to four"],
    ),
    (
        &["model.arch=custom", "model.custom={block=\"basic\", depths=[1,0], width=8}"],
        &["model.custom.depths ([1, 0])"],
    ),
    (
        &["model.arch=custom", "model.custom={block=\"basic\", depths=[1,1,1,1,1], width=8}"],
        &["model.custom.depths ([1, 1, 1, 1, 1])"],
    ),
    (&["model.num_classes=10"], &["model.num_classes (10)", "(1000)", "set it to 1000"]),
    (&["model.num_classes=1"], &["model.num_classes (1)", "2 or more"]),
    (&["model.bn_momentum=1.5"], &["model.bn_momentum (1.5)", "from 0 to 1"]),
    (&["model.bn_eps=0"], &["model.bn_eps (0)", "above 0"]),
    (&["data.path=/x", "data.synth={}"], &["data.path (/x)", "[data.synth]", "remove one"]),
    (&["data.batches_ahead=0"], &["data.batches_ahead (0)", "from 1 to 256"]),
    (&["data.batches_ahead=257"], &["data.batches_ahead (257)", "from 1 to 256"]),
    (&["data.num_workers=999999"], &["data.num_workers (999999)", "at most 1024"]),
    (&["data.mean=[inf, 0, 0]"], &["data.mean", "finite"]),
    (&["data.std=[1, 1, 0]"], &["data.std", "above 0"]),
    (&["data.train.crop_size=0"], &["data.train.crop_size (0)", "1 to 8192 px"]),
    (&["data.train.scale=[0.5, 0.1]"], &["data.train.scale ([0.5, 0.1])", "exchange"]),
    (&["data.train.scale=[0, 1]"], &["data.train.scale (0)", "above 0"]),
    (&["data.train.scale=[0.1, 2]"], &["data.train.scale", "at most 1"]),
    (&["data.train.ratio=[2, 1]"], &["data.train.ratio ([2, 1])", "exchange"]),
    (&["data.train.hflip=1.5"], &["data.train.hflip (1.5)", "from 0 to 1"]),
    (
        &["data.eval.crop_size=300", "data.eval.geometry=torchvision"],
        &["data.eval.crop_size (300)", "resize_size (256)", "lower crop_size or raise"],
    ),
    (&["data.eval.crop_size=0"], &["data.eval.crop_size (0)"]),
    (&["data.synth.num_classes=1"], &["data.synth.num_classes (1)", "2 or more"]),
    (&["data.synth.num_eval=0"], &["data.synth.num_eval (0)", "1 or more"]),
    (&["data.synth.difficulty=2"], &["data.synth.difficulty (2)", "from 0 to 1"]),
    (&["data.synth.object_size=[0.5, 0.2]"], &["object_size ([0.5, 0.2])", "smaller one first"]),
    (&["train.batch_size=0"], &["train.batch_size (0)", "1 or more"]),
    (&["train.batch_size=2047"], &["train.batch_size (2047)", "8 ranks", "set it to 2048"]),
    (&["train.batch_size=8000000"], &["train.batch_size (8000000)", "(1281167)", "lower"]),
    (&["eval.batch_size=9"], &["eval.batch_size (9)", "8 ranks", "set it to 16"]),
    (&["eval.interval=0ep"], &["eval.interval (0ep)", "above 0"]),
    (&["eval.precision=amp_fp16", "run.device=cpu"], &["eval.precision (amp_fp16)", "is cpu"]),
    (&["eval.precision=fp64"], &["eval.precision (fp64)", "remove the key"]),
    (&["train.precision=amp_fp16", "run.device=cpu"], &["amp_fp16", "run.device is cpu", "fp32"]),
    (&["train.grad_scaler.init_scale=0"], &["train.grad_scaler.init_scale (0)"]),
    (&["train.grad_scaler.growth_interval=0"], &["train.grad_scaler.growth_interval (0)"]),
    (&["train.ddp.bucket_mb=0"], &["train.ddp.bucket_mb (0)"]),
    (&["train.ddp.timeout_s=0"], &["train.ddp.timeout_s (0)"]),
    (&["train.ddp.timeout_s=86401"], &["train.ddp.timeout_s (86401)", "a day"]),
    (&["data.train.crop_size=3000000000"], &["data.train.crop_size (3000000000)", "1 to 8192 px"]),
    (&["data.eval.resize_size=8193"], &["data.eval.resize_size (8193)", "1 to 8192 px"]),
    (&["optimizer.lr=0"], &["optimizer.lr (0)", "above 0"]),
    (&["optimizer.lr=inf"], &["optimizer.lr (inf)"]),
    (&["optimizer.momentum=1"], &["optimizer.momentum (1)", "below 1"]),
    (&["optimizer.weight_decay=-0.1"], &["optimizer.weight_decay (-0.1)"]),
    (&["optimizer.dampening=2"], &["optimizer.dampening (2)"]),
    (
        &["optimizer.nesterov=true", "optimizer.dampening=0.5"],
        &["optimizer.nesterov", "dampening (0.5)", "nesterov = false"],
    ),
    (&["scheduler.alpha_f=-1"], &["scheduler.alpha_f (-1)"]),
    (&["optimizer.eta=0.001"], &["optimizer.eta", "\"decoupled_sgdw\"", "remove it"]),
    (&["optimizer.name=lars", "optimizer.eta=-1"], &["optimizer.eta (-1)", "from 0"]),
    (&["optimizer.name=lars", "optimizer.nesterov=true"], &["optimizer.nesterov", "\"lars\""]),
    (
        &[
            "optimizer.name=lars",
            "optimizer.momentum_correction=false",
            "optimizer.correct_skipped=true",
        ],
        &["optimizer.correct_skipped is true", "momentum_correction = true"],
    ),
    (&["optimizer.name=adamw", "optimizer.betas=[0.9, 1]"], &["optimizer.betas (1)", "below 1"]),
    (&["optimizer.name=muon"], &["[optimizer.others]", "add it"]),
    (
        &["optimizer.name=muon", "optimizer.others={name=\"muon\"}", "optimizer.ns_steps=0"],
        &["optimizer.others.name is muon", "sgd or adamw", "optimizer.ns_steps (0)", "1 to 99"],
    ),
    (
        &["optimizer.name=muon", "optimizer.others={name=\"sgd\", lr=0, eta=1}"],
        &["optimizer.others.lr (0)", "optimizer.others.eta"],
    ),
    (&["scheduler.power=2"], &["scheduler.power", "\"cosine_decay_with_warmup\"", "remove it"]),
    (&["scheduler.name=poly", "scheduler.power=0"], &["scheduler.power (0)", "above 0"]),
    (
        &["scheduler.name=poly", "scheduler.end_lr=1e-4", "scheduler.alpha_f=0.1"],
        &["scheduler.end_lr (0.0001)", "scheduler.alpha_f (0.1)", "remove end_lr"],
    ),
    (&["scheduler.name=multistep"], &["no scheduler.milestones", "add them"]),
    (
        &["mlperf.division=closed", "optimizer.name=lars", "scheduler.name=poly"],
        &["optimizer.weight_decay", "power of 2", "scheduler.end_lr other than 0.0001"],
    ),
    (&["algorithms.label_smoothing.smoothing=1"], &["label_smoothing.smoothing (1)", "below 1"]),
    (
        &[
            "data.train.crop_size=[{until=\"30ep\", value=96}, {until=\"20ep\", value=128}, {value=224}]",
        ],
        &[
            "data.train.crop_size: until (\"20ep\") of part 2",
            "(\"30ep\"); sort the parts by until",
        ],
    ),
    (
        &["algorithms.blurpool={replace_convs=false, replace_maxpools=false}"],
        &["algorithms.blurpool changes nothing", "remove the table"],
    ),
    (
        &["algorithms.blurpool={replace_maxpools=false, min_channels=4000}"],
        &["algorithms.blurpool changes nothing", "min_channels (4000)", "has 1024", "lower"],
    ),
];

/// NVIDIA's closed recipe, as far as update rule and schedule go.
const CLOSED: [&str; 13] = [
    "mlperf.division=closed",
    "run.max_duration=37ep",
    "train.batch_size=3264",
    "data.drop_last=false",
    "optimizer.name=lars",
    "optimizer.lr=10.5",
    "optimizer.momentum=0.9",
    "optimizer.weight_decay=5e-5",
    "scheduler.name=poly",
    "scheduler.t_warmup=2ep",
    "scheduler.power=2",
    "scheduler.end_lr=1e-4",
    "scheduler.step_offset=1",
];

#[test]
fn nvidias_closed_rates_are_planned_and_its_constants_written_out() {
    let file = loaded("", &CLOSED).unwrap();
    let recipe = Recipe::resolve(file, &imagenet(8)).unwrap();
    let plan = Plan::of(&recipe);
    assert_eq!((plan.total_steps, plan.warmup_steps), (14_541, 786));
    assert!((plan.rows[0].lr_first - 10.5 / 786.0).abs() < 1e-12);
    assert!((plan.rows[1].lr_last - 10.5).abs() < 1e-12);
    assert!((plan.rows[36].lr_last - 1e-4).abs() < 1e-12);
    let text = recipe.to_toml();
    for line in [
        "no_decay = [\"bn\", \"bias\"]",
        "eta = 0.001",
        "skip = [\"bn\", \"bias\"]",
        "momentum_correction = true",
        "decay_fc_bias = true",
    ] {
        assert!(text.lines().any(|l| l == line), "no {line} in\n{text}");
    }
}

#[test]
fn every_rule_and_schedule_survives_being_written_out() {
    let rules = [
        "name=\"sgd\"",
        "name=\"decoupled_sgdw\"",
        "name=\"lars\", momentum_correction=false",
        "name=\"adamw\", betas=[0.8, 0.99]",
        "name=\"decoupled_adamw\"",
        "name=\"lamb\"",
        "name=\"muon\", others={name=\"adamw\", lr=1e-3}",
    ];
    let schedules = [
        "name=\"poly\"",
        "name=\"linear\"",
        "name=\"triangular\"",
        "name=\"multistep\", milestones=[\"30ep\", \"0.9dur\"]",
        "name=\"one_cycle\"",
        "name=\"constant\"",
        "name=\"cosine_decay_with_warmup\"",
    ];
    for (rule, schedule) in rules.iter().zip(schedules) {
        let overrides = [format!("optimizer={{{rule}}}"), format!("scheduler={{{schedule}}}")];
        let file = loaded("", &[&overrides[0], &overrides[1]]).unwrap();
        let recipe = Recipe::resolve(file, &imagenet(8)).unwrap();
        let again = loaded(&recipe.to_toml(), &[]).unwrap();
        let again = Recipe::resolve(again, &imagenet(8)).unwrap();
        assert_eq!(again.optimizer, recipe.optimizer);
        assert_eq!(again.scheduler, recipe.scheduler);
    }
}

#[test]
fn an_unsound_recipe_is_refused_with_key_value_and_cure() {
    for (overrides, parts) in UNSOUND {
        let file = loaded("", overrides).unwrap();
        let message = Recipe::resolve(file, &imagenet(8)).unwrap_err().to_string();
        assert!(message.starts_with("invalid recipe: "), "{message}");
        for part in *parts {
            assert!(message.contains(part), "{overrides:?}: no {part:?} in: {message}");
        }
    }
}

#[test]
fn what_stands_beside_the_refused_is_taken() {
    for overrides in [
        &["model.initializers=[]"][..],
        &["run.max_duration=8ep"],
        &["model.num_classes=1000"],
        &["train.precision=amp_bf16", "run.device=cpu"],
        &["train.precision=amp_fp16", "run.device=cuda"],
        &["data.eval.crop_size=256"],
        &["algorithms.label_smoothing.smoothing=0"],
        &["algorithms.blurpool={replace_maxpools=false, min_channels=1024}"],
        &["algorithms.blurpool={replace_convs=false}"],
        &["eval.batch_size=8"],
    ] {
        let file = loaded("", overrides).unwrap();
        let result = Recipe::resolve(file, &imagenet(8));
        assert!(result.is_ok(), "{overrides:?}: {}", result.unwrap_err());
    }
}

#[test]
fn a_data_set_that_cannot_be_trained_on_is_refused() {
    for (run_context, part) in [
        (RunContext { num_classes: 1, ..imagenet(1) }, "has 1 class"),
        (RunContext { num_eval: 0, ..imagenet(1) }, "no validation images"),
        (RunContext { num_train: 2047, ..imagenet(1) }, "exceeds the training images (2047)"),
        (imagenet(0), "no ranks (0)"),
    ] {
        let message = Recipe::resolve(RecipeFile::default(), &run_context).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
}

mod odd_numbers {
    use mlperf_run::optim::Time;
    use proptest::prelude::*;

    use super::*;

    fn real() -> impl Strategy<Value = f64> {
        let plain = prop::sample::select(vec![0.0, 0.5, 1.0, -1.0, 3.0, f64::NAN, f64::INFINITY]);
        prop_oneof![4 => plain, 1 => any::<f64>()]
    }

    fn count() -> impl Strategy<Value = usize> {
        let plain = prop::sample::select(vec![0, 1, 2, 4, 8, 64, 1000, usize::MAX]);
        prop_oneof![6 => plain, 1 => any::<usize>()]
    }

    fn time() -> impl Strategy<Value = Time> {
        prop_oneof![
            real().prop_map(Time::Epochs),
            // No text makes another share.
            (0.0..=1.0).prop_map(Time::Fraction),
            count().prop_map(|n| Time::Steps(n as u64)),
            count().prop_map(|n| Time::Samples(n as u64)),
        ]
    }

    /// Breaks the field that `which` names.
    fn change(file: &mut RecipeFile, which: usize, (n, x, t): (usize, f64, Time)) {
        match which {
            0 => file.run.max_duration = t,
            1 => file.run.scale_schedule_ratio = x,
            2 => file.scheduler.t_warmup = t,
            3 => file.eval.interval = t,
            4 => file.eval.start = t,
            5 => file.train.batch_size = n,
            6 => file.eval.batch_size = n,
            7 => file.run.seed = Some(n as u64),
            8 => file.run.scale_warmup = !file.run.scale_warmup,
            9 => file.optimizer.lr = x.into(),
            10 => file.data.train.crop_size = n.into(),
            11 => file.data.eval.resize_size = n,
            12 => file.scheduler.alpha_f = x,
            _ => file.data.train.scale = [x, 1.0].into(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 2000,
            failure_persistence: None,
            ..ProptestConfig::default()
        })]
        #[test]
        fn resolve_never_panics_and_what_it_takes_can_be_planned_and_written(
            changes in prop::collection::vec((0_usize..14, (count(), real(), time())), 0..4),
            (world_size, num_classes, num_train, num_eval) in (count(), count(), count(), count()),
        ) {
            let mut file = RecipeFile::default();
            file.run.name = "odd".to_owned();
            file.run.seed = Some(1);
            file.train.batch_size = 64;
            for (which, value) in changes {
                change(&mut file, which, value);
            }
            let run_context = RunContext { world_size, num_classes, num_train, num_eval };
            if let Ok(recipe) = Recipe::resolve(file, &run_context) {
                prop_assert_eq!(Plan::of(&recipe).rows.len(), recipe.run_length.num_epochs);
                let again = loaded(&recipe.to_toml(), &[]).unwrap();
                prop_assert!(Recipe::resolve(again, &run_context).unwrap().to_file() == recipe.to_file());
            }
        }
    }
}
