//! Cache of decoded images in memory: from the second epoch on, cached images are cropped and
//! resized again without decoding.
//!
//! - The images are in one in-memory file (`/dev/shm`), which all ranks of a machine share: a rank
//!   sees different samples in each epoch, so a cache per rank would hardly ever hit. Images are
//!   written by `pwrite`, which fails when memory is full, and read in place from a mapping.
//!   Unwritten parts of the mapping are never touched, because that could raise SIGBUS.
//! - It holds whole RGB images at the size at which they are decoded. A part of a whole decode is
//!   bit for bit a decode of the part, so batches are the same with and without the cache.
//! - Images are added in order of arrival until the budget or the memory is used up. Nothing is
//!   evicted, because all images of an epoch are equally likely.
//! - An unnamed file disappears with its process. A file that ranks share has a name with the
//!   process that started them. The first loader that ends normally removes it; the next run
//!   removes files left by a crash.
//!
//! Layout: budget, bytes used and number of samples; for each sample the offset of its image, or 0;
//! then the images, each after its height and width.
#![expect(unsafe_code, reason = "a mapping of a file; see `map`")]

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::{
        fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt},
        process::parent_id,
    },
    path::{Path, PathBuf},
    sync::atomic::{Ordering, fence},
};

use memmap2::{Advice, Mmap};
use rustix::fs::{FlockOperation, flock, fstatvfs};
use rustix::process::geteuid;

use crate::data::{
    config::RamCache,
    error::DataError,
    image::pixels::DecodedImage,
    loader::memory::{Free, SHARED},
};

const NAME: &str = "mlperf-run-cache";
const HEADER: u64 = 24;
/// Bytes of an image's header, before its pixels.
const SIZE: u64 = 8;

/// Who shares a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// This process only.
    Alone,
    /// The ranks of a run on this machine, which have the same parent process and this port.
    Ranks(u16),
}

/// A cache of images in memory.
#[derive(Debug)]
pub struct Cache {
    file: File,
    map: Mmap,
    path: PathBuf,
    sharing: Sharing,
}

impl Cache {
    /// Opens the cache for `num_samples` samples, if `config` enables it.
    pub fn open(
        config: RamCache,
        num_samples: usize,
        sharing: Sharing,
    ) -> Result<Option<Self>, DataError> {
        let budget = match config {
            RamCache::Off => return Ok(None),
            RamCache::Auto => Free::now().for_images(),
            RamCache::Bytes(bytes) => bytes,
        };
        let folder = Path::new(SHARED);
        sweep(folder);
        let path = folder.join(match sharing {
            Sharing::Alone => format!("{NAME}-{}-alone", std::process::id()),
            Sharing::Ranks(port) => format!("{NAME}-{}-{port}", parent_id()),
        });
        let cache = Self::at(path, sharing, num_samples, budget);
        cache.map(Some).map_err(|source| DataError::Cache { path: folder.to_owned(), source })
    }

    fn at(path: PathBuf, sharing: Sharing, num_samples: usize, budget: u64) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path)?;
        if sharing == Sharing::Alone {
            fs::remove_file(&path)?;
        }
        // Do not read pixels from a file that other users can change.
        let facts = file.metadata()?;
        if facts.uid() != geteuid().as_raw() || facts.permissions().mode() & 0o077 != 0 {
            return Err(io::Error::other(format!(
                "{} is accessible to other users",
                path.display()
            )));
        }
        flock(&file, FlockOperation::LockExclusive)?;
        if file.metadata()?.len() == 0 {
            let space = fstatvfs(&file)?;
            let (wanted, free) = (budget >> 20, (space.f_bavail * space.f_frsize) >> 20);
            if wanted > free {
                return Err(io::Error::other(format!(
                    "{wanted} MiB are needed, {free} MiB are free"
                )));
            }
            // This takes no memory until images are written.
            file.set_len(budget.max(table_end(num_samples)))?;
            let header = [budget, table_end(num_samples), num_samples as u64];
            file.write_all_at(header.map(u64::to_le_bytes).as_flattened(), 0)?;
        }
        let cache = Self { map: map(&file)?, file, path, sharing };
        // In another data set's file, these offsets would point into pixels.
        if cache.word(16)? != num_samples as u64 {
            return Err(io::Error::other(format!(
                "{} belongs to another data set",
                cache.path.display()
            )));
        }
        flock(&cache.file, FlockOperation::Unlock)?;
        Ok(cache)
    }

    fn word(&self, at: u64) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn write_word(&self, at: u64, word: u64) -> io::Result<()> {
        self.file.write_all_at(&word.to_le_bytes(), at)
    }

    /// The image of a sample, if it is cached.
    pub(in crate::data) fn find(&self, sample: usize) -> Option<DecodedImage<'_>> {
        let place = self.word(HEADER + 8 * sample as u64).ok().filter(|&place| place > 0)?;
        fence(Ordering::Acquire);
        let (size, pixels) = self.map.get(place as usize..)?.split_first_chunk()?;
        let size = u64::from_le_bytes(*size);
        let (height, width) = ((size >> 32) as usize, size as u32 as usize);
        let length = height.checked_mul(width)?.checked_mul(3).filter(|&length| length > 0)?;
        Some(DecodedImage { pixels: pixels.get(..length)?, width, height })
    }

    /// Whether another image may fit.
    pub(in crate::data) fn has_room(&self) -> bool {
        let words = self.word(0).and_then(|budget| Ok((budget, self.word(8)?)));
        words.is_ok_and(|(budget, used)| used < budget)
    }

    /// Adds an image if it fits.
    pub(in crate::data) fn keep(&self, sample: usize, image: DecodedImage<'_>) {
        // If memory is full, stop caching: later images would fail as well.
        let _ = self.try_keep(sample, image).inspect_err(|_| {
            let _ = self.write_word(0, 0);
        });
    }

    fn try_keep(&self, sample: usize, image: DecodedImage<'_>) -> io::Result<()> {
        let DecodedImage { width, height, .. } = image;
        let pixels = &image.pixels[..height * width * 3];
        let Some(place) = self.reserve(SIZE + pixels.len() as u64)? else { return Ok(()) };
        self.write_word(place, (height as u64) << 32 | width as u64)?;
        self.file.write_all_at(pixels, place + SIZE)?;
        // This fills the page tables at once. On Linux versions without it, they are filled when
        // the image is read.
        let length = SIZE as usize + pixels.len();
        let _ = self.map.advise_range(Advice::PopulateRead, place as usize, length);
        // Written last: a reader that sees the offset finds the whole image.
        fence(Ordering::Release);
        self.write_word(HEADER + 8 * sample as u64, place)
    }

    /// Reserves space, excluding other threads and other ranks.
    fn reserve(&self, length: u64) -> io::Result<Option<u64>> {
        // Lock a new handle: locks taken through one handle do not exclude each other.
        let lock = File::open(self.handle_path())?;
        flock(&lock, FlockOperation::LockExclusive)?;
        let (budget, used) = (self.word(0)?, self.word(8)?);
        if used + length > budget {
            // Mark the cache as full for smaller images as well, so that nobody decodes whole
            // images in vain.
            self.write_word(0, used)?;
            return Ok(None);
        }
        self.write_word(8, used + length)?;
        Ok(Some(used))
    }

    fn handle_path(&self) -> PathBuf {
        use std::os::fd::AsRawFd;
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    /// Bytes of images stored.
    #[cfg(test)]
    fn used(&self) -> u64 {
        self.word(8).unwrap() - table_end(self.word(16).unwrap() as usize)
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        if self.sharing != Sharing::Alone {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn table_end(num_samples: usize) -> u64 {
    HEADER + 8 * num_samples as u64
}

/// Maps the whole file of a cache, including parts that are not written yet.
fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: only this user can access the file, and it never shrinks. The bytes of an image are
    // read only after its offset has been published, and nobody writes them from then on.
    unsafe { Mmap::map(file) }
}

/// Removes caches whose process has ended.
fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(NAME).and_then(|rest| rest.split('-').nth(1));
        let process = process.and_then(|number| number.parse::<u32>().ok());
        if process.is_some_and(|number| !Path::new(&format!("/proc/{number}")).exists()) {
            // Another user's file stays; only its owner can remove it.
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::data::{fixture, image::pixels::Size};

    const IMAGE_SIZE: Size = Size { height: 20, width: 30 };

    fn put(cache: &Cache, sample: usize) {
        let pixels = fixture::image(IMAGE_SIZE, sample as u64);
        cache.keep(sample, DecodedImage { pixels: &pixels, width: 30, height: 20 });
    }

    fn pixels(cache: &Cache, sample: usize) -> Option<Vec<u8>> {
        let image = cache.find(sample)?;
        assert_eq!(image.size(), IMAGE_SIZE);
        Some(image.pixels.to_vec())
    }

    #[test]
    fn a_cache_of_another_data_set_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let open = |num_samples| {
            Cache::at(folder.path().join("cache"), Sharing::Ranks(1), num_samples, 1 << 20)
        };
        let (one, other) = (open(100).unwrap(), open(100).unwrap());
        let error = open(90).expect_err("it has 100 samples").to_string();
        assert!(error.contains("another data set"), "{error}");
        drop((one, other));
    }

    #[test]
    fn two_users_share_images_until_the_budget_is_used_up() {
        let folder = tempfile::tempdir().unwrap();
        let budget = HEADER + 8 * 100 + 50 * (SIZE + 1800);
        let open =
            || Cache::at(folder.path().join("cache"), Sharing::Ranks(1), 100, budget).unwrap();
        let (one, other) = (open(), open());
        thread::scope(|scope| {
            for (cache, first) in [(&one, 0), (&one, 1), (&other, 2), (&other, 3)] {
                scope.spawn(move || (first..100).step_by(4).for_each(|sample| put(cache, sample)));
            }
        });
        assert!(!one.has_room());
        assert_eq!(one.used(), 50 * (SIZE + 1800), "exactly the budget");
        let kept: Vec<_> = (0..100).filter(|&sample| one.find(sample).is_some()).collect();
        assert_eq!(kept.len(), 50);
        for sample in kept {
            let expected = fixture::image(IMAGE_SIZE, sample as u64);
            assert_eq!(
                (pixels(&one, sample), pixels(&other, sample)),
                (Some(expected.clone()), Some(expected))
            );
        }
        drop(one);
        assert!(!folder.path().join("cache").exists());
    }

    #[test]
    fn an_offset_without_an_image_finds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("cache"), Sharing::Alone, 5, 1 << 16).unwrap();
        put(&cache, 0);
        let end = 1 << 16;
        for (sample, place) in [(1, u64::MAX), (2, end - 4), (3, end - SIZE), (4, end / 2)] {
            cache.write_word(HEADER + 8 * sample, place).unwrap();
        }
        cache.write_word(end - SIZE, (20 << 32) + 30).unwrap();
        let found = [0, 1, 2, 3, 4].map(|sample| pixels(&cache, sample).is_some());
        assert_eq!(found, [true, false, false, false, false]);
    }

    #[test]
    fn files_left_by_a_crash_are_removed_and_files_in_use_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let own = std::process::id();
        let names = [format!("{NAME}-4194304999-29500"), format!("{NAME}-{own}-1"), "other".into()];
        for name in &names {
            fixture::write(&folder.path().join(name), b"");
        }
        sweep(folder.path());
        let is_there = names.map(|name| folder.path().join(name).exists());
        assert_eq!(is_there, [false, true, true]);
    }

    #[test]
    fn an_unshared_cache_has_no_name() {
        let cache = Cache::open(RamCache::Bytes(1 << 20), 3, Sharing::Alone).unwrap().unwrap();
        put(&cache, 2);
        assert!(cache.find(2).is_some() && cache.find(1).is_none() && !cache.path.exists());
        let too_much = Cache::open(RamCache::Bytes(1 << 60), 3, Sharing::Alone).unwrap_err();
        assert!(too_much.to_string().contains("1099511627776 MiB are needed"), "{too_much}");
        assert!(Cache::open(RamCache::Off, 3, Sharing::Alone).unwrap().is_none());
    }
}
