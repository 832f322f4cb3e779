//! Splits one folder of class folders into training and validation images.
//!
//! Each class gives the same fraction: the images with the smallest hashes of seed, class and name. So
//! the order in which a disk lists files does not matter, and images that are added later move few
//! others.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::data::{
    config::Split,
    dataset::open::{self, Dataset, Place},
    error::DataError,
    format::{error::StoreError, folder},
    index::{Entry, Index},
};

/// The images in the class folders of `source`, or of `source/train` if there is no validation split.
pub(in crate::data) fn open(source: &Path, share: f64, seed: u64) -> Result<Dataset, StoreError> {
    if !(share > 0.0 && share < 1.0) {
        return Err(StoreError::ValShare(share));
    }
    let root = source.canonicalize().map_err(|_| DataError::NoDataSet(source.to_owned()))?;
    if open::place_of(&root, Split::Eval)? != Place::Nowhere {
        return Err(StoreError::HasVal(root));
    }
    let index = match open::place_of(&root, Split::Train)? {
        Place::Shards => return Err(StoreError::NotClassFolders(root)),
        // A class may be called train.
        Place::Folder(train) if folder::content(&train)?.num_folders > 0 => {
            let others = folder::folders(&root)?.into_iter().filter(|it| *it != train);
            match others.into_iter().find(|it| folder::has_classes(it)) {
                Some(other) => return Err(StoreError::OtherSplit(other)),
                None => folder::scan(&train)?,
            }
        }
        Place::Folder(_) | Place::Nowhere => {
            let inner = folder::folders(&root)?.into_iter().find(|it| folder::has_classes(it));
            match inner.filter(|_| !folder::has_classes(&root)) {
                Some(inner) => return Err(StoreError::NotClasses { root, inner }),
                None => folder::scan(&root)?,
            }
        }
    };
    let [mut train, eval] = split(&index, share, seed)?.map(|samples| subset(&index, &samples));
    train.num_hidden = index.num_hidden;
    Ok(Dataset::of(train, eval)?)
}

/// Training and validation samples, each in the order of `index`.
fn split(index: &Index, share: f64, seed: u64) -> Result<[Vec<usize>; 2], StoreError> {
    let mut of_class = vec![Vec::new(); index.num_classes()];
    (0..index.len()).for_each(|i| of_class[index.label(i)].push(i));
    let few = of_class.iter().zip(index.classes()).filter(|(samples, _)| samples.len() < 2);
    let few: Vec<_> = few.map(|(_, class)| class.clone()).collect();
    if !few.is_empty() {
        return Err(StoreError::TooFew(few));
    }
    let [mut train, mut eval] = [const { Vec::new() }; 2];
    for mut samples in of_class {
        let num_eval = (samples.len() as f64 * share).round() as usize;
        let num_eval = num_eval.clamp(1, samples.len() - 1);
        samples.sort_by_cached_key(|&i| hash(index, i, seed));
        let (chosen, rest) = samples.split_at(num_eval);
        eval.extend(chosen);
        train.extend(rest);
    }
    train.sort_unstable();
    eval.sort_unstable();
    Ok([train, eval])
}

/// A hash of the seed, and the class and the name of a sample.
fn hash(index: &Index, i: usize, seed: u64) -> [u8; 32] {
    let class = index.classes()[index.label(i)].as_bytes();
    let parts: [&[u8]; 4] = [&seed.to_le_bytes(), class, b"/", index.name(i)];
    parts.iter().fold(Sha256::new(), Sha256::chain_update).finalize().into()
}

/// Some samples of an index of single files.
fn subset(index: &Index, samples: &[usize]) -> Index {
    let places: Vec<PathBuf> = index.places.iter().map(|(place, _)| place.clone()).collect();
    let mut subset = Index::new(places, index.stamps.clone());
    subset.classes.clone_from(&index.classes);
    for &i in samples {
        let columns = &index.columns;
        subset.push(&Entry {
            place: columns.places[i],
            offset: columns.offsets[i],
            length: columns.lengths[i],
            label: columns.labels[i],
            size: columns.sizes[i],
            flags: columns.flags[i],
            name: index.name(i),
        });
    }
    subset
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tempfile::TempDir;

    use super::*;
    use crate::data::fixture::write;

    /// Class folders with so many images each.
    fn folder(nums: &[(&str, usize)]) -> TempDir {
        let root = TempDir::new().unwrap();
        for &(class, num) in nums {
            (0..num).for_each(|i| write(&root.path().join(class).join(format!("{i}.jpg")), b""));
        }
        root
    }

    fn names(index: &Index) -> BTreeSet<String> {
        let name = |i: usize| String::from_utf8_lossy(index.name(i)).into_owned();
        (0..index.len())
            .map(|i| format!("{}/{}", index.classes()[index.label(i)], name(i)))
            .collect()
    }

    #[test]
    fn each_class_gives_the_same_fraction_and_no_image_is_in_both_splits() {
        let root = folder(&[("a", 100), ("b", 31), ("train", 2)]);
        let Dataset { train, eval } = open(root.path(), 0.1, 0).unwrap();
        let of =
            |index: &Index, label| (0..index.len()).filter(|&i| index.label(i) == label).count();
        assert_eq!([0, 1, 2].map(|label| of(&eval, label)), [10, 3, 1]);
        assert_eq!([0, 1, 2].map(|label| of(&train, label)), [90, 28, 1]);
        assert!(names(&train).is_disjoint(&names(&eval)));
        assert!(train.columns.labels.is_sorted() && eval.columns.labels.is_sorted());
        let most = open(root.path(), 0.99, 0).unwrap();
        assert_eq!(of(&most.train, 2), 1, "each split has an image of each class");
    }

    #[test]
    fn the_choice_depends_on_seed_and_names_alone_and_images_added_later_move_few() {
        let root = folder(&[("a", 200), ("b", 200)]);
        let chosen = |seed| names(&open(root.path(), 0.2, seed).unwrap().eval);
        let before = chosen(7);
        assert_eq!(before, chosen(7));
        assert!(
            before.intersection(&chosen(8)).count() < 40,
            "of 80 chosen by chance, 16 are both"
        );
        write(&root.path().join("a/new.jpg"), b"");
        let after = chosen(7);
        assert!(before.difference(&after).count() <= 1, "one image moved more than one other");
        let elsewhere = folder(&[("b", 200), ("a", 200)]);
        assert_eq!(names(&open(elsewhere.path(), 0.2, 7).unwrap().eval), before);
    }

    #[test]
    fn a_training_split_alone_is_split_and_other_sets_are_refused() {
        let root = folder(&[("train/a", 4), ("train/b", 4)]);
        let set = open(root.path(), 0.25, 0).unwrap();
        assert_eq!((set.train.len(), set.eval.len(), set.num_classes()), (6, 2, 2));
        write(&root.path().join("valid/a/0.jpg"), b"");
        let error = open(root.path(), 0.25, 0).unwrap_err().to_string();
        assert!(error.contains("valid holds class folders as well as train"), "{error}");
        let parts = folder(&[("Training/a", 4), ("Training/b", 4), ("Testing/a", 2)]);
        let error = open(parts.path(), 0.25, 0).unwrap_err().to_string();
        assert!(error.contains("have no images of their own, but"), "{error}");
        write(&root.path().join("validation/a/0.jpg"), b"");
        assert!(matches!(open(root.path(), 0.25, 0), Err(StoreError::HasVal(_))));
        let shards = TempDir::new().unwrap();
        write(&shards.path().join("train.tar"), b"");
        assert!(matches!(open(shards.path(), 0.25, 0), Err(StoreError::NotClassFolders(_))));
        let few = folder(&[("a", 1), ("b", 4), ("c", 1)]);
        let error = open(few.path(), 0.25, 0).unwrap_err().to_string();
        assert!(error.contains("there are fewer of a, c; add images"), "{error}");
    }
}
