//! Tar archives, read in place: headers are read once, images stay where they are.
//!
//! The contents of an archive determine its labels:
//! - `key.cls` next to `key.jpg`, with the number of the class (`WebDataset`);
//! - nested archives, one per class (`ILSVRC2012_img_train.tar`);
//! - images in folders: the class is the first folder below those that all images share, as the
//!   folder of a class is the first below that of the split;
//! - otherwise, a label file next to the archive (`ILSVRC2012_img_val.tar`).

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ffi::OsStr,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::{ffi::OsStrExt, fs::FileExt},
    path::{Path, PathBuf},
};

use crate::data::{
    error::DataError,
    format::{
        labels::LabelFile,
        names::{is_hidden_path, is_image, readable_endings},
        shards::{check_uncompressed, class, fault, number_classes},
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
        members: Vec::new(),
        numbers: HashMap::new(),
        num_numbered: 0,
        in_folders: Vec::new(),
    };
    for (place, path) in archives.iter().enumerate() {
        let file = File::open(path).map_err(|error| fault(path, &error))?;
        let length = scan.index.stamps[place].length;
        let section = Section { file: &file, start: 0, length, position: 0 };
        scan.archive(section, b"").map_err(|error| fault(path, &error))?;
        scan.push_members(place as u32).map_err(|error| fault(path, &error))?;
    }
    scan.finish(archives, labels)
}

struct Scan {
    index: Index,
    class_ids: HashMap<Vec<u8>, u32>,
    /// Images of the current archive.
    members: Vec<Member>,
    /// Class numbers of the current archive, by key.
    numbers: HashMap<Vec<u8>, u32>,
    /// Samples with a class number.
    num_numbered: usize,
    /// Samples whose folders name their class.
    in_folders: Vec<usize>,
}

/// An image in an archive.
struct Member {
    offset: u64,
    length: u32,
    name: Vec<u8>,
    /// Class and path of the archive within the archive.
    within: Option<(Vec<u8>, Vec<u8>)>,
}

/// The label of an image outside any class folder.
const UNKNOWN: u32 = u32::MAX;

impl Scan {
    fn archive(&mut self, section: Section<'_>, within: &[u8]) -> io::Result<()> {
        section.check_start()?;
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
            if is_hidden_path(&name) {
                self.index.num_hidden += 1;
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
                self.archive(inner, &name)?;
            } else if ending.eq_ignore_ascii_case("cls") {
                self.numbers.insert(split_key(&name).0.to_vec(), inner.number(path)?);
            } else if is_image(path) {
                let length = u32::try_from(length)
                    .map_err(|_| io::Error::other(format!("{} is too long", path.display())))?;
                let class = Path::new(OsStr::from_bytes(within)).file_stem();
                let within = class.map(|class| (class.as_bytes().to_vec(), within.to_vec()));
                self.members.push(Member { offset, length, name, within });
            }
        }
        Ok(())
    }

    /// Moves the images of an archive into the index. Where the archive has class numbers, an image is
    /// a field of a sample, like them.
    fn push_members(&mut self, place: u32) -> io::Result<()> {
        let members = std::mem::take(&mut self.members);
        let numbers = std::mem::take(&mut self.numbers);
        if numbers.is_empty() {
            for member in &members {
                self.push(place, member);
            }
            return Ok(());
        }
        let mut images: HashMap<&[u8], (usize, usize)> = HashMap::new();
        for (i, member) in members.iter().enumerate() {
            let (key, field) = split_key(&member.name);
            let field = field.to_ascii_lowercase();
            let Some(rank) = readable_endings().position(|known| known.as_bytes() == field) else {
                continue;
            };
            let best = images.entry(key).or_insert((rank, i));
            *best = (*best).min((rank, i));
        }
        let lacks = |key: &[u8], what: &str| {
            io::Error::other(format!("{} has no {what}", String::from_utf8_lossy(key)))
        };
        if let Some(key) = numbers.keys().find(|key| !images.contains_key(key.as_slice())) {
            let endings: Vec<&str> = readable_endings().collect();
            return Err(lacks(key, &format!("image (.{})", endings.join(", ."))));
        }
        let mut chosen: Vec<_> = images.into_iter().map(|(key, (_, i))| (i, key)).collect();
        chosen.sort_unstable();
        for (i, key) in chosen {
            let number = numbers.get(key).ok_or_else(|| lacks(key, "label (.cls)"))?;
            self.push(place, &members[i]);
            let last = self.index.len() - 1;
            self.index.columns.labels[last] = *number;
            self.num_numbered += 1;
        }
        Ok(())
    }

    fn push(&mut self, place: u32, member: &Member) {
        let Member { offset, length, name, within } = member;
        let (label, name) = if let Some((class, path)) = within {
            let next = self.class_ids.len() as u32;
            let label = *self.class_ids.entry(class.clone()).or_insert(next);
            (label, [path.as_slice(), name].join(&b"/"[..]))
        } else {
            if folders(name).next().is_some() {
                self.in_folders.push(self.index.len());
            }
            (UNKNOWN, name.clone())
        };
        let (offset, length) = (*offset, *length);
        let (size, flags) = ([0; 2], 0);
        self.index.push(&Entry { place, offset, length, label, size, flags, name: &name });
    }

    /// Labels the images in folders.
    fn label_folders(&mut self) {
        let num_shared = num_shared_folders(&self.in_folders.iter().map(|&i| self.index.name(i)));
        for &i in &self.in_folders {
            let class = folders(self.index.name(i)).nth(num_shared).expect("not shared by all");
            let next = self.class_ids.len() as u32;
            let label = *self.class_ids.entry(class.to_vec()).or_insert(next);
            self.index.columns.labels[i] = label;
        }
    }

    fn finish(
        mut self,
        archives: &[PathBuf],
        labels: &dyn Fn() -> Result<LabelFile, DataError>,
    ) -> Result<Index, DataError> {
        if self.index.is_empty() {
            return Err(DataError::NoImages(archives[0].clone()));
        }
        let has_numbers = self.num_numbered > 0;
        if !has_numbers {
            self.label_folders();
        }
        let mut index = self.index;
        if self.num_numbered == index.len() {
            number_classes(&mut index, 0);
        } else if !has_numbers && !index.columns.labels.contains(&UNKNOWN) {
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

/// `WebDataset`'s key and field: what is before and behind the first dot of the last component.
fn split_key(name: &[u8]) -> (&[u8], &[u8]) {
    let start = name.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    let dot = name[start..].iter().position(|&byte| byte == b'.');
    dot.map_or((name, &[]), |dot| (&name[..start + dot], &name[start + dot + 1..]))
}

/// The folders of a path, without the file.
fn folders(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let end = name.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
    name[..end].split(|&byte| byte == b'/').filter(|part| !part.is_empty() && *part != b".")
}

/// The number of folders above those of the classes: all images share them, and each image has one
/// more.
fn num_shared_folders<'a>(names: &(impl Iterator<Item = &'a [u8]> + Clone)) -> usize {
    let depth = names.clone().map(|name| folders(name).count()).min().unwrap_or(0);
    (0..depth.saturating_sub(1))
        .find(|&level| {
            let at_level = names.clone().filter_map(|name| folders(name).nth(level));
            at_level.collect::<BTreeSet<_>>().len() > 1
        })
        .unwrap_or(depth.saturating_sub(1))
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

    fn check_start(mut self) -> io::Result<()> {
        let mut start = [0; 8];
        let num_read = self.read(&mut start)?;
        check_uncompressed(&start[..num_read])
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
