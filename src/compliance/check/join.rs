//! Joins the records of several metrics of one evaluation into one record.

use std::collections::BTreeMap;

use super::super::parse::Record;
use super::super::rules::{Join, TargetPart};
use super::super::settings::hashed;
use super::super::value::Value;

/// The metrics of every evaluation, by the value that its records share.
#[derive(Default)]
pub(in super::super) struct Joined {
    evaluations: BTreeMap<String, BTreeMap<String, Value>>,
    last_line: usize,
}

impl Joined {
    /// Adds a record if it names a metric. An error says what its metadata lacks; the reference ends
    /// in a traceback there.
    pub(in super::super) fn add(&mut self, join: &Join, record: &Record) -> Result<(), String> {
        let by = join.by.as_str();
        let lack = |what: &str| Err(format!("must have {what} in its metadata"));
        match record.metadata.contains("metric") {
            Some(true) => {}
            Some(false) => return Ok(()),
            None => return lack("an object"),
        }
        let Some(metric) = record.metadata.get("metric").filter(|it| hashed(it).is_some()) else {
            return lack("the name of a metric");
        };
        let Some((shared, name)) =
            record.metadata.get(by).and_then(|shared| Some((shared, hashed(shared)?)))
        else {
            return lack(&format!("{by} next to metric"));
        };
        let metrics = self.evaluations.entry(name).or_default();
        metrics.entry(by.into()).or_insert_with(|| shared.clone());
        // No rule asks for a metric whose name is not a string.
        if let Some(metric) = metric.as_str() {
            metrics.insert(metric.into(), record.value.clone());
        }
        self.last_line = record.line;
        Ok(())
    }

    /// The lowest shared value, a number named `by`, at which an evaluation meets `target`.
    pub(in super::super) fn first_reaching(self, target: &[TargetPart], by: &str) -> Option<f64> {
        let evaluations = self.evaluations.into_values().map(Value::Map);
        let reaching = evaluations
            .filter(|metrics| TargetPart::all_met(target, metrics, &|_| None) == Some(true));
        reaching.filter_map(|metrics| metrics.get(by)?.as_f64()).min_by(f64::total_cmp)
    }

    /// The joined records, with `key`.
    pub(super) fn records(self, key: &str) -> impl Iterator<Item = Record> {
        let line = self.last_line;
        self.evaluations.into_values().map(move |metrics| Record {
            line,
            time_ms: 0.0,
            key: key.into(),
            value: Value::Map(metrics),
            metadata: Value::Map(BTreeMap::new()),
            follows_another: false,
        })
    }
}
