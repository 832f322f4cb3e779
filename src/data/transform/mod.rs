//! From a decoded image to a row of a batch: crop, resize and flip.

pub(in crate::data) mod convolve;
pub(in crate::data) mod crop;
pub(in crate::data) mod resize;
pub(in crate::data) mod weights;
