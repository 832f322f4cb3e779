//! The codes of findings about a submission's tree. Their names are stable; each has a severity, a
//! meaning and a fix.

use crate::compliance::codes;

/// The tool to whose verdict a finding belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// `package_checker`, without the seed test.
    PackageChecker,
    /// The part of `package_checker` that compares seeds.
    SeedChecker,
    /// `repo_checker`.
    RepoChecker,
    /// None of the reference tools: our own check.
    Own,
}

impl Tool {
    /// The name in outputs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PackageChecker => "package_checker",
            Self::SeedChecker => "seed_checker",
            Self::RepoChecker => "repo_checker",
            Self::Own => "mlperf-run",
        }
    }
}

codes! {
    /// What is wrong with a submission.
    Code;

    NoResults "no-results" Error
        "The folder results is missing; the package checker ends in a traceback."
        "put the logs into results/SYSTEM/BENCHMARK/result_0.txt and so on"
    NoDescription "no-description" Error
        "A folder of results has no system description; the package checker ends in a traceback."
        "write systems/SYSTEM.json, named like the folder in results"
    BadDescription "bad-description" Error
        "A description cannot be read as a JSON object; the package checker ends in a traceback."
        "write one JSON object with the 33 fields"
    MissingField "missing-field" Error
        "A description lacks one of the 33 required fields. A field may be empty (\"\")."
        "add the field"
    FieldNotText "field-not-text" Error
        "A field that the system description checker joins into a line is not a string; it ends \
         in a traceback."
        "put the value in quotes"
    StatusUnknown "status-unknown" Error
        "From ruleset 4.0.0 on, the description's status must be one of four phrases. The log's \
         submission_status has its own words: onprem, cloud, research, preview."
        "write Available on-premise, Available cloud, Preview, or Research, Development, or \
         Internal (RDI)"
    RunCount "run-count" Error
        "The number of result_*.txt files is not the required one."
        "submit as many runs as the benchmark requires, numbered from result_0.txt"
    LogUnreadable "log-unreadable" Error
        "A log cannot be read as a file; the package checker ends in a traceback."
        "replace it with the log file"
    LogCrashes "log-crashes" Error
        "The compliance checker ends in a traceback on the log, and so does the package checker, \
         even if one failed run were allowed."
        "see the log's own findings, and submit a log that can be checked"
    TooManyFailed "too-many-failed" Error
        "More runs are rejected because of their logs or their power measurements than olympic \
         scoring allows: one, and four of unet3d."
        "submit a set of runs of which so few failed"
    SeedMissing "seed-missing" Error
        "A closed run logs no seed."
        "log the seed of every run through MLLOG"
    SeedUnreadable "seed-unreadable" Error
        "The seed checker cannot read a log, or a seed in it is not an integer or lacks the file \
         and line that logged it."
        "log seeds through mllog, as integers"
    SeedRepeated "seed-repeated" Error
        "A closed run logs a seed that another record logged from the same source line."
        "give each run a different seed, and log it once"
    ConvergenceFailed "convergence-failed" Error
        "A closed submission converges in fewer epochs than the reference makes plausible."
        "run the reference's hyperparameters, or ask the committee for new reference points"
    ConvergenceUntested "convergence-untested" Error
        "The convergence test cannot run, so the package checker rejects the submission."
        "log the batch size, epochs and status of every run in the same way"
    PowerUnreadable "power-unreadable" Error
        "The power checker ends in a traceback on the folder power."
        "put node_J.txt and sw_K.txt, numbered from 0, into power/result_N, or remove the folder"
    NameUnfit "name-unfit" Error
        "A name contains a space or starts with a dot."
        "rename it, and leave hidden files out"
    FileTooBig "file-too-big" Error
        "A file is larger than 50 MiB."
        "leave it out, or say where it can be fetched"
    BrokenLink "broken-link" Error
        "A link's target does not exist."
        "replace the link with the file"
    RelativeLink "relative-link" Error
        "A link is relative. The repository checker resolves it from the folder in which it is \
         started, and reports the link as broken although it is not."
        "replace the link with the file"

    Unreadable "unreadable" Fault
        "A file or folder cannot be read."
        "make it readable for everybody"
    NotAFile "not-a-file" Fault
        "This is neither a file, a folder nor a link."
        "remove it"
    LinkLeaves "link-leaves" Fault
        "A link points outside the submission, so whoever unpacks it lacks the file."
        "replace the link with the file"
    NothingSubmitted "nothing-submitted" Fault
        "There are no results of the round's benchmarks; the package checker counts that as a success."
        "put the logs into results/SYSTEM/BENCHMARK/result_0.txt and so on"
    PythonJson "python-json" Fault
        "A description is not JSON, but Python reads it all the same: NaN, an infinite number, a lone \
         surrogate, or more than 127 levels."
        "write plain JSON"
    DivisionWord "division-word" Fault
        "The description's division is neither \"open\" nor \"closed\" in exact spelling, so the \
         package checker tests neither seeds nor convergence."
        "write open or closed"
    DivisionDiffers "division-differs" Fault
        "A log's division differs from the description's."
        "submit the runs in the division for which they were made"
    RunsDiffer "runs-differ" Fault
        "Two runs of one set have different hyperparameters."
        "submit runs of one recipe"
    SameLog "same-log" Fault
        "Two results are the same log."
        "submit a different log for each run"
    CountNotANumber "count-not-a-number" Fault
        "A count in the description is not a whole number; the summarizer ends in a traceback."
        "write digits, such as \"8\""
    AbortedCounts "aborted-counts" Fault
        "An aborted run counts as one that reached the target, because the reference does not read \
         the status in the open division. The score is therefore better than the rules allow."
        "make another run, or have the run counted as the slowest"
    StaleScaling "stale-scaling" Fault
        "scaling.json has another factor than the convergence test requires, and the summarizer \
         would apply it."
        "remove the file; the package checker writes it"
    ManifestDiffers "manifest-differs" Fault
        "The tree does not match SHA256SUMS."
        "restore the files, or package again"
    NoImplementation "no-implementation" Fault
        "There is no code, but a result must be reproducible from the submission."
        "put the source, README.md and scripts into benchmarks/BENCHMARK/implementations/NAME"

    OneRunFailed "one-run-failed" Advice
        "A run is rejected because of its log or its power measurements; it counts as the slowest. \
         Olympic scoring allows one such run, and four of unet3d."
        "no action is required"
    SeveralSeeds "several-seeds" Advice
        "A closed run logs more than one seed; the seed checker warns."
        "log the seed once, from one process"
    OpenSeedRepeated "open-seed-repeated" Advice
        "Two open runs have the same seed. The rules allow it, but the runs may be the same \
         experiment."
        "give each run a different seed"
    UnknownFile "unknown-file" Advice
        "The package checker does not know a file next to the logs; it warns."
        "name logs result_N.txt, and leave other files out"
    OtherBenchmark "other-benchmark" Advice
        "The round does not have the benchmark of this folder, so the reference's package checker \
         skips it."
        "remove the folder, or verify with the ruleset that has the benchmark"
    PowerIncomplete "power-incomplete" Advice
        "A run's power measurements are incomplete; the run counts as failed."
        "put node_J.txt and sw_K.txt, numbered from 0, into power/result_N for every run"
    Numbering "numbering" Advice
        "The results are not numbered consecutively from 0 or 1."
        "name them result_0.txt to result_4.txt"
    BypassUsed "bypass-used" Advice
        "package_checker_params disables a test; expect the committee to ask why."
        "remove the file"
    BypassIdle "bypass-idle" Advice
        "package_checker_params asks for a bypass, but a line end follows the word, so the package \
         checker does not recognise it."
        "remove the file, or the line end"
    EmptyField "empty-field" Advice
        "Fields of a description are empty."
        "fill them in"
    StatusDiffers "status-differs" Advice
        "The log's submission_status contradicts the description's status."
        "let both state the same availability"
    StatusNotInUse "status-not-in-use" Advice
        "The description's status is not one of the known values."
        "write onprem, cloud, preview or research before round v3.1, and a phrase of ruleset 4.0.0 \
         since then"
    SubmitterDiffers "submitter-differs" Advice
        "The submitter in the description differs from the folder's name."
        "name the folder after the submitter"
    UnusedDescription "unused-description" Advice
        "A description has no results."
        "remove it"
    RunsOverlap "runs-overlap" Advice
        "Two runs of one system were timed at the same time."
        "make the runs one after the other, or say how the system was shared"
    NoLicense "no-license" Advice
        "There is no file LICENSE; submissions are under the Apache License 2.0."
        "add the license"
}

impl Code {
    /// Whether the reference's package checker ends in a traceback there, before it compares seeds.
    pub const fn crashes_before_seeds(self) -> bool {
        matches!(
            self,
            Self::NoResults
                | Self::NoDescription
                | Self::BadDescription
                | Self::FieldNotText
                | Self::LogUnreadable
                | Self::LogCrashes
                | Self::PowerUnreadable
        )
    }

    /// The tool to whose verdict the finding belongs; only errors change a verdict.
    pub const fn tool(self) -> Tool {
        match self {
            Self::NoResults
            | Self::NoDescription
            | Self::BadDescription
            | Self::MissingField
            | Self::FieldNotText
            | Self::StatusUnknown
            | Self::RunCount
            | Self::LogUnreadable
            | Self::LogCrashes
            | Self::TooManyFailed
            | Self::ConvergenceFailed
            | Self::ConvergenceUntested
            | Self::PowerUnreadable => Tool::PackageChecker,
            Self::SeedMissing | Self::SeedUnreadable | Self::SeedRepeated => Tool::SeedChecker,
            Self::NameUnfit | Self::FileTooBig | Self::BrokenLink | Self::RelativeLink => {
                Tool::RepoChecker
            }
            _ => Tool::Own,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compliance::{self, Severity};

    #[test]
    fn names_are_unique_even_with_those_of_log_findings() {
        let ours = Code::ALL.iter().map(|code| code.as_str());
        let logs = compliance::Code::ALL.iter().map(|code| code.as_str());
        let mut names: Vec<_> = ours.chain(logs).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(all, names.len());
        for code in Code::ALL {
            assert!(code.meaning().ends_with('.') && !code.cure().ends_with('.'), "{code}");
        }
        assert!(Code::ALL.is_sorted_by_key(|code| code.severity()));
    }

    #[test]
    fn exactly_the_errors_belong_to_the_reference_tools() {
        for code in Code::ALL {
            let is_error = code.severity() == Severity::Error;
            assert_eq!(is_error, code.tool() != Tool::Own, "{code}");
        }
    }
}
