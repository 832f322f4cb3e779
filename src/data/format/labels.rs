//! Label files, for archives that hold only images.
//!
//! A line names an image and its class, with a tab, a comma or blanks between them, by name or by its position in the sorted class names
//! (Caffe's `val.txt`). Kaggle's `LOC_val_solution.csv` has the same form. A line of one word is
//! the class of the next image in the order of names. The bare numbers of ILSVRC's development kit
//! are rejected: they follow another class order, which only a MATLAB file contains.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use crate::data::{
    error::DataError,
    format::names::image_stem,
    index::{FileStamp, Index},
};

const NAMES: [&str; 6] = [
    "val_labels.txt",
    "val.txt",
    "ILSVRC2012_validation_synset_labels.txt",
    "imagenet_2012_validation_synset_labels.txt",
    "LOC_val_solution.csv",
    "ILSVRC2012_validation_ground_truth.txt",
];

/// Labels by the name of an image.
pub(in crate::data) struct LabelFile {
    path: PathBuf,
    classes: Vec<String>,
    by_name: HashMap<String, u32>,
    /// Labels of lines without an image name.
    in_order: Vec<u32>,
}

impl LabelFile {
    /// Reads the label file in `root`. `classes` are those of training, sorted.
    pub(in crate::data) fn find(root: &Path, classes: &[String]) -> Result<Self, DataError> {
        let paths = NAMES.iter().map(|name| root.join(name));
        let Some(path) = paths.into_iter().find(|path| path.is_file()) else {
            return Err(DataError::NoLabels(root.to_owned()));
        };
        let text = fs::read_to_string(&path).map_err(|error| DataError::Container {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        // Windows' editors begin a file with a byte order mark.
        let text = text.trim_start_matches('\u{feff}');
        let separator = Separator::of(text);
        let classes = classes.to_vec();
        let mut file = Self { path, classes, by_name: HashMap::new(), in_order: Vec::new() };
        for (number, line) in text.lines().enumerate() {
            file.line(separator.split(line)).map_err(|reason| DataError::BadLabel {
                path: file.path.clone(),
                line: number + 1,
                reason,
            })?;
        }
        Ok(file)
    }

    fn line(&mut self, (first, second): (&str, &str)) -> Result<(), String> {
        match (first, second) {
            ("" | "ImageId", _) => {}
            (name, class) if !class.is_empty() && self.in_order.is_empty() => {
                // Behind the class, Kaggle's file has the boxes of objects.
                let word = class.split([' ', '\t', ',']).next().unwrap_or_default();
                let number = word.parse().ok().filter(|&n: &usize| n < self.classes.len());
                let label = self.label(class).or_else(|| self.label(word));
                let label = label.or(number.map(|number| number as u32));
                let label = label.ok_or_else(|| self.unknown(class))?;
                let known = self.by_name.insert(image_stem(name).to_owned(), label);
                if let Some(other) = known.filter(|&other| other != label) {
                    let [one, other] = [label, other].map(|label| &self.classes[label as usize]);
                    return Err(format!("{name} has class {one} here and {other} before"));
                }
            }
            (class, "") if self.by_name.is_empty() => {
                let label = self.label(class).ok_or_else(|| self.unknown(class))?;
                self.in_order.push(label);
            }
            _ => return Err("some lines name an image and others do not".to_owned()),
        }
        Ok(())
    }

    fn label(&self, class: &str) -> Option<u32> {
        self.classes.iter().position(|known| known == class).map(|label| label as u32)
    }

    fn unknown(&self, class: &str) -> String {
        format!("{class} is not one of the {} classes of the training images", self.classes.len())
    }

    /// Labels every image of `index`.
    pub(in crate::data) fn apply(self, index: &mut Index) -> Result<(), DataError> {
        let mut order: Vec<usize> = (0..index.len()).collect();
        order.sort_by(|&a, &b| index.name(a).cmp(index.name(b)));
        let fault = |reason| DataError::BadLabels { path: self.path.clone(), reason };
        if self.by_name.is_empty() && self.in_order.len() != order.len() {
            let (num_labels, num_images) = (self.in_order.len(), order.len());
            return Err(fault(format!("{num_labels} labels for {num_images} images")));
        }
        for (place, &i) in order.iter().enumerate() {
            let name = String::from_utf8_lossy(index.name(i)).into_owned();
            let label = if self.by_name.is_empty() {
                Some(self.in_order[place])
            } else {
                self.by_name.get(image_stem(&name)).copied()
            };
            index.columns.labels[i] =
                label.ok_or_else(|| fault(format!("there is no label for {name}")))?;
        }
        let stamp = FileStamp::of(&self.path);
        index.stamps.push(stamp.map_err(|error| fault(error.to_string()))?);
        index.classes = self.classes;
        Ok(())
    }
}

/// What is between an image and its class, the same in all lines of a file. With a tab or a comma, both
/// may contain blanks.
#[derive(Clone, Copy)]
enum Separator {
    Tab,
    Comma,
    Blanks,
}

impl Separator {
    fn of(text: &str) -> Self {
        if text.contains('\t') {
            Self::Tab
        } else if text.contains(',') {
            Self::Comma
        } else {
            Self::Blanks
        }
    }

    /// Image and class; one of them is empty where a line has one word.
    fn split(self, line: &str) -> (&str, &str) {
        let line = line.trim();
        let parts = match self {
            Self::Tab => line.split_once('\t'),
            Self::Comma => line.split_once(','),
            Self::Blanks => line.split_once(' '),
        };
        let (first, second) = parts.unwrap_or((line, ""));
        (first.trim(), second.trim())
    }
}
