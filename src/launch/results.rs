//! Where results lie: `RESULTS/SYSTEM/run_N/` for all that a run leaves, and
//! `RESULTS/SYSTEM/resnet/result_N.txt` for its log once the clock has stood.
//!
//! Number N is taken by creating `run_N`, so two runs at a time get two numbers. Nothing that
//! exists is written over.

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

/// The place of one run. One that is dropped before anything was written into it goes away.
#[derive(Debug)]
pub struct RunFolder {
    number: usize,
    path: PathBuf,
    result: PathBuf,
}

impl ResultsDir {
    /// Makes the folders for `system` below `results`.
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

    /// Takes the next free number, or the named one if it is free.
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
    /// N.
    pub fn number(&self) -> usize {
        self.number
    }

    /// `run_N`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The MLPerf log that rank 0 writes.
    pub fn log(&self) -> PathBuf {
        self.path.join(LOG)
    }

    /// Puts a file into the folder.
    pub fn write(&self, name: &str, text: &str) -> Result<(), LaunchError> {
        let path = self.path.join(name);
        fs::write(&path, text).map_err(cannot_write(&path))
    }

    /// Opens `events.jsonl`.
    pub fn event_log(&self) -> Result<EventLog, LaunchError> {
        let path = self.path.join(EVENTS);
        let file = File::create_new(&path).map_err(cannot_write(&path))?;
        Ok(EventLog { path, file, failure: None })
    }

    /// Makes the log a result: `resnet/result_N.txt` is another name of it, or a copy where the
    /// file system has no hard links.
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
        // Fails, as it should, unless the folder is empty.
        let _ = fs::remove_dir(&self.path);
    }
}

/// All events of a run as they come, a line of JSON each.
#[derive(Debug)]
pub struct EventLog {
    path: PathBuf,
    file: File,
    failure: Option<io::Error>,
}

impl EventLog {
    /// Adds an event. A disk that fails must not stop a run that is being timed, so the first
    /// failure is kept for [`Self::close`].
    pub fn add(&mut self, event: &RankEvent) {
        if let Err(error) = writeln!(self.file, "{}", event.to_line()) {
            self.failure.get_or_insert(error);
        }
    }

    /// Says whether every event was written.
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
    fn a_number_is_free_when_neither_run_nor_result_has_it() {
        let root = tempfile::tempdir().unwrap();
        let results_dir = results_dir(root.path());
        fs::create_dir(root.path().join("box-demo/run_0")).unwrap();
        fs::write(root.path().join("box-demo/resnet/result_1.txt"), "old").unwrap();
        let first = results_dir.reserve(None).unwrap();
        let second = results_dir.reserve(None).unwrap();
        assert_eq!((first.number(), second.number()), (2, 3));
    }

    #[test]
    fn a_named_number_that_is_taken_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let results_dir = results_dir(root.path());
        let taken = results_dir.reserve(Some(4)).unwrap();
        assert_eq!(taken.path(), root.path().join("box-demo/run_4"));
        let error = results_dir.reserve(Some(4)).unwrap_err().to_string();
        assert!(error.contains("result 4 exists already"), "{error}");
    }

    #[test]
    fn a_log_is_published_once_and_never_over_another() {
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
    fn an_unused_folder_goes_away_and_a_used_one_stays() {
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
    fn a_results_folder_that_cannot_be_written_names_the_cure() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        let error = ResultsDir::open(&root.path().join("file"), "box").unwrap_err().to_string();
        assert!(error.contains("--results DIR"), "{error}");
    }

    #[test]
    fn a_system_is_named_like_a_folder() {
        let root = tempfile::tempdir().unwrap();
        for name in ["", "a b", "../up", "a/b", ".hidden"] {
            assert!(ResultsDir::open(root.path(), name).is_err(), "{name}");
        }
    }
}
