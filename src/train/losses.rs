//! The losses of the steps since the last report. They stay on the device until they are reported, so
//! that no step waits for its loss.

use tch::{Device, Kind, Tensor};

use crate::libtorch::{BridgeError, Readout};

/// The last losses, on the device.
pub(super) struct Losses {
    /// `[N]`, fp32.
    all: Tensor,
    /// The N numbers of `all`, `[]` each.
    slots: Vec<Tensor>,
    num: usize,
}

impl Losses {
    /// For at most `max` steps between reports.
    pub(super) fn new(max: usize, device: Device) -> Self {
        let all = Tensor::zeros([max as i64], (Kind::Float, device));
        let slots = (0..max as i64).map(|at| all.select(0, at)).collect();
        Self { all, slots, num: 0 }
    }

    /// Keeps the loss of a step, `[]`.
    pub(super) fn add(&mut self, loss: &Tensor) {
        self.slots[self.num].copy_(loss);
        self.num += 1;
    }

    /// Begins to copy the losses to the host, and forgets them.
    pub(super) fn take(&mut self) -> Result<Readout, BridgeError> {
        let num = std::mem::take(&mut self.num);
        Readout::of(&self.all.narrow(0, 0, num as i64))
    }
}
