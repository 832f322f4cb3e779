//! What is handed in. So far: who submits, and on what.

mod machine;
mod system;

pub use system::{Availability, SystemDescription, SystemError};
