//! The `ImageNet` layout: `train/CLASS/*.JPEG` and `val/CLASS/*.JPEG`.
//!
//! Order and labels are torchvision's `ImageFolder`: classes sorted by name, then by folder and
//! file name. Opening lists names only and reads no picture, so it may happen before the run's
//! clock starts. Whether a file is what its name says shows when it is decoded.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::DataError;

/// Endings that torchvision takes for pictures. The ones that are no JPEG are listed as well: a
/// picture that cannot be decoded must be an error, not a smaller data set.
const PICTURE_ENDINGS: [&str; 9] =
    ["jpg", "jpeg", "png", "ppm", "bmp", "pgm", "tif", "tiff", "webp"];

/// Which half of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// `train/`.
    Train,
    /// `val/`.
    Eval,
}

impl Split {
    pub(super) fn folder_name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Eval => "val",
        }
    }
}

/// Paths and labels of one split. Names are kept in one arena: 1.28 million of them take about 50 MB.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    classes: Vec<String>,
    labels: Vec<u32>,
    /// Paths below the class folder, one after the other.
    names: Vec<u8>,
    /// Where sample `i`'s name ends.
    name_ends: Vec<usize>,
}

impl Folder {
    /// Lists one split of the data set at `root`.
    pub fn open(root: &Path, split: Split) -> Result<Self, DataError> {
        if !root.is_dir() {
            return Err(DataError::NoDataSet(root.to_owned()));
        }
        let path = root.join(split.folder_name());
        if !path.is_dir() {
            return Err(DataError::NoSplit(path));
        }
        let classes = list_classes(&path)?;
        if classes.is_empty() {
            return Err(DataError::NoClasses(path));
        }
        let mut folder =
            Self { path, classes, labels: Vec::new(), names: Vec::new(), name_ends: Vec::new() };
        for label in 0..folder.classes.len() {
            folder.list_class(label)?;
        }
        Ok(folder)
    }

    /// Samples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no samples; an opened folder always has some.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Classes.
    pub fn num_classes(&self) -> usize {
        self.classes.len()
    }

    /// Class names; the index is the label.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Label of sample `i`.
    pub fn label(&self, i: usize) -> usize {
        self.labels[i] as usize
    }

    /// File of sample `i`.
    pub fn path(&self, i: usize) -> PathBuf {
        let start = if i == 0 { 0 } else { self.name_ends[i - 1] };
        let name = OsStr::from_bytes(&self.names[start..self.name_ends[i]]);
        self.path.join(&self.classes[self.label(i)]).join(name)
    }

    fn list_class(&mut self, label: usize) -> Result<(), DataError> {
        let class_path = self.path.join(&self.classes[label]);
        let mut files = Vec::new();
        list_pictures(&class_path, Path::new(""), &mut files)?;
        if files.is_empty() {
            return Err(DataError::EmptyClass(class_path));
        }
        files
            .sort_unstable_by(|a, b| (a.parent(), a.file_name()).cmp(&(b.parent(), b.file_name())));
        for file in &files {
            self.names.extend_from_slice(file.as_os_str().as_bytes());
            self.name_ends.push(self.names.len());
            self.labels.push(label as u32);
        }
        Ok(())
    }
}

/// Both splits of a data set; their classes agree.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Training samples.
    pub train: Arc<Folder>,
    /// Validation samples.
    pub eval: Arc<Folder>,
}

impl Dataset {
    /// Lists both splits of the data set at `root`.
    pub fn open(root: &Path) -> Result<Self, DataError> {
        let train = Folder::open(root, Split::Train)?;
        let eval = Folder::open(root, Split::Eval)?;
        if let [class] = train.classes() {
            return Err(DataError::OneClass { path: train.path.clone(), class: class.clone() });
        }
        check_classes(&train, &eval)?;
        check_classes(&eval, &train)?;
        Ok(Self { train: Arc::new(train), eval: Arc::new(eval) })
    }

    /// Classes.
    pub fn num_classes(&self) -> usize {
        self.train.num_classes()
    }
}

fn check_classes(present: &Folder, absent: &Folder) -> Result<(), DataError> {
    match present.classes.iter().find(|class| absent.classes.binary_search(class).is_err()) {
        None => Ok(()),
        Some(class) => Err(DataError::ClassMismatch {
            class: class.clone(),
            present: present.path.clone(),
            absent: absent.path.clone(),
        }),
    }
}

/// Names of the folders in `path`, sorted. Links to folders count, hidden folders do not.
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

/// Appends the pictures below `root/within`, as paths from `root`.
fn list_pictures(root: &Path, within: &Path, found: &mut Vec<PathBuf>) -> Result<(), DataError> {
    for (name, kind) in list(&root.join(within))? {
        let path = within.join(&name);
        match kind {
            Kind::Folder => list_pictures(root, &path, found)?,
            Kind::File if is_picture(&path) => found.push(path),
            Kind::File => {}
        }
    }
    Ok(())
}

fn is_picture(path: &Path) -> bool {
    let ending = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    PICTURE_ENDINGS.iter().any(|known| known.eq_ignore_ascii_case(ending))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Folder,
    File,
}

/// Entries of a folder. Kinds come with the listing; only a link needs a look of its own.
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
    use super::super::fixture::write;
    use super::*;

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
        let folder = Folder::open(root.path(), Split::Train).unwrap();
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
    fn linked_class_folders_count() {
        let root = tree(&["store/1.jpg", "train/b/1.jpg"]);
        let link = root.path().join("train/a");
        std::os::unix::fs::symlink(root.path().join("store"), link).unwrap();
        let folder = Folder::open(root.path(), Split::Train).unwrap();
        assert_eq!((folder.classes().len(), folder.len()), (2, 2));
    }

    #[test]
    fn both_splits_open_where_classes_agree() {
        let root = tree(&["train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg", "val/b/1.jpg"]);
        let dataset = Dataset::open(root.path()).unwrap();
        assert_eq!((dataset.num_classes(), dataset.train.len(), dataset.eval.len()), (2, 2, 2));
    }

    #[test]
    fn what_is_no_data_set_says_why() {
        let missing = Dataset::open(Path::new("/nowhere")).unwrap_err().to_string();
        assert!(missing.starts_with("no data set at /nowhere; name one with --data"), "{missing}");
        let cases: [(&[&str], &str); 7] = [
            (&["val/a/1.jpg"], "no folder"),
            (&["train/a/1.jpg", "train/b/1.jpg"], "no folder"),
            (&["train/a/1.jpg", "train/b/1.jpg", "val/1.jpg"], "no class folders in"),
            (&["train/a/1.jpg", "train/b/1.txt", "val/a/1.jpg"], "no pictures in"),
            (&["train/a/1.jpg", "val/a/1.jpg"], "one class only in"),
            (&["train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg"], "class b is in"),
            (&["train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg", "val/c/1.jpg"], "class b is in"),
        ];
        for (paths, message) in cases {
            let error = error(paths);
            assert!(error.starts_with(message), "{paths:?}: {error}");
        }
    }
}
