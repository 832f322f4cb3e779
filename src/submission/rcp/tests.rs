//! The convergence test against the reference's own figures.

use super::*;
use crate::compliance::Ruleset;

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-4
}

fn runs(batch_size: f64, epochs: &[f64]) -> Vec<RunConvergence> {
    let run = |epochs: &f64| RunConvergence {
        batch_size: Some(batch_size),
        length: epochs.is_finite().then_some(*epochs),
    };
    epochs.iter().map(run).collect()
}

/// Published means, standard deviations and lowest epochs (`rcp_checker`'s own output).
#[test]
fn points_have_the_published_statistics() {
    assert_eq!(RcpTable::of("resnet", Ruleset::V0_7_0), None);
    let table = RcpTable::of("resnet", Ruleset::V4_0_0).unwrap();
    for (batch_size, mean, stdev, min) in [
        (1632.0, 35.0, 1.084_652, 33.802_342),
        (3264.0, 35.153_846, 0.748_331, 34.309_645),
        (2048.0, 35.039_216, 0.998_923, 33.858_261),
        (3200.0, 35.147_813, 0.761_521, 34.247_578),
    ] {
        let (_, found) = table.find(batch_size).unwrap();
        assert!(close(found.mean, mean), "{found:?}");
        assert!(close(found.stdev, stdev), "{found:?}");
        assert!(close(found.min, min), "{found:?}");
    }
}

#[test]
fn each_round_keeps_its_points() {
    let kept = |ruleset| -> Vec<f64> {
        let table = RcpTable::of("resnet", ruleset).unwrap();
        let kept = table.points.iter().filter(|point| !point.pruned);
        kept.map(|point| point.convergence.batch_size).collect()
    };
    let small = [1632.0, 3264.0, 32_768.0];
    assert_eq!(kept(Ruleset::V1_0_0), [&small[..], &[65_536.0]].concat());
    assert_eq!(kept(Ruleset::V1_1_0), [&small[..], &[49_152.0, 65_536.0]].concat());
    for ruleset in [Ruleset::V2_0_0, Ruleset::V2_1_0, Ruleset::V3_0_0, Ruleset::V4_0_0] {
        assert_eq!(kept(ruleset), [&small[..], &[49_152.0, 67_840.0]].concat());
    }
}

#[test]
fn fewer_epochs_than_the_mean_scale_and_far_fewer_fail() {
    let table = RcpTable::of("resnet", Ruleset::V4_0_0).unwrap();
    let check = |epochs: &[f64]| table.check(&runs(3264.0, epochs)).unwrap();
    let scaled = check(&[35.0; 5]);
    assert!(scaled.passed && close(scaled.scaling, 35.153_846 / 35.0), "{scaled:?}");
    let slow = check(&[36.0, 36.0, 35.0, 36.0, f64::INFINITY]);
    assert!(slow.passed && close(slow.scaling, 1.0) && close(slow.mean, 36.0));
    let fast = check(&[33.0; 5]);
    assert!(!fast.passed && close(fast.scaling, 1.0), "{fast:?}");
}

#[test]
fn batch_sizes_outside_the_points_are_distinguished() {
    let table = RcpTable::of("resnet", Ruleset::V4_0_0).unwrap();
    let below = table.check(&runs(1536.0, &[35.0; 5])).unwrap();
    assert_eq!((below.basis, below.passed), (Basis::Smallest, true));
    assert!(close(below.reference.batch_size, 1632.0));
    let above = table.check(&runs(70_000.0, &[90.0; 5])).unwrap_err();
    assert!(above.to_string().contains("70000 is above 67840"), "{above}");
}

#[test]
fn an_impossible_test_has_a_reason() {
    let table = RcpTable::of("resnet", Ruleset::V4_0_0).unwrap();
    let mut differing = runs(3264.0, &[35.0; 5]);
    differing[3].batch_size = Some(3200.0);
    assert_eq!(table.check(&differing), Err(RcpObstacle::BatchSizesDiffer(3264.0, 3200.0)));
    differing[0].batch_size = None;
    assert_eq!(table.check(&differing), Err(RcpObstacle::NoBatchSize));
    assert_eq!(table.check(&[]), Err(RcpObstacle::NoBatchSize));
    let failed = runs(3264.0, &[35.0, f64::INFINITY, 35.0, f64::INFINITY, 35.0]);
    let error = table.check(&failed).unwrap_err();
    assert!(error.to_string().starts_with("insufficient convergence: 3 of 5"), "{error}");
}
