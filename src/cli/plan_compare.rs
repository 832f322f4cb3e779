//! `mlperf-run plan` with several recipes: what each of them costs.

use anyhow::Context;

use super::plan::{self, PlanArgs};
use crate::{
    console::{Column, aligned},
    recipe::{Cost, Throughput},
};

/// Predicts minutes where no other throughput is given.
const PROTOTYPE: &str = include_str!("../../configs/throughput/prototype-8xH100.toml");

/// A line for each recipe of `args`, and what the minutes are predicted from.
pub(super) fn text(args: &PlanArgs) -> anyhow::Result<String> {
    let throughput = match &args.throughput {
        Some(path) => plan::throughput(path)?,
        None => Throughput::parse(PROTOTYPE).expect("the built-in table is valid"),
    };
    let cost = |name: &String| {
        let recipe = plan::planned(args, name).with_context(|| name.clone())?.0;
        Ok((recipe.run_context.world_size, Cost::of(&recipe, &throughput)))
    };
    let costs: Vec<_> = args.recipe.iter().map(cost).collect::<anyhow::Result<_>>()?;
    let column = |title, cell: &dyn Fn(&(usize, Cost)) -> String| {
        Column::right(title, costs.iter().map(cell).collect::<Vec<_>>().into_iter())
    };
    let minutes = |cost: &Cost| cost.minutes.map_or_else(|| "-".to_owned(), |m| format!("{m:.2}"));
    let table = aligned(&[
        Column::left("recipe", args.recipe.iter().cloned()),
        column("ranks", &|(num_ranks, _)| num_ranks.to_string()),
        column("epochs", &|(_, cost)| cost.num_epochs.to_string()),
        column("epochs at 224 px", &|(_, cost)| format!("{:.2}", cost.full_size_epochs)),
        column("EFLOP", &|(_, cost)| format!("{:.3}", cost.eflop)),
        column("predicted minutes", &|(_, cost)| minutes(cost)),
    ]);
    let is_known = costs.iter().all(|(_, cost)| cost.minutes.is_some());
    let unknown = if is_known { "" } else { "\n-: the rates are of another number of ranks" };
    Ok(format!(
        "{table}\n\nepochs at 224 px: as many pixels as all epochs of the run\npredicted minutes: of all \
         epochs on {} ranks, not measured, from {}{unknown}",
        throughput.num_ranks, throughput.source
    ))
}
