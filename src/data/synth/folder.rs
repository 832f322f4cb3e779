//! Built-in image sets on disk: ImageNet's layout, written by all cores and cached.
//!
//! A finished data set has a `synth.toml`, written last, so a folder without it is not a data set.
//! The cache writes into a temporary sibling folder and renames it. A lock in the cache's root
//! keeps two processes from making a data set at the same time; the process that holds it knows
//! that any sibling folder is a leftover.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::data::{
    config::{Split, SynthConfig},
    synth::{
        error::SynthError,
        generator::{GENERATOR_VERSION, Generator, check},
    },
};

/// Name of the record in a finished data set.
const RECORD: &str = "synth.toml";
/// Name of the record while the data set is being written.
const UNFINISHED: &str = "synth.unfinished.toml";

/// Called from any thread with the number of images written so far.
pub type Progress<'a> = Option<&'a (dyn Fn(usize) + Sync)>;

/// The contents of `synth.toml`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    generator_version: u32,
    config: SynthConfig,
}

impl Record {
    fn of(config: &SynthConfig) -> Self {
        Self { generator_version: GENERATOR_VERSION, config: config.clone() }
    }

    fn text(&self) -> String {
        toml::to_string(self).expect("numbers are TOML")
    }

    /// Whether the record in `folder` is the same.
    fn is_in(&self, folder: &Path, name: &str) -> bool {
        let found = fs::read_to_string(folder.join(name)).ok();
        found
            .and_then(|text| toml::from_str::<Self>(&text).ok())
            .is_some_and(|other| other == *self)
    }
}

/// Returns the folder of a data set under `root`, and generates the data set if it does not exist.
pub fn ensure(
    config: &SynthConfig,
    root: &Path,
    progress: Progress<'_>,
) -> Result<PathBuf, SynthError> {
    check(config)?;
    let record = Record::of(config);
    let set = root.join(format!("synth-{}", short_hash(&record.text())));
    if record.is_in(&set, RECORD) {
        return Ok(set);
    }
    fs::create_dir_all(root).map_err(SynthError::io("create", root))?;
    let lock_path = root.join(".synth.lock");
    let lock = File::create(&lock_path).map_err(SynthError::io("create", &lock_path))?;
    lock.lock().map_err(SynthError::io("lock", &lock_path))?;
    if record.is_in(&set, RECORD) {
        return Ok(set);
    }
    let partial = set.with_extension("partial");
    for leftover in [&set, &partial] {
        remove(leftover)?;
    }
    write(config, &partial, progress)?;
    fs::rename(&partial, &set).map_err(SynthError::io("rename", &partial))?;
    Ok(set)
}

/// Writes a data set into `folder`, which must be new, empty, or contain this data set, finished or
/// unfinished.
pub fn write(
    config: &SynthConfig,
    folder: &Path,
    progress: Progress<'_>,
) -> Result<(), SynthError> {
    let generator = Generator::new(config)?;
    let record = Record::of(config);
    if record.is_in(folder, RECORD) {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(SynthError::io("create", folder))?;
    let unfinished = folder.join(UNFINISHED);
    if !record.is_in(folder, UNFINISHED) {
        let mut entries = fs::read_dir(folder).map_err(SynthError::io("read", folder))?;
        if entries.next().is_some() {
            return Err(SynthError::Occupied(folder.to_owned()));
        }
        fs::write(&unfinished, record.text()).map_err(SynthError::io("write", &unfinished))?;
    }
    let num_threads = thread::available_parallelism().map_or(1, usize::from);
    write_images(&generator, folder, (num_threads, progress))?;
    fs::rename(&unfinished, folder.join(RECORD)).map_err(SynthError::io("rename", &unfinished))
}

fn write_images(
    generator: &Generator,
    folder: &Path,
    (num_threads, progress): (usize, Progress<'_>),
) -> Result<(), SynthError> {
    let config = generator.config();
    for split in [Split::Train, Split::Eval] {
        for class in 0..config.num_classes {
            let path = folder.join(split.folder_name()).join(class_name(class));
            fs::create_dir_all(&path).map_err(SynthError::io("create", &path))?;
        }
    }
    let work = Work {
        generator,
        folder,
        progress,
        next: AtomicUsize::new(0),
        done: AtomicUsize::new(0),
        failure: Mutex::new(None),
    };
    thread::scope(|scope| {
        for _ in 0..num_threads {
            scope.spawn(|| work.run());
        }
    });
    work.failure.into_inner().expect("no thread panics with the lock held").map_or(Ok(()), Err)
}

/// State shared by the writing threads.
struct Work<'a> {
    generator: &'a Generator,
    folder: &'a Path,
    progress: Progress<'a>,
    /// The next image to write, training images first.
    next: AtomicUsize,
    done: AtomicUsize,
    /// The first failure, at which the threads stop.
    failure: Mutex<Option<SynthError>>,
}

impl Work<'_> {
    fn run(&self) {
        if let Err(error) = self.write_until_done() {
            self.next.store(usize::MAX / 2, Ordering::Relaxed);
            self.failure.lock().expect("no thread panics with the lock held").get_or_insert(error);
        }
    }

    fn write_until_done(&self) -> Result<(), SynthError> {
        let SynthConfig { num_train, num_eval, .. } = *self.generator.config();
        let mut painter = self.generator.painter()?;
        loop {
            let place = self.next.fetch_add(1, Ordering::Relaxed);
            let (split, index) = match place {
                _ if place < num_train => (Split::Train, place),
                _ if place < num_train + num_eval => (Split::Eval, place - num_train),
                _ => return Ok(()),
            };
            let class = class_name(self.generator.class(index));
            let name = format!("{class}_{index:08}.JPEG");
            let path = self.folder.join(split.folder_name()).join(class).join(name);
            fs::write(&path, painter.jpeg(split, index)?)
                .map_err(SynthError::io("write", &path))?;
            let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
            if let Some(progress) = self.progress {
                progress(done);
            }
        }
    }
}

fn class_name(class: usize) -> String {
    format!("c{class:04}")
}

fn short_hash(text: &str) -> String {
    let digest = Sha256::digest(text);
    let (head, _) = digest.split_first_chunk().expect("32 bytes");
    format!("{:016x}", u64::from_be_bytes(*head))
}

fn remove(folder: &Path) -> Result<(), SynthError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(SynthError::io("remove", folder)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use tempfile::TempDir;

    use super::*;

    fn config() -> SynthConfig {
        let small =
            SynthConfig { num_classes: 3, num_train: 20, num_eval: 7, ..Default::default() };
        SynthConfig { size: 48, ..small }
    }

    /// Every file under `folder` with its bytes.
    fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(files(&path));
            } else {
                found.insert(path.clone(), fs::read(&path).unwrap());
            }
        }
        found
    }

    fn relative(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let strip = |path: PathBuf| path.strip_prefix(folder).unwrap().to_owned();
        files(folder).into_iter().map(|(path, bytes)| (strip(path), bytes)).collect()
    }

    #[test]
    fn output_does_not_depend_on_the_number_of_threads() {
        let generator = Generator::new(&config()).unwrap();
        let sets = [1, 2, 5].map(|num_threads| {
            let folder = TempDir::new().unwrap();
            write_images(&generator, folder.path(), (num_threads, None)).unwrap();
            relative(folder.path())
        });
        assert_eq!(sets[0].len(), 27);
        assert!(sets[0] == sets[1] && sets[0] == sets[2]);
    }

    #[test]
    fn the_layout_is_imagenets_and_the_classes_are_balanced() {
        let folder = TempDir::new().unwrap();
        let most = AtomicUsize::new(0);
        let count = |done| _ = most.fetch_max(done, Ordering::Relaxed);
        write(&config(), folder.path(), Some(&count)).unwrap();
        assert_eq!(most.into_inner(), 27);
        let files = relative(folder.path());
        let in_class = |class: &str| files.keys().filter(|path| path.starts_with(class)).count();
        assert_eq!(["c0000", "c0001", "c0002"].map(|c| in_class(&format!("train/{c}"))), [7, 7, 6]);
        assert_eq!(["c0000", "c0001", "c0002"].map(|c| in_class(&format!("val/{c}"))), [3, 2, 2]);
        assert!(files.contains_key(Path::new("train/c0001/c0001_00000019.JPEG")));
        assert_eq!(files.len(), 27 + 1);
        let record = String::from_utf8(files[Path::new(RECORD)].clone()).unwrap();
        assert!(record.contains("generator_version = 1") && record.contains("num_train = 20"));
    }

    #[test]
    fn a_cached_data_set_is_reused_and_another_config_gets_another_folder() {
        let root = TempDir::new().unwrap();
        let set = ensure(&config(), root.path(), None).unwrap();
        let before = files(&set);
        let refuse = |_| panic!("nothing is left to write");
        assert_eq!(ensure(&config(), root.path(), Some(&refuse)).unwrap(), set);
        assert_eq!(files(&set), before);
        let other = ensure(&SynthConfig { seed: 1, ..config() }, root.path(), None).unwrap();
        assert_ne!(other, set);
    }

    #[test]
    fn leftovers_of_an_interrupted_run_are_replaced() {
        let root = TempDir::new().unwrap();
        let set = ensure(&config(), root.path(), None).unwrap();
        let whole = relative(&set);
        let partial = set.with_extension("partial");
        fs::rename(&set, &partial).unwrap();
        fs::remove_file(partial.join(RECORD)).unwrap();
        fs::write(partial.join("train/c0000/c0000_00000000.JPEG"), "cut").unwrap();
        fs::create_dir(&set).unwrap();
        fs::write(set.join("stray"), "").unwrap();
        assert_eq!(ensure(&config(), root.path(), None).unwrap(), set);
        assert!(relative(&set) == whole);
        assert!(!partial.exists());
    }

    #[test]
    fn two_processes_at_once_make_one_data_set() {
        let root = TempDir::new().unwrap();
        let num_written = AtomicUsize::new(0);
        let count = |_| {
            thread::sleep(Duration::from_millis(2));
            num_written.fetch_add(1, Ordering::Relaxed);
        };
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| ensure(&config(), root.path(), Some(&count)).unwrap());
            }
        });
        assert_eq!(num_written.into_inner(), 27);
    }

    #[test]
    fn a_folder_with_other_files_is_left_alone() {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("mine"), "mine").unwrap();
        let error = write(&config(), folder.path(), None).unwrap_err();
        assert!(matches!(error, SynthError::Occupied(_)), "{error}");
        assert_eq!(files(folder.path()).len(), 1);
    }

    #[test]
    fn a_folder_with_another_data_set_is_left_alone_and_an_unfinished_one_is_completed() {
        let folder = TempDir::new().unwrap();
        write(&config(), folder.path(), None).unwrap();
        let whole = relative(folder.path());
        let other = SynthConfig { seed: 1, ..config() };
        assert!(matches!(write(&other, folder.path(), None), Err(SynthError::Occupied(_))));
        fs::rename(folder.path().join(RECORD), folder.path().join(UNFINISHED)).unwrap();
        fs::remove_dir_all(folder.path().join("val")).unwrap();
        write(&config(), folder.path(), None).unwrap();
        assert!(relative(folder.path()) == whole);
    }

    #[test]
    fn a_failed_write_names_the_file() {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("train"), "").unwrap();
        let generator = Generator::new(&config()).unwrap();
        let error = write_images(&generator, folder.path(), (2, None)).unwrap_err();
        assert!(error.to_string().starts_with("cannot create "), "{error}");
    }
}
