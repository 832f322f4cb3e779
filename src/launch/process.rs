//! Rank processes. The launcher reads a rank's standard output line by line; standard error goes to
//! the rank's log.
//!
//! A process stays a zombie until its [`RankProcess`] is dropped, so its id cannot be reused while
//! signals are sent. Each rank leads its own process group: Ctrl-C in a terminal reaches only the
//! launcher, and a rank's child processes end with it.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
};

use crossbeam_channel::Sender;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group, waitid,
};

use super::{
    LaunchError,
    supervise::{ExitStatus, Process, ProcessEvent},
};
use crate::events::RankEvent;

/// The file name of the rank program.
const RANK_PROGRAM: &str = "mlperf-rank";
/// How many lines of the log are shown when a rank dies without a message.
const LAST_LINES: usize = 10;

/// Finds the rank program: `MLPERF_RUN_RANK_BIN`, or else the one in this program's folder, or else
/// in `PATH`.
pub fn find_rank_program() -> Result<PathBuf, LaunchError> {
    if let Some(named) = env::var_os("MLPERF_RUN_RANK_BIN") {
        return Ok(named.into());
    }
    let own_folder = env::current_exe()
        .ok()
        .and_then(|exe| exe.parent().map(Path::to_owned))
        .unwrap_or_default();
    let search_path = env::var_os("PATH").unwrap_or_default();
    std::iter::once(own_folder.clone())
        .chain(env::split_paths(&search_path))
        .map(|folder| folder.join(RANK_PROGRAM))
        .find(|program| program.is_file())
        .ok_or(LaunchError::NoRankProgram(own_folder))
}

/// How to start a rank.
pub(super) struct RankCommand<'a> {
    pub(super) program: &'a Path,
    /// The resolved recipe.
    pub(super) recipe: &'a Path,
    pub(super) run_dir: &'a Path,
    pub(super) checkpoint: Option<&'a Path>,
    pub(super) variables: Vec<(&'static str, OsString)>,
}

/// A started rank. Dropping it kills and reaps the process.
pub(super) struct RankProcess {
    child: Child,
    group: Pid,
    log: PathBuf,
}

impl RankProcess {
    /// Starts `rank` and sends its events to `process_event`. The calling thread must outlive the
    /// rank, because ranks ask the kernel to end them with the thread that started them.
    pub(super) fn start(
        rank: usize,
        command: &RankCommand<'_>,
        process_event: Sender<(usize, ProcessEvent)>,
    ) -> io::Result<Self> {
        let path = command.run_dir.join(format!("rank-{rank}.log"));
        let log = File::options().create(true).append(true).open(&path)?;
        let resume = command.checkpoint.map(|folder| [OsStr::new("--resume"), folder.as_os_str()]);
        let mut child = Command::new(command.program)
            .arg("--recipe")
            .arg(command.recipe)
            .arg("--run-dir")
            .arg(command.run_dir)
            .args(resume.into_iter().flatten())
            .envs(command.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.try_clone()?)
            .process_group(0)
            .spawn()?;
        let stdout = child.stdout.take().expect("it was asked for");
        let group = Pid::from_child(&child);
        thread::spawn(move || watch(rank, group, Pipe { stdout, log }, &process_event));
        Ok(Self { child, group, log: path })
    }

    fn send(&self, signal: Signal) {
        // The group may have ended by itself, which is the purpose of any signal sent here.
        let _ = kill_process_group(self.group, signal);
    }
}

impl Process for RankProcess {
    fn terminate(&mut self) {
        self.send(Signal::TERM);
    }

    fn kill(&mut self) {
        self.send(Signal::KILL);
    }

    fn state(&self) -> Option<char> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        // The name of the program may contain anything, parentheses included.
        stat.rsplit_once(") ")?.1.chars().next()
    }

    fn log_tail(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
        last.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
    }

    fn host(&self) -> Option<&str> {
        None
    }
}

impl Drop for RankProcess {
    fn drop(&mut self) {
        self.send(Signal::KILL);
        // Waiting fails only if somebody else has reaped the rank already.
        let _ = self.child.wait();
    }
}

/// A rank's standard output, and the log for lines that are not events.
struct Pipe {
    stdout: ChildStdout,
    log: File,
}

/// Sends all events of a rank, then its exit status.
fn watch(rank: usize, group: Pid, pipe: Pipe, process_event: &Sender<(usize, ProcessEvent)>) {
    let heard = process_event.clone();
    let ears = thread::spawn(move || listen(rank, pipe, &heard));
    let Some(exit_status) = wait_for_exit(group) else { return };
    // A process that the rank left behind would keep the pipe open.
    let _ = kill_process_group(group, Signal::KILL);
    let _ = ears.join();
    // The receiver is gone if the launcher gave up on the run.
    let _ = process_event.send((rank, ProcessEvent::Gone(exit_status)));
}

/// Waits until the process ends and leaves it a zombie. `None` if it was reaped meanwhile.
fn wait_for_exit(process: Pid) -> Option<ExitStatus> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    let status = loop {
        match waitid(WaitId::Pid(process), options) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => break result.ok().flatten()?,
        }
    };
    Some(exit_status(&status))
}

fn exit_status(status: &WaitIdStatus) -> ExitStatus {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => ExitStatus::Code(code),
        (None, signal) => ExitStatus::Signal(signal.expect("it exited or was killed")),
    }
}

/// Sends the events of a rank; other lines, printed by libraries, go to the log in order.
fn listen(rank: usize, pipe: Pipe, process_event: &Sender<(usize, ProcessEvent)>) {
    let Pipe { stdout, mut log } = pipe;
    let mut reader = BufReader::new(stdout);
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
        match RankEvent::from_line(&String::from_utf8_lossy(&line)) {
            Some(event) => {
                let _ = process_event.send((rank, ProcessEvent::Event(event)));
            }
            // Reading must go on even if the disk is full, or the rank would block on its pipe.
            None => drop(log.write_all(&line)),
        }
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::PermissionsExt,
        time::{Duration, Instant},
    };

    use crossbeam_channel::{Receiver, unbounded};

    use super::*;
    use crate::events::FailureKind;

    /// Far longer than anything here takes; only a bug reaches it.
    const LIMIT: Duration = Duration::from_secs(60);

    fn start(folder: &Path, script: &str) -> (RankProcess, Receiver<(usize, ProcessEvent)>) {
        let program = folder.join("rank");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let (send, process_event) = unbounded();
        let command = RankCommand {
            program: &program,
            recipe: &folder.join("recipe.toml"),
            run_dir: folder,
            checkpoint: None,
            variables: vec![("RANK", "3".into())],
        };
        (RankProcess::start(3, &command, send).unwrap(), process_event)
    }

    fn next(process_event: &Receiver<(usize, ProcessEvent)>) -> ProcessEvent {
        let (rank, process_event) = process_event.recv_timeout(LIMIT).unwrap();
        assert_eq!(rank, 3);
        process_event
    }

    #[test]
    fn events_are_sent_and_other_lines_go_to_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let script = r#"
            echo "a library prints"
            echo '{"event":"failed","rank":3,"kind":"input","message":"no"}'
            echo "on stderr" >&2
            exit 4"#;
        let (process, process_event) = start(folder.path(), script);
        let ProcessEvent::Event(event) = next(&process_event) else {
            panic!("it ended before it sent an event")
        };
        let kind = FailureKind::Input;
        assert_eq!(event, RankEvent::Failed { rank: 3, kind, message: "no".to_owned() });
        assert!(matches!(next(&process_event), ProcessEvent::Gone(ExitStatus::Code(4))));
        let log = process.log_tail();
        assert!(log.contains("a library prints") && log.contains("on stderr"), "{log}");
    }

    #[test]
    fn a_killed_rank_takes_its_child_processes_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let (mut process, process_event) =
            start(folder.path(), "sleep 600 & echo $! > $4/child; wait");
        let child = loop {
            match fs::read_to_string(folder.path().join("child")) {
                Ok(text) if text.ends_with('\n') => break text.trim().to_owned(),
                _ => thread::sleep(Duration::from_millis(5)),
            }
        };
        process.kill();
        assert!(matches!(next(&process_event), ProcessEvent::Gone(ExitStatus::Signal(9))));
        // The child's own end takes a moment more. Its new parent may or may not reap it.
        let stat = || fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        let begun = Instant::now();
        while !(stat().is_empty() || stat().contains(") Z ")) {
            assert!(begun.elapsed() < LIMIT, "{}", stat());
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_grandchild_that_holds_the_pipe_does_not_hide_the_ranks_end() {
        let folder = tempfile::tempdir().unwrap();
        let (_process, process_event) = start(folder.path(), "sleep 600 & exit 5");
        assert!(matches!(next(&process_event), ProcessEvent::Gone(ExitStatus::Code(5))));
    }

    #[test]
    fn a_dropped_rank_is_killed_and_reaped() {
        let folder = tempfile::tempdir().unwrap();
        let (process, _event) = start(folder.path(), "exec sleep 600");
        let stat = format!("/proc/{}/stat", process.child.id());
        assert!(Path::new(&stat).exists());
        drop(process);
        assert!(!Path::new(&stat).exists());
    }
}
