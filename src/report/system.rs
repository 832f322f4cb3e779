//! The runs of one system, with its score.

use std::{fs, path::PathBuf};

use serde_json::{Map, Value};

use super::{
    ReportError,
    find::{RunSource, SystemSources},
    recipe_diff::RecipeDiff,
    run::RunFigures,
};
use crate::{
    compliance::{Report, Ruleset, check_files},
    run_dir,
    submission::{SystemScore, guess_ruleset},
};

/// One system.
#[derive(Clone, Debug)]
pub(super) struct SystemFigures {
    /// The name of its folder.
    pub(super) name: String,
    /// What charts and tables call it: its recipe's name if only one system has it.
    pub(super) label: String,
    /// Its runs, by number.
    pub(super) runs: Vec<RunFigures>,
    /// Its score; `None` if no run has a log.
    pub(super) score: Option<SystemScore>,
    /// `systems/SYSTEM.json` of a submission.
    pub(super) description: Option<Map<String, Value>>,
    /// What its recipe changes, if its runs have one.
    pub(super) recipe_diff: Option<RecipeDiff>,
}

/// Reads all systems, and counts the logs of other benchmarks.
pub(super) fn read_all(
    sources: &[SystemSources],
    ruleset: Option<Ruleset>,
) -> Result<(Vec<SystemFigures>, usize), ReportError> {
    let runs = || sources.iter().flat_map(|system| &system.runs);
    let logged: Vec<_> = runs().filter(|run| run.log.is_file()).collect();
    let jobs = logged.iter().map(|run| Ok((run.log.clone(), ruleset_of(run, ruleset)?)));
    let jobs = jobs.collect::<Result<Vec<_>, ReportError>>()?;
    let mut reports = check_files(&jobs).into_iter().zip(&jobs).map(|(report, (path, _))| {
        report.map_err(|source| ReportError::Read { path: path.clone(), source })
    });
    let mut num_left_out = 0;
    let mut systems = Vec::new();
    for system in sources {
        let mut runs = Vec::new();
        for run in &system.runs {
            let report = if run.log.is_file() { reports.next().transpose()? } else { None };
            if report.as_ref().is_some_and(is_of_another_benchmark) {
                num_left_out += 1;
                continue;
            }
            runs.push(RunFigures::read(run, report)?);
        }
        if !runs.is_empty() {
            systems.push(SystemFigures::of(system, runs)?);
        }
    }
    label(&mut systems);
    Ok((systems, num_left_out))
}

fn is_of_another_benchmark(report: &Report) -> bool {
    report.benchmark.as_deref().is_some_and(|name| name != run_dir::BENCHMARK)
}

/// The ruleset of a run's manifest; otherwise the given one, otherwise the one that the folders name.
fn ruleset_of(run: &RunSource, named: Option<Ruleset>) -> Result<Ruleset, ReportError> {
    if let Some(folder) = &run.folder {
        let path = folder.join(run_dir::MANIFEST);
        let text = fs::read(&path).unwrap_or_default();
        let manifest: Value = serde_json::from_slice(&text).unwrap_or_default();
        if let Some(name) = manifest.get("ruleset").and_then(Value::as_str) {
            return name.parse().map_err(|source| ReportError::Ruleset { path, source });
        }
    }
    match named {
        Some(ruleset) => Ok(ruleset),
        None => Ok(guess_ruleset(&run.log)?.ruleset),
    }
}

/// Systems with one recipe each are called by it; others by their folders.
fn label(systems: &mut [SystemFigures]) {
    let recipes: Vec<_> = systems.iter().map(SystemFigures::recipe_name).collect();
    for (at, system) in systems.iter_mut().enumerate() {
        let recipe = recipes[at].clone();
        let is_unique = recipes.iter().filter(|other| **other == recipe).count() == 1;
        system.label = recipe.filter(|_| is_unique).unwrap_or_else(|| system.name.clone());
    }
}

impl SystemFigures {
    fn of(sources: &SystemSources, runs: Vec<RunFigures>) -> Result<Self, ReportError> {
        let mut results = sources.results.clone();
        let reports: Vec<Report> = runs.iter().filter_map(|run| run.report.clone()).collect();
        results.logs = reports.iter().map(|report| report.path.clone()).collect::<Vec<PathBuf>>();
        let score = match reports.first() {
            Some(first) => Some(SystemScore::of(&results, first.ruleset, &reports)?),
            None => None,
        };
        let recipe_diff = runs.iter().find_map(|run| {
            let (name, context) = (&run.manifest.as_ref()?.recipe.name, run.run_context.as_ref()?);
            Some(RecipeDiff::of(name, run.recipe.as_ref()?, context))
        });
        Ok(Self {
            name: results.system.clone(),
            label: results.system.clone(),
            description: results.read_description()?,
            recipe_diff,
            score,
            runs,
        })
    }

    /// The recipe of its runs.
    pub(super) fn recipe_name(&self) -> Option<String> {
        self.runs.iter().find_map(|run| Some(run.manifest.as_ref()?.recipe.name.clone()))
    }

    /// The accuracy to reach.
    pub(super) fn target(&self) -> f64 {
        self.runs[0].target
    }

    /// Its submitter, if it is known.
    pub(super) fn submitter(&self) -> Option<&str> {
        self.score.as_ref()?.submitter.as_deref()
    }
}
