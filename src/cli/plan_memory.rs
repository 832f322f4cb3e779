//! `mlperf-run plan --gpu-memory`: whether a recipe fits the memory of a GPU.

use std::str::FromStr;

use crate::{
    console::{Column, aligned},
    recipe::{GpuMemory, Recipe},
};

const GB: f64 = 1e9;
/// Units of memory, bytes.
const UNITS: [(&str, f64); 4] =
    [("GB", GB), ("GiB", 1_073_741_824.0), ("MB", 1e6), ("MiB", 1_048_576.0)];

/// Memory of a GPU, bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MemorySize(f64);

impl FromStr for MemorySize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size = UNITS.iter().find_map(|(unit, bytes)| {
            let number: f64 = text.strip_suffix(unit)?.trim().parse().ok()?;
            (number.is_finite() && number > 0.0).then_some(Self(number * bytes))
        });
        size.ok_or_else(|| {
            format!("'{text}' is no size of memory; write it as \"24GB\" or \"80GiB\"")
        })
    }
}

/// What `recipe` needs by image size, and the largest batch that fits `limit`.
pub(super) fn text(recipe: &Recipe, MemorySize(limit): MemorySize) -> String {
    let memory = GpuMemory::of(recipe);
    let batch = recipe.microbatch();
    let gb = |bytes: f64| format!("{:.2}", bytes / GB);
    let column = |title, cell: &dyn Fn(&(usize, f64)) -> String| {
        Column::right(title, memory.by_size.iter().map(cell).collect::<Vec<_>>().into_iter())
    };
    let table = aligned(&[
        column("side", &|(size, _)| size.to_string()),
        column("MB an image", &|(_, bytes)| format!("{:.1}", bytes / 1e6)),
        column("GB in all", &|(_, bytes)| gb(memory.total(batch, *bytes))),
        column("most images a rank", &|(_, bytes)| memory.largest_batch(limit, *bytes).to_string()),
    ]);
    let per_image = memory.by_size.iter().map(|(_, bytes)| *bytes).fold(0.0, f64::max);
    let (most, largest) = (memory.total(batch, per_image), memory.largest_batch(limit, per_image));
    let verdict = if most <= limit {
        format!("{batch} images a rank fit; up to {largest} would")
    } else if memory.fixed() + memory.evaluation > limit {
        "the evaluation does not fit; lower eval.batch_size".to_owned()
    } else {
        format!(
            "{batch} images a rank do not fit, and {largest} would; set train.microbatch = \"auto\", take more \
             ranks, or lower train.batch_size to {} and optimizer.lr in proportion (and \
             optimizer.weight_decay where it is decoupled)",
            largest * recipe.run_context.world_size
        )
    };
    format!(
        "memory of a GPU, predicted: weights and gradients {} GB, optimizer {} GB, averages {} GB, copies \
         of them {} GB, evaluation {} GB, CUDA and cuDNN {} GB (assumed)\n{table}\n{} GB: {verdict}\n\
         The prediction may be a third too high; see docs/recipes.md for its formula.",
        gb(memory.weights),
        gb(memory.momenta),
        gb(memory.averages),
        gb(memory.copies),
        gb(memory.evaluation),
        gb(memory.reserve),
        gb(limit),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_memory_are_read_in_four_units() {
        for (text, bytes) in [("24GB", 24e9), ("80 GiB", 85_899_345_920.0), ("1.5GB", 1.5e9)] {
            let MemorySize(found) = text.parse().unwrap();
            assert!((found - bytes).abs() < 1.0, "{text}: {found}");
        }
        for text in ["", "24", "GB", "-1GB", "infGB", "24gb"] {
            let error = text.parse::<MemorySize>().unwrap_err();
            assert!(error.ends_with("write it as \"24GB\" or \"80GiB\""), "{error}");
        }
    }
}
