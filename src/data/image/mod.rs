//! Reading and writing image files: JPEG by libjpeg-turbo, PNG and raw pixels.

pub(in crate::data) mod decode;
pub(in crate::data) mod pixels;
pub(in crate::data) mod png;
pub(in crate::data) mod ppm;
pub(in crate::data) mod restart_crop;
pub(in crate::data) mod transcode;
pub(in crate::data) mod turbojpeg;
