//! Sets on a disk: ImageNet's layout, written by all cores, kept in a cache.
//!
//! A finished set carries `synth.toml`, written last, so a folder without it is not a set. The
//! cache writes into a sibling and renames it; a lock in the cache's root keeps two processes
//! from making a set at once, and tells the one that waited that a leftover sibling is dead.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::super::config::SynthConfig;
use super::error::SynthError;
use super::generator::{GENERATOR_VERSION, Generator, Split, check};

/// The note in a finished set.
const RECORD: &str = "synth.toml";
/// The same note while the set is being written.
const UNFINISHED: &str = "synth.unfinished.toml";

/// Called with the images written so far, from any thread.
pub type Progress<'a> = Option<&'a (dyn Fn(usize) + Sync)>;

/// What `synth.toml` says.
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

    /// Whether the note in `folder` says the same.
    fn is_in(&self, folder: &Path, name: &str) -> bool {
        let found = fs::read_to_string(folder.join(name)).ok();
        found
            .and_then(|text| toml::from_str::<Self>(&text).ok())
            .is_some_and(|other| other == *self)
    }
}

/// The folder of a set under `root`, made where it is not there yet.
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

/// Writes a set into `folder`, which must be new, empty, or hold this very set, whole or begun.
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
    write_images(&generator, folder, progress)?;
    fs::rename(&unfinished, folder.join(RECORD)).map_err(SynthError::io("rename", &unfinished))
}

/// `$MLPERF_RUN_CACHE`, else `$XDG_CACHE_HOME/mlperf-run`, else `~/.cache/mlperf-run`.
pub fn default_root() -> PathBuf {
    let folder = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    folder("MLPERF_RUN_CACHE")
        .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("mlperf-run")))
        .or_else(|| folder("HOME").map(|home| home.join(".cache/mlperf-run")))
        .unwrap_or_else(|| std::env::temp_dir().join("mlperf-run"))
}

fn write_images(
    generator: &Generator,
    folder: &Path,
    progress: Progress<'_>,
) -> Result<(), SynthError> {
    let config = generator.config();
    for split in [Split::Train, Split::Eval] {
        for class in 0..config.num_classes {
            let path = folder.join(split.folder()).join(class_name(class));
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
    let num_threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..num_threads {
            scope.spawn(|| work.run());
        }
    });
    work.failure.into_inner().expect("no thread panics with the lock held").map_or(Ok(()), Err)
}

/// What the writing threads share.
struct Work<'a> {
    generator: &'a Generator,
    folder: &'a Path,
    progress: Progress<'a>,
    /// The next image to take, training images first.
    next: AtomicUsize,
    done: AtomicUsize,
    /// The first failure; the threads stop at it.
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
            let path = self.folder.join(split.folder()).join(class).join(name);
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
    Sha256::digest(text).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

fn remove(folder: &Path) -> Result<(), SynthError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(SynthError::io("remove", folder)(error))
        }
        _ => Ok(()),
    }
}
