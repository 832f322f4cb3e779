//! `SHA256SUMS`: the hash of every file of a submission, in the format of `sha256sum -c`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
};

use super::code::Code;
use super::finding::Findings;
use super::inventory::MAX_FILE_BYTES;
use super::small_file::read_small;
use crate::hash::sha256_of;

/// The list's file name in the submission's folder.
pub(super) const CHECKSUMS: &str = "SHA256SUMS";

/// The list of `files` (paths below `root`), in their order.
pub(super) fn checksums(root: &Path, files: &[PathBuf]) -> io::Result<String> {
    let mut text = String::new();
    for file in files.iter().filter(|file| *file != Path::new(CHECKSUMS)) {
        let hash = sha256_of(&root.join(file))?.sha256;
        writeln!(text, "{hash}  {}", file.display()).expect("writing to a string succeeds");
    }
    Ok(text)
}

/// Compares `files` (paths below `root`) with the list, if there is one.
pub(super) fn verify_checksums(root: &Path, files: &[PathBuf], findings: &mut Findings) {
    let list = Path::new(CHECKSUMS);
    if !files.iter().any(|file| file == list) {
        return;
    }
    let text = match read_small(&root.join(list)) {
        Ok(text) => text,
        Err(error) => return findings.add(Code::ManifestDiffers, list, error.to_string()),
    };
    let mut listed = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        if let Some((hash, name)) = line.split_once("  ") {
            listed.insert(Path::new(name), hash);
        } else {
            let message = format!("line {number} is not a hash, two spaces and a name");
            findings.add(Code::ManifestDiffers, list, message);
        }
    }
    let there: BTreeSet<&Path> = files.iter().map(PathBuf::as_path).collect();
    for missing in listed.keys().filter(|name| !there.contains(*name)) {
        findings.add(Code::ManifestDiffers, missing, "it is listed but does not exist");
    }
    let compared =
        |file: &&Path| *file != list && !is_by_the_reference(file) && !is_too_big(root, file);
    for file in there.into_iter().filter(compared) {
        match (listed.get(file), sha256_of(&root.join(file))) {
            (None, _) => findings.add(Code::ManifestDiffers, file, "it is not listed"),
            (_, Err(error)) => findings.add(Code::Unreadable, file, error.to_string()),
            (Some(hash), Ok(found)) if found.sha256 != **hash => {
                findings.add(
                    Code::ManifestDiffers,
                    file,
                    "its content differs from the listed hash",
                );
            }
            _ => {}
        }
    }
}

/// The package checker writes this file into the tree that it checks.
fn is_by_the_reference(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name == "scaling.json")
}

/// Another finding reports the size already; hashing such a file might take hours.
fn is_too_big(root: &Path, file: &Path) -> bool {
    root.join(file).metadata().is_ok_and(|metadata| metadata.len() > MAX_FILE_BYTES)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn lists_as_sha256sum_does_and_finds_every_change() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for (name, text) in [("a", "abc"), ("b", ""), ("c", "")] {
            fs::write(root.join(name), text).unwrap();
        }
        let list = checksums(root, &["a", "b", "c"].map(PathBuf::from)).unwrap();
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a\n";
        assert!(list.starts_with(of_abc), "{list}");
        fs::write(root.join(CHECKSUMS), list + "odd\n").unwrap();
        fs::write(root.join("a"), "abd").unwrap();
        fs::remove_file(root.join("b")).unwrap();
        fs::write(root.join("d"), "").unwrap();
        fs::write(root.join("scaling.json"), "").unwrap();
        let files = ["SHA256SUMS", "a", "c", "d", "scaling.json"].map(PathBuf::from);
        let mut findings = Findings::default();
        verify_checksums(root, &files, &mut findings);
        let told = findings.sorted();
        let told: Vec<_> =
            told.iter().map(|it| format!("{}: {}", it.path.display(), it.message)).collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        SHA256SUMS: line 4 is not a hash, two spaces and a name
        a: its content differs from the listed hash
        b: it is listed but does not exist
        d: it is not listed
        ");
    }
}
