//! `configs/recipe.schema.json`, which editors read. `WRITE_SCHEMA=1` writes it anew; without it, a
//! schema that lags behind the program fails here.

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use mlperf_run::{
    console,
    recipe::{RecipeFile, built_in_names, schema},
};
use serde_json::Value as Json;
use toml::{Table, Value};

use super::recipe::{at_home, loaded};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn described() -> Json {
    serde_json::from_str(&schema()).unwrap()
}

/// What is wrong with each recipe by the schema, each with the path of its value; none, with a line that
/// says so, without the validator.
fn mistakes(recipes: &[Table]) -> Option<Vec<Vec<String>>> {
    let peer = Path::new(ROOT).join(".peers/schema");
    if !peer.join("whole").is_file() {
        console::note("skipped: scripts/oracle/setup-schema-peers has not installed the validator");
        return None;
    }
    let mut schema_file = tempfile::NamedTempFile::new().unwrap();
    schema_file.write_all(schema().as_bytes()).unwrap();
    let mut validator = Command::new(peer.join("bin/python"));
    validator.arg(Path::new(ROOT).join("scripts/oracle/schema.py")).arg(schema_file.path());
    let mut validator = validator.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    serde_json::to_writer(validator.stdin.take().unwrap(), recipes).unwrap();
    let output = validator.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// Requires that the schema accepts the recipes, each with its name.
fn accepts(recipes: &[(String, String)]) {
    let parse = |(name, text): &(String, String)| {
        text.parse().unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let Some(mistakes) = mistakes(&recipes.iter().map(parse).collect::<Vec<_>>()) else { return };
    for ((name, text), mistakes) in recipes.iter().zip(mistakes) {
        assert!(mistakes.is_empty(), "{name}: {mistakes:?}\n{text}");
    }
}

/// The TOML files of a folder.
fn recipes_in(folder: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(Path::new(ROOT).join(folder)).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect()
}

#[test]
fn the_schema_in_configs_is_that_of_the_program() {
    let path = Path::new(ROOT).join("configs/recipe.schema.json");
    let schema = schema() + "\n";
    if env::var_os("WRITE_SCHEMA").is_some() {
        fs::write(&path, &schema).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap();
    assert_eq!(written, schema, "{} is old: run with WRITE_SCHEMA=1", path.display());
}

#[test]
fn every_recipe_names_the_schema_and_satisfies_it() {
    let mut recipes = Vec::new();
    for path in ["configs", "configs/demo", "examples"].into_iter().flat_map(recipes_in) {
        let text = fs::read_to_string(&path).unwrap();
        let named = text.lines().next().and_then(|line| line.strip_prefix("#:schema "));
        let named = named.unwrap_or_else(|| panic!("{}: no #:schema", path.display()));
        assert!(named.ends_with("recipe.schema.json"), "{}: {named}", path.display());
        assert!(path.with_file_name(named).is_file(), "{}: no {named}", path.display());
        recipes.push((path.display().to_string(), text));
    }
    assert!(recipes.len() > 10, "{} recipes", recipes.len());
    accepts(&recipes);
}

#[test]
fn what_the_docs_show_satisfies_the_schema() {
    let mut pages = vec![Path::new(ROOT).join("README.md")];
    for folder in ["docs", "docs/methods"] {
        let files = fs::read_dir(Path::new(ROOT).join(folder)).unwrap();
        pages.extend(files.map(|file| file.unwrap().path()));
    }
    pages.retain(|path| path.extension().is_some_and(|end| end == "md"));
    let mut recipes = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        let blocks = text.split("\n```toml\n").skip(1);
        let blocks = blocks.map(|block| block.split("\n```").next().unwrap().to_owned());
        recipes.extend(blocks.map(|block| (page.display().to_string(), block)));
    }
    assert!(recipes.len() > 10, "{} recipes", recipes.len());
    accepts(&recipes);
}

#[test]
fn recipes_as_plan_prints_them_satisfy_the_schema() {
    let recipes = built_in_names().map(|name| (name.to_owned(), at_home(name).to_toml()));
    accepts(&recipes.collect::<Vec<_>>());
}

#[test]
fn every_way_to_write_a_value_is_known() {
    let texts = [
        "[run]\nseed = 3\nmax_duration = \"0.5ep\"",
        "[run]\nmax_duration = \"500ba\"",
        "[eval]\ninterval = \"0.25dur\"\nstart = \"1.0dur\"\noffset = \"4096sp\"",
        "[train]\nmicrobatch = \"auto\"",
        "[train]\nmicrobatch = 64",
        "[train.checkpoint]\ninterval = \"off\"",
        "[train.checkpoint]\ninterval = \"eval\"",
        "[train.checkpoint]\ninterval = \"10min\"",
        "[train.checkpoint]\ninterval = \"5ep\"",
        "[data.train]\nram_cache = \"auto\"",
        "[data.train]\nram_cache = \"64GiB\"",
        "[data.train]\ncrop_size = 176",
        "[data.train]\ncrop_size = [{ until = \"12ep\", value = 96 }, { from = 96, to = 160 }]",
        "[data.train]\ncrop_size = { from = 96, to = 160, multiple_of = 16 }",
        "[data.train]\nscale = [{ until = \"2ep\", value = [0.25, 1] }, { value = [0.5, 1.0] }]",
        "[optimizer]\nlr = 2\nbetas = [0.9, 0.99]\nno_decay = [\"bn\", \"bias\"]",
        "[optimizer]\nname = \"muon\"\n[optimizer.others]\nname = \"adamw\"",
        "[model]\ninitializers = [\"fc_normal_0.01\"]",
        "[model.custom]\nblock = \"basic\"\ndepths = [1, 1]\nwidth = 8",
        "[scheduler]\nmilestones = [\"30ep\", \"60ep\"]",
        "[algorithms]\nema = true",
        // These two change what the recipe below has.
        "extends = \"optimized\"\n[algorithms]\nema = false",
        "extends = \"demo/baseline\"\n[model.custom]\nwidth = 8",
        "[algorithms.progressive_resizing]\nresize_on = \"device-nearest\"",
    ];
    for text in texts {
        loaded(text, &[]).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
    accepts(&texts.map(|text| ("a recipe".to_owned(), text.to_owned())));
}

#[test]
fn a_mistyped_recipe_is_refused_by_the_program_and_by_the_schema() {
    let recipes = [
        ("extends = 3", "/extends"),
        ("lr = 1.0", ""),
        ("[optimiser]\nlr = 1.0", ""),
        ("[optimizer]\nlearning_rate = 1.0", "/optimizer"),
        ("[optimizer]\nname = \"adam\"", "/optimizer/name"),
        ("[optimizer]\nlr = \"1.0\"", "/optimizer/lr"),
        ("[optimizer]\nbetas = [0.9, 0.99, 0.999]", "/optimizer/betas"),
        ("[optimizer]\nlr = [{ value = 1.0, until = 3 }]", "/optimizer/lr"),
        ("[optimizer]\nmomentum = { start = 0.9, to = 0.95 }", "/optimizer/momentum"),
        ("[data.train]\ncrop_size = 176.5", "/data/train/crop_size"),
        ("[data.train]\nscale = [0.25]", "/data/train/scale"),
        ("[data.train]\nram_cache = \"64GB\"", "/data/train/ram_cache"),
        ("[data.train]\nram_cache = \"0GiB\"", "/data/train/ram_cache"),
        ("[run]\nnum_ranks = -1", "/run/num_ranks"),
        ("[run]\nmax_duration = 90", "/run/max_duration"),
        ("[run]\nmax_duration = \"90\"", "/run/max_duration"),
        ("[run]\nmax_duration = \"1.5ba\"", "/run/max_duration"),
        ("[run]\nmax_duration = \"1.1dur\"", "/run/max_duration"),
        ("[run]\nmax_duration = \"90 epochs\"", "/run/max_duration"),
        ("[train]\nmicrobatch = \"half\"", "/train/microbatch"),
        ("[train.checkpoint]\ninterval = \"daily\"", "/train/checkpoint/interval"),
        ("[algorithms.emma]", "/algorithms"),
        ("[algorithms]\nema = \"yes\"", "/algorithms/ema"),
        ("[algorithms.ema]\nhalflife = \"100ba\"", "/algorithms/ema"),
        ("[algorithms.progressive_resizing]\nresize_on = \"device_nearest\"", "/algorithms"),
    ];
    for (text, _) in recipes {
        assert!(loaded(text, &[]).is_err(), "{text}");
    }
    let tables = recipes.map(|(text, _)| text.parse().unwrap());
    for ((text, path), mistakes) in recipes.iter().zip(mistakes(&tables).into_iter().flatten()) {
        let is_placed = |mistake: &String| mistake.starts_with(path);
        assert!(!mistakes.is_empty() && mistakes.iter().all(is_placed), "{text}: {mistakes:?}");
    }
}

/// Calls `visit` with the path of every key that has no keys of its own.
fn leaves(table: &Table, path: &[String], visit: &mut impl FnMut(&[String])) {
    for (key, value) in table {
        let path = [path, std::slice::from_ref(key)].concat();
        match value {
            Value::Table(inner) => leaves(inner, &path, visit),
            _ => visit(&path),
        }
    }
}

#[test]
fn a_value_of_a_wrong_type_is_refused_for_every_key() {
    let mut recipes = Vec::new();
    leaves(&Table::try_from(RecipeFile::default()).unwrap(), &[], &mut |path| {
        recipes.push(format!("{} = {{ nonsense = 1 }}", path.join(".")));
    });
    assert!(recipes.len() > 60, "{} keys", recipes.len());
    for text in &recipes {
        assert!(loaded(text, &[]).is_err(), "{text}");
    }
    let tables: Vec<Table> = recipes.iter().map(|text| text.parse().unwrap()).collect();
    for (text, mistakes) in recipes.iter().zip(mistakes(&tables).into_iter().flatten()) {
        assert!(!mistakes.is_empty(), "{text}");
    }
}

/// The description of a key, or that of its type.
fn description<'a>(schema: &'a Json, key: &'a Json) -> Option<&'a str> {
    let of_type = || {
        let choices = ["allOf", "anyOf"].iter().find_map(|name| key[name].get(0)).unwrap_or(key);
        let name = choices["$ref"].as_str()?.strip_prefix('#')?;
        schema.pointer(name)?["description"].as_str()
    };
    key["description"].as_str().or_else(of_type)
}

#[test]
fn every_key_is_described_and_has_the_default_of_the_program() {
    let schema = described();
    let definitions = schema["definitions"].as_object().unwrap();
    for (name, table) in definitions.iter().chain([(&"the recipe".to_owned(), &schema)]) {
        for (key, value) in table["properties"].as_object().into_iter().flatten() {
            let description = description(&schema, value).unwrap_or_default();
            assert!(!description.is_empty(), "{name}.{key} is not described: {value}");
            assert!(!description.contains("[`"), "{name}.{key} links to code: {description}");
        }
    }
    let default = |table: &str, key: &str| &definitions[table]["properties"][key]["default"];
    let file = RecipeFile::default();
    assert_eq!(default("TrainConfig", "batch_size"), &file.train.batch_size);
    assert_eq!(default("RunConfig", "max_duration"), &file.run.max_duration.to_string());
}
