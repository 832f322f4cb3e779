//! Random access within a JPEG that has restart markers (ITU T.81, sections F.1.1.5.2 and E.1.4).
//!
//! Each restart interval is coded independently. The intervals that cover a crop box therefore form
//! an ordinary smaller JPEG, once the sizes in the frame header are changed and the markers
//! renumbered. Decoding it skips the Huffman decoding of everything else, which is most of a
//! decoder's work, and gives the same pixels bit for bit, except next to the new edges.
//!
//! Supports only sequential Huffman files with one scan; others are decoded whole.

use crate::data::image::pixels::Crop;

/// Cuts files, reusing its memory.
#[derive(Default)]
pub(in crate::data) struct RestartCropper {
    file: Vec<u8>,
    /// The end of each interval: at a marker.
    ends: Vec<usize>,
}

fn word(bytes: &[u8]) -> Option<usize> {
    bytes.first_chunk().map(|&bytes| usize::from(u16::from_be_bytes(bytes)))
}

/// A smaller file, and the position of its first pixel in the image.
pub(in crate::data) struct RestartCrop<'a> {
    pub(in crate::data) file: &'a [u8],
    pub(in crate::data) top: usize,
    pub(in crate::data) left: usize,
}

/// The contents of the headers.
#[derive(Default)]
struct Layout {
    width: usize,
    height: usize,
    num_components: usize,
    /// Width and height of an MCU, px.
    mcu: (usize, usize),
    /// Position of the height in the frame header.
    height_at: usize,
    /// MCUs per restart interval.
    interval: usize,
    /// First byte of the coded data.
    scan_start: usize,
}

impl RestartCropper {
    /// The smallest file of whole intervals around `wanted`; `None` if it is not smaller than the
    /// file, or if the file does not support it.
    pub(in crate::data) fn crop_intervals(
        &mut self,
        file: &[u8],
        wanted: Crop,
    ) -> Option<RestartCrop<'_>> {
        self.file.clear();
        let layout = self.copy_headers(file)?;
        let (mcu_width, mcu_height) = layout.mcu;
        let mcus_per_row = layout.width.div_ceil(mcu_width);
        let num_mcu_rows = layout.height.div_ceil(mcu_height);
        let num_intervals = (mcus_per_row * num_mcu_rows).div_ceil(layout.interval);
        // Intervals form a grid: several per row of MCUs, or one for several rows.
        let (columns, mcus_per_column, rows_per_interval) = if mcus_per_row % layout.interval == 0 {
            (mcus_per_row / layout.interval, layout.interval, 1)
        } else if layout.interval % mcus_per_row == 0 {
            (1, mcus_per_row, layout.interval / mcus_per_row)
        } else {
            return None;
        };
        let cell = (mcus_per_column * mcu_width, rows_per_interval * mcu_height);
        let (first_column, first_row) = (wanted.left / cell.0, wanted.top / cell.1);
        let end_column = (wanted.left + wanted.width).div_ceil(cell.0).min(columns);
        let end_row = (wanted.top + wanted.height).div_ceil(cell.1).min(num_intervals / columns);
        let num_cached = end_column.checked_sub(first_column)? * end_row.checked_sub(first_row)?;
        if num_cached == 0 || num_cached == num_intervals {
            return None;
        }
        self.find_ends(&file[layout.scan_start..], num_intervals)?;
        let (left, top) = (first_column * cell.0, first_row * cell.1);
        let width = layout.width.min(end_column * cell.0) - left;
        let height = layout.height.min(end_row * cell.1) - top;
        let [h1, h0] = (height as u16).to_le_bytes();
        let [w1, w0] = (width as u16).to_le_bytes();
        self.file[layout.height_at..layout.height_at + 4].copy_from_slice(&[h0, h1, w0, w1]);
        self.copy_intervals(
            &file[layout.scan_start..],
            |row, column| {
                (first_row..end_row).contains(&row) && (first_column..end_column).contains(&column)
            },
            columns,
        );
        Some(RestartCrop { file: &self.file, top, left })
    }

    /// Copies the headers that a decoder needs, up to the coded data.
    fn copy_headers(&mut self, file: &[u8]) -> Option<Layout> {
        let mut layout = Layout::default();
        self.file.extend_from_slice(file.get(..2)?);
        let mut at = 2;
        loop {
            if *file.get(at)? != 0xff {
                return None;
            }
            let marker = *file.get(at + 1)?;
            if marker == 0xff {
                at += 1;
                continue;
            }
            let length = word(file.get(at + 2..)?)?;
            let segment = file.get(at..at + 2 + length).filter(|_| length >= 2)?;
            let body = &segment[4..];
            match marker {
                // Baseline and extended sequential Huffman.
                0xc0 | 0xc1 => layout.read_frame(body, self.file.len() + 5)?,
                0xdd => layout.interval = word(body)?,
                // Tables, JFIF, and Adobe, which gives the color space.
                0xc4 | 0xdb | 0xe0 | 0xee | 0xda => {}
                0xe1..=0xef | 0xfe => {
                    at += segment.len();
                    continue;
                }
                _ => return None,
            }
            self.file.extend_from_slice(segment);
            at += segment.len();
            if marker == 0xda {
                layout.scan_start = at;
                let is_whole = usize::from(*body.first()?) == layout.num_components;
                return (is_whole && layout.interval > 0 && layout.width > 0).then_some(layout);
            }
        }
    }

    /// Finds the ends of the intervals, of which there must be `count`.
    fn find_ends(&mut self, scan: &[u8], count: usize) -> Option<()> {
        self.ends.clear();
        for at in memchr::memchr_iter(0xff, scan) {
            let expected = 0xd0 + (self.ends.len() % 8) as u8;
            match *scan.get(at + 1)? {
                0 | 0xff => {}
                marker if marker == expected && self.ends.len() + 1 < count => self.ends.push(at),
                0xd9 if self.ends.len() + 1 == count => {
                    self.ends.push(at);
                    return Some(());
                }
                _ => return None,
            }
        }
        None
    }

    fn copy_intervals(
        &mut self,
        scan: &[u8],
        is_cached: impl Fn(usize, usize) -> bool,
        columns: usize,
    ) {
        let mut num_cached = 0;
        for (i, &end) in self.ends.iter().enumerate() {
            if !is_cached(i / columns, i % columns) {
                continue;
            }
            if num_cached > 0 {
                self.file.extend_from_slice(&[0xff, 0xd0 + ((num_cached - 1) % 8) as u8]);
            }
            let start = if i == 0 { 0 } else { self.ends[i - 1] + 2 };
            self.file.extend_from_slice(&scan[start..end]);
            num_cached += 1;
        }
        self.file.extend_from_slice(&[0xff, 0xd9]);
    }
}

impl Layout {
    /// Reads a frame header, whose height will be at `height_at` in the new file.
    fn read_frame(&mut self, body: &[u8], height_at: usize) -> Option<()> {
        let [8, h0, h1, w0, w1, num_components, components @ ..] = body else { return None };
        self.height = usize::from(u16::from_be_bytes([*h0, *h1]));
        self.width = usize::from(u16::from_be_bytes([*w0, *w1]));
        self.num_components = usize::from(*num_components);
        self.height_at = height_at;
        let factors = components.chunks_exact(3).map(|component| component[1]);
        let across = factors.clone().map(|factor| factor >> 4).max()?;
        let down = factors.map(|factor| factor & 15).max()?;
        // A scan with one component has MCUs of one block, whatever its sampling factors.
        let (across, down) = if *num_components == 1 { (1, 1) } else { (across, down) };
        self.mcu = (8 * usize::from(across), 8 * usize::from(down));
        (across > 0 && down > 0).then_some(())
    }
}
