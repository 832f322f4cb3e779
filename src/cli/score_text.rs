//! Scores as text.

use crate::{
    compliance::{ConvergenceUnit, Ruleset, RunTiming},
    console::{Column, Paint, aligned, painted},
    submission::{
        Leader, RcpTable, ReferenceRecipe, RunScore, SystemScore, leaders as leaders_of,
        num_dropped,
    },
};

const NONE: &str = "-";

fn optional(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| format!("{value:.decimals$}"))
}

fn indented(text: &str) -> String {
    text.lines()
        .map(|line| format!("  {line}").trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

/// One system: its runs, its score, and what a reviewer would ask about.
pub(super) fn system(score: &SystemScore) -> String {
    let submitter = score.submitter.as_deref().unwrap_or("unknown submitter");
    let title = format!("{submitter}: {}", score.results.system);
    let division = score.division.as_deref().unwrap_or("no division");
    let heading = painted(&title, Paint::Heading);
    let benchmark = &score.benchmark;
    let mut lines = vec![format!("{heading} ({benchmark}, {division}, ruleset {})", score.ruleset)];
    lines.push(indented(&runs(score)));
    lines.push(String::new());
    lines.extend(figures(score).into_iter().map(|line| format!("  {line}")));
    for problem in &score.problems {
        lines.push(format!("  {} {problem}", painted("note:", Paint::Doubtful)));
    }
    lines.join("\n")
}

fn runs(score: &SystemScore) -> String {
    let SystemScore { runs, benchmark, .. } = score;
    let metric = |run: &RunScore| match run.accuracy {
        None => NONE.into(),
        Some(accuracy) if benchmark == "resnet" => format!("{:.2} %", 100.0 * accuracy),
        Some(metric) => format!("{metric:.5}"),
    };
    let column = |cell: &dyn Fn(&RunScore) -> String| runs.iter().map(cell).collect::<Vec<_>>();
    let number = |value: Option<f64>| value.map_or(NONE.into(), |it| it.to_string());
    let right = |title, cells: Vec<String>| Column::right(title, cells.into_iter());
    let left = |title, cells: Vec<String>| Column::left(title, cells.into_iter());
    aligned(&[
        left("run", column(&name)),
        right("minutes", column(&|run| optional(run.minutes, 4))),
        right(score.unit().as_str(), column(&|run| number(run.length))),
        right(if benchmark == "resnet" { "accuracy" } else { "metric" }, column(&metric)),
        right("batch", column(&|run| number(run.batch_size))),
        left("status", column(&|run| run.status.clone().unwrap_or(NONE.into()))),
        left("log", column(&|run| if run.compliant { "accepted" } else { "rejected" }.into())),
        left("counts", counts(runs, num_dropped(benchmark))),
    ])
}

/// How each run spent its time. Fractions are of the whole run. That of the first epoch is the time
/// by which it exceeds the mean of the later ones, usually because of a cold cache.
pub(super) fn timing(runs: &[RunScore]) -> String {
    let column = |cell: &dyn Fn(&RunTiming) -> String| {
        let cells = runs.iter().map(|run| run.timing.as_ref().map_or(NONE.into(), cell));
        cells.collect::<Vec<_>>().into_iter()
    };
    let percent =
        |fraction: Option<f64>| fraction.map_or(NONE.into(), |it| format!("{:.2} %", 100.0 * it));
    let seconds = |seconds: f64| format!("{seconds:.2}");
    let body = aligned(&[
        Column::left("run", runs.iter().map(name).collect::<Vec<_>>().into_iter()),
        Column::right("epochs", column(&|it| it.num_epochs.to_string())),
        Column::right("first s", column(&|it| seconds(it.first_epoch_s))),
        Column::right("later s", column(&|it| optional(it.later_epoch_s(), 2))),
        Column::right("first's excess", column(&|it| percent(it.first_epoch_fraction()))),
        Column::right("evaluations", column(&|it| it.num_evals.to_string())),
        Column::right("s", column(&|it| seconds(it.evals_s))),
        Column::right("of run", column(&|it| percent(it.eval_fraction()))),
        Column::right("gaps", column(&|it| percent(it.gap_fraction()))),
    ]);
    indented(&body)
}

fn name(run: &RunScore) -> String {
    run.file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Which runs count for the mean, which drops `num_dropped` at each end.
fn counts(runs: &[RunScore], num_dropped: usize) -> Vec<String> {
    let minutes = |at: usize| runs[at].minutes.filter(|_| runs[at].compliant);
    let mut counted: Vec<usize> = (0..runs.len()).filter(|at| minutes(*at).is_some()).collect();
    counted.sort_by(|a, b| {
        minutes(*a).unwrap_or_default().total_cmp(&minutes(*b).unwrap_or_default())
    });
    let num_slow = num_dropped.saturating_sub(runs.len() - counted.len());
    let first_slow = counted.len().saturating_sub(num_slow);
    let mut words = vec!["failed".to_owned(); runs.len()];
    for (rank, at) in counted.into_iter().enumerate() {
        words[at] = if rank < num_dropped {
            "fastest, dropped".into()
        } else if rank >= first_slow {
            "slowest, dropped".into()
        } else {
            "yes".into()
        };
    }
    words
}

fn figures(score: &SystemScore) -> Vec<String> {
    let mean = score.olympic_minutes.map_or("none".into(), |minutes| format!("{minutes:.4} min"));
    let mut lines = vec![format!("olympic mean  {mean}")];
    match &score.rcp {
        None => {}
        Some(Ok(check)) => lines.push(format!("convergence   {}", check.result())),
        Some(Err(_)) => lines.push("convergence   not tested".into()),
    }
    if score.scaling() > 1.0 {
        lines.push(format!("scaling       x {:.7}", score.scaling()));
    }
    let paint = if score.is_valid() { Paint::Good } else { Paint::Bad };
    let minutes = match score.scaled_minutes.filter(|_| score.is_valid()) {
        Some(minutes) => format!("{minutes:.4} min, unverified"),
        None => "none that the rules allow".into(),
    };
    lines.push(format!("score         {}", painted(&minutes, paint)));
    lines
}

/// One line per system.
pub(super) fn overview(scores: &[SystemScore]) -> String {
    let column = |cell: &dyn Fn(&SystemScore) -> String| {
        scores.iter().map(cell).collect::<Vec<_>>().into_iter()
    };
    let failed = |score: &SystemScore| {
        let compliant = score.runs.iter().filter(|run| run.compliant).count();
        format!("{compliant} of {}", score.runs.len())
    };
    aligned(&[
        Column::left("submitter", column(&|it| it.submitter.clone().unwrap_or(NONE.into()))),
        Column::left("system", column(&|it| it.results.system.clone())),
        Column::left("benchmark", column(&|it| it.benchmark.clone())),
        Column::left("division", column(&|it| it.division.clone().unwrap_or(NONE.into()))),
        Column::left("ruleset", column(&|it| it.ruleset.to_string())),
        Column::right("accepted", column(&failed)),
        Column::right("olympic min", column(&|it| optional(it.olympic_minutes, 4))),
        Column::right("scaling", column(&|it| format!("{:.5}", it.scaling()))),
        Column::right("unverified score min", column(&|it| optional(it.scaled_minutes, 4))),
        Column::left("valid", column(&|it| if it.is_valid() { "yes" } else { "no" }.into())),
    ])
}

/// The reference convergence points of a ruleset.
pub(super) fn rcp_table(ruleset: Ruleset, table: &RcpTable) -> String {
    let points = &table.points;
    let column = |cell: &dyn Fn(usize) -> String| {
        (0..points.len()).map(cell).collect::<Vec<_>>().into_iter()
    };
    let converged = |at: usize| points[at].convergence;
    let recipe = |at: usize, value: fn(&ReferenceRecipe) -> f64| {
        points[at].recipe.as_ref().map_or(NONE.into(), |recipe| value(recipe).to_string())
    };
    let unit = table.unit.as_str();
    let decimals = if table.unit == ConvergenceUnit::Epochs { 4 } else { 0 };
    let body = aligned(&[
        Column::right("batch size", column(&|at| converged(at).batch_size.to_string())),
        Column::right("runs", column(&|at| points[at].num_runs.to_string())),
        Column::right("mean", column(&|at| format!("{:.decimals$}", converged(at).mean))),
        Column::right("deviation", column(&|at| format!("{:.decimals$}", converged(at).stdev))),
        Column::right("least", column(&|at| format!("{:.decimals$}", converged(at).min))),
        Column::right("speed-up", column(&|at| format!("{:.5}", converged(at).max_speedup()))),
        Column::right("lr", column(&|at| recipe(at, |it| it.learning_rate))),
        Column::right("warm-up", column(&|at| recipe(at, |it| it.warmup_epochs))),
        Column::right("momentum", column(&|at| recipe(at, |it| it.momentum))),
        Column::right("decay", column(&|at| recipe(at, |it| it.weight_decay))),
        Column::left("used", column(&|at| if points[at].pruned { "no" } else { "yes" }.into())),
    ]);
    let title = format!(
        "Reference convergence points of {}, ruleset {ruleset}, in {unit}",
        table.benchmark
    );
    format!("{}\n{}", painted(&title, Paint::Heading), indented(&body))
}

/// Published results. With one score, also how many times faster it is than each result of its
/// division.
pub(super) fn leaders(benchmark: &str, scores: &[SystemScore]) -> String {
    let leaders = leaders_of(benchmark);
    if leaders.is_empty() {
        return format!("No published results of {benchmark} are known here");
    }
    let ours = match scores {
        [score] => score.scaled_minutes.map(|minutes| (score, minutes)),
        _ => None,
    };
    let title = format!("Published results of {benchmark}, verified by MLCommons Association");
    let compared = |leader: &Leader| {
        let same = ours.filter(|(score, _)| score.division.as_ref() == Some(&leader.division));
        same.map_or(NONE.into(), |(_, minutes)| format!("{:.3}x", leader.scaled_minutes / minutes))
    };
    let column =
        |cell: &dyn Fn(&Leader) -> String| leaders.iter().map(cell).collect::<Vec<_>>().into_iter();
    let mut columns = vec![
        Column::left("round", column(&|it| it.round.clone())),
        Column::left("division", column(&|it| it.division.clone())),
        Column::left("submitter", column(&|it| it.submitter.clone())),
        Column::right("accelerators", column(&|it| it.num_accelerators.to_string())),
        Column::left("model", column(&|it| it.accelerator.clone())),
        Column::right("olympic min", column(&|it| format!("{:.4}", it.olympic_minutes))),
        Column::right("score min", column(&|it| format!("{:.4}", it.scaled_minutes))),
    ];
    if ours.is_some() {
        columns.push(Column::right("unverified score is faster", column(&compared)));
    }
    format!("{}\n{}", painted(&title, Paint::Heading), indented(&aligned(&columns)))
}
