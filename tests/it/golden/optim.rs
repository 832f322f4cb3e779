//! Losses, schedules and update rules.

use mlperf_run::{
    algorithms::{LabelSmoothing, Spread},
    optim::{LossName, Optimizer, OptimizerConfig, OptimizerName, mean_loss},
};
use serde_json::Value;
use tch::{Kind, Tensor};

use super::{deviation, read, shape, tensor};

#[test]
fn losses_and_their_gradients_agree() {
    for case in read("losses")["cases"].as_array().unwrap() {
        let classes = case["logits"][0].as_array().unwrap().len();
        let labels = Tensor::from_slice(&shape(&case["labels"]));
        let smoothing = case["smoothing"].as_f64().unwrap();
        let targets =
            |spread| LabelSmoothing { smoothing, spread }.targets(&labels, classes, Kind::Double);
        let all = targets(Spread::All);
        assert!(deviation(&all, &tensor(&case["smoothed_targets"])) < 1e-9);
        let ce = LossName::SoftCrossEntropy;
        let bce = LossName::BinaryCrossEntropyWithLogits;
        for (name, targets, prefix, gradient) in [
            (bce, &all, "bce_loss", "bce_grad_logits"),
            (ce, &all, "ce_loss", "ce_grad_logits"),
            (ce, &targets(Spread::Others), "mxnet_ce_loss", "mxnet_ce_grad_logits_mean"),
        ] {
            let logits = tensor(&case["logits"]).set_requires_grad(true);
            let loss = mean_loss(name, &logits, targets);
            let found = f64::try_from(&loss).unwrap();
            assert!((found - case[prefix].as_f64().unwrap()).abs() < 1e-9, "{prefix} {found}");
            loss.backward();
            assert!(deviation(&logits.grad(), &tensor(&case[gradient])) < 1e-9, "{gradient}");
        }
    }
}

#[test]
fn bce_starts_where_the_log_constant_bias_puts_it() {
    let golden = read("losses");
    let at = &golden["bce_at_log_constant_bias_init"];
    let classes = at["num_classes"].as_i64().unwrap();
    let logits =
        Tensor::full([3, classes], at["logit"].as_f64().unwrap(), (Kind::Double, tch::Device::Cpu));
    let labels = Tensor::from_slice(&[0i64, 1, 2]);
    let smoothing =
        LabelSmoothing { smoothing: at["smoothing"].as_f64().unwrap(), spread: Spread::All };
    let targets = smoothing.targets(&labels, classes as usize, Kind::Double);
    for (name, key) in [
        (LossName::BinaryCrossEntropyWithLogits, "bce_loss"),
        (LossName::SoftCrossEntropy, "ce_loss"),
    ] {
        let found = f64::try_from(mean_loss(name, &logits, &targets)).unwrap();
        assert!((found - at[key].as_f64().unwrap()).abs() < 1e-6, "{key} {found}");
    }
}

#[test]
fn sgd_coupled_and_decoupled_agree_over_changing_rates() {
    for case in read("sgdw")["cases"].as_array().unwrap() {
        let number = |key: &str| case[key].as_f64().unwrap();
        let name = match case["optimizer"].as_str().unwrap() {
            "DecoupledSGDW" => OptimizerName::DecoupledSgdw,
            _ => OptimizerName::Sgd,
        };
        let config = OptimizerConfig {
            name,
            lr: number("initial_lr"),
            momentum: number("momentum"),
            weight_decay: number("weight_decay"),
            dampening: number("dampening"),
            nesterov: case["nesterov"].as_bool().unwrap(),
            no_decay: Vec::new(),
        };
        run_steps(&config, case);
    }
}

fn run_steps(config: &OptimizerConfig, case: &Value) {
    let weight = tensor(&case["weight0"]).set_requires_grad(true);
    let named = [("fc.weight".to_owned(), weight.shallow_clone())];
    let mut optimizer = Optimizer::new(config, &named).unwrap();
    for step in case["steps"].as_array().unwrap() {
        // The gradient of sum(w g) is g.
        (&weight * tensor(&step["grad"])).sum(Kind::Double).backward();
        optimizer.step(step["lr"].as_f64().unwrap()).unwrap();
        assert!(deviation(&weight, &tensor(&step["weight"])) < 1e-9, "{config:?} {step}");
        if config.momentum != 0.0 {
            let momenta = optimizer.momenta().unwrap();
            assert!(deviation(&momenta[0], &tensor(&step["momentum_buffer"])) < 1e-9, "{config:?}");
        }
    }
}
