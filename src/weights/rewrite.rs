//! Writes the weights of a file anew, under plain names and with their usage.

use std::{collections::BTreeMap, fs, path::Path};

use safetensors::{SafeTensors, serialize};

use super::{
    error::WeightsError,
    file::{Usage, WeightsFile},
};
use crate::atomic_file;

impl WeightsFile {
    /// Writes all tensors to `path`, without the prefixes of wrappers, and with `usage`.
    pub fn rewrite(&self, usage: &Usage, path: &Path) -> Result<(), WeightsError> {
        let bytes = fs::read(&self.path)
            .map_err(|source| WeightsError::Read { path: self.path.clone(), source })?;
        let damaged = |reason: safetensors::SafeTensorError| WeightsError::NotSafetensors {
            path: self.path.clone(),
            reason: reason.to_string(),
        };
        let tensors = SafeTensors::deserialize(&bytes).map_err(damaged)?;
        let named = self.names().map(|(bare, in_file)| Ok((bare, tensors.tensor(in_file)?)));
        let named: BTreeMap<_, _> = named.collect::<Result<_, _>>().map_err(damaged)?;
        let bytes = serialize(named, Some(usage.to_metadata())).map_err(damaged)?;
        atomic_file::write(path, &bytes)
            .map_err(|source| WeightsError::Write { path: path.to_owned(), source })
    }
}
