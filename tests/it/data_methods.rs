//! Methods that change what the loader makes.

use mlperf_run::{
    data::{Augmentation, AugmentationSet, Flip},
    recipe::{IMAGENET, Origin, Recipe, RecipeError, Source, load},
};

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
