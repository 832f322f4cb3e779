//! Reading and writing image files: JPEG by libjpeg-turbo, PNG, raw pixels, and the formats that
//! only `data import` reads.

pub(in crate::data) mod decode;
pub(in crate::data) mod exif;
pub(in crate::data) mod importable;
pub(in crate::data) mod pixels;
pub(in crate::data) mod png;
pub(in crate::data) mod ppm;
pub(in crate::data) mod restart_crop;
pub(in crate::data) mod transcode;
pub(in crate::data) mod turbojpeg;
