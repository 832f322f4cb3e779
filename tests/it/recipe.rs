//! Recipes from outside: the built-in ones, and what a person who mistypes reads.

use std::{fs, path::Path};

use mlperf_run::recipe::{
    Origin, RawRecipe, Recipe, RecipeError, Situation, Source, built_in_names, find, load,
};

fn written(text: &str) -> Source {
    let origin = Origin::File(Path::new("/nowhere/my.toml").to_owned());
    Source { name: "my".to_owned(), text: text.to_owned(), origin }
}

fn loaded(text: &str, overrides: &[&str]) -> Result<RawRecipe, RecipeError> {
    let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
    load(&written(text), &overrides)
}

fn message(text: &str, overrides: &[&str]) -> String {
    loaded(text, overrides).unwrap_err().to_string()
}

fn imagenet(world_size: usize) -> Situation {
    Situation { world_size, num_classes: 1000, num_train: 1_281_167, num_eval: 50_000 }
}

/// The data set that a recipe is meant for.
fn home(raw: &RawRecipe) -> Situation {
    match &raw.data.synth {
        None => imagenet(8),
        Some(synth) => Situation {
            world_size: 2,
            num_classes: synth.num_classes,
            num_train: synth.num_train,
            num_eval: synth.num_eval,
        },
    }
}

#[test]
fn every_built_in_recipe_resolves_and_survives_being_written_out() {
    for name in built_in_names() {
        let raw = load(&find(name).unwrap(), &[]).unwrap();
        let situation = home(&raw);
        let recipe = Recipe::resolve(raw, &situation).unwrap();
        let again = Recipe::resolve(loaded(&recipe.to_toml(), &[]).unwrap(), &situation).unwrap();
        assert_eq!(again, recipe, "{name}");
        assert_eq!(again.sha256(), recipe.sha256(), "{name}");
        assert_eq!(recipe.sha256().len(), 64);
    }
}

#[test]
fn x() {
    for (t, o) in [
        ("[model]\nbn_momentun = 1", &[][..]),
        ("[modle]\nbn_momentun = 1", &[]),
        ("[model]\narch = \"resnet51\"", &[]),
        ("[model]\narch = \"custom\"\n[model.custom]\nwidth=3", &[]),
        ("[train]\n\nbatch_size = -1", &[]),
        ("[train]\n\nbatch_size = \"x\"", &[]),
        ("[train]\n\nbatch_size = 1.5", &[]),
        ("[train]\n\nbatch_size = 1.5\nddp.bucket_mb = \"x\"", &["train.batch_size=3"]),
        ("[train]\nbatch_size = = 3", &[]),
        ("[train]\nbatch_size = 3\nbatch_size=3", &[]),
        ("[data.train]\nscale = [1, 2, 3]", &[]),
        ("[data.train]\nscale = [1, \"a\"]", &[]),
        ("[run]\nmax_duration = \"8min\"", &[]),
        ("run = 3", &[]),
        ("extends = 3", &[]),
        ("extends = \"optimised\"", &[]),
        ("", &["run.seed=x", ]),
        ("", &["run.seeed=4", ]),
        ("", &["run.seed", ]),
        ("", &["run..seed=3", ]),
        ("", &["=3", ]),
        ("", &["data.train.scale=[1,", ]),
        ("[model]\ninitializers = [\"kaiming_normal\",\n \"foo\"]", &[]),
        ("", &["model.initializers=[foo]", ]),
        ("", &["algorithms.blurpool=false", ]),
        ("", &["mlperf.division=closed", ]),
        ("", &["run.seed=99999999999999999999", ]),
        ("", &["run.seed=1\nfoo=2", ]),
    ] {
        match loaded(t, o) {
            Ok(_) => println!("OK {t}"),
            Err(e) => println!("{e}"),
        }
    }
    println!("{}", find("optimised").unwrap_err());
    let _ = fs::read("x");
    panic!();
}
