//! What a run trains on, before anything is made or read.

use std::path::{Path, PathBuf};

use super::{LaunchError, NoImages};
use crate::{
    data::{DataConfig, DataError, Dataset, SynthConfig, store},
    recipe::{Division, Situation},
};

/// Where the images come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Images {
    /// A folder that is there, as an absolute path.
    Folder(PathBuf),
    /// The built-in set, made where it is not there yet.
    Synth(SynthConfig),
}

impl Images {
    /// What `[data]` names; a relative path counts from the current folder.
    pub fn of(config: &DataConfig) -> Result<Self, NoImages> {
        match (&config.path, &config.synth) {
            (Some(path), _) => absolute(path).map(Self::Folder),
            (None, Some(synth)) => Ok(Self::Synth(synth.clone())),
            (None, None) => Err(NoImages::Unnamed),
        }
    }

    /// Whether a run on these images may be submitted in `division`: a store tells.
    pub fn check_division(&self, division: Division) -> Result<(), LaunchError> {
        match self {
            Self::Folder(path)
                if division == Division::Closed
                    && store::division_of(path) == Some(store::Division::OpenOnly) =>
            {
                Err(LaunchError::OpenOnlyStore(path.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Whether an epoch may keep neighbours together: only those of a store are of all classes.
    pub fn check_order(&self, config: &DataConfig) -> Result<(), LaunchError> {
        match self {
            Self::Folder(path) if store::division_of(path).is_some() => Ok(()),
            _ if config.train.block_shuffle => Err(LaunchError::BlocksUnshuffled),
            _ => Ok(()),
        }
    }

    /// What a recipe is resolved for; a folder is listed, a set need not be there.
    pub fn situation(&self, world_size: usize) -> Result<Situation, DataError> {
        Ok(match self {
            Self::Folder(path) => {
                let dataset = Dataset::open(path)?;
                Situation {
                    world_size,
                    num_classes: dataset.num_classes(),
                    num_train: dataset.train.len(),
                    num_eval: dataset.eval.len(),
                }
            }
            Self::Synth(synth) => Situation {
                world_size,
                num_classes: synth.num_classes,
                num_train: synth.num_train,
                num_eval: synth.num_eval,
            },
        })
    }
}

fn absolute(path: &Path) -> Result<PathBuf, NoImages> {
    path.canonicalize().map_err(|_| NoImages::At(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(path: Option<&Path>, synth: Option<SynthConfig>) -> DataConfig {
        DataConfig { path: path.map(Path::to_owned), synth, ..DataConfig::default() }
    }

    #[test]
    fn a_folder_is_made_absolute_and_has_to_exist() {
        let here = config(Some(Path::new(".")), None);
        let Ok(Images::Folder(path)) = Images::of(&here) else { panic!("no folder") };
        assert!(path.is_absolute());
        let nowhere = Path::new("no/such/folder");
        let missing = Images::of(&config(Some(nowhere), None)).unwrap_err();
        assert_eq!(missing, NoImages::At(nowhere.to_owned()));
        assert_eq!(Images::of(&config(None, None)), Err(NoImages::Unnamed));
    }

    #[test]
    fn a_shrunk_store_is_for_the_open_division_only() {
        let folder = tempfile::tempdir().unwrap();
        let images = Images::Folder(folder.path().to_owned());
        assert!(images.check_division(Division::Closed).is_ok(), "no store, no word of it");
        let mut in_blocks = config(None, None);
        in_blocks.train.block_shuffle = true;
        assert!(images.check_order(&config(None, None)).is_ok());
        let refused = images.check_order(&in_blocks).unwrap_err().to_string();
        assert!(refused.contains("unless the images lie in a store; import them"), "{refused}");
        let manifest = |division| store::Manifest {
            version: 1,
            division,
            max_side: None,
            source: PathBuf::new(),
            seed: 0,
            classes: Vec::new(),
            num_train: 0,
            num_eval: 0,
            shards: Vec::new(),
            mended: Vec::new(),
            skipped: Vec::new(),
        };
        for (division, is_refused) in
            [(store::Division::ClosedSafe, false), (store::Division::OpenOnly, true)]
        {
            let json = serde_json::to_string(&manifest(division)).unwrap();
            std::fs::write(folder.path().join("manifest.json"), json).unwrap();
            assert!(images.check_division(Division::Open).is_ok());
            assert!(images.check_order(&in_blocks).is_ok());
            assert_eq!(images.check_division(Division::Closed).is_err(), is_refused);
        }
    }

    #[test]
    fn the_counts_of_the_built_in_set_are_known_before_it_is_made() {
        let synth =
            SynthConfig { num_classes: 4, num_train: 8, num_eval: 12, ..SynthConfig::default() };
        let images = Images::of(&config(None, Some(synth))).unwrap();
        let expected = Situation { world_size: 2, num_classes: 4, num_train: 8, num_eval: 12 };
        assert_eq!(images.situation(2).unwrap(), expected);
    }
}
