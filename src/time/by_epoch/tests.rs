//! Values by epoch: what a recipe may write, and what comes of it.

use super::*;

const RUN: RunLength = RunLength { steps_per_epoch: 10, num_epochs: 10, batch_size: 8 };

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound = "T: Serialize + DeserializeOwned")]
struct File<T> {
    key: ByEpoch<T>,
}

fn parsed<T: Serialize + DeserializeOwned>(text: &str) -> ByEpoch<T> {
    toml::from_str::<File<T>>(&format!("key = {text}")).unwrap().key
}

/// Values by epoch, and problems.
fn resolved<T: Ramp + Serialize + DeserializeOwned>(
    text: &str,
    ratio: f64,
) -> (Vec<T>, Vec<String>) {
    let (value, mut problems) = (parsed::<T>(text), Problems::default());
    value.check("key", &mut problems, |_, _, _| ());
    let values = value.by_epoch("key", (&RUN, ratio), &mut problems);
    (values, problems.into_vec())
}

#[test]
fn one_value_holds_throughout() {
    assert_eq!(resolved::<usize>("96", 1.0), (vec![96; 10], vec![]));
    assert_eq!(resolved::<[f64; 2]>("[0.08, 1]", 1.0), (vec![[0.08, 1.0]; 10], vec![]));
}

#[test]
fn parts_hold_until_their_end_and_the_last_one_to_the_end() {
    let text =
        "[{ until = \"3ep\", value = 96 }, { until = \"0.8dur\", value = 128 }, { value = 224 }]";
    let sizes = [[96; 3].as_slice(), &[128; 5], &[224; 2]].concat();
    assert_eq!(resolved::<usize>(text, 1.0), (sizes, vec![]));
    let text = "[{ until = \"9ep\", value = [0.1, 1] }, { until = \"10ep\", value = [0.5, 1] }]";
    let scales = [[[0.1, 1.0]; 9].as_slice(), &[[0.5, 1.0]]].concat();
    assert_eq!(resolved::<[f64; 2]>(text, 1.0), (scales, vec![]));
}

#[test]
fn times_shrink_with_the_run() {
    let (sizes, problems) =
        resolved::<usize>("[{ until = \"6ep\", value = 1 }, { value = 2 }]", 0.5);
    assert_eq!((sizes, problems), ([[1; 3].as_slice(), &[2; 7]].concat(), vec![]));
}

#[test]
fn a_ramp_has_both_ends_and_sizes_are_multiples() {
    let text = "[{ until = \"2ep\", value = 88 }, { until = \"7ep\", from = 88, to = 128, multiple_of = 8 }, { value = 160 }]";
    let (sizes, problems) = resolved::<usize>(text, 1.0);
    assert_eq!((sizes, problems), (vec![88, 88, 88, 96, 112, 120, 128, 160, 160, 160], vec![]));
    let (momenta, problems) = resolved::<f64>("{ from = 0.9, to = 0.99 }", 1.0);
    assert_eq!(problems, Vec::<String>::new());
    assert!((momenta[0] - 0.9).abs() < 1e-12 && (momenta[9] - 0.99).abs() < 1e-12);
    assert!((momenta[5] - 0.95).abs() < 1e-12, "{momenta:?}");
}

#[test]
fn within_an_epoch_a_ramp_moves_step_by_step() {
    let rates = parsed::<f64>("[{ until = \"2ep\", from = 0, to = 2 }, { from = 2, to = 0 }]");
    let spans = rates.spans("lr", (&RUN, 1.0), &mut Problems::default());
    for (step, lr) in [(0, 0.0), (5, 0.5), (20, 2.0), (60, 1.0), (100, 0.0), (1000, 0.0)] {
        let found = Span::of_step(&spans, step).unwrap();
        assert!((found - lr).abs() < 1e-12, "{step}: {found}");
    }
    assert!((rates.peak() - 2.0).abs() < 1e-12);
}

#[test]
fn what_is_written_is_read_again() {
    for text in ["0.5", "[{ until = \"3ep\", value = 0.1 }, { from = 0.1, to = 0.5 }]"] {
        let file = File { key: parsed::<f64>(text) };
        assert_eq!(toml::from_str::<File<f64>>(&toml::to_string(&file).unwrap()).unwrap(), file);
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_the_cure() {
    for (text, said) in [
        ("[]", "an empty list; write one value"),
        ("[{ value = 1 }, { value = 2 }]", "part 1 of 2 has no until"),
        ("[{ until = \"3ep\" }, { value = 2 }]", "part 1 must have either value, or both"),
        ("[{ value = 1, to = 2 }]", "part 1 must have either value, or both"),
        ("[{ from = 8, to = 8 }]", "a ramp from 8 to 8; write value = 8"),
        ("[{ from = 12, to = 16 }]", "from (12) is not a multiple of multiple_of (8); change"),
        ("[{ from = 8, to = 16, multiple_of = 0 }]", "multiple_of (0) must be 1 or more"),
        ("[{ value = 8, multiple_of = 8 }]", "is for ramps of image sizes; remove it"),
        (
            "[{ until = \"5ep\", value = 1 }, { until = \"3ep\", value = 2 }, { value = 3 }]",
            "until (\"3ep\") of part 2 is not after that of the part before (\"5ep\"); sort",
        ),
        (
            "[{ until = \"5ep\", value = 1 }, { until = \"5ep\", value = 2 }, { value = 3 }]",
            "until (\"5ep\") of part 2 is not after",
        ),
        (
            "[{ until = \"0ep\", value = 1 }, { value = 2 }]",
            "until (\"0ep\") of part 1 is no step; raise",
        ),
        (
            "[{ until = \"3ep\", value = 1 }, { until = \"9ep\", value = 2 }]",
            "the last until (\"9ep\") is before the end of the run (10 epochs of 10 steps); raise it",
        ),
        (
            "[{ until = \"21ba\", value = 1 }, { until = \"29ba\", value = 2 }, { value = 3 }]",
            "no epoch begins between steps 21 and 29",
        ),
        (
            "[{ until = \"2ep\", value = 8 }, { until = \"3ep\", from = 8, to = 16 }, { value = 16 }]",
            "the ramp from 8 to 16 is one epoch long; write its value",
        ),
    ] {
        let (_, problems) = resolved::<usize>(text, 1.0);
        assert!(
            problems.iter().any(|p| p.starts_with("key") && p.contains(said)),
            "{text}: {problems:?}"
        );
    }
    let (_, problems) = resolved::<f64>("[{ from = 0.1, to = 0.2, multiple_of = 8 }]", 1.0);
    assert!(problems[0].contains("is for ramps of image sizes; remove it"), "{problems:?}");
}

#[test]
fn a_misspelt_part_says_what_it_takes() {
    for (text, said) in [
        ("[{ until = \"3ep\", vaule = 1 }, { value = 2 }]", "part 1: unknown field `vaule`"),
        ("[{ until = \"3 epochs\", value = 1 }, { value = 2 }]", "'3 epochs' is no length of time"),
        (
            "[{ until = \"3ep\", value = \"x\" }, { value = 2 }]",
            "part 1: invalid type: string \"x\"",
        ),
        ("\"x\"", "invalid type: string \"x\", expected f64"),
    ] {
        let error = toml::from_str::<File<f64>>(&format!("key = {text}")).unwrap_err();
        assert!(error.message().contains(said), "{text}: {error}");
    }
}
