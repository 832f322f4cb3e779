//! The `ImageNet` layout: `train/CLASS/*.JPEG` and `val/CLASS/*.JPEG`.
//!
//! Order and labels are torchvision's `ImageFolder`: classes sorted by name, then by folder and
//! file name. Opening lists names only and reads no picture, so it may happen before an MLPerf
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
    fn folder_name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Eval => "val",
        }
    }
}

/// Paths and labels of one split. Names are kept in one arena: 1.28 million cost about 50 MB.
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
