//! The images of a run, before any of them is generated or read.

use std::path::{Path, PathBuf};

use super::{LaunchError, NoImages};
use crate::{
    data::{DataConfig, Dataset, SynthConfig},
    recipe::{RecipeFile, RunContext, check_images},
};

/// Where the images come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Images {
    /// An existing folder, as an absolute path.
    Folder(PathBuf),
    /// The built-in image set, which is generated if it does not exist yet.
    Synth(SynthConfig),
}

impl Images {
    /// The images that `[data]` names. A relative path is relative to the current folder.
    pub fn of(config: &DataConfig) -> Result<Self, NoImages> {
        match (&config.path, &config.synth) {
            (Some(path), _) => absolute(path).map(Self::Folder),
            (None, Some(synth)) => Ok(Self::Synth(synth.clone())),
            (None, None) => Err(NoImages::Unnamed),
        }
    }

    /// The context for resolving `file`. Fails if the recipe does not allow these images. A folder
    /// is listed; the built-in set need not exist.
    pub fn run_context(
        &self,
        file: &RecipeFile,
        world_size: usize,
    ) -> Result<RunContext, LaunchError> {
        Ok(match self {
            Self::Folder(path) => {
                let dataset = Dataset::open(path)?;
                check_images(file, dataset.division())?;
                dataset.check_in_place(file.data.on_bad_image)?;
                RunContext {
                    world_size,
                    num_classes: dataset.num_classes(),
                    num_train: dataset.train.len(),
                    num_eval: dataset.eval.len(),
                }
            }
            Self::Synth(synth) => {
                check_images(file, None)?;
                RunContext {
                    world_size,
                    num_classes: synth.num_classes,
                    num_train: synth.num_train,
                    num_eval: synth.num_eval,
                }
            }
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
    fn the_counts_of_the_built_in_set_are_known_before_it_is_generated() {
        let synth =
            SynthConfig { num_classes: 4, num_train: 8, num_eval: 12, ..SynthConfig::default() };
        let images = Images::of(&config(None, Some(synth))).unwrap();
        let expected = RunContext { world_size: 2, num_classes: 4, num_train: 8, num_eval: 12 };
        assert_eq!(images.run_context(&RecipeFile::default(), 2).unwrap(), expected);
    }
}
