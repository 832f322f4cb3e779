//! Events that a rank reports: one [`RankEvent`] per line of JSON on the rank's standard output.
//! The launcher records and displays them and folds them into a [`RunSummary`]. Nothing here
//! prints.

mod all_reduce_rate;
mod evaluation;
mod event;
mod pulse;
mod spent;
mod step_rates;
mod summary;

pub use all_reduce_rate::AllReduceRate;
pub use evaluation::{ClassCounts, EvalProgress, Evaluation, Prediction};
pub use event::{FailureKind, RankEvent};
pub use pulse::{Activity, Pulse};
pub use spent::Spent;
pub use step_rates::{StepParts, StepRates};
pub use summary::{LogCheck, RunSummary};
