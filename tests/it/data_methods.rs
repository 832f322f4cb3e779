//! Methods that change what the loader makes, and statistics of averaged weights, in whole runs.

use std::fs;

use mlperf_run::{
    data::{Augmentation, AugmentationSet, Flip},
    recipe::{IMAGENET, Origin, Recipe, RecipeError, Source, load},
};
use serde_json::Value;

use crate::train::{Bench, assert_ok, images};

fn resolved(text: &str) -> Result<Recipe, RecipeError> {
    let origin = Origin::File("methods.toml".into());
    let source = Source { name: "methods".to_owned(), text: text.to_owned(), origin };
    Recipe::resolve(load(&source, &[])?, &IMAGENET)
}

#[test]
fn the_loader_flips_and_augments_as_the_recipe_says() {
    let plain = resolved("").unwrap().epoch_values[0].transform;
    assert_eq!((plain.flip, plain.augmentation), (Flip::Random, None));
    let text = "[algorithms.alternating_flip]\n[algorithms.randaugment]\ndepth = 1\nseverity = 12\n\
                augmentation_set = \"torchvision\"";
    let recipe = resolved(text).unwrap();
    let augmentation = Augmentation { depth: 1, severity: 12, set: AugmentationSet::Torchvision };
    let again = resolved(&recipe.to_toml()).unwrap();
    for transform in recipe.epoch_values.iter().chain(&again.epoch_values).map(|it| it.transform) {
        assert_eq!(
            (transform.flip, transform.augmentation),
            (Flip::Alternating, Some(augmentation))
        );
    }
    assert_eq!(recipe.graph_obstacle(), None, "both act before the step");
}

#[test]
fn values_that_no_method_can_take_are_refused_with_the_cure() {
    for (text, words) in [
        ("[algorithms.randaugment]\nseverity = 11", ["severity (11)", "from 0 to 10"]),
        ("[algorithms.randaugment]\ndepth = 0", ["depth (0)", "from 1 to 16"]),
        ("[algorithms.randaugment]\naugmentation_set = \"most\"", ["most", "torchvision"]),
        (
            "[algorithms.alternating_flip]\n[data.train]\nhflip = 0.0",
            ["hflip (0)", "set it to 0.5"],
        ),
        ("[data.train]\nflip = \"alternating\"", ["flip", "hflip"]),
        ("[algorithms.squeeze_excite]\nlatent_channels = 0", ["latent_channels (0)", "above 0"]),
        ("[algorithms.squeeze_excite]\nmin_channels = 9999", ["changes nothing", "(9999)"]),
        ("[algorithms.layer_freezing]\nstart = 1", ["start (1)", "below 1"]),
        ("[algorithms.layer_freezing]\nlevel = 0", ["level (0)", "above 0"]),
        (
            "[algorithms.layer_freezing]\n[model]\nfreeze = [\"fc\"]\nweights = \"w.safetensors\"",
            ["names the last layer", "leave fc out"],
        ),
        ("[algorithms.swa]\n[model]\nbn_momentum = 0", ["bn_momentum (0)", "set it to 0.1"]),
        (
            "[mlperf]\ndivision = \"closed\"\n[algorithms.randaugment]",
            ["algorithms.randaugment", "closed"],
        ),
    ] {
        let error = resolved(text).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{text}: {error}");
    }
}

#[test]
fn squeeze_and_excitation_is_counted_and_not_fused() {
    let [plain, excited] = ["", "[algorithms.squeeze_excite]"]
        .map(|method| resolved(&format!("[algorithms.channels_last]\n{method}")).unwrap());
    assert!(excited.fusion_obstacle().unwrap().contains("algorithms.squeeze_excite"));
    // All convolutions of the last three stages, and the output channels of their blocks and shortcuts.
    let stages = [[4, 128], [6, 256], [3, 512]];
    let channels = stages.map(|[depth, width]| depth * 6 * width + 4 * width).iter().sum::<u64>();
    let [before, after] = [&plain, &excited].map(|recipe| recipe.spec.num_weights()[0]);
    let added = 2 * 64 * channels;
    assert_eq!(after - before, added);
    assert_eq!(excited.spec.macs(224) - plain.spec.macs(224), added, "each is used once an image");
    let [before, after] = [&plain, &excited].map(|recipe| recipe.spec.activations(176));
    assert!(after > before);
}

#[test]
fn statistics_of_averaged_weights_are_retaken_before_each_evaluation() {
    let run = |update_bn: &str| {
        let bench = Bench::new(2);
        let swa = ["start=0ba", "interval=1ba", &format!("update_bn={update_bn}")]
            .map(|setting| format!("algorithms.swa.{setting}"));
        let set = swa.iter().flat_map(|setting| ["--set", setting]).collect::<Vec<_>>();
        assert_ok(&bench.run(&images(), &set), 0);
        let events = fs::read_to_string(bench.path("run_0/events.jsonl")).unwrap();
        let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let evaluated: Vec<_> = events.filter(|event| event["event"] == "evaluated").collect();
        assert_eq!(evaluated.len(), 2);
        let times = evaluated.iter().map(|event| {
            let [all, part] = ["eval_s", "statistics_s"].map(|key| event[key].as_f64().unwrap());
            assert!(part <= all, "{event}");
            part
        });
        let times: Vec<f64> = times.collect();
        let weights = fs::read(bench.path("run_0/weights.safetensors")).unwrap();
        let weights = safetensors::SafeTensors::deserialize(&weights).unwrap();
        let data = |name: &str| weights.tensor(name).unwrap().data().to_vec();
        (times, data("conv1.weight"), data("bn1.running_mean"))
    };
    let (averaged, retaken) = (run("0sp"), run("1ep"));
    assert!(averaged.0.iter().all(|&time| time == 0.0), "{:?}", averaged.0);
    assert!(retaken.0.iter().all(|&time| time > 0.0), "{:?}", retaken.0);
    assert!(averaged.1 == retaken.1, "the weights stay the same");
    assert!(averaged.2 != retaken.2, "the weights that are kept have the statistics evaluated");
    assert!(retaken.2 == run("1ep").2, "a run can be repeated");
}
