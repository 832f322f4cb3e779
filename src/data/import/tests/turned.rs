//! Images are turned as their Exif orientation says, as Pillow's `exif_transpose` turns them
//! (`scripts/fixtures/images`).

use std::{fs, path::Path};

use image::metadata::Orientation;

use crate::data::{
    image::{decode::Decoder, exif::orientation, pixels::Size, transcode::Transcoder},
    import::{
        Exif, OnBad,
        rewrite::{Reencoded, Rewriter, Rewritten},
    },
};

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/images");
    fs::read(folder.join(name)).unwrap()
}

fn decoded(file: &[u8]) -> (Size, Vec<u8>) {
    let mut decoder = Decoder::new();
    let image = decoder.decode(file).unwrap();
    (image.size(), image.pixels.to_vec())
}

fn rewritten(name: &str, max_side: Option<usize>, exif: Exif) -> Rewritten {
    Rewriter::new(OnBad::Fail, exif).rewrite(&fixture(name), &[max_side]).unwrap()
}

/// Mean difference of an image's stored file from what Pillow makes of it.
fn difference(name: &str, rewritten: &Rewritten) -> f64 {
    let [(file, size)] = rewritten.files.as_slice() else { panic!("one file was asked for") };
    assert_eq!(orientation(file), None, "{name}: it would be turned again");
    let ((found_size, found), (expected_size, expected)) =
        (decoded(file), decoded(&fixture(&format!("{name}.png"))));
    assert_eq!((*size, found_size), (expected_size, expected_size), "{name}");
    let sum: f64 = found.iter().zip(&expected).map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
    sum / found.len() as f64
}

#[test]
fn all_orientations_are_applied_without_loss_where_the_size_allows_it() {
    let names = (1..=8).map(|value| format!("exif-{value}.jpg"));
    for name in names.chain(["exif-8-422.jpg".to_owned()]) {
        let rewritten = rewritten(&name, None, Exif::Apply);
        assert!(rewritten.reencoded.is_none(), "{name}");
        assert_eq!(rewritten.has_orientation, name != "exif-1.jpg", "{name}");
        // The inverse DCT rounds rows and columns one after the other.
        let difference = difference(&name, &rewritten);
        assert!(difference < 0.5, "{name}: {difference}");
    }
}

#[test]
fn other_images_are_turned_and_re_encoded() {
    for name in ["exif-6-odd.jpg", "exif-6.png", "exif-3.webp"] {
        let rewritten = rewritten(name, None, Exif::Apply);
        let reason = match &rewritten.reencoded {
            Some(Reencoded::Repaired(reason)) => reason,
            Some(Reencoded::Converted(format)) => format.name(),
            None => "",
        };
        assert!(["turned; its size", "a PNG", "a WebP"].iter().any(|it| reason.starts_with(it)));
        let difference = difference(name, &rewritten);
        assert!(difference < 2.0, "{name}: {difference}");
    }
}

#[test]
fn images_are_turned_before_they_are_shrunk() {
    let Rewritten { files, .. } = rewritten("exif-6.jpg", Some(36), Exif::Apply);
    assert_eq!(files[0].1, Size { height: 36, width: 24 });
}

#[test]
fn an_orientation_is_counted_and_ignored_by_default() {
    let rewritten = rewritten("exif-6.jpg", None, Exif::Ignore);
    assert!(rewritten.has_orientation && rewritten.reencoded.is_none());
    assert_eq!(decoded(&rewritten.files[0].0), decoded(&fixture("exif-6.jpg")));
}

#[test]
fn turning_back_gives_the_same_pixels() {
    use Orientation::{FlipHorizontal, Rotate90, Rotate90FlipH, Rotate180, Rotate270};
    let file = fixture("exif-8-422.jpg");
    for (there, back) in [
        (FlipHorizontal, FlipHorizontal),
        (Rotate180, Rotate180),
        (Rotate90, Rotate270),
        (Rotate90FlipH, Rotate90FlipH),
    ] {
        let mut transcoder = Transcoder::new();
        let turned = transcoder.turn(&file, there).unwrap();
        assert_ne!(decoded(&turned), decoded(&file));
        let back = transcoder.turn(&turned, back).unwrap();
        assert_eq!(decoded(&back), decoded(&file), "{there:?}");
    }
    assert!(Transcoder::new().turn(&fixture("exif-6-odd.jpg"), Rotate90).is_err());
}
