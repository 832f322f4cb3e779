//! Checks that all ranks have the same inputs. The launcher has done so if it started them; other
//! launchers do not.

use tch::Tensor;

use super::error::TrainError;
use crate::{data::Dataset, distributed::Ddp, hash, recipe::Recipe, run_dir::DataStamp};

/// What must be the same on all ranks.
const INPUTS: [&str; 3] = ["mlperf-rank", "recipe or seed", "data set"];

/// An error on every rank that has another program, recipe or data set than rank 0.
pub(super) fn check_same_inputs(
    ddp: &Ddp,
    recipe: &Recipe,
    data: &Dataset,
) -> Result<(), TrainError> {
    let own = [
        prefix(&hash::sha256(env!("MLPERF_RUN_VERSION"))),
        prefix(&hash::sha256(without_place(recipe))),
        prefix(&listing(recipe, data)?),
    ];
    let first = Tensor::from_slice(&own);
    ddp.broadcast([&first])?;
    let first = Vec::<i64>::try_from(&first).expect("three numbers");
    let differing = (0..INPUTS.len()).find(|at| own[*at] != first[*at]);
    // All ranks end, and those that differ say why.
    let num_differing = Tensor::from(i64::from(differing.is_some()));
    ddp.sum(&num_differing)?;
    match differing {
        Some(at) => Err(TrainError::OtherInput(INPUTS[at])),
        None if i64::try_from(&num_differing).expect("one number") > 0 => {
            Err(TrainError::OtherInputElsewhere)
        }
        None => Ok(()),
    }
}

/// The recipe without the places of images and weights, which may differ from host to host.
fn without_place(recipe: &Recipe) -> String {
    let mut recipe = recipe.clone();
    (recipe.data.path, recipe.model.weights) = (None, None);
    recipe.to_toml()
}

/// Hash of the names of all images.
fn listing(recipe: &Recipe, data: &Dataset) -> Result<String, TrainError> {
    let path = recipe.data.path.clone().unwrap_or_default();
    let stamp = DataStamp::of(&path, data, None)?;
    Ok(stamp.store_sha256.unwrap_or(stamp.listing_sha256))
}

/// The first 64 bits of a hash.
fn prefix(digits: &str) -> i64 {
    u64::from_str_radix(&digits[..16], 16).expect("a hash is hexadecimal").cast_signed()
}
