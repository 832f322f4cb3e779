//! Checks a recipe against the store of its training images.

use super::{error::RecipeError, file::RecipeFile};
use crate::{data::StoreDivision, mlperf::Division, problems::Problems};

/// Checks `file` against the division of the store that holds its training images, if it is a
/// store. Both the launcher and the ranks call this.
pub fn check_images(file: &RecipeFile, store: Option<StoreDivision>) -> Result<(), RecipeError> {
    let mut problems = Problems::default();
    if file.mlperf.division == Division::Closed && store == Some(StoreDivision::OpenOnly) {
        problems.add(
            "the images were changed on import (data inspect says how), which the closed division does \
             not allow; import them again without --max-side, --exif, --val-share and --on-bad, \
             name another store, or set mlperf.division = \"open\"",
        );
    }
    // Only in a store do neighbouring images belong to all classes.
    if file.data.train.block_shuffle && store.is_none() {
        problems.add(
            "data.train.block_shuffle keeps neighbours together, which are of one class unless the \
             images lie in a store; import them (mlperf-run data import DATA --out STORE), or set \
             it to false",
        );
    }
    RecipeError::unless_sound(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shrunk_store_is_for_the_open_division_only() {
        for (division, store, is_refused) in [
            (Division::Closed, Some(StoreDivision::OpenOnly), true),
            (Division::Closed, Some(StoreDivision::ClosedSafe), false),
            (Division::Closed, None, false),
            (Division::Open, Some(StoreDivision::OpenOnly), false),
        ] {
            let mut file = RecipeFile::default();
            file.mlperf.division = division;
            assert_eq!(check_images(&file, store).is_err(), is_refused, "{division:?}, {store:?}");
        }
    }

    #[test]
    fn blocks_are_shuffled_in_stores_only() {
        let mut file = RecipeFile::default();
        file.data.train.block_shuffle = true;
        assert!(check_images(&file, Some(StoreDivision::ClosedSafe)).is_ok());
        let refused = check_images(&file, None).unwrap_err().to_string();
        assert!(refused.contains("unless the images lie in a store; import them"), "{refused}");
    }
}
