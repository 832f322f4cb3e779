//! What is wrong with a recipe, collected so that one look is enough to repair it.

/// Image sizes above this one, px, are typing errors: no memory holds a batch of them.
const MAX_IMAGE_SIZE: usize = 8192;

/// Problems found so far. Each one names the key and its value, and ends with the fix.
#[derive(Debug, Default)]
pub struct Problems(Vec<String>);

impl Problems {
    /// Adds one problem.
    pub fn add(&mut self, problem: impl Into<String>) {
        self.0.push(problem.into());
    }

    /// All problems, in the order in which they were found.
    pub fn into_vec(self) -> Vec<String> {
        self.0
    }

    /// Requires a finite number above 0.
    pub fn above_zero(&mut self, key: &str, value: f64) {
        if !(value.is_finite() && value > 0.0) {
            self.add(format!("{key} ({value}) must be a finite number above 0"));
        }
    }

    /// Requires a finite number from 0.
    pub fn at_least_zero(&mut self, key: &str, value: f64) {
        if !(value.is_finite() && value >= 0.0) {
            self.add(format!("{key} ({value}) must be a finite number from 0"));
        }
    }

    /// Requires a number from 0 to 1.
    pub fn zero_to_one(&mut self, key: &str, value: f64) {
        if !(0.0..=1.0).contains(&value) {
            self.add(format!("{key} ({value}) must be from 0 to 1"));
        }
    }

    /// Requires a number from 0 to below 1.
    pub fn zero_to_below_one(&mut self, key: &str, value: f64) {
        if !(0.0..1.0).contains(&value) {
            self.add(format!("{key} ({value}) must be from 0 to below 1"));
        }
    }

    /// Requires an image size, px.
    pub fn image_size(&mut self, key: &str, value: usize) {
        if !(1..=MAX_IMAGE_SIZE).contains(&value) {
            self.add(format!("{key} ({value}) must be from 1 to {MAX_IMAGE_SIZE} px"));
        }
    }

    /// Requires a count of 1 or more.
    pub fn one_or_more(&mut self, key: &str, value: usize) {
        if value == 0 {
            self.add(format!("{key} (0) must be 1 or more"));
        }
    }
}
