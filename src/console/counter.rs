//! Shows how many of a total are done.

use std::sync::Once;

use indicatif::ProgressBar;

use super::{
    manner::{Manner, Template},
    note,
};

/// Counts up to a known total, with a bar, or with one line at the first count.
#[derive(Debug)]
pub struct Counter {
    manner: Manner,
    what: String,
    bar: ProgressBar,
    announced: Once,
}

impl Counter {
    /// A counter of `total` things. It shows nothing before the first count.
    pub fn new(manner: Manner, what: &str, total: usize) -> Self {
        let bar = manner.bar(total, Template::Count).with_prefix(what.to_owned());
        Self { manner, what: what.to_owned(), bar, announced: Once::new() }
    }

    /// Sets how many are done.
    pub fn set(&self, count: usize) {
        self.announced.call_once(|| {
            if self.manner == Manner::Lines {
                note(&self.what);
            }
        });
        self.bar.set_position(count as u64);
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
