//! The `ImageNet` layout: `train/CLASS/*.JPEG` and `val/CLASS/*.JPEG`.
//!
//! Order and labels equal those of torchvision's `ImageFolder`: classes sorted by name, then images
//! by folder and file name. Opening a folder only lists names and reads no image, so it may happen
//! before the run's clock starts. Decoding shows whether a file really is an image.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use crate::data::{
    error::DataError,
    index::{Entry, FileStamp, Index, WHOLE_FILE},
};

/// Extensions that torchvision accepts as images. Unsupported formats are listed as well: an image
/// that cannot be decoded must be an error, not a smaller data set.
const IMAGE_ENDINGS: [&str; 9] = ["jpg", "jpeg", "png", "ppm", "bmp", "pgm", "tif", "tiff", "webp"];

/// Lists the class folders in `path`.
pub(in crate::data) fn scan(path: &Path) -> Result<Index, DataError> {
    let classes = list_classes(path)?;
    if classes.is_empty() {
        return Err(DataError::NoClasses(path.to_owned()));
    }
    let mut stamps = vec![stamp(path)?];
    let mut index = Index::new(classes.iter().map(|class| path.join(class)).collect(), Vec::new());
    for (label, class) in classes.iter().enumerate() {
        list_class(&path.join(class), label as u32, &mut index, &mut stamps)?;
    }
    (index.classes, index.stamps) = (classes, stamps);
    Ok(index)
}

fn list_class(
    class_path: &Path,
    label: u32,
    index: &mut Index,
    stamps: &mut Vec<FileStamp>,
) -> Result<(), DataError> {
    let mut files = Vec::new();
    list_images(class_path, Path::new(""), &mut files, stamps)?;
    if files.is_empty() {
        return Err(DataError::EmptyClass(class_path.to_owned()));
    }
    files.sort_unstable_by(|a, b| (a.parent(), a.file_name()).cmp(&(b.parent(), b.file_name())));
    for file in &files {
        let name = file.as_os_str().as_bytes();
        let (offset, length, size) = (0, 0, [0; 2]);
        index.push(&Entry { place: label, offset, length, label, size, flags: WHOLE_FILE, name });
    }
    Ok(())
}

fn stamp(path: &Path) -> Result<FileStamp, DataError> {
    FileStamp::of(path).map_err(|source| DataError::List { path: path.to_owned(), source })
}

/// Names of the folders in `path`, sorted. Links to folders are included, hidden folders are not.
fn list_classes(path: &Path) -> Result<Vec<String>, DataError> {
    let mut classes = Vec::new();
    for (name, kind) in list(path)? {
        if kind == Kind::Folder && !name.as_bytes().starts_with(b".") {
            let class = name.into_string();
            classes.push(class.map_err(|name| DataError::ClassName(path.join(name)))?);
        }
    }
    classes.sort_unstable();
    Ok(classes)
}

/// Appends the images below `root/within`, as paths relative to `root`.
fn list_images(
    root: &Path,
    within: &Path,
    found: &mut Vec<PathBuf>,
    stamps: &mut Vec<FileStamp>,
) -> Result<(), DataError> {
    stamps.push(stamp(&root.join(within))?);
    for (name, kind) in list(&root.join(within))? {
        let path = within.join(&name);
        match kind {
            Kind::Folder => list_images(root, &path, found, stamps)?,
            Kind::File if is_image(&path) => found.push(path),
            Kind::File => {}
        }
    }
    Ok(())
}

/// Whether a file's name is that of an image.
pub(in crate::data) fn is_image(path: &Path) -> bool {
    let ending = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    IMAGE_ENDINGS.iter().any(|known| known.eq_ignore_ascii_case(ending))
}

/// The number of folders in `path`, without hidden ones, and the files.
pub(in crate::data) fn content(path: &Path) -> Result<(usize, Vec<PathBuf>), DataError> {
    let (mut num_folders, mut files) = (0, Vec::new());
    for (name, kind) in list(path)? {
        match kind {
            Kind::Folder => num_folders += usize::from(!name.as_bytes().starts_with(b".")),
            Kind::File => files.push(path.join(name)),
        }
    }
    Ok((num_folders, files))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Folder,
    File,
}

/// Entries of a folder. The listing gives their kinds; only links need a separate look-up.
fn list(path: &Path) -> Result<Vec<(std::ffi::OsString, Kind)>, DataError> {
    let failed = |source| DataError::List { path: path.to_owned(), source };
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let file_type = entry.file_type().map_err(failed)?;
        let is_folder = file_type.is_dir() || (file_type.is_symlink() && entry.path().is_dir());
        entries.push((entry.file_name(), if is_folder { Kind::Folder } else { Kind::File }));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{config::Split, dataset::open::Dataset, fixture::write};

    /// A folder with empty files at `paths`.
    fn tree(paths: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for path in paths {
            write(&root.path().join(path), b"");
        }
        root
    }

    fn error(paths: &[&str]) -> String {
        Dataset::open(tree(paths).path()).unwrap_err().to_string()
    }

    #[test]
    fn samples_are_sorted_by_class_and_file_name() {
        let root = tree(&[
            "train/b/10.jpg",
            "train/b/9.JPEG",
            "train/b/notes.txt",
            "train/a/x.png",
            "train/a/images/y.jpg",
            "train/Z/1.jpg",
            "train/.cache/1.jpg",
            "train/readme.jpg",
        ]);
        let folder = Index::open(root.path(), Split::Train).unwrap();
        assert_eq!(folder.classes(), ["Z", "a", "b"]);
        let samples: Vec<_> = (0..folder.len())
            .map(|i| {
                let path = folder.path(i);
                let path = path.strip_prefix(root.path().join("train")).unwrap();
                (path.to_str().unwrap().to_owned(), folder.label(i))
            })
            .collect();
        let expected = [
            ("Z/1.jpg", 0),
            ("a/x.png", 1),
            ("a/images/y.jpg", 1),
            ("b/10.jpg", 2),
            ("b/9.JPEG", 2),
        ];
        assert_eq!(samples, expected.map(|(path, label)| (path.to_owned(), label)));
    }

    #[test]
    fn linked_class_folders_are_included() {
        let root = tree(&["store/1.jpg", "train/b/1.jpg"]);
        let link = root.path().join("train/a");
        std::os::unix::fs::symlink(root.path().join("store"), link).unwrap();
        let folder = Index::open(root.path(), Split::Train).unwrap();
        assert_eq!((folder.classes().len(), folder.len()), (2, 2));
    }

    #[test]
    fn both_splits_open_if_their_classes_agree() {
        let root = tree(&["train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg", "val/b/1.jpg"]);
        let dataset = Dataset::open(root.path()).unwrap();
        assert_eq!((dataset.num_classes(), dataset.train.len(), dataset.eval.len()), (2, 2, 2));
    }

    #[test]
    fn errors_say_why_a_folder_is_not_a_data_set() {
        let missing = Dataset::open(Path::new("/nowhere")).unwrap_err().to_string();
        assert!(missing.starts_with("no data set at /nowhere; name one with --data"), "{missing}");
        let cases: [(&[&str], &str); 7] = [
            (&["val/a/1.jpg"], "no folder"),
            (&["train/a/1.jpg", "train/b/1.jpg"], "no folder"),
            (&["train/a/1.jpg", "train/b/1.jpg", "val/1.jpg"], "no class folders in"),
            (&["train/a/1.jpg", "train/b/1.txt", "val/a/1.jpg"], "no images in"),
            (&["train/a/1.jpg", "val/a/1.jpg"], "only one class in"),
            (&["train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg"], "class b is in"),
            (&["train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg", "val/c/1.jpg"], "class b is in"),
        ];
        for (paths, message) in cases {
            let error = error(paths);
            assert!(error.starts_with(message), "{paths:?}: {error}");
        }
    }
}
