//! Reads the text of a recipe: `extends`, overrides, types.
//!
//! Only the form is checked here: an unknown key and a value of the wrong type are errors that name
//! the file, the line and the key. `resolve` checks the values.

use std::ops::Range;

use toml::{Table, Value, de::DeTable};

use super::{
    error::{Place, RecipeError},
    file::RecipeFile,
    find::{Origin, Source, find_extended},
    layer::{Layer, Merged, walk},
    suggest,
};

/// Reads `source`, merged over the recipes that it extends, with each override `a.b=c` on top.
pub fn load(source: &Source, overrides: &[String]) -> Result<RecipeFile, RecipeError> {
    let mut merged = Merged::default();
    for layer in chain(source)?.into_iter().rev() {
        merged.merge(layer);
    }
    for text in overrides {
        merged.merge(Layer::of_override(text)?);
    }
    let mut file = typed(&merged, source)?;
    if file.run.name.is_empty() {
        file.run.name = source.name.replace('/', "-");
    }
    Ok(file)
}

/// The recipe that `source` extends, if it extends one.
pub fn parent(source: &Source) -> Result<Option<Source>, RecipeError> {
    let extended = Layer::of_source(source)?.take_extends()?;
    extended.map(|(name, place)| find_extended(source, &name).map_err(|e| at(place, e))).transpose()
}

/// The layer of `source` and of all that it extends, the most basic one last.
fn chain(source: &Source) -> Result<Vec<Layer>, RecipeError> {
    let mut layers = Vec::new();
    let mut seen: Vec<Source> = Vec::new();
    let mut next = Some(source.clone());
    while let Some(source) = next {
        if let Some(first) = seen.iter().position(|other| same(other, &source)) {
            let mut chain: Vec<String> = seen[first..].iter().map(|s| s.name.clone()).collect();
            chain.push(source.name);
            return Err(RecipeError::Cycle { chain });
        }
        let mut layer = Layer::of_source(&source)?;
        next = match layer.take_extends()? {
            Some((name, place)) => Some(find_extended(&source, &name).map_err(|e| at(place, e))?),
            None => None,
        };
        layers.push(layer);
        seen.push(source);
    }
    Ok(layers)
}

/// Adds to an unknown name where it was typed.
fn at(place: Place, error: RecipeError) -> RecipeError {
    match error {
        RecipeError::Unknown { .. } => RecipeError::Text { place, message: error.to_string() },
        other => other,
    }
}

fn same(a: &Source, b: &Source) -> bool {
    match (&a.origin, &b.origin) {
        (Origin::File(a), Origin::File(b)) => {
            a == b || a.canonicalize().ok().is_some_and(|a| Some(a) == b.canonicalize().ok())
        }
        (Origin::BuiltIn, Origin::BuiltIn) => a.name == b.name,
        _ => false,
    }
}

/// Converts the merged table to its types. It goes through text because serde reports a place in a
/// text only. That place gives the key, and the key gives the file and the line.
fn typed(merged: &Merged, source: &Source) -> Result<RecipeFile, RecipeError> {
    let text = merged.table.to_string();
    let refuse = |path: &str, message: String| {
        let place = merged.place(path).cloned();
        let place = place.unwrap_or(Place { label: source.name.clone(), line: None });
        RecipeError::Text { place, message }
    };
    let file: RecipeFile = toml::from_str(&text).map_err(|error| {
        let path = error.span().and_then(|at| key_at(&text, &at)).unwrap_or_default();
        refuse(&path, explain(&path, error.message()))
    })?;
    match Table::try_from(&file).ok().and_then(|kept| cut_list(&merged.table, &kept, "")) {
        Some((path, typed, kept)) => {
            Err(refuse(&path, format!("{path} has {typed} values and takes {kept}")))
        }
        None => Ok(file),
    }
}

/// The first list that lost values in the conversion, with its lengths before and after. serde fills
/// an array of fixed length and drops the rest silently.
fn cut_list(typed: &Table, kept: &Table, prefix: &str) -> Option<(String, usize, usize)> {
    typed.iter().find_map(|(key, value)| match (value, kept.get(key)?) {
        (Value::Table(typed), Value::Table(kept)) => {
            cut_list(typed, kept, &format!("{prefix}{key}."))
        }
        (Value::Array(typed), Value::Array(kept)) if typed.len() != kept.len() => {
            Some((format!("{prefix}{key}"), typed.len(), kept.len()))
        }
        _ => None,
    })
}

/// The key whose own or whose value's span holds `at` most tightly.
fn key_at(text: &str, at: &Range<usize>) -> Option<String> {
    let mut best: Option<(usize, String)> = None;
    walk(DeTable::parse(text).ok()?.get_ref(), "", &mut |path, key, value| {
        for span in [key, value] {
            let holds = span.start <= at.start && at.end <= span.end;
            if holds && best.as_ref().is_none_or(|(len, _)| span.len() <= *len) {
                best = Some((span.len(), path.to_owned()));
            }
        }
    });
    best.map(|(_, path)| path)
}

/// Rewrites serde's message about the key at `path` in the words of the recipe.
fn explain(path: &str, message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field") {
        let key = quoted.next().unwrap_or_default();
        return format!("unknown key {path}; {}", offer(key, &quoted.collect::<Vec<_>>()));
    }
    if message.starts_with("unknown variant") {
        let word = quoted.next().unwrap_or_default();
        let offer = offer(word, &quoted.collect::<Vec<_>>());
        return format!("{path} = \"{word}\" is not known; {offer}");
    }
    if message.starts_with("missing field") {
        return format!("{path} lacks {}; add it", quoted.next().unwrap_or_default());
    }
    match message.split_once(", expected ") {
        Some((found, wanted)) => format!("{path}: {found}, expected {}", plainly(wanted)),
        None => format!("{path}: {message}"),
    }
}

/// A Rust type in a user's words.
fn plainly(wanted: &str) -> &str {
    match wanted {
        "usize" | "u64" => "a whole number from 0 to 2^63 - 1",
        "f64" => "a number",
        "a boolean" => "true or false",
        "path string" => "a path in quotes",
        "a string" => "text in quotes, as \"5ep\" for a time",
        name if name.starts_with("struct ") => "a table",
        other => other,
    }
}

fn offer(word: &str, known: &[&str]) -> String {
    let all = known.join(", ");
    match suggest::closest(word, known.iter().copied()) {
        Some(close) => format!("did you mean {close}? known here: {all}"),
        None => format!("known here: {all}"),
    }
}
