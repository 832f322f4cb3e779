//! `mlperf-run plan`: what a recipe will do, without doing it.

use std::path::PathBuf;

use super::exit::{Exit, OrExit, Outcome};
use crate::{
    console,
    data::Dataset,
    recipe::{self, Plan, RawRecipe, Recipe, Situation},
};

/// `ImageNet`'s counts, which stand in where no data set is at hand.
const IMAGENET: Situation =
    Situation { world_size: 1, num_classes: 1000, num_train: 1_281_167, num_eval: 50_000 };

/// Prints the resolved recipe and, as comments, what it does epoch by epoch.
#[derive(Clone, Debug, clap::Args)]
pub struct PlanArgs {
    /// A file, or a name in ./configs, or a built-in recipe
    #[arg(long, value_name = "RECIPE")]
    pub recipe: String,
    /// Data set to plan for: a folder whose train and val hold CLASS/*.JPEG, *.tar or *.arrow
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Ranks; else what the recipe says
    #[arg(long, value_name = "N")]
    pub nproc: Option<usize>,
    /// Change a value of the recipe, as in `optimizer.lr=1.0`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

/// Runs the verb.
pub fn run(args: &PlanArgs) -> Outcome {
    console::result(text(args).or_exit(Exit::Invalid)?);
    Ok(Exit::Ok)
}

/// What the verb prints. It is a recipe again: what is not part of one stands in comments.
pub fn text(args: &PlanArgs) -> anyhow::Result<String> {
    let (recipe, notes) = planned(args)?;
    let notes = commented(&notes.join("\n"));
    let plan = commented(&Plan::of(&recipe).to_string());
    Ok(format!("{notes}\n\n{}\n{plan}", recipe.to_toml()))
}

fn commented(text: &str) -> String {
    let lines: Vec<String> =
        text.lines().map(|line| format!("# {line}").trim_end().to_owned()).collect();
    lines.join("\n")
}

/// The recipe, and what had to be assumed.
fn planned(args: &PlanArgs) -> anyhow::Result<(Recipe, Vec<String>)> {
    let source = recipe::find(&args.recipe)?;
    let mut raw = recipe::load(&source, &args.overrides)?;
    if let Some(data) = &args.data {
        raw.train_on(data);
    }
    let mut notes = vec![format!("recipe {}, resolved", source.name)];
    let mut situation = counts(&raw, &mut notes)?;
    situation.world_size = args.nproc.unwrap_or(raw.run.num_ranks);
    if args.nproc.is_none() && raw.run.num_ranks == 0 {
        situation.world_size = 1;
        notes.push("assumed: 1 rank, as neither the recipe nor --nproc names a number".into());
    }
    if raw.run.seed.is_none() {
        notes.push(
            "the recipe names no seed: each run draws one, and this one is an example".into(),
        );
    }
    Ok((Recipe::resolve(raw, &situation)?, notes))
}

/// Counts of the data set that `raw` names.
fn counts(raw: &RawRecipe, notes: &mut Vec<String>) -> anyhow::Result<Situation> {
    if let Some(path) = &raw.data.path {
        let dataset = Dataset::open(path)?;
        return Ok(Situation {
            num_classes: dataset.num_classes(),
            num_train: dataset.train.len(),
            num_eval: dataset.eval.len(),
            ..IMAGENET
        });
    }
    if let Some(synth) = &raw.data.synth {
        return Ok(Situation {
            num_classes: synth.num_classes,
            num_train: synth.num_train,
            num_eval: synth.num_eval,
            ..IMAGENET
        });
    }
    notes.push(
        "assumed: ImageNet (1281167 training images, 50000 for evaluation, 1000 classes), as there \
         is no data set; name one with --data"
            .into(),
    );
    Ok(IMAGENET)
}
