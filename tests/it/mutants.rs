//! Mutants of logs: dropped, repeated, swapped, retyped and truncated records, and other encodings.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

/// Makes mutants in a fixed sequence.
pub(crate) struct Mutants(TestRunner);

impl Mutants {
    pub(crate) fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        Self(TestRunner::new_with_rng(ProptestConfig::default(), rng))
    }

    /// The next mutant of `log`, with up to two changes.
    pub(crate) fn of(&mut self, log: &str) -> Vec<u8> {
        let changes = prop::collection::vec((any::<prop::sample::Index>(), change()), 0..3);
        let changes = changes.new_tree(&mut self.0).unwrap().current();
        let encoding = encoding().new_tree(&mut self.0).unwrap().current();
        encoded(&changed(log, &changes), &encoding)
    }
}

/// `MLPERF_RUN_ORACLE="SEED COUNT"` (`scripts/oracle/mlcommons --seed SEED --count COUNT`) asks for other
/// mutants, and more of them.
pub(crate) fn seed_and_count() -> (u64, usize) {
    let Ok(asked) = std::env::var("MLPERF_RUN_ORACLE") else { return (20_240_612, 320) };
    let (seed, count) = asked.split_once(' ').unwrap();
    (seed.parse().unwrap(), count.parse().unwrap())
}

/// One change to one line.
#[derive(Clone, Debug)]
enum Change {
    Drop,
    Repeat,
    Swap(prop::sample::Index),
    Put(&'static str, &'static str),
    /// A number becomes a string, anything else a list.
    Retype,
    Scale(f64),
    Cut(prop::sample::Index),
}

const VALUES: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-1",
    "1",
    "2",
    "2.0",
    "0.0001",
    "0.0003",
    "1e-4",
    "0.759",
    "0.7589",
    "1.0",
    "1.7005",
    "NaN",
    "-Infinity",
    "1e400",
    "[]",
    "{}",
    "[\"open\"]",
    "\"\"",
    "\"open\"",
    "\"closed\"",
    "\"Open\"",
    "\"resnet\"",
    "\"sgd\"",
    "\"lars\"",
    "\"0.8\"",
    "170141183460469231731687303715884105728",
    "\"\\ud83d\\ude00\"",
    "01",
    "'x'",
    "\"\t\"",
];
const METADATA: &[&str] = &[
    "null",
    "{}",
    "[]",
    "7",
    "\"status\"",
    "\"an epoch_num\"",
    "[\"epoch_num\", \"status\"]",
    "{\"status\": null}",
    "{\"epoch_num\": 0}",
    "{\"epoch_num\": \"x\", \"epoch_num\": 2}",
    "{\"epoch_count\": 0, \"first_epoch_num\": 1}",
    "{\"epoch_count\": true}",
    "{\"epoch_count\": \"1\", \"first_epoch_num\": 1}",
    "{\"samples_count\": -1}",
    "{\"samples_count\": 0}",
    "{\"step_num\": 0}",
    "{\"step_num\": -0.5, \"epoch_count\": 1}",
    "\"epoch_count first_epoch_num\"",
    "[\"epoch_count\", \"first_epoch_num\"]",
    "{,}",
];
const TIMES: &[&str] = &[
    "null",
    "\"soon\"",
    "\" 1_7e9 \"",
    "\"1__7\"",
    "0",
    "1e99",
    "NaN",
    "-Infinity",
    "true",
    "[]",
    "1699999999999.5",
    "1700018000000",
];
const KEYS: &[&str] =
    &["7", "null", "[\"seed\"]", "\"opt_name\"", "\"init_start\"", "\"run_stop\"", "\"xyz\""];

fn change() -> impl Strategy<Value = Change> {
    let put =
        |name, texts| prop::sample::select(texts).prop_map(move |text| Change::Put(name, text));
    prop_oneof![
        2 => Just(Change::Drop),
        2 => Just(Change::Repeat),
        2 => any::<prop::sample::Index>().prop_map(Change::Swap),
        1 => any::<prop::sample::Index>().prop_map(Change::Cut),
        6 => put("value", VALUES),
        4 => put("metadata", METADATA),
        2 => Just(Change::Retype),
        2 => prop::sample::select(&[0.999, 1.000_000_1, 1.5, 2.0, 0.0][..]).prop_map(Change::Scale),
        2 => put("time_ms", TIMES),
        1 => put("key", KEYS),
    ]
}

/// `line` with the member `name` replaced, if its members stand where `mllog` puts them.
fn put(line: &str, name: &str, change: impl Fn(&str) -> String) -> Option<String> {
    let order = ["time_ms", "event_type", "key", "value", "metadata"];
    let start = line.find(&format!("\"{name}\": "))? + name.len() + 4;
    let next = order.iter().skip_while(|other| **other != name).nth(1);
    let end = match next {
        Some(next) => line.rfind(&format!(", \"{next}\": "))?,
        None => line.len() - 1,
    };
    let old = line.get(start..end)?;
    Some(format!("{}{}{}", &line[..start], change(old), &line[end..]))
}

fn retyped(value: &str) -> String {
    if value.parse::<f64>().is_ok() { format!("\"{value}\"") } else { format!("[{value}]") }
}

fn changed(log: &str, changes: &[(prop::sample::Index, Change)]) -> String {
    let mut lines: Vec<_> = log.lines().map(ToString::to_string).collect();
    let mut touched = vec![false; lines.len()];
    for (place, change) in changes {
        let at = place.index(lines.len());
        match change {
            // A line changed twice would need a parser here.
            _ if touched[at] => {}
            Change::Drop => {
                lines.remove(at);
                touched.remove(at);
            }
            Change::Repeat => {
                lines.insert(at, lines[at].clone());
                touched.insert(at, false);
            }
            Change::Swap(other) => {
                let other = other.index(lines.len());
                lines.swap(at, other);
                touched.swap(at, other);
            }
            Change::Put(name, text) => {
                let line = put(&lines[at], name, |_| (*text).into());
                lines[at] = line.unwrap_or_else(|| lines[at].clone());
                touched[at] = true;
            }
            Change::Retype => {
                let line = put(&lines[at], "value", retyped);
                lines[at] = line.unwrap_or_else(|| lines[at].clone());
                touched[at] = true;
            }
            Change::Scale(factor) => {
                let scaled = |old: &str| match old.parse::<f64>() {
                    Ok(number) => (number * factor).to_string(),
                    Err(_) => old.into(),
                };
                let line = put(&lines[at], "value", scaled);
                lines[at] = line.unwrap_or_else(|| lines[at].clone());
                touched[at] = true;
            }
            Change::Cut(end) => {
                let end = end.index(lines[at].len().max(1)).min(lines[at].len());
                // A cut within a character would be no string here.
                let end = (0..=end).rev().find(|end| lines[at].is_char_boundary(*end)).unwrap();
                lines[at].truncate(end);
                touched[at] = true;
            }
        }
    }
    lines.join("\n")
}

/// What may happen to a whole file.
#[derive(Clone, Debug)]
enum Encoding {
    AsIs,
    Crlf,
    Cr,
    Bom,
    Latin1,
    Utf16,
    /// A rank's number before each line, as launchers put it.
    Prefixed,
    /// Only the first part of the bytes was written.
    Truncated(prop::sample::Index),
}

fn encoding() -> impl Strategy<Value = Encoding> {
    prop_oneof![
        20 => Just(Encoding::AsIs),
        2 => Just(Encoding::Crlf),
        1 => Just(Encoding::Cr),
        2 => Just(Encoding::Bom),
        2 => Just(Encoding::Latin1),
        1 => Just(Encoding::Utf16),
        2 => Just(Encoding::Prefixed),
        2 => any::<prop::sample::Index>().prop_map(Encoding::Truncated),
    ]
}

fn encoded(text: &str, encoding: &Encoding) -> Vec<u8> {
    match encoding {
        Encoding::AsIs => text.into(),
        Encoding::Crlf => text.replace('\n', "\r\n").into(),
        Encoding::Cr => text.replace('\n', "\r").into(),
        Encoding::Bom => format!("\u{feff}{text}").into(),
        Encoding::Latin1 => {
            text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
        }
        Encoding::Utf16 => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        Encoding::Prefixed => format!("3: {}", text.replace('\n', "\n3: \0")).into(),
        Encoding::Truncated(end) => text.as_bytes()[..end.index(text.len().max(1))].into(),
    }
}
