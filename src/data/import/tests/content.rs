//! Stores contain the images of their sources and record repaired and skipped ones.

use std::{
    fs,
    ops::ControlFlow::Continue,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use turbojpeg::{PixelFormat, Subsamp, Transform, Transformer};

use crate::data::{
    dataset::{open::Dataset, span_reader::SpanReader},
    fixture::{data_set, encode, image, jpeg, write},
    image::{
        decode::Decoder,
        pixels::{DecodedImage, Size},
    },
    import::{Exif, Import, Manifest, OnBad, StoreDivision, StoreError, rewrite::Rewriter, verify},
    index::Index,
};

fn request(source: &Path, max_sides: &[usize], on_bad: OnBad) -> Import {
    Import { max_sides: max_sides.to_vec(), on_bad, seed: 3, ..Import::of(source) }
}

fn rewriter(on_bad: OnBad) -> Rewriter {
    Rewriter::new(on_bad, Exif::Ignore)
}

fn run(import: &Import, out: &Path) -> Result<Vec<PathBuf>, StoreError> {
    crate::data::import::import(import, out, 2, &|_| Continue(()))
}

/// Name, class and file of each sample, sorted.
fn samples(index: &Index) -> Vec<(String, String, Vec<u8>)> {
    let mut spans = SpanReader::default();
    let sample = |i| {
        let mut bytes = Vec::new();
        spans.read(index, i, &mut bytes).unwrap();
        let name = index.path(i).file_name().unwrap().to_string_lossy().into_owned();
        (index.classes()[index.label(i)].clone(), name, bytes)
    };
    let mut samples: Vec<_> = (0..index.len()).map(sample).collect();
    samples.sort();
    samples
}

fn pixels(file: &[u8]) -> (Vec<u8>, Size) {
    let mut decoder = Decoder::new();
    let DecodedImage { pixels, height, width } = decoder.decode(file).unwrap();
    (pixels.to_vec(), Size { height, width })
}

fn has(file: &[u8], marker: u8) -> bool {
    file.windows(2).any(|pair| pair == [0xff, marker])
}

fn progressive(file: &[u8]) -> Vec<u8> {
    let mut transform = Transform::default();
    transform.progressive = true;
    Transformer::new().unwrap().transform_to_vec(&transform, file).unwrap()
}

#[test]
fn a_store_has_the_same_pixels_in_another_order_and_is_sequential_with_restarts() {
    let source = data_set(6, 2);
    let odd = source.path().join("train/b/000.JPEG");
    let file = progressive(&fs::read(&odd).unwrap());
    assert!(has(&file, 0xc2), "the fixture is progressive");
    fs::write(&odd, file).unwrap();
    let out = TempDir::new().unwrap();
    let stores = run(&request(source.path(), &[], OnBad::Fail), out.path()).unwrap();
    assert_eq!(stores, [out.path()]);
    let (from, to) = (Dataset::open(source.path()).unwrap(), Dataset::open(out.path()).unwrap());
    for (from, to) in [(&from.train, &to.train), (&from.eval, &to.eval)] {
        assert_eq!(from.classes(), to.classes());
        let (from, to) = (samples(from), samples(to));
        assert_eq!(from.len(), to.len());
        for (from, to) in from.iter().zip(&to) {
            assert_eq!((&from.0, &from.1), (&to.0, &to.1));
            assert_eq!(pixels(&from.2), pixels(&to.2), "{}", from.1);
            assert!(has(&to.2, 0xdd) && has(&to.2, 0xc0) && !has(&to.2, 0xc2));
        }
    }
    let labels: Vec<_> = (0..18).map(|i| to.train.label(i)).collect();
    assert!(!labels.is_sorted(), "training images are shuffled");
    assert!((0..6).map(|i| to.eval.label(i)).is_sorted(), "validation images are not");
    let size = to.train.size(0).unwrap();
    let mut bytes = Vec::new();
    SpanReader::default().read(&to.train, 0, &mut bytes).unwrap();
    assert_eq!(size, pixels(&bytes).1);
}

#[test]
fn an_import_depends_only_on_source_seed_and_options() {
    let source = data_set(5, 2);
    let manifests = [(1, 3), (3, 3), (1, 4)].map(|(num_threads, seed)| {
        let out = TempDir::new().unwrap();
        let import = Import { seed, ..request(source.path(), &[], OnBad::Fail) };
        crate::data::import::import(&import, out.path(), num_threads, &|_| Continue(())).unwrap();
        let manifest = verify(out.path(), &|_| ()).unwrap();
        assert_eq!((manifest.division, manifest.num_train), (StoreDivision::ClosedSafe, 15));
        manifest
    });
    assert_eq!(manifests[0], manifests[1]);
    assert_ne!(manifests[0].shards, manifests[2].shards);
}

#[test]
fn unusual_images_are_repaired_and_bad_ones_are_named() {
    let source = data_set(3, 1);
    let size = Size { height: 20, width: 24 };
    let rgb = image(size, 8);
    let mut png_file = Vec::new();
    let mut encoder = png::Encoder::new(&mut png_file, 24, 20);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&rgb).unwrap();
    let components: Vec<u8> = rgb.chunks(3).flat_map(|p| [p[0], p[1], p[2], 255]).collect();
    let whole = jpeg(&rgb, size);
    let train = source.path().join("train");
    write(&train.join("a/png.JPEG"), &png_file);
    write(&train.join("a/cmyk.JPEG"), &encode(&components, size, PixelFormat::CMYK, Subsamp::None));
    let cut = train.join("b/cut.JPEG");
    write(&cut, &whole[..whole.len() - 40]);
    write(&train.join("c/text.JPEG"), b"no image");

    let out = TempDir::new().unwrap();
    let error = run(&request(source.path(), &[], OnBad::Fail), out.path()).unwrap_err();
    assert!(matches!(error, StoreError::BadImage { .. }), "{error}");
    for (on_bad, num_train, num_repaired, num_skipped) in
        [(OnBad::Skip, 11, 2, 2), (OnBad::Reencode, 12, 3, 1)]
    {
        let out = TempDir::new().unwrap();
        run(&request(source.path(), &[], on_bad), out.path()).unwrap();
        let manifest = verify(out.path(), &|_| ()).unwrap();
        assert_eq!(manifest.num_train, num_train, "{:?}", manifest.skipped);
        assert_eq!((manifest.repaired.len(), manifest.skipped.len()), (num_repaired, num_skipped));
        assert!(manifest.skipped.iter().any(|note| note.path == train.join("c/text.JPEG")));
        assert_eq!(
            manifest.repaired.iter().any(|note| note.path == cut),
            on_bad == OnBad::Reencode
        );
        let found = samples(&Dataset::open(out.path()).unwrap().train);
        for name in ["png.JPEG", "cmyk.JPEG"] {
            let (repaired, _) = pixels(&found.iter().find(|sample| sample.1 == name).unwrap().2);
            let sum: f64 = repaired.iter().zip(&rgb).map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
            assert!(sum / (rgb.len() as f64) < 4.0, "{name} has other colours");
        }
    }
}

#[test]
fn several_sizes_are_made_in_one_pass_and_validation_is_unchanged() {
    let (source, out) = (data_set(4, 2), TempDir::new().unwrap());
    let stores = run(&request(source.path(), &[32, 36], OnBad::Fail), out.path()).unwrap();
    assert_eq!(stores, [out.path().join("32"), out.path().join("36")]);
    let from = samples(&Dataset::open(source.path()).unwrap().eval);
    for (store, side) in stores.iter().zip([32, 36]) {
        let manifest = verify(store, &|_| ()).unwrap();
        let expected = (StoreDivision::OpenOnly, Some(side));
        assert_eq!((manifest.division, manifest.max_side), expected);
        let dataset = Dataset::open(store).unwrap();
        for (i, (_, _, file)) in samples(&dataset.train).iter().enumerate() {
            let Size { height, width } = pixels(file).1;
            assert_eq!(height.max(width), side, "all were larger: {i}");
        }
        for (from, to) in from.iter().zip(samples(&dataset.eval)) {
            assert_eq!(pixels(&from.2), pixels(&to.2));
        }
    }
}

#[test]
fn an_interrupted_import_resumes() {
    let (source, out) = (data_set(4, 2), TempDir::new().unwrap());
    let (last, import) =
        (source.path().join("val/c/001.JPEG"), request(source.path(), &[], OnBad::Fail));
    let whole = fs::read(&last).unwrap();
    fs::write(&last, b"").unwrap();
    assert!(run(&import, out.path()).is_err());
    assert!(Manifest::read(out.path()).is_err(), "an incomplete store has no manifest");
    let shard = out.path().join("train-00000.arrow");
    let before = fs::metadata(&shard).unwrap().modified().unwrap();
    fs::write(&last, whole).unwrap();
    let other = Import { seed: 9, ..import.clone() };
    assert!(matches!(run(&other, out.path()), Err(StoreError::Occupied(_))));
    run(&import, out.path()).unwrap();
    assert_eq!(fs::metadata(&shard).unwrap().modified().unwrap(), before, "not written again");
    let fresh = TempDir::new().unwrap();
    run(&import, fresh.path()).unwrap();
    assert_eq!(Manifest::read(out.path()).unwrap(), Manifest::read(fresh.path()).unwrap());
    assert!(matches!(run(&import, out.path()), Err(StoreError::Occupied(_))), "it is whole");
}

#[test]
fn a_changed_byte_is_found() {
    let (source, out) = (data_set(3, 2), TempDir::new().unwrap());
    run(&request(source.path(), &[], OnBad::Fail), out.path()).unwrap();
    let shard = out.path().join("val-00000.arrow");
    let mut bytes = fs::read(&shard).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&shard, &bytes).unwrap();
    let error = verify(out.path(), &|_| ()).unwrap_err().to_string();
    assert!(error.starts_with("1 of 2 shards differ"), "{error}");
    assert!(error.contains("val-00000.arrow (other content)"), "{error}");
    fs::remove_file(&shard).unwrap();
    assert!(verify(out.path(), &|_| ()).unwrap_err().to_string().contains("No such file"));
}

#[test]
fn damaged_shards_are_rejected_or_read_within_their_bounds() {
    let (source, out) = (data_set(3, 2), TempDir::new().unwrap());
    run(&request(source.path(), &[], OnBad::Fail), out.path()).unwrap();
    let shard = out.path().join("train-00000.arrow");
    // Verification would report shards with other lengths before they are read.
    fs::remove_file(out.path().join("manifest.json")).unwrap();
    let whole = fs::read(&shard).unwrap();
    let mut rng = crate::data::Rng::keyed(&[1]);
    for _ in 0..400 {
        let mut bytes = whole.clone();
        for _ in 0..4 {
            // Lengths and offsets are at the front.
            let at = rng.below(3000.min(bytes.len()));
            bytes[at] = rng.next_u64() as u8;
        }
        bytes.truncate(bytes.len() - rng.below(2) * rng.below(bytes.len()));
        fs::write(&shard, &bytes).unwrap();
        if let Ok(index) = Index::open(out.path(), crate::data::Split::Train) {
            let mut file = Vec::new();
            (0..index.len())
                .for_each(|i| SpanReader::default().read(&index, i, &mut file).unwrap());
        }
    }
}

/// An image that is transcoded without decoding to pixels is verified just as well.
#[test]
fn a_lossless_import_rejects_undecodable_images() {
    let size = Size { height: 40, width: 56 };
    let whole = jpeg(&image(size, 5), size);
    let (mut rewriter, mut decoder) = (rewriter(OnBad::Fail), Decoder::new());
    let mut num_damaged = 0;
    for at in 0..whole.len() {
        let mut file = whole.clone();
        file[at] ^= 0x55;
        let expected = decoder.decode(&file).map(|image| image.pixels.to_vec()).ok();
        num_damaged += usize::from(expected.is_none());
        let rewritten = rewriter.rewrite(&file, &[None]).ok();
        let rewritten = rewritten.map(|rewritten| pixels(&rewritten.files[0].0).0);
        assert!(rewritten == expected, "byte {at} of {}", whole.len());
    }
    assert!((100..whole.len() - 100).contains(&num_damaged), "{num_damaged} of {}", whole.len());
}

#[test]
fn a_damaged_image_is_not_repaired_with_the_one_before() {
    let size = Size { height: 40, width: 56 };
    let whole = jpeg(&image(size, 5), size);
    let mut rewriter = rewriter(OnBad::Reencode);
    let cut = rewriter.rewrite(&whole[..whole.len() - 40], &[None]);
    assert!(cut.unwrap().reencoded.is_some());
    for len in [3, 30, 200] {
        assert!(rewriter.rewrite(&whole[..len], &[None]).is_err(), "{len} bytes");
    }
}

/// A header of 13000 x 13000 px in 57 bytes must not reserve 676 MB.
#[test]
fn no_memory_is_reserved_for_a_png_shorter_than_its_header_claims() {
    let claim = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\x002\xc8\0\x002\xc8\x08\x06\0\0\0\xe2\xa2\xe88\
        \0\0\0\x0cIDATx\xdac` \x0e\0\0\0(\0\x01\x0b\xa9\xa1(";
    let rewritten = rewriter(OnBad::Reencode).rewrite(claim, &[None]);
    let reason = rewritten.err().expect("the file contains no image");
    assert!(reason.contains("too short for the size"), "{reason}");
}

#[test]
fn a_manifest_with_huge_shard_lengths_does_not_panic() {
    let (source, out) = (data_set(3, 2), TempDir::new().unwrap());
    run(&request(source.path(), &[], OnBad::Fail), out.path()).unwrap();
    let mut manifest = Manifest::read(out.path()).unwrap();
    manifest.shards.iter_mut().for_each(|shard| shard.bytes = u64::MAX);
    fs::write(out.path().join("manifest.json"), serde_json::to_string(&manifest).unwrap()).unwrap();
    let error = verify(out.path(), &|_| ()).unwrap_err().to_string();
    assert!(error.starts_with("2 of 2 shards differ"), "{error}");
}

#[test]
fn a_progress_file_without_stores_does_not_panic() {
    let (source, out) = (data_set(3, 2), TempDir::new().unwrap());
    let import = request(source.path(), &[], OnBad::Fail);
    let note = serde_json::json!({
        "import": &import, "num_pictures": [9, 6], "shards": [], "mended": [], "skipped": [],
        "num_train": 0, "num_eval": 0,
    });
    fs::write(out.path().join("unfinished.json"), note.to_string()).unwrap();
    write(&out.path().join("train-00000.arrow"), b"");
    assert!(matches!(run(&import, out.path()), Err(StoreError::Occupied(_))));
    fs::remove_file(out.path().join("train-00000.arrow")).unwrap();
    run(&import, out.path()).unwrap();
}
