//! Which batches a loader gives, and when.

use super::*;

#[test]
fn batches_do_not_depend_on_the_number_of_threads() {
    let root = data_set(6, 1);
    let folder = open(root.path(), Split::Train);
    let one = drain(&mut train_loader(&folder, config(1, OnBadImage::Error)));
    for num_threads in [4, 16] {
        let many = drain(&mut train_loader(&folder, config(num_threads, OnBadImage::Error)));
        assert_eq!(one, many, "{num_threads} threads");
    }
    assert_eq!(one.len(), 12);
    assert!(
        one.iter().all(|batch| batch.images.len() == 4 * batch.image_size * batch.image_size * 3)
    );
    assert_eq!(one.iter().map(|batch| batch.image_size).collect::<HashSet<_>>().len(), 2);
}

#[test]
fn alternating_flips_show_both_orientations_in_two_epochs() {
    let root = data_set(6, 1);
    let folder = open(root.path(), Split::Train);
    let (scale, ratio) = ([1.0, 1.0], [1.0, 1.0]);
    let flip = Flip::Alternating;
    let schedule = TrainSchedule {
        batch_per_rank: 4,
        steps_per_epoch: folder.len() / 4,
        epochs: 0..3,
        start_step: 0,
        image_sizes: vec![16; 3],
        transforms: vec![TrainTransform { scale, ratio, flip, ..TRANSFORM }; 3],
    };
    let plans: Vec<_> = train_plans(Sampler::new(folder.len(), SHARD, 7), schedule).collect();
    let samples: Vec<_> = plans.iter().map(|plan| plan.samples.clone()).collect();
    let config = config(2, OnBadImage::Error);
    let batches = drain(&mut Loader::start(Arc::clone(&folder), plans.into_iter(), config));
    let mut shown = vec![Vec::new(); folder.len()];
    for (batch, samples) in batches.iter().zip(samples) {
        for (image, sample) in batch.images.chunks(16 * 16 * 3).zip(samples) {
            shown[sample as usize].push(image);
        }
    }
    let seen_thrice = shown.iter().filter(|images| images.len() == 3);
    assert!(seen_thrice.clone().count() > 0);
    for images in seen_thrice {
        assert_eq!(images[1], mirrored(images[0], 16));
        assert_eq!(images[2], images[0]);
    }
}

#[test]
fn a_resumed_run_sees_the_remaining_batches_of_a_whole_run() {
    let root = data_set(6, 1);
    let folder = open(root.path(), Split::Train);
    let whole = drain(&mut train_loader(&folder, config(2, OnBadImage::Error)));
    for (epoch, step) in [(0, 3), (1, 0), (1, 2), (2, 4)] {
        let start = (epoch, step);
        let rest = drain(&mut train_loader_from(start, &folder, config(3, OnBadImage::Error)));
        assert_eq!(rest, whole[4 * epoch + step..], "from step {step} of epoch {epoch}");
    }
}

#[test]
fn readahead_changes_no_batch() {
    let (root, out) = (data_set(6, 1), tempfile::tempdir().unwrap());
    import_set(&Import::of(root.path()), out.path(), 1, &|_| ControlFlow::Continue(())).unwrap();
    for root in [root.path(), out.path()] {
        let index = open(root, Split::Train);
        let batches = |warm, prefetch: bool| {
            let plans = (0..3).map(move |step| BatchPlan {
                epoch: 0,
                step,
                transform: Transform::Train { image_size: 16, config: TRANSFORM },
                samples: vec![step as u32, 17 - step as u32],
                key: 7,
                // Past the end as well.
                prefetch: if prefetch { vec![0..4, 9..30] } else { Vec::new() },
            });
            let config = LoaderConfig { warm, ..LoaderConfig::default() };
            drain(&mut Loader::start(Arc::clone(&index), plans, config))
        };
        assert_eq!(batches(None, false), batches(Some(SHARD), true));
    }
}

#[test]
fn an_epoch_of_several_stores_equals_that_of_the_store_it_reads() {
    let (source, root) = (data_set(6, 1), tempfile::tempdir().unwrap());
    let import = Import { max_sides: vec![32, 38], seed: 1, ..Import::of(source.path()) };
    import_set(&import, root.path(), 1, &|_| ControlFlow::Continue(())).unwrap();
    let all = open(root.path(), Split::Train);
    let batches =
        |index: &Arc<Index>| drain(&mut train_loader(index, config(2, OnBadImage::Error)));
    // The image sizes are 16, 24 and 16.
    let [small, large] =
        ["32", "38"].map(|image_size| batches(&open(&root.path().join(image_size), Split::Train)));
    let expected: Vec<_> =
        small.into_iter().zip(large).map(|(a, b)| if a.image_size == 16 { a } else { b }).collect();
    assert_eq!(batches(&all), expected);
    // Images of one store are not mistaken for those of the other.
    let cache = Cache::open(RamCache::Bytes(1 << 20), all.num_keys(), Sharing::Alone).unwrap();
    let warm =
        LoaderConfig { cache: cache.map(Arc::new), warm: Some(SHARD), ..LoaderConfig::default() };
    for _ in 0..2 {
        assert_eq!(drain(&mut train_loader(&all, warm.clone())), expected);
    }
    let shard = root.path().join("32/train-00000.arrow");
    let changed =
        fs::metadata(&shard).unwrap().modified().unwrap() - std::time::Duration::from_secs(9);
    fs::File::options().write(true).open(&shard).unwrap().set_modified(changed).unwrap();
    assert!(all.check_unchanged().is_err(), "a smaller store changes");
}

/// PNGs give the same batches as JPEGs that hold the same pixels: from a folder, an archive and the
/// cache of images.
#[test]
fn pngs_are_trained_from_in_place() {
    let root = data_set(6, 1);
    let folder = open(root.path(), Split::Train);
    let expected = drain(&mut train_loader(&folder, config(2, OnBadImage::Error)));
    let archived = tempfile::tempdir().unwrap();
    let mut archive =
        tar::Builder::new(fs::File::create(archived.path().join("train.tar")).unwrap());
    let mut decoder = Decoder::new();
    for i in 0..folder.len() {
        let file = fs::read(folder.path(i)).unwrap();
        let DecodedImage { pixels, width, height } = decoder.decode(&file).unwrap();
        let mut file = Vec::new();
        let mut encoder = ::png::Encoder::new(&mut file, width as u32, height as u32);
        encoder.set_color(::png::ColorType::Rgb);
        encoder.write_header().unwrap().write_image_data(pixels).unwrap();
        fs::remove_file(folder.path(i)).unwrap();
        let path = folder.path(i).with_extension("png");
        fs::write(&path, file).unwrap();
        let name = path.strip_prefix(root.path().join("train")).unwrap();
        archive.append_path_with_name(&path, name).unwrap();
    }
    archive.finish().unwrap();
    for root in [root.path(), archived.path()] {
        let index = open(root, Split::Train);
        assert_eq!(drain(&mut train_loader(&index, config(2, OnBadImage::Error))), expected);
    }
    let index = open(root.path(), Split::Train);
    let cache = Cache::open(RamCache::Bytes(1 << 20), index.len(), Sharing::Alone).unwrap();
    let config = LoaderConfig { cache: cache.map(Arc::new), ..LoaderConfig::default() };
    assert_eq!(drain(&mut train_loader(&index, config)), expected);
}

/// Some or all images of the folder fit into the budget, for two users.
#[test]
fn a_cache_of_images_changes_no_batch() {
    let root = data_set(6, 1);
    let folder = open(root.path(), Split::Train);
    let expected = drain(&mut train_loader(&folder, config(2, OnBadImage::Error)));
    for budget in [1, 20 << 10, 1 << 20] {
        let cache = Cache::open(RamCache::Bytes(budget), folder.len(), Sharing::Alone).unwrap();
        let cache = cache.map(Arc::new);
        for num_threads in [1, 3] {
            let config =
                LoaderConfig { num_threads, cache: cache.clone(), ..LoaderConfig::default() };
            assert_eq!(drain(&mut train_loader(&folder, config)), expected, "{budget} bytes");
        }
    }
}

#[test]
fn a_cached_image_is_not_read_again() {
    let root = data_set(6, 1);
    let folder = open(root.path(), Split::Train);
    let expected = drain(&mut train_loader(&folder, config(1, OnBadImage::Error)));
    let cache = Cache::open(RamCache::Bytes(1 << 20), folder.len(), Sharing::Alone).unwrap();
    let config = LoaderConfig { cache: cache.map(Arc::new), ..LoaderConfig::default() };
    drain(&mut train_loader(&folder, config.clone()));
    fs::remove_dir_all(root.path()).unwrap();
    assert_eq!(drain(&mut train_loader(&folder, config)), expected);
}

#[test]
fn crops_differ_between_epochs() {
    let root = data_set(1, 1);
    let folder = open(root.path(), Split::Train);
    let plan = |epoch| BatchPlan {
        epoch,
        step: 0,
        transform: Transform::Train { image_size: 16, config: TRANSFORM },
        samples: vec![0],
        key: 7,
        prefetch: Vec::new(),
    };
    let plans = [plan(0), plan(1)].into_iter();
    let seen = drain(&mut Loader::start(folder, plans, config(1, OnBadImage::Error)));
    assert_ne!(seen[0].images, seen[1].images);
}

#[test]
fn two_ranks_evaluate_each_sample_once() {
    let root = data_set(1, 5);
    let folder = open(root.path(), Split::Eval);
    let mut ranks = Vec::new();
    for rank in 0..2 {
        let shard = Shard { rank, world_size: 2 };
        let mut loader = eval_loader(&folder, shard, config(2, OnBadImage::Error));
        ranks.push(drain(&mut loader));
    }
    let lens: Vec<_> = ranks.iter().flatten().map(|batch| batch.labels.len()).collect();
    assert_eq!(lens, [4, 4, 4, 3]);
    let mut rows: Vec<_> = ranks.iter().flatten().flat_map(|b| b.images.chunks(768)).collect();
    let whole = drain(&mut eval_loader(&folder, SHARD, config(1, OnBadImage::Error)));
    let mut expected: Vec<_> = whole.iter().flat_map(|batch| batch.images.chunks(768)).collect();
    rows.sort_unstable();
    expected.sort_unstable();
    assert_eq!(rows, expected);
}

#[test]
fn the_next_epoch_is_prefetched_across_the_epoch_boundary() {
    let root = data_set(4, 1);
    let folder = open(root.path(), Split::Train);
    let sampler = Sampler::new(folder.len(), SHARD, 7);
    let schedule = TrainSchedule {
        batch_per_rank: 12,
        steps_per_epoch: 1,
        epochs: 0..2,
        start_step: 0,
        image_sizes: vec![16, 16],
        transforms: vec![TRANSFORM; 2],
    };
    let (send, planned) = std::sync::mpsc::channel();
    let plans = train_plans(sampler, schedule).inspect(move |plan| {
        let _ = send.send(plan.epoch);
    });
    let mut loader = Loader::start(folder, plans, config(1, OnBadImage::Error));
    // Both epochs are planned although no batch has been requested yet.
    assert_eq!((planned.recv(), planned.recv()), (Ok(0), Ok(1)));
    let epochs: Vec<_> = drain(&mut loader).iter().map(|batch| batch.epoch).collect();
    assert_eq!(epochs, [0, 1]);
}

#[test]
fn buffers_are_recycled() {
    let root = data_set(8, 1);
    let folder = open(root.path(), Split::Train);
    let mut loader = train_loader(&folder, config(2, OnBadImage::Error));
    assert_eq!(drain(&mut loader).len(), 18);
    // Two were prefetched and one was in use; all have been returned.
    let num_buffers = loader.shared.pool.free.len();
    assert!((1..=3).contains(&num_buffers), "{num_buffers} buffers for 18 batches");
}

#[test]
fn batches_can_be_held_while_others_are_made() {
    let root = data_set(8, 1);
    let folder = open(root.path(), Split::Train);
    let mut loader = train_loader(&folder, config(1, OnBadImage::Error));
    let kept: Vec<_> = std::iter::from_fn(|| loader.next_batch().unwrap()).collect();
    drop(loader);
    let again = drain(&mut train_loader(&folder, config(1, OnBadImage::Error)));
    assert_eq!(kept.iter().map(Seen::of).collect::<Vec<_>>(), again);
}

#[test]
fn a_loader_dropped_midway_stops_its_threads() {
    let root = data_set(8, 1);
    let folder = open(root.path(), Split::Train);
    let mut loader = train_loader(&folder, config(3, OnBadImage::Error));
    let batch = loader.next_batch().unwrap();
    drop(loader);
    assert!(batch.is_some());
    // Each thread held a reference to the folder.
    assert_eq!(Arc::strong_count(&folder), 1);
}
