//! Text descriptions of stores.

use crate::{
    console,
    data::{
        StoreDivision,
        import::{Manifest, Note},
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
    for (what, notes) in [("repaired", &manifest.repaired), ("left out", &manifest.skipped)] {
        for Note { path, reason } in notes.iter().take(MAX_NOTES) {
            console::note(format!("{what}: {}: {reason}", path.display()));
        }
        if notes.len() > MAX_NOTES {
            console::note(format!("{what}: {} more, in manifest.json", notes.len() - MAX_NOTES));
        }
    }
}

/// The division of a store, and how its images differ from the originals.
pub(super) fn division_text(manifest: &Manifest) -> String {
    let (num_repaired, num_skipped) = (manifest.repaired.len(), manifest.skipped.len());
    let odd = format!("{num_repaired} repaired, {num_skipped} left out");
    match (manifest.division, manifest.max_side) {
        (StoreDivision::ClosedSafe, _) if num_repaired + num_skipped == 0 => {
            "closed-safe (no image was changed)".to_owned()
        }
        (StoreDivision::ClosedSafe, _) => format!("closed-safe ({odd}, no other was changed)"),
        (StoreDivision::OpenOnly, Some(image_size)) => {
            format!("open-only (training images of at most {image_size} px, {odd})")
        }
        (StoreDivision::OpenOnly, None) if num_skipped > 0 => {
            format!("open-only (a store must have all images to be closed-safe; {odd})")
        }
        (StoreDivision::OpenOnly, None) => {
            format!("open-only (training images were shrunk, {odd})")
        }
    }
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
    }
}
