//! A trial of the fused kernels on the device at hand, before a run relies on them. A small network
//! makes a step in fp64 on the processor, on libtorch's kernels, and on the fused kernels. The fused
//! kernels must not be much further from the first than libtorch's are.

use tch::{Device, Kind, Tensor, no_grad};

use super::{engine::StepEngine, fused::Forward, step::kind};
use crate::{
    libtorch::{BridgeError, set_channels_last},
    model::{Initializer, Mode, ModelSpec, Named, Place, ResNet, init},
    optim::{Optimizer, OptimizerConfig},
    recipe::Precision,
};

const NUM_IMAGES: i64 = 8;
const IMAGE_SIZE: i64 = 64;
const NUM_CLASSES: usize = 16;
/// Keeps the gradients of fp16 above the smallest number of the format.
const LOSS_SCALE: f64 = 256.0;
/// How many times the error of libtorch's kernels is allowed, and the error that is always allowed: a
/// number near zero that rounding makes positive or negative passes a whole gradient or none.
const ALLOWED: [f64; 2] = [3.0, 2e-2];
/// Biases of norms and classifier. With zeros, as in a new network, so many inputs of `ReLU` are near zero
/// that rounding alone makes the gradients in bf16 wrong by half.
const BIASES: [f64; 2] = [-2.0, 2.0];
/// Fraction of the biases that are positive.
const POSITIVE_FRACTION: f64 = 0.75;

impl StepEngine {
    /// Fails if the fused kernels do not compute what libtorch's do.
    pub(super) fn try_fused(&self) -> Result<(), String> {
        // Rarely, rounding moves an input of ReLU across zero, and with it a large gradient.
        self.try_on_new_numbers().or_else(|_| self.try_on_new_numbers())
    }

    fn try_on_new_numbers(&self) -> Result<(), String> {
        let trial = self.trial().map_err(|error| error.to_string())?;
        let passes = [(&self.forward, Mode::Train), (&self.eval_forward, Mode::Eval)];
        for (forward, mode) in passes {
            for (name, fused, plain) in trial.errors(forward, mode).map_err(|e| e.to_string())? {
                if fused.is_nan() || plain.is_nan() || fused > ALLOWED[0] * plain + ALLOWED[1] {
                    return Err(format!(
                        "the fused kernels failed their trial: the {name} of a small network have an \
                         error of {fused:.1e}, and {plain:.1e} on libtorch's; please report this"
                    ));
                }
            }
        }
        Ok(())
    }

    fn trial(&self) -> Result<Trial, BridgeError> {
        // Each stage has a block with a convolution in its shortcut and one without.
        let depths = vec![2; 3];
        let spec = ModelSpec { depths, num_classes: NUM_CLASSES, ..self.recipe.spec.clone() };
        let place = Place { kind: kind(self.recipe.train.precision), device: self.device };
        let net = ResNet::new(&spec, place);
        init(net.weights(), &[Initializer::KaimingNormal, Initializer::BnUniform]);
        set_biases(&net);
        let sizes = [NUM_IMAGES, 3, IMAGE_SIZE, IMAGE_SIZE];
        let images = Tensor::randn(sizes, (place.kind, place.device));
        set_channels_last(&images)?;
        Ok(Trial { spec, place, net, images, rules: self.recipe.optimizer.clone() })
    }
}

/// A network and a batch.
struct Trial {
    spec: ModelSpec,
    place: Place,
    /// Has the weights of all networks of the trial.
    net: ResNet,
    images: Tensor, // [N, 3, R, R]
    /// For one update.
    rules: OptimizerConfig,
}

impl Trial {
    /// The relative errors of all results, on the kernels of `forward` and on libtorch's.
    fn errors(
        &self,
        forward: &Forward,
        mode: Mode,
    ) -> Result<Vec<(String, f64, f64)>, BridgeError> {
        let exact = Place { kind: Kind::Double, device: Device::Cpu };
        let exact = self.results(&Forward::unfused(Precision::Fp64, exact.device), exact, mode)?;
        let plain = Forward::unfused(forward.precision(), self.place.device);
        let plain = self.results(&plain, self.place, mode)?;
        let fused = self.results(forward, self.place, mode)?;
        let errors = fused.iter().zip(&plain).zip(exact);
        Ok(errors
            .map(|(((_, fused), (_, plain)), (name, exact))| {
                (name, relative_error(fused, &exact), relative_error(plain, &exact))
            })
            .collect())
    }

    /// Logits; in training also running statistics, and gradients and updates by kind of parameter,
    /// each of which is one tensor.
    fn results(
        &self,
        forward: &Forward,
        place: Place,
        mode: Mode,
    ) -> Result<Vec<(String, Tensor)>, BridgeError> {
        let net = ResNet::new(&self.spec, place);
        let weights = net.weights().all().zip(self.net.weights().all());
        no_grad(|| weights.for_each(|((_, t), (_, from))| t.shallow_clone().copy_(from)));
        let parameters = net.weights().parameters().iter().map(|(_, tensor)| tensor);
        parameters.filter(|tensor| tensor.dim() == 4).try_for_each(set_channels_last)?;
        let images = self.images.to_device(place.device).to_kind(place.kind);
        if mode == Mode::Eval {
            let logits = no_grad(|| forward.logits(&net, &images, mode))?;
            return Ok(vec![("logits of an evaluation".to_owned(), logits)]);
        }
        let logits = forward.logits(&net, &images, mode)?;
        let labels = Tensor::arange(NUM_IMAGES, (Kind::Int64, place.device));
        (logits.to_kind(place.kind).cross_entropy_for_logits(&labels) * LOSS_SCALE).backward();
        let parameters = net.weights().parameters();
        // The update may overwrite them.
        let gradients: Vec<_> = parameters.iter().map(|(_, tensor)| tensor.grad().copy()).collect();
        let mut optimizer = Optimizer::new(&self.rules, parameters)?;
        optimizer.fuse(forward.kernels());
        optimizer.set_lr(self.rules.lr.peak());
        optimizer.step()?;
        let buffers: Vec<&Tensor> = net.weights().buffers().iter().map(|(_, t)| t).collect();
        let mut results = vec![
            ("logits".to_owned(), logits.detach()),
            ("running statistics".to_owned(), Tensor::cat(&buffers, 0)),
        ];
        for kind in ["convolutions", "classifier", "norms' weights", "biases"] {
            let members = || (0..parameters.len()).filter(|&i| kind_of(&parameters[i]) == kind);
            let flat = |part: &dyn Fn(usize) -> Tensor| {
                Tensor::cat(&members().map(|i| part(i).flatten(0, -1)).collect::<Vec<_>>(), 0)
            };
            let update = |i: usize| {
                let before = &self.net.weights().parameters()[i].1;
                parameters[i].1.detach() - before.detach().to_device(place.device)
            };
            results.push((
                format!("gradients of the {kind}"),
                flat(&|i| gradients[i].shallow_clone()),
            ));
            results.push((format!("updates of the {kind}"), flat(&update)));
        }
        Ok(results)
    }
}

/// Makes `ReLU` pass most channels and zero the others, with few inputs near zero.
fn set_biases(net: &ResNet) {
    let [negative, positive] = BIASES;
    let biases = net.weights().parameters().iter().filter(|named| kind_of(named) == "biases");
    no_grad(|| {
        for (_, bias) in biases {
            let is_positive = bias.rand_like().lt(POSITIVE_FRACTION).to_kind(bias.kind());
            bias.shallow_clone().copy_(&(is_positive * (positive - negative) + negative));
        }
    });
}

/// The kind of a parameter, in words.
fn kind_of((name, tensor): &Named) -> &'static str {
    match tensor.dim() {
        4 => "convolutions",
        2 => "classifier",
        _ if name.ends_with("bias") => "biases",
        _ => "norms' weights",
    }
}

/// `|actual - expected| / |expected|`.
fn relative_error(actual: &Tensor, expected: &Tensor) -> f64 {
    let actual = actual.to_device(Device::Cpu).to_kind(Kind::Double);
    let norm = |tensor: &Tensor| tensor.norm().double_value(&[]);
    norm(&(actual - expected)) / norm(expected).max(1e-30)
}
