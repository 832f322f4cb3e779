//! Contents of `benchmarks/resnet/implementations/mlperf-run` apart from the source: recipes,
//! scripts and a README for reproducing the runs.

use crate::run_dir::DataStamp;
use std::fmt::Write as _;

use toml::{Table, Value};

use super::benchmark::NUM_RUNS;
use super::runs::{Run, RunSet};

/// Builds the program from the source next to it.
pub(super) const SETUP: &str = r#"#!/usr/bin/env bash
# Builds and installs mlperf-run and mlperf-rank from source/, with all that they need.
#
#   ./setup.sh [OPTIONS OF source/scripts/setup]
set -euo pipefail
cd "$(dirname "$0")/source"
# A submission holds no name that starts with a dot: .cargo lies here as dot.cargo.
for hidden in dot.*; do
    [ ! -e "$hidden" ] || [ -e ".${hidden#dot.}" ] || cp -R "$hidden" ".${hidden#dot.}"
done
chmod -R +x scripts
exec scripts/setup "$@"
"#;

/// Runs a system's recipe.
pub(super) const RUN_AND_TIME: &str = r#"#!/usr/bin/env bash
# Makes the runs of a system: config_SYSTEM.toml says what is trained.
#
#   ./run_and_time.sh SYSTEM [OPTIONS OF mlperf-run, such as --data DIR]
set -euo pipefail
system=${1:?name a system: ./run_and_time.sh SYSTEM}
shift
exec mlperf-run --recipe "$(dirname "$0")/config_$system.toml" --system "$system" "$@"
"#;

/// Prepares the images of all `sets`.
pub(super) fn init_datasets(sets: &[RunSet]) -> String {
    let mut steps: Vec<String> = Vec::new();
    for set in sets {
        let step = match &data(set).synth {
            None => IMAGES.to_owned(),
            Some(synth) => format!(
                "mlperf-run data synth --num-classes {} --num-train {} --num-eval {} --size {} \
                 --difficulty {} --seed {}\n",
                synth.num_classes,
                synth.num_train,
                synth.num_eval,
                synth.size,
                synth.difficulty,
                synth.seed
            ),
        };
        if !steps.contains(&step) {
            steps.push(step);
        }
    }
    format!(
        "#!/usr/bin/env bash\n# Prepares the images, once.\n#\n#   ./init_datasets.sh{}\n\
         set -euo pipefail\n{}",
        if wants_images(sets) { " IMAGES [STORE]" } else { "" },
        steps.concat()
    )
}

const IMAGES: &str = "\
# IMAGES holds ImageNet-1k: train and val with a folder of JPEGs a class, or the two archives as
# they are published. Nothing has to be converted; a STORE, which holds the images as they are,
# is read faster.
images=${1:?name the folder of ImageNet-1k}
mlperf-run data inspect \"$images\"
[ $# -lt 2 ] || mlperf-run data import \"$images\" --out \"$2\"
";

/// Whether a recipe trains on images that the user must provide.
fn wants_images(sets: &[RunSet]) -> bool {
    sets.iter().any(|set| data(set).synth.is_none())
}

/// The recipe of `set` for any machine, with every value except the seed and the folder of the
/// images. For the built-in image set it has the set's parameters.
pub(super) fn config(set: &RunSet) -> String {
    let mut recipe = set.runs[0].recipe.clone();
    let runs = Value::Integer(i64::try_from(NUM_RUNS).expect("it is five"));
    section(&mut recipe, "mlperf").insert("runs".into(), runs);
    if let Some(synth) = &data(set).synth {
        let synth = Value::try_from(synth).expect("numbers are TOML");
        section(&mut recipe, "data").insert("synth".into(), synth);
    }
    format!(
        "# The recipe of {}, with every value. Each run draws its own seed.\n\n{recipe}",
        set.system
    )
}

fn section<'a>(recipe: &'a mut Table, name: &str) -> &'a mut Table {
    let section = recipe.entry(name).or_insert_with(|| Value::Table(Table::new()));
    if !section.is_table() {
        *section = Value::Table(Table::new());
    }
    section.as_table_mut().expect("it has just been made one")
}

fn data(set: &RunSet) -> &DataStamp {
    &set.runs[0].manifest.data_set
}

/// How to reproduce the runs, and a table of them.
pub(super) fn readme(sets: &[RunSet], origin: &str) -> String {
    let (images, flag) = if wants_images(sets) { (" IMAGES", " --data IMAGES") } else { ("", "") };
    let mut text = format!(
        "# ResNet-50 with mlperf-run\n\n\
         Trains data-parallel through libtorch, one process per device. `source/` is the program \
         ({origin}), `config_SYSTEM.toml` the recipe of a system.\n\n\
         ```\n\
         ./setup.sh\n\
         ./init_datasets.sh{images}\n\
         ./run_and_time.sh SYSTEM{flag}\n\
         ```\n\n\
         These commands build and install it together with libtorch, prepare the images, make \
         {NUM_RUNS} runs and check their logs. Preprocessing, the order of the images, model, \
         initialization, optimizer and evaluation are documented in `source/src/data`, `model`, \
         `optim` and `train`.\n"
    );
    for set in sets {
        let mut put =
            |line: String| writeln!(text, "{line}").expect("writing to a string succeeds");
        let Run { manifest, .. } = &set.runs[0];
        put(format!("\n## {}\n", set.system));
        let ranks = if manifest.world_size == 1 { "rank" } else { "ranks" };
        put(format!(
            "Recipe {}, {} division, ruleset {}, {} {ranks}, libtorch {}, program sha256 {}, {} \
             training and {} validation images.",
            manifest.recipe.name,
            manifest.division.as_str(),
            set.ruleset,
            manifest.world_size,
            manifest.libtorch,
            manifest.program.sha256,
            manifest.data_set.num_train,
            manifest.data_set.num_eval,
        ));
        if set.runs.len() > NUM_RUNS {
            put(format!(
                "\nOf {} runs, the {NUM_RUNS} consecutive ones were chosen whose score is the \
                 median of all such windows. The table lists all runs.",
                set.runs.len()
            ));
        }
        put("\n| result | seed | minutes | epochs | top-1 | status |\n|---|---|---|---|---|---|"
            .into());
        for (index, run) in set.runs.iter().enumerate() {
            put(row(run, set.chosen.contains(&index).then(|| index - set.chosen.start)));
        }
    }
    text
}

fn row(run: &Run, number: Option<usize>) -> String {
    let result = number.map_or("not chosen".into(), |number| format!("result_{number}.txt"));
    let last = run.report.curve.last();
    let (epochs, accuracy) = match last {
        Some(point) => (point.position.to_string(), format!("{:.2} %", 100.0 * point.accuracy)),
        None => ("-".into(), "-".into()),
    };
    let (seed, minutes) = (run.manifest.seed, run.timing.minutes);
    let status = run.report.status.as_deref().unwrap_or("-");
    format!("| {result} | {seed} | {minutes:.4} | {epochs} | {accuracy} | {status} |")
}
