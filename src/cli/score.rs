//! `mlperf-run score`: scores submissions.

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use serde_json::{Value, json};

use super::score_text;
use crate::{
    cli::{
        exit::{Exit, Failure, OrExit, Outcome},
        ruleset::RulesetChoice,
    },
    compliance::{Ruleset, benchmarks, check_files},
    console,
    mlperf::{COMPARED, LEGEND, UNVERIFIED},
    submission::{
        RcpCheck, RcpObstacle, RcpTable, SystemScore, Tree, summary_columns, summary_row,
    },
};

/// Arguments of `score`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mlperf-run score v5.1/NVIDIA
  mlperf-run score results --leaders")]
#[expect(clippy::struct_excessive_bools, reason = "flags of the command line")]
pub struct ScoreArgs {
    /// A submission, a folder of several, or a part of one
    #[arg(value_name = "DIR", required_unless_present_any = ["rcp_table", "leaders"])]
    pub dir: Option<PathBuf>,
    /// Ruleset of the round: 0.7.0 to 6.1.0; auto uses that of the runs' manifests or of a folder
    /// such as v5.1, otherwise the latest with the logs' benchmark
    #[arg(long, value_name = "RULESET", default_value = "auto")]
    pub ruleset: RulesetChoice,
    /// Print JSON
    #[arg(long, conflicts_with_all = ["csv", "rcp_table", "leaders"])]
    pub json: bool,
    /// Print CSV with the columns of the reference summarizer
    #[arg(long, conflicts_with_all = ["rcp_table", "leaders"])]
    pub csv: bool,
    /// Show how each run spent its time: epochs, evaluations and the gaps between them
    #[arg(long, conflicts_with_all = ["json", "csv"])]
    pub timing: bool,
    /// Show the reference convergence points as well
    #[arg(long)]
    pub rcp_table: bool,
    /// Compare with published results
    #[arg(long)]
    pub leaders: bool,
    /// Write scaling.json into the submission if the score is scaled, and remove stale ones
    #[arg(long, requires = "dir")]
    pub write_scaling: bool,
}

/// Scores and prints. Ends with [`Exit::NotCompliant`] if a system has no valid score.
pub fn run(args: &ScoreArgs) -> Outcome {
    let (text, exit) = answer(args)?;
    console::result(text.trim_end());
    Ok(exit)
}

/// The output and exit code of [`run`].
pub fn answer(args: &ScoreArgs) -> Result<(String, Exit), Failure> {
    let scores = score_all(args).or_exit(Exit::Invalid)?;
    if args.write_scaling {
        write_scaling(&scores).or_exit(Exit::Invalid)?;
    }
    let valid = scores.iter().all(SystemScore::is_valid);
    let exit = if valid { Exit::Ok } else { Exit::NotCompliant };
    if args.json {
        let systems: Vec<_> = scores.iter().map(json_of).collect();
        let answer = json!({ "systems": systems, "notice": format!("{UNVERIFIED} {LEGEND}") });
        let text = serde_json::to_string_pretty(&answer).expect("all keys are strings");
        return Ok((text, exit));
    }
    if args.csv {
        // The reference's columns have no place for it.
        console::note(format!("{UNVERIFIED} {LEGEND}"));
        return Ok((csv(&scores).or_exit(Exit::Invalid)?, exit));
    }
    let mut parts = Vec::new();
    for score in &scores {
        parts.push(score_text::system(score));
        if args.timing {
            parts.push(score_text::timing(&score.runs));
        }
    }
    if scores.len() > 1 {
        parts.push(score_text::overview(&scores));
    }
    if args.rcp_table {
        parts.extend(rcp_tables(args, &scores).or_exit(Exit::Usage)?);
    }
    if args.leaders {
        let mut names: Vec<_> = scores.iter().map(|score| score.benchmark.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            names.push("resnet");
        }
        parts.extend(names.into_iter().map(|name| score_text::leaders(name, &scores)));
    }
    if !scores.is_empty() {
        let compared = if args.leaders { format!(" {COMPARED}") } else { String::new() };
        parts.push(format!("{UNVERIFIED}{compared} {LEGEND}"));
    }
    Ok((parts.join("\n\n"), exit))
}

fn score_all(args: &ScoreArgs) -> anyhow::Result<Vec<SystemScore>> {
    let Some(dir) = &args.dir else { return Ok(Vec::new()) };
    let tree = Tree::find(dir)?;
    let mut logs = Vec::new();
    let mut rulesets = Vec::new();
    for system in &tree.systems {
        let ruleset = args.ruleset.of(&system.logs[0])?.ruleset;
        rulesets.push(ruleset);
        logs.extend(system.logs.iter().map(|log| (log.clone(), ruleset)));
    }
    let mut reports = check_files(&logs).into_iter().zip(&logs).map(|(report, (log, _))| {
        report.with_context(|| format!("cannot read the log {}", log.display()))
    });
    let scored = tree.systems.iter().zip(rulesets).map(|(system, ruleset)| {
        let reports = reports.by_ref().take(system.logs.len());
        let reports = reports.collect::<anyhow::Result<Vec<_>>>()?;
        Ok(SystemScore::of(system, ruleset, &reports)?)
    });
    scored.collect()
}

fn write_scaling(scores: &[SystemScore]) -> anyhow::Result<()> {
    for score in scores {
        let folder = &score.results.folder;
        let written = score
            .write_scaling()
            .with_context(|| format!("cannot write scaling.json into {}", folder.display()))?;
        if let Some(path) = written {
            console::note(format!("wrote {}", path.display()));
        }
    }
    Ok(())
}

/// The points of each benchmark and ruleset among the scores. Without scores, those of the named
/// ruleset, otherwise those of `ResNet`.
fn rcp_tables(args: &ScoreArgs, scores: &[SystemScore]) -> anyhow::Result<Vec<String>> {
    let mut pairs: Vec<_> =
        scores.iter().map(|score| (score.ruleset, score.benchmark.as_str())).collect();
    match args.ruleset {
        _ if !scores.is_empty() => {}
        RulesetChoice::Named(ruleset) => {
            pairs.extend(benchmarks(ruleset).iter().map(|name| (ruleset, *name)));
        }
        RulesetChoice::Auto => pairs.push((Ruleset::LAST_WITH_RESNET, "resnet")),
    }
    pairs.sort_unstable();
    pairs.dedup();
    let table =
        |(ruleset, name)| Some(score_text::rcp_table(ruleset, &RcpTable::of(name, ruleset)?));
    let tables: Vec<_> = pairs.iter().copied().filter_map(table).collect();
    match (tables.is_empty(), pairs.first()) {
        (true, Some((ruleset, _))) => Err(anyhow!(
            "ruleset {ruleset} has no reference convergence points; choose a later one"
        )),
        _ => Ok(tables),
    }
}

fn csv(scores: &[SystemScore]) -> anyhow::Result<String> {
    let ruleset = scores[0].ruleset;
    if let Some(other) = scores.iter().find(|score| score.ruleset != ruleset) {
        return Err(anyhow!(
            "the systems have rulesets {ruleset} and {}, whose columns differ; choose one with \
             --ruleset, or score one round",
            other.ruleset
        ));
    }
    let of_one_system = |a: &SystemScore, b: &SystemScore| {
        (&a.submitter, &a.results.system) == (&b.submitter, &b.results.system)
    };
    let systems = scores.chunk_by(of_one_system);
    let mut rows = systems.map(summary_row).collect::<Result<Vec<_>, _>>()?;
    rows.sort();
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(summary_columns(ruleset))?;
    for row in rows {
        writer.write_record(row)?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

/// A score, as JSON.
pub(super) fn json_of(score: &SystemScore) -> Value {
    let runs = score.runs.iter().map(|run| {
        json!({
            "file": run.file.to_string_lossy(),
            "minutes": run.minutes,
            score.unit().as_str(): run.length,
            "compliant": run.compliant,
            "status": run.status,
        })
    });
    json!({
        "submitter": score.submitter,
        "system": score.results.system,
        "benchmark": score.benchmark,
        "division": score.division,
        "ruleset": score.ruleset.as_str(),
        "runs": runs.collect::<Vec<_>>(),
        "olympic_minutes": score.olympic_minutes,
        "scaled_minutes": score.scaled_minutes,
        "label": "unverified",
        "rcp": score.rcp.as_ref().map(rcp_json),
        "problems": score.problems,
    })
}

fn rcp_json(rcp: &Result<RcpCheck, RcpObstacle>) -> Value {
    match rcp {
        Ok(check) => json!({
            "passed": check.passed,
            "result": check.result(),
            "batch_size": check.batch_size,
            "unit": check.unit,
            "mean": check.mean,
            "reference_mean": check.reference.mean,
            "reference_stdev": check.reference.stdev,
            "min": check.reference.min,
            "scaling_factor": check.scaling,
        }),
        Err(obstacle) => json!({ "passed": false, "result": obstacle.to_string() }),
    }
}
