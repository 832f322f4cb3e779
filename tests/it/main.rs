//! Everything that is tested from outside: one binary.

// The lint knows tests by `cfg(test)` alone, not by the `all(test, ..)` of those that need torch.
#![cfg_attr(
    feature = "torch",
    expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")
)]

#[cfg(all(test, feature = "torch"))]
mod bench_step;
#[cfg(test)]
mod benchmarks;
#[cfg(test)]
mod by_epoch;
#[cfg(test)]
mod check;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod data;
#[cfg(all(test, feature = "torch"))]
mod data_methods;
#[cfg(all(test, feature = "torch"))]
mod failures;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod guides;
#[cfg(all(test, feature = "torch"))]
mod hosts;
#[cfg(test)]
mod import;
mod install;
#[cfg(test)]
mod launch;
#[cfg(all(test, feature = "torch"))]
mod launchers;
#[cfg(test)]
mod mutants;
#[cfg(all(test, feature = "torch"))]
mod network_methods;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod plan;
#[cfg(test)]
mod recipe;
#[cfg(all(test, feature = "torch"))]
mod rehearsal;
#[cfg(all(test, feature = "torch"))]
mod resume;
#[cfg(test)]
mod rounds;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod score;
#[cfg(test)]
mod submission;
#[cfg(all(test, feature = "torch"))]
mod traffic;
#[cfg(all(test, feature = "torch"))]
mod train;
#[cfg(all(test, feature = "torch"))]
mod weights;
