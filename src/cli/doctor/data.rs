//! The images, their disk, and what they feed.

use std::{path::Path, sync::Arc};

use super::finding::Finding;
use crate::{
    cli::{feeds::Feeding, threads},
    console::counted,
    data::{
        ColdEpoch, ColdRates, DataError, Dataset, Free, Index, ReadAhead, Split, TrainTransform,
        bench::measure, measure_cold,
    },
    recipe::StepRate,
};

/// Images to read and decode: enough to tell a slow disk from a fast one.
const NUM_IMAGES: usize = 64;
/// Crops for which the disk is measured, px: small ones, which leave the processor idle.
const CROP_SIZE: usize = 88;

/// Findings on the images in `path`, for the training of `feeding`'s recipe if it is given.
pub(super) fn findings(path: &Path, feeding: Option<&Feeding>) -> Vec<Finding> {
    look(path, feeding).unwrap_or_else(|error| {
        let error = error.to_string();
        let (found, fix) =
            error.rsplit_once("; ").unwrap_or((&error, "name another folder with --data"));
        vec![Finding::fail("data", found, fix)]
    })
}

fn look(path: &Path, feeding: Option<&Feeding>) -> Result<Vec<Finding>, DataError> {
    let dataset = Dataset::open(path)?;
    let index = Arc::new(Index::open(path, Split::Train)?);
    let found = format!(
        "{} to train on, {} to evaluate, {} classes",
        counted(dataset.train.len(), "image"),
        counted(dataset.eval.len(), "image"),
        dataset.num_classes(),
    );
    let cold = ColdEpoch {
        image_size: CROP_SIZE,
        transform: TrainTransform::default(),
        num_threads: threads::num_cores(),
        num_images: NUM_IMAGES,
        ahead: ReadAhead::Batches,
    };
    let mut findings = vec![
        Finding::ok("data", found),
        disk(&measure_cold(&index, &cold)?, dataset.train.len(), Free::now().memory),
    ];
    if let Some(feeding) = feeding {
        findings.push(supply(&index, feeding)?);
    }
    Ok(findings)
}

/// Whether the training images stay in memory after the first epoch, and how long reading them takes.
fn disk(rates: &ColdRates, num_train: usize, free_bytes: u64) -> Finding {
    let total = rates.bytes_per_s / rates.images_per_s * num_train as f64;
    let minutes = total / rates.disk_bytes_per_s / 60.0;
    let found = format!(
        "the disk gives {:.0} MB/s, so that reading all {:.1} GB takes {minutes:.1} min",
        rates.disk_bytes_per_s / 1e6,
        total / 1e9
    );
    if total > free_bytes as f64 {
        let found = format!("{found}; they do not fit into the free memory");
        let fix = "make a store of smaller images with mlperf-run data import";
        return Finding::warn("disk", found, fix)
            .costing(format!("up to {minutes:.1} min in every epoch, and not only in the first"));
    }
    Finding::ok("disk", found)
}

/// How many accelerators the loader feeds.
fn supply(index: &Arc<Index>, feeding: &Feeding) -> Result<Finding, DataError> {
    let cores = threads::num_cores();
    let mut rates = Vec::new();
    for image_size in feeding.image_sizes() {
        let rate = measure(index, (image_size, feeding.transform()), cores, NUM_IMAGES)?;
        rates.push(StepRate { image_size, images_per_s: rate.images_per_s });
    }
    Ok(match feeding.verdict(rates, cores) {
        Ok(verdict) => Finding::ok("loader", verdict),
        Err(reason) => Finding::warn("loader", reason, "see mlperf-run bench data"),
    })
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Verdict, *};

    #[test]
    fn images_that_do_not_fit_into_memory_are_a_warning_with_its_minutes() {
        let rates = ColdRates {
            num_images: 64,
            images_per_s: 1000.0,
            bytes_per_s: 116e6,
            disk_bytes_per_s: 500e6,
        };
        let fits = disk(&rates, 1_281_167, 200_000_000_000);
        assert_eq!(fits.verdict, Verdict::Ok);
        assert!(fits.found.contains("148.6 GB takes 5.0 min"), "{}", fits.found);
        let too_large = disk(&rates, 1_281_167, 100_000_000_000);
        assert_eq!(too_large.verdict, Verdict::Warn);
        assert!(too_large.cost.unwrap().contains("5.0 min in every epoch"));
    }

    #[test]
    fn a_missing_folder_is_a_failure_with_its_fix() {
        let findings = findings(Path::new("/no/such/folder"), None);
        assert_eq!(findings[0].verdict, Verdict::Fail);
        assert!(findings[0].lines().contains("--data"), "{}", findings[0].lines());
    }
}
