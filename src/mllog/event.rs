//! One record and its text form.

use std::{io, panic::Location};

use serde::Serialize;
use serde_json::ser::Formatter;
use serde_json::{Map, Value};

use super::Key;

/// The token before a record, with its trailing space.
pub const TOKEN: &str = ":::MLLOG ";

/// A record without its time.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) key: Key,
    pub(super) value: Value,
    /// Required metadata apart from the call site, such as `epoch_num`.
    pub(super) metadata: Vec<(&'static str, Value)>,
    /// The source line that logs the record.
    pub(super) site: &'static Location<'static>,
}

impl Event {
    /// A record without value and metadata.
    pub(super) fn bare(key: Key, site: &'static Location<'static>) -> Self {
        Self { key, value: Value::Null, metadata: Vec::new(), site }
    }

    /// A record with a value.
    pub(super) fn of(key: Key, value: impl Into<Value>, site: &'static Location<'static>) -> Self {
        Self { value: value.into(), ..Self::bare(key, site) }
    }

    /// Adds a member to `metadata`.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.metadata.push((name, value.into()));
        self
    }

    /// The complete line, with members in `mllog`'s order. `time_ms` is since the Unix epoch.
    pub(super) fn line(&self, time_ms: u64) -> Vec<u8> {
        let mut metadata = Map::new();
        metadata.insert("file".into(), self.site.file().into());
        metadata.insert("lineno".into(), self.site.line().into());
        metadata.extend(self.metadata.iter().map(|(name, value)| ((*name).into(), value.clone())));
        let mut record = Map::new();
        record.insert("namespace".into(), "".into());
        record.insert("time_ms".into(), time_ms.into());
        record.insert("event_type".into(), self.key.event_type().into());
        record.insert("key".into(), self.key.as_str().into());
        record.insert("value".into(), self.value.clone());
        record.insert("metadata".into(), metadata.into());

        let mut line = TOKEN.as_bytes().to_vec();
        record
            .serialize(&mut serde_json::Serializer::with_formatter(&mut line, Spaced))
            .expect("writes to memory succeed and the keys are strings");
        line.push(b'\n');
        line
    }
}

/// JSON with the spaces of Python's `json.dumps`, because people grep logs for `"key": "run_stop"`.
/// Like Python, it escapes non-ASCII characters, because logs are read as Latin-1.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        for character in fragment.chars() {
            if character.is_ascii() {
                write!(writer, "{character}")?;
            } else {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_equals_that_of_mllog() {
        let site = Location::caller();
        let event = Event::of(Key::EvalAccuracy, 0.7615, site).with("epoch_num", 27);
        assert_eq!(
            String::from_utf8(event.line(1_700_000_000_123)).unwrap(),
            format!(
                ":::MLLOG {{\"namespace\": \"\", \"time_ms\": 1700000000123, \"event_type\": \
                 \"POINT_IN_TIME\", \"key\": \"eval_accuracy\", \"value\": 0.7615, \"metadata\": \
                 {{\"file\": \"{}\", \"lineno\": {}, \"epoch_num\": 27}}}}\n",
                file!(),
                site.line(),
            )
        );
    }

    #[test]
    fn non_ascii_text_is_escaped_because_logs_are_read_as_latin_1() {
        let event = Event::of(Key::SubmissionOrg, "Zürich \u{1f600} \"q\"", Location::caller());
        let line = String::from_utf8(event.line(0)).unwrap();
        assert!(line.contains(r#""value": "Z\u00fcrich \ud83d\ude00 \"q\"""#), "{line}");
    }
}
