//! Compares parts and scaled decodes with whole decodes, and tests unusual and damaged files.

use turbojpeg::{PixelFormat, Subsamp};

use crate::data::{
    config::Interpolation,
    fixture::{self, encode},
    image::{decode::*, transcode::Transcoder},
    rng::Rng,
    transform::resize::{Resizer, Target},
};

const SIZE: Size = Size { height: 37, width: 50 };

/// Decodes with a decoder that has decoded a larger image before.
fn decode(file: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut decoder = Decoder::new();
    let large = Size { height: 100, width: 90 };
    decoder.decode(&fixture::jpeg(&fixture::image(large, 9), large)).unwrap();
    let DecodedImage { pixels, width, height } = decoder.decode(file)?;
    assert_eq!(Size { height, width }, SIZE);
    Ok(pixels.to_vec())
}

fn mean_difference(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    let sum: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
    sum / a.len() as f64
}

#[test]
fn colours_survive_any_subsampling() {
    let pixels = fixture::image(SIZE, 1);
    for subsamp in [Subsamp::None, Subsamp::Sub2x1, Subsamp::Sub2x2, Subsamp::Sub4x1] {
        let file = encode(&pixels, SIZE, PixelFormat::RGB, subsamp);
        let decoded = decode(&file).unwrap();
        assert!(mean_difference(&decoded, &pixels) < 3.0, "{subsamp:?}");
        let one_shot = turbojpeg::decompress(&file, PixelFormat::RGB).unwrap();
        assert_eq!(decoded, one_shot.pixels);
    }
}

#[test]
fn grey_images_become_rgb() {
    let grey: Vec<u8> = fixture::image(SIZE, 2).chunks(3).map(|pixel| pixel[0]).collect();
    let file = encode(&grey, SIZE, PixelFormat::GRAY, Subsamp::Gray);
    let expected: Vec<u8> = grey.iter().flat_map(|&value| [value; 3]).collect();
    assert!(mean_difference(&decode(&file).unwrap(), &expected) < 3.0);
}

#[test]
fn inverted_components_become_rgb() {
    let components: Vec<u8> = fixture::image(SIZE, 3)
        .chunks(3)
        .flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 128])
        .collect();
    let file = encode(&components, SIZE, PixelFormat::CMYK, Subsamp::None);
    let expected: Vec<u8> = components
        .chunks(4)
        .flat_map(|ink| [ink[0], ink[1], ink[2]].map(|value| (u32::from(value) * 128 / 255) as u8))
        .collect();
    assert!(mean_difference(&decode(&file).unwrap(), &expected) < 3.0);
}

#[test]
fn a_truncated_file_is_an_error_and_leaves_no_pixels_behind() {
    let file = fixture::jpeg(&fixture::image(SIZE, 4), SIZE);
    for len in [3, 30, file.len() / 2, file.len() - 2] {
        assert!(decode(&file[..len]).is_err(), "{len} of {} bytes", file.len());
    }
    let mut decoder = Decoder::new();
    assert!(decoder.decode(&file[..file.len() / 2]).is_err());
    let fresh = decode(&file).unwrap();
    assert!(
        decoder.decode(&file).unwrap().pixels == fresh,
        "pixels of the damaged file are left over"
    );
}

#[test]
fn a_good_image_decodes_after_a_damaged_one() {
    let file = fixture::jpeg(&fixture::image(SIZE, 4), SIZE);
    let (mut decoder, mut transcoder) = (Decoder::new(), Transcoder::new());
    for len in 2..800 {
        let _ = decoder.decode(&file[..len]).map(|_| ());
        let _ = (transcoder.mcu_width(&file[..len]), transcoder.transcode(&file[..len], 1));
        assert_eq!(decoder.decode(&file).unwrap().size(), SIZE, "after {len} bytes");
        assert_eq!(transcoder.mcu_width(&file), Ok(8), "after {len} bytes");
    }
}

#[test]
fn missing_tables_are_not_taken_from_the_image_before() {
    let good = fixture::jpeg(&fixture::image(SIZE, 4), SIZE);
    let [huffman, quantization] = [0xc4, 0xdb].map(|marker| {
        let mut file = good.clone();
        let at = file.windows(2).position(|pair| pair == [0xff, marker]).unwrap();
        // Replace the table by a comment.
        file[at + 1] = 0xfe;
        file
    });
    // The standard Huffman tables replace the missing ones.
    let mut other = Transcoder::new().transcode(&good, 4).unwrap();
    other.extend([0; 3]);
    let (mut decoder, mut transcoder) = (Decoder::new(), Transcoder::new());
    decoder.decode(&other).unwrap();
    let after_another = decoder.decode(&huffman).unwrap().pixels.to_vec();
    assert!(after_another == Decoder::new().decode(&huffman).unwrap().pixels);
    decoder.decode(&good).unwrap();
    assert!(decoder.decode(&quantization).is_err());
    transcoder.transcode(&good, 4).unwrap();
    assert!(transcoder.transcode(&quantization, 4).is_err());
}

/// Images of all subsamplings that a JPEG can have, with and without restart markers.
fn files() -> Vec<Vec<u8>> {
    let size = Size { height: 173, width: 211 };
    let pixels = fixture::image(size, 6);
    let subsamplings =
        [Subsamp::None, Subsamp::Sub2x1, Subsamp::Sub2x2, Subsamp::Sub1x2, Subsamp::Sub4x1];
    let plain = subsamplings.map(|subsamp| encode(&pixels, size, PixelFormat::RGB, subsamp));
    let grey: Vec<u8> = pixels.chunks(3).map(|pixel| pixel[1]).collect();
    let grey = encode(&grey, size, PixelFormat::GRAY, Subsamp::Gray);
    let plain = plain.into_iter().chain([grey]);
    let marked = |file: Vec<u8>| {
        let mut transcoder = Transcoder::new();
        let with = [1, 4, 14, 28, 42].map(|mcus| transcoder.transcode(&file, mcus).unwrap());
        std::iter::once(file).chain(with)
    };
    plain.flat_map(marked).collect()
}

#[test]
fn a_part_equals_that_part_of_a_whole_decode() {
    let (mut decoder, mut rng) = (Decoder::new(), Rng::keyed(&[5]));
    let (mut cropper, mut num_cropped) = (RestartCropper::default(), 0);
    for (number, file) in files().into_iter().enumerate() {
        let mut whole = Decoder::new();
        let image = whole.decode(&file).unwrap();
        let DecodedImage { height, width, .. } = image;
        for _ in 0..40 {
            let [top, left] = [height, width].map(|image_size| rng.below(image_size));
            let (height, width) = (1 + rng.below(height - top), 1 + rng.below(width - left));
            let crop = Crop { top, left, height, width };
            let mut expected = vec![0; height * width * 3];
            View { image, crop }.copy_to(&mut expected);
            let part = decoder.decode_part(&file, Part { crop, denominator: 1 }).unwrap();
            let mut found = vec![0; height * width * 3];
            part.copy_to(&mut found);
            assert!(found == expected, "file {number}: {crop:?}");
            num_cropped += usize::from(cropper.crop_intervals(&file, crop).is_some());
        }
    }
    assert!(num_cropped > 100, "only {num_cropped} parts used restart intervals");
}

/// Contradictory sizes, factors and intervals must give an error or an image, but no panic.
#[test]
fn damaged_headers_do_not_panic() {
    let (mut decoder, mut rng) = (Decoder::new(), Rng::keyed(&[7]));
    let (mut num_bad, mut num_good) = (0, 0);
    for file in files() {
        let scan = file.windows(2).position(|marker| marker == [0xff, 0xda]).unwrap();
        for _ in 0..60 {
            let mut file = file.clone();
            for _ in 0..=rng.below(3) {
                let at = 2 + rng.below(scan + 200);
                file[at] = rng.next_u64() as u8;
            }
            // A header may claim a gigabyte, which is allowed but slow.
            let Ok(size) = decoder.size(&file) else { continue };
            if size.height * size.width > 1 << 18 {
                continue;
            }
            let (top, left) = (rng.below(size.height), rng.below(size.width));
            let (height, width) = (rng.below(size.height - top), rng.below(size.width - left));
            let crop = Crop { top, left, height: 1 + height, width: 1 + width };
            let denominator = [1, 2, 8][rng.below(3)];
            match decoder.decode_part(&file, Part { crop, denominator }) {
                Ok(view) => {
                    let mut out = vec![0; view.crop.height * view.crop.width * 3];
                    view.copy_to(&mut out);
                    num_good += 1;
                }
                Err(_) => num_bad += 1,
            }
        }
    }
    assert!(num_bad > 50 && num_good > 50, "{num_bad} bad, {num_good} good");
}

#[test]
fn scaled_decodes_are_near_a_resize_of_the_part() {
    let (mut decoder, mut rng) = (Decoder::new(), Rng::keyed(&[6]));
    for file in files() {
        let mut whole = Decoder::new();
        let image = whole.decode(&file).unwrap();
        for denominator in [2, 4, 8] {
            // A box between pixels of the scaled image is moved to the nearest ones.
            let [top, left] =
                [image.height, image.width].map(|image_size| rng.below(image_size / 16) * 8);
            let crop = Crop { top, left, height: 64, width: 80 };
            let size = Size { height: 8, width: 10 };
            let mut out = [vec![0; 240], vec![0; 240]];
            let part = decoder.decode_part(&file, Part { crop, denominator }).unwrap();
            for (view, out) in [View { image, crop }, part].into_iter().zip(&mut out) {
                let target = Target::new(out, size);
                Resizer::default().resize(view, Interpolation::Area, target);
            }
            let difference = mean_difference(&out[0], &out[1]);
            assert!(difference < 6.0, "1/{denominator}: {difference}");
        }
    }
}

#[test]
fn an_image_with_too_many_scans_is_rejected() {
    let pixels = fixture::image(SIZE, 4);
    let mut progressive = turbojpeg::Transform::default();
    progressive.progressive = true;
    let mut transformer = turbojpeg::Transformer::new().unwrap();
    let file = fixture::jpeg(&pixels, SIZE);
    let file = transformer.transform_to_vec(&progressive, &file).unwrap();
    assert!(Decoder::new().decode(&file).is_ok());
    let scan = file.windows(2).rposition(|marker| marker == [0xff, 0xda]).unwrap();
    let (front, end) = file.split_at(file.len() - 2);
    let endless = [front, &front[scan..].repeat(200), end].concat();
    let error = Decoder::new().decode(&endless).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("scans"), "{error}");
    assert!(Transcoder::new().transcode(&endless, 4).unwrap_err().contains("scans"));
}

#[test]
fn zeros_after_the_end_are_ignored_and_a_missing_end_is_an_error() {
    let mut file = fixture::jpeg(&fixture::image(SIZE, 4), SIZE);
    let part = Part { crop: Crop { top: 0, left: 0, height: 4, width: 4 }, denominator: 1 };
    file.extend([0; 5]);
    assert!(Decoder::new().decode_part(&file, part).is_ok());
    file.truncate(file.len() - 7);
    assert!(Decoder::new().decode_part(&file, part).is_err());
}

#[test]
fn stray_bytes_before_the_end_are_ignored_as_by_pillow() {
    let mut file = fixture::jpeg(&fixture::image(SIZE, 3), SIZE);
    let whole = decode(&file).unwrap();
    let end = file.len() - 2;
    // The decoder has read some bytes ahead; it warns of those that it finds later.
    file.splice(end..end, [0x12; 64]);
    assert_eq!(decode(&file).unwrap(), whole);
}

#[test]
fn an_image_of_excessive_size_is_rejected_before_decoding() {
    let mut file = fixture::jpeg(&fixture::image(SIZE, 5), SIZE);
    let frame = file.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    file[frame + 5..frame + 9].copy_from_slice(&[0xff, 0x00, 0xff, 0x00]);
    assert!(matches!(decode(&file), Err(DecodeError::TooLarge { .. })));
}
