//! What waiting for data comes from and what helps, in words: cures that are taken already, or that
//! the division or the set rules out, are not named.

use crate::data::{
    config::{Order, RamCache, StoreDivision, TrainTransform},
    loader::stats::{Bound, LoaderStats},
};

/// Up to this side, decoding at a fraction of the size saves more than a few hundredths.
const DCT_PAYS_TO: usize = 112;

/// What is known of the set, the machine and the recipe that waits.
#[derive(Clone, Copy, Debug)]
pub struct LoaderContext {
    /// What the store is good for that the images lie in; `None` where they lie in none.
    pub store: Option<StoreDivision>,
    /// What the run is to be good for.
    pub division: StoreDivision,
    /// Decoding threads.
    pub num_threads: usize,
    /// Cores that there are for them.
    pub num_cores: usize,
    /// Least side of the crops, px.
    pub image_size: usize,
    /// In which order images come.
    pub order: Order,
    /// How they are cropped, decoded and kept.
    pub transform: TrainTransform,
}

/// What a run waited for and what helps; nothing where data is not what holds it up. The first
/// epoch, which may meet cold files, and all later ones come as where the loader's time went and
/// how long they took, s.
pub fn diagnosis(
    [(first, first_s), (later, later_s)]: [(LoaderStats, f64); 2],
    context: &LoaderContext,
) -> Option<String> {
    if let Some(cure) = context.cure(later.bound(later_s)) {
        let percent = |part_s: f64| 100.0 * part_s / later_s;
        return Some(format!(
            "waits for data {:.0} % of the time ({:.0} % for reading, {:.0} % for decoding); {cure}",
            percent(later.wait_s),
            percent(later.io_wait_s()),
            percent(later.decode_wait_s()),
        ));
    }
    let bound = first.bound(first_s + later_s);
    let cure = context.cure(bound)?;
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
         {cure}"
    ))
}

impl LoaderContext {
    /// What helps against `bound`; nothing where data is not what holds a run up.
    pub fn cure(&self, bound: Bound) -> Option<String> {
        let cures = match bound {
            Bound::Compute => return None,
            Bound::Reading => self.against_reading(),
            Bound::Decoding => self.against_decoding(),
        };
        Some(cures.into_iter().flatten().collect::<Vec<_>>().join(", or "))
    }

    fn against_reading(&self) -> Vec<Option<String>> {
        let scatters = self.order == Order::Keyed && !self.transform.block_shuffle;
        let blocks = "read blocks (data.train.block_shuffle = true) if the disk is slow at random";
        vec![
            self.import(),
            (self.store.is_some() && scatters).then(|| blocks.to_owned()),
            Some("use a faster disk (bench data --cold tells what this one gives)".to_owned()),
        ]
    }

    fn against_decoding(&self) -> Vec<Option<String>> {
        let Self { num_threads, num_cores, .. } = *self;
        let dct_pays = self.image_size <= DCT_PAYS_TO && self.division == StoreDivision::OpenOnly;
        let keep = "keep decoded images where memory holds them (data.train.ram_cache = \"auto\")";
        let dct = "decode at the crops' size (data.train.dct_scale = true)";
        vec![
            (num_threads < num_cores).then(|| {
                format!("add threads (data.num_workers; {num_threads} work for {num_cores} cores)")
            }),
            self.import(),
            (self.transform.ram_cache == RamCache::Off).then(|| keep.to_owned()),
            (dct_pays && !self.transform.dct_scale).then(|| dct.to_owned()),
            Some("use more cores".to_owned()),
        ]
    }

    /// What importing could still gain.
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
    fn later_epochs_that_wait_are_told_of_with_shares() {
        let context = context(None, StoreDivision::OpenOnly);
        let said = diagnosis([(NO_WAIT, 9.0), (READING, 10.0)], &context).unwrap();
        let start = "waits for data 40 % of the time (30 % for reading, 10 % for decoding); import";
        assert!(said.starts_with(start), "{said}");
        let said = diagnosis([(NO_WAIT, 9.0), (DECODING, 10.0)], &context).unwrap();
        assert!(said.contains("; add threads (data.num_workers; 4 work for 8 cores)"), "{said}");
        assert_eq!(diagnosis([(NO_WAIT, 9.0), (DECODING, 1000.0)], &context), None);
    }

    #[test]
    fn a_cold_first_epoch_has_a_verdict_of_its_own() {
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
    fn what_is_done_already_or_not_allowed_is_no_cure() {
        let cure = |context: &LoaderContext, bound| context.cure(bound).unwrap();
        let closed = context(Some(StoreDivision::ClosedSafe), StoreDivision::ClosedSafe);
        let said = [Bound::Reading, Bound::Decoding].map(|bound| cure(&closed, bound)).concat();
        assert!(!said.contains("import") && !said.contains("dct_scale"), "{said}");
        assert!(said.contains("block_shuffle") && said.contains("ram_cache"), "{said}");

        let mut all = context(Some(StoreDivision::OpenOnly), StoreDivision::OpenOnly);
        all.num_threads = all.num_cores;
        all.image_size = 96;
        assert!(cure(&all, Bound::Decoding).contains("dct_scale = true"));
        let (dct_scale, block_shuffle, ram_cache) = (true, true, RamCache::Auto);
        all.transform = TrainTransform { dct_scale, block_shuffle, ram_cache, ..all.transform };
        assert_eq!(cure(&all, Bound::Decoding), "use more cores");
        let disk = "use a faster disk (bench data --cold tells what this one gives)";
        assert_eq!(cure(&all, Bound::Reading), disk);
        assert_eq!(all.cure(Bound::Compute), None);
    }
}
