//! How much is shown, and where.

use std::{
    env,
    io::{IsTerminal, stderr},
};

use indicatif::{ProgressBar, ProgressStyle};

/// How much is shown on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Lines and progress bars.
    Bars,
    /// Only lines.
    Lines,
    /// Only errors.
    Quiet,
}

impl Manner {
    /// Bars on a terminal, lines otherwise.
    pub fn of_stderr() -> Self {
        let is_dumb = env::var("TERM").is_ok_and(|term| term == "dumb");
        if stderr().is_terminal() && !is_dumb { Self::Bars } else { Self::Lines }
    }

    pub(super) fn bar(self, length: usize, template: Template) -> ProgressBar {
        if self != Self::Bars {
            return ProgressBar::hidden();
        }
        let colour =
            if env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty()) { "" } else { ".cyan" };
        let text = match template {
            // Two lines, each of which fits into 60 columns.
            Template::Epoch => {
                format!("{{prefix}} [{{bar:24{colour}}}] {{pos}} of {{len}}\n{{wide_msg}}")
            }
            Template::Count => {
                format!("{{prefix}} [{{bar:24{colour}}}] {{pos}} of {{len}}  {{eta}} left")
            }
        };
        let style = ProgressStyle::with_template(&text).expect("a constant template");
        ProgressBar::new(length as u64).with_style(style)
    }
}

/// What a bar shows.
#[derive(Clone, Copy)]
pub(super) enum Template {
    /// The steps of an epoch, and a message below.
    Epoch,
    /// How many of a total are done.
    Count,
}
