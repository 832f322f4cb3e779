//! `TensorBoard`'s event files: records of protobuf messages.
//!
//! A record is the length of its data (u64), a masked CRC-32C of the length, the data, and a masked
//! CRC-32C of the data, all little-endian (`record_writer.h` of `TensorFlow`). The data is a
//! message `Event` (`event.proto`) with `Summary` values (`summary.proto`).

use std::{
    fs::File,
    io::{self, Write as _},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use super::sample::{Kind, Sample};

/// An event file that grows.
#[derive(Debug)]
pub struct EventFile {
    file: File,
}

impl EventFile {
    /// Creates a file in `folder` under the name that `TensorBoard` looks for.
    pub fn create(folder: &Path, host: &str, time: SystemTime) -> io::Result<Self> {
        let seconds = seconds(time) as u64;
        let mut file =
            File::create_new(folder.join(format!("events.out.tfevents.{seconds:010}.{host}")))?;
        file.write_all(&record(&version_event(seconds as f64)))?;
        Ok(Self { file })
    }

    /// Adds the values of a sample that was measured at `time`.
    pub fn add(&mut self, sample: &Sample, time: SystemTime) -> io::Result<()> {
        let group = match sample.kind {
            Kind::Steps => "train",
            Kind::Epoch => "epoch",
            Kind::Evaluation => "eval",
            // Its values would be single points.
            Kind::End => return Ok(()),
        };
        let values: Vec<_> =
            sample.values().map(|(name, _, value)| (format!("{group}/{name}"), value)).collect();
        // One write for the record, so that a reader never sees a part of it.
        self.file.write_all(&record(&scalar_event(seconds(time), sample.step, &values)))
    }
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |it| it.as_secs_f64())
}

fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(data.len() + 16);
    record.extend(length);
    record.extend(masked_crc(&length).to_le_bytes());
    record.extend(data);
    record.extend(masked_crc(data).to_le_bytes());
    record
}

fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The first event of a file.
fn version_event(seconds: f64) -> Vec<u8> {
    let mut event = Vec::new();
    put_double(&mut event, 1, seconds);
    put_bytes(&mut event, 3, b"brain.Event:2");
    event
}

fn scalar_event(seconds: f64, step: usize, values: &[(String, f64)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, value) in values {
        let mut message = Vec::new();
        put_bytes(&mut message, 1, tag.as_bytes());
        put_float(&mut message, 2, *value as f32);
        put_bytes(&mut summary, 1, &message);
    }
    let mut event = Vec::new();
    put_double(&mut event, 1, seconds);
    put_key(&mut event, 2, VARINT);
    put_varint(&mut event, step as u64);
    put_bytes(&mut event, 5, &summary);
    event
}

/// Wire types of protobuf.
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const BYTES: u64 = 2;
const FIXED_32: u64 = 5;

fn put_key(out: &mut Vec<u8>, field: u64, wire_type: u64) {
    put_varint(out, field << 3 | wire_type);
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_double(out: &mut Vec<u8>, field: u64, value: f64) {
    put_key(out, field, FIXED_64);
    out.extend(value.to_le_bytes());
}

fn put_float(out: &mut Vec<u8>, field: u64, value: f32) {
    put_key(out, field, FIXED_32);
    out.extend(value.to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_key(out, field, BYTES);
    put_varint(out, bytes.len() as u64);
    out.extend(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_its_length_and_both_checksums() {
        // CRC-32C of "123456789" is e3069283, the check value of the polynomial.
        let masked = 0xe306_9283u32.rotate_right(15).wrapping_add(0xa282_ead8);
        let record = record(b"123456789");
        assert_eq!(record.len(), 8 + 4 + 9 + 4);
        assert_eq!(record[..8], 9u64.to_le_bytes());
        assert_eq!(record[21..], masked.to_le_bytes());
    }

    #[test]
    fn an_event_is_a_protobuf_message() {
        let event = scalar_event(1.0, 300, &[("a".to_owned(), 0.5)]);
        let expected = [
            [9].as_slice(),
            &1.0f64.to_le_bytes(),
            &[16, 0xac, 0x02],
            &[42, 10, 10, 8, 10, 1, b'a', 21],
            &0.5f32.to_le_bytes(),
        ];
        assert_eq!(event, expected.concat());
    }
}
