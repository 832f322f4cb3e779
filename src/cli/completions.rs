//! `mlperf-run completions`: completes the command line in a shell.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{
    Cli,
    exit::{Exit, Outcome},
};
use crate::console;

/// Arguments of `completions`.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mlperf-run completions bash > ~/.local/share/bash-completion/completions/mlperf-run
  mlperf-run completions zsh > ~/.zfunc/_mlperf-run
  mlperf-run completions fish > ~/.config/fish/completions/mlperf-run.fish")]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Prints the script for the shell.
pub fn run(args: &CompletionsArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "mlperf-run", &mut script);
    console::result(String::from_utf8_lossy(&script).trim_end());
    Ok(Exit::Ok)
}
