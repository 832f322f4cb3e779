//! The program for users: parses the command line, calls the library, prints the error, exits.

use std::{panic::catch_unwind, process::ExitCode};

use clap::Parser;
use mlperf_run::{
    cli::{Cli, exit::Exit},
    console,
};

fn main() -> ExitCode {
    let outcome = catch_unwind(|| Cli::parse().run());
    match outcome {
        Ok(Ok(exit)) => exit.into(),
        Ok(Err(failure)) => {
            console::note(format!("error: {failure}"));
            failure.exit.into()
        }
        // The panic message has been printed already.
        Err(_) => Exit::Bug.into(),
    }
}
