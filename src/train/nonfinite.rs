//! What becomes of a run whose loss is not finite.

use crate::recipe::OnNonfinite;

/// A run ends after so many losses in a row that are not finite, even if it skips them.
const MAX_IN_A_ROW: usize = 10;

/// Follows the losses of a rank.
pub(super) struct Nonfinite {
    policy: OnNonfinite,
    num_in_a_row: usize,
}

/// What the losses since the last report mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// All are finite.
    None,
    /// Some updates were skipped: the place of the first one, and how many.
    Skipped(usize, usize),
    /// The run ends because of the loss in this place.
    Ends(usize),
}

impl Nonfinite {
    pub(super) fn new(policy: OnNonfinite) -> Self {
        Self { policy, num_in_a_row: 0 }
    }

    /// Takes the losses since the last report.
    pub(super) fn hear(&mut self, losses: &[f64]) -> Finding {
        let (mut first, mut num) = (None, 0);
        for (at, loss) in losses.iter().enumerate() {
            if loss.is_finite() {
                self.num_in_a_row = 0;
                continue;
            }
            self.num_in_a_row += 1;
            num += 1;
            let first = *first.get_or_insert(at);
            if self.policy == OnNonfinite::Stop || self.num_in_a_row == MAX_IN_A_ROW {
                return Finding::Ends(first);
            }
        }
        first.map_or(Finding::None, |at| Finding::Skipped(at, num))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f64 = f64::NAN;

    #[test]
    fn the_first_bad_loss_ends_a_run_that_does_not_skip() {
        let mut stop = Nonfinite::new(OnNonfinite::Stop);
        assert_eq!(stop.hear(&[1.0, 2.0]), Finding::None);
        assert_eq!(stop.hear(&[1.0, f64::INFINITY, NAN]), Finding::Ends(1));
    }

    #[test]
    fn single_bad_losses_are_skipped_and_a_row_of_them_ends_the_run() {
        let mut skip = Nonfinite::new(OnNonfinite::Skip);
        for _ in 0..3 {
            assert_eq!(skip.hear(&[NAN]), Finding::Skipped(0, 1), "an epoch of few steps");
        }
        assert_eq!(skip.hear(&[1.0, NAN, 1.0, NAN]), Finding::Skipped(1, 2));
        for _ in 0..8 {
            assert_eq!(skip.hear(&[NAN]), Finding::Skipped(0, 1));
        }
        assert_eq!(skip.hear(&[NAN]), Finding::Ends(0));
    }
}
