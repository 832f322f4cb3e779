//! Text descriptions of stores.

use std::{collections::BTreeMap, path::Path};

use crate::{
    console,
    data::{
        StoreDivision,
        import::{Exif, Manifest, Note},
    },
};

/// Prints the contents of a store, and which of its images were changed or left out.
pub(super) fn describe(manifest: &Manifest) {
    /// Notes that are printed; the manifest has all of them.
    const MAX_NOTES: usize = 20;
    let bytes: u64 = manifest.shards.iter().map(|shard| shard.bytes).sum();
    console::note(format!(
        "{} training and {} validation images of {} classes, {:.1} MB in {}, {}",
        manifest.num_train,
        manifest.num_eval,
        manifest.classes.len(),
        bytes as f64 / 1e6,
        console::counted(manifest.shards.len(), "shard"),
        division_text(manifest),
    ));
    for (what, notes) in [
        ("repaired", &manifest.repaired),
        ("converted to JPEG", &manifest.converted),
        ("left out", &manifest.skipped),
    ] {
        let lines = note_lines(notes);
        for line in lines.iter().take(MAX_NOTES) {
            console::note(format!("{what}: {line}"));
        }
        if lines.len() > MAX_NOTES {
            console::note(format!("{what}: {} more, in manifest.json", lines.len() - MAX_NOTES));
        }
    }
    if let Some(text) = exif_text(manifest) {
        console::note(text);
    }
}

/// One line per note, or per reason that many notes share.
fn note_lines(notes: &[Note]) -> Vec<String> {
    const MANY: usize = 4;
    let mut by_reason = BTreeMap::<&str, Vec<&Path>>::new();
    for Note { path, reason } in notes {
        by_reason.entry(reason).or_default().push(path);
    }
    let lines = by_reason.into_iter().flat_map(|(reason, paths)| match paths.as_slice() {
        [first, rest @ ..] if rest.len() >= MANY => {
            vec![format!("{} and {} more: {reason}", first.display(), rest.len())]
        }
        few => few.iter().map(|path| format!("{}: {reason}", path.display())).collect(),
    });
    lines.collect()
}

/// What was done with the orientation of images, if some have one.
fn exif_text(manifest: &Manifest) -> Option<String> {
    let num = manifest.num_with_orientation;
    let images = console::counted(num, "image");
    (num > 0).then(|| match manifest.exif {
        Exif::Apply => format!("{images} turned by the Exif orientation"),
        Exif::Ignore => format!(
            "{images} with an Exif orientation, which was not applied (as in torchvision); --exif \
             apply turns them"
        ),
    })
}

/// How many hidden names were left out, if there are any.
pub(super) fn hidden_text(num_hidden: usize) -> Option<String> {
    let hidden = console::counted(num_hidden, "hidden name");
    (num_hidden > 0)
        .then(|| format!("left out: {hidden}, such as ._0.jpg, .ipynb_checkpoints and Thumbs.db"))
}

/// The division of a store, and how its images differ from the originals.
pub(super) fn division_text(manifest: &Manifest) -> String {
    let (num_repaired, num_skipped) = (manifest.repaired.len(), manifest.skipped.len());
    let num_converted = manifest.converted.len();
    let counts = [
        (num_repaired, "repaired"),
        (num_converted, "converted to JPEG"),
        (num_skipped, "left out"),
    ];
    let counts = counts.into_iter().filter(|(num, _)| *num > 0);
    let mut changes: Vec<String> = counts.map(|(num, what)| format!("{num} {what}")).collect();
    if manifest.division == StoreDivision::ClosedSafe {
        return match changes.as_slice() {
            [] => "closed-safe (no image was changed)".to_owned(),
            changes => format!("closed-safe ({}, no other was changed)", changes.join(", ")),
        };
    }
    if let Some(share) = manifest.val_share {
        let percent = console::percent(share, 1);
        changes.insert(0, format!("{percent} of each class split off for validation"));
    }
    if manifest.exif == Exif::Apply {
        changes.insert(0, "images turned by their Exif orientation".to_owned());
    }
    if let Some(image_size) = manifest.max_side {
        changes.insert(0, format!("training images of at most {image_size} px"));
    }
    // What its source had lost is in the manifest of the source.
    let is_explained = manifest.max_side.is_some()
        || manifest.exif == Exif::Apply
        || manifest.val_share.is_some()
        || num_converted + num_skipped > 0;
    if !is_explained {
        changes.insert(0, "its source is open-only".to_owned());
    }
    format!("open-only ({})", changes.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_called_unchanged_only_if_it_is() {
        let note = Note { path: "x.JPEG".into(), reason: "a PNG".into() };
        let mut manifest: Manifest = serde_json::from_value(serde_json::json!({
            "version": 1, "division": "closed-safe", "max_side": null, "source": "", "seed": 0,
            "classes": [], "num_train": 0, "num_eval": 0, "shards": [], "mended": [], "skipped": [],
        }))
        .unwrap();
        assert_eq!(division_text(&manifest), "closed-safe (no image was changed)");
        manifest.repaired = vec![note.clone(); 22];
        manifest.skipped = vec![note; 3];
        let odd = "closed-safe (22 repaired, 3 left out, no other was changed)";
        assert_eq!(division_text(&manifest), odd);
        (manifest.division, manifest.max_side) = (StoreDivision::OpenOnly, Some(192));
        let shrunk = "open-only (training images of at most 192 px, 22 repaired, 3 left out)";
        assert_eq!(division_text(&manifest), shrunk);
        (manifest.max_side, manifest.val_share) = (None, Some(0.1));
        (manifest.repaired, manifest.skipped) = (Vec::new(), Vec::new());
        let split = "open-only (10.0 % of each class split off for validation)";
        assert_eq!(division_text(&manifest), split);
        manifest.val_share = None;
        assert_eq!(division_text(&manifest), "open-only (its source is open-only)");
        (manifest.exif, manifest.num_with_orientation) = (Exif::Apply, 1);
        assert!(division_text(&manifest).contains("images turned by their Exif orientation"));
        assert_eq!(exif_text(&manifest).unwrap(), "1 image turned by the Exif orientation");
    }

    #[test]
    fn many_notes_of_one_reason_are_one_line() {
        let note = |name: &str, reason: &str| Note { path: name.into(), reason: reason.to_owned() };
        let mut notes: Vec<_> = (0..900).map(|i| note(&format!("{i}.webp"), "a WebP")).collect();
        notes.push(note("x.bmp", "a BMP"));
        assert_eq!(note_lines(&notes), ["x.bmp: a BMP", "0.webp and 899 more: a WebP"]);
    }
}
