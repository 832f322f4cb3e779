//! The `ImageNet` layout: `train/CLASS/*.JPEG` and `val/CLASS/*.JPEG`.
//!
//! Order and labels equal those of torchvision's `ImageFolder`: classes sorted by name, then images
//! by folder and file name. Opening a folder only lists names and reads no image, so it may happen
//! before the run's clock starts. Decoding shows whether a file really is an image.

use std::{
    ffi::OsString,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use crate::data::{
    error::DataError,
    format::names::{is_hidden, is_image},
    index::{Entry, FileStamp, Index, WHOLE_FILE},
};

/// Lists the class folders in `path`.
pub(in crate::data) fn scan(path: &Path) -> Result<Index, DataError> {
    let (classes, num_hidden) = list_classes(path)?;
    if classes.is_empty() {
        return Err(DataError::NoClasses(path.to_owned()));
    }
    let mut stamps = vec![stamp(path)?];
    let mut index = Index::new(classes.iter().map(|class| path.join(class)).collect(), Vec::new());
    index.num_hidden = num_hidden;
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
    let mut listing = Listing { root: class_path, files: Vec::new(), above: Vec::new(), stamps };
    index.num_hidden += listing.folder(Path::new(""))?;
    let mut files = listing.files;
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

/// Names of the folders in `path`, sorted, and the number of hidden entries. Links to folders are
/// included.
fn list_classes(path: &Path) -> Result<(Vec<String>, u32), DataError> {
    let (mut classes, entries) = (Vec::new(), list(path)?);
    for (name, kind) in entries.shown {
        if kind == Kind::Folder {
            let class = name.into_string();
            classes.push(class.map_err(|name| DataError::ClassName(path.join(name)))?);
        }
    }
    classes.sort_unstable();
    Ok((classes, entries.num_hidden))
}

/// The images of a class.
struct Listing<'a> {
    root: &'a Path,
    /// Relative to `root`.
    files: Vec<PathBuf>,
    /// Device and inode of the folders around the current one.
    above: Vec<(u64, u64)>,
    stamps: &'a mut Vec<FileStamp>,
}

impl Listing<'_> {
    /// Appends the images below `within`. Returns the number of hidden entries.
    fn folder(&mut self, within: &Path) -> Result<u32, DataError> {
        let path = self.root.join(within);
        let listed = |source| DataError::List { path: path.clone(), source };
        let metadata = fs::metadata(&path).map_err(listed)?;
        let this = (metadata.dev(), metadata.ino());
        if self.above.contains(&this) {
            return Err(DataError::LinkLoop(path));
        }
        self.above.push(this);
        self.stamps.push(stamp(&path)?);
        let entries = list(&path)?;
        let mut num_hidden = entries.num_hidden;
        for (name, kind) in entries.shown {
            let path = within.join(&name);
            match kind {
                Kind::Folder => num_hidden += self.folder(&path)?,
                Kind::File if is_image(&path) => self.files.push(path),
                Kind::Other(kind) if is_image(&path) => {
                    return Err(DataError::NotAFile { path: self.root.join(path), kind });
                }
                Kind::File | Kind::Other(_) => {}
            }
        }
        self.above.pop();
        Ok(num_hidden)
    }
}

/// Whether a folder has folders with images directly in them.
pub(in crate::data) fn has_classes(path: &Path) -> bool {
    let has_image = |class: &Path| {
        let content = content(class);
        content.is_ok_and(|content| content.files.iter().any(|file| is_image(file)))
    };
    let folders = list(path).map(|entries| entries.shown).unwrap_or_default().into_iter();
    let mut folders = folders.filter(|(_, kind)| *kind == Kind::Folder);
    folders.any(|(name, _)| has_image(&path.join(name)))
}

/// The folders in the folder `path`, in the order of their names.
pub(in crate::data) fn folders(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    let shown = list(path)?.shown.into_iter().filter(|(_, kind)| *kind == Kind::Folder);
    let mut folders: Vec<PathBuf> = shown.map(|(name, _)| path.join(name)).collect();
    folders.sort_unstable();
    Ok(folders)
}

/// What is in a folder, without hidden entries.
pub(in crate::data) struct Content {
    pub(in crate::data) num_folders: usize,
    pub(in crate::data) files: Vec<PathBuf>,
    pub(in crate::data) num_hidden: u32,
}

/// What is in the folder `path`.
pub(in crate::data) fn content(path: &Path) -> Result<Content, DataError> {
    let entries = list(path)?;
    let mut content = Content { num_folders: 0, files: Vec::new(), num_hidden: entries.num_hidden };
    for (name, kind) in entries.shown {
        match kind {
            Kind::Folder => content.num_folders += 1,
            Kind::File => content.files.push(path.join(name)),
            Kind::Other(_) => {}
        }
    }
    Ok(content)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Folder,
    File,
    /// What blocks or has no end when it is read, in words.
    Other(&'static str),
}

struct Entries {
    shown: Vec<(OsString, Kind)>,
    num_hidden: u32,
}

/// Entries of a folder. The listing gives their kinds; only links need a separate look-up.
fn list(path: &Path) -> Result<Entries, DataError> {
    let failed = |source| DataError::List { path: path.to_owned(), source };
    let (mut shown, mut num_hidden) = (Vec::new(), 0);
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if is_hidden(entry.file_name().as_bytes()) {
            num_hidden += 1;
            continue;
        }
        let mut file_type = entry.file_type().map_err(failed)?;
        // A link to nothing stays a file, so that an image that is missing is an error.
        if file_type.is_symlink()
            && let Ok(target) = entry.path().metadata()
        {
            file_type = target.file_type();
        }
        shown.push((entry.file_name(), kind_of(file_type)));
    }
    Ok(Entries { shown, num_hidden })
}

fn kind_of(file_type: fs::FileType) -> Kind {
    if file_type.is_dir() {
        Kind::Folder
    } else if file_type.is_fifo() {
        Kind::Other("a pipe")
    } else if file_type.is_socket() {
        Kind::Other("a socket")
    } else if file_type.is_char_device() || file_type.is_block_device() {
        Kind::Other("a device")
    } else {
        Kind::File
    }
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
            (&["train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg"], "the splits differ"),
            (&["train/a/1.jpg", "train/b/1.jpg", "val/c/1.jpg"], "the splits differ"),
        ];
        for (paths, message) in cases {
            let error = error(paths);
            assert!(error.starts_with(message), "{paths:?}: {error}");
        }
    }
}
