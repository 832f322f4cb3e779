//! How often a key occurred, and with which values.

use super::super::code::Code;
use super::super::parse::Record;
use super::super::rules::Need;
use super::super::value::Value;

/// What the log has shown of one key.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) num: usize,
    first: Option<Seen>,
    second_line: Option<usize>,
    pub(super) last_line: Option<usize>,
    /// The first record whose value differs from that of the first record.
    differing: Option<Seen>,
    /// Whether a record met the target.
    pub(super) is_target_met: bool,
    pub(super) best: Option<f64>,
    pub(super) num_findings: usize,
}

struct Seen {
    line: usize,
    value: Value,
}

impl Seen {
    fn of(record: &Record) -> Self {
        Self { line: record.line, value: record.value.clone() }
    }
}

impl Tally {
    pub(super) fn count(&mut self, record: &Record) {
        self.num += 1;
        self.last_line = Some(record.line);
        let Some(first) = &self.first else {
            self.first = Some(Seen::of(record));
            return;
        };
        self.second_line = self.second_line.or(Some(record.line));
        if self.differing.is_none() && !record.value.same(&first.value) {
            self.differing = Some(Seen::of(record));
        }
    }

    /// What is wrong with the number of records: code, line and message. [`Need::Or`] is not for
    /// one key to decide.
    pub(super) fn complaint(
        &self,
        key: &str,
        need: &Need,
    ) -> Option<(Code, Option<usize>, String)> {
        let Self { num, first, second_line, differing, .. } = self;
        match (need, first, second_line) {
            (Need::ExactlyOne | Need::AtLeastOne, None, _) => {
                Some((Code::MissingKey, None, format!("{key} is missing")))
            }
            (Need::AtLeast(wanted), ..) if num < wanted => {
                let message = format!("{key} occurs {num} times, not {wanted} times or more");
                Some((Code::MissingKey, None, message))
            }
            (Need::ExactlyOne, Some(first), Some(second)) => Some(match differing {
                Some(other) => (
                    Code::RepeatedKey,
                    Some(other.line),
                    format!(
                        "{key} occurs {num} times and is {} in line {} but {} here",
                        first.value, first.line, other.value
                    ),
                ),
                None => (
                    Code::RepeatedEqualKey,
                    Some(*second),
                    format!(
                        "{key} occurs {num} times, first in line {}, with the same value",
                        first.line
                    ),
                ),
            }),
            _ => None,
        }
    }
}
