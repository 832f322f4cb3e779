//! Whether the steps of a recipe can be recorded once and replayed.

use super::raw::RawRecipe;
use crate::algorithms::DropMethod;

/// What makes a step of `raw` differ from the recorded one in more than its images and learning
/// rate; nothing where a recording does.
pub fn graph_obstacle(raw: &RawRecipe) -> Option<String> {
    let methods = &raw.algorithms;
    let drops_blocks =
        methods.stochastic_depth.as_ref().is_some_and(|drop| drop.method == DropMethod::Block);
    let drawn_anew = [
        ("algorithms.selective_backprop", methods.selective_backprop.is_some()),
        ("algorithms.colout", methods.colout.is_some()),
        ("algorithms.cutout", methods.cutout.is_some()),
        ("algorithms.mixup", methods.mixup.is_some()),
        ("algorithms.cutmix", methods.cutmix.is_some()),
        ("algorithms.sam", methods.sam.is_some()),
        ("algorithms.stochastic_depth with method \"block\"", drops_blocks),
    ];
    if let Some((name, _)) = drawn_anew.into_iter().find(|(_, is_on)| *is_on) {
        return Some(format!("{name} makes every step another one; remove its table"));
    }
    let others = raw.optimizer.others.as_deref();
    let dampened =
        [Some(&raw.optimizer), others].into_iter().flatten().find(|o| o.dampening != 0.0);
    dampened.map(|optimizer| {
        format!(
            "optimizer.dampening ({}) makes the first step another one; set it to 0",
            optimizer.dampening
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{built_in_names, find, load};

    fn obstacle(text: &str) -> Option<String> {
        graph_obstacle(&toml::from_str(text).unwrap())
    }

    #[test]
    fn the_published_recipes_can_be_captured() {
        for name in built_in_names() {
            let raw = load(&find(name).unwrap(), &[]).unwrap();
            assert_eq!(graph_obstacle(&raw), None, "{name}");
        }
    }

    #[test]
    fn what_changes_from_step_to_step_is_named() {
        for text in [
            "[algorithms.mixup]",
            "[algorithms.cutmix]",
            "[algorithms.cutout]",
            "[algorithms.colout]",
            "[algorithms.sam]",
            "[algorithms.selective_backprop]",
        ] {
            let told = obstacle(text).expect(text);
            assert!(told.contains(text.trim_matches(['[', ']'])), "{told}");
        }
        assert_eq!(obstacle("[algorithms.stochastic_depth]"), None, "its numbers are the device's");
        let told = obstacle("[algorithms.stochastic_depth]\nmethod = \"block\"").unwrap();
        assert!(told.contains("stochastic_depth"), "{told}");
        let told = obstacle("[optimizer]\ndampening = 0.5").unwrap();
        assert!(told.contains("dampening (0.5)"), "{told}");
    }
}
