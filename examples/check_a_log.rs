//! Checks a log with the library.
//!
//! ```text
//! cargo run --no-default-features --example check_a_log -- result_0.txt
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::{fs::File, io::BufReader};

use mlperf_run::compliance::{Ruleset, check};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("name a log")?;
    let report = check(BufReader::new(File::open(&path)?), Ruleset::V4_0_0)?;

    println!("the reference checker accepts {path}: {}", report.reference_accepts());
    for finding in &report.findings {
        let line = finding.line.map_or("-".into(), |line| line.to_string());
        println!("{line:>6}  {:<7}  {}: {finding}", finding.severity().as_str(), finding.code);
    }
    if let Some(timing) = report.timing {
        println!("{:.2} minutes", timing.minutes);
        if let (Some(first), Some(evals)) = (timing.first_epoch_fraction(), timing.eval_fraction())
        {
            println!("{:.1} % more for the first epoch", 100.0 * first);
            println!("{:.1} % for evaluations", 100.0 * evals);
        }
    }
    if let Some(last) = report.curve.last() {
        println!("{:.2} % top-1 after epoch {}", 100.0 * last.accuracy, last.position);
    }
    Ok(())
}
