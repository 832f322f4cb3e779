//! `mlperf-run bench step` and `bench allreduce`, on the processor.

use std::process::{Command, Output};

use mlperf_run::events::{AllReduceRate, StepRates};

fn bench(extra: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mlperf-run"))
        .args(["bench", "step", "--recipe", "demo/optimized", "--steps", "2", "--batch", "8"])
        .args(extra)
        .env("OMP_NUM_THREADS", "1")
        .output()
        .unwrap()
}

#[test]
fn a_step_is_measured_part_by_part() {
    let output = bench(&["--json", "--device", "cpu"]);
    let (said, complaint) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{complaint}");
    let rates: Vec<_> = said.lines().map(|line| StepRates::from_line(line).unwrap()).collect();
    assert_eq!(rates.len(), 1, "{said}");
    let StepRates { image_size, batch_size, images_per_s, step_ms: [least, median, most], .. } =
        rates[0];
    assert_eq!((image_size, batch_size), (48, 8));
    assert!(0.0 < least && least <= median && median <= most, "{said}");
    assert!((images_per_s - 8e3 / median).abs() < 1e-6 * images_per_s, "{said}");
    let parts = rates[0].parts_ms;
    for part in [parts.upload, parts.forward, parts.backward, parts.update, rates[0].tflops] {
        assert!(part > 0.0, "{said}");
    }
}

#[test]
fn a_side_that_the_recipe_never_has_is_refused_with_those_it_has() {
    let output = bench(&["--device", "cpu", "--side", "64"]);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{complaint}");
    assert!(complaint.contains("never trains at 64 px; give one of [48]"), "{complaint}");
}

#[test]
fn the_all_reduce_of_three_ranks_is_measured_by_size() {
    let output = Command::new(env!("CARGO_BIN_EXE_mlperf-run"))
        .args([
            "bench",
            "allreduce",
            "--json",
            "--device",
            "cpu",
            "--nproc",
            "3",
            "--sizes",
            "4,1M",
        ])
        .env("OMP_NUM_THREADS", "1")
        .output()
        .unwrap();
    let (said, complaint) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{complaint}");
    let rates: Vec<_> = said.lines().map(|line| AllReduceRate::from_line(line).unwrap()).collect();
    let sizes: Vec<_> = rates.iter().map(|it| (it.world_size, it.num_bytes)).collect();
    assert_eq!(sizes, [(3, 4), (3, 1 << 20)], "{said}");
    for it in rates {
        assert!(
            (it.algorithm_gb_s * it.time_us * 1e3 - it.num_bytes as f64).abs() < 1e-3,
            "{said}"
        );
        assert!((it.bus_gb_s / it.algorithm_gb_s - 4.0 / 3.0).abs() < 1e-9, "{said}");
    }
}
