//! Names in folders, archives and lists of shards.

use std::{ffi::OsStr, path::Path};

/// How an image can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::data) enum Reading {
    /// Training reads it.
    InPlace,
    /// Only `data import` reads it.
    ByImport,
    /// Nothing here reads it.
    Never,
}

/// Extensions of images. Those that nothing reads are listed as well: an image that cannot be decoded
/// must be an error, not a smaller data set.
const ENDINGS: [(Reading, &[&str]); 3] = [
    (Reading::InPlace, &["jpg", "jpeg", "jpe", "jfif", "png", "ppm"]),
    (Reading::ByImport, &["webp", "bmp", "tif", "tiff", "gif"]),
    (Reading::Never, &["heic", "heif", "avif", "jxl", "jp2", "pgm"]),
];

/// How an image of this name can be used, if its content is what the name says; `None` if it is not the
/// name of an image.
pub(in crate::data) fn reading(path: &Path) -> Option<Reading> {
    let ending = path.extension().and_then(OsStr::to_str)?;
    let has = |known: &[&str]| known.iter().any(|known| known.eq_ignore_ascii_case(ending));
    ENDINGS.iter().find(|(_, endings)| has(endings)).map(|(reading, _)| *reading)
}

/// Extensions of images that training or an import reads, those that training reads first.
pub(in crate::data) fn readable_endings() -> impl Iterator<Item = &'static str> {
    let readable = ENDINGS.iter().filter(|(reading, _)| *reading != Reading::Never);
    readable.flat_map(|(_, endings)| endings.iter().copied())
}

/// Whether a file's name is that of an image.
pub fn is_image(path: &Path) -> bool {
    reading(path).is_some()
}

/// Whether a file or folder of this name is never data: what macOS, Windows, network disks, editors and
/// notebooks leave behind (`._0.jpg`, `.DS_Store`, `.ipynb_checkpoints`).
pub(in crate::data) fn is_hidden(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 4] = [b"__MACOSX", b"Thumbs.db", b"desktop.ini", b"@eaDir"];
    (name.starts_with(b".") && name != b"." && name != b"..") || NAMES.contains(&name)
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
        for name in
            ["._0.jpg", ".DS_Store", ".ipynb_checkpoints", "__MACOSX", "Thumbs.db", "@eaDir"]
        {
            assert!(is_hidden(name.as_bytes()), "{name}");
        }
        assert!(is_hidden_path(b"./cat/__MACOSX/0.jpg") && is_hidden_path(b"cat/._0.jpg"));
        assert!(!is_hidden_path(b"./cat/../0.jpg") && !is_hidden_path(b"_cat/0.jpg"));
    }

    #[test]
    fn names_say_how_an_image_can_be_used() {
        for (name, expected) in [
            ("0.JPG", Some(Reading::InPlace)),
            ("a/0.jfif", Some(Reading::InPlace)),
            ("0.WebP", Some(Reading::ByImport)),
            ("IMG_1.HEIC", Some(Reading::Never)),
            ("notes.txt", None),
            ("gif", None),
        ] {
            assert_eq!(reading(Path::new(name)), expected, "{name}");
        }
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
