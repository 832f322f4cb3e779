//! Update rules, their state, and bounds on gradients.

use std::collections::HashMap;

use tch::{Device, Kind, no_grad};

use super::*;

const LR: f64 = 0.05;

fn rules() -> Vec<OptimizerConfig> {
    let texts = [
        "name = \"sgd\"\nnesterov = true",
        "name = \"decoupled_sgdw\"\ndampening = 0.3",
        "name = \"lars\"\nlr = 2.0",
        "name = \"lars\"\nmomentum_correction = false",
        "name = \"adamw\"",
        "name = \"decoupled_adamw\"",
        "name = \"lamb\"\nskip = [\"bn\"]",
        "name = \"muon\"\nnesterov = true\n[others]\nname = \"adamw\"\nlr = 0.1",
    ];
    texts.iter().map(|text| toml::from_str(text).unwrap()).collect()
}

/// A convolution, a batch norm and a linear layer.
fn network() -> Vec<(String, Tensor)> {
    let shapes: [(&str, &[i64]); 5] = [
        ("conv1.weight", &[4, 3, 3, 3]),
        ("conv2.weight", &[2, 4, 1, 1]),
        ("bn1.weight", &[4]),
        ("fc.weight", &[3, 4]),
        ("fc.bias", &[3]),
    ];
    let tensor = |(i, (name, shape)): (usize, &(&str, &[i64]))| {
        let n: i64 = shape.iter().product();
        let t = Tensor::arange(n, (Kind::Float, Device::Cpu)) + i as i64;
        let t = (t * 0.7).sin().reshape(*shape);
        ((*name).to_owned(), t.set_requires_grad(true))
    };
    shapes.iter().enumerate().map(tensor).collect()
}

/// Computes the gradients of `factor` times a function of all weights.
fn backward(network: &[(String, Tensor)], factor: f64) {
    let loss = |t: &Tensor| (t.square() + t.cos()).sum(Kind::Float) * factor;
    network.iter().map(|(_, t)| loss(t)).reduce(|a, b| a + b).unwrap().backward();
}

fn train(optimizer: &mut Optimizer, network: &[(String, Tensor)], num_steps: usize) {
    for step in 0..num_steps {
        backward(network, 1.0 + step as f64);
        optimizer.set_lr(LR * (1.0 + step as f64));
        optimizer.step().unwrap();
    }
}

fn bits<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Vec<Vec<u32>> {
    let flat = |t: &Tensor| Vec::<f32>::try_from(t.detach().reshape([-1])).unwrap();
    tensors.into_iter().map(|t| flat(t).into_iter().map(f32::to_bits).collect()).collect()
}

fn weights(network: &[(String, Tensor)]) -> Vec<Vec<u32>> {
    bits(network.iter().map(|(_, t)| t))
}

fn put_back(network: &[(String, Tensor)], copies: &[Tensor]) {
    no_grad(|| {
        for ((_, tensor), copy) in network.iter().zip(copies) {
            tensor.shallow_clone().copy_(copy);
        }
    });
}

#[test]
fn every_rule_trains_on_as_if_what_was_taken_back_had_not_been() {
    for config in rules() {
        let (cold, warm) = (network(), network());
        let mut colds = Optimizer::new(&config, &cold).unwrap();
        let mut warms = Optimizer::new(&config, &warm).unwrap();
        // Once before the first step, as warm-up does it, and once in the middle.
        for _ in 0..2 {
            let copies: Vec<_> = warm.iter().map(|(_, t)| t.detach().copy()).collect();
            let snapshot = warms.snapshot().unwrap();
            train(&mut warms, &warm, 3);
            put_back(&warm, &copies);
            warms.restore(&snapshot).unwrap();
            assert_eq!(bits(&warms.state().unwrap()), bits(&colds.state().unwrap()));
            train(&mut colds, &cold, 2);
            train(&mut warms, &warm, 2);
            assert_eq!(weights(&warm), weights(&cold), "{config:?}");
        }
        assert_ne!(weights(&cold), weights(&network()), "{config:?} does nothing");
    }
}

#[test]
fn a_state_is_full_although_no_step_was_counted_as_in_replayed_graphs() {
    for config in rules() {
        let optimizer = Optimizer::new(&config, &network()).unwrap();
        assert!(!optimizer.snapshot().unwrap().is_full());
        assert!(optimizer.full_snapshot().unwrap().is_full(), "{config:?}");
    }
}

#[test]
fn another_optimizer_goes_on_from_a_named_state() {
    for config in rules() {
        let (old, new) = (network(), network());
        let mut before = Optimizer::new(&config, &old).unwrap();
        let mut after = Optimizer::new(&config, &new).unwrap();
        train(&mut before, &old, 3);
        let mut state: HashMap<String, Tensor> =
            before.full_snapshot().unwrap().into_named().collect();
        let num_groups = after.num_groups();
        after.restore(&OptimizerState::from_named(num_groups, |name| state.remove(name))).unwrap();
        assert!(state.is_empty(), "{config:?}: {:?}", state.keys());
        put_back(&new, &old.iter().map(|(_, t)| t.detach().copy()).collect::<Vec<_>>());
        train(&mut before, &old, 2);
        train(&mut after, &new, 2);
        assert_eq!(weights(&new), weights(&old), "{config:?}");
    }
}

#[test]
fn no_rule_is_moved_by_an_infinite_gradient() {
    let inf = Tensor::from_slice(&[1f32]);
    for config in rules() {
        let (with, without) = (network(), network());
        let mut skipping = Optimizer::new(&config, &with).unwrap();
        let mut plain = Optimizer::new(&config, &without).unwrap();
        let fine = Tensor::from_slice(&[0f32]);
        skipping.set_lr(LR);
        plain.set_lr(LR);
        for step in [None, Some(1.0), None, Some(2.0), None] {
            let before = weights(&with);
            backward(&with, step.unwrap_or(f64::INFINITY));
            skipping.step_unless(if step.is_some() { &fine } else { &inf }).unwrap();
            match step {
                None => assert_eq!(weights(&with), before, "{config:?}"),
                Some(factor) => {
                    backward(&without, factor);
                    plain.step().unwrap();
                }
            }
        }
        let close = |(a, b): (&(String, Tensor), &(String, Tensor))| {
            f64::try_from((&a.1 - &b.1).abs().max()).unwrap() < 1e-5
        };
        // Dampening leaves nothing out of the first gradient; here the first one was lost.
        let exact = config.dampening == 0.0;
        assert!(!exact || with.iter().zip(&without).all(close), "{config:?}");
    }
}

/// How far one step of plain SGD with rate 1 moves each number.
fn moved(clip: Option<Clip>) -> Vec<f64> {
    let config: OptimizerConfig =
        toml::from_str("name = \"sgd\"\nmomentum = 0\nweight_decay = 0").unwrap();
    let network = network();
    let before: Vec<Tensor> = network.iter().map(|(_, t)| t.detach().copy()).collect();
    let mut optimizer = Optimizer::new(&config, &network).unwrap().clipped(clip);
    backward(&network, 1.0);
    optimizer.set_lr(1.0);
    optimizer.step().unwrap();
    let moves = network.iter().zip(&before).map(|((_, t), before)| before - t.detach());
    moves
        .flat_map(|m| Vec::<f64>::try_from(m.reshape([-1]).to_kind(Kind::Double)).unwrap())
        .collect()
}

#[test]
fn a_bound_holds_for_all_gradients_together_or_for_each_number() {
    let free = moved(None);
    let norm = free.iter().map(|x| x * x).sum::<f64>().sqrt();
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-5 * (1.0 + b.abs()), "{a} {b}");
    for (bound, factor) in [(norm / 3.0, 1.0 / 3.0), (norm * 2.0, 1.0)] {
        let held = moved(Some(Clip::Norm(bound)));
        held.iter().zip(&free).for_each(|(a, b)| close(*a, b * factor));
    }
    let held = moved(Some(Clip::Value(0.5)));
    held.iter().zip(&free).for_each(|(a, b)| close(*a, b.clamp(-0.5, 0.5)));
    assert!(free.iter().any(|x| x.abs() > 0.5));
}

#[test]
fn muons_others_keep_their_share_of_the_schedule() {
    let text = "name = \"muon\"\nlr = 0.02\n[others]\nname = \"sgd\"\nlr = 0.5";
    let muon: OptimizerConfig = toml::from_str(text).unwrap();
    let alone = OptimizerConfig { ..*muon.others.clone().unwrap() };
    let (mixed, plain) = (network(), network());
    let mut optimizers =
        [(&muon, &mixed), (&alone, &plain)].map(|(c, n)| Optimizer::new(c, n).unwrap());
    for (optimizer, (network, lr)) in optimizers.iter_mut().zip([(&mixed, 0.01), (&plain, 0.25)]) {
        backward(network, 1.0);
        optimizer.set_lr(lr);
        optimizer.step().unwrap();
    }
    for ((name, a), (_, b)) in mixed.iter().zip(&plain) {
        let equal = f64::try_from((a - b).abs().max()).unwrap() < 1e-6;
        assert_eq!(equal, !name.starts_with("conv"), "{name}");
    }
}

#[test]
fn tensors_that_never_decay_do_not_decay_when_others_begin_to() {
    let text = "name = \"sgd\"\nno_decay = [\"bn\"]\n\
                weight_decay = [{ until = \"1ep\", value = 0 }, { value = 0.5 }]";
    let config: OptimizerConfig = toml::from_str(text).unwrap();
    let (changing, free) = (network(), network());
    let mut optimizer = Optimizer::new(&config, &changing).unwrap();
    let none = OptimizerConfig { weight_decay: 0.0.into(), ..config };
    let mut without = Optimizer::new(&none, &free).unwrap();
    for (step, weight_decay) in [0.0, 0.5].into_iter().enumerate() {
        for (optimizer, network) in [(&mut optimizer, &changing), (&mut without, &free)] {
            backward(network, 1.0);
            optimizer.set_lr(0.1);
        }
        optimizer.set_constants(UpdateConstants { momentum: 0.875, weight_decay });
        optimizer.step().unwrap();
        without.step().unwrap();
        for ((name, a), (_, b)) in changing.iter().zip(&free) {
            let decays = step == 1 && name != "bn1.weight";
            assert_eq!(bits([a]) != bits([b]), decays, "{name} in step {step}");
        }
    }
}

#[test]
fn a_multiplied_learning_rate_is_that_of_an_optimizer_of_its_own() {
    for config in rules() {
        let multiplied =
            OptimizerConfig { lr_multipliers: [("fc".to_owned(), 2.0)].into(), ..config.clone() };
        let (with, once, twice) = (network(), network(), network());
        let mut optimizer = Optimizer::new(&multiplied, &with).unwrap();
        let mut optimizers = [&once, &twice].map(|it| Optimizer::new(&config, it).unwrap());
        train(&mut optimizer, &with, 1);
        train(&mut optimizers[0], &once, 1);
        backward(&twice, 1.0);
        optimizers[1].set_lr(2.0 * LR);
        optimizers[1].step().unwrap();
        for (i, (name, tensor)) in with.iter().enumerate() {
            let expected = if name.starts_with("fc.") { &twice[i].1 } else { &once[i].1 };
            assert_eq!(bits([tensor]), bits([expected]), "{name}: {config:?}");
        }
    }
}
