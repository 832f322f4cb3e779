//! From a decoded image to a row of a batch: crop, resize, flip and augmentation.

pub(in crate::data) mod affine;
pub(in crate::data) mod augment;
pub(in crate::data) mod convolve;
pub(in crate::data) mod crop;
pub(in crate::data) mod operation;
pub(in crate::data) mod resize;
pub(in crate::data) mod weights;
