//! Layers of a recipe, each a file or an override, and how they are merged.
//!
//! Layers keep the line of every key, so that an error in the merged recipe can name the place
//! where it was typed.

use std::{collections::BTreeMap, ops::Range};

use toml::{
    Spanned, Table, Value,
    de::{DeTable, DeValue},
};

use super::{
    error::{Place, RecipeError},
    find::{Origin, Source},
};

/// The keys of one file or one override.
#[derive(Debug)]
pub(super) struct Layer {
    label: String,
    table: Table,
    /// Line of each key, from 1, by its dotted path.
    lines: BTreeMap<String, usize>,
}

/// Layers merged so far.
#[derive(Debug, Default)]
pub(super) struct Merged {
    pub(super) table: Table,
    /// Where each key got its value, by its dotted path.
    places: BTreeMap<String, Place>,
}

impl Layer {
    /// The text of a recipe as a layer.
    pub(super) fn of_source(source: &Source) -> Result<Self, RecipeError> {
        let label = match &source.origin {
            Origin::File(path) => path.display().to_string(),
            Origin::BuiltIn => format!("built-in recipe {}", source.name),
        };
        Self::parse(label.clone(), &source.text).map_err(|error| {
            let line = error.span().map(|at| line_of(&source.text, at.start));
            let message = format!("{}; see https://toml.io for the syntax", error.message());
            RecipeError::Text { place: Place { label, line }, message }
        })
    }

    /// An override `a.b=c`. c is TOML, or a bare word, which is a string.
    pub(super) fn of_override(text: &str) -> Result<Self, RecipeError> {
        let label = format!("--set {text}");
        let refuse = |message: &str| RecipeError::Text {
            place: Place { label: label.clone(), line: None },
            message: message.to_owned(),
        };
        let (path, value) = text
            .split_once('=')
            .ok_or_else(|| refuse("no '=' in it; write it as section.key=value"))?;
        let keys: Vec<&str> = path.trim().split('.').collect();
        if keys.iter().any(|key| key.is_empty()) {
            return Err(refuse("a part of the key is empty; write it as section.key=value"));
        }
        let value = override_value(value.trim()).ok_or_else(|| {
            refuse("the value is no TOML; quote strings in lists: 'section.key=[\"a\", \"b\"]'")
        })?;
        let table = keys
            .iter()
            .rev()
            .fold(value, |inner, key| Value::Table(Table::from_iter([((*key).to_owned(), inner)])));
        let Value::Table(table) = table else {
            return Err(refuse("there is no key; write it as section.key=value"));
        };
        Ok(Self { label, table, lines: BTreeMap::new() })
    }

    /// Takes the name of the recipe that this one extends out of the layer, with its place.
    pub(super) fn take_extends(&mut self) -> Result<Option<(String, Place)>, RecipeError> {
        match self.table.remove("extends") {
            None => Ok(None),
            Some(Value::String(name)) => Ok(Some((name, self.place("extends")))),
            Some(other) => Err(RecipeError::Text {
                place: self.place("extends"),
                message: format!(
                    "extends ({other}) must name one recipe, as in extends = \"baseline\""
                ),
            }),
        }
    }

    fn parse(label: String, text: &str) -> Result<Self, toml::de::Error> {
        let mut lines = BTreeMap::new();
        walk(DeTable::parse(text)?.get_ref(), "", &mut |path, key, _| {
            lines.insert(path.to_owned(), line_of(text, key.start));
        });
        Ok(Self { label, table: text.parse()?, lines })
    }

    fn place(&self, path: &str) -> Place {
        Place { label: self.label.clone(), line: self.lines.get(path).copied() }
    }
}

impl Merged {
    /// Merges `layer` on top: its values win, tables are merged key by key, `true` and `false` in
    /// `[algorithms]` switch methods.
    pub(super) fn merge(&mut self, mut layer: Layer) {
        self.switch_methods(&mut layer.table);
        note_places(&layer, &layer.table, "", &mut self.places);
        merge(&mut self.table, layer.table);
    }

    /// `NAME = true` becomes an empty table, which means all defaults. `NAME = false` removes the
    /// table of the layers below. Without such a table, `false` remains and is an error of type.
    fn switch_methods(&mut self, over: &mut Table) {
        let Some(Value::Table(methods)) = over.get_mut("algorithms") else { return };
        let mut nothing = Table::new();
        let below = match self.table.get_mut("algorithms") {
            Some(Value::Table(below)) => below,
            _ => &mut nothing,
        };
        methods.retain(|name, value| match value {
            Value::Boolean(true) => {
                *value = Value::Table(Table::new());
                true
            }
            Value::Boolean(false) => below.remove(name).is_none(),
            _ => true,
        });
    }

    /// Where the key at `path` was typed, or the table around it.
    pub(super) fn place(&self, path: &str) -> Option<&Place> {
        let mut path = path;
        loop {
            match (self.places.get(path), path.rsplit_once('.')) {
                (Some(place), _) => return Some(place),
                (None, Some((parent, _))) => path = parent,
                (None, None) => return None,
            }
        }
    }
}

/// Calls `visit` with the dotted path, the key's span and the value's span of every key, bytes.
pub(super) fn walk(
    table: &DeTable<'_>,
    prefix: &str,
    visit: &mut impl FnMut(&str, Range<usize>, Range<usize>),
) {
    for (key, value) in table {
        let path = join(prefix, key.get_ref());
        visit(&path, Spanned::span(key), Spanned::span(value));
        if let DeValue::Table(inner) = value.get_ref() {
            walk(inner, &path, visit);
        }
    }
}

fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") }
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

fn override_value(text: &str) -> Option<Value> {
    let bare = || Some(Value::String(text.to_owned()));
    match format!("value = {text}").parse::<Table>() {
        Ok(mut table) if table.len() == 1 => match table.remove("value") {
            Some(Value::Datetime(_)) | None => bare(),
            value => value,
        },
        Err(_) if text.starts_with(['[', '{', '"', '\'']) => None,
        Ok(_) | Err(_) => bare(),
    }
}

fn note_places(layer: &Layer, table: &Table, prefix: &str, places: &mut BTreeMap<String, Place>) {
    for (key, value) in table {
        let path = join(prefix, key);
        places.insert(path.clone(), layer.place(&path));
        if let Value::Table(inner) = value {
            note_places(layer, inner, &path, places);
        }
    }
}

fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(text: &str) -> Layer {
        let origin = Origin::File("a.toml".into());
        Layer::of_source(&Source { name: "a".to_owned(), text: text.to_owned(), origin }).unwrap()
    }

    fn value_of(text: &str) -> Value {
        Layer::of_override(&format!("key={text}")).unwrap().table["key"].clone()
    }

    #[test]
    fn an_override_is_toml_or_a_bare_word() {
        assert_eq!(value_of("3"), Value::Integer(3));
        assert_eq!(value_of("1e-3"), Value::Float(1e-3));
        assert_eq!(value_of("true"), Value::Boolean(true));
        assert_eq!(value_of("[1, 2]"), Value::Array(vec![Value::Integer(1), Value::Integer(2)]));
        for word in ["cpu", "8ep", "", "4.0.0", "demo/optimized", "2020-01-01", "a=b", "a\nb = 1"] {
            assert_eq!(value_of(word), Value::String(word.to_owned()));
        }
        assert_eq!(value_of("\"8ep\""), Value::String("8ep".to_owned()));
    }

    #[test]
    fn tables_are_merged_and_other_values_replaced() {
        let mut merged = Merged::default();
        merged.merge(layer("[a]\nx = 1\ny = [1, 2]\n[a.b]\nz = 1"));
        merged.merge(layer("[a]\ny = [3]\n[a.b]\nw = 2"));
        merged.merge(Layer::of_override("a.b.z=5").unwrap());
        let expected: Table = "[a]\nx = 1\ny = [3]\n[a.b]\nz = 5\nw = 2".parse().unwrap();
        assert_eq!(merged.table, expected);
    }

    #[test]
    fn a_key_knows_the_layer_and_line_that_gave_its_value() {
        let mut merged = Merged::default();
        merged.merge(layer("# first\n[a]\nx = 1\ny = 1\n"));
        merged.merge(Layer::of_override("a.y=2").unwrap());
        assert_eq!(merged.place("a.x").unwrap().to_string(), "a.toml:3");
        assert_eq!(merged.place("a.y").unwrap().to_string(), "--set a.y=2");
        assert_eq!(merged.place("a.x.deeper").unwrap().to_string(), "a.toml:3");
        assert_eq!(merged.place("b"), None);
    }

    #[test]
    fn a_method_is_switched_by_true_and_false() {
        let mut merged = Merged::default();
        merged.merge(layer("[algorithms.blurpool]\nmin_channels = 3\n[algorithms.other]"));
        merged.merge(Layer::of_override("algorithms.blurpool=true").unwrap());
        merged.merge(Layer::of_override("algorithms.other=false").unwrap());
        merged.merge(Layer::of_override("algorithms.new=true").unwrap());
        merged.merge(Layer::of_override("algorithms.absent=false").unwrap());
        let expected: Table =
            "[algorithms]\nabsent = false\n[algorithms.blurpool]\nmin_channels = 3\n[algorithms.new]"
                .parse()
                .unwrap();
        assert_eq!(merged.table, expected);
    }
}
