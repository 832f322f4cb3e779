//! Submissions: system descriptions, the layout of result trees, scores, the convergence test,
//! packages and their verification.

mod archive;
mod benchmark;
mod checksums;
mod code;
mod consistency;
mod description;
mod error;
mod finding;
mod implementation;
mod inventory;
mod layout;
mod leaders;
mod listing;
mod machine;
mod package;
mod package_checker;
mod power;
mod rcp;
mod runs;
mod score;
mod seeds;
mod small_file;
mod source;
mod summary;
mod system;
mod verify;

pub use benchmark::{NUM_RUNS, num_dropped, num_runs};
pub use code::{Code, Tool};
pub use error::PackageError;
pub use finding::Finding;
pub use layout::{LayoutError, RulesetGuess, SystemResults, Tree, guess_ruleset, is_result};
pub use leaders::{Leader, leaders};
pub use package::{Package, PackageRequest, package};
pub use rcp::{
    Basis, RcpCheck, RcpObstacle, RcpTable, ReferenceConvergence, ReferencePoint, ReferenceRecipe,
    RunConvergence,
};
pub use runs::{Run, RunSet};
pub use score::{RunScore, SystemScore, olympic_mean};
pub use summary::{summary_columns, summary_row};
pub use system::{Availability, SystemDescription, SystemError};
pub use verify::{SystemVerdict, Verdict, submissions_in, verify};
