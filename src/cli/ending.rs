//! What the end of a run means: the verdict on its log, its exit code, and the page on it.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use super::exit::{Exit, Failure, Outcome};
use crate::{
    compliance,
    console::Screen,
    events::{FailureKind, LogCheck},
    launch::{Ending, RankFailure, RunFolder},
    mlperf::RunStatus,
    recipe::Recipe,
    report, run_dir,
};

/// Checks the log under the recipe's ruleset, as the reference does.
pub(super) fn check(log: &Path, recipe: &Recipe) -> anyhow::Result<LogCheck> {
    let ruleset = recipe.mlperf.ruleset.parse()?;
    let report = compliance::check_file(log, ruleset)
        .with_context(|| format!("cannot read the log {}", log.display()))?;
    Ok(LogCheck {
        ruleset: ruleset.to_string(),
        accepted: report.reference_accepts(),
        findings: report.findings.iter().map(|f| format!("{}: {f}", f.code)).collect(),
    })
}

/// Writes the page on a run into its folder. A run does not fail because of its page.
pub(super) fn write_report(folder: &RunFolder, screen: &Screen) -> Option<PathBuf> {
    let file = folder.path().join(run_dir::REPORT);
    match report::write(&[folder.path().to_owned()], None, &file) {
        Ok(()) => Some(file),
        Err(error) => {
            screen.line(&format!("warning: no report: {error}"));
            None
        }
    }
}

/// The exit code of a run, or its failure.
pub(super) fn outcome_of(ending: Ending, folder: &RunFolder) -> Outcome {
    if let Some(RankFailure { rank, host, kind, message }) = ending.failure {
        let exit = match kind {
            FailureKind::Input => Exit::Invalid,
            FailureKind::Internal | FailureKind::Peer => Exit::RankFailed,
            FailureKind::Interrupted => Exit::Incomplete,
        };
        let host = host.map(|host| format!(" on {host}")).unwrap_or_default();
        let error =
            anyhow!("rank {rank}{host}: {message}").context(folder.path().display().to_string());
        return Err(Failure { exit, error });
    }
    if ending.interrupted {
        return Ok(Exit::Incomplete);
    }
    Ok(match ending.status.expect("a run without run_stop has failed or was interrupted") {
        RunStatus::Success => Exit::Ok,
        RunStatus::Aborted => Exit::TargetMissed,
    })
}
