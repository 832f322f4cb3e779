//! `mlperf-run doctor`: what on this machine keeps a run from starting or slows it down, and what to do
//! about it.

mod data;
mod finding;
mod gpus;
mod machine;
mod programs;

use std::path::{Path, PathBuf};

use self::finding::{Finding, Verdict};
use super::{
    exit::{Exit, OrExit as _, Outcome},
    feeds::Feeding,
};
use crate::{
    console,
    launch::{Machine, RankLayout},
    recipe::{self, DeviceChoice},
};

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  mlperf-run doctor --recipe optimized --data /path/to/imagenet")]
pub struct DoctorArgs {
    /// The recipe to run: a file, a name in ./configs, or a built-in recipe
    #[arg(long, value_name = "RECIPE")]
    recipe: Option<String>,
    /// The data set: also measures its disk, and with --recipe how many accelerators it feeds
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Folder for results
    #[arg(long, value_name = "DIR", default_value = "results")]
    results: PathBuf,
    /// Folder of libtorch 2.11.0
    #[arg(long, value_name = "DIR")]
    libtorch: Option<PathBuf>,
    /// Print a line of JSON
    #[arg(long)]
    json: bool,
}

/// Looks at everything. Ends with 3 if a run could not start.
pub fn run(args: &DoctorArgs) -> Outcome {
    let (device, num_ranks, feeding) = match &args.recipe {
        None => (DeviceChoice::Auto, 0, None),
        Some(name) => {
            let source = recipe::find(name).or_exit(Exit::Invalid)?;
            let file = recipe::load(&source, &[]).or_exit(Exit::Invalid)?;
            let feeding = Feeding::of(name, &[], None).or_exit(Exit::Invalid)?;
            (file.run.device, file.run.num_ranks, Some(feeding))
        }
    };
    let layout = RankLayout::detect(device, num_ranks, &Machine::detect());
    let num_ranks = layout.map_or(num_ranks.max(1), |layout| layout.num_ranks);
    let mut findings = programs::findings(args.libtorch.as_deref(), device);
    findings.extend(gpus::findings(device));
    findings.extend(machine::findings(num_ranks));
    findings.push(results(args));
    if let Some(path) = &args.data {
        findings.extend(data::findings(path, feeding.as_ref()));
    }
    if args.json {
        console::result(serde_json::to_string(&findings).expect("text is JSON"));
    } else {
        for finding in &findings {
            console::result(finding.lines());
        }
    }
    let is_fatal = findings.iter().any(|finding| finding.verdict == Verdict::Fail);
    Ok(if is_fatal { Exit::Invalid } else { Exit::Ok })
}

/// Whether results can be written.
fn results(args: &DoctorArgs) -> Finding {
    let folder = args.results.display();
    let is_relative = args.results.is_relative();
    let current = is_relative.then(|| Path::new(".")).into_iter();
    let existing = args.results.ancestors().chain(current).find(|path| path.is_dir());
    match tempfile::tempfile_in(existing.unwrap_or(Path::new("/"))) {
        Ok(_) => Finding::ok("results", format!("{folder} can be written")),
        Err(error) => {
            let found = format!("{folder} cannot be written ({error})");
            Finding::fail("results", found, "choose another folder with --results DIR")
        }
    }
}
