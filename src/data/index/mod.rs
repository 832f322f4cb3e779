//! The samples of one split as spans: file, offset, length, label, width, height, flags.
//!
//! A folder of images, an archive and a store differ only in how their spans are found; the loader
//! trains from all of them in place. The index is stored by column, with all names in one buffer:
//! 1.28 million samples take about 70 MB.

pub(in crate::data) mod cache;

use std::{
    collections::HashMap,
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use crate::data::{config::StoreDivision, error::DataError, image::pixels::Size};

/// The sample is a separate file, and the span has neither offset nor length.
pub(in crate::data) const WHOLE_FILE: u8 = 1;

/// The span is a whole RecordIO record, whose parts must be joined.
pub(in crate::data) const SPLIT_RECORD: u8 = 2;

/// The span is RGB pixels of an image whose size is in the index.
pub(in crate::data) const PIXELS: u8 = 4;

/// One sample on its way into an index.
pub(in crate::data) struct Entry<'a> {
    pub(in crate::data) place: u32,
    pub(in crate::data) offset: u64,
    pub(in crate::data) length: u32,
    pub(in crate::data) label: u32,
    /// Height and width, px; zeros where unknown.
    pub(in crate::data) size: [u16; 2],
    pub(in crate::data) flags: u8,
    /// Path relative to the location.
    pub(in crate::data) name: &'a [u8],
}

/// The columns of the samples; element `i` belongs to sample `i`.
#[derive(Debug, Default, PartialEq)]
pub(in crate::data) struct Columns {
    pub(in crate::data) places: Vec<u32>,
    pub(in crate::data) offsets: Vec<u64>,
    pub(in crate::data) lengths: Vec<u32>,
    pub(in crate::data) labels: Vec<u32>,
    pub(in crate::data) sizes: Vec<[u16; 2]>,
    pub(in crate::data) flags: Vec<u8>,
    pub(in crate::data) names: Vec<u8>,
    pub(in crate::data) name_ends: Vec<u32>,
}

/// What is known of a file without reading it. An index is stale if any of these changes.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(in crate::data) struct FileStamp {
    pub(in crate::data) path: PathBuf,
    pub(in crate::data) length: u64,
    pub(in crate::data) modified: (i64, i64),
}

/// The samples and labels of one split.
#[derive(Debug)]
pub struct Index {
    /// Class folders, archives or shards, with a handle of each archive that has been read.
    pub(in crate::data) places: Vec<(PathBuf, OnceLock<std::fs::File>)>,
    pub(in crate::data) classes: Vec<String>,
    pub(in crate::data) columns: Columns,
    pub(in crate::data) stamps: Vec<FileStamp>,
    /// The same samples in smaller stores, with the longest side of their images, px, in ascending
    /// order.
    pub(in crate::data) smaller: Vec<(usize, Self)>,
    /// The key of the first sample in a cache of images.
    pub(in crate::data) first_key: usize,
    pub(in crate::data) division: Option<StoreDivision>,
    /// Hidden files and folders that were left out.
    pub(in crate::data) num_hidden: u32,
}

impl Index {
    pub(in crate::data) fn new(places: Vec<PathBuf>, stamps: Vec<FileStamp>) -> Self {
        Self {
            places: places.into_iter().map(|place| (place, OnceLock::new())).collect(),
            classes: Vec::new(),
            columns: Columns::default(),
            stamps,
            smaller: Vec::new(),
            first_key: 0,
            division: None,
            num_hidden: 0,
        }
    }

    /// An index of the image at `path` alone.
    pub(in crate::data) fn of_file(path: &Path) -> Self {
        let mut index =
            Self::new(vec![path.parent().unwrap_or(Path::new("")).to_owned()], Vec::new());
        let name = path.file_name().unwrap_or_default().as_bytes();
        let (place, offset, length, label, size) = (0, 0, 0, 0, [0; 2]);
        index.push(&Entry { place, offset, length, label, size, flags: WHOLE_FILE, name });
        index
    }

    pub(in crate::data) fn push(&mut self, entry: &Entry<'_>) {
        let columns = &mut self.columns;
        columns.places.push(entry.place);
        columns.offsets.push(entry.offset);
        columns.lengths.push(entry.length);
        columns.labels.push(entry.label);
        columns.sizes.push(entry.size);
        columns.flags.push(entry.flags);
        columns.names.extend_from_slice(entry.name);
        columns.name_ends.push(columns.names.len() as u32);
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.columns.labels.len()
    }

    /// Whether there are no samples. An opened index always has some.
    pub fn is_empty(&self) -> bool {
        self.columns.labels.is_empty()
    }

    /// Number of classes.
    pub fn num_classes(&self) -> usize {
        self.classes.len()
    }

    /// Class names; a class's position is its label.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Where a run that trains on these images may be submitted, according to their store; `None`
    /// if they are not in a store.
    pub fn division(&self) -> Option<StoreDivision> {
        self.division
    }

    /// Hidden files and folders that were left out, such as `._0.jpg` and `.ipynb_checkpoints`.
    pub fn num_hidden(&self) -> u32 {
        self.num_hidden
    }

    /// Label of sample `i`.
    pub fn label(&self, i: usize) -> usize {
        self.columns.labels[i] as usize
    }

    /// Name of sample `i`: its file, or its path in an archive as if the archive were a folder.
    pub fn path(&self, i: usize) -> PathBuf {
        let mut path = PathBuf::new();
        self.path_into(i, &mut path);
        path
    }

    /// The same, in a reusable buffer.
    pub(in crate::data) fn path_into(&self, i: usize, path: &mut PathBuf) {
        path.as_mut_os_string().clear();
        path.push(self.place(i));
        path.push(OsStr::from_bytes(self.name(i)));
    }

    /// Width and height of sample `i`, px, if the container has them.
    pub fn size(&self, i: usize) -> Option<Size> {
        let [height, width] = self.columns.sizes[i].map(usize::from);
        (height > 0 && width > 0).then_some(Size { height, width })
    }

    /// Returns an error if an archive or shard has changed, because its spans could point anywhere.
    /// Folders may change and files may vanish: a missing file is reported when it is read.
    pub(in crate::data) fn check_unchanged(&self) -> Result<(), DataError> {
        let stamps = self.stores().flat_map(|store| &store.stamps);
        let mut changed = stamps.filter(|stamp| !stamp.is_current());
        let changed = changed.find(|stamp| stamp.path.is_file());
        changed.map_or(Ok(()), |stamp| Err(DataError::Changed(stamp.path.clone())))
    }

    /// Number of neighbours read together when blocks are shuffled: about 12 MB.
    pub fn block_len(&self) -> usize {
        const BLOCK_BYTES: u64 = 12 << 20;
        let bytes: u64 = self.columns.lengths.iter().map(|&length| u64::from(length)).sum();
        let mean = bytes / self.len().max(1) as u64;
        BLOCK_BYTES.checked_div(mean).unwrap_or(128).clamp(16, 4096) as usize
    }

    /// Class folder, archive or shard of sample `i`.
    pub(in crate::data) fn place(&self, i: usize) -> &Path {
        &self.places[self.columns.places[i] as usize].0
    }

    pub(in crate::data) fn name(&self, i: usize) -> &[u8] {
        let ends = &self.columns.name_ends;
        let start = if i == 0 { 0 } else { ends[i - 1] };
        &self.columns.names[start as usize..ends[i] as usize]
    }

    /// Memory taken by the samples.
    pub(in crate::data) fn memory_bytes(&self) -> usize {
        let columns = &self.columns;
        let words = [&columns.places, &columns.lengths, &columns.labels, &columns.name_ends];
        4 * words.iter().map(|column| column.capacity()).sum::<usize>()
            + 4 * columns.sizes.capacity()
            + 8 * columns.offsets.capacity()
            + columns.flags.capacity()
            + columns.names.capacity()
            + self.smaller.iter().map(|(_, index)| index.memory_bytes()).sum::<usize>()
    }

    /// Sorts the classes by name and adapts the labels.
    pub(in crate::data) fn sort_classes(&mut self) {
        let mut order: Vec<usize> = (0..self.classes.len()).collect();
        order.sort_unstable_by(|&a, &b| self.classes[a].cmp(&self.classes[b]));
        let mut label_of = vec![0; order.len()];
        for (label, &class) in order.iter().enumerate() {
            label_of[class] = label as u32;
        }
        self.classes = order.iter().map(|&class| self.classes[class].clone()).collect();
        self.columns.labels.iter_mut().for_each(|label| *label = label_of[*label as usize]);
    }

    /// Whether all archives and shards have a file stamp and contain their spans, and all labels
    /// have a class.
    pub(in crate::data) fn is_sound(&self) -> bool {
        let columns = &self.columns;
        let lens = [columns.places.len(), columns.lengths.len(), columns.offsets.len()];
        let more = [columns.sizes.len(), columns.flags.len(), columns.name_ends.len()];
        let num_classes = self.classes.len() as u32;
        let ends = &columns.name_ends;
        lens.iter().chain(&more).all(|&len| len == self.len())
            && columns.labels.iter().all(|&label| label < num_classes)
            && columns.places.iter().all(|&place| (place as usize) < self.places.len())
            && ends.is_sorted()
            && ends.last().is_none_or(|&end| end as usize == columns.names.len())
            && self.spans_are_within_files()
    }

    fn spans_are_within_files(&self) -> bool {
        let stamps = self.stamps.iter().map(|it| (it.path.as_path(), it.length));
        let stamps: HashMap<_, _> = stamps.collect();
        let length_of = |(place, _): &(PathBuf, _)| stamps.get(place.as_path()).copied();
        let lengths: Option<Vec<u64>> = self.places.iter().map(length_of).collect();
        let Some(lengths) = lengths else { return false };
        let columns = &self.columns;
        (0..self.len()).all(|i| {
            let end = columns.offsets[i].checked_add(u64::from(columns.lengths[i]));
            columns.flags[i] & WHOLE_FILE != 0
                || end.is_some_and(|end| end <= lengths[columns.places[i] as usize])
        })
    }
}
