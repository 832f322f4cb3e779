//! What a recipe will do, epoch by epoch.

use std::fmt;

use super::resolved::{EpochValues, Recipe};

/// Summary of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// One row per epoch.
    pub rows: Vec<PlanRow>,
    /// Ranks.
    pub world_size: usize,
    /// Training images of a rank in a step.
    pub batch_per_rank: usize,
    /// Optimizer steps of the whole run.
    pub total_steps: usize,
    /// Training images of the whole run, over all ranks.
    pub total_images: usize,
    /// Steps in which the learning rate rises.
    pub warmup_steps: usize,
}

/// One epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanRow {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Size of the training images, px.
    pub image_size: usize,
    /// Optimizer steps.
    pub steps: usize,
    /// Learning rate of the first step.
    pub lr_first: f64,
    /// Learning rate of the last step.
    pub lr_last: f64,
    /// What else may change by epoch.
    pub values: EpochValues,
    /// Whether an evaluation follows.
    pub evaluation: bool,
    /// Minutes from `run_start` to the end of the epoch and its evaluation, where they are known.
    pub minutes: Option<f64>,
}

/// The text of one of the values.
type ValueText = fn(&EpochValues) -> String;

/// Of a column of values, characters.
const WIDTH: usize = 11;

impl Plan {
    /// What `recipe` will do.
    pub fn of(recipe: &Recipe) -> Self {
        let run_length = &recipe.run_length;
        let steps = run_length.steps_per_epoch;
        let row = |(index, image_size): (usize, &usize)| PlanRow {
            epoch: index + 1,
            image_size: *image_size,
            steps,
            lr_first: recipe.schedule.lr(index * steps),
            lr_last: recipe.schedule.lr((index + 1) * steps - 1),
            values: recipe.epoch_values[index],
            evaluation: recipe.eval_epochs.binary_search(&(index + 1)).is_ok(),
            minutes: None,
        };
        Self {
            rows: recipe.image_sizes.iter().enumerate().map(row).collect(),
            world_size: recipe.run_context.world_size,
            batch_per_rank: recipe.batch_per_rank,
            total_steps: run_length.total_steps(),
            total_images: run_length.total_steps() * run_length.batch_size,
            warmup_steps: recipe.schedule.warmup_steps(),
        }
    }

    /// Names and contents of the columns for values that change by epoch.
    fn changing_columns(&self) -> Vec<(&'static str, ValueText)> {
        let all: [(_, ValueText); 6] = [
            ("crop scale", |values| range(values.transform.scale)),
            ("crop ratio", |values| range(values.transform.ratio)),
            ("momentum", |values| rate(values.update.momentum)),
            ("decay", |values| rate(values.update.weight_decay)),
            ("smoothing", |values| rate(values.smoothing)),
            ("frozen", |values| values.num_frozen.to_string()),
        ];
        let changes = |text: ValueText| {
            self.rows.windows(2).any(|two| text(&two[0].values) != text(&two[1].values))
        };
        all.into_iter().filter(|(_, text)| changes(*text)).collect()
    }

    /// With the minutes at the end of each epoch, as
    /// [`Throughput::minutes`](super::Throughput::minutes) gives them.
    #[must_use]
    pub fn timed(mut self, minutes: Vec<f64>) -> Self {
        for (row, minutes) in self.rows.iter_mut().zip(minutes) {
            row.minutes = Some(minutes);
        }
        self
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "epochs         {:>11}", self.rows.len())?;
        writeln!(f, "steps          {:>11}", self.total_steps)?;
        writeln!(f, "warm-up steps  {:>11}", self.warmup_steps)?;
        writeln!(f, "images         {:>11}", self.total_images)?;
        writeln!(f, "ranks          {:>11}", self.world_size)?;
        writeln!(f, "batch per rank {:>11}", self.batch_per_rank)?;
        writeln!(f, "evaluations    {:>11}", self.rows.iter().filter(|r| r.evaluation).count())?;
        writeln!(f)?;
        write!(f, "epoch  side  steps  first LR   last LR    ")?;
        let columns = self.changing_columns();
        for (name, _) in &columns {
            write!(f, "{name:<WIDTH$}  ")?;
        }
        write!(f, "evaluation")?;
        if self.rows.iter().any(|row| row.minutes.is_some()) {
            write!(f, "  minutes")?;
        }
        for row in &self.rows {
            let mark = if row.evaluation { "yes" } else { "-" };
            write!(f, "\n{:>5} {:>5} {:>6}", row.epoch, row.image_size, row.steps)?;
            write!(f, "  {:<9}  {:<9}  ", rate(row.lr_first), rate(row.lr_last))?;
            for (_, text) in &columns {
                write!(f, "{:<WIDTH$}  ", text(&row.values))?;
            }
            match row.minutes {
                Some(minutes) => write!(f, "{mark:<10}  {minutes:>7.2}")?,
                None => write!(f, "{mark}")?,
            }
        }
        Ok(())
    }
}

/// Smallest and largest value.
fn range([least, most]: [f64; 2]) -> String {
    format!("{least:.3}-{most:.3}")
}

/// A learning rate, rounded to about four digits.
fn rate(lr: f64) -> String {
    if lr == 0.0 || lr >= 1e-3 { format!("{lr:.5}") } else { format!("{lr:.3e}") }
}
