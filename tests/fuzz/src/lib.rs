//! What the targets share: files of this process in memory, inputs of several parts, and what holds
//! for every index of samples.

use std::{
    fs,
    path::{Path, PathBuf},
};

use mlperf_run::data::{Index, Split, inspect};

/// Samples of an index whose bytes are read.
const NUM_READ: usize = 64;
/// Between the parts of an input of several files.
const NEXT: &[u8] = b"\n--next--\n";

/// A folder of files below the system's folder for temporary ones, which `scripts/fuzz/run` has in
/// memory; written anew for each input.
pub struct Files {
    root: PathBuf,
}

impl Files {
    /// An empty folder of this process.
    pub fn new() -> Self {
        let root = std::env::temp_dir().join(format!("mlperf-run-fuzz-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).expect("the folder for temporary files can be written");
        Self { root: root.canonicalize().expect("it has just been made") }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Writes one file and the folders above it.
    pub fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.root.join(name);
        if fs::write(&path, bytes).is_err() {
            let folder = path.parent().expect("it lies in the root");
            fs::create_dir_all(folder).expect("the root can be written");
            fs::write(&path, bytes).expect("its folder has just been made");
        }
        path
    }

    /// Lists the training samples of the set that the files are, and holds them to what is
    /// promised of every set. An error says something.
    pub fn check_set(&self) {
        match Index::open(&self.root, Split::Train) {
            Ok(index) => check_index(&index),
            Err(error) => assert!(error.to_string().contains(';'), "no cure: {error}"),
        }
    }
}

impl Default for Files {
    fn default() -> Self {
        Self::new()
    }
}

/// The first `N` parts of an input of several files; those that it lacks are empty.
pub fn parts<const N: usize>(input: &[u8]) -> [&[u8]; N] {
    let mut rest = Some(input);
    std::array::from_fn(|i| {
        let Some(bytes) = rest.take() else { return &[][..] };
        let place = bytes.windows(NEXT.len()).position(|window| window == NEXT);
        match place.filter(|_| i + 1 < N) {
            Some(place) => {
                rest = Some(&bytes[place + NEXT.len()..]);
                &bytes[..place]
            }
            None => bytes,
        }
    })
}

/// What holds for every index that could be made: it has samples, their labels are those of its
/// classes, and all bytes of a sample lie in its file.
pub fn check_index(index: &Index) {
    assert!(!index.is_empty(), "an index without samples");
    for i in 0..index.len() {
        assert!(index.label(i) < index.num_classes(), "label {} of sample {i}", index.label(i));
        assert!(index.path(i).is_absolute(), "sample {i} has no place");
    }
    let survey = inspect::survey(index, NUM_READ, 0);
    assert_eq!(survey.num_looked_at, index.len().min(NUM_READ));
    for (path, reason) in survey.bad {
        let is_outside = reason.contains("fill whole buffer");
        assert!(!is_outside, "{} lies outside of its file: {reason}", path.display());
    }
}
