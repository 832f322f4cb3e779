//! What is known about each epoch of a run, from its log, its events and its recipe.

use std::collections::BTreeMap;

use crate::{
    compliance::Report,
    events::{RankEvent, Spent},
    recipe::Plan,
};

/// One epoch. Absent values were not recorded.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct EpochFigures {
    /// Its number, from 1.
    pub(super) epoch: usize,
    /// Minutes from `run_start` to its end.
    pub(super) minutes: Option<f64>,
    /// Its length without the evaluation, seconds.
    pub(super) seconds: Option<f64>,
    /// Images per second over all ranks, without the evaluation.
    pub(super) images_per_s: Option<f64>,
    /// Size of the training images, px.
    pub(super) image_size: Option<usize>,
    /// Learning rate of the first and of the last step.
    pub(super) learning_rate: Option<[f64; 2]>,
    /// Mean training loss on rank 0.
    pub(super) loss: Option<f64>,
    /// Fraction of its time in which rank 0 waited for data.
    pub(super) data_wait: Option<f64>,
    /// How rank 0 spent its time.
    pub(super) time: Option<Spent>,
}

/// One evaluation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct EvalPoint {
    /// The epoch before it.
    pub(super) epoch: f64,
    /// Minutes from `run_start`, where the log has them.
    pub(super) minutes: Option<f64>,
    /// Top-1 accuracy, 0 to 1.
    pub(super) accuracy: f64,
}

/// The epochs of a run, by number.
pub(super) fn epochs(
    report: Option<&Report>,
    events: &[RankEvent],
    plan: Option<&Plan>,
) -> Vec<EpochFigures> {
    let mut epochs: BTreeMap<usize, EpochFigures> = BTreeMap::new();
    let num_train = report.and_then(|report| report.settings.num_train());
    let spans = || report.iter().flat_map(|report| &report.epochs);
    // Some programs count from 0.
    let first = usize::from(spans().any(|span| span.epoch < 1.0));
    for span in spans() {
        let number = (span.epoch.max(0.0) as usize).saturating_add(first);
        let epoch = epochs.entry(number).or_default();
        epoch.minutes = minutes(report, span.stop_ms);
        epoch.seconds = Some(span.seconds());
        epoch.images_per_s = num_train.map(|num| num / span.seconds()).filter(|it| it.is_finite());
    }
    for event in events {
        let RankEvent::EpochStop {
            epoch,
            loss,
            train_s,
            images_per_s,
            data_wait,
            time,
            image_size,
        } = event
        else {
            continue;
        };
        let epoch = epochs.entry(*epoch).or_default();
        epoch.seconds = Some(*train_s);
        epoch.images_per_s = Some(*images_per_s);
        epoch.image_size = Some(*image_size);
        epoch.loss = Some(*loss).filter(|loss| loss.is_finite());
        epoch.data_wait = Some(*data_wait);
        epoch.time = Some(*time);
    }
    for row in plan.iter().flat_map(|plan| &plan.rows) {
        if let Some(epoch) = epochs.get_mut(&row.epoch) {
            epoch.learning_rate = Some([row.lr_first, row.lr_last]);
            epoch.image_size.get_or_insert(row.image_size);
        }
    }
    let numbered = |(epoch, figures)| EpochFigures { epoch, ..figures };
    epochs.into_iter().map(numbered).collect()
}

/// The accuracies of a run: those of its log, otherwise those of its events.
pub(super) fn curve(report: Option<&Report>, events: &[RankEvent]) -> Vec<EvalPoint> {
    let logged: Vec<_> = report
        .iter()
        .flat_map(|it| &it.curve.points)
        .filter(|point| point.accuracy.is_finite())
        .map(|point| EvalPoint {
            epoch: point.position,
            minutes: minutes(report, point.time_ms),
            accuracy: point.accuracy,
        })
        .collect();
    if !logged.is_empty() {
        return logged;
    }
    let heard = events.iter().filter_map(|event| match event {
        RankEvent::Evaluated { epoch, accuracy, .. } => {
            Some(EvalPoint { epoch: *epoch as f64, minutes: None, accuracy: *accuracy })
        }
        _ => None,
    });
    heard.collect()
}

/// Minutes from the run's start to `time_ms`.
fn minutes(report: Option<&Report>, time_ms: f64) -> Option<f64> {
    let start_ms = report?.start_ms?;
    Some((time_ms - start_ms) / 60_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compliance::{Ruleset, check_bytes};

    const LOG: &str = "\
:::MLLOG {\"time_ms\": 0, \"key\": \"train_samples\", \"value\": 6000, \"metadata\": {}}
:::MLLOG {\"time_ms\": 60000, \"key\": \"run_start\", \"value\": null, \"metadata\": {}}
:::MLLOG {\"time_ms\": 60000, \"key\": \"epoch_start\", \"value\": null, \"metadata\": {\"epoch_num\": 1}}
:::MLLOG {\"time_ms\": 120000, \"key\": \"epoch_stop\", \"value\": null, \"metadata\": {\"epoch_num\": 1}}
:::MLLOG {\"time_ms\": 150000, \"key\": \"eval_accuracy\", \"value\": 0.5, \"metadata\": {\"epoch_num\": 1}}
";

    fn epoch_stop(epoch: usize) -> RankEvent {
        RankEvent::EpochStop {
            epoch,
            loss: 1.5,
            train_s: 59.0,
            images_per_s: 101.0,
            data_wait: 0.25,
            time: Spent::default(),
            image_size: 88,
        }
    }

    #[test]
    fn a_log_alone_gives_times_and_rates() {
        let report = check_bytes(LOG.as_bytes(), Ruleset::V4_0_0);
        let epochs = epochs(Some(&report), &[], None);
        let expected = EpochFigures {
            epoch: 1,
            minutes: Some(1.0),
            seconds: Some(60.0),
            images_per_s: Some(100.0),
            ..EpochFigures::default()
        };
        assert_eq!(epochs, [expected]);
        let point = EvalPoint { epoch: 1.0, minutes: Some(1.5), accuracy: 0.5 };
        assert_eq!(curve(Some(&report), &[]), [point]);
    }

    #[test]
    fn epochs_that_count_from_0_are_numbered_from_1() {
        let log = LOG.replace("\"epoch_num\": 1", "\"epoch_num\": 0");
        let report = check_bytes(log.as_bytes(), Ruleset::V4_0_0);
        assert_eq!(epochs(Some(&report), &[], None)[0].epoch, 1);
    }

    #[test]
    fn events_add_losses_and_sizes_and_measure_more_exactly() {
        let report = check_bytes(LOG.as_bytes(), Ruleset::V4_0_0);
        let epochs = epochs(Some(&report), &[epoch_stop(1), epoch_stop(2)], None);
        assert_eq!(epochs.len(), 2);
        assert_eq!(epochs[0].minutes, Some(1.0));
        assert_eq!((epochs[0].images_per_s, epochs[0].loss), (Some(101.0), Some(1.5)));
        assert_eq!((epochs[1].minutes, epochs[1].image_size), (None, Some(88)));
    }

    #[test]
    fn a_run_without_a_log_has_the_accuracies_of_its_events() {
        let event = RankEvent::Evaluated {
            epoch: 4,
            accuracy: 0.25,
            num_right: 1,
            num_images: 4,
            eval_s: 1.0,
            statistics_s: 0.0,
        };
        let point = EvalPoint { epoch: 4.0, minutes: None, accuracy: 0.25 };
        assert_eq!(curve(None, &[event]), [point]);
    }
}
