//! Imports any data set into a store, or into several stores of different sizes in one pass.
//!
//! Shards are written one after the other and recorded in `unfinished.json`. An interrupted import
//! resumes after the last complete shard. The output depends only on source, seed and options,
//! never on the number of threads.

use std::{
    fs, io,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crate::data::{
    config::{Exif, OnBad, Split, StoreDivision},
    dataset::{open::Dataset, span_reader::SpanReader},
    error::is_of_machine,
    format::{
        error::StoreError,
        manifest::{
            MANIFEST, Manifest, Note, UNFINISHED, VERSION, shard_name, stores_in, write_whole,
        },
        tfrecord::Messages,
    },
    import::{
        lock::lock,
        progress::Progress,
        rewrite::{Reencoded, Rewriter, Rewritten, is_allowed_repair},
        shard_writer::{Row, ShardWriter, partial, schema},
        source::{Import, check_apart, check_sides, open_source, spool},
    },
    index::Index,
    rng::Rng,
};

/// Separates the random stream of the order from other uses of the same seed.
const STORE_STREAM: u64 = 0x7374_6f72_6500;
/// Images per shard: about a gigabyte of `ImageNet`.
const ROWS_PER_SHARD: usize = 8192;
/// Images per record batch, and in memory at the same time.
const ROWS_PER_BATCH: usize = 256;

/// A running import.
struct Work<'a> {
    import: &'a Import,
    dataset: &'a Dataset,
    folders: Vec<PathBuf>,
    /// The TFRecords of the splits, if they are TFRecord files.
    messages: [Option<Messages>; 2],
    /// Where runs on the stores may be submitted.
    division: StoreDivision,
    /// The longest side of the images, px, if the source is a store of shrunk images.
    source_side: Option<usize>,
    num_threads: usize,
    progress: &'a (dyn Fn(usize) -> ControlFlow<()> + Sync),
}

/// The contents of one shard.
struct Part<'a> {
    split: Split,
    index: &'a Index,
    file: &'a str,
    samples: &'a [u32],
    /// Images of the import before this shard.
    num_before: usize,
}

/// Imports into `out` and returns the folders of the stores. `progress` receives the number of
/// images done and may stop the import; running the same import again resumes at the unfinished shard.
pub fn import(
    import: &Import,
    out: &Path,
    num_threads: usize,
    progress: &(dyn Fn(usize) -> ControlFlow<()> + Sync),
) -> Result<Vec<PathBuf>, StoreError> {
    check_sides(&import.max_sides)?;
    check_apart(&import.source, out)?;
    let _lock = lock(out)?;
    let dataset = open_source(import, out).inspect_err(|_| {
        // It stays if it was there before with something in it.
        let _ = fs::remove_dir(out);
    })?;
    let folders = match import.max_sides.as_slice() {
        [] | [_] => vec![out.to_owned()],
        sides => sides.iter().map(|side| out.join(side.to_string())).collect(),
    };
    // The rules want the pixels and the splits of the published data set. What an earlier import
    // changed stays changed.
    let is_changed =
        !import.max_sides.is_empty() || import.exif == Exif::Apply || import.val_share.is_some();
    let changed = is_changed.then_some(StoreDivision::OpenOnly);
    let division = changed.max(dataset.division()).unwrap_or(StoreDivision::ClosedSafe);
    let largest = stores_in(&import.source)?.pop();
    let source_side = largest.map(|store| Manifest::read(&store)).transpose()?;
    let source_side = source_side.and_then(|manifest| manifest.max_side);
    let dataset = &dataset;
    let work = Work {
        import,
        dataset,
        messages: [Messages::of(&dataset.train)?, Messages::of(&dataset.eval)?],
        folders,
        division,
        source_side,
        num_threads,
        progress,
    };
    let done = Progress::none(import, dataset, work.folders.len());
    work.run(out, done.or_earlier(out, &work.folders)?)?;
    let spool = spool(out);
    if spool.exists() {
        fs::remove_dir_all(&spool).map_err(StoreError::io("remove", &spool))?;
    }
    Ok(work.folders)
}

impl Work<'_> {
    fn run(&self, out: &Path, mut done: Progress) -> Result<(), StoreError> {
        let mut num_before = 0;
        for split in [Split::Train, Split::Eval] {
            let (index, order) = self.order(split);
            for (number, samples) in order.chunks(ROWS_PER_SHARD).enumerate() {
                let file = shard_name(split, number);
                if !done.shards[0].iter().any(|shard| shard.file == file) {
                    let part = Part { split, index, file: &file, samples, num_before };
                    self.write_shard(&part, &mut done).inspect_err(|_| self.discard(&file))?;
                    write_whole(&out.join(UNFINISHED), &done)?;
                }
                num_before += samples.len();
                self.report(num_before)?;
            }
        }
        for (name, num_rows) in [("train", done.num_train), ("val", done.num_eval)] {
            if num_rows == 0 {
                return Err(StoreError::Nothing(name));
            }
        }
        for (store, folder) in self.folders.iter().enumerate() {
            write_whole(&folder.join(MANIFEST), &self.manifest(store, &done))?;
        }
        let note = out.join(UNFINISHED);
        fs::remove_file(&note).map_err(StoreError::io("remove", &note))
    }

    /// Reports progress; returns an error if the import should stop.
    fn report(&self, num_done: usize) -> Result<(), StoreError> {
        match (self.progress)(num_done) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(StoreError::Interrupted),
        }
    }

    /// Deletes the unfinished file of a shard.
    fn discard(&self, file: &str) {
        for folder in &self.folders {
            let _ = fs::remove_file(partial(&folder.join(file)));
        }
    }

    /// Training images are shuffled, so that neighbours in a shard belong to all classes.
    fn order(&self, split: Split) -> (&Index, Vec<u32>) {
        let index = match split {
            Split::Train => &self.dataset.train,
            Split::Eval => &self.dataset.eval,
        };
        let mut order: Vec<u32> = (0..index.len() as u32).collect();
        if split == Split::Train {
            Rng::keyed(&[STORE_STREAM, self.import.seed]).shuffle(&mut order);
        }
        (index, order)
    }

    /// Writes one shard of every store. Validation images are never shrunk, so the stores share
    /// their shards.
    fn write_shard(&self, part: &Part<'_>, done: &mut Progress) -> Result<(), StoreError> {
        let Part { split, index, file, samples, num_before } = *part;
        let sides: Vec<Option<usize>> = match (split, self.import.max_sides.as_slice()) {
            (Split::Eval, _) | (Split::Train, []) => vec![None],
            (Split::Train, sides) => sides.iter().copied().map(Some).collect(),
        };
        let paths: Vec<_> = self.folders[..sides.len()].iter().map(|it| it.join(file)).collect();
        let division = match split {
            Split::Train => self.division,
            Split::Eval => StoreDivision::ClosedSafe,
        };
        let schema = Arc::new(schema(self.dataset.train.classes(), division));
        let create = |path: &PathBuf| ShardWriter::create(path, &schema);
        let mut writers = paths.iter().map(create).collect::<Result<Vec<_>, _>>()?;
        let mut num_rows = 0;
        for (batch, samples) in samples.chunks(ROWS_PER_BATCH).enumerate() {
            let mut rows = vec![Vec::with_capacity(samples.len()); sides.len()];
            for (&sample, rewritten) in samples.iter().zip(self.rewrite(part, samples, &sides)) {
                let (sample, path) = (sample as usize, index.path(sample as usize));
                match rewritten {
                    Err(Fault::Machine(source)) => {
                        return Err(StoreError::Io { what: "read", path, source });
                    }
                    Err(Fault::Image(reason)) if self.import.on_bad == OnBad::Fail => {
                        return Err(StoreError::BadImage { path, reason });
                    }
                    Err(Fault::Image(reason)) => drop(done.skipped.insert(Note { path, reason })),
                    Ok(Rewritten { files, reencoded, has_orientation }) => {
                        num_rows += 1;
                        done.num_with_orientation += usize::from(has_orientation);
                        match reencoded {
                            None => {}
                            Some(Reencoded::Repaired(reason)) => {
                                done.repaired.insert(Note { path, reason });
                            }
                            Some(Reencoded::Converted(format)) => {
                                let reason = format.name().to_owned();
                                done.converted.insert(Note { path, reason });
                            }
                        }
                        for (rows, (bytes, size)) in rows.iter_mut().zip(files) {
                            let (label, name) = (index.label(sample), name(index, sample));
                            let (width, height) = (size.width, size.height);
                            rows.push(Row { bytes, name, label, width, height });
                        }
                    }
                }
            }
            for ((writer, path), rows) in writers.iter_mut().zip(&paths).zip(&rows) {
                if !rows.is_empty() {
                    writer.write(path, rows)?;
                }
            }
            self.report(num_before + batch * ROWS_PER_BATCH + samples.len())?;
        }
        for ((store, writer), path) in writers.into_iter().enumerate().zip(&paths) {
            done.shards[store].push(writer.finish(path)?);
        }
        self.link_shard(file, done, sides.len())?;
        match split {
            Split::Train => done.num_train += num_rows,
            Split::Eval => done.num_eval += num_rows,
        }
        Ok(())
    }

    /// Links or copies a shard of the first store to the stores from `first` on.
    fn link_shard(&self, file: &str, done: &mut Progress, first: usize) -> Result<(), StoreError> {
        let record = done.shards[0].last().expect("a shard was written").clone();
        let source = self.folders[0].join(file);
        for (store, folder) in self.folders.iter().enumerate().skip(first) {
            let path = folder.join(file);
            let _ = fs::remove_file(&path);
            // Some file systems have no hard links.
            let copy = || {
                fs::copy(&source, partial(&path))?;
                fs::rename(partial(&path), &path)
            };
            fs::hard_link(&source, &path)
                .or_else(|_| copy())
                .map_err(StoreError::io("write", &path))?;
            done.shards[store].push(record.clone());
        }
        Ok(())
    }

    /// Reads and rewrites images on all threads; the results are in the order of `samples`.
    fn rewrite(
        &self,
        part: &Part<'_>,
        samples: &[u32],
        sides: &[Option<usize>],
    ) -> Vec<Result<Rewritten, Fault>> {
        let index = part.index;
        let [of_train, of_eval] = &self.messages;
        let messages = if part.split == Split::Train { of_train } else { of_eval };
        let next = AtomicUsize::new(0);
        let results = Mutex::new(Vec::with_capacity(samples.len()));
        thread::scope(|scope| {
            for _ in 0..self.num_threads.min(samples.len()) {
                scope.spawn(|| {
                    let mut rewriter = Rewriter::new(self.import.on_bad, self.import.exif);
                    let (mut spans, mut bytes) = (SpanReader::default(), Vec::new());
                    loop {
                        let i = next.fetch_add(1, Ordering::Relaxed);
                        let Some(&sample) = samples.get(i) else { return };
                        let sample = sample as usize;
                        let whole = messages.as_ref().map(|it| it.check(index, sample));
                        let read = whole.unwrap_or(Ok(()));
                        let rewritten = read
                            .and_then(|()| spans.read(index, sample, &mut bytes))
                            .map_err(Fault::of)
                            .and_then(|()| self.rewritten(&mut rewriter, &bytes, sides));
                        results
                            .lock()
                            .expect("no thread panics while it holds the lock")
                            .push((i, rewritten));
                    }
                });
            }
        });
        let mut results = results.into_inner().expect("no thread panics while it holds the lock");
        results.sort_unstable_by_key(|(i, _)| *i);
        results.into_iter().map(|(_, rewritten)| rewritten).collect()
    }

    /// Rewrites an image. A decoder that panics has met a bad image.
    fn rewritten(
        &self,
        rewriter: &mut Rewriter,
        bytes: &[u8],
        sides: &[Option<usize>],
    ) -> Result<Rewritten, Fault> {
        let rewritten = catch_unwind(AssertUnwindSafe(|| rewriter.rewrite(bytes, sides)));
        let rewritten = rewritten.unwrap_or_else(|_| {
            *rewriter = Rewriter::new(self.import.on_bad, self.import.exif);
            Err("its decoder gave up".to_owned())
        });
        rewritten.map_err(Fault::Image)
    }

    fn manifest(&self, store: usize, done: &Progress) -> Manifest {
        let sides = [self.import.max_sides.get(store).copied(), self.source_side];
        Manifest {
            version: VERSION,
            // A store that lacks images, or changes their pixels, is not the data set of the rules.
            division: if done.skipped.is_empty()
                && done.converted.is_empty()
                && done.repaired.iter().all(|note| is_allowed_repair(&note.reason))
            {
                self.division
            } else {
                StoreDivision::OpenOnly
            },
            max_side: sides.into_iter().flatten().min(),
            exif: self.import.exif,
            num_with_orientation: done.num_with_orientation,
            val_share: self.import.val_share,
            source: self.import.source.clone(),
            seed: self.import.seed,
            classes: self.dataset.train.classes().to_vec(),
            num_train: done.num_train,
            num_eval: done.num_eval,
            shards: done.shards[store].clone(),
            repaired: done.repaired.iter().cloned().collect(),
            converted: done.converted.iter().cloned().collect(),
            skipped: done.skipped.iter().cloned().collect(),
        }
    }
}

/// Why an image cannot be rewritten.
enum Fault {
    /// The machine cannot read the file.
    Machine(io::Error),
    /// The image is bad.
    Image(String),
}

impl Fault {
    fn of(error: io::Error) -> Self {
        if is_of_machine(&error) { Self::Machine(error) } else { Self::Image(error.to_string()) }
    }
}

/// Class and file name.
fn name(index: &Index, sample: usize) -> String {
    let class = &index.classes()[index.label(sample)];
    let path = index.path(sample);
    format!("{class}/{}", path.file_name().unwrap_or_default().to_string_lossy())
}
