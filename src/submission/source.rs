//! Reads the program's source for a submission, from the commit with which the runs were made if
//! there is a git repository.

use std::{
    fs,
    io::Read,
    path::{Component, Path, PathBuf},
    process::Command,
};

use super::error::PackageError;

/// Folders in a source folder that do not belong to the source.
const LEFT_OUT: [&str; 2] = ["target", "results"];

/// One source file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SourceFile {
    /// Path in the source folder. A leading dot of a name is written as `dot.`, because no name in
    /// a submission may start with a dot.
    pub(super) path: PathBuf,
    pub(super) content: Vec<u8>,
    pub(super) executable: bool,
}

/// The source files and a description of their origin.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) files: Vec<SourceFile>,
    pub(super) origin: String,
}

impl Source {
    /// Reads the source at `root`: from `commit`, from the last commit if the runs do not name one,
    /// or from the files if `root` is not a git repository.
    pub(super) fn read(root: &Path, commit: Option<&str>) -> Result<Self, PackageError> {
        let is_ours = fs::read_to_string(root.join("Cargo.toml"))
            .is_ok_and(|text| text.contains("name = \"mlperf-run\""));
        if !is_ours {
            return Err(PackageError::NoSource(root.into()));
        }
        let mut source = if root.join(".git").exists() {
            Self::of_commit(root, commit)?
        } else {
            let mut files = Vec::new();
            add_folder(root, Path::new(""), &mut files)?;
            Self { files, origin: "a folder that is not a git repository".into() }
        };
        source.files.retain(|file| !is_left_out(&file.path));
        source.files.iter_mut().for_each(|file| file.path = without_dots(&file.path));
        source.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(source)
    }

    fn of_commit(root: &Path, commit: Option<&str>) -> Result<Self, PackageError> {
        let clean = commit.map(|commit| commit.trim_end_matches("-dirty"));
        let failed = |message: String| PackageError::NoCommit {
            commit: commit.unwrap_or("HEAD").to_owned(),
            clone: root.into(),
            message,
        };
        // Git might take the name for an option that writes a file.
        let is_plain = |name: &str| name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if clean.is_some_and(|commit| !is_plain(commit)) {
            return Err(failed("it is not the name of a commit".into()));
        }
        let output = Command::new("git")
            .arg("-C")
            .arg(root)
            .args(["archive", "--format=tar", clean.unwrap_or("HEAD")])
            .output()
            .map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        let files = unpacked(&output.stdout).map_err(|error| failed(error.to_string()))?;
        let origin = match commit {
            None => "the last commit; the runs do not name theirs".to_owned(),
            Some(commit) if clean == Some(commit) => format!("commit {commit}"),
            Some(commit) => format!("commit {commit}: the runs had uncommitted changes"),
        };
        Ok(Self { files, origin })
    }
}

fn unpacked(archive: &[u8]) -> std::io::Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        if entry.header().entry_type().is_file() {
            let path = entry.path()?.into_owned();
            let executable = entry.header().mode()? & 0o100 != 0;
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            files.push(SourceFile { path, content, executable });
        }
    }
    Ok(files)
}

/// Adds the files in `folder`, relative to `root`; skips links and hidden files.
fn add_folder(root: &Path, folder: &Path, files: &mut Vec<SourceFile>) -> Result<(), PackageError> {
    use std::os::unix::fs::PermissionsExt;
    let read = |path: &Path, source| PackageError::Read { path: path.into(), source };
    let whole = root.join(folder);
    for entry in whole.read_dir().map_err(|error| read(&whole, error))? {
        let entry = entry.map_err(|error| read(&whole, error))?;
        let path = folder.join(entry.file_name());
        let metadata = entry.metadata().map_err(|error| read(&entry.path(), error))?;
        if entry.file_name().to_string_lossy().starts_with('.') || is_left_out(&path) {
            continue;
        }
        if metadata.is_dir() {
            add_folder(root, &path, files)?;
        } else if metadata.is_file() {
            let content = fs::read(entry.path()).map_err(|error| read(&entry.path(), error))?;
            let executable = metadata.permissions().mode() & 0o100 != 0;
            files.push(SourceFile { path, content, executable });
        }
    }
    Ok(())
}

fn is_left_out(path: &Path) -> bool {
    LEFT_OUT.iter().any(|folder| path.starts_with(folder))
}

fn without_dots(path: &Path) -> PathBuf {
    let renamed = |component: Component| {
        let name = component.as_os_str().to_string_lossy().into_owned();
        name.strip_prefix('.').map_or(name.clone(), |rest| format!("dot.{rest}"))
    };
    path.components().map(renamed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, name: &str, text: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn git(root: &Path, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .arg("-C")
            .arg(root)
            .args(["-c", "user.name=x", "-c", "user.email=x@x", "-c", "commit.gpgsign=false"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn names(source: &Source) -> Vec<String> {
        source.files.iter().map(|file| file.path.display().to_string()).collect()
    }

    #[test]
    fn the_source_is_that_of_the_runs_commit_despite_later_changes() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        put(root, "Cargo.toml", "name = \"mlperf-run\"\n");
        put(root, ".cargo/config.toml", "then");
        put(root, "results/x", "");
        git(root, &["init", "-q"]);
        git(root, &["add", "-A"]);
        git(root, &["commit", "-qm", "one"]);
        let commit = git(root, &["rev-parse", "--short", "HEAD"]);
        put(root, ".cargo/config.toml", "now");
        put(root, "secret", "");
        for named in [commit.clone(), format!("{commit}-dirty")] {
            let source = Source::read(root, Some(&named)).unwrap();
            assert_eq!(names(&source), ["Cargo.toml", "dot.cargo/config.toml"]);
            assert_eq!(source.files[1].content, b"then");
            assert!(source.origin.starts_with(&format!("commit {named}")));
        }
        for unknown in ["0123456789ab", "--output=written"] {
            let error = Source::read(root, Some(unknown)).unwrap_err().to_string();
            assert!(error.contains(unknown) && error.contains("--source"), "{error}");
        }
        assert!(!Path::new("written").exists());
    }

    #[test]
    fn a_folder_without_git_is_taken_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let error = Source::read(root, None).unwrap_err().to_string();
        assert!(error.contains("--source DIR"), "{error}");
        put(root, "Cargo.toml", "[package]\nname = \"mlperf-run\"\n");
        put(root, "src/lib.rs", "");
        put(root, "target/debug/x", "");
        put(root, ".hidden", "");
        assert_eq!(names(&Source::read(root, None).unwrap()), ["Cargo.toml", "src/lib.rs"]);
    }
}
