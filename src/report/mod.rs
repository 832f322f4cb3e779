//! A report on training runs: one HTML file that needs no network and no script.
//!
//! [`Comparison::gather`] reads run folders and logs into plain structs, [`page()`] turns them into
//! HTML with SVG charts, and [`tables`] into CSV. Only [`write()`] and [`write_tables`] touch the disk
//! for writing.

mod chart;
mod csv;
mod epochs;
mod error;
mod evaluation;
mod find;
mod headline;
mod page;
mod published;
mod recipe_diff;
mod run;
mod spent;
mod system;

use std::path::{Path, PathBuf};

pub use csv::{tables, write_tables};
pub use error::ReportError;
pub use evaluation::{EVALUATION_PAGE, EvaluatedWeights, create_folder, write_evaluation};
pub use headline::Headline;
pub use page::page;

use crate::{atomic_file, compliance::Ruleset};
use system::SystemFigures;

/// Runs of one or several systems.
#[derive(Debug)]
pub struct Comparison {
    /// In the order in which they were named; at least one.
    systems: Vec<SystemFigures>,
    /// Logs of other benchmarks, which a report leaves out.
    num_left_out: usize,
}

impl Comparison {
    /// Reads the runs at `paths`: folders of runs, folders that contain any, and logs. `ruleset` is that
    /// of logs without a manifest; `None`: it is guessed from the folders around the log.
    pub fn gather(paths: &[PathBuf], ruleset: Option<Ruleset>) -> Result<Self, ReportError> {
        let sources = find::systems(paths)?;
        let (systems, num_left_out) = system::read_all(&sources, ruleset)?;
        if systems.is_empty() {
            return Err(ReportError::NoResnet(paths[0].clone()));
        }
        Ok(Self { systems, num_left_out })
    }

    /// The number of runs.
    pub fn num_runs(&self) -> usize {
        self.systems.iter().map(|system| system.runs.len()).sum()
    }

    /// Whether every system trained on `ImageNet`, so that published results may stand next to it.
    fn is_imagenet(&self) -> bool {
        let mut runs = self.systems.iter().flat_map(|system| &system.runs);
        runs.all(run::RunFigures::is_imagenet)
    }
}

/// Writes the report on `paths` to `file`.
pub fn write(paths: &[PathBuf], ruleset: Option<Ruleset>, file: &Path) -> Result<(), ReportError> {
    let comparison = Comparison::gather(paths, ruleset)?;
    write_page(&comparison, file)
}

/// Writes the page of `comparison` to `file`, which appears whole or not at all.
pub fn write_page(comparison: &Comparison, file: &Path) -> Result<(), ReportError> {
    atomic_file::write(file, page(comparison).as_bytes())
        .map_err(|source| ReportError::Write { path: file.to_owned(), source })
}
