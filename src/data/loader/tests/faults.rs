//! Bad images, changed data sets and panics.

use super::*;

/// An archive can be rewritten with the same length, and then the spans show other images.
#[test]
fn a_data_set_that_changes_while_it_is_read_is_an_error() {
    let (source, root) = (data_set(8, 1), tempfile::tempdir().unwrap());
    let import = Import { seed: 1, ..Import::of(source.path()) };
    import_set(&import, root.path(), 1, &|_| ControlFlow::Continue(())).unwrap();
    let index = open(root.path(), Split::Train);
    let shard = index.places[0].0.clone();
    for on_bad_image in [OnBadImage::Error, OnBadImage::Skip] {
        let mut loader = train_loader(&index, config(1, on_bad_image));
        assert!(loader.next_batch().unwrap().is_some());
        let hour = std::time::Duration::from_secs(3600);
        let changed = fs::metadata(&shard).unwrap().modified().unwrap() - hour;
        let file = fs::File::options().write(true).open(&shard).unwrap();
        file.set_modified(changed).unwrap();
        let error = std::iter::from_fn(|| match loader.next_batch() {
            Ok(batch) => batch.map(|_| None),
            Err(error) => Some(Some(error.to_string())),
        });
        let error = error.flatten().next().expect("the run continues with a changed data set");
        assert!(error.contains("train-00000.arrow has changed"), "{error}");
        file.set_modified(changed + hour).unwrap();
    }
}

#[test]
fn a_bad_image_is_named() {
    let root = data_set(4, 1);
    let folder = open(root.path(), Split::Train);
    let path = damage(&folder, 5);
    let mut loader = train_loader(&folder, config(2, OnBadImage::Error));
    let error = std::iter::from_fn(|| match loader.next_batch() {
        Ok(batch) => batch.map(|_| None),
        Err(error) => Some(Some(error.to_string())),
    });
    let error = error.flatten().next().unwrap();
    assert!(error.contains(path.to_str().unwrap()), "{error}");
    assert!(error.contains("but a GIF (import the data set and train from the store: "), "{error}");
}

/// A folder in place of a file is an error of the system, like a file without permission.
#[test]
fn what_the_machine_cannot_read_is_never_skipped() {
    let root = data_set(4, 1);
    let folder = open(root.path(), Split::Train);
    let path = folder.path(5);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let mut loader = train_loader(&folder, config(2, OnBadImage::Skip));
    let error = std::iter::from_fn(|| match loader.next_batch() {
        Ok(batch) => batch.map(|_| None),
        Err(error) => Some(Some(error.to_string())),
    });
    let error = error.flatten().next().expect("it cannot be read");
    assert!(error.contains(&format!("cannot read {}", path.display())), "{error}");
    assert!(error.ends_with("check the disk and its permissions"), "{error}");
    assert!(loader.take_bad().is_empty());
}

#[test]
fn training_replaces_a_bad_image_and_reports_it_once() {
    let root = data_set(4, 1);
    let folder = open(root.path(), Split::Train);
    let path = damage(&folder, 5);
    let mut loader = train_loader(&folder, config(4, OnBadImage::Skip));
    let seen = drain(&mut loader);
    assert!(seen.iter().all(|batch| batch.labels.len() == 4));
    let bad = loader.take_bad();
    assert_eq!(bad.len(), 1);
    assert_eq!(bad[0].path, path);
    assert_eq!(loader.num_skipped(), 1);
    assert_eq!(loader.take_bad(), []);
    assert_eq!(seen, drain(&mut train_loader(&folder, config(1, OnBadImage::Skip))));
}

#[test]
fn a_training_batch_of_bad_images_is_an_error() {
    let root = data_set(2, 1);
    let folder = open(root.path(), Split::Train);
    for i in 0..folder.len() {
        damage(&folder, i);
    }
    let mut loader = train_loader(&folder, config(2, OnBadImage::Skip));
    let error = loader.next_batch().err().unwrap();
    assert!(matches!(error, DataError::BadBatch { epoch: 0, step: 0, .. }), "{error}");
}

#[test]
fn evaluation_leaves_a_bad_image_out() {
    let root = data_set(1, 4);
    let folder = open(root.path(), Split::Eval);
    let whole = drain(&mut eval_loader(&folder, SHARD, config(1, OnBadImage::Error)));
    damage(&folder, 5);
    let mut loader = eval_loader(&folder, SHARD, config(2, OnBadImage::Skip));
    let seen = drain(&mut loader);
    assert_eq!((&seen[0], &seen[2]), (&whole[0], &whole[2]));
    assert_eq!(seen[1].labels, [1, 1, 1]);
    let (row, rest) = whole[1].images.split_at(768);
    assert_eq!(seen[1].images, [row, &rest[768..]].concat());
    assert_eq!(loader.num_skipped(), 1);
}

#[test]
fn evaluation_skips_a_batch_of_bad_images() {
    let root = data_set(1, 4);
    let folder = open(root.path(), Split::Eval);
    (4..8).for_each(|i| drop(damage(&folder, i)));
    let mut loader = eval_loader(&folder, SHARD, config(2, OnBadImage::Skip));
    let steps: Vec<_> = drain(&mut loader).iter().map(|batch| batch.step).collect();
    assert_eq!((steps, loader.num_skipped()), (vec![0, 2], 4));
}

#[test]
fn a_panic_is_an_error_and_not_a_hang() {
    let root = data_set(2, 1);
    let folder = open(root.path(), Split::Train);
    let plan = |samples| BatchPlan {
        epoch: 0,
        step: 0,
        transform: Transform::Eval(EVAL),
        samples,
        key: 7,
        prefetch: Vec::new(),
    };
    let plans = [plan(vec![0, 99]), plan(vec![1])].into_iter().chain(std::iter::once_with(|| {
        panic!("no third plan");
    }));
    let mut loader = Loader::start(folder, plans, config(1, OnBadImage::Error));
    assert!(matches!(loader.next_batch(), Err(DataError::Panicked(_))));
    assert_eq!(loader.next_batch().unwrap().unwrap().len(), 1);
    let error = loader.next_batch().err().unwrap().to_string();
    assert!(error.contains("no third plan"), "{error}");
    assert!(loader.next_batch().unwrap().is_none());
}

#[test]
fn files_that_are_not_images_are_identified() {
    let root = data_set(3, 1);
    let folder = open(root.path(), Split::Eval);
    let cases: [(&[u8], &str); 5] = [
        (b"", "the file is empty"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "a WebP (import the data set"),
        (b"\0\0\0\x1cftypheic\0\0\0\0", "a HEIC (convert it to JPEG or PNG)"),
        (b"\0\0\0\x20ftypavif\0\0\0\0", "an AVIF (convert it to JPEG or PNG)"),
        (b"\xff\xd8\xff\xe0 no header", "a JPEG header without an image"),
    ];
    for (content, reason) in cases {
        write(&folder.path(0), content);
        let mut loader = eval_loader(&folder, SHARD, config(1, OnBadImage::Error));
        let error = loader.next_batch().err().unwrap().to_string();
        assert!(error.contains(reason), "{error}");
    }
    fs::remove_file(folder.path(0)).unwrap();
    let mut loader = eval_loader(&folder, SHARD, config(1, OnBadImage::Error));
    assert!(loader.next_batch().err().unwrap().to_string().contains("No such file"));
}
