//! Names in folders, archives and lists of shards.

use std::{ffi::OsStr, path::Path};

/// Extensions that torchvision accepts as images. Unsupported formats are listed as well: an image
/// that cannot be decoded must be an error, not a smaller data set.
const IMAGE_ENDINGS: [&str; 9] = ["jpg", "jpeg", "png", "ppm", "bmp", "pgm", "tif", "tiff", "webp"];

/// Whether a file's name is that of an image.
pub fn is_image(path: &Path) -> bool {
    let ending = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    IMAGE_ENDINGS.iter().any(|known| known.eq_ignore_ascii_case(ending))
}

/// Whether a file or folder of this name is never data: what macOS, editors and notebooks leave
/// behind (`._0.jpg`, `.DS_Store`, `__MACOSX`, `.ipynb_checkpoints`).
pub(in crate::data) fn is_hidden(name: &[u8]) -> bool {
    (name.starts_with(b".") && name != b"." && name != b"..") || name == b"__MACOSX"
}

/// Whether a part of a path in an archive is hidden.
pub(in crate::data) fn is_hidden_path(path: &[u8]) -> bool {
    path.split(|&byte| byte == b'/').any(is_hidden)
}

/// The last component of a path, without the extension of an image.
pub(in crate::data) fn image_stem(name: &str) -> &str {
    let name = name.rsplit('/').next().unwrap_or(name);
    match name.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() && is_image(Path::new(name)) => stem,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_never_data() {
        for name in ["._0.jpg", ".DS_Store", ".ipynb_checkpoints", "__MACOSX"] {
            assert!(is_hidden(name.as_bytes()), "{name}");
        }
        assert!(is_hidden_path(b"./cat/__MACOSX/0.jpg") && is_hidden_path(b"cat/._0.jpg"));
        assert!(!is_hidden_path(b"./cat/../0.jpg") && !is_hidden_path(b"_cat/0.jpg"));
    }

    #[test]
    fn only_the_extension_of_an_image_is_left_out() {
        for (name, stem) in [
            ("a/b.c.JPEG", "b.c"),
            ("v1.0", "v1.0"),
            ("IMG 0.jpg", "IMG 0"),
            ("ILSVRC2012_val_00000001", "ILSVRC2012_val_00000001"),
        ] {
            assert_eq!(image_stem(name), stem);
        }
    }
}
