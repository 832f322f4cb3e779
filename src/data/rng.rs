//! The only random number generator of the data plane: a counter hashed by splitmix64 (Steele et
//! al. 2014, "Fast splittable pseudorandom number generators", figure 13). A key says what the
//! numbers are for.
//!
//! A stream is identified by its key, such as `[seed, purpose, epoch, sample]`, so any thread can
//! draw from any stream in any order and get the same numbers. The code uses only integer
//! arithmetic and exactly rounded operations, so all machines draw the same numbers. A test pins
//! them.
//!
//! It deliberately has no system randomness and no state shared between streams.

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Rng {
    counter: u64,
}

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

impl Rng {
    /// The stream of a key. Keys that differ in any word, in order or in length give independent
    /// streams.
    pub fn keyed(key: &[u64]) -> Self {
        let absorb = |state: u64, word: &u64| mix((state ^ word).wrapping_add(GAMMA));
        Self { counter: key.iter().fold(mix(key.len() as u64), absorb) }
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(GAMMA);
        mix(self.counter)
    }

    /// Uniform in [0, 1), 53 bits.
    pub fn uniform_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in [0, 1), 24 bits.
    pub fn uniform(&mut self) -> f32 {
        (self.next_u64() >> 40) as f32 / (1_u32 << 24) as f32
    }

    /// Uniform in [low, high).
    pub fn range_f64(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform_f64()
    }

    /// Uniform in [low, high).
    pub fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.uniform()
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.uniform_f64() < p
    }

    /// Uniform in 0..n. The bias is below n / 2^64.
    ///
    /// # Panics
    /// If `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "no number is below 0");
        ((u128::from(self.next_u64()) * n as u128) >> 64) as usize
    }

    /// Approximately normal with mean 0 and standard deviation 1: the sum of twelve 16-bit
    /// uniforms, so values stay within -6..6. Box-Muller is not used because its logarithm and
    /// cosine differ in the last bits between math libraries.
    pub fn normal(&mut self) -> f32 {
        let mut sum = 0_u32;
        for _ in 0..3 {
            let bits = self.next_u64();
            sum += (0..4).map(|lane| (bits >> (16 * lane)) as u32 & 0xffff).sum::<u32>();
        }
        (sum as f32 - 6.0 * 65_535.0) / 65_536.0
    }

    /// Shuffles in place (Fisher-Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// The finalizer of splitmix64: a bijection whose every output bit depends on every input bit.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shuffling and crops depend on these numbers, so they must never change.
    #[test]
    fn first_outputs_are_pinned() {
        let mut rng = Rng::keyed(&[42, 1, 7]);
        let words: Vec<u64> = (0..3).map(|_| rng.next_u64()).collect();
        assert_eq!(
            words,
            [12_748_194_599_700_979_577, 4_949_309_107_768_088_237, 3_365_177_018_431_785_626]
        );
        let mut order: Vec<u32> = (0..8).collect();
        rng.shuffle(&mut order);
        let draws = (rng.normal().to_bits(), rng.uniform().to_bits(), rng.uniform_f64().to_bits());
        assert_eq!(
            (order.as_slice(), draws),
            (
                [3, 0, 5, 1, 7, 6, 2, 4].as_slice(),
                (0xbf02_1300, 0x3d52_8d30, 0x3fc0_579d_3a53_2e54)
            )
        );
    }

    /// The published first outputs of splitmix64 for the state 1234567.
    #[test]
    fn the_counter_is_splitmix64() {
        let mut rng = Rng { counter: 1_234_567 };
        assert_eq!(rng.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(rng.next_u64(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn different_keys_give_different_streams() {
        let first = |key: &[u64]| Rng::keyed(key).next_u64();
        let keys: [&[u64]; 7] = [&[], &[0], &[0, 0], &[1], &[0, 1], &[1, 0], &[1, 1]];
        let mut words = keys.map(first).to_vec();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), keys.len());
        assert_eq!(first(&[3, 4]), first(&[3, 4]));
    }

    #[test]
    fn distributions_have_the_expected_moments() {
        let mut rng = Rng::keyed(&[1]);
        let n = 40_000;
        let moments = |draw: &mut dyn FnMut() -> f64| {
            let draws: Vec<f64> = (0..n).map(|_| draw()).collect();
            let mean = draws.iter().sum::<f64>() / f64::from(n);
            let square = |x: &f64| (x - mean) * (x - mean);
            (mean, draws.iter().map(square).sum::<f64>() / f64::from(n))
        };
        let near = |(mean, power): (f64, f64), (to_mean, to_power): (f64, f64)| {
            assert!((mean - to_mean).abs() < 0.02, "mean {mean}, expected {to_mean}");
            assert!((power - to_power).abs() < 0.03, "variance {power}, expected {to_power}");
        };
        near(moments(&mut || f64::from(rng.normal())), (0.0, 1.0));
        near(moments(&mut || f64::from(rng.uniform())), (0.5, 1.0 / 12.0));
        near(moments(&mut || rng.uniform_f64()), (0.5, 1.0 / 12.0));
        near(moments(&mut || rng.range_f64(-1.0, 1.0)), (0.0, 1.0 / 3.0));
        near(moments(&mut || f64::from(rng.range(-1.0, 1.0))), (0.0, 1.0 / 3.0));
        near(moments(&mut || f64::from(u8::from(rng.chance(0.25)))), (0.25, 0.1875));
    }

    #[test]
    fn below_and_shuffle_are_uniform() {
        let mut rng = Rng::keyed(&[2]);
        let mut counts = [[0_u32; 5]; 5];
        for _ in 0..5_000 {
            let mut items = [0, 1, 2, 3, 4];
            rng.shuffle(&mut items);
            for (place, item) in items.into_iter().enumerate() {
                counts[place][item] += 1;
            }
        }
        let even = |count: &u32| (850..1150).contains(count);
        assert!(counts.iter().flatten().all(even), "{counts:?}");
        assert!((0..1000).all(|_| rng.below(3) < 3));
    }
}
