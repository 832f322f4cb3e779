//! An evaluation of given weights as a page, JSON and CSV.

use std::{fs, path::Path};

use maud::{Markup, html};
use serde_json::json;

use super::{
    ReportError,
    csv::csv,
    page::{self, Column, optional, table, text},
};
use crate::{
    atomic_file,
    console::{grouped, percent},
    events::{ClassCounts, Evaluation},
};

/// The page in the folder of an evaluation.
pub const EVALUATION_PAGE: &str = "report.html";
/// Confusion matrices of more classes are not drawn: their cells could not be seen.
const MAX_DRAWN: usize = 64;
/// Mistakes in the table of a page.
const NUM_MISTAKES: usize = 50;

/// An evaluation, and what was evaluated.
#[derive(Debug)]
pub struct EvaluatedWeights<'a> {
    /// The file of weights.
    pub weights: &'a Path,
    /// The data set.
    pub data: &'a Path,
    /// The result.
    pub evaluation: &'a Evaluation,
}

impl EvaluatedWeights<'_> {
    /// Classes with images, those with the lowest recall first.
    pub fn worst_classes(&self) -> Vec<(String, ClassCounts)> {
        let named = self.evaluation.class_names.iter().cloned().zip(self.evaluation.by_class());
        let mut worst: Vec<_> = named.filter(|(_, counts)| counts.num_images > 0).collect();
        let recall = |counts: &ClassCounts| counts.recall().unwrap_or(1.0);
        worst.sort_by(|(_, a), (_, b)| recall(a).total_cmp(&recall(b)));
        worst
    }

    /// The evaluation as JSON: accuracies from 0 to 1, counts by class, and the confusions that occurred.
    pub fn to_json(&self) -> String {
        let by_class = self.evaluation.class_names.iter().zip(self.evaluation.by_class()).map(
            |(name, counts)| {
                let ClassCounts { num_images, num_right, num_predicted } = counts;
                json!({ "class": name, "num_images": num_images, "num_right": num_right,
                    "num_predicted": num_predicted, "recall": counts.recall(),
                    "precision": counts.precision() })
            },
        );
        let confusion = self.evaluation.confusion.iter().map(|&(class, predicted, num)| {
            json!({ "class": self.evaluation.class_names[class], "predicted": self.evaluation.class_names[predicted],
                    "num_images": num })
        });
        let all = json!({
            "weights": self.weights, "data": self.data,
            "num_images": self.evaluation.num_images(),
            "num_left_out": self.evaluation.num_left_out,
            "top1": self.evaluation.top1(), "top5": self.evaluation.top5(),
            "classes": by_class.collect::<Vec<_>>(),
            "confusion": confusion.collect::<Vec<_>>(),
        });
        serde_json::to_string_pretty(&all).expect("numbers and text are JSON")
    }

    /// `classes.csv` and `confusion.csv`.
    fn tables(&self) -> std::io::Result<[(&'static str, String); 2]> {
        let share = |value: Option<f64>| value.map(|it| it.to_string()).unwrap_or_default();
        let head = ["class", "num_images", "num_right", "num_predicted", "recall", "precision"];
        let mut of_classes = vec![head.map(str::to_owned).to_vec()];
        of_classes.extend(self.evaluation.class_names.iter().zip(self.evaluation.by_class()).map(
            |(name, it)| {
                let counts =
                    [it.num_images, it.num_right, it.num_predicted].map(|num| num.to_string());
                let shares = [share(it.recall()), share(it.precision())];
                [vec![name.clone()], counts.to_vec(), shares.to_vec()].concat()
            },
        ));
        let mut confusion = vec![["class", "predicted", "num_images"].map(str::to_owned).to_vec()];
        confusion.extend(self.evaluation.confusion.iter().map(|&(class, predicted, num)| {
            vec![
                self.evaluation.class_names[class].clone(),
                self.evaluation.class_names[predicted].clone(),
                num.to_string(),
            ]
        }));
        Ok([("classes.csv", csv(&of_classes)?), ("confusion.csv", csv(&confusion)?)])
    }

    /// The page as HTML.
    fn page(&self) -> String {
        let share = |value: Option<f64>| optional(value, |it| percent(it, 2));
        let evaluation = self.evaluation;
        let title = format!("Evaluation of {}", self.weights.display());
        let body = html! {
            header {
                h1 { (title) }
                p.soft { "On the validation images of " (self.data.display()) "." }
                dl.figures {
                    div { dt { "top-1" } dd { (share(evaluation.top1())) } }
                    div { dt { "top-5" } dd { (share(evaluation.top5())) } }
                    div { dt { "images" } dd { (grouped(evaluation.num_images() as f64)) } }
                    div { dt { "classes" } dd { (self.evaluation.class_names.len()) } }
                    @if evaluation.num_left_out > 0 {
                        div { dt { "unreadable images" } dd { (evaluation.num_left_out) } }
                    }
                }
            }
            main {
                @if self.evaluation.class_names.len() <= MAX_DRAWN {
                    section {
                        h2 { "Confusion matrix" }
                        (matrix(&self.evaluation.class_names, evaluation))
                    }
                }
                (self.mistakes())
                (self.class_table())
            }
        };
        page::document(&title, &body)
    }

    fn mistakes(&self) -> Markup {
        let mistakes = self.evaluation.mistakes();
        let num = mistakes.len().min(NUM_MISTAKES);
        let columns =
            [Column::words("class"), Column::words("taken for"), Column::numbers("images")];
        let rows: Vec<_> = mistakes[..num]
            .iter()
            .map(|&(class, predicted, num)| {
                vec![
                    text(&self.evaluation.class_names[class]),
                    text(&self.evaluation.class_names[predicted]),
                    text(num.to_string()),
                ]
            })
            .collect();
        html! {
            section {
                h2 { "Mistakes" }
                @if rows.is_empty() { p { "All images were recognized." } } @else {
                    @if mistakes.len() > num {
                        p { "The " (num) " most frequent of " (mistakes.len()) " pairs of classes." }
                    }
                    (table("Mistakes", &columns, &rows, &[]))
                }
            }
        }
    }

    fn class_table(&self) -> Markup {
        let columns = [
            Column::words("class"),
            Column::numbers("images"),
            Column::numbers("recall"),
            Column::numbers("precision"),
        ];
        let share = |value: Option<f64>| text(optional(value, |it| percent(it, 2)));
        let row = |(name, counts): (String, ClassCounts)| {
            let num_images = text(counts.num_images.to_string());
            vec![text(name), num_images, share(counts.recall()), share(counts.precision())]
        };
        let rows: Vec<_> = self.worst_classes().into_iter().map(row).collect();
        html! {
            section {
                h2 { "Classes" }
                p {
                    "Those with the lowest recall first. Recall: the share of a class's images that were \
                     recognized. Precision: the share of the predictions of a class that were right."
                }
                (table("Classes", &columns, &rows, &[]))
            }
        }
    }
}

/// A table whose cells are shaded by the share of their row.
fn matrix(classes: &[String], evaluation: &Evaluation) -> Markup {
    let mut counts = vec![vec![0; classes.len()]; classes.len()];
    for &(class, predicted, num) in &evaluation.confusion {
        counts[class][predicted] = num;
    }
    html! {
        p { "Rows are classes, columns are predictions. The shade is the share of the row." }
        div.scroll role="region" tabindex="0" aria-label="Confusion matrix" {
            table.matrix {
                thead { tr {
                    th scope="col" { "class" }
                    @for name in classes { th scope="col" { span { (name) } } }
                } }
                tbody {
                    @for (class, row) in counts.iter().enumerate() {
                        tr {
                            th scope="row" { (classes[class]) }
                            @for (predicted, num) in row.iter().enumerate() {
                                (cell(*num, row.iter().sum(), if class == predicted { "right" } else { "wrong" }))
                            }
                        }
                    }
                }
            }
        }
    }
}

fn cell(num: u64, sum: u64, class: &str) -> Markup {
    let share = if sum == 0 { 0.0 } else { num as f64 / sum as f64 };
    html! {
        td class=(class) style=(format!("--share: {share:.2}")) { @if num > 0 { (num) } }
    }
}

/// Creates the folder of a report.
pub fn create_folder(folder: &Path) -> Result<(), ReportError> {
    fs::create_dir_all(folder)
        .map_err(|source| ReportError::Write { path: folder.to_owned(), source })
}

/// Writes [`EVALUATION_PAGE`], `evaluation.json`, `classes.csv` and `confusion.csv` into `folder`.
pub fn write_evaluation(evaluated: &EvaluatedWeights, folder: &Path) -> Result<(), ReportError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ReportError::Write { path, source }
    };
    let [classes, confusion] = evaluated.tables().map_err(failed(folder))?;
    let page = (EVALUATION_PAGE, evaluated.page());
    let json = ("evaluation.json", evaluated.to_json());
    for (name, text) in [page, json, classes, confusion] {
        let path = folder.join(name);
        atomic_file::write(&path, text.as_bytes()).map_err(failed(&path))?;
    }
    Ok(())
}
