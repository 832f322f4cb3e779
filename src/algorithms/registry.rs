//! The table of methods. A line here makes the field of [`AlgorithmsConfig`], the place in the
//! order in which methods act, and the construction.

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::json;

#[cfg(feature = "torch")]
use super::algorithm::{Algorithms, MethodContext};
use super::method::{ImageSizes, Method};
#[cfg(feature = "torch")]
use crate::libtorch::BridgeError;
use crate::{data::DataConfig, model::ModelSpec, problems::Problems};

macro_rules! methods {
    ($($name:ident: $config:ident,)*) => {
        $(pub use super::$name::$config;)*

        /// `[algorithms]`: the methods that are on, in the order in which they act.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        #[schemars(transform = allow_switches)]
        pub struct AlgorithmsConfig {
            $(
                #[doc = concat!(
                    "`[algorithms.", stringify!($name), "]`, see docs/methods/", stringify!($name), ".md"
                )]
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $name: Option<$config>,
            )*
        }

        impl AlgorithmsConfig {
            /// The methods that are on, each with its name, in the order in which they act.
            pub fn methods(&self) -> impl Iterator<Item = (&'static str, &dyn Method)> {
                let all = [$((stringify!($name), self.$name.as_ref().map(|m| m as &dyn Method)),)*];
                all.into_iter().filter_map(|(name, method)| Some((name, method?)))
            }

            /// The methods that act during training, in their first state.
            #[cfg(feature = "torch")]
            pub fn start(&self, context: &MethodContext) -> Result<Algorithms, BridgeError> {
                let mut started = Vec::new();
                $(if let Some(method) = &self.$name {
                    started.extend(method.start(context)?);
                })*
                Ok(Algorithms::new(started))
            }
        }
    };
}

methods! {
    channels_last: ChannelsLast,
    blurpool: BlurPool,
    squeeze_excite: SqueezeExcite,
    ghost_batch_norm: GhostBatchNorm,
    stochastic_depth: StochasticDepth,
    layer_freezing: LayerFreezing,
    label_smoothing: LabelSmoothing,
    fixres: FixRes,
    progressive_resizing: ProgressiveResizing,
    resolution: Resolution,
    alternating_flip: AlternatingFlip,
    randaugment: RandAugment,
    selective_backprop: SelectiveBackprop,
    colout: ColOut,
    cutout: Cutout,
    mixup: MixUp,
    cutmix: CutMix,
    sam: Sam,
    gradient_clipping: GradientClipping,
    ema: Ema,
    swa: Swa,
}

/// In a recipe, a switch may stand for the table of a method.
fn allow_switches(schema: &mut Schema) {
    let switch = json!({
        "type": "boolean",
        "description": "`true`: the method with its defaults. `false`: without the method, which the \
                        recipe that this one extends has.",
    });
    let methods = schema.get_mut("properties").and_then(|methods| methods.as_object_mut());
    for method in methods.into_iter().flat_map(|methods| methods.values_mut()) {
        if let Some(choices) = method["anyOf"].as_array_mut() {
            choices.push(switch.clone());
        }
    }
}

impl AlgorithmsConfig {
    /// Adds the problems of each method, and of methods that exclude each other.
    pub fn check(&self, data: &DataConfig, problems: &mut Problems) {
        self.methods().for_each(|(_, method)| method.check(data, problems));
        if self.resolution.is_some() && self.progressive_resizing.is_some() {
            problems.add(
                "algorithms.resolution and algorithms.progressive_resizing both set the image \
                 size of each epoch; remove one of the tables",
            );
        }
        if self.swa.is_some() && self.ema.is_some() {
            problems.add(
                "algorithms.swa and algorithms.ema both set the weights to evaluate; remove one \
                 of the tables",
            );
        }
    }

    /// See [`Method::check_model`].
    pub fn check_model(&self, spec: &ModelSpec, problems: &mut Problems) {
        self.methods().for_each(|(_, method)| method.check_model(spec, problems));
    }

    /// What the closed division forbids, as keys.
    pub fn open_only(&self) -> impl Iterator<Item = String> {
        self.methods().filter_map(|(name, method)| {
            Some(format!("algorithms.{name}{}", method.closed_obstacle()?))
        })
    }

    /// Why the steps cannot be captured once and replayed; `None` where they can.
    pub fn graph_obstacle(&self) -> Option<String> {
        self.methods().find_map(|(name, method)| {
            Some(format!("algorithms.{name} {}; remove its table", method.graph_obstacle()?))
        })
    }

    /// Sets what the loader makes of an image.
    pub fn change_data(&self, data: &mut DataConfig) {
        self.methods().for_each(|(_, method)| method.change_data(data));
    }

    /// Changes the plan of the network.
    pub fn change_model(&self, spec: &mut ModelSpec) {
        self.methods().for_each(|(_, method)| method.change_model(spec));
    }

    /// Image sizes by epoch: `crop_sizes` where no method sets them.
    pub fn image_sizes(&self, crop_sizes: Vec<usize>) -> ImageSizes {
        let set = self
            .methods()
            .find_map(|(_, method)| method.image_sizes(*crop_sizes.first()?, crop_sizes.len()));
        set.unwrap_or_else(|| ImageSizes { loaded: crop_sizes.clone(), trained: crop_sizes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn obstacle(method: &str) -> Option<String> {
        toml::from_str::<AlgorithmsConfig>(method).unwrap().graph_obstacle()
    }

    #[test]
    fn what_changes_from_step_to_step_is_named() {
        for name in ["mixup", "cutmix", "cutout", "colout", "sam", "selective_backprop"] {
            let message = obstacle(&format!("[{name}]")).expect(name);
            assert!(message.starts_with(&format!("algorithms.{name} ")), "{message}");
        }
        assert_eq!(obstacle("[stochastic_depth]"), None, "the device draws its numbers");
        let message = obstacle("[stochastic_depth]\nmethod = \"block\"").unwrap();
        assert!(message.starts_with("algorithms.stochastic_depth with method"), "{message}");
    }

    #[test]
    fn methods_act_in_the_order_of_the_table() {
        let text = "[ema]\n[cutmix]\n[progressive_resizing]\n[sam]\n[mixup]";
        let config: AlgorithmsConfig = toml::from_str(text).unwrap();
        let names: Vec<&str> = config.methods().map(|(name, _)| name).collect();
        assert_eq!(names, ["progressive_resizing", "mixup", "cutmix", "sam", "ema"]);
    }
}
