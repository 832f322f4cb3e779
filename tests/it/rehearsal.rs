//! The published recipes walked whole at tiny scale, and the closed rules kept by a run that learns.

use std::process::{Command, Output};

use mlperf_run::compliance::Ruleset;
use tempfile::TempDir;

use crate::oracle::reference;

fn rehearse(system: &str) -> Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/reproduce/reproduce");
    Command::new(script).args([system, "--rehearse"]).env("OMP_NUM_THREADS", "1").output().unwrap()
}

/// Every epoch, side and evaluation of the real recipes. Sides as the published logs and Composer
/// have them; in the open division any accuracy will do, in the closed one it alone may be at fault.
#[test]
fn the_published_recipes_are_walked_to_their_ends() {
    let image_sizes = "12 x 88, 1 x 96, 1 x 104, 1 x 112, 1 x 116, 1 x 124, 1 x 132, 1 x 140, 1 x 148, \
                 1 x 156, 1 x 164, 1 x 172, 5 x 176";
    for (system, image_sizes, verdict) in [
        ("mosaicml-optimized", image_sizes, "accepted"),
        ("mosaicml-baseline", "90 x 224", "accepted"),
        ("nvidia-closed", "37 x 224", "nothing wrong but the accuracy"),
    ] {
        let output = rehearse(system);
        let said = String::from_utf8_lossy(&output.stdout);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{system}: {said}{complaint}");
        assert!(said.contains(&format!("sides: {image_sizes}\n")), "{system}: {said}");
        assert!(said.contains(&format!("MLCommons' checker, 2.0.0: {verdict}\n")), "{said}");
    }
}

#[test]
fn a_closed_run_that_reaches_the_target_is_accepted_whole() {
    let results = TempDir::new().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_mlperf-run"))
        .args(["--recipe", "demo/closed", "--system", "here", "--results"])
        .arg(results.path())
        .env("OMP_NUM_THREADS", "1")
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{complaint}");
    let log = results.path().join("here/resnet/result_0.txt");
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.contains("\"value\": \"closed\"") || text.contains("\"value\":\"closed\""));
    assert!(reference("4.0.0".parse::<Ruleset>().unwrap(), std::slice::from_ref(&log))[&log]);
}
