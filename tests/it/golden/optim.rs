//! Losses, schedules and update rules.

use mlperf_run::{
    algorithms::Spread,
    optim::{AdjustLr, LossName, LossScaler, Optimizer, OptimizerConfig, OptimizerName, mean_loss},
};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use super::{
    committed, read,
    tensors::{deviation, shape, tensor},
};

#[test]
fn losses_and_their_gradients_agree() {
    for case in read("losses")["cases"].as_array().unwrap() {
        let classes = case["logits"][0].as_array().unwrap().len();
        let labels = Tensor::from_slice(&shape(&case["labels"]));
        let smoothing = case["smoothing"].as_f64().unwrap();
        let targets = |spread: Spread| spread.targets(&labels, smoothing, (classes, Kind::Double));
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
    let smoothing = at["smoothing"].as_f64().unwrap();
    let targets = Spread::All.targets(&labels, smoothing, (classes as usize, Kind::Double));
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
            lr: number("initial_lr").into(),
            momentum: number("momentum").into(),
            weight_decay: number("weight_decay").into(),
            dampening: number("dampening"),
            nesterov: case["nesterov"].as_bool().unwrap(),
            ..OptimizerConfig::default()
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
        optimizer.set_lr(step["lr"].as_f64().unwrap());
        optimizer.step().unwrap();
        assert!(deviation(&weight, &tensor(&step["weight"])) < 1e-9, "{config:?} {step}");
        if config.momentum.peak() != 0.0 {
            let state = optimizer.state().unwrap();
            assert!(deviation(&state[0], &tensor(&step["momentum_buffer"])) < 1e-9, "{config:?}");
        }
    }
}

/// torch's name of a parameter that is named as in `MXNet`.
fn torch_name(name: &str) -> String {
    let (layer, kind) = name.split_once('_').unwrap();
    let layer = if layer.starts_with("fc") { "fc" } else { layer };
    let kind = match kind {
        "gamma" => "weight",
        "beta" => "bias",
        other => other,
    };
    format!("{layer}.{kind}")
}

/// Leaves `grads` as the gradients of `named`: the gradient of sum(w g) is g.
fn backward(named: &[(String, Tensor)], grads: &[Tensor]) {
    let products = named.iter().zip(grads).map(|((_, w), g)| (w * g).sum(Kind::Double));
    products.reduce(|a, b| a + b).unwrap().backward();
}

#[test]
fn lars_agrees_in_all_published_variants() {
    let golden = read("lars");
    let epsilon = |key: &str| golden["epsilon"][key].as_f64().unwrap();
    for (variant, steps) in golden["runs"].as_object().unwrap() {
        let keys = match variant.as_str() {
            "mlperf_tf2" => format!(
                "momentum_correction = false\ndecay_fc_bias = false\nepsilon = {}",
                epsilon("mlperf_tf2")
            ),
            "mxnet_fastlars_v2" => {
                format!("no_decay = []\ncorrect_skipped = false\nepsilon = {}", epsilon("others"))
            }
            _ => format!("epsilon = {}", epsilon("others")),
        };
        let [eta, wd, momentum] = ["eta", "weight_decay", "momentum"].map(|key| &golden[key]);
        let text = format!(
            "name = \"lars\"\neta = {eta}\nweight_decay = {wd}\nmomentum = {momentum}\n{keys}"
        );
        lars_steps(variant, &toml::from_str(&text).unwrap(), &golden["params"], steps);
    }
}

fn lars_steps(variant: &str, config: &OptimizerConfig, params: &Value, steps: &Value) {
    let named = params.as_array().unwrap().iter().map(|param| {
        let weight = tensor(&param["w"]).set_requires_grad(true);
        (torch_name(param["name"].as_str().unwrap()), weight)
    });
    let named: Vec<(String, Tensor)> = named.collect();
    let mut optimizer = Optimizer::new(config, &named).unwrap();
    for (number, step) in steps.as_array().unwrap().iter().enumerate() {
        let grads: Vec<_> = step["grads"].as_array().unwrap().iter().map(tensor).collect();
        backward(&named, &grads);
        optimizer.set_lr(step["lr"].as_f64().unwrap());
        optimizer.step().unwrap();
        for ((name, weight), golden) in named.iter().zip(step["params"].as_array().unwrap()) {
            let off = deviation(weight, &tensor(&golden["weight"]));
            assert!(off < 1e-13, "{variant} {name} step {number}: {off}");
        }
    }
}

/// Muon's matrices as 1x1 convolutions, and a rule for others, of which there are none.
fn muon(text: &str, weight: &Tensor) -> (Optimizer, Tensor) {
    let text = format!("name = \"muon\"\n{text}\n[others]\nname = \"sgd\"");
    let config: OptimizerConfig = toml::from_str(&text).unwrap();
    let weight = weight.unsqueeze(-1).unsqueeze(-1).set_requires_grad(true);
    let named = [("conv1.weight".to_owned(), weight.shallow_clone())];
    (Optimizer::new(&config, &named).unwrap(), weight)
}

fn muon_step(optimizer: &mut Optimizer, weight: &Tensor, lr: f64, grad: &Tensor) {
    (weight * grad.view_as(weight)).sum(Kind::Double).backward();
    optimizer.set_lr(lr);
    optimizer.step().unwrap();
}

#[test]
fn newton_schulz_agrees_in_double() {
    for case in read("muon")["newton_schulz"].as_array().unwrap() {
        let input = tensor(&case["input"]);
        let text = format!("momentum = 0.0\nweight_decay = 0.0\nns_steps = {}", case["steps"]);
        let (mut optimizer, weight) = muon(&text, &input.zeros_like());
        muon_step(&mut optimizer, &weight, 1.0, &input);
        let adjust = (input.size()[0] as f64 / input.size()[1] as f64).max(1.0).sqrt();
        let found = weight.view_as(&input) / -adjust;
        assert!(deviation(&found, &tensor(&case["output_float64"])) < 1e-9, "{case}");
    }
}

#[test]
fn muon_agrees_in_double_and_as_torch_rounds_it() {
    for case in read("muon")["cases"].as_array().unwrap() {
        let [wd, momentum] = ["weight_decay", "momentum"].map(|key| &case[key]);
        let [nesterov, adjust] = ["nesterov", "adjust_lr_fn"].map(|key| &case[key]);
        assert!(serde_json::from_value::<AdjustLr>(adjust.clone()).is_ok(), "{adjust}");
        let text = format!(
            "weight_decay = {wd}\nmomentum = {momentum}\nnesterov = {nesterov}\nadjust_lr = {adjust}"
        );
        let lr = case["lr"].as_f64().unwrap();
        for (kind, column, tolerance) in
            [(Kind::Double, "weight_float64_ns", 1e-6), (Kind::Float, "weight_torch_bf16_ns", 6e-3)]
        {
            let (mut optimizer, weight) = muon(&text, &tensor(&case["weight0"]).to_kind(kind));
            for step in case["steps"].as_array().unwrap() {
                muon_step(&mut optimizer, &weight, lr, &tensor(&step["grad"]).to_kind(kind));
                let wanted = tensor(&step[column]);
                let off = deviation(&weight.view_as(&wanted), &wanted);
                assert!(off < tolerance, "{column}: {off}");
            }
        }
    }
}

#[test]
fn adamw_and_lamb_agree_with_torch_and_the_paper() {
    for case in committed("optimizers")["cases"].as_array().unwrap() {
        let config: OptimizerConfig = serde_json::from_value(case["optimizer"].clone()).unwrap();
        let weights = case["weights"].as_object().unwrap();
        let named =
            weights.iter().map(|(name, w)| (name.clone(), tensor(w).set_requires_grad(true)));
        let named: Vec<(String, Tensor)> = named.collect();
        let mut optimizer = Optimizer::new(&config, &named).unwrap();
        for (number, step) in case["steps"].as_array().unwrap().iter().enumerate() {
            let grads: Vec<_> =
                named.iter().map(|(name, _)| tensor(&step["grads"][name])).collect();
            backward(&named, &grads);
            optimizer.set_lr(step["lr"].as_f64().unwrap());
            optimizer.step().unwrap();
            for (name, weight) in &named {
                let off = deviation(weight, &tensor(&step["weights"][name]));
                assert!(off < 1e-12, "{config:?} {name} step {number}: {off}");
            }
        }
    }
}

#[test]
fn the_loss_scale_grows_and_backs_off_as_torchs() {
    for run in read("grad_scaler")["runs"].as_array().unwrap() {
        let number = |key: &str| run[key].as_f64().unwrap();
        assert!((number("growth_factor") - 2.0).abs() < 1e-12, "no such growth here");
        assert!((number("backoff_factor") - 0.5).abs() < 1e-12, "no such back-off here");
        let interval = run["growth_interval"].as_u64().unwrap() as usize;
        let mut scaler = LossScaler::on(number("init_scale"), interval, Device::Cpu);
        let weight = Tensor::from_slice(&[1f32, 2.0]).set_requires_grad(true);
        let named = [("fc.weight".to_owned(), weight.shallow_clone())];
        let mut optimizer = Optimizer::new(&OptimizerConfig::default(), &named).unwrap();
        for step in run["steps"].as_array().unwrap() {
            let state = |scaler: &LossScaler| {
                let (scale, tracker) = scaler.snapshot().unwrap();
                [scale, tracker].map(|t| f64::try_from(t.squeeze()).unwrap().to_bits())
            };
            assert_eq!(state(&scaler)[0], step["scale_before"].as_f64().unwrap().to_bits());
            let before = weight.detach().copy();
            let factor = if step["found_inf"] == true { f64::INFINITY } else { 1e-3 };
            scaler.scale(&(weight.sum(Kind::Float) * factor)).backward();
            optimizer.set_lr(0.1);
            scaler.step(&mut optimizer).unwrap();
            assert_eq!(before != weight.detach(), step["stepped"].as_bool().unwrap(), "{step}");
            let after = [&step["scale_after"], &step["growth_tracker"]]
                .map(|v| v.as_f64().unwrap().to_bits());
            assert_eq!(state(&scaler), after, "{step}");
        }
    }
}
