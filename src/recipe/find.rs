//! Finds the text of a recipe by name: a path, else a file in `./configs`, else a built-in recipe.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{error::RecipeError, suggest};

/// The text of a recipe and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// `optimized`, `demo/baseline`; of a path, what follows `configs/`, else the name of the file,
    /// without `.toml`.
    pub name: String,
    /// The TOML.
    pub text: String,
    /// Where it was found.
    pub origin: Origin,
}

/// Where a recipe was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file.
    File(PathBuf),
    /// Compiled into the program.
    BuiltIn,
}

/// Recipes that are compiled in: name and text.
const BUILT_IN: [(&str, &str); 16] = [
    ("baseline", include_str!("../../configs/baseline.toml")),
    ("optimized", include_str!("../../configs/optimized.toml")),
    ("fastest", include_str!("../../configs/fastest.toml")),
    ("dawnbench-2020", include_str!("../../configs/dawnbench-2020.toml")),
    ("nvidia-closed", include_str!("../../configs/nvidia-closed.toml")),
    ("baseline-1gpu", include_str!("../../configs/baseline-1gpu.toml")),
    ("optimized-1gpu", include_str!("../../configs/optimized-1gpu.toml")),
    ("fastest-1gpu", include_str!("../../configs/fastest-1gpu.toml")),
    ("fastest-4gpu", include_str!("../../configs/fastest-4gpu.toml")),
    ("nvidia-closed-1gpu", include_str!("../../configs/nvidia-closed-1gpu.toml")),
    ("demo/baseline", include_str!("../../configs/demo/baseline.toml")),
    ("demo/optimized", include_str!("../../configs/demo/optimized.toml")),
    ("demo/baseline-112px", include_str!("../../configs/demo/baseline-112px.toml")),
    ("demo/optimized-112px", include_str!("../../configs/demo/optimized-112px.toml")),
    ("demo/gpu", include_str!("../../configs/demo/gpu.toml")),
    ("demo/closed", include_str!("../../configs/demo/closed.toml")),
];

/// The recipe called `name`: a path, else `./configs/NAME[.toml]`, else compiled in.
pub fn find(name: &str) -> Result<Source, RecipeError> {
    let path = Path::new(name);
    if path.is_file() {
        return read(path, name_of(path));
    }
    let bare = name.strip_suffix(".toml").unwrap_or(name);
    let config = Path::new("configs").join(format!("{bare}.toml"));
    if config.is_file() {
        return read(&config, bare.to_owned());
    }
    built_in(bare).ok_or_else(|| unknown(name, bare))
}

/// Names of the recipes that are compiled in.
pub fn built_in_names() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(name, _)| *name)
}

/// The recipe that `source` extends. Of a file: next to it, else below the same `configs` folder,
/// else as [`find()`] finds it. A built-in recipe extends built-in ones only.
pub(super) fn find_extended(source: &Source, name: &str) -> Result<Source, RecipeError> {
    let bare = name.strip_suffix(".toml").unwrap_or(name);
    let Origin::File(file) = &source.origin else {
        return built_in(bare).ok_or_else(|| unknown(name, bare));
    };
    let configs = file.ancestors().nth(1 + source.name.matches('/').count());
    for folder in file.parent().into_iter().chain(configs) {
        let path = folder.join(format!("{bare}.toml"));
        if path.is_file() {
            return read(&path, name_of(&path));
        }
    }
    find(name)
}

fn built_in(bare: &str) -> Option<Source> {
    let (name, text) = BUILT_IN.iter().find(|(known, _)| *known == bare)?;
    let (name, text) = ((*name).to_owned(), (*text).to_owned());
    Some(Source { name, text, origin: Origin::BuiltIn })
}

fn name_of(path: &Path) -> String {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    let folder = parts[..parts.len() - 1].iter().rposition(|part| part == "configs");
    let name = parts[folder.map_or(parts.len() - 1, |at| at + 1)..].join("/");
    name.strip_suffix(".toml").map_or(name.clone(), str::to_owned)
}

fn read(path: &Path, name: String) -> Result<Source, RecipeError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Source { name, text, origin: Origin::File(path.to_owned()) }),
        Err(source) => Err(RecipeError::Read { path: path.to_owned(), source }),
    }
}

fn unknown(name: &str, bare: &str) -> RecipeError {
    let known = built_in_names().collect::<Vec<_>>().join(", ");
    let cure = match suggest::closest(bare, built_in_names()) {
        Some(close) => format!("did you mean '{close}'? built in are {known}"),
        None => format!("built in are {known}"),
    };
    RecipeError::Unknown { name: name.to_owned(), cure }
}
