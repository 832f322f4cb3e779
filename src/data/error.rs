//! What can go wrong between a folder of images and a batch.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a data set cannot be opened or a batch cannot be made.
#[derive(Debug, Error)]
pub enum DataError {
    /// The root folder does not exist.
    #[error("no data set at {}; name one with --data DIR, or take a demo recipe", .0.display())]
    NoDataSet(PathBuf),
    /// The root lacks `train` or `val`.
    #[error("no folder {}; a data set has train/ and val/ with CLASS/*.JPEG, or *.tar, *.arrow, *.tfrecord, *.rec, *.beton or MDS shards, or is a folder of stores", .0.display())]
    NoSplit(PathBuf),
    /// A folder cannot be listed.
    #[error("cannot list {}: {source}; check its permissions", .path.display())]
    List {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A split has no class folders.
    #[error("no class folders in {}; put the images of each class in a folder of its own", .0.display())]
    NoClasses(PathBuf),
    /// One class alone: nothing can be learnt.
    #[error("one class only in {} ({class}); a classifier needs two or more", .path.display())]
    OneClass {
        /// The split's folder.
        path: PathBuf,
        /// The class.
        class: String,
    },
    /// A class has no images.
    #[error("no images in {}; remove the folder or fill it", .0.display())]
    EmptyClass(PathBuf),
    /// A class folder's name is not text.
    #[error("the name of class folder {} is not UTF-8; rename it", .0.display())]
    ClassName(PathBuf),
    /// Both splits must have the same classes, or labels would not mean the same.
    #[error("class {class} is in {} but not in {}; both need the same class folders", .present.display(), .absent.display())]
    ClassMismatch {
        /// The class.
        class: String,
        /// The split's folder that has it.
        present: PathBuf,
        /// The split's folder that lacks it.
        absent: PathBuf,
    },
    /// Labels are numbers, so both splits must number the classes alike.
    #[error("{} and {} have the same classes in another order; write both with one list of classes", .train.display(), .eval.display())]
    ClassOrder {
        /// Where training images are.
        train: PathBuf,
        /// Where validation images are.
        eval: PathBuf,
    },
    /// An archive or a shard cannot be used.
    #[error("cannot train from {}: {reason}; copy or download it again, or see docs/design/data.md for what it has to hold", .path.display())]
    Container {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An archive or a shard has no images.
    #[error("no images in {}; a data set has *.JPEG files in folders, archives or stores", .0.display())]
    NoImages(PathBuf),
    /// Images without labels.
    #[error("no labels in {}; put a file val_labels.txt there whose lines say IMAGE CLASS", .0.display())]
    NoLabels(PathBuf),
    /// A line of a file of labels.
    #[error("{} line {line}: {reason}; a line says IMAGE CLASS, with the name of a class", .path.display())]
    BadLabel {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of labels that does not fit the images.
    #[error("{} does not fit the images: {reason}; take the one that belongs to them", .path.display())]
    BadLabels {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Stores beside each other that are not of the same images.
    #[error("the stores {} and {} differ: {reason}; import both from one source with one --seed, or name one of them", .store.display(), .other.display())]
    StoresDiffer {
        /// The largest.
        store: PathBuf,
        /// A smaller one.
        other: PathBuf,
        /// In what.
        reason: String,
    },
    /// Not a store.
    #[error("{} is no store: it has no manifest.json of one; name a folder that `mlperf-run data import` wrote", .0.display())]
    NoStore(PathBuf),
    /// An import that is not over.
    #[error("the import into {} is not finished; run the same `mlperf-run data import` again, which goes on where it stopped", .0.display())]
    Unfinished(PathBuf),
    /// A store of a later version of this program.
    #[error("{} is of version {version}, and this mlperf-run reads up to version {known}; update mlperf-run, or import again", .path.display())]
    NewerStore {
        /// The manifest.
        path: PathBuf,
        /// Its version.
        version: u64,
        /// The newest that can be read.
        known: u32,
    },
    /// A store's manifest that cannot be read.
    #[error("cannot read {}: {reason}; import again, or copy the store anew", .path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Shards that are not those of the manifest.
    #[error("{} of {num_shards} shards differ from the manifest of {}: {}; import again, or copy the store anew", .faults.len(), .folder.display(), some_of(.faults))]
    StoreDiffers {
        /// The store.
        folder: PathBuf,
        /// Shards that the manifest lists.
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
    #[error("no readable image in the batch of epoch {epoch}, step {step}; the last one tried is {}: {reason}", .path.display())]
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
    /// An archive or a shard was written to since its images were listed.
    #[error("{} has changed since the run began to read it; leave a set alone while a run reads it, and start again", .0.display())]
    Changed(PathBuf),
    /// The cache of decoded images cannot be made.
    #[error("cannot keep images in {}: {source}; set data.train.ram_cache = \"off\", or give the container shared memory", .path.display())]
    Cache {
        /// The folder in memory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no room for the cache of decoded images.
    #[error(
        "data.train.ram_cache asks for {wanted} and there is room for {room} beside all else; ask for less, or set it to \"auto\""
    )]
    CacheRoom {
        /// What it asks for.
        wanted: String,
        /// What there is.
        room: String,
    },
    /// A sheet of images cannot be written.
    #[error("cannot write {}: {source}; name a file in a folder that is there", .path.display())]
    Sheet {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A thread of the loader panicked: a bug of ours.
    #[error("the loader panicked: {0}; this is a bug")]
    Panicked(String),
}

/// The first few of many.
fn some_of(faults: &[String]) -> String {
    const NUM_SHOWN: usize = 5;
    let shown = faults[..faults.len().min(NUM_SHOWN)].join(", ");
    match faults.len().saturating_sub(NUM_SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
