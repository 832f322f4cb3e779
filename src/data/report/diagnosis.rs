//! Says in words why a run waits for data and what helps. It leaves out remedies that are already
//! in use or excluded by the division or the data set.

use crate::data::{
    config::{Order, RamCache, StoreDivision, TrainTransform},
    loader::stats::{Bound, LoaderStats},
};

/// Up to this crop size, decoding at a reduced scale saves more than a few percent.
const DCT_PAYS_TO: usize = 112;

/// Waiting that is not worth advice, s.
const NEGLIGIBLE_S: f64 = 1.0;

/// The data set, the machine and the recipe of the waiting run.
#[derive(Clone, Copy, Debug)]
pub struct LoaderContext {
    /// The division of the images' store; `None` if they are not in a store.
    pub store: Option<StoreDivision>,
    /// The division that the run is meant for.
    pub division: StoreDivision,
    /// Decoding threads.
    pub num_threads: usize,
    /// Cores available to them.
    pub num_cores: usize,
    /// Smallest crop size, px.
    pub image_size: usize,
    /// The shuffling order of images.
    pub order: Order,
    /// How images are cropped, decoded and cached.
    pub transform: TrainTransform,
}

/// Why a run waited for data and what helps; `None` if data is not the bottleneck. The arguments
/// are where the loader's time went and the duration in seconds, for the first epoch (which may
/// read cold files) and for all later epochs.
pub fn diagnosis(
    [(first, first_s), (later, later_s)]: [(LoaderStats, f64); 2],
    context: &LoaderContext,
) -> Option<String> {
    if first.wait_s + later.wait_s < NEGLIGIBLE_S {
        return None;
    }
    if let Some(remedy) = context.remedy(later.bound(later_s)) {
        let percent = |part_s: f64| 100.0 * part_s / later_s;
        return Some(format!(
            "waits for data {:.0} % of the time ({:.0} % for reading, {:.0} % for decoding); {remedy}",
            percent(later.wait_s),
            percent(later.io_wait_s()),
            percent(later.decode_wait_s()),
        ));
    }
    let bound = first.bound(first_s + later_s);
    let remedy = context.remedy(bound)?;
    let why = match bound {
        Bound::Reading => " (cold files)",
        Bound::Decoding if context.transform.ram_cache != RamCache::Off => {
            " (it decodes whole images for data.train.ram_cache)"
        }
        Bound::Decoding | Bound::Compute => "",
    };
    let rest = if later_s > 0.0 { ", later epochs did not" } else { "" };
    let (read_s, decode_s) = (first.io_wait_s(), first.decode_wait_s());
    Some(format!(
        "waited {read_s:.1} s for reading and {decode_s:.1} s for decoding in epoch 1{why}{rest}; \
         {remedy}"
    ))
}

impl LoaderContext {
    /// What helps against `bound`; `None` if data is not the bottleneck.
    pub fn remedy(&self, bound: Bound) -> Option<String> {
        let remedies = match bound {
            Bound::Compute => return None,
            Bound::Reading => self.remedies_for_reading(),
            Bound::Decoding => self.remedies_for_decoding(),
        };
        Some(remedies.into_iter().flatten().collect::<Vec<_>>().join(", or "))
    }

    fn remedies_for_reading(&self) -> Vec<Option<String>> {
        let scatters = self.order == Order::Keyed && !self.transform.block_shuffle;
        let blocks =
            "read blocks (data.train.block_shuffle = true) if the disk is slow at random access";
        vec![
            self.import(),
            (self.store.is_some() && scatters).then(|| blocks.to_owned()),
            Some("use a faster disk (bench data --cold measures this one)".to_owned()),
        ]
    }

    fn remedies_for_decoding(&self) -> Vec<Option<String>> {
        let Self { num_threads, num_cores, .. } = *self;
        let dct_pays = self.image_size <= DCT_PAYS_TO && self.division == StoreDivision::OpenOnly;
        let keep = "cache decoded images if they fit into memory (data.train.ram_cache = \"auto\")";
        let dct = "decode at a reduced scale (data.train.dct_scale = true)";
        vec![
            (num_threads < num_cores).then(|| {
                format!(
                    "add threads (data.num_workers; {num_threads} threads on {num_cores} cores)"
                )
            }),
            self.import(),
            (self.transform.ram_cache == RamCache::Off).then(|| keep.to_owned()),
            (dct_pays && !self.transform.dct_scale).then(|| dct.to_owned()),
            Some("use more cores".to_owned()),
        ]
    }

    /// What an import could still gain.
    fn import(&self) -> Option<String> {
        let text = match (self.store, self.division) {
            (None, StoreDivision::ClosedSafe) => {
                "import into a store (mlperf-run data import DATA --out STORE)"
            }
            (None, StoreDivision::OpenOnly) => {
                "import into a store (mlperf-run data import DATA --out STORE, with --max-side 400 \
                 for the open division)"
            }
            (Some(StoreDivision::ClosedSafe), StoreDivision::OpenOnly) => {
                "import again with --max-side 400 (open division)"
            }
            (Some(_), _) => return None,
        };
        Some(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READING: LoaderStats = LoaderStats { wait_s: 4.0, read_s: 9.0, decode_s: 3.0 };
    const DECODING: LoaderStats = LoaderStats { wait_s: 4.0, read_s: 1.0, decode_s: 3.0 };
    const NO_WAIT: LoaderStats = LoaderStats { wait_s: 0.0, read_s: 1.0, decode_s: 3.0 };

    fn context(store: Option<StoreDivision>, division: StoreDivision) -> LoaderContext {
        LoaderContext {
            store,
            division,
            num_threads: 4,
            num_cores: 8,
            image_size: 224,
            order: Order::Keyed,
            transform: TrainTransform::default(),
        }
    }

    #[test]
    fn waits_in_later_epochs_are_reported_in_percent() {
        let context = context(None, StoreDivision::OpenOnly);
        let said = diagnosis([(NO_WAIT, 9.0), (READING, 10.0)], &context).unwrap();
        let start = "waits for data 40 % of the time (30 % for reading, 10 % for decoding); import";
        assert!(said.starts_with(start), "{said}");
        let said = diagnosis([(NO_WAIT, 9.0), (DECODING, 10.0)], &context).unwrap();
        assert!(said.contains("; add threads (data.num_workers; 4 threads on 8 cores)"), "{said}");
        assert_eq!(diagnosis([(NO_WAIT, 9.0), (DECODING, 1000.0)], &context), None);
        let short = LoaderStats { wait_s: 0.5, ..DECODING };
        assert_eq!(diagnosis([(NO_WAIT, 0.1), (short, 1.0)], &context), None);
    }

    #[test]
    fn a_cold_first_epoch_is_reported_separately() {
        let mut context = context(Some(StoreDivision::ClosedSafe), StoreDivision::OpenOnly);
        let said = diagnosis([(READING, 10.0), (NO_WAIT, 30.0)], &context).unwrap();
        assert!(
            said.starts_with(
                "waited 3.0 s for reading and 1.0 s for decoding in epoch 1 (cold files), later \
                 epochs did not; import again with --max-side 400"
            ),
            "{said}"
        );
        let said = diagnosis([(READING, 10.0), (LoaderStats::default(), 0.0)], &context).unwrap();
        assert!(said.contains("epoch 1 (cold files); import"), "{said}");
        context.transform.ram_cache = RamCache::Auto;
        let said = diagnosis([(DECODING, 10.0), (NO_WAIT, 30.0)], &context).unwrap();
        assert!(said.contains("whole images for data.train.ram_cache"), "{said}");
        assert_eq!(diagnosis([(READING, 10.0), (NO_WAIT, 1000.0)], &context), None);
    }

    #[test]
    fn remedies_in_use_or_not_allowed_are_left_out() {
        let remedy = |context: &LoaderContext, bound| context.remedy(bound).unwrap();
        let closed = context(Some(StoreDivision::ClosedSafe), StoreDivision::ClosedSafe);
        let said = [Bound::Reading, Bound::Decoding].map(|bound| remedy(&closed, bound)).concat();
        assert!(!said.contains("import") && !said.contains("dct_scale"), "{said}");
        assert!(said.contains("block_shuffle") && said.contains("ram_cache"), "{said}");

        let mut all = context(Some(StoreDivision::OpenOnly), StoreDivision::OpenOnly);
        all.num_threads = all.num_cores;
        all.image_size = 96;
        assert!(remedy(&all, Bound::Decoding).contains("dct_scale = true"));
        let (dct_scale, block_shuffle, ram_cache) = (true, true, RamCache::Auto);
        all.transform = TrainTransform { dct_scale, block_shuffle, ram_cache, ..all.transform };
        assert_eq!(remedy(&all, Bound::Decoding), "use more cores");
        let disk = "use a faster disk (bench data --cold measures this one)";
        assert_eq!(remedy(&all, Bound::Reading), disk);
        assert_eq!(all.remedy(Bound::Compute), None);
    }
}
