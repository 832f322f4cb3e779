//! `mlperf-run watch`: shows a run that was started elsewhere.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, ErrorKind},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};

use super::exit::{Exit, OrExit, Outcome};
use crate::{
    console::{self, Manner, Screen},
    events::{FailureKind, RankEvent, RunSummary},
    mlperf::RunStatus,
    run_dir,
};

/// Arguments of `watch`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:\n  mlperf-run watch results/box/run_3")]
pub struct WatchArgs {
    /// A folder `run_N`, or a folder whose newest run is shown [default: the newest run in ./results]
    #[arg(value_name = "RUN")]
    pub run: Option<PathBuf>,
}

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_millis(200);
/// A launcher that writes nothing for so long may be gone.
const SILENCE: Duration = Duration::from_secs(60);

/// Follows the run's events until its summary is there, and ends with the run's exit code.
pub fn run(args: &WatchArgs) -> Outcome {
    let path = args.run.clone().unwrap_or_else(|| PathBuf::from("results"));
    let run_dir = find(&path).or_exit(Exit::Invalid)?;
    let mut screen = Screen::new(Manner::of_stderr());
    screen.line(&format!("watching {}; Ctrl-C ends watching, not the run", run_dir.display()));
    let events = run_dir.join(run_dir::EVENTS);
    let mut follower = Follower { events: None, line: Vec::new(), failure: None };
    let mut heard = Instant::now();
    let mut is_told = false;
    let summary = loop {
        // The summary is written last: what is read after it was there has every event.
        let summary = read_summary(&run_dir).or_exit(Exit::Invalid)?;
        let num_events = follower.read(&events, &mut screen).or_exit(Exit::Invalid)?;
        if let Some(summary) = summary {
            break summary;
        }
        if num_events > 0 {
            (heard, is_told) = (Instant::now(), false);
        }
        if heard.elapsed() > SILENCE && !is_told {
            is_told = true;
            let seconds = SILENCE.as_secs();
            screen.line(&format!("no event for {seconds} s; see whether its launcher still runs"));
        }
        thread::sleep(INTERVAL);
    };
    screen.clear();
    if let Some((_, message)) = &follower.failure {
        screen.line(message);
    }
    let exit = exit_of(&summary, follower.failure.map(|(kind, _)| kind));
    console::result(console::table(&[summary]));
    Ok(exit)
}

/// The run at `path`, or the newest run in it.
fn find(path: &Path) -> anyhow::Result<PathBuf> {
    if path.join(run_dir::MANIFEST).is_file() {
        return Ok(path.to_owned());
    }
    run_dir::newest(path).ok_or_else(|| {
        anyhow!("there is no run in {}; name a run, such as results/SYSTEM/run_0", path.display())
    })
}

/// The summary of a run that has ended.
fn read_summary(run_dir: &Path) -> anyhow::Result<Option<RunSummary>> {
    let path = run_dir.join(run_dir::SUMMARY);
    match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        // It may be half written.
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Reads events as they are written.
struct Follower {
    /// The file, once it exists.
    events: Option<BufReader<File>>,
    /// The start of a line whose end has not been written yet.
    line: Vec<u8>,
    /// The first failure that is not the consequence of another one.
    failure: Option<(FailureKind, String)>,
}

impl Follower {
    /// Shows the new events, and counts them.
    fn read(&mut self, path: &Path, screen: &mut Screen) -> anyhow::Result<usize> {
        let cannot_read = || format!("cannot read {}; name another run", path.display());
        if self.events.is_none() {
            match File::open(path) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
                file => self.events = Some(BufReader::new(file.with_context(cannot_read)?)),
            }
        }
        let Some(events) = &mut self.events else { return Ok(0) };
        let mut num_events = 0;
        while events.read_until(b'\n', &mut self.line).with_context(cannot_read)? > 0 {
            if self.line.last() != Some(&b'\n') {
                break;
            }
            let event = RankEvent::from_line(String::from_utf8_lossy(&self.line).trim_end());
            self.line.clear();
            let Some(event) = event else { continue };
            num_events += 1;
            if let RankEvent::Failed { rank, kind, message } = &event {
                let is_cause = |(known, _): &(FailureKind, _)| *known <= *kind;
                if !self.failure.as_ref().is_some_and(is_cause) {
                    self.failure = Some((*kind, format!("rank {rank}: {message}")));
                }
            }
            screen.show(&event);
        }
        Ok(num_events)
    }
}

/// The exit code of the run that has ended.
fn exit_of(summary: &RunSummary, failure: Option<FailureKind>) -> Exit {
    match (failure, summary.status) {
        (Some(FailureKind::Input), _) => Exit::Invalid,
        (Some(FailureKind::Internal | FailureKind::Peer), _) => Exit::RankFailed,
        (_, Some(RunStatus::Success)) => Exit::Ok,
        (_, Some(RunStatus::Aborted)) => Exit::TargetMissed,
        (_, None) => Exit::Incomplete,
    }
}
