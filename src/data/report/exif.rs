//! The orientation that a camera wrote into a JPEG.

/// Tag of the orientation (Exif 2.3, section 4.6.4).
const ORIENTATION: u16 = 0x0112;

/// The Exif orientation of a JPEG, 1 to 8, if it has one. 1 means upright.
pub(super) fn orientation(file: &[u8]) -> Option<u16> {
    let mut at = 2;
    while let Some(&[0xff, marker, high, low]) = file.get(at..at + 4) {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let content = file.get(at + 4..at + 2 + length)?;
        if marker == 0xe1
            && let Some(tiff) = content.strip_prefix(b"Exif\0\0")
        {
            return of_tiff(tiff);
        }
        if marker == 0xda {
            return None;
        }
        at += 2 + length;
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
            assert_eq!(orientation(&file), Some(6));
            for length in 0..file.len() {
                assert!(orientation(&file[..length]).is_none_or(|it| it == 6));
            }
        }
        assert_eq!(orientation(b"\xff\xd8\xff\xda\0\x02"), None);
        assert_eq!(orientation(&with_orientation(9, *b"II")), None);
    }
}
