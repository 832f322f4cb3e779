//! Tar archives, read in place: headers are read once, images stay where they are.
//!
//! The contents of an archive determine its labels:
//! - `key.cls` next to `key.jpg`, with the number of the class (`WebDataset`);
//! - nested archives, one per class (`ILSVRC2012_img_train.tar`);
//! - images in folders, one per class;
//! - otherwise, a label file next to the archive (`ILSVRC2012_img_val.tar`).

use std::{
    collections::{HashMap, HashSet},
    ffi::OsStr,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::{ffi::OsStrExt, fs::FileExt},
    path::{Path, PathBuf},
};

use crate::data::{
    error::DataError,
    format::{
        folder::is_image,
        labels::LabelFile,
        shards::{class, fault, number_classes},
    },
    index::{Entry, FileStamp, Index},
};

/// Lists the images of `archives`. `labels` is used for archives without labels.
pub(in crate::data) fn scan(
    archives: &[PathBuf],
    labels: &dyn Fn() -> Result<LabelFile, DataError>,
) -> Result<Index, DataError> {
    let mut stamps = Vec::new();
    for path in archives {
        stamps.push(FileStamp::of(path).map_err(|error| fault(path, &error))?);
    }
    let mut scan = Scan {
        index: Index::new(archives.to_vec(), stamps),
        class_ids: HashMap::new(),
        keys: HashMap::new(),
        numbered: Vec::new(),
    };
    for (place, path) in archives.iter().enumerate() {
        let file = File::open(path).map_err(|error| fault(path, &error))?;
        let length = scan.index.stamps[place].length;
        let section = Section { file: &file, start: 0, length, position: 0 };
        scan.archive(place as u32, section, b"").map_err(|error| fault(path, &error))?;
        scan.pair(path)?;
    }
    scan.finish(archives, labels)
}

struct Scan {
    index: Index,
    class_ids: HashMap<Vec<u8>, u32>,
    /// Images and class numbers of the current archive, by key.
    keys: HashMap<Vec<u8>, (Option<usize>, Option<u32>)>,
    /// Samples with a class number.
    numbered: Vec<(usize, u32)>,
}

/// The label of an image outside any class folder.
const UNKNOWN: u32 = u32::MAX;

impl Scan {
    fn archive(&mut self, place: u32, section: Section<'_>, within: &[u8]) -> io::Result<()> {
        section.check_end()?;
        let mut archive = tar::Archive::new(section.at_start());
        let mut classes = HashSet::new();
        for entry in archive.entries_with_seek()? {
            let entry = entry?;
            let (offset, length) = (section.start + entry.raw_file_position(), entry.size());
            let name = entry.path_bytes().into_owned();
            let path = Path::new(OsStr::from_bytes(&name));
            let is_sparse = entry.header().entry_type().is_gnu_sparse();
            if !is_sparse && !entry.header().entry_type().is_file() {
                continue;
            }
            let end = offset.checked_add(length);
            if is_sparse || end.is_none_or(|end| end > section.start + section.length) {
                let name = path.display();
                return Err(io::Error::other(format!("{name} is sparse or truncated")));
            }
            let inner = Section { start: offset, length, position: 0, ..section };
            let ending = path.extension().unwrap_or_default();
            if ending == "tar" && within.is_empty() {
                if !classes.insert(path.file_stem().map(OsStr::to_owned)) {
                    let name = path.display();
                    return Err(io::Error::other(format!("{name} occurs twice")));
                }
                self.archive(place, inner, &name)?;
            } else if ending == "cls" {
                self.keys.entry(key(&name)).or_default().1 = Some(inner.number(path)?);
            } else if is_image(path) {
                let length = u32::try_from(length)
                    .map_err(|_| io::Error::other(format!("{} is too long", path.display())))?;
                self.image((place, offset, length), within, &name);
            }
        }
        Ok(())
    }

    fn image(&mut self, (place, offset, length): (u32, u64, u32), within: &[u8], name: &[u8]) {
        let path = Path::new(OsStr::from_bytes(if within.is_empty() { name } else { within }));
        let class = if within.is_empty() {
            path.parent().and_then(Path::file_name)
        } else {
            path.file_stem()
        };
        let label = class.map_or(UNKNOWN, |class| {
            let next = self.class_ids.len() as u32;
            *self.class_ids.entry(class.as_bytes().to_vec()).or_insert(next)
        });
        let full = [within, name].join(&b"/"[..]);
        let full = if within.is_empty() { name } else { &full };
        let (size, flags) = ([0; 2], 0);
        if within.is_empty() {
            self.keys.entry(key(name)).or_default().0 = Some(self.index.len());
        }
        self.index.push(&Entry { place, offset, length, label, size, flags, name: full });
    }

    /// Joins the class numbers of an archive with its images.
    fn pair(&mut self, archive: &Path) -> Result<(), DataError> {
        let reason = |key: &[u8], lacks: &str| DataError::Container {
            path: archive.to_owned(),
            reason: format!("{} has no {lacks}", String::from_utf8_lossy(key)),
        };
        let has_numbers = self.keys.values().any(|(_, number)| number.is_some());
        for (key, pair) in self.keys.drain() {
            match pair {
                (Some(sample), Some(number)) => self.numbered.push((sample, number)),
                (None, Some(_)) => return Err(reason(&key, "image")),
                (Some(_), None) if has_numbers => return Err(reason(&key, "label (.cls)")),
                _ => {}
            }
        }
        Ok(())
    }

    fn finish(
        mut self,
        archives: &[PathBuf],
        labels: &dyn Fn() -> Result<LabelFile, DataError>,
    ) -> Result<Index, DataError> {
        let mut index = self.index;
        if index.is_empty() {
            return Err(DataError::NoImages(archives[0].clone()));
        }
        if self.numbered.len() == index.len() {
            self.numbered.iter().for_each(|&(i, number)| index.columns.labels[i] = number);
            number_classes(&mut index, 0);
        } else if self.numbered.is_empty() && !index.columns.labels.contains(&UNKNOWN) {
            index.classes = vec![String::new(); self.class_ids.len()];
            for (class, id) in self.class_ids.drain() {
                let class = String::from_utf8(class);
                index.classes[id as usize] = class.map_err(|error| {
                    let name = String::from_utf8_lossy(error.as_bytes()).into_owned();
                    DataError::ClassName(archives[0].join(name))
                })?;
            }
            index.sort_classes();
        } else {
            labels()?.apply(&mut index)?;
        }
        Ok(index)
    }
}

/// The name up to the first dot of its last component.
fn key(name: &[u8]) -> Vec<u8> {
    let start = name.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    let dot = name[start..].iter().position(|&byte| byte == b'.');
    name[..dot.map_or(name.len(), |dot| start + dot)].to_vec()
}

/// A part of a file, read like a separate file.
#[derive(Clone, Copy)]
struct Section<'a> {
    file: &'a File,
    start: u64,
    length: u64,
    position: u64,
}

impl Section<'_> {
    fn at_start(self) -> Self {
        Self { position: 0, ..self }
    }

    /// An archive ends in blocks of zeros; without them, members may be missing.
    fn check_end(mut self) -> io::Result<()> {
        let mut block = [1; 512];
        self.position = self.length.saturating_sub(512);
        let is_whole = self.read(&mut block)? == 512 && block == [0; 512];
        if is_whole { Ok(()) } else { Err(io::Error::other("the archive is truncated")) }
    }

    /// The class number in a `.cls` file.
    fn number(mut self, path: &Path) -> io::Result<u32> {
        let mut text = String::new();
        (&mut self).take(32).read_to_string(&mut text)?;
        let number = text.trim().parse().ok().and_then(|number| class(number).ok());
        number.ok_or_else(|| {
            let name = path.display();
            io::Error::other(format!("{name} contains {text:?} instead of a class number"))
        })
    }
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.length.saturating_sub(self.position).min(buffer.len() as u64) as usize;
        let num_read = self.file.read_at(&mut buffer[..left], self.start + self.position)?;
        self.position += num_read as u64;
        Ok(num_read)
    }
}

impl Seek for Section<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(step) => self.position.checked_add_signed(step),
            SeekFrom::End(step) => self.length.checked_add_signed(step),
        };
        // Past the end there is nothing to read, however far a damaged header points.
        let position =
            position.ok_or_else(|| io::Error::other("a header points past the end of the file"))?;
        self.position = position.min(self.length);
        Ok(self.position)
    }
}
