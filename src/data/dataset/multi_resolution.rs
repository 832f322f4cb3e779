//! Stores of the same source at several image sizes, side by side in a folder, as one data set:
//! each epoch reads the smallest store whose images have enough pixels for its crops.
//!
//! The stores hold the same samples in the same order, which is checked row by row, so order, crops
//! and batches of an epoch do not depend on the store it reads. The largest store represents the
//! data set; all use its validation images, which no store has shrunk.

use std::path::{Path, PathBuf};

use crate::data::{
    config::{Split, TrainTransform},
    dataset::open,
    error::DataError,
    format::manifest::stores_by_size,
    index::Index,
    order::plan::Transform,
};

/// One split of the stores in `root`; `None` if there are not several stores.
pub(in crate::data) fn open(root: &Path, split: Split) -> Result<Option<Index>, DataError> {
    let mut stores = stores_by_size(root)?;
    let Some((_, largest)) = stores.pop() else { return Ok(None) };
    let mut index = open::open(&largest, split, None)?;
    if split == Split::Eval {
        return Ok(Some(index));
    }
    for (max_side, folder) in stores {
        let mut smaller = open::open(&folder, split, None)?;
        if let Some(reason) = difference(&index, &smaller) {
            return Err(DataError::StoresDiffer { store: largest, other: folder, reason });
        }
        smaller.first_key = (index.smaller.len() + 1) * index.len();
        index.division = index.division.max(smaller.division);
        index.smaller.push((max_side, smaller));
    }
    Ok(Some(index))
}

/// How two stores differ beyond image size, if they do.
fn difference(store: &Index, other: &Index) -> Option<String> {
    let (len, other_len) = (store.len(), other.len());
    if len != other_len {
        return Some(format!("{len} and {other_len} training images"));
    }
    if store.classes != other.classes {
        return Some("other classes".to_owned());
    }
    let row =
        (0..len).find(|&i| (store.label(i), store.name(i)) != (other.label(i), other.name(i)))?;
    let [name, other_name] = [store, other].map(|it| String::from_utf8_lossy(it.name(row)));
    Some(format!("image {row} is {name} and {other_name}"))
}

impl Index {
    /// The samples that `transform` reads: from several stores, the smallest whose longest side is
    /// at least `store_scale` times the crop size, or else the largest.
    pub(in crate::data) fn serving(&self, transform: &Transform) -> &Self {
        let Transform::Train { image_size, config } = transform else { return self };
        let wanted = config.store_scale * *image_size as f64;
        let mut smaller = self.smaller.iter();
        smaller.find(|(max_side, _)| *max_side as f64 >= wanted).map_or(self, |(_, index)| index)
    }

    /// All stores, the largest last; only itself if there is one store.
    pub(in crate::data) fn stores(&self) -> impl Iterator<Item = &Self> {
        self.smaller.iter().map(|(_, index)| index).chain([self])
    }

    /// The key of sample `i` of this store in a cache of images.
    pub(in crate::data) fn key(&self, i: usize) -> usize {
        self.first_key + i
    }

    /// Number of keys in a cache of images: one per sample and store.
    pub fn num_keys(&self) -> usize {
        (self.smaller.len() + 1) * self.len()
    }

    /// The smaller stores with the longest side of their images, px; empty if there is one store.
    pub fn smaller(&self) -> impl Iterator<Item = (usize, &Self)> {
        self.smaller.iter().map(|(max_side, index)| (*max_side, index))
    }

    /// The folder that crops of `image_size` are read from, if there are several stores.
    pub fn store_of(&self, image_size: usize, config: TrainTransform) -> Option<PathBuf> {
        self.smaller.first()?;
        let index = self.serving(&Transform::Train { image_size, config });
        index.place(0).parent().map(Path::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, ops::ControlFlow};

    use tempfile::TempDir;

    use super::*;
    use crate::data::{
        config::{EvalTransform, StoreDivision},
        dataset::open::Dataset,
        fixture::data_set,
        format::manifest::identity_of,
        import::{Import, import},
    };

    /// Stores with images of at most 40 px.
    fn stores(max_sides: &[usize], seed: u64) -> TempDir {
        let (source, out) = (data_set(4, 2), TempDir::new().unwrap());
        add_stores(source.path(), (max_sides, seed), out.path());
        out
    }

    fn add_stores(source: &Path, (max_sides, seed): (&[usize], u64), out: &Path) {
        let request = Import { max_sides: max_sides.to_vec(), seed, ..Import::of(source) };
        import(&request, out, 1, &|_| ControlFlow::Continue(())).unwrap();
    }

    #[test]
    fn an_epoch_reads_the_smallest_store_with_enough_pixels() {
        let out = stores(&[36, 32, 34], 0);
        let dataset = Dataset::open(out.path()).unwrap();
        let root = out.path().canonicalize().unwrap();
        let of = |image_size, store_scale| {
            let config = TrainTransform { store_scale, ..TrainTransform::default() };
            dataset.train.store_of(image_size, config).unwrap()
        };
        for (image_size, store) in [(8, "32"), (16, "32"), (17, "34"), (18, "36"), (64, "36")] {
            assert_eq!(of(image_size, 2.0), root.join(store), "{image_size} px");
        }
        assert_eq!(of(32, 1.0), root.join("32"));
        let eval = Transform::Eval(EvalTransform::default());
        assert!(std::ptr::eq(dataset.train.serving(&eval), &raw const *dataset.train));
        assert_eq!((dataset.train.len(), dataset.eval.len()), (12, 6));
        assert!(dataset.eval.path(0).starts_with(root.join("36")));
        assert_eq!(dataset.division(), Some(StoreDivision::OpenOnly));
        let whole = identity_of(out.path()).unwrap();
        assert!(whole.is_some() && whole != identity_of(&out.path().join("36")).unwrap());
        let one = Dataset::open(&out.path().join("36")).unwrap();
        assert_eq!(one.train.store_of(8, TrainTransform::default()), None);
    }

    #[test]
    fn unshrunk_images_are_the_largest_store() {
        let (source, out) = (data_set(4, 2), TempDir::new().unwrap());
        add_stores(source.path(), (&[32], 0), &out.path().join("small"));
        assert!(matches!(Dataset::open(out.path()), Err(DataError::NoSplit(_))), "one is no set");
        add_stores(source.path(), (&[], 0), &out.path().join("all"));
        let dataset = Dataset::open(out.path()).unwrap();
        assert!(dataset.train.path(0).starts_with(out.path().canonicalize().unwrap().join("all")));
        assert_eq!(
            dataset.division(),
            Some(StoreDivision::OpenOnly),
            "some epochs read the small one"
        );
        fs::write(out.path().join("small/manifest.json"), "{}").unwrap();
        let error = Dataset::open(out.path()).unwrap_err().to_string();
        assert!(error.contains("small/manifest.json"), "{error}");
    }

    #[test]
    fn stores_with_other_samples_or_another_order_are_rejected() {
        let (source, out) = (data_set(4, 2), TempDir::new().unwrap());
        add_stores(source.path(), (&[32], 0), &out.path().join("32"));
        let other = out.path().join("other");
        let refused = |seed| {
            add_stores(source.path(), (&[], seed), &other);
            let error = Dataset::open(out.path()).unwrap_err().to_string();
            fs::remove_dir_all(&other).unwrap();
            error
        };
        add_stores(source.path(), (&[32], 0), &out.path().join("same"));
        let error = Dataset::open(out.path()).unwrap_err().to_string();
        assert!(error.contains("the same image size"), "{error}");
        fs::remove_dir_all(out.path().join("same")).unwrap();
        let error = refused(1);
        assert!(error.contains("image ") && error.contains("with one --seed"), "{error}");
        fs::remove_file(source.path().join("train/a/000.JPEG")).unwrap();
        let error = refused(0);
        assert!(error.contains("11 and 12 training images"), "{error}");
    }
}
