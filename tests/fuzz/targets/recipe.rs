//! Recipes: TOML, and overrides after it.
#![no_main]

use std::str;

use libfuzzer_sys::fuzz_target;
use mlperf_run::recipe::{self, IMAGENET, Origin, Plan, Recipe, RunContext, Source};
use mlperf_run_fuzz::parts;

/// The built-in image set on two ranks.
const SMALL: RunContext =
    RunContext { world_size: 2, num_classes: 10, num_train: 1000, num_eval: 100 };
/// A plan has a row for each epoch.
const MAX_ROWS: usize = 1000;

fuzz_target!(|input: &[u8]| {
    let Ok(input) = str::from_utf8(input) else { return };
    let [text, overrides] = parts(input.as_bytes());
    let [text, overrides] = [text, overrides].map(|part| str::from_utf8(part).expect("it is text"));
    let overrides: Vec<String> = overrides.lines().map(str::to_owned).collect();
    let file = match recipe::load(&source(text), &overrides) {
        Ok(file) => file,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    for run_context in [IMAGENET, SMALL] {
        match Recipe::resolve(file.clone(), &run_context) {
            Ok(resolved) => check(&resolved),
            Err(error) => assert!(error.to_string().contains("invalid recipe: ")),
        }
    }
});

/// A resolved recipe that is written, loaded and resolved again is the same.
fn check(resolved: &Recipe) {
    let text = resolved.to_toml();
    let file = recipe::load(&source(&text), &[]).expect("what was written can be loaded");
    let again = Recipe::resolve(file, &resolved.run_context).expect("it was sound before");
    assert_eq!(again.to_toml(), text);
    let _ = recipe::advice(resolved, None);
    if resolved.image_sizes.len() <= MAX_ROWS {
        let plan = Plan::of(resolved);
        assert_eq!(plan.rows.len(), resolved.image_sizes.len());
        assert!(!plan.to_string().is_empty());
    }
}

/// Built-in recipes extend built-in ones only: no file is read.
fn source(text: &str) -> Source {
    Source { name: "fuzz".into(), text: text.into(), origin: Origin::BuiltIn }
}
