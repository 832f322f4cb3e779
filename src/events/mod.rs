//! What a rank tells the one who watches it: one [`RankEvent`] per line of JSON on the rank's
//! standard output. The launcher records the lines and draws them; nothing here prints.

mod event;

pub use event::{FailureKind, RankEvent, RunStatus};
