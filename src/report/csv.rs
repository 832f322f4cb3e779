//! The numbers of a report as CSV.

use std::{fs, io, path::Path};

use super::{
    Comparison, ReportError, epochs::EpochFigures, run::RunFigures, system::SystemFigures,
};

/// Names of the files and their contents: runs, epochs and evaluations, one line each. Absent values
/// are empty, fractions are from 0 to 1.
pub fn tables(comparison: &Comparison) -> io::Result<[(&'static str, String); 3]> {
    let runs = || {
        let of = |system| move |run| (system, run);
        comparison.systems.iter().flat_map(move |system| system.runs.iter().map(of(system)))
    };
    let mut of_runs = vec![RUNS.map(str::to_owned).to_vec()];
    of_runs.extend(runs().map(run_row));
    let mut of_epochs = vec![EPOCHS.map(str::to_owned).to_vec()];
    let mut of_evals = vec![EVALS.map(str::to_owned).to_vec()];
    for (system, run) in runs() {
        let name = || vec![system.name.clone(), run.name.clone()];
        of_epochs.extend(run.epochs.iter().map(|epoch| [name(), epoch_row(epoch)].concat()));
        of_evals.extend(run.curve.iter().map(|point| {
            let numbers =
                [number(Some(point.epoch)), number(point.minutes), number(Some(point.accuracy))];
            [name(), numbers.to_vec()].concat()
        }));
    }
    Ok([
        ("runs.csv", csv(&of_runs)?),
        ("epochs.csv", csv(&of_epochs)?),
        ("evaluations.csv", csv(&of_evals)?),
    ])
}

/// Writes the CSV files into `folder`, which is created.
pub fn write_tables(comparison: &Comparison, folder: &Path) -> Result<(), ReportError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ReportError::Write { path, source }
    };
    fs::create_dir_all(folder).map_err(failed(folder))?;
    for (name, text) in tables(comparison).map_err(failed(folder))? {
        let path = folder.join(name);
        fs::write(&path, text).map_err(failed(&path))?;
    }
    Ok(())
}

const RUNS: [&str; 9] = [
    "system",
    "run",
    "recipe",
    "seed",
    "minutes",
    "reached_target",
    "accuracy",
    "epochs",
    "images_per_s",
];
const EPOCHS: [&str; 11] = [
    "system",
    "run",
    "epoch",
    "minutes",
    "seconds",
    "images_per_s",
    "image_size",
    "learning_rate_first",
    "learning_rate_last",
    "loss",
    "data_wait",
];
const EVALS: [&str; 5] = ["system", "run", "epoch", "minutes", "accuracy"];

fn run_row((system, run): (&SystemFigures, &RunFigures)) -> Vec<String> {
    vec![
        system.name.clone(),
        run.name.clone(),
        system.recipe_name().unwrap_or_default(),
        run.seed().unwrap_or_default(),
        number(run.minutes()),
        run.succeeded().to_string(),
        number(run.accuracy()),
        run.num_epochs().to_string(),
        number(run.images_per_s()),
    ]
}

fn epoch_row(epoch: &EpochFigures) -> Vec<String> {
    let rates = epoch.learning_rate;
    vec![
        epoch.epoch.to_string(),
        number(epoch.minutes),
        number(epoch.seconds),
        number(epoch.images_per_s),
        epoch.image_size.map(|size| size.to_string()).unwrap_or_default(),
        number(rates.map(|[first, _]| first)),
        number(rates.map(|[_, last]| last)),
        number(epoch.loss),
        number(epoch.data_wait),
    ]
}

fn number(value: Option<f64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

pub(super) fn csv(rows: &[Vec<String>]) -> io::Result<String> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.write_record(row)?;
    }
    let bytes = writer.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
    String::from_utf8(bytes).map_err(io::Error::other)
}
