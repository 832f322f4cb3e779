//! Lossless transcoding of JPEGs: the same coefficients as sequential Huffman code with restart
//! markers. Progressive files then decode three times as fast, and parts of any file can be decoded
//! alone (`restart_crop`). Images are also turned without loss.
#![expect(unsafe_code, reason = "calls of a C library; see the rules of `turbojpeg`")]

use std::{ptr, slice};

use image::metadata::Orientation;
use turbojpeg::raw;

use crate::data::image::turbojpeg::{Int, init, last_error, last_fault};

/// Transcodes files. Each file gets its own handle, as in `turbojpeg`.
pub(in crate::data) struct Transcoder {
    handle: raw::tjhandle,
}

// SAFETY: a handle is independent memory and not bound to a thread.
unsafe impl Send for Transcoder {}

impl Transcoder {
    pub(in crate::data) fn new() -> Self {
        Self { handle: init(raw::TJINIT_TJINIT_TRANSFORM) }
    }

    /// Width of an MCU in pixels.
    pub(in crate::data) fn mcu_width(&mut self, file: &[u8]) -> Result<usize, String> {
        *self = Self::new();
        // SAFETY: pointer and length are those of a slice; the handle is alive.
        let code = unsafe {
            let length = file.len() as raw::size_t;
            raw::tj3DecompressHeader(self.handle, file.as_ptr(), length)
        };
        if code != 0 {
            return Err(last_error(self.handle));
        }
        // SAFETY: the handle is alive.
        let subsampling = unsafe { raw::tj3Get(self.handle, raw::TJPARAM_TJPARAM_SUBSAMP as Int) };
        Ok(match subsampling {
            raw::TJSAMP_TJSAMP_422 | raw::TJSAMP_TJSAMP_420 => 16,
            raw::TJSAMP_TJSAMP_411 => 32,
            _ => 8,
        })
    }

    /// Rewrites the file with a restart marker after every `mcus` MCUs, and without metadata that
    /// no decoder here uses.
    pub(in crate::data) fn transcode(
        &mut self,
        file: &[u8],
        mcus: usize,
    ) -> Result<Vec<u8>, String> {
        self.transform(file, (raw::TJXOP_TJXOP_NONE, 0), mcus)
    }

    /// Turns the image. Fails unless the sides that are turned over are whole MCUs: otherwise the rest
    /// of an MCU would have to lie in the middle of the image.
    pub(in crate::data) fn turn(
        &mut self,
        file: &[u8],
        orientation: Orientation,
    ) -> Result<Vec<u8>, String> {
        let operation = match orientation {
            Orientation::NoTransforms => raw::TJXOP_TJXOP_NONE,
            Orientation::FlipHorizontal => raw::TJXOP_TJXOP_HFLIP,
            Orientation::Rotate180 => raw::TJXOP_TJXOP_ROT180,
            Orientation::FlipVertical => raw::TJXOP_TJXOP_VFLIP,
            Orientation::Rotate90FlipH => raw::TJXOP_TJXOP_TRANSPOSE,
            Orientation::Rotate90 => raw::TJXOP_TJXOP_ROT90,
            Orientation::Rotate270FlipH => raw::TJXOP_TJXOP_TRANSVERSE,
            Orientation::Rotate270 => raw::TJXOP_TJXOP_ROT270,
        };
        self.transform(file, (operation, raw::TJXOPT_PERFECT), 0)
    }

    fn transform(
        &mut self,
        file: &[u8],
        (operation, options): (raw::TJXOP, u32),
        mcus: usize,
    ) -> Result<Vec<u8>, String> {
        *self = Self::new();
        // SAFETY: all fields are numbers and pointers, for which zero means none.
        let mut transform: raw::tjtransform = unsafe { std::mem::zeroed() };
        transform.op = operation as Int;
        transform.options = (options | raw::TJXOPT_COPYNONE | raw::TJXOPT_OPTIMIZE) as Int;
        let (mut bytes, mut length) = (ptr::null_mut(), 0);
        // SAFETY: the handle is alive; pointer and length are those of a slice; C allocates the
        // result, which is copied and freed below.
        let code = unsafe {
            // Reading a header sets the source's coding as the coding to write.
            let settings = [
                (raw::TJPARAM_TJPARAM_RESTARTBLOCKS, mcus as Int),
                (raw::TJPARAM_TJPARAM_PROGRESSIVE, 0),
                (raw::TJPARAM_TJPARAM_ARITHMETIC, 0),
            ];
            let set = |&(parameter, value)| raw::tj3Set(self.handle, parameter as Int, value) == 0;
            let mut code = if settings.iter().all(set) { 0 } else { -1 };
            if code == 0 {
                code = raw::tj3Transform(
                    self.handle,
                    file.as_ptr(),
                    file.len() as raw::size_t,
                    1,
                    &raw mut bytes,
                    &raw mut length,
                    &raw const transform,
                );
            }
            code
        };
        let is_whole = code == 0 || (!bytes.is_null() && last_fault(self.handle).is_harmless());
        let result = if is_whole {
            // SAFETY: C has written `length` bytes there.
            Ok(unsafe { slice::from_raw_parts(bytes, length as usize) }.to_vec())
        } else {
            Err(last_error(self.handle))
        };
        // SAFETY: C's own allocation or null, not used after this.
        unsafe { raw::tj3Free(bytes.cast()) };
        result
    }
}

impl Drop for Transcoder {
    fn drop(&mut self) {
        // SAFETY: nobody uses the handle after this.
        unsafe { raw::tj3Destroy(self.handle) }
    }
}
