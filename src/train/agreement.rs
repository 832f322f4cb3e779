//! What ranks must do after the same step: stop, because a signal has reached one of them, or save a
//! checkpoint, because the clock of rank 0 says so.

use std::time::{Duration, Instant};

use tch::Tensor;

use crate::distributed::{Ddp, DistError};

/// Time between two exchanges: how long a signal may take to reach all ranks.
const INTERVAL: Duration = Duration::from_millis(500);

/// What ranks agree on after a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Agreed {
    pub(super) stop: bool,
    pub(super) checkpoint: bool,
}

/// The exchanges of a rank. They pass a few numbers between the hosts and do not wait for a GPU.
pub(super) struct Agreement {
    rank: usize,
    last: (usize, Instant),
    /// Steps between the last two exchanges.
    num_steps: usize,
    next_step: usize,
}

impl Agreement {
    /// `rank`, like all others, has made `step` steps. The first exchange follows the next step.
    pub(super) fn new(rank: usize, step: usize) -> Self {
        Self { rank, last: (step, Instant::now()), num_steps: 1, next_step: step + 1 }
    }

    /// Exchanges wishes after `step` steps, twice a second; nothing after most steps. Any rank can stop
    /// all of them; of checkpoints, only rank 0's wish counts.
    pub(super) fn after(
        &mut self,
        step: usize,
        ddp: &Ddp,
        wish: impl FnOnce() -> Agreed,
    ) -> Result<Agreed, DistError> {
        if step < self.next_step {
            return Ok(Agreed::default());
        }
        let wish = wish();
        let (checkpoint, num_steps) =
            if self.rank == 0 { (wish.checkpoint, self.num_steps(step)) } else { (false, 0) };
        let numbers = [i64::from(wish.stop), i64::from(checkpoint), num_steps as i64];
        let sum = Tensor::from_slice(&numbers);
        ddp.sum(&sum)?;
        let [num_stop, num_save, num_steps] = [0, 1, 2].map(|i| sum.int64_value(&[i]));
        self.last = (step, Instant::now());
        self.num_steps = num_steps as usize;
        self.next_step = step + self.num_steps;
        Ok(Agreed { stop: num_stop > 0, checkpoint: num_save > 0 })
    }

    /// Steps until the next exchange, by the speed since the last one. It grows slowly, because the host
    /// may be ahead of a GPU at first.
    fn num_steps(&self, step: usize) -> usize {
        let (last_step, moment) = self.last;
        steps_in_interval(step - last_step, moment.elapsed()).min(2 * self.num_steps)
    }
}

/// Steps that take about as long as the interval, if `num_steps` took `time`.
fn steps_in_interval(num_steps: usize, time: Duration) -> usize {
    let steps_per_s = num_steps as f64 / time.as_secs_f64().max(1e-6);
    ((INTERVAL.as_secs_f64() * steps_per_s) as usize).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_ask_each_other_twice_a_second() {
        let ms = Duration::from_millis;
        assert_eq!(steps_in_interval(1, ms(99)), 5);
        assert_eq!(steps_in_interval(40, ms(400)), 50);
        assert_eq!(steps_in_interval(1, ms(3000)), 1, "after each of slow steps");
    }

    #[test]
    fn what_a_rank_wishes_is_agreed_on_when_the_exchange_is_due() {
        let ddp = Ddp::alone();
        let mut agreement = Agreement::new(0, 10);
        let both = Agreed { stop: true, checkpoint: true };
        assert_eq!(agreement.after(11, &ddp, || both).unwrap(), both);
        assert!(agreement.next_step <= 13, "the interval grows at most twofold");
        agreement.next_step = 14;
        for step in 12..14 {
            let asked = agreement.after(step, &ddp, || unreachable!("step {step}"));
            assert_eq!(asked.unwrap(), Agreed::default());
        }
        let mut other = Agreement::new(1, 13);
        let other = other.after(14, &ddp, || both).unwrap();
        assert_eq!(other, Agreed { stop: true, checkpoint: false }, "only rank 0 has a clock");
    }
}
