//! Safe wrappers of libjpeg-turbo. The safe crate decodes only whole images; the raw functions also
//! decode parts of them and transcode with restart markers.
//!
//! Rules: a handle is used by one thread at a time (`&mut self`). Sizes passed to C come from the
//! slices themselves and are checked before the call against what C will write.
#![expect(unsafe_code, reason = "calls of a C library; see the rules above")]

use std::ffi::CStr;

use turbojpeg::raw;

/// The contents of a JPEG's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::data) struct Header {
    pub(in crate::data) width: usize,
    pub(in crate::data) height: usize,
    /// Width and height of an MCU in pixels; `None` if parts cannot be decoded.
    pub(in crate::data) mcu: Option<(usize, usize)>,
    pub(in crate::data) components: ColorComponents,
}

/// A problem reported by libjpeg-turbo.
#[derive(Debug)]
pub(in crate::data) struct Fault {
    pub(in crate::data) message: String,
    /// A warning: it continued, and filled the rest with grey.
    pub(in crate::data) is_warning: bool,
}

impl Fault {
    /// Whether the image is whole all the same: stray bytes before the end marker, which Pillow,
    /// torchvision and TensorFlow ignore too.
    pub(in crate::data) fn is_harmless(&self) -> bool {
        self.is_warning && self.message.contains("extraneous bytes before marker 0xd9")
    }
}

/// The color components in which a pixel is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::data) enum ColorComponents {
    /// Grey, `RGB` or `YCbCr`.
    UpToThree,
    /// CMYK or YCCK.
    Four,
}

/// A part of an image, px of the decoded image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::data) struct Region {
    /// A multiple of the MCU's width divided by the denominator.
    pub(in crate::data) left: usize,
    pub(in crate::data) top: usize,
    pub(in crate::data) width: usize,
    pub(in crate::data) height: usize,
    /// The scale denominator 1, 2, 4 or 8: width and height are divided by it and rounded up.
    pub(in crate::data) denominator: usize,
}

/// A decompressor.
pub(in crate::data) struct Decompressor {
    handle: raw::tjhandle,
}

// SAFETY: a handle is independent memory and not bound to a thread.
unsafe impl Send for Decompressor {}

impl Decompressor {
    pub(in crate::data) fn new() -> Self {
        Self { handle: init(raw::TJINIT_TJINIT_DECOMPRESS) }
    }

    /// Reads a header; `None` if the file has only tables and no image.
    ///
    /// Each file gets its own handle. A used handle would take missing tables from the previous
    /// file, and would continue with the rest of a header at which it failed.
    pub(in crate::data) fn read_header(&mut self, file: &[u8]) -> Result<Option<Header>, Fault> {
        *self = Self::new();
        // SAFETY: pointer and length are those of a slice; the handle is alive.
        let code = unsafe {
            raw::tj3DecompressHeader(self.handle, file.as_ptr(), file.len() as raw::size_t)
        };
        if code != 0 {
            return Err(self.fault());
        }
        let width = usize::try_from(self.get(raw::TJPARAM_TJPARAM_JPEGWIDTH));
        let height = usize::try_from(self.get(raw::TJPARAM_TJPARAM_JPEGHEIGHT));
        let (Ok(width), Ok(height)) = (width, height) else { return Ok(None) };
        let mcu = match self.get(raw::TJPARAM_TJPARAM_SUBSAMP) {
            _ if self.get(raw::TJPARAM_TJPARAM_LOSSLESS) != 0 => None,
            raw::TJSAMP_TJSAMP_444 | raw::TJSAMP_TJSAMP_GRAY => Some((8, 8)),
            raw::TJSAMP_TJSAMP_422 => Some((16, 8)),
            raw::TJSAMP_TJSAMP_420 => Some((16, 16)),
            raw::TJSAMP_TJSAMP_440 => Some((8, 16)),
            raw::TJSAMP_TJSAMP_411 => Some((32, 8)),
            raw::TJSAMP_TJSAMP_441 => Some((8, 32)),
            _ => None,
        };
        let components = match self.get(raw::TJPARAM_TJPARAM_COLORSPACE) as raw::TJCS {
            raw::TJCS_TJCS_CMYK | raw::TJCS_TJCS_YCCK => ColorComponents::Four,
            _ => ColorComponents::UpToThree,
        };
        Ok(Some(Header { width, height, mcu, components }))
    }

    /// Decodes a part of the file whose header was read last, to RGB or to four color components as
    /// stored. Returns a harmless warning of libjpeg-turbo; any other one is an error.
    pub(in crate::data) fn decode(
        &mut self,
        (file, header): (&[u8], Header),
        region: Region,
        pixels: &mut [u8],
    ) -> Result<Option<Fault>, Fault> {
        let (format, bytes) = match header.components {
            ColorComponents::UpToThree => (raw::TJPF_TJPF_RGB, 3),
            ColorComponents::Four => (raw::TJPF_TJPF_CMYK, 4),
        };
        let Region { left, top, width, height, denominator } = region;
        let scaled =
            [header.width, header.height].map(|image_size| image_size.div_ceil(denominator));
        assert!(pixels.len() >= width * height * bytes, "the buffer is too small for {region:?}");
        assert!(
            left + width <= scaled[0] && top + height <= scaled[1],
            "{region:?} exceeds {header:?}"
        );
        let is_whole = [width, height] == scaled;
        let number = |image_size: usize| image_size as Int;
        let factor = raw::tjscalingfactor { num: 1, denom: number(denominator) };
        let [x, y, w, h] = if is_whole { [0; 4] } else { [left, top, width, height].map(number) };
        let crop = raw::tjregion { x, y, w, h };
        // SAFETY: the handle is alive and has read this file's header; `pixels` holds the region,
        // as asserted above, at the pitch that is given.
        let code = unsafe {
            let mut code = raw::tj3SetScalingFactor(self.handle, factor);
            if code == 0 {
                code = raw::tj3SetCroppingRegion(self.handle, crop);
            }
            if code == 0 {
                code = raw::tj3Decompress8(
                    self.handle,
                    file.as_ptr(),
                    file.len() as raw::size_t,
                    pixels.as_mut_ptr(),
                    number(width * bytes),
                    format,
                );
            }
            code
        };
        let fault = (code != 0).then(|| self.fault());
        match fault {
            Some(fault) if !fault.is_harmless() => Err(fault),
            warning => Ok(warning),
        }
    }

    fn get(&mut self, parameter: raw::TJPARAM) -> Int {
        // SAFETY: the handle is alive.
        unsafe { raw::tj3Get(self.handle, parameter as Int) }
    }

    fn fault(&mut self) -> Fault {
        last_fault(self.handle)
    }
}

impl Drop for Decompressor {
    fn drop(&mut self) {
        // SAFETY: nobody uses the handle after this.
        unsafe { raw::tj3Destroy(self.handle) }
    }
}

/// C's `int`.
pub(in crate::data) type Int = std::ffi::c_int;

/// Limit of scans per image; progressive files have about ten. Each scan takes time in proportion
/// to the image size, however few bytes it has: without a limit some hundred kilobytes take
/// minutes.
const MAX_SCANS: Int = 100;

pub(in crate::data) fn init(kind: raw::TJINIT) -> raw::tjhandle {
    // SAFETY: takes a number, returns memory or null.
    let handle = unsafe { raw::tj3Init(kind as Int) };
    assert!(!handle.is_null(), "cannot allocate a handle");
    // SAFETY: the handle is alive.
    let code = unsafe { raw::tj3Set(handle, raw::TJPARAM_TJPARAM_SCANLIMIT as Int, MAX_SCANS) };
    assert_eq!(code, 0, "libjpeg-turbo accepts any scan limit");
    handle
}

pub(in crate::data) fn last_fault(handle: raw::tjhandle) -> Fault {
    // SAFETY: the handle is alive.
    let code = unsafe { raw::tj3GetErrorCode(handle) };
    let is_warning = code as raw::TJERR == raw::TJERR_TJERR_WARNING;
    Fault { message: last_error(handle), is_warning }
}

pub(in crate::data) fn last_error(handle: raw::tjhandle) -> String {
    // SAFETY: the handle is alive; the text is its own, ends in a zero, and is copied at once.
    let text = unsafe { CStr::from_ptr(raw::tj3GetErrorStr(handle)) };
    text.to_string_lossy().replace('\n', " ")
}
