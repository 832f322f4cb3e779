//! What a rank tells the one who watches it: one [`RankEvent`] per line of JSON on the rank's
//! standard output. The launcher records the lines and draws them; [`RunSummary`] is what is left
//! of them in the end. Nothing here prints.

mod event;
mod spent;
mod step_rates;
mod summary;

pub use event::{FailureKind, RankEvent};
pub use spent::Spent;
pub use step_rates::{StepParts, StepRates};
pub use summary::{LogCheck, RunSummary};
