//! Results of an evaluation of given weights and of predictions: lines of JSON from a rank.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Images evaluated so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalProgress {
    /// Images evaluated.
    pub num_done: usize,
    /// Images to evaluate.
    pub num_all: usize,
}

/// How a network classified the images of a data set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// Classes of the network.
    pub num_classes: usize,
    /// Their names, in the order of the outputs.
    pub class_names: Vec<String>,
    /// Nonzero counts of the confusion matrix: true class, predicted class, images.
    pub confusion: Vec<(usize, usize, u64)>,
    /// Images whose class is among the five with the largest logits.
    pub num_in_top5: u64,
    /// Images that could not be decoded and were left out.
    pub num_left_out: usize,
}

/// What became of the images of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassCounts {
    /// Images of the class.
    pub num_images: u64,
    /// Those that were predicted to be of the class.
    pub num_right: u64,
    /// Images of any class that were predicted to be of this one.
    pub num_predicted: u64,
}

impl ClassCounts {
    /// The fraction of the class's images that were recognized; absent for a class without images.
    pub fn recall(&self) -> Option<f64> {
        ratio(self.num_right, self.num_images)
    }

    /// The fraction of the predictions of this class that were right; absent if there were none.
    pub fn precision(&self) -> Option<f64> {
        ratio(self.num_right, self.num_predicted)
    }
}

impl Evaluation {
    /// Evaluated images.
    pub fn num_images(&self) -> u64 {
        self.confusion.iter().map(|(.., num)| num).sum()
    }

    /// Fraction of the images whose class has the largest logit.
    pub fn top1(&self) -> Option<f64> {
        let right = self.confusion.iter().filter(|(class, predicted, _)| class == predicted);
        ratio(right.map(|(.., num)| num).sum(), self.num_images())
    }

    /// Fraction of the images whose class is among the five with the largest logits.
    pub fn top5(&self) -> Option<f64> {
        ratio(self.num_in_top5, self.num_images())
    }

    /// Counts by class.
    pub fn by_class(&self) -> Vec<ClassCounts> {
        let mut counts = vec![ClassCounts::default(); self.num_classes];
        for &(class, predicted, num) in &self.confusion {
            counts[class].num_images += num;
            counts[predicted].num_predicted += num;
            if class == predicted {
                counts[class].num_right += num;
            }
        }
        counts
    }

    /// The confusions of two classes, the most frequent first.
    pub fn mistakes(&self) -> Vec<(usize, usize, u64)> {
        let wrong = self.confusion.iter().filter(|(class, predicted, _)| class != predicted);
        let mut wrong: Vec<_> = wrong.copied().collect();
        wrong.sort_by_key(|&(class, predicted, num)| (std::cmp::Reverse(num), class, predicted));
        wrong
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// What a network sees in an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prediction {
    /// The image.
    pub path: PathBuf,
    /// Classes and their probabilities (softmax), the most probable first; empty if the image cannot be
    /// read.
    pub classes: Vec<(usize, f64)>,
    /// Why the image cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_mistakes_follow_from_the_confusion_matrix() {
        let confusion = vec![(0, 0, 3), (0, 1, 1), (1, 1, 2), (2, 0, 4)];
        let evaluation = Evaluation {
            num_classes: 4,
            class_names: Vec::new(),
            confusion,
            num_in_top5: 10,
            num_left_out: 0,
        };
        assert_eq!((evaluation.top1(), evaluation.top5()), (Some(0.5), Some(1.0)));
        let by_class = evaluation.by_class();
        assert_eq!((by_class[0].recall(), by_class[0].precision()), (Some(0.75), Some(3.0 / 7.0)));
        assert_eq!((by_class[2].recall(), by_class[2].precision()), (Some(0.0), None));
        assert_eq!((by_class[3].recall(), by_class[3].precision()), (None, None));
        assert_eq!(evaluation.mistakes(), [(2, 0, 4), (0, 1, 1)]);
        let none = Evaluation { confusion: vec![], num_in_top5: 0, ..evaluation };
        assert_eq!((none.top1(), none.top5()), (None, None));
    }
}
