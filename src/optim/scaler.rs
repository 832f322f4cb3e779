//! Loss scaling, so that small gradients survive fp16 (Micikevicius et al. 2017, section 3.2).

use tch::{Device, Kind, Tensor};

use super::optimizer::Optimizer;
use crate::libtorch::BridgeError;

/// Doubles after so many good steps, halves after a bad one: torch's factors.
const GROWTH: f64 = 2.0;
const BACKOFF: f64 = 0.5;

/// Scales losses and unscales gradients. A step with infinite gradients is skipped. The host never
/// waits for the device: only the device knows whether a step was skipped.
pub enum LossScaler {
    /// For fp32 and bf16, which need no scaling.
    Off,
    /// Scales nothing, but skips steps with gradients that are not finite.
    Check {
        /// One, `[1]`, fp32.
        one: Tensor,
    },
    /// For fp16.
    On {
        /// `[1]`, fp32.
        scale: Tensor,
        /// Good steps since the last change, `[1]`, int32.
        growth_tracker: Tensor,
        /// Good steps before the scale doubles.
        growth_interval: usize,
    },
}

impl LossScaler {
    /// A scaler that only skips.
    pub fn check(device: Device) -> Self {
        Self::Check { one: Tensor::ones([1], (Kind::Float, device)) }
    }

    /// A scaler that starts at `init_scale`.
    pub fn on(init_scale: f64, growth_interval: usize, device: Device) -> Self {
        Self::On {
            scale: Tensor::full([1], init_scale, (Kind::Float, device)),
            growth_tracker: Tensor::zeros([1], (Kind::Int, device)),
            growth_interval,
        }
    }

    /// `loss` times the scale, `[]`.
    pub fn scale(&self, loss: &Tensor) -> Tensor {
        match self {
            Self::Off | Self::Check { .. } => loss.shallow_clone(),
            Self::On { scale, .. } => loss * scale.squeeze(),
        }
    }

    /// Makes one update with the gradients of a scaled loss.
    pub fn step(&mut self, optimizer: &mut Optimizer) -> Result<(), BridgeError> {
        match self {
            Self::Off => optimizer.step(),
            Self::Check { one } => {
                let found_inf = Tensor::zeros([1], (Kind::Float, one.device()));
                optimizer.unscale(one, &found_inf)?;
                optimizer.step_unless(&found_inf)
            }
            Self::On { scale, growth_tracker, growth_interval } => {
                let found_inf = Tensor::zeros([1], (Kind::Float, scale.device()));
                optimizer.unscale(&scale.reciprocal(), &found_inf)?;
                optimizer.step_unless(&found_inf)?;
                let interval = *growth_interval as i64;
                let _ = scale.internal_amp_update_scale_(
                    growth_tracker,
                    &found_inf,
                    GROWTH,
                    BACKOFF,
                    interval,
                );
                Ok(())
            }
        }
    }

    /// Copies of the scale and its tracker; nothing where it is off.
    pub fn snapshot(&self) -> Option<(Tensor, Tensor)> {
        match self {
            Self::Off | Self::Check { .. } => None,
            Self::On { scale, growth_tracker, .. } => Some((scale.copy(), growth_tracker.copy())),
        }
    }

    /// Puts a snapshot back.
    pub fn restore(&mut self, snapshot: &Option<(Tensor, Tensor)>) {
        if let (Self::On { scale, growth_tracker, .. }, Some((s, t))) = (self, snapshot) {
            scale.copy_(s);
            growth_tracker.copy_(t);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::{OptimizerConfig, OptimizerName};

    const START: [f32; 3] = [0.5, -1.0, 2.0];

    /// Weights after `losses` have been trained on, each `factor * sum(w^2)`.
    fn train(scaler: &mut LossScaler, factors: &[f32]) -> Vec<f32> {
        let weight = Tensor::from_slice(&START).set_requires_grad(true);
        let named = [("fc.weight".to_owned(), weight.shallow_clone())];
        let config = OptimizerConfig {
            name: OptimizerName::DecoupledSgdw,
            weight_decay: 0.1.into(),
            ..OptimizerConfig::default()
        };
        let mut optimizer = Optimizer::new(&config, &named).unwrap();
        optimizer.set_lr(0.05);
        for &factor in factors {
            let loss = weight.square().sum(Kind::Float) * f64::from(factor);
            scaler.scale(&loss).backward();
            scaler.step(&mut optimizer).unwrap();
        }
        Vec::try_from(weight.detach()).unwrap()
    }

    fn scale(scaler: &LossScaler) -> f64 {
        f64::try_from(&scaler.snapshot().unwrap().0.squeeze()).unwrap()
    }

    #[test]
    fn a_scaled_step_is_the_plain_step() {
        let mut on = LossScaler::on(65_536.0, 2000, Device::Cpu);
        let scaled = train(&mut on, &[1.0, 0.5, 2.0]);
        let plain = train(&mut LossScaler::Off, &[1.0, 0.5, 2.0]);
        for (a, b) in scaled.iter().zip(&plain) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
        assert_ne!(plain, START);
    }

    #[test]
    fn an_infinite_step_is_left_out_and_halves_the_scale() {
        let mut scaler = LossScaler::on(1024.0, 2000, Device::Cpu);
        assert_eq!(train(&mut scaler, &[f32::INFINITY]), START);
        assert!((scale(&scaler) - 512.0).abs() < 1e-9);
    }

    #[test]
    fn a_check_leaves_out_the_infinite_step_only() {
        let checked =
            train(&mut LossScaler::check(Device::Cpu), &[1.0, f32::INFINITY, f32::NAN, 0.5]);
        assert_eq!(checked, train(&mut LossScaler::Off, &[1.0, 0.5]));
    }

    #[test]
    fn good_steps_double_the_scale() {
        let mut scaler = LossScaler::on(8.0, 2, Device::Cpu);
        train(&mut scaler, &[1.0, 1.0, 1.0]);
        assert!((scale(&scaler) - 16.0).abs() < 1e-9);
    }
}
