//! Lists everything below a folder and checks names, sizes and links, as `repo_checker` of
//! `mlperf_logging` does, and more. Opens no file and follows no link to a folder.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use super::code::Code;
use super::finding::Findings;

/// The largest file size that a submission may have, in bytes.
pub(super) const MAX_FILE_BYTES: u64 = 50 * 1024 * 1024;

/// Everything below a submission's folder.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    /// Regular files, relative to the submission's folder, sorted.
    pub(super) files: Vec<PathBuf>,
}

impl Inventory {
    /// Walks through `root`.
    pub(super) fn of(root: &Path, findings: &mut Findings) -> Self {
        let mut walk = Walk { root, findings, files: Vec::new(), open: vec![PathBuf::new()] };
        if let Some(name) = root.file_name() {
            walk.name(Path::new(""), &name.to_string_lossy());
        }
        while let Some(folder) = walk.open.pop() {
            walk.folder(&folder);
        }
        walk.files.sort_unstable();
        Self { files: walk.files }
    }
}

struct Walk<'a> {
    root: &'a Path,
    findings: &'a mut Findings,
    files: Vec<PathBuf>,
    /// Folders that have not been read yet.
    open: Vec<PathBuf>,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &Path) {
        let entries = match self.root.join(folder).read_dir() {
            Ok(entries) => entries,
            Err(error) => return self.findings.add(Code::Unreadable, folder, error.to_string()),
        };
        for entry in entries {
            match entry.and_then(|entry| Ok((entry.file_name(), entry.file_type()?))) {
                Ok((name, kind)) => self.entry(&folder.join(name), kind),
                Err(error) => self.findings.add(Code::Unreadable, folder, error.to_string()),
            }
        }
    }

    fn entry(&mut self, path: &Path, kind: fs::FileType) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // The reference does not check the name of a link to a folder.
        if !(kind.is_symlink() && self.root.join(path).is_dir()) {
            self.name(path, &name);
        }
        if kind.is_dir() {
            self.open.push(path.into());
        } else if kind.is_symlink() {
            self.link(path);
        } else if kind.is_file() {
            self.size(path);
            self.files.push(path.into());
        } else {
            let message = format!("{name} is a pipe, a socket or a device; it must be a file");
            self.findings.add(Code::NotAFile, path, message);
        }
    }

    fn name(&mut self, path: &Path, name: &str) {
        let reason = match (name.contains(' '), name.starts_with('.')) {
            (true, _) => "a space",
            (false, true) => "a dot at the start",
            (false, false) => return,
        };
        self.findings.add(Code::NameUnfit, path, format!("the name {name:?} has {reason}"));
    }

    fn size(&mut self, path: &Path) {
        match self.root.join(path).symlink_metadata() {
            Ok(metadata) if metadata.len() > MAX_FILE_BYTES => {
                let mib = metadata.len() / 1024 / 1024;
                let message = format!("it is {mib} MiB large; 50 MiB are allowed");
                self.findings.add(Code::FileTooBig, path, message);
            }
            Ok(_) => {}
            Err(error) => self.findings.add(Code::Unreadable, path, error.to_string()),
        }
    }

    fn link(&mut self, path: &Path) {
        let whole = self.root.join(path);
        let target = match whole.read_link() {
            Ok(target) => target,
            Err(error) => return self.findings.add(Code::Unreadable, path, error.to_string()),
        };
        let to = target.display();
        if self.leaves(&whole, path, &target) {
            let message = format!("it points to {to}, which is not in the submission");
            self.findings.add(Code::LinkLeaves, path, message);
        }
        if !whole.exists() {
            self.findings.add(Code::BrokenLink, path, format!("{to} does not exist"));
        } else if target.is_relative() && !whole.is_dir() {
            self.findings.add(Code::RelativeLink, path, format!("it points to {to}"));
        }
    }

    /// Whether a link points outside the tree, either by its text or after following further links.
    fn leaves(&self, whole: &Path, path: &Path, target: &Path) -> bool {
        let ends_outside = match (whole.canonicalize(), self.root.canonicalize()) {
            (Ok(end), Ok(root)) => !end.starts_with(root),
            _ => false,
        };
        let mut depth = path.components().count() - 1;
        let climbs_out = target.components().any(|component| {
            match component {
                Component::ParentDir if depth == 0 => return true,
                Component::ParentDir => depth -= 1,
                Component::Normal(_) => depth += 1,
                _ => {}
            }
            false
        });
        target.is_absolute() || climbs_out || ends_outside
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use super::*;

    fn codes(root: &Path) -> Vec<String> {
        let mut findings = Findings::default();
        Inventory::of(root, &mut findings);
        let told = findings.sorted();
        told.iter().map(|it| format!("{} {}", it.code, it.path.display())).collect()
    }

    #[test]
    fn names_sizes_links_and_special_files_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("tree");
        fs::create_dir_all(root.join("a b/.git")).unwrap();
        fs::write(root.join("fine"), "").unwrap();
        fs::write(root.join(".hidden"), "").unwrap();
        let big = fs::File::create(root.join("big")).unwrap();
        big.set_len(MAX_FILE_BYTES + 1).unwrap();
        fs::File::create(root.join("allowed")).unwrap().set_len(MAX_FILE_BYTES).unwrap();
        symlink("fine", root.join("near")).unwrap();
        symlink("nowhere", root.join("broken")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink("../elsewhere", root.join("out")).unwrap();
        symlink("/", root.join("top")).unwrap();
        symlink(".", root.join("self")).unwrap();
        let _socket = UnixListener::bind(root.join("socket")).unwrap();
        insta::assert_snapshot!(codes(&root).join("\n"), @r"
        name-unfit .hidden
        name-unfit a b
        name-unfit a b/.git
        file-too-big big
        broken-link broken
        broken-link loop
        relative-link near
        broken-link out
        link-leaves out
        not-a-file socket
        link-leaves top
        ");
    }

    #[test]
    fn a_link_through_a_link_out_of_the_tree_is_outside() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("tree");
        fs::create_dir(&root).unwrap();
        fs::write(folder.path().join("outside"), "").unwrap();
        symlink(folder.path(), root.join("up")).unwrap();
        symlink("up/outside", root.join("file")).unwrap();
        assert_eq!(codes(&root), ["relative-link file", "link-leaves file", "link-leaves up"]);
    }

    #[test]
    fn files_are_sorted() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b", "a", "c"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let files = Inventory::of(folder.path(), &mut Findings::default()).files;
        assert_eq!(files, ["a", "b", "c"].map(PathBuf::from));
    }
}
