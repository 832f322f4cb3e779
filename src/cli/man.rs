//! `mlperf-run man`: manual pages.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::{Command, CommandFactory as _};
use clap_mangen::Man;

use super::{
    Cli,
    exit::{Exit, OrExit as _, Outcome},
};
use crate::{atomic_file, console};

/// Arguments of `man`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mlperf-run man | man -l -
  mlperf-run man --out ~/.local/share/man/man1")]
pub struct ManArgs {
    /// Write one page for each command into this folder [default: print the page of mlperf-run]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Prints the page of the program, or writes all pages and prints their folder.
pub fn run(args: &ManArgs) -> Outcome {
    // A page on `help` would repeat the others.
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let Some(folder) = &args.out else {
        console::result(page(&command).or_exit(Exit::Bug)?.trim_end());
        return Ok(Exit::Ok);
    };
    fs::create_dir_all(folder)
        .and_then(|()| write(&command, folder))
        .with_context(|| format!("cannot write to {}; name another folder", folder.display()))
        .or_exit(Exit::Invalid)?;
    console::result(folder.display());
    Ok(Exit::Ok)
}

/// Writes the pages of a command and of those below it.
fn write(command: &Command, folder: &Path) -> io::Result<()> {
    let path = folder.join(Man::new(command.clone()).get_filename());
    atomic_file::write(&path, page(command)?.as_bytes())?;
    command.get_subcommands().try_for_each(|below| write(below, folder))
}

/// The page of a command. Its examples keep their lines, which `.nf` tells the formatter.
fn page(command: &Command) -> io::Result<String> {
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).replacen(".SH EXTRA\n", ".SH EXAMPLES\n.nf\n", 1))
}
