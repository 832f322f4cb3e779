//! The state of a rank between two steps, as named tensors: what training has changed since the
//! warm-up ended. What follows from the number of steps (learning rate, order and crops of images,
//! random numbers of methods) is not in it.

use tch::{Kind, Tensor, no_grad};

use super::super::{engine::StepEngine, error::TrainError, tensor_file::TensorFile};
use crate::{
    libtorch::{BridgeError, rng_state, set_rng_state},
    model::Named,
    optim::OptimizerState,
};

const AVERAGE_UPDATES: &str = "average_updates";
const RNG: [&str; 2] = ["rng/device", "rng/host"];
const SCALER: [&str; 2] = ["scaler/scale", "scaler/growth_tracker"];

/// Copies of the tensors that all ranks have in common, on their device.
pub(super) fn shared_state(engine: &StepEngine) -> Result<Vec<Named>, BridgeError> {
    let mut state = copies(&weights(engine, &Part::Parameters));
    if let Some(average) = engine.algorithms.average() {
        state.push((AVERAGE_UPDATES.to_owned(), Tensor::from(average.num_updates as i64)));
    }
    let momenta = no_grad(|| engine.optimizer.full_snapshot())?;
    state.extend(momenta.into_named().map(|(name, tensor)| (optimizer_name(&name), tensor)));
    if let Some((scale, growth_tracker)) = engine.scaler.snapshot() {
        state.extend(SCALER.map(str::to_owned).into_iter().zip([scale, growth_tracker]));
    }
    Ok(state)
}

/// Copies of the tensors that only this rank has: statistics of batch norm and the states of random
/// number generators.
pub(super) fn own_state(engine: &StepEngine) -> Result<Vec<Named>, BridgeError> {
    let mut state = copies(&weights(engine, &Part::Buffers));
    for (name, tensor) in RNG.into_iter().zip(generators(engine)) {
        state.push((name.to_owned(), rng_state(&tensor)?));
    }
    Ok(state)
}

/// Puts a state into `engine`, bit for bit: the shared part from rank 0's file, and this rank's own.
pub(super) fn restore(
    engine: &mut StepEngine,
    shared: &TensorFile,
    own: &TensorFile,
) -> Result<(), TrainError> {
    for (part, file) in [(Part::Parameters, shared), (Part::Buffers, own)] {
        for (name, tensor) in weights(engine, &part) {
            copy_into(&tensor, &needed(file, &name)?, &name)?;
        }
    }
    if let Some(average) = engine.algorithms.average_mut() {
        let num = needed(shared, AVERAGE_UPDATES)?;
        average.num_updates = num.int64_value(&[]) as usize;
    }
    let take = |name: &str| shared.get(&optimizer_name(name));
    let momenta = OptimizerState::from_named(engine.optimizer.num_groups(), take);
    if !momenta.is_full() {
        return Err(TrainError::Resume("it has no state of the optimizer".to_owned()));
    }
    engine.optimizer.restore(&momenta)?;
    if engine.scaler.snapshot().is_some() {
        let [scale, growth_tracker] = SCALER.map(|name| needed(shared, name));
        engine.scaler.restore(&Some((scale?, growth_tracker?)));
    }
    for (name, tensor) in RNG.into_iter().zip(generators(engine)) {
        set_rng_state(&tensor, &needed(own, name)?)?;
    }
    Ok(())
}

enum Part {
    Parameters,
    Buffers,
}

/// The tensors of the network and of the average that a method keeps; they share memory with these.
fn weights(engine: &StepEngine, part: &Part) -> Vec<Named> {
    let all = engine.model.weights();
    let num_parameters = all.parameters().len();
    let range = match part {
        Part::Parameters => 0..num_parameters,
        Part::Buffers => num_parameters..num_parameters + all.buffers().len(),
    };
    let mut named = Vec::new();
    let average = engine.algorithms.average().map(|average| average.weights.tensors());
    for (number, (name, tensor)) in all.all().enumerate().filter(|(i, _)| range.contains(i)) {
        named.push((format!("model/{name}"), tensor.detach()));
        if let Some(average) = &average {
            named.push((format!("average/{name}"), average[number].shallow_clone()));
        }
    }
    named
}

fn copies(named: &[Named]) -> Vec<Named> {
    no_grad(|| named.iter().map(|(name, tensor)| (name.clone(), tensor.copy())).collect())
}

/// A tensor on the device and one on the host, whose generators are saved.
fn generators(engine: &StepEngine) -> [Tensor; 2] {
    [engine.num_correct.shallow_clone(), Tensor::zeros([], (Kind::Int64, tch::Device::Cpu))]
}

fn optimizer_name(name: &str) -> String {
    format!("optimizer/{name}")
}

fn needed(file: &TensorFile, name: &str) -> Result<Tensor, TrainError> {
    file.get(name).ok_or_else(|| TrainError::Resume(format!("it has no tensor {name}")))
}

fn copy_into(tensor: &Tensor, saved: &Tensor, name: &str) -> Result<(), TrainError> {
    let (wanted, found) = ((tensor.kind(), tensor.size()), (saved.kind(), saved.size()));
    if wanted != found {
        let reason = format!("its tensor {name} is {found:?}, not {wanted:?}");
        return Err(TrainError::Resume(reason));
    }
    no_grad(|| tensor.shallow_clone().copy_(saved));
    Ok(())
}
