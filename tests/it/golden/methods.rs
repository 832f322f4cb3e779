//! The speed-up methods as `MosaicML`'s Composer 0.7.0 computed them.

use mlperf_run::{
    algorithms::{ProgressiveResizing, ResizeOn, Resolution, ema_smoothing, resize_nearest},
    dist::c10d::TensorList,
    optim::{Horizon, Time},
};
use serde_json::Value;
use tch::{Kind, Tensor};

use super::{
    read,
    tensors::{deviation, shape, tensor},
};

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("{key} of {value}"))
}

/// Steps of a length such as `100ba`, epochs being of 10 steps.
fn steps(value: &Value, key: &str) -> usize {
    let horizon = Horizon { steps_per_epoch: 10, num_epochs: 9, batch_size: 1 };
    value[key].as_str().unwrap().parse::<Time>().unwrap().to_steps(&horizon)
}

/// FFCV's form: the side by epoch, between two epochs.
fn follows_the_ramp(schedule: &Value) {
    let side = |key| number(schedule, key) as usize;
    let method = Resolution {
        min_res: side("min_res"),
        max_res: side("max_res"),
        start_ramp: side("start_ramp"),
        end_ramp: side("end_ramp"),
        increment: 32,
    };
    for row in schedule["sizes"].as_array().unwrap() {
        let (epoch, side) = (row[0].as_u64().unwrap(), row[1].as_u64().unwrap());
        assert_eq!(method.side(epoch as usize) as u64, side, "epoch {epoch}");
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
            let (at, side) = (row[0].as_f64().unwrap(), row[1].as_u64().unwrap());
            let found = method.side(width, at / total);
            assert_eq!(found as u64, side, "{} at {at} of {total}", schedule["name"]);
        }
    }
}

#[test]
fn pixels_are_dropped_as_torch_drops_them() {
    let golden = read("progressive_resizing");
    for case in golden["resize_batch"].as_array().unwrap() {
        let images = tensor(&case["input"]).reshape(shape(&case["input_shape"]));
        let wanted = tensor(&case["output"]).reshape(shape(&case["output_shape"]));
        let [side, width] = [&wanted, &images].map(|t| t.size()[3] as f64);
        // Ours are square, and asked for a whole number of pixels.
        let is_square = images.size()[2] == images.size()[3];
        if is_square && (side / width - number(case, "scale_factor")).abs() < 1e-12 {
            assert!(deviation(&resize_nearest(&images, side as usize), &wanted) < 1e-9);
        }
    }
    for map in golden["nearest_index_maps"].as_array().unwrap() {
        let side = |key| map[key].as_u64().unwrap() as usize;
        if side("dst_asked") != side("dst_made") {
            continue;
        }
        let row = Tensor::arange(side("src") as i64, (Kind::Double, tch::Device::Cpu));
        let image = row.expand([1, 1, side("src") as i64, -1], false);
        let found = resize_nearest(&image, side("dst_made")).select(2, 0).flatten(0, -1);
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
