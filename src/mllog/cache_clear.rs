//! Clears the page cache before a run and records whether that worked.

use std::process::{Command, Stdio};

/// Whether the machine's caches were cleared before the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheClear {
    /// The command ran and returned 0.
    Cleared,
    /// They were not cleared; the log will say so.
    Failed {
        /// The reason.
        reason: String,
    },
}

/// Runs the configured shell command that clears the page cache, with empty standard input.
/// [`CacheClear::Cleared`] means that it returned 0.
pub fn clear_page_cache(command: &str) -> CacheClear {
    if command.trim().is_empty() {
        return CacheClear::Failed { reason: "no command is configured".into() };
    }
    let done = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output();
    match done {
        Ok(output) if output.status.success() => CacheClear::Cleared,
        Ok(output) => {
            let complaint = String::from_utf8_lossy(&output.stderr);
            let reason = match complaint.lines().map(str::trim).find(|line| !line.is_empty()) {
                Some(line) => format!("{}: {line}", output.status),
                None => output.status.to_string(),
            };
            CacheClear::Failed { reason }
        }
        Err(error) => CacheClear::Failed { reason: format!("cannot start sh: {error}") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(command: &str) -> String {
        match clear_page_cache(command) {
            CacheClear::Failed { reason } => reason,
            CacheClear::Cleared => panic!("{command:?} cannot have cleared anything"),
        }
    }

    #[test]
    fn only_exit_0_counts_as_cleared() {
        assert_eq!(clear_page_cache("true"), CacheClear::Cleared);
        assert_eq!(clear_page_cache("echo a warning >&2"), CacheClear::Cleared);
        assert_eq!(reason("false"), "exit status: 1");
        assert_eq!(reason("kill -9 $$"), "signal: 9 (SIGKILL)");
    }

    #[test]
    fn a_failure_names_its_status_and_the_first_line_of_complaint() {
        let command = "echo >&2; echo 'drop_caches: Permission denied' >&2; echo more >&2; exit 3";
        assert_eq!(reason(command), "exit status: 3: drop_caches: Permission denied");
    }

    #[test]
    fn an_empty_command_is_not_run() {
        assert_eq!(reason(" \n"), "no command is configured");
    }

    #[test]
    fn the_command_cannot_wait_for_input() {
        assert_eq!(reason("read password || exit 7"), "exit status: 7");
    }
}
