//! The JSON Schema of recipes, by which editors complete and check them.
//!
//! It is made from the types of the sections and describes what `load` accepts: keys and the form of
//! values. Whether the values suit each other is for `resolve` to check.

use schemars::{Schema, generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::{Map, Value, json};

use super::{file::RecipeFile, find::built_in_names};

/// The schema as JSON text. Draft 7 is the latest one that editors of TOML know.
pub fn schema() -> String {
    let mut settings = SchemaSettings::draft07();
    // First, so that what it makes is turned into draft 7 too.
    settings.transforms.insert(0, Box::new(RecursiveTransform(as_in_toml)));
    let mut schema = settings.into_generator().into_root_schema_for::<RecipeFile>();
    schema.insert("title".to_owned(), "Recipe of mlperf-run".into());
    if let Some(keys) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        keys.insert("extends".to_owned(), extends());
    }
    serde_json::to_string_pretty(&schema).expect("a schema is JSON")
}

/// `load` takes this key before the recipe is typed.
fn extends() -> Value {
    let names: Vec<&str> = built_in_names().collect();
    json!({
        "description": "The recipe from which all values come that this one does not set: a built-in \
                        one, or a file without `.toml`, which is searched next to this one, then in \
                        the folder `configs`.",
        "anyOf": [{ "enum": names }, { "type": "string" }],
    })
}

/// Changes the schema of serde's data to that of a recipe in TOML.
fn as_in_toml(schema: &mut Schema) {
    let Some(keywords) = schema.as_object_mut() else { return };
    // Every key may come from the recipe that this one extends.
    keywords.remove("required");
    // Formats such as `uint` mean nothing to editors.
    keywords.remove("format");
    // The keys of a table have their own defaults.
    if keywords.get("default").is_some_and(Value::is_object) {
        keywords.remove("default");
    }
    if let Some(Value::String(description)) = keywords.get_mut("description") {
        // Lines of a comment belong together, paragraphs do not.
        let paragraphs = description.split("\n\n").map(|paragraph| paragraph.replace('\n', " "));
        *description = paragraphs.collect::<Vec<_>>().join("\n\n");
    }
    remove_null(keywords);
}

/// TOML has no null: a key without a value is left out.
fn remove_null(keywords: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = keywords.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            keywords.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = keywords.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type") != Some(&json!("null")));
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            keywords.remove("anyOf");
            keywords.extend(only);
        }
    }
}
