//! Errors between opening a data set and returning a batch.

use std::{io, path::PathBuf};

use rustix::io::Errno;
use thiserror::Error;

/// Why a data set cannot be opened or a batch cannot be made.
#[derive(Debug, Error)]
pub enum DataError {
    /// The root folder does not exist.
    #[error("no data set at {}; name one with --data DIR, or use a demo recipe", .0.display())]
    NoDataSet(PathBuf),
    /// The root lacks `train` or `val`.
    #[error("no folder {}; create train/ and val/ with CLASS/*.JPEG, or with *.tar, *.arrow, *.tfrecord, *.rec, *.beton or MDS shards, or name a folder of stores", .0.display())]
    NoSplit(PathBuf),
    /// A folder cannot be listed.
    #[error("cannot list {}: {source}; check its permissions", .path.display())]
    List {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The machine cannot read a file, whatever is in it.
    #[error("cannot read {}: {source}; {}", .path.display(), remedy(.source))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A folder links to one that it is in.
    #[error("{} leads back to a folder that it is in; remove the link", .0.display())]
    LinkLoop(PathBuf),
    /// Something with the name of an image is no file.
    #[error("{} is {kind}, not a file; remove it", .path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// A split has no class folders.
    #[error("no class folders in {}; create one folder per class and put its images there", .0.display())]
    NoClasses(PathBuf),
    /// Only one class: there is nothing to learn.
    #[error("only one class in {} ({class}); add a second class folder", .path.display())]
    OneClass {
        /// The split's folder.
        path: PathBuf,
        /// The class.
        class: String,
    },
    /// A class has no images.
    #[error("no images in {}; remove the folder or add images", .0.display())]
    EmptyClass(PathBuf),
    /// The name of a class folder is not UTF-8.
    #[error("the name of class folder {} is not UTF-8; rename it", .0.display())]
    ClassName(PathBuf),
    /// Class folders without splits.
    #[error("no folder {}; split its images with mlperf-run data import {} --out STORE --val-share 0.1, or create train/ and val/ with the same class folders", .root.join(.missing).display(), .root.display())]
    Unsplit {
        /// The data set.
        root: PathBuf,
        /// The folder that is missing.
        missing: &'static str,
    },
    /// Both splits must have the same classes, or labels would differ in meaning.
    #[error("the splits differ in their classes: {}; make the class folders of both splits the same", differing(.train, .eval))]
    ClassMismatch {
        /// Location of the training images, and the classes that only they have.
        train: (PathBuf, Vec<String>),
        /// Location of the validation images, and the classes that only they have.
        eval: (PathBuf, Vec<String>),
    },
    /// Images that training does not read in place.
    #[error("{num_images} of the images are no JPEGs or PNGs by their names, such as {}; {fix}", .path.display())]
    NotInPlace {
        /// The first of them.
        path: PathBuf,
        /// How many there are.
        num_images: usize,
        /// What to do with them.
        fix: &'static str,
    },
    /// Labels are numbers, so both splits must number the classes alike.
    #[error("{} and {} list the same classes in different orders; write both with the same list of classes", .train.display(), .eval.display())]
    ClassOrder {
        /// Location of the training images.
        train: PathBuf,
        /// Location of the validation images.
        eval: PathBuf,
    },
    /// An archive or a shard cannot be used.
    #[error("cannot train from {}: {}", .path.display(), with_fix(.reason))]
    Container {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An archive or a shard has no images.
    #[error("no images in {}; add *.JPEG files in folders, archives or stores", .0.display())]
    NoImages(PathBuf),
    /// The images have no labels.
    #[error("no labels in {}; add a file val_labels.txt with lines of the form IMAGE CLASS", .0.display())]
    NoLabels(PathBuf),
    /// A bad line in a label file.
    #[error("{} line {line}: {reason}; write IMAGE CLASS, where CLASS is the name of a class", .path.display())]
    BadLabel {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A label file does not match the images.
    #[error("{} does not match the images: {reason}; use the label file of this data set", .path.display())]
    BadLabels {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Stores of different sizes do not hold the same images.
    #[error("the stores {} and {} differ: {reason}; import both from one source with one --seed, or name one of them", .store.display(), .other.display())]
    StoresDiffer {
        /// The largest store.
        store: PathBuf,
        /// A smaller store.
        other: PathBuf,
        /// How they differ.
        reason: String,
    },
    /// The folder is not a store.
    #[error("{} is not a store: it has no manifest.json of a store; name a folder that `mlperf-run data import` wrote", .0.display())]
    NoStore(PathBuf),
    /// The import is not finished.
    #[error("the import into {} is not finished; run the same `mlperf-run data import` again to resume it", .0.display())]
    Unfinished(PathBuf),
    /// The store was written by a later version of this program.
    #[error("{} has version {version}, but this mlperf-run reads versions up to {known}; update mlperf-run, or import again", .path.display())]
    NewerStore {
        /// The manifest.
        path: PathBuf,
        /// The manifest's version.
        version: u64,
        /// The newest version that can be read.
        known: u32,
    },
    /// A store's manifest cannot be read.
    #[error("cannot read {}: {reason}; import again, or copy the store again", .path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The shards differ from the manifest.
    #[error("{} of {num_shards} shards differ from the manifest of {}: {}; import again, or copy the store again", .faults.len(), .folder.display(), some_of(.faults))]
    StoreDiffers {
        /// The store.
        folder: PathBuf,
        /// Number of shards in the manifest.
        num_shards: usize,
        /// File and difference.
        faults: Vec<String>,
    },
    /// An image cannot be read or decoded.
    #[error("bad image {}: {reason}; repair or remove it, or set data.on_bad_image = \"skip\"", .path.display())]
    BadImage {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No image of a training batch can be decoded.
    #[error("no readable image in the batch of epoch {epoch}, step {step}; the last one tried is {}: {reason}; repair or remove the bad images", .path.display())]
    BadBatch {
        /// Epoch, from 0.
        epoch: usize,
        /// Step of the epoch, from 0.
        step: usize,
        /// The last file tried.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An archive or a shard was modified after its images were listed.
    #[error("{} has changed since the run started to read it; do not modify a data set during a run, and start the run again", .0.display())]
    Changed(PathBuf),
    /// The cache of decoded images cannot be created.
    #[error("cannot cache images in {}: {source}; set data.train.ram_cache = \"off\", or give the container more shared memory", .path.display())]
    Cache {
        /// The in-memory folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// There is not enough memory for the cache of decoded images.
    #[error(
        "data.train.ram_cache asks for {wanted}, but only {free} is free next to the loaders; lower it, or set it to \"auto\""
    )]
    CacheMemory {
        /// Requested size.
        wanted: String,
        /// Available memory.
        free: String,
    },
    /// A preview image cannot be written.
    #[error("cannot write {}: {source}; name a file in an existing folder", .path.display())]
    Sheet {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A thread of the loader panicked: a bug in this program.
    #[error("the loader panicked: {0}; this is a bug, please report it")]
    Panicked(String),
}

/// Whether a file cannot be read because of the machine, and not because of what is in the file. Such a
/// file is never a bad image that could be skipped.
pub(in crate::data) fn is_of_machine(error: &io::Error) -> bool {
    error.raw_os_error().is_some() && error.kind() != io::ErrorKind::NotFound
}

/// What helps against an error of the system.
pub(in crate::data) fn remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(code)
            if code == Errno::MFILE.raw_os_error() || code == Errno::NFILE.raw_os_error() =>
        {
            "raise the limit of open files: ulimit -n 65536"
        }
        _ if error.kind() == io::ErrorKind::PermissionDenied => "check its permissions",
        _ => "check the disk and its permissions",
    }
}

/// A reason that has its fix behind a semicolon, or with one.
fn with_fix(reason: &str) -> String {
    let fix = "copy or download it again, or see docs/design/data.md for the expected contents";
    if reason.contains("; ") { reason.to_owned() } else { format!("{reason}; {fix}") }
}

/// The classes that each split has alone.
fn differing(train: &(PathBuf, Vec<String>), eval: &(PathBuf, Vec<String>)) -> String {
    let splits = [train, eval].into_iter().filter(|(_, classes)| !classes.is_empty());
    let texts =
        splits.map(|(path, classes)| format!("only {} has {}", path.display(), some_of(classes)));
    texts.collect::<Vec<_>>().join(", and ")
}

/// The first few of many.
pub(in crate::data) fn some_of(faults: &[String]) -> String {
    const NUM_SHOWN: usize = 5;
    let shown = faults[..faults.len().min(NUM_SHOWN)].join(", ");
    match faults.len().saturating_sub(NUM_SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
