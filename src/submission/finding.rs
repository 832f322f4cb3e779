//! Findings about a tree.

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
};

use super::code::Code;
use crate::compliance::Severity;

/// Findings of one code that are listed one by one.
const MAX_ALIKE: usize = 1000;

/// One problem of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The kind of problem.
    pub code: Code,
    /// The path, relative to the submission's folder.
    pub path: PathBuf,
    /// What is wrong and what is expected; [`Code::cure`] has the fix.
    pub message: String,
}

impl Finding {
    /// How serious it is.
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }
}

/// What is wrong, then the fix.
impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}; {}", self.message, self.code.cure())
    }
}

/// Collects findings, at most [`MAX_ALIKE`] per code: a hostile tree may cause more than fit in
/// memory.
#[derive(Debug, Default)]
pub(super) struct Findings {
    all: Vec<Finding>,
    counts: HashMap<Code, usize>,
}

impl Findings {
    pub(super) fn add(&mut self, code: Code, path: &Path, message: impl Into<String>) {
        let count = self.counts.entry(code).or_default();
        *count += 1;
        if *count <= MAX_ALIKE {
            self.all.push(Finding { code, path: path.into(), message: message.into() });
        }
    }

    /// The most serious first, then by path.
    pub(super) fn sorted(mut self) -> Vec<Finding> {
        for (code, count) in self.counts {
            if let Some(more) = count.checked_sub(MAX_ALIKE).filter(|more| *more > 0) {
                let message = format!("{more} more of this kind");
                self.all.push(Finding { code, path: PathBuf::new(), message });
            }
        }
        self.all.sort_by(|a, b| {
            (a.severity(), &a.path, &a.code.as_str()).cmp(&(
                b.severity(),
                &b.path,
                &b.code.as_str(),
            ))
        });
        self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_serious_come_first_and_very_many_are_counted() {
        let mut findings = Findings::default();
        findings.add(Code::NoLicense, Path::new(""), "no LICENSE");
        for number in 0..MAX_ALIKE + 5 {
            findings.add(Code::NameUnfit, Path::new(&format!("{number:05} ")), "it has a space");
        }
        let findings = findings.sorted();
        assert_eq!(findings.len(), MAX_ALIKE + 2);
        assert_eq!(findings[0].message, "5 more of this kind");
        assert_eq!(findings[1].path, Path::new("00000 "));
        assert_eq!(findings.last().unwrap().code, Code::NoLicense);
    }
}
