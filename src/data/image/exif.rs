//! The orientation that a camera wrote into a JPEG, a PNG or a WebP. XMP, which Pillow reads too, is
//! left out: cameras write both.

use image::metadata::Orientation;

use crate::data::image::{importable::Importable, png};

/// Tag of the orientation (Exif 2.3, section 4.6.4).
const ORIENTATION: u16 = 0x0112;

/// The turn that an image needs by its Exif orientation; `None` if it is upright or does not say.
pub(in crate::data) fn orientation(file: &[u8]) -> Option<Orientation> {
    let exif = if file.starts_with(b"\xff\xd8") {
        of_jpeg(file)
    } else if png::is_png(file) {
        // A chunk is a length, a name, the content and a checksum of 4 bytes.
        of_chunks(file, 8, |[l0, l1, l2, l3, name @ ..]| {
            (name == *b"eXIf", u32::from_be_bytes([l0, l1, l2, l3]), 4)
        })
    } else if Importable::of(file) == Some(Importable::WebP) {
        // A chunk is a name, a length and the content, which is filled to an even length.
        of_chunks(file, 12, |[n0, n1, n2, n3, length @ ..]| {
            let length = u32::from_le_bytes(length);
            ([n0, n1, n2, n3] == *b"EXIF", length, length % 2)
        })
    } else {
        None
    };
    let exif = exif?;
    let value = of_tiff(exif.strip_prefix(b"Exif\0\0").unwrap_or(exif))?;
    Orientation::from_exif(value as u8).filter(|it| *it != Orientation::NoTransforms)
}

/// The Exif data of a JPEG.
fn of_jpeg(file: &[u8]) -> Option<&[u8]> {
    let mut at = 2;
    while let Some(&[0xff, marker, high, low]) = file.get(at..at + 4) {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let content = file.get(at + 4..at + 2 + length)?;
        match marker {
            0xe1 if content.starts_with(b"Exif\0\0") => return Some(content),
            0xda => return None,
            _ => at += 2 + length,
        }
    }
    None
}

/// The Exif data in a file of chunks, of which the first begins at `at`. `read` tells from a chunk's
/// header whether it holds Exif data, its length, and how many bytes follow that are not its own.
fn of_chunks(
    file: &[u8],
    mut at: usize,
    read: impl Fn([u8; 8]) -> (bool, u32, u32),
) -> Option<&[u8]> {
    while let Some(header) = file.get(at..)?.first_chunk() {
        let (is_exif, length, rest) = read(*header);
        let start = at + header.len();
        let end = start + length as usize;
        if is_exif {
            return file.get(start..end);
        }
        at = end + rest as usize;
    }
    None
}

fn of_tiff(tiff: &[u8]) -> Option<u16> {
    let is_little = tiff.starts_with(b"II");
    let u16_at = |at: usize| {
        let bytes = tiff.get(at..at + 2)?.try_into().ok()?;
        Some(if is_little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let u32_at = |at: usize| {
        let bytes = tiff.get(at..at + 4)?.try_into().ok()?;
        Some(if is_little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    };
    let first = u32_at(4)? as usize;
    let num_entries = usize::from(u16_at(first)?);
    let entries = (0..num_entries).map(|i| first + 2 + 12 * i);
    let mut values = entries.filter(|&at| u16_at(at) == Some(ORIENTATION)).map(|at| u16_at(at + 8));
    values.next()?.filter(|value| (1..=8).contains(value))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// A JPEG's start with an orientation, in either order of bytes.
    fn with_orientation(value: u8, order: [u8; 2]) -> Vec<u8> {
        let pair = |value: u8| if order == *b"II" { [value, 0] } else { [0, value] };
        let long = |value: u8| if order == *b"II" { [value, 0, 0, 0] } else { [0, 0, 0, value] };
        let tag = if order == *b"II" { [0x12, 0x01] } else { [0x01, 0x12] };
        let entry = [&tag[..], &pair(3), &long(1), &pair(value), &[0, 0]].concat();
        let tiff = [&order[..], &pair(42), &long(8), &pair(1), &entry, &long(0)].concat();
        let content = [b"Exif\0\0", tiff.as_slice()].concat();
        let head = [0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 1, 0xff, 0xe1, 0, content.len() as u8 + 2];
        [&head[..], &content, &[0xff, 0xda, 0, 2]].concat()
    }

    #[test]
    fn an_orientation_is_read_in_both_orders_of_bytes_and_of_any_bytes() {
        for order in [*b"II", *b"MM"] {
            let file = with_orientation(6, order);
            assert_eq!(orientation(&file), Some(Orientation::Rotate90));
            for length in 0..file.len() {
                assert!(orientation(&file[..length]).is_none_or(|it| it == Orientation::Rotate90));
            }
        }
        assert_eq!(orientation(b"\xff\xd8\xff\xda\0\x02"), None);
        for upright in [0, 1, 9] {
            assert_eq!(orientation(&with_orientation(upright, *b"II")), None);
        }
    }

    #[test]
    fn pngs_and_webps_have_an_orientation_too() {
        let fixture = |name: &str| {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/images");
            fs::read(folder.join(name)).unwrap()
        };
        for (name, expected) in [
            ("exif-6.png", Some(Orientation::Rotate90)),
            ("exif-3.webp", Some(Orientation::Rotate180)),
            ("lossy.webp", None),
            ("lossless.webp.png", None),
        ] {
            let file = fixture(name);
            assert_eq!(orientation(&file), expected, "{name}");
            for length in 0..file.len() {
                assert!(orientation(&file[..length]).is_none_or(|it| Some(it) == expected));
            }
        }
    }
}
