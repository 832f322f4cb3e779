//! The codes of findings about a submission's tree: names that stay, each with its severity, its
//! meaning and its cure.

use crate::compliance::codes;

/// Whose verdict a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// `package_checker`, without the test of seeds.
    PackageChecker,
    /// The part of `package_checker` that compares seeds.
    SeedChecker,
    /// `repo_checker`.
    RepoChecker,
    /// None of the reference's tools: our own opinion.
    Own,
}

impl Tool {
    /// The word in outputs.
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
        "There is no folder results; the package checker ends in a traceback."
        "put the logs into results/SYSTEM/resnet/result_0.txt to result_4.txt"
    NoDescription "no-description" Error
        "A folder of results has no description of its system; the package checker ends in a \
         traceback."
        "write systems/SYSTEM.json, named like the folder in results"
    BadDescription "bad-description" Error
        "A description cannot be read as a JSON object; the package checker ends in a traceback."
        "write one JSON object with the 33 fields"
    MissingField "missing-field" Error
        "A description lacks one of the 33 fields, which all have to be there, if only as \"\"."
        "add the field"
    FieldNotText "field-not-text" Error
        "A field that the system description checker joins into a line is no text; it ends in a \
         traceback."
        "put the value in quotes"
    StatusUnknown "status-unknown" Error
        "From ruleset 4.0.0 on the description's status must be one of four sentences. The log's \
         submission_status keeps words of its own: onprem, cloud, research, preview."
        "write Available on-premise, Available cloud, Preview, or Research, Development, or \
         Internal (RDI)"
    RunCount "run-count" Error
        "The number of result_*.txt is not the one that the rules ask for."
        "submit exactly 5 runs, as result_0.txt to result_4.txt"
    LogUnreadable "log-unreadable" Error
        "A log cannot be read as a file; the package checker ends in a traceback."
        "put the log itself there"
    LogCrashes "log-crashes" Error
        "The compliance checker ends in a traceback on the log, and the package checker with it, \
         even where one failed run would be allowed."
        "see the log's own findings, and submit a log that can be judged"
    TooManyFailed "too-many-failed" Error
        "More than one run is rejected, for its log or its power; olympic scoring forgives one."
        "submit a set of runs of which at most one failed"
    SeedMissing "seed-missing" Error
        "A closed run logs no seed."
        "log the seed of every run through MLLOG"
    SeedUnreadable "seed-unreadable" Error
        "The seed checker cannot read a log, or a seed in it is no integer or lacks the file and \
         the line that logged it."
        "log seeds through mllog, as integers"
    SeedRepeated "seed-repeated" Error
        "A closed run logs a seed that was logged before, from the same line of the source."
        "give each run a seed of its own, and log it once"
    ConvergenceFailed "convergence-failed" Error
        "A closed submission takes fewer epochs than chance allows beside the reference."
        "run the reference's hyperparameters, or ask the committee for new reference points"
    ConvergenceUntested "convergence-untested" Error
        "The test of convergence cannot be made, so the package checker rejects."
        "log batch size, epochs and status of every run alike"
    PowerUnreadable "power-unreadable" Error
        "The power checker ends in a traceback on the folder power."
        "put node_J.txt and sw_K.txt, numbered from 0, into power/result_N, or remove the folder"
    NameUnfit "name-unfit" Error
        "A name holds a blank or starts with a dot."
        "rename it, and leave hidden files out"
    FileTooBig "file-too-big" Error
        "A file has more than 50 MiB."
        "leave it out, or say where it can be fetched"
    BrokenLink "broken-link" Error
        "A link leads nowhere."
        "put the file itself there"
    RelativeLink "relative-link" Error
        "A link is relative. The repository checker looks for its target from the folder that it \
         is started in, and calls the link broken although it is not."
        "put the file itself there"

    Unreadable "unreadable" Fault
        "A file or folder cannot be read."
        "give everybody the right to read it"
    NotAFile "not-a-file" Fault
        "It is neither file, folder nor link."
        "remove it"
    LinkLeaves "link-leaves" Fault
        "A link leads out of the submission: whoever unpacks it has no such file."
        "put the file itself there"
    NothingSubmitted "nothing-submitted" Fault
        "There are no results of ResNet; the package checker calls that a success."
        "put the logs into results/SYSTEM/resnet/result_0.txt to result_4.txt"
    DivisionWord "division-word" Fault
        "The description's division is neither open nor closed in exactly these letters, so the \
         package checker tests neither seeds nor convergence."
        "write open or closed"
    DivisionDiffers "division-differs" Fault
        "A log names another division than the description."
        "submit the runs in the division that they were made for"
    RunsDiffer "runs-differ" Fault
        "Two runs of one set were not made with the same hyperparameters."
        "submit runs of one recipe"
    SameLog "same-log" Fault
        "Two results are the same log."
        "submit a log of its own for each run"
    CountNotANumber "count-not-a-number" Fault
        "A count of the description is no whole number; the summarizer ends in a traceback."
        "write digits, such as \"8\""
    AbortedCounts "aborted-counts" Fault
        "A run that was given up counts as one that reached the target, because the reference does not \
         read the status in the open division, and the score is better for it than the rules \
         allow."
        "make another run, or have the run counted as the slowest"
    StaleScaling "stale-scaling" Fault
        "scaling.json holds another factor than the test of convergence asks for, and the \
         summarizer would apply it."
        "remove the file; the package checker writes it"
    ManifestDiffers "manifest-differs" Fault
        "The tree is not the one that SHA256SUMS was written for."
        "restore the files, or package anew"
    NoImplementation "no-implementation" Fault
        "There is no code: a result must be reproducible from the submission."
        "put source, README.md and scripts into benchmarks/resnet/implementations/NAME"

    OneRunFailed "one-run-failed" Advice
        "One run is rejected, for its log or its power; it counts as the slowest."
        "nothing has to be done"
    SeveralSeeds "several-seeds" Advice
        "A closed run logs more than one seed; the seed checker warns."
        "log the seed once, from one process"
    OpenSeedRepeated "open-seed-repeated" Advice
        "Two open runs share a seed. The rules allow it, but the runs may be one and the same \
         experiment."
        "give each run a seed of its own"
    UnknownFile "unknown-file" Advice
        "A file beside the logs is none that the package checker knows; it warns."
        "name logs result_N.txt, and leave other files out"
    OtherBenchmark "other-benchmark" Advice
        "A folder of results is not ResNet's and was not judged here."
        "judge it with the reference's package checker"
    PowerIncomplete "power-incomplete" Advice
        "The measurements of power of a run are not whole; it counts as one that failed."
        "put node_J.txt and sw_K.txt, numbered from 0, into power/result_N for every run"
    Numbering "numbering" Advice
        "The results are not numbered in a row from 0 or 1."
        "name them result_0.txt to result_4.txt"
    BypassUsed "bypass-used" Advice
        "package_checker_params switches a test off; the committee will ask why."
        "remove the file"
    BypassIdle "bypass-idle" Advice
        "package_checker_params asks for a bypass, but a line end follows the word, so that the \
         package checker does not see it."
        "remove the file, or the line end"
    EmptyField "empty-field" Advice
        "Fields of a description are there but say nothing."
        "fill them in"
    StatusDiffers "status-differs" Advice
        "The log's submission_status and the description's status say different things."
        "let both say how the system can be had"
    StatusNotInUse "status-not-in-use" Advice
        "The description's status is none of the words in use."
        "write onprem, cloud, preview or research before round v3.1, a sentence of ruleset 4.0.0 \
         since then"
    SubmitterDiffers "submitter-differs" Advice
        "The description names another submitter than the folder."
        "let the folder carry the submitter's name"
    UnusedDescription "unused-description" Advice
        "A description has no results."
        "remove it"
    RunsOverlap "runs-overlap" Advice
        "Two runs of one system were timed at the same time."
        "make the runs one after another, or say how the system was shared"
    NoLicense "no-license" Advice
        "There is no file LICENSE; submissions are under the Apache License 2.0."
        "put the license there"
}

impl Code {
    /// Whose verdict it is about; only errors change one.
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
    fn names_are_unique_also_among_those_of_logs() {
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
    fn errors_and_nothing_else_belong_to_the_references_tools() {
        for code in Code::ALL {
            let is_error = code.severity() == Severity::Error;
            assert_eq!(is_error, code.tool() != Tool::Own, "{code}");
        }
    }
}
