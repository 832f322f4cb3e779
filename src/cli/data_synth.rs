//! `mlperf-run data synth`: generates the built-in image set.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use clap::Args;

use crate::{
    cli::exit::{Exit, OrExit as _, Outcome},
    console::{self, Counter, Manner},
    data::{
        SynthConfig, cache_folder,
        synth::{self, SynthError},
    },
};

/// Arguments of `data synth`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  mlperf-run data synth --out images --num-classes 4")]
pub(super) struct SynthArgs {
    /// Output folder, new or empty [default: a folder in the cache, filled once]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Classes, 2 to 1024
    #[arg(long, value_name = "N", default_value_t = SynthConfig::default().num_classes)]
    num_classes: usize,
    /// Training images in all classes
    #[arg(long, value_name = "N", default_value_t = SynthConfig::default().num_train)]
    num_train: usize,
    /// Validation images in all classes
    #[arg(long, value_name = "N", default_value_t = SynthConfig::default().num_eval)]
    num_eval: usize,
    /// Approximate long side of an image, 32 to 4096 pixels
    #[arg(long, value_name = "PX", default_value_t = SynthConfig::default().size)]
    size: usize,
    /// Clutter, colour noise, jitter and occlusion, 0 (easy) to 1
    #[arg(long, value_name = "X", default_value_t = SynthConfig::default().difficulty)]
    difficulty: f64,
    /// Semi-axis of the object that gives an image its class, 0.05 to 1 times the short side
    #[arg(long, value_name = "MIN,MAX", value_parser = size_range, default_value = "0.38,0.48")]
    object_size: [f64; 2],
    /// Factor of the textures' periods, 0.25 to 4
    #[arg(long, value_name = "X", default_value_t = SynthConfig::default().texture_scale)]
    texture_scale: f64,
    /// Seed for classes and images
    #[arg(long, value_name = "N", default_value_t = SynthConfig::default().seed)]
    seed: u64,
}

/// A range of sizes, `MIN,MAX`.
fn size_range(text: &str) -> Result<[f64; 2], String> {
    let range = text.split_once(',').map(|(min, max)| [min, max].map(|it| it.trim().parse().ok()));
    match range {
        Some([Some(min), Some(max)]) => Ok([min, max]),
        _ => Err("give two fractions, as in 0.2,0.5".to_owned()),
    }
}

/// Runs the command.
pub(super) fn synth(args: &SynthArgs) -> Outcome {
    let started = Instant::now();
    let num_written = AtomicUsize::new(0);
    let folder = {
        let counter = Counter::new(Manner::of_stderr(), "drawing", args.num_train + args.num_eval);
        let progress = |done| {
            num_written.fetch_max(done, Ordering::Relaxed);
            counter.set(done);
        };
        args.make(&progress).or_exit(Exit::Invalid)?
    };
    let (num_train, num_eval) = (args.num_train, args.num_eval);
    let set = format!("{num_train} training and {num_eval} validation images");
    match num_written.into_inner() {
        0 => console::note(format!("{set} existed already")),
        num_images => {
            let time_s = started.elapsed().as_secs_f64();
            let rate = num_images as f64 / time_s;
            console::note(format!("wrote {set} in {time_s:.1} s, {rate:.0} images/s"));
        }
    }
    console::result(folder.display());
    Ok(Exit::Ok)
}

impl SynthArgs {
    fn config(&self) -> SynthConfig {
        SynthConfig {
            num_classes: self.num_classes,
            num_train: self.num_train,
            num_eval: self.num_eval,
            size: self.size,
            difficulty: self.difficulty,
            object_size: self.object_size,
            texture_scale: self.texture_scale,
            seed: self.seed,
        }
    }

    fn make(&self, progress: &(dyn Fn(usize) + Sync)) -> Result<PathBuf, SynthError> {
        match &self.out {
            None => synth::ensure(&self.config(), &cache_folder(), Some(progress)),
            Some(folder) => {
                synth::write(&self.config(), folder, Some(progress))?;
                Ok(folder.clone())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: SynthArgs,
    }

    fn run_line(options: &str, out: &Path) -> Outcome {
        let words = ["synth", "--out"].map(Into::into).into_iter().chain([out.into()]);
        let line = words.chain(options.split_whitespace().map(std::ffi::OsString::from));
        synth(&Cli::try_parse_from(line).unwrap().args)
    }

    #[test]
    fn synth_fills_a_folder_and_reuses_it() {
        let out = tempfile::TempDir::new().unwrap();
        let options = "--num-classes 2 --num-train 4 --num-eval 2 --size 32 --seed 9";
        for _ in 0..2 {
            assert_eq!(run_line(options, out.path()).unwrap(), Exit::Ok);
        }
        assert!(out.path().join("train/c0001/c0001_00000003.JPEG").exists());
        let failure = run_line("--num-classes 2", out.path()).unwrap_err();
        assert_eq!(failure.exit, Exit::Invalid);
        let message = failure.error.to_string();
        assert!(
            message.ends_with("does not contain this image set; name an empty folder"),
            "{message}"
        );
    }

    #[test]
    fn synth_rejects_invalid_settings() {
        let out = tempfile::TempDir::new().unwrap();
        let failure = run_line("--difficulty 2", out.path()).unwrap_err();
        assert_eq!(failure.exit, Exit::Invalid);
        let message = "invalid synthetic data set: difficulty = 2 is out of range; give 0 to 1";
        assert_eq!(failure.error.to_string(), message);
    }

    #[test]
    fn the_defaults_are_those_of_a_recipe() {
        let args = Cli::try_parse_from(["synth"]).unwrap().args;
        assert_eq!(args.config(), SynthConfig::default());
    }

    #[test]
    fn a_range_of_sizes_is_two_numbers() {
        let parsed = |range| {
            let cli = Cli::try_parse_from(["synth", "--object-size", range]);
            cli.map(|cli| cli.args.config())
        };
        let expected = SynthConfig { object_size: [0.2, 0.5], ..SynthConfig::default() };
        assert_eq!(parsed("0.2, 0.5").unwrap(), expected);
        for wrong in ["0.2", "0.2,x", "0.2,0.5,0.6"] {
            let message = parsed(wrong).unwrap_err().to_string();
            assert!(message.contains("give two fractions, as in 0.2,0.5"), "{message}");
        }
    }
}
