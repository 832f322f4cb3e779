//! Learning rates by step, sample orders, and what follows from a recipe's numbers.

use mlperf_run::{
    data::{EvalTransform, Order, Sampler, Shard, eval_plans},
    optim::{RunLength, Schedule, ScheduleConfig},
    recipe::{MlperfConfig, Recipe, RecipeFile, RunContext},
};
use serde_json::Value;

use super::{committed, read};

fn count(value: &Value, key: &str) -> usize {
    value[key].as_u64().unwrap_or_else(|| panic!("no {key} in {value}")) as usize
}

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("no {key} in {value}"))
}

/// The `[scheduler]` of a golden schedule, and the number of its first step.
fn scheduler(golden: &Value) -> (ScheduleConfig, usize) {
    let poly = |offsets: &str| {
        let (end_lr, power) = (number(golden, "end_lr"), number(golden, "power"));
        let warmup = count(golden, "warmup_epochs");
        format!(
            "name = \"poly\"\nt_warmup = \"{warmup}ep\"\nend_lr = {end_lr}\npower = {power}\n{offsets}"
        )
    };
    let (text, first) = match golden["kind"].as_str().unwrap() {
        "cosine_decay_with_warmup" => {
            let (warmup, alpha_f) = (golden["t_warmup"].as_str().unwrap(), &golden["alpha_f"]);
            (format!("t_warmup = \"{warmup}\"\nalpha_f = {alpha_f}"), 0)
        }
        "mxnet_poly2" => (poly("step_offset = 1"), 1),
        "tf2_poly2" => (poly("decay_offset = 1"), 0),
        "ffcv_cyclic(triangular)" => {
            let warmup = count(golden, "lr_peak_epoch");
            (format!("name = \"triangular\"\nt_warmup = \"{warmup}ep\""), 0)
        }
        other => panic!("no such schedule here: {other}"),
    };
    (toml::from_str(&text).unwrap(), first)
}

#[test]
fn learning_rates_of_all_published_recipes_agree() {
    for golden in read("lr_schedule")["schedules"].as_array().unwrap() {
        let name = golden["name"].as_str().unwrap();
        let epochs = ["effective_epochs", "num_epochs", "epochs"];
        let epochs = epochs.into_iter().find(|key| golden[*key].is_u64()).unwrap();
        let run_length = RunLength {
            steps_per_epoch: count(golden, "steps_per_epoch"),
            num_epochs: count(golden, epochs),
            batch_size: 1,
        };
        let ((config, first), base_lr) = (scheduler(golden), number(golden, "base_lr"));
        let schedule = Schedule::new(&config, base_lr, &run_length);
        for (key, ours) in [
            ("warmup_steps", schedule.warmup_steps()),
            ("total_steps", run_length.total_steps()),
            ("decay_steps", schedule.decay_steps()),
        ] {
            assert!(golden[key].is_null() || golden[key] == ours, "{name}: {key} {ours}");
        }
        let rows = golden["values"].as_array().unwrap();
        assert!(!rows.is_empty(), "{name}");
        for row in rows {
            let row = row.as_array().unwrap();
            let step = row[0].as_u64().unwrap() as usize - first;
            let (ours, theirs) = (schedule.lr(step), row.last().unwrap().as_f64().unwrap());
            assert!((ours - theirs).abs() <= 1e-11 * base_lr, "{name} {step}: {ours} {theirs}");
        }
    }
}

#[test]
fn learning_rates_of_torchs_schedulers_agree() {
    for golden in committed("optimizers")["schedules"].as_array().unwrap() {
        let config: ScheduleConfig = serde_json::from_value(golden["scheduler"].clone()).unwrap();
        let run_length = RunLength {
            steps_per_epoch: 1,
            num_epochs: count(golden, "total_steps"),
            batch_size: 1,
        };
        let schedule = Schedule::new(&config, number(golden, "base_lr"), &run_length);
        for (step, theirs) in golden["lr"].as_array().unwrap().iter().enumerate() {
            let (ours, theirs) = (schedule.lr(step), theirs.as_f64().unwrap());
            assert!((ours - theirs).abs() < 1e-12, "{config:?} {step}: {ours} {theirs}");
        }
    }
}

fn order(num_samples: usize, shard: Shard, seed: u64, epoch: usize) -> Vec<u32> {
    Sampler::new(num_samples, shard, seed).ordered(Order::Torch).epoch_order(epoch)
}

#[test]
fn the_torch_order_is_that_of_distributed_sampler() {
    let numbers = |value: &Value| serde_json::from_value::<Vec<u32>>(value.clone()).unwrap();
    for case in read("sampler")["cases"].as_array().unwrap() {
        let (num_samples, world_size) = (count(case, "dataset_size"), count(case, "world_size"));
        let (seed, epoch) = (case["seed"].as_u64().unwrap(), count(case, "epoch"));
        let whole = order(num_samples, Shard { rank: 0, world_size: 1 }, seed, epoch);
        assert_eq!(whole, numbers(&case["permutation"]), "{case}");
        for rank in 0..world_size {
            let part = order(num_samples, Shard { rank, world_size }, seed, epoch);
            assert_eq!(part, numbers(&case["per_rank"][rank]), "rank {rank} of {case}");
        }
    }
}

#[test]
fn imagenet_is_permuted_as_torch_does_it() {
    for golden in read("sampler")["randperm"].as_array().unwrap() {
        let numbers = |key: &str| serde_json::from_value::<Vec<u32>>(golden[key].clone()).unwrap();
        let (n, seed) = (count(golden, "n"), golden["seed"].as_u64().unwrap());
        let found = order(n, Shard { rank: 0, world_size: 1 }, seed, 0);
        assert!(found.starts_with(&numbers("first")), "seed {seed}");
        assert!(found.ends_with(&numbers("last")), "seed {seed}");
        let weighted = found.iter().enumerate().map(|(i, p)| u64::from(*p) * (i % 997) as u64);
        let sum = weighted.fold(0, u64::wrapping_add) % (1 << 32);
        assert_eq!(sum, golden["weighted_sum_mod_2_32"], "seed {seed}");
    }
}

/// The recipe of a golden run. NVIDIA's runs fill an epoch's last batch.
fn recipe(golden: &Value) -> Recipe {
    let mut file = RecipeFile::default();
    let composer = golden["max_duration"].is_u64();
    let epochs = count(golden, if composer { "max_duration" } else { "num_epochs" });
    file.run.max_duration = format!("{epochs}ep").parse().unwrap();
    file.run.scale_schedule_ratio = golden["scale_schedule_ratio"].as_f64().unwrap_or(1.0);
    file.train.batch_size = count(golden, "global_batch");
    file.data.order = Order::Torch;
    file.data.drop_last = composer;
    let steps = count(golden, "steps_per_epoch");
    file.scheduler.t_warmup = format!("{}ba", count(golden, "warmup_steps")).parse().unwrap();
    if let Some(epochs) = golden["warmup_epochs"].as_u64() {
        assert_eq!(epochs as usize * steps, count(golden, "warmup_steps"));
        file.scheduler.t_warmup = format!("{epochs}ep").parse().unwrap();
    }
    let run_context = RunContext {
        world_size: count(golden, "world_size"),
        num_classes: 1000,
        num_train: count(golden, "dataset"),
        num_eval: golden["eval_samples"].as_u64().unwrap_or(50_000) as usize,
    };
    Recipe::resolve(file, &run_context).unwrap()
}

#[test]
fn counts_that_follow_from_published_recipes_agree() {
    for (name, golden) in read("derived")["runs"].as_object().unwrap() {
        let recipe = recipe(golden);
        let RunContext { world_size, num_train, num_eval, .. } = recipe.run_context;
        let shard = Shard { rank: 0, world_size };
        let samples = Sampler::new(num_train, shard, 0).ordered(Order::Torch).train_len();
        let eval = Sampler::new(num_eval, shard, 0);
        let evals = eval_plans(&eval, recipe.eval_batch_per_rank, EvalTransform::default()).count();
        let run_length = recipe.run_length;
        for (key, ours) in [
            ("device_batch", recipe.batch_per_rank),
            ("samples_per_rank", samples),
            ("logged_train_samples", samples * world_size),
            ("steps_per_epoch", run_length.steps_per_epoch),
            ("effective_epochs", run_length.num_epochs),
            ("total_steps", run_length.total_steps()),
            ("warmup_steps", recipe.schedule.warmup_steps()),
            ("samples_seen_per_epoch", run_length.steps_per_epoch * run_length.batch_size),
            ("eval_batches_per_rank", evals),
        ] {
            assert!(golden[key].is_null() || golden[key] == ours, "{name}: {key} is {ours} here");
        }
    }
}

#[test]
fn a_run_stops_above_the_target_and_not_at_it() {
    for case in read("derived")["target_logic"].as_array().unwrap() {
        let config = MlperfConfig { target: number(case, "target"), ..MlperfConfig::default() };
        let evals = case["evals"].as_array().unwrap();
        let stop = evals.iter().find(|eval| config.is_reached(eval[1].as_f64().unwrap()));
        assert_eq!(stop.map_or(&Value::Null, |eval| &eval[0]), &case["run_stop_epoch"], "{case}");
    }
}
