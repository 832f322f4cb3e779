//! `mlperf-run package`: packages and verifies submissions.

use std::path::PathBuf;

use anyhow::anyhow;

use super::package_text;
use crate::{
    cli::{
        exit::{Exit, Failure, OrExit, Outcome},
        findings::{StrictnessArgs, code_parser},
        ruleset::RulesetChoice,
    },
    console, launch,
    submission::{
        Code, PackageError, PackageRequest, Tree, Verdict, package, submissions_in, verify,
    },
};

/// Arguments of `package`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mlperf-run package results/box --out submission
  mlperf-run package --verify submission")]
pub struct PackageArgs {
    /// Runs: a folder such as results/SYSTEM, or single runs in it; with --verify, submissions or
    /// folders of several
    #[arg(value_name = "DIR", required_unless_present = "explain")]
    pub dirs: Vec<PathBuf>,
    /// Verify submissions instead of packaging one: files, names, sizes, links, seeds, convergence,
    /// and whether logs and descriptions agree
    #[arg(long)]
    pub verify: bool,
    /// Output folder for the submission and its archive; must not exist
    #[arg(long, value_name = "DIR", conflicts_with = "verify")]
    pub out: Option<PathBuf>,
    /// Submitter [default: that of the system's description]
    #[arg(long, value_name = "NAME", conflicts_with = "verify")]
    pub submitter: Option<String>,
    /// The system's description: NAME for configs/systems/NAME.toml, or a file [default: that of
    /// the system's name, or this machine if the runs were made on it]
    #[arg(long, value_name = "NAME", conflicts_with = "verify")]
    pub description: Option<String>,
    /// Source of mlperf-run: a clone that has the commit of the runs
    #[arg(long, value_name = "DIR", default_value = ".", conflicts_with = "verify")]
    pub source: PathBuf,
    /// Ruleset for --verify: 0.7.0 to 6.1.0; auto uses that of a folder such as v5.1, otherwise the
    /// latest with the benchmark of a log
    #[arg(long, value_name = "RULESET", default_value = "auto", requires = "verify")]
    pub ruleset: RulesetChoice,
    /// Which findings reject.
    #[command(flatten)]
    pub strictness: StrictnessArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Explain a finding's code
    #[arg(long, value_name = "CODE", conflicts_with = "dirs", value_parser = code_parser(Code::ALL, |code| code.as_str()))]
    pub explain: Option<Code>,
}

/// Packages or verifies, and prints. Ends with [`Exit::NotCompliant`] if a submission is rejected.
pub fn run(args: &PackageArgs) -> Outcome {
    let (text, exit) = answer(args)?;
    console::result(text.trim_end());
    Ok(exit)
}

/// The output and exit code of [`run`].
pub fn answer(args: &PackageArgs) -> Result<(String, Exit), Failure> {
    if let Some(code) = args.explain {
        return Ok((package_text::explanation(code), Exit::Ok));
    }
    if args.verify { verified(args) } else { packaged(args) }
}

fn packaged(args: &PackageArgs) -> Result<(String, Exit), Failure> {
    let Some(out) = args.out.clone() else {
        return Err(anyhow!(
            "--out DIR is missing; name a folder for the submission, such as submission_v4.0 (the \
                            round in its name tells --verify the ruleset)"
        ))
        .or_exit(Exit::Usage);
    };
    let request = PackageRequest {
        dirs: args.dirs.clone(),
        out,
        submitter: args.submitter.clone(),
        description: args.description.clone(),
        source: args.source.clone(),
        host: launch::host_name(),
        strictness: args.strictness.strictness(),
    };
    match package(&request) {
        Ok(package) if args.json => Ok((package_text::package_json(&package), Exit::Ok)),
        Ok(package) => {
            Ok((package_text::package(&package, args.strictness.strictness()), Exit::Ok))
        }
        Err(error) => {
            let PackageError::Rejected(verdict) = &error else {
                return Err(error).or_exit(Exit::Invalid);
            };
            let verdicts = std::slice::from_ref(&**verdict);
            console::note(
                package_text::verdicts(verdicts, args.strictness.strictness()).trim_end(),
            );
            Err(error).or_exit(Exit::NotCompliant)
        }
    }
}

fn verified(args: &PackageArgs) -> Result<(String, Exit), Failure> {
    let verdicts = verify_all(args).or_exit(Exit::Invalid)?;
    let strictness = args.strictness.strictness();
    let rejected = verdicts.iter().filter(|verdict| !verdict.accepted(strictness)).count();
    let text = if args.json {
        package_text::verdicts_json(&verdicts, strictness)
    } else {
        package_text::verdicts(&verdicts, strictness)
    };
    Ok((text, if rejected == 0 { Exit::Ok } else { Exit::NotCompliant }))
}

fn verify_all(args: &PackageArgs) -> anyhow::Result<Vec<Verdict>> {
    let mut verdicts = Vec::new();
    for dir in &args.dirs {
        let metadata = dir.metadata().map_err(|error| {
            anyhow!("cannot read {} ({error}); name an existing folder", dir.display())
        })?;
        if !metadata.is_dir() {
            let dir = dir.display();
            return Err(anyhow!("{dir} is not a folder; name a submission's folder"));
        }
        let submissions = submissions_in(dir);
        if submissions.is_empty() {
            return Err(anyhow!(
                "no submission found below {}: no folder has results and systems in it; name one",
                dir.display()
            ));
        }
        for submission in submissions {
            let results = submission.join("results");
            let logs = Tree::find(&results).map_or(Vec::new(), |tree| tree.systems);
            let log = logs.first().map_or(&results, |system| &system.logs[0]);
            let ruleset = args.ruleset.of(log)?.ruleset;
            verdicts.push(verify(&submission, ruleset, args.strictness.strictness()));
        }
    }
    Ok(verdicts)
}
