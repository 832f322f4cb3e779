//! Everything that is tested from outside: one binary.

#![cfg_attr(
    feature = "torch",
    expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")
)]

#[cfg(test)]
mod check;
#[cfg(test)]
mod cli;
#[cfg(all(test, feature = "torch"))]
mod golden;
#[cfg(test)]
mod launch;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod recipe;
#[cfg(all(test, feature = "torch"))]
mod train;
