//! The one random source of the data room: a counter hashed by splitmix64 (Steele et al. 2014,
//! "Fast splittable pseudorandom number generators", figure 13), keyed by what the numbers are for.
//!
//! A stream is named by its key, as `[seed, purpose, epoch, sample]`, so any thread can draw any
//! stream in any order and get the same numbers. Only integer arithmetic and exactly rounded
//! operations are used: every machine draws the same numbers, for ever; a test pins them.
//!
//! Deliberately absent: system randomness, and any state shared between streams.

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Rng {
    counter: u64,
}

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

impl Rng {
    /// The stream of a key. Keys that differ in any word, in order or in length give unrelated
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
    /// Where `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "there is no number below 0");
        ((u128::from(self.next_u64()) * n as u128) >> 64) as usize
    }

    /// About normal with mean 0 and standard deviation 1: the sum of twelve 16-bit uniforms, so
    /// the tails end at 6. The logarithm and cosine of Box and Muller would differ in their last
    /// bits from one libm to the next.
    pub fn normal(&mut self) -> f32 {
        let mut sum = 0_u32;
        for _ in 0..3 {
            let bits = self.next_u64();
            sum += (0..4).map(|lane| (bits >> (16 * lane)) as u32 & 0xffff).sum::<u32>();
        }
        (sum as f32 - 6.0 * 65_535.0) / 65_536.0
    }

    /// Shuffles in place (Fisher and Yates).
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
