//! The results folder: `RESULTS/SYSTEM/run_N/` has all files of a run, and
//! `RESULTS/SYSTEM/resnet/result_N.txt` its log once the clock has stopped.
//!
//! Creating `run_N` reserves the number N, so two simultaneous runs get different numbers. Existing
//! files are never overwritten.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::LaunchError;
use crate::{
    events::RankEvent,
    run_dir::{BENCHMARK, EVENTS, LOG, result_name, run_name},
};

/// The results of one system.
#[derive(Clone, Debug)]
pub struct ResultsDir {
    system: PathBuf,
}

/// The folder of one run. It is removed on drop if nothing was written to it.
#[derive(Debug)]
pub struct RunFolder {
    number: usize,
    path: PathBuf,
    result: PathBuf,
}

impl ResultsDir {
    /// Creates the folders for `system` below `results`.
    pub fn open(results: &Path, system: &str) -> Result<Self, LaunchError> {
        let good = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
        if system.is_empty() || system.starts_with('.') || !system.chars().all(good) {
            return Err(LaunchError::SystemName(system.to_owned()));
        }
        let results_dir = Self { system: results.join(system) };
        let benchmark = results_dir.system.join(BENCHMARK);
        fs::create_dir_all(&benchmark).map_err(cannot_write(&benchmark))?;
        Ok(results_dir)
    }

    /// Reserves the next free number, or the given one if it is free.
    pub fn reserve(&self, named: Option<usize>) -> Result<RunFolder, LaunchError> {
        let Some(number) = named else {
            let mut numbers = 0..;
            return loop {
                match self.take(numbers.next().expect("endless")) {
                    Err(LaunchError::ResultExists { .. }) => {}
                    taken => break taken,
                }
            };
        };
        self.take(number)
    }

    fn take(&self, number: usize) -> Result<RunFolder, LaunchError> {
        let path = self.system.join(run_name(number));
        let result = self.system.join(BENCHMARK).join(result_name(number));
        if result.symlink_metadata().is_ok() {
            return Err(LaunchError::ResultExists { number, path: result });
        }
        match fs::create_dir(&path) {
            Ok(()) => Ok(RunFolder { number, path, result }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(LaunchError::ResultExists { number, path })
            }
            Err(error) => Err(cannot_write(&path)(error)),
        }
    }
}

impl RunFolder {
    /// The number N.
    pub fn number(&self) -> usize {
        self.number
    }

    /// The path of `run_N`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the MLPerf log that rank 0 writes.
    pub fn log(&self) -> PathBuf {
        self.path.join(LOG)
    }

    /// Writes a file into the folder.
    pub fn write(&self, name: &str, text: &str) -> Result<(), LaunchError> {
        let path = self.path.join(name);
        fs::write(&path, text).map_err(cannot_write(&path))
    }

    /// Creates `events.jsonl`.
    pub fn event_log(&self) -> Result<EventLog, LaunchError> {
        let path = self.path.join(EVENTS);
        let file = File::create_new(&path).map_err(cannot_write(&path))?;
        Ok(EventLog { path, file, failure: None })
    }

    /// Publishes the log as `resnet/result_N.txt`: a hard link, or a copy if the file system has no
    /// hard links.
    pub fn publish(&self) -> Result<PathBuf, LaunchError> {
        let link = fs::hard_link(self.log(), &self.result);
        link.or_else(|_| self.copy()).map_err(cannot_write(&self.result))?;
        Ok(self.result.clone())
    }

    fn copy(&self) -> io::Result<()> {
        let mut log = File::open(self.log())?;
        io::copy(&mut log, &mut File::create_new(&self.result)?).map(|_| ())
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        // This fails, as intended, unless the folder is empty.
        let _ = fs::remove_dir(&self.path);
    }
}

/// A log of all events of a run, one line of JSON each.
#[derive(Debug)]
pub struct EventLog {
    path: PathBuf,
    file: File,
    failure: Option<io::Error>,
}

impl EventLog {
    /// Adds an event. A failing disk must not stop a run that is being timed, so [`Self::close`]
    /// reports the first failure again. It is returned when it happens.
    pub fn add(&mut self, event: &RankEvent) -> Option<&io::Error> {
        let error = writeln!(self.file, "{}", event.to_line()).err()?;
        let is_first = self.failure.is_none();
        let failure = self.failure.get_or_insert(error);
        is_first.then_some(failure)
    }

    /// Returns the first failure, if an event could not be written.
    pub fn close(self) -> Result<(), LaunchError> {
        self.failure.map_or(Ok(()), |error| Err(cannot_write(&self.path)(error)))
    }
}

fn cannot_write(path: &Path) -> impl Fn(io::Error) -> LaunchError {
    |source| LaunchError::Results { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results_dir(root: &Path) -> ResultsDir {
        ResultsDir::open(root, "box-demo").unwrap()
    }

    #[test]
    fn a_number_is_free_if_neither_a_run_nor_a_result_has_it() {
        let root = tempfile::tempdir().unwrap();
        let results_dir = results_dir(root.path());
        fs::create_dir(root.path().join("box-demo/run_0")).unwrap();
        fs::write(root.path().join("box-demo/resnet/result_1.txt"), "old").unwrap();
        let first = results_dir.reserve(None).unwrap();
        let second = results_dir.reserve(None).unwrap();
        assert_eq!((first.number(), second.number()), (2, 3));
    }

    #[test]
    fn a_named_number_that_is_in_use_is_rejected() {
        let root = tempfile::tempdir().unwrap();
        let results_dir = results_dir(root.path());
        let taken = results_dir.reserve(Some(4)).unwrap();
        assert_eq!(taken.path(), root.path().join("box-demo/run_4"));
        let error = results_dir.reserve(Some(4)).unwrap_err().to_string();
        assert!(error.contains("result 4 exists already"), "{error}");
    }

    #[test]
    fn a_log_is_published_once_and_overwrites_nothing() {
        let root = tempfile::tempdir().unwrap();
        let run = results_dir(root.path()).reserve(None).unwrap();
        run.write("mllog.txt", "the log").unwrap();
        let result = run.publish().unwrap();
        assert_eq!(fs::read_to_string(&result).unwrap(), "the log");
        fs::remove_file(run.log()).unwrap();
        run.write("mllog.txt", "another").unwrap();
        run.publish().unwrap_err();
        assert_eq!(fs::read_to_string(&result).unwrap(), "the log");
    }

    #[test]
    fn an_unused_folder_is_removed_and_a_used_one_stays() {
        let root = tempfile::tempdir().unwrap();
        let results_dir = results_dir(root.path());
        let path = results_dir.reserve(None).unwrap().path().to_owned();
        assert!(!path.exists());
        let used = results_dir.reserve(None).unwrap();
        used.write("recipe.toml", "").unwrap();
        drop(used);
        assert!(path.exists());
    }

    #[test]
    fn the_error_for_an_unwritable_results_folder_has_the_fix() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        let error = ResultsDir::open(&root.path().join("file"), "box").unwrap_err().to_string();
        assert!(error.contains("--results DIR"), "{error}");
    }

    #[test]
    fn a_system_name_must_be_valid_as_a_folder_name() {
        let root = tempfile::tempdir().unwrap();
        for name in ["", "a b", "../up", "a/b", ".hidden"] {
            assert!(ResultsDir::open(root.path(), name).is_err(), "{name}");
        }
    }
}
