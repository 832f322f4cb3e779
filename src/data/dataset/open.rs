//! Detects what is at a path: a folder of images, archives, or a store.
//!
//! | in `train/` (`val/`, `validation/`) | or side by side, named like | is |
//! |---|---|---|
//! | one folder per class | | `ImageFolder` |
//! | `*.tar` | `imagenet1k-train-0000.tar`, `ILSVRC2012_img_train.tar` | archives |
//! | `*.arrow` | `imagenet-1k-train-00000-of-00292.arrow` | Arrow streams, stores |
//! | `*.tfrecord` | `train-00000-of-01024` | TFRecord |
//! | `*.rec` | `train.rec` | RecordIO |
//! | `index.json` | | MDS |
//! | `*.beton`, `*.ffcv` | `train_500_0.50_90.ffcv` | FFCV |
//!
//! A folder with none of these that holds several stores is one data set of all of them
//! (`multi_resolution`).

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::data::{
    config::{OnBadImage, Split, StoreDivision},
    dataset::multi_resolution,
    error::DataError,
    format::{
        arrow, ffcv, folder,
        labels::LabelFile,
        manifest, mds,
        names::{Reading, reading},
        recordio, tar, tfrecord,
    },
    image::pixels::IMPORT_IT,
    index::{FileStamp, Index, WHOLE_FILE, cache},
};

/// What to do with images that nothing here reads.
const CONVERT_THEM: &str = "convert them to JPEG or PNG";

/// Both splits of a data set, which have the same classes.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Training samples.
    pub train: Arc<Index>,
    /// Validation samples.
    pub eval: Arc<Index>,
}

impl Dataset {
    /// Lists both splits of the data set at `root`. It reads names and headers, but no images.
    pub fn open(root: &Path) -> Result<Self, DataError> {
        let train = open(root, Split::Train, None)?;
        let eval = open(root, Split::Eval, Some(&train))?;
        Self::of(train, eval)
    }

    /// Returns an error if there are images that training does not read, by the names of their files,
    /// and `on_bad_image` does not skip them. No file is opened, so that it may be called before the
    /// run's clock starts. In archives and shards such images are found when they are read.
    pub fn check_in_place(&self, on_bad_image: OnBadImage) -> Result<(), DataError> {
        if on_bad_image == OnBadImage::Skip {
            return Ok(());
        }
        for (unread, fix) in [(Reading::Never, CONVERT_THEM), (Reading::ByImport, IMPORT_IT)] {
            let mut paths = [&self.train, &self.eval].into_iter().flat_map(|index| {
                let is_file = |i: &usize| index.columns.flags[*i] & WHOLE_FILE != 0;
                let paths = (0..index.len()).filter(is_file).map(|i| index.path(i));
                paths.filter(|path| reading(path) == Some(unread))
            });
            if let Some(path) = paths.next() {
                return Err(DataError::NotInPlace { path, num_images: 1 + paths.count(), fix });
            }
        }
        Ok(())
    }

    /// Hidden files and folders of both splits that were left out.
    pub fn num_hidden(&self) -> usize {
        [&self.train, &self.eval].map(|index| index.num_hidden() as usize).iter().sum()
    }

    /// Memory taken by the samples of both splits.
    pub fn memory_bytes(&self) -> usize {
        self.train.memory_bytes() + self.eval.memory_bytes()
    }

    /// Joins two splits if their classes are the same.
    pub(in crate::data) fn of(mut train: Index, mut eval: Index) -> Result<Self, DataError> {
        if let Some(first) = first_number(&train)
            && first_number(&eval) == Some(first)
        {
            let longest = train.classes.len().max(eval.classes.len());
            let numbers = first..first + longest as u32;
            let classes: Vec<_> = numbers.map(|number| number.to_string()).collect();
            (train.classes, eval.classes) = (classes.clone(), classes);
        }
        if let [class] = train.classes() {
            return Err(DataError::OneClass { path: place(&train), class: class.clone() });
        }
        check_classes(&train, &eval)?;
        if train.classes != eval.classes {
            let (train, eval) = (place(&train), place(&eval));
            return Err(DataError::ClassOrder { train, eval });
        }
        Ok(Self { train: Arc::new(train), eval: Arc::new(eval) })
    }

    /// Number of classes.
    pub fn num_classes(&self) -> usize {
        self.train.num_classes()
    }

    /// Where a run on these images may be submitted, if the training images are in a store. Other
    /// images are never shrunk.
    pub fn division(&self) -> Option<StoreDivision> {
        self.train.division()
    }
}

/// The number of the first class, if the container has class numbers but no names.
fn first_number(index: &Index) -> Option<u32> {
    let first: u32 = index.classes.first()?.parse().ok().filter(|&first| first <= 1)?;
    let is_numbered =
        (first..).zip(&index.classes).all(|(number, name)| *name == number.to_string());
    is_numbered.then_some(first)
}

fn check_classes(train: &Index, eval: &Index) -> Result<(), DataError> {
    let only_in = |present: &Index, absent: &Index| -> Vec<String> {
        let known: HashSet<&String> = absent.classes.iter().collect();
        present.classes.iter().filter(|class| !known.contains(class)).cloned().collect()
    };
    let (only_train, only_eval) = (only_in(train, eval), only_in(eval, train));
    if only_train.is_empty() && only_eval.is_empty() {
        return Ok(());
    }
    Err(DataError::ClassMismatch {
        train: (place(train), only_train),
        eval: (place(eval), only_eval),
    })
}

/// The source of an index, for messages.
fn place(index: &Index) -> PathBuf {
    index.stamps[0].path.clone()
}

impl Index {
    /// Lists one split of the data set at `root`, in any supported container.
    pub fn open(root: &Path, split: Split) -> Result<Self, DataError> {
        open(root, split, None)
    }
}

/// The index of a split: the cached one if nothing has changed, else a new one. `train` names the
/// classes if the validation images do not.
pub(in crate::data) fn open(
    root: &Path,
    split: Split,
    train: Option<&Index>,
) -> Result<Index, DataError> {
    let Ok(root) = root.canonicalize() else {
        return Err(DataError::NoDataSet(root.to_owned()));
    };
    // Check this first, because half a store contains images as well.
    let manifest = manifest::manifest_of(&root)?;
    let cached = cache::file_of(&cache::cache_folder(), &root, split);
    let list = || {
        let index = match scan(&root, split, train) {
            // Each of several stores caches its own index.
            Err(none @ DataError::NoSplit(_)) => {
                let stores = multi_resolution::open(&root, split)?;
                return stores.ok_or_else(|| unsplit(&root, split).unwrap_or(none));
            }
            index => index?,
        };
        let _ = cache::store(&cached, &index);
        Ok(index)
    };
    let mut index = cache::load(&cached).map_or_else(list, Ok)?;
    // Shards of older versions do not name the division; use the manifest alone.
    index.division = index.division.max(manifest.map(|manifest| manifest.division));
    Ok(index)
}

/// What is missing, if there are class folders that only have to be split.
fn unsplit(root: &Path, split: Split) -> Option<DataError> {
    let classes = match split {
        Split::Train => root.to_owned(),
        Split::Eval => root.join(Split::Train.folder_name()),
    };
    let (root, missing) = (root.to_owned(), split.folder_name());
    folder::has_classes(&classes).then_some(DataError::Unsplit { root, missing })
}

pub(in crate::data) fn scan(
    root: &Path,
    split: Split,
    train: Option<&Index>,
) -> Result<Index, DataError> {
    let found = find(root, split)?;
    let mut index = match &found.container {
        Container::Folder => return folder::scan(&found.folder),
        Container::Arrow(shards) => arrow::scan(shards)?,
        Container::TfRecord(shards) => tfrecord::scan(shards, train)?,
        Container::RecordIo(files) => recordio::scan(files)?,
        Container::Mds(listing) => mds::scan(listing)?,
        Container::Ffcv(file) => ffcv::scan(file)?,
        Container::Refused(path, reason) => {
            let (path, reason) = (path.clone(), (*reason).to_owned());
            return Err(DataError::Container { path, reason });
        }
        Container::Archives(archives) => tar::scan(archives, &|| match train {
            Some(train) => LabelFile::find(root, &train.classes),
            None if split == Split::Eval => {
                LabelFile::find(root, &open(root, Split::Train, None)?.classes)
            }
            None => Err(DataError::NoLabels(root.to_owned())),
        })?,
    };
    if u32::try_from(index.columns.names.len()).is_err() || !index.is_sound() {
        let reason = "it has spans outside its files, or names of more than 4 GiB".to_owned();
        return Err(DataError::Container { path: found.folder, reason });
    }
    index.num_hidden += found.num_hidden;
    // A new archive changes the folder's file stamp.
    let folder = FileStamp::of(&found.folder);
    let listed = |source| DataError::List { path: found.folder.clone(), source };
    index.stamps.push(folder.map_err(listed)?);
    if let Some(train) = train.filter(|_| split == Split::Eval) {
        index.stamps.extend(train.stamps.iter().cloned());
    }
    Ok(index)
}

/// Where a split is.
#[derive(PartialEq)]
pub(in crate::data) enum Place {
    Nowhere,
    /// A folder that may have class folders.
    Folder(PathBuf),
    /// Archives or shards.
    Shards,
}

/// Where the split of the data set at `root` is.
pub(in crate::data) fn place_of(root: &Path, split: Split) -> Result<Place, DataError> {
    match find(root, split) {
        Err(DataError::NoSplit(_)) => Ok(Place::Nowhere),
        Ok(Found { folder, container: Container::Folder, .. }) => Ok(Place::Folder(folder)),
        Ok(_) => Ok(Place::Shards),
        Err(error) => Err(error),
    }
}

struct Found {
    folder: PathBuf,
    container: Container,
    /// Hidden files and folders next to the shards.
    num_hidden: u32,
}

enum Container {
    Folder,
    Archives(Vec<PathBuf>),
    Arrow(Vec<PathBuf>),
    TfRecord(Vec<PathBuf>),
    RecordIo(Vec<PathBuf>),
    Mds(PathBuf),
    Ffcv(PathBuf),
    /// A known format that cannot be trained from, and why.
    Refused(PathBuf, &'static str),
}

fn find(root: &Path, split: Split) -> Result<Found, DataError> {
    if !root.is_dir() {
        return Err(DataError::NoDataSet(root.to_owned()));
    }
    let words: &[&str] = match split {
        Split::Train => &["train"],
        Split::Eval => &["val", "validation"],
    };
    let folders = words.iter().map(|word| root.join(word));
    if let Some(folder) = folders.into_iter().find(|folder| folder.is_dir()) {
        let content = folder::content(&folder)?;
        let container = match container(content.files) {
            // A list of shards says what the folders next to it are: their folders.
            listed @ Container::Mds(_) => listed,
            _ if content.num_folders > 0 => Container::Folder,
            container => container,
        };
        return Ok(Found { folder, container, num_hidden: content.num_hidden });
    }
    // Repositories of Hugging Face's hub have their shards in `data`.
    for folder in [root.to_owned(), root.join("data")] {
        if !folder.is_dir() {
            continue;
        }
        let mut content = folder::content(&folder)?;
        content.files.retain(|file| says(file, words));
        match container(content.files) {
            Container::Folder => {}
            container => return Ok(Found { folder, container, num_hidden: content.num_hidden }),
        }
    }
    Err(DataError::NoSplit(root.join(split.folder_name())))
}

/// Makes a container from its files.
type Make = fn(Vec<PathBuf>) -> Container;

/// The format of `files`. They are sorted by name, so that the numbers of samples are stable.
fn container(mut files: Vec<PathBuf>) -> Container {
    files.sort_unstable();
    let with = |is_wanted: &dyn Fn(&Path) -> bool| -> Vec<PathBuf> {
        files.iter().filter(|file| is_wanted(file)).cloned().collect()
    };
    let ends = |endings: &[&str]| {
        with(&|file| file.extension().is_some_and(|found| endings.iter().any(|it| found == *it)))
    };
    if let Some(listing) = with(&|file| file.ends_with(mds::LISTING)).pop() {
        return Container::Mds(listing);
    }
    let kinds: [(Vec<PathBuf>, Make); 8] = [
        (ends(&["arrow"]), Container::Arrow),
        (with(&tfrecord::is_shard), Container::TfRecord),
        (ends(&["rec"]), Container::RecordIo),
        (ends(&["tar"]), Container::Archives),
        (ends(&["beton", "ffcv"]), ffcv_file),
        (ends(&["parquet"]), parquet),
        (with(&is_compressed), compressed),
        (with(&|file| file.to_string_lossy().contains(".mds")), mds_without_listing),
    ];
    let found = kinds.into_iter().find(|(files, _)| !files.is_empty());
    found.map_or(Container::Folder, |(files, container)| container(files))
}

/// FFCV writes a split into one file; a second file is another version of the same images.
fn ffcv_file(mut files: Vec<PathBuf>) -> Container {
    match (files.pop(), files.pop()) {
        (Some(file), None) => Container::Ffcv(file),
        (file, _) => Container::Refused(
            file.unwrap_or_default(),
            "the folder has another FFCV file of the same split; keep one",
        ),
    }
}

/// Whether the name is that of a compressed archive or shard.
fn is_compressed(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let endings = [".gz", ".tgz", ".zst", ".xz", ".bz2"];
    endings.iter().any(|ending| name.ends_with(ending)) && !name.contains(".mds")
}

fn compressed(mut files: Vec<PathBuf>) -> Container {
    Container::Refused(
        files.pop().unwrap_or_default(),
        "it is compressed, and images are read in place; decompress it (gunzip, unzstd, unxz, bunzip2)",
    )
}

fn mds_without_listing(mut files: Vec<PathBuf>) -> Container {
    Container::Refused(
        files.pop().unwrap_or_default(),
        "index.json, which lists the MDS shards of a folder, is not there, as if their writer had been \
         interrupted; write them again, or restore index.json",
    )
}

fn parquet(mut files: Vec<PathBuf>) -> Container {
    Container::Refused(
        files.pop().unwrap_or_default(),
        "Parquet holds compressed pages, not images in one piece; convert it to a store and train \
         from that: mlperf-run data import FOLDER --out STORE",
    )
}

/// Whether a file's name contains one of `words`. ILSVRC's archive of dogs (`train_t3`) belongs to
/// another task.
pub(in crate::data) fn says(file: &Path, words: &[&str]) -> bool {
    let name = file.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    let mut parts = name.split(|c: char| !c.is_ascii_alphanumeric());
    parts.clone().any(|part| words.contains(&part)) && !parts.any(|part| part == "t3")
}
