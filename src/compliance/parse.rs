//! Reads a log line by line as the reference does, with the file's own line numbers.
//!
//! The text is Latin-1; LF, CRLF or a lone CR ends a line. A line counts if it contains the token
//! with its space; everything before the *last* token is dropped. What the reference cannot read
//! becomes a [`Flaw`]; each of them makes it reject the file.

use std::io::{self, BufRead};

use memchr::{memchr2, memmem};

use super::json;
use super::value::Value;
use crate::mllog::TOKEN;

/// A parsed log.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// The records, in file order.
    pub records: Vec<Record>,
    /// The lines with a token that are not records.
    pub flaws: Vec<Flaw>,
}

/// One record.
#[derive(Clone, Debug)]
pub struct Record {
    /// Line number, from 1.
    pub line: usize,
    /// Milliseconds since the Unix epoch.
    pub time_ms: f64,
    /// The key; empty if it is not a string, because no rule covers such a key.
    pub key: String,
    /// The value.
    pub value: Value,
    /// The metadata; usually an object.
    pub metadata: Value,
    /// Another record precedes this one in the line. The reference drops it.
    pub follows_another: bool,
}

/// A line that has the token but is not a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Line number, from 1.
    pub line: usize,
    /// What kind of flaw it is.
    pub kind: FlawKind,
    /// The reason, in words.
    pub reason: String,
}

/// Why a line is not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlawKind {
    /// It is not JSON.
    Json,
    /// It is JSON but not a record.
    Record,
    /// It would be a record, but its time is a string that is not a number.
    Time,
}

/// What a line with a token contains.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A record.
    Record(Record),
    /// A flaw.
    Flaw(Flaw),
}

impl Log {
    /// Parses a log; accepts any bytes.
    pub fn parse(bytes: &[u8]) -> Self {
        let mut log = Self::default();
        let mut entries = Entries::new(bytes);
        while let Some(entry) = entries.next().expect("bytes in memory can be read") {
            match entry {
                Entry::Record(record) => log.records.push(record),
                Entry::Flaw(flaw) => log.flaws.push(flaw),
            }
        }
        log
    }
}

/// An iterator over the lines of a log that contain a token.
pub(super) struct Entries<R> {
    source: R,
    /// Lines read so far.
    num_lines: usize,
    /// The start of a line whose end has not been read yet.
    started: Vec<u8>,
    /// The previous line ended with CR, so an LF that follows belongs to it.
    after_cr: bool,
    /// The first bytes of the text.
    start: Option<[u8; 2]>,
}

impl<R: BufRead> Entries<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, num_lines: 0, started: Vec::new(), after_cr: false, start: None }
    }

    /// Whether the text begins with the byte order mark of UTF-16.
    pub(super) fn is_utf16(&self) -> bool {
        matches!(self.start, Some([0xff, 0xfe] | [0xfe, 0xff]))
    }

    /// The next entry, or `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Entry>> {
        loop {
            let buffer = match self.source.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                buffer => buffer?,
            };
            if buffer.is_empty() {
                return Ok(self.last());
            }
            if self.start.is_none() {
                self.start = Some([buffer[0], buffer.get(1).copied().unwrap_or_default()]);
            }
            if std::mem::take(&mut self.after_cr) && buffer[0] == b'\n' {
                self.source.consume(1);
                continue;
            }
            let Some(end) = memchr2(b'\n', b'\r', buffer) else {
                let length = buffer.len();
                self.started.extend_from_slice(buffer);
                self.source.consume(length);
                continue;
            };
            self.num_lines += 1;
            self.after_cr = buffer[end] == b'\r';
            let found = if self.started.is_empty() {
                entry(self.num_lines, &buffer[..end])
            } else {
                self.started.extend_from_slice(&buffer[..end]);
                let found = entry(self.num_lines, &self.started);
                self.started.clear();
                found
            };
            self.source.consume(end + 1);
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    /// The text after the last line end.
    fn last(&mut self) -> Option<Entry> {
        let line = std::mem::take(&mut self.started);
        self.num_lines += usize::from(!line.is_empty());
        entry(self.num_lines, &line)
    }
}

/// What `line` contains, if it has a token.
fn entry(number: usize, line: &[u8]) -> Option<Entry> {
    let text = after_last_token(line)?;
    Some(match record(number, text) {
        Ok(record) => {
            let follows_another = has_earlier_record(line);
            Entry::Record(Record { follows_another, ..record })
        }
        Err((kind, reason)) => Entry::Flaw(Flaw { line: number, kind, reason }),
    })
}

/// Whether an object begins behind a token other than the last one.
fn has_earlier_record(line: &[u8]) -> bool {
    let token = TOKEN.as_bytes();
    let mut tokens = memmem::rfind_iter(line, token).skip(1);
    tokens.any(|start| line[start + token.len()..].starts_with(b"{"))
}

/// The text after the last token, without trailing white space.
fn after_last_token(line: &[u8]) -> Option<&[u8]> {
    let token = TOKEN.as_bytes();
    let start = memmem::rfind(line, token)?;
    let text = &line[start + token.len()..];
    let end = text.iter().rposition(|byte| !is_python_blank(*byte)).map_or(0, |last| last + 1);
    Some(&text[..end])
}

/// Latin-1 characters that Python's `str.strip` removes.
fn is_python_blank(byte: u8) -> bool {
    matches!(byte, 0x09..=0x0d | 0x1c..=0x20 | 0x85 | 0xa0)
}

fn record(line: usize, text: &[u8]) -> Result<Record, (FlawKind, String)> {
    if text.is_empty() {
        return Err((FlawKind::Json, "nothing follows the token".into()));
    }
    let object = json::parse(text)
        .map_err(|error| (FlawKind::Json, format!("{} at byte {}", error.reason, error.at + 1)))?;
    let Value::Map(mut members) = object else {
        return Err((FlawKind::Record, format!("expected a JSON object, not {object}")));
    };
    let mut member = |name: &str| {
        members.remove(name).ok_or_else(|| (FlawKind::Record, format!("{name} is missing")))
    };
    let time = member("time_ms")?;
    let time_ms = python_float(&time).ok_or_else(|| {
        let kind = if time.as_str().is_some() { FlawKind::Time } else { FlawKind::Record };
        (kind, format!("time_ms is {time}, not a number of milliseconds"))
    })?;
    let key = match member("key")? {
        Value::Text(key) => key,
        _ => String::new(),
    };
    let (value, metadata) = (member("value")?, member("metadata")?);
    Ok(Record { line, time_ms, key, value, metadata, follows_another: false })
}

/// Python's `float(value)`, which also accepts strings such as `" 1_000.5 "`.
fn python_float(value: &Value) -> Option<f64> {
    match value {
        Value::Text(text) => {
            let text = text.trim();
            let bytes = text.as_bytes();
            let well_placed = |at: usize| {
                at > 0
                    && bytes[at - 1].is_ascii_digit()
                    && bytes.get(at + 1).is_some_and(u8::is_ascii_digit)
            };
            let underscores = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'_');
            if !underscores.map(|(at, _)| at).all(well_placed) {
                return None;
            }
            text.replace('_', "").parse().ok()
        }
        Value::Huge(_) => value.as_f64().filter(|float| float.is_finite()),
        _ => value.as_f64(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = r#"{"time_ms": 5, "key": "seed", "value": 1, "metadata": {}}"#;

    fn one(line: &str) -> Result<Record, Flaw> {
        let mut log = Log::parse(line.as_bytes());
        assert_eq!(log.records.len() + log.flaws.len(), 1, "{line}");
        log.records.pop().ok_or_else(|| log.flaws.remove(0))
    }

    fn reason(members: &str) -> String {
        one(&format!(":::MLLOG {members}")).unwrap_err().reason
    }

    #[test]
    fn every_line_end_counts_and_line_numbers_are_the_files_own() {
        let text = format!("noise\r\n:::MLLOG {GOOD}\r:::MLLOG {GOOD}\n\n:::MLLOG {GOOD}");
        let lines: Vec<_> = Log::parse(text.as_bytes()).records.iter().map(|r| r.line).collect();
        assert_eq!(lines, [2, 3, 5]);
    }

    #[test]
    fn only_the_token_with_its_space_counts() {
        let text = format!(":::MLLOG{GOOD}\n:::mllog {GOOD}\n:::MLLOG\t{GOOD}\n");
        let log = Log::parse(text.as_bytes());
        assert!(log.records.is_empty() && log.flaws.is_empty());
    }

    #[test]
    fn text_before_the_last_token_and_trailing_space_is_dropped() {
        assert!(one(&format!("[1,0]<stdout>: \0:::MLLOG {{\"a :::MLLOG {GOOD} \x0b\x1c ")).is_ok());
        let within = reason(r#"{"time_ms": 5, "key": "x", "value": ":::MLLOG ", "metadata": {}}"#);
        assert_eq!(within, "text after the object at byte 5");
    }

    #[test]
    fn times_are_read_as_python_reads_floats() {
        let time = |json: &str| {
            one(&format!(":::MLLOG {}", GOOD.replace('5', json))).map(|record| record.time_ms)
        };
        assert!((time("1.5e3").unwrap() - 1500.0).abs() < 1e-9);
        assert!((time("\" 1_000.5 \"").unwrap() - 1000.5).abs() < 1e-9);
        assert!((time("true").unwrap() - 1.0).abs() < 1e-9);
        assert!(time("\"inf\"").unwrap().is_infinite());
        for bad in ["\"soon\"", "\"1__0\"", "\"_1\"", "null", "[]", &"9".repeat(400)] {
            assert!(time(bad).unwrap_err().reason.starts_with("time_ms is "), "{bad}");
        }
    }

    #[test]
    fn a_line_that_is_not_a_record_has_a_reason() {
        assert_eq!(reason("[1]"), "expected a JSON object, not a list of 1");
        assert_eq!(reason(r#"{"key": "x", "value": 1, "metadata": {}}"#), "time_ms is missing");
        assert_eq!(reason(r#"{"time_ms": 1, "key": "x", "value": 1}"#), "metadata is missing");
        assert_eq!(reason(""), "nothing follows the token");
    }

    #[test]
    fn a_key_that_is_not_a_string_is_a_record_that_no_rule_covers() {
        let record = one(&format!(":::MLLOG {}", GOOD.replace("\"seed\"", "7"))).unwrap();
        assert_eq!(record.key, "");
    }

    #[test]
    fn lines_may_be_longer_than_the_read_buffer() {
        let text = format!("x\r\n:::MLLOG {GOOD}\r:::MLLOG {GOOD}\r\nnoise\n:::MLLOG {GOOD}");
        for capacity in [1, 2, 3, 7, 64] {
            let source = io::BufReader::with_capacity(capacity, text.as_bytes());
            let mut entries = Entries::new(source);
            let mut lines = Vec::new();
            while let Some(entry) = entries.next().unwrap() {
                let Entry::Record(record) = entry else { panic!("{entry:?}") };
                lines.push(record.line);
            }
            assert_eq!(lines, [2, 3, 5], "a buffer of {capacity} bytes");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            Log::parse(&bytes);
        }

        #[test]
        fn any_bytes_after_a_token_are_one_record_or_one_flaw(
            bytes in proptest::collection::vec(any::<u8>(), 0..200)
        ) {
            let mut line = TOKEN.as_bytes().to_vec();
            line.extend(bytes.iter().filter(|byte| !matches!(byte, b'\n' | b'\r')));
            let log = Log::parse(&line);
            prop_assert_eq!(log.records.len() + log.flaws.len(), 1);
        }

        #[test]
        fn almost_json_can_be_read(
            text in r#"[\[\]{}:,"\\u0-9eE.+\-a-f dtrulsNIinfy]{0,80}"#
        ) {
            let _ = json::parse(text.as_bytes());
        }
    }
}
