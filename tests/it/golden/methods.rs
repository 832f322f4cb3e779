//! The speed-up methods as `MosaicML`'s Composer 0.7.0 computed them.

use mlperf_run::{
    algorithms::{
        Algorithm, Batch, DropDistribution, Next, Progress, ProgressiveResizing, ResizeOn,
        Resolution, Sam, SamAlgorithm, SelectiveBackprop, StochasticDepth, ema_smoothing, mixup,
        resize_nearest,
    },
    libtorch::TensorList,
    optim::{Optimizer, OptimizerConfig, OptimizerName, RunLength, Time},
};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use super::{
    read,
    tensors::{deviation, shape, tensor},
};

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("{key} of {value}"))
}

/// Steps of a length such as `100ba`, epochs being of 10 steps.
fn steps(value: &Value, key: &str) -> usize {
    let run_length = RunLength { steps_per_epoch: 10, num_epochs: 9, batch_size: 1 };
    value[key].as_str().unwrap().parse::<Time>().unwrap().to_steps(&run_length)
}

/// FFCV's form: the side by epoch, between two epochs.
fn follows_the_ramp(schedule: &Value) {
    let image_size = |key| number(schedule, key) as usize;
    let method = Resolution {
        min_res: image_size("min_res"),
        max_res: image_size("max_res"),
        start_ramp: image_size("start_ramp"),
        end_ramp: image_size("end_ramp"),
        increment: 32,
    };
    for row in schedule["sizes"].as_array().unwrap() {
        let (epoch, image_size) = (row[0].as_u64().unwrap(), row[1].as_u64().unwrap());
        assert_eq!(method.image_size(epoch as usize) as u64, image_size, "epoch {epoch}");
    }
}

#[test]
fn sides_follow_the_published_schedules() {
    for schedule in read("progressive_resizing")["schedules"].as_array().unwrap() {
        if schedule.get("min_res").is_some() {
            follows_the_ramp(schedule);
            continue;
        }
        let method = ProgressiveResizing {
            initial_scale: number(schedule, "initial_scale"),
            delay_fraction: number(schedule, "delay_fraction"),
            finetune_fraction: number(schedule, "finetune_fraction"),
            size_increment: number(schedule, "size_increment") as usize,
            resize_on: ResizeOn::DeviceNearest,
        };
        let (width, total) = (number(schedule, "width") as usize, number(schedule, "total"));
        for row in schedule["sizes"].as_array().unwrap() {
            let (at, image_size) = (row[0].as_f64().unwrap(), row[1].as_u64().unwrap());
            let found = method.image_size(width, at / total);
            assert_eq!(found as u64, image_size, "{} at {at} of {total}", schedule["name"]);
        }
    }
}

#[test]
fn pixels_are_dropped_as_torch_drops_them() {
    let golden = read("progressive_resizing");
    for case in golden["resize_batch"].as_array().unwrap() {
        let images = tensor(&case["input"]).reshape(shape(&case["input_shape"]));
        let wanted = tensor(&case["output"]).reshape(shape(&case["output_shape"]));
        let [image_size, width] = [&wanted, &images].map(|t| t.size()[3] as f64);
        // Ours are square, and asked for a whole number of pixels.
        let is_square = images.size()[2] == images.size()[3];
        if is_square && (image_size / width - number(case, "scale_factor")).abs() < 1e-12 {
            assert!(deviation(&resize_nearest(&images, image_size as usize), &wanted) < 1e-9);
        }
    }
    for map in golden["nearest_index_maps"].as_array().unwrap() {
        let image_size = |key| map[key].as_u64().unwrap() as usize;
        if image_size("dst_asked") != image_size("dst_made") {
            continue;
        }
        let row = Tensor::arange(image_size("src") as i64, (Kind::Double, Device::Cpu));
        let image = row.expand([1, 1, image_size("src") as i64, -1], false);
        let found = resize_nearest(&image, image_size("dst_made")).select(2, 0).flatten(0, -1);
        assert!(deviation(&found, &tensor(&map["source_index"])) < 1e-9, "{map}");
    }
}

#[test]
fn the_moving_average_moves_as_published() {
    let golden = read("ema");
    for case in golden["coefficients"].as_array().unwrap() {
        let found = ema_smoothing(steps(case, "update_interval"), steps(case, "half_life"));
        assert!((found - number(case, "smoothing")).abs() < 1e-12, "{case}");
    }
    for run in golden["runs"].as_array().unwrap() {
        let smoothing = ema_smoothing(steps(run, "update_interval"), steps(run, "half_life"));
        let updates = run["updates"].as_array().unwrap();
        // Counters are no tensors of ours.
        let names = updates[0]["ema"].as_object().unwrap().keys();
        let names: Vec<_> = names.filter(|name| !name.ends_with("num_batches_tracked")).collect();
        let tensors =
            |set: &Value| names.iter().map(|name| tensor(&set[*name])).collect::<Vec<_>>();
        let average = tensors(&updates[0]["ema"]);
        let list = TensorList::new(&average).unwrap();
        for update in &updates[1..] {
            let weights = TensorList::new(&tensors(&update["model"])).unwrap();
            list.lerp(&weights, 1.0 - smoothing).unwrap();
            for (found, wanted) in average.iter().zip(tensors(&update["ema"])) {
                assert!(deviation(found, &wanted) < 1e-9, "batch {}", update["batch"]);
            }
        }
    }
}

#[test]
fn images_and_targets_are_mixed_alike() {
    let golden = read("composer_methods");
    for case in golden["mixup"].as_array().unwrap() {
        let targets = tensor(&case["target_if_not_interpolate_loss"]);
        let labels = tensor(&case["labels"]).to_kind(Kind::Int64);
        let one_hot = labels.one_hot(targets.size()[1]).to_kind(Kind::Double);
        let order = tensor(&case["indices"]).to_kind(Kind::Int64);
        let batch = Batch { images: tensor(&case["input"]), labels, targets: one_hot };
        let mixed = mixup(batch, number(case, "mixing"), &order);
        assert!(deviation(&mixed.images, &tensor(&case["mixed_input"])) < 1e-9, "{case}");
        assert!(deviation(&mixed.targets, &targets) < 1e-9, "{case}");
    }
}

#[test]
fn sam_steps_by_the_gradient_of_a_higher_place() {
    let case = &read("composer_methods")["sam"];
    let (a, b) = (tensor(&case["a"]), tensor(&case["b"]));
    let weight = tensor(&case["w0"]).set_requires_grad(true);
    let backward = || (&a * weight.square() / 2.0 + &b * &weight).sum(Kind::Double).backward();
    let config = OptimizerConfig {
        name: OptimizerName::Sgd,
        momentum: number(&case["sgd"], "momentum").into(),
        weight_decay: 0.0.into(),
        ..OptimizerConfig::default()
    };
    let named = [("fc.weight".to_owned(), weight.shallow_clone())];
    let mut optimizer = Optimizer::new(&config, &named).unwrap();
    let (rho, epsilon) = (number(case, "rho"), number(case, "epsilon"));
    let config = Sam { rho, epsilon, interval: number(case, "interval") as usize };
    let mut sam = SamAlgorithm::new(&config, &TensorList::new([&weight]).unwrap()).unwrap();
    for (step, wanted) in case["weights_after_each_step"].as_array().unwrap().iter().enumerate() {
        backward();
        let now = Progress { step, epoch: 0 };
        while sam.after_backward(now, &mut optimizer).unwrap() == Next::BackwardAgain {
            backward();
        }
        optimizer.set_lr(number(&case["sgd"], "lr"));
        optimizer.step().unwrap();
        assert!(deviation(&weight, &tensor(wanted)) < 1e-9, "step {step}");
    }
}

#[test]
fn images_are_selected_when_composer_selects() {
    for case in read("composer_methods")["selective_backprop"].as_array().unwrap() {
        let method = SelectiveBackprop {
            start: number(case, "start"),
            end: number(case, "end"),
            keep: number(case, "keep"),
            interrupt: number(case, "interrupt") as usize,
        };
        let selects = method.selects(number(case, "duration"), number(case, "batch") as usize);
        assert_eq!(selects, case["runs"].as_bool().unwrap(), "{case}");
    }
}

#[test]
fn blocks_are_left_out_as_often_as_in_composer() {
    let golden = &read("composer_methods")["stochastic_depth_resnet50"];
    for (name, distribution) in
        [("linear", DropDistribution::Linear), ("uniform", DropDistribution::Uniform)]
    {
        let rates = golden[name].as_array().unwrap();
        let drop_rate = rates.last().unwrap()[1].as_f64().unwrap();
        let method = StochasticDepth { drop_rate, distribution, ..StochasticDepth::default() };
        for (found, wanted) in method.rates(rates.len()).into_iter().zip(rates) {
            assert!((found - wanted[1].as_f64().unwrap()).abs() < 1e-12, "{name}: {wanted}");
        }
    }
}
