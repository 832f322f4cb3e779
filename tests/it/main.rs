//! Integration tests: what the rooms do together.

mod check;
mod oracle;
