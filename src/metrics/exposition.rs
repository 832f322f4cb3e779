//! Metrics as Prometheus' text (exposition format 0.0.4).

use std::fmt::Write as _;

use super::Sample;

/// The text of the last sample of each kind. `labels` name the run.
pub fn exposition(samples: &[Sample], labels: &[(&str, &str)]) -> String {
    let labels: Vec<_> =
        labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    let labels = labels.join(",");
    let mut text = String::new();
    let mut put = |name: &str, help: &str, value: f64| {
        writeln!(
            text,
            "# HELP mlperf_run_{name} {help}\n# TYPE mlperf_run_{name} gauge\n\
             mlperf_run_{name}{{{labels}}} {value}"
        )
        .expect("writing to a string succeeds");
    };
    if let Some(last) = samples.iter().max_by_key(|sample| sample.step) {
        put("step", "Steps since the start of training", last.step as f64);
        put("epoch", "Epoch, from 1", last.epoch as f64);
        put("samples", "Training images since the start of training", last.samples as f64);
    }
    // Of a value that several kinds have, the earlier kind's is the more recent.
    let mut seen: Vec<&str> = Vec::new();
    for sample in samples {
        for (name, help, value) in sample.values() {
            if !seen.contains(&name) {
                seen.push(name);
                put(name, help, value);
            }
        }
    }
    text
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::{
        super::sample::{Kind, Values},
        *,
    };

    fn sample(kind: Kind, step: usize, values: Values) -> Sample {
        Sample { kind, step, epoch: 1, minutes: None, samples: 64 * step, values, status: None }
    }

    #[test]
    fn every_value_occurs_once_with_its_help_and_labels() {
        let loss = |loss| Values { loss: Some(loss), ..Values::default() };
        let samples = [
            sample(Kind::Steps, 7, loss(2.5)),
            sample(Kind::Epoch, 5, loss(3.5)),
            sample(Kind::Evaluation, 5, Values { accuracy: Some(0.5), ..Values::default() }),
        ];
        let text = exposition(&samples, &[("recipe", "my \"own\"")]);
        assert!(text.contains(
            "# TYPE mlperf_run_loss gauge\nmlperf_run_loss{recipe=\"my \\\"own\\\"\"} 2.5\n"
        ));
        assert_eq!(text.matches("# HELP mlperf_run_loss ").count(), 1, "{text}");
        assert!(text.contains("mlperf_run_step{recipe=\"my \\\"own\\\"\"} 7\n"), "{text}");
        assert!(text.contains("mlperf_run_accuracy{"), "{text}");
        assert!(text.lines().all(|line| line.starts_with("# ") || line.contains("} ")), "{text}");
    }

    #[test]
    fn no_samples_are_no_text() {
        assert_eq!(exposition(&[], &[("seed", "1")]), "");
    }
}
