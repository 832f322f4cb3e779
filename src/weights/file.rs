//! The header of a file of weights: tensors and usage.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use safetensors::tensor::Metadata;
use serde::{Deserialize, Serialize};

use super::error::WeightsError;

/// The key of [`Usage`] in the metadata of a file. The metadata has no other key, because the order of
/// several would change from file to file.
const KEY: &str = "mlperf_run";

/// Largest header that is read: safetensors' own limit, bytes.
const MAX_HEADER: u64 = 100_000_000;

/// How weights are used. It travels in their file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The part of the recipe that evaluation needs, as TOML: network, methods that change it, image
    /// sizes, mean and standard deviation.
    pub recipe: String,
    /// Names of the classes, in the order of the outputs.
    pub classes: Vec<String>,
}

impl Usage {
    /// The metadata of a file with this usage.
    pub fn to_metadata(&self) -> HashMap<String, String> {
        let text = serde_json::to_string(self).expect("text is JSON");
        HashMap::from([(KEY.to_owned(), text)])
    }
}

/// A file of weights, of which only the header has been read.
#[derive(Clone, Debug)]
pub struct WeightsFile {
    /// The file.
    pub path: PathBuf,
    /// How to use the weights; absent in files of other programs.
    pub usage: Option<Usage>,
    /// Shapes by name in the file.
    pub(super) shapes: BTreeMap<String, Vec<usize>>,
}

impl WeightsFile {
    /// Reads the header of the file at `path`.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let unreadable = |source| WeightsError::Read { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(unreadable)?;
        let file_len = file.metadata().map_err(unreadable)?.len();
        let mut length = [0; 8];
        let num = file.read(&mut length).map_err(unreadable)?;
        let damaged = |reason: String| {
            let path = path.to_owned();
            if is_pickle(&length[..num]) {
                WeightsError::Pickle { path }
            } else {
                WeightsError::NotSafetensors { path, reason }
            }
        };
        let header_len = u64::from_le_bytes(length);
        if num < length.len() || header_len > MAX_HEADER || header_len > file_len {
            return Err(damaged("it has no header".to_owned()));
        }
        let mut header = Vec::new();
        file.take(header_len).read_to_end(&mut header).map_err(unreadable)?;
        let metadata: Metadata =
            serde_json::from_slice(&header).map_err(|error| damaged(error.to_string()))?;
        let wanted_len = (length.len() + header.len() + metadata.data_len()) as u64;
        if file_len != wanted_len {
            return Err(damaged(format!("it has {file_len} of {wanted_len} bytes")));
        }
        let usage = usage(&metadata).map_err(|error| damaged(error.to_string()))?;
        let tensors = metadata.tensors();
        let shapes = tensors.into_iter().map(|(name, info)| (name, info.shape.clone())).collect();
        Ok(Self { path: path.to_owned(), usage, shapes })
    }

    /// Names of the classes, if the file has them.
    pub fn classes(&self) -> &[String] {
        self.usage.as_ref().map_or(&[], |usage| &usage.classes)
    }
}

fn usage(metadata: &Metadata) -> serde_json::Result<Option<Usage>> {
    let text = metadata.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
    text.map(|text| serde_json::from_str(text)).transpose()
}

/// Whether a file begins as those of `torch.save`: a ZIP archive, or in old files a pickle.
fn is_pickle(start: &[u8]) -> bool {
    start.starts_with(b"PK\x03\x04") || start.starts_with(&[0x80, 2])
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::{Dtype, TensorView, serialize_to_file};

    use super::*;

    #[test]
    fn the_usage_of_weights_travels_with_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let bytes = [0u8; 24];
        let view = TensorView::new(Dtype::F32, vec![2, 3], &bytes).unwrap();
        let usage =
            Usage { recipe: "[model]\n".into(), classes: vec!["cat".into(), "dog \"".into()] };
        serialize_to_file([("fc.weight", &view)], Some(usage.to_metadata()), &path).unwrap();
        let file = WeightsFile::open(&path).unwrap();
        assert_eq!((file.usage, file.shapes["fc.weight"].as_slice()), (Some(usage), &[2, 3][..]));
        serialize_to_file([("fc.weight", &view)], None, &path).unwrap();
        assert_eq!(WeightsFile::open(&path).unwrap().usage, None);
    }

    #[test]
    fn other_files_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.pth");
        let refused = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            WeightsFile::open(&path).unwrap_err().to_string()
        };
        for pickle in [&b"PK\x03\x04\0\0\0\0\0\0"[..], b"\x80\x02\x8a\x0al\xfc\x9cF\xf9"] {
            let refused = refused(pickle);
            assert!(
                refused.contains("w.pth is a pickle") && refused.contains("save_file"),
                "{refused}"
            );
        }
        for other in
            [&b""[..], b"abc", b"\x20\0\0\0\0\0\0\0{}", b"\x02\0\0\0\0\0\0\0{}1", &[255; 64]]
        {
            let refused = refused(other);
            assert!(refused.contains("w.pth is not a file of safetensors"), "{refused}");
        }
        let absent = WeightsFile::open(&folder.path().join("absent")).unwrap_err().to_string();
        assert!(absent.contains("absent") && absent.contains("name a file"), "{absent}");
    }
}
