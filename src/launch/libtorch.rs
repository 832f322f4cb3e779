//! Finds the libtorch that the ranks load. The launcher itself loads none.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::LaunchError;

/// The only version whose C++ interface the ranks support.
const NEEDED: &str = "2.11.0";

/// Asks Python for the folder of its torch, without importing it.
const PROBE: &str = "import importlib.util as u; s = u.find_spec('torch'); \
                     print(s.submodule_search_locations[0] if s else '')";

/// A libtorch of the right version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Libtorch {
    root: PathBuf,
    version: String,
}

/// A folder that may contain libtorch.
struct Candidate {
    root: PathBuf,
    /// The flag or variable that names it explicitly, in which case it must be valid.
    named_by: Option<&'static str>,
}

impl Libtorch {
    /// Searches, in this order: `--libtorch`, `MLPERF_LIBTORCH`, `LIBTORCH`, the torch of the Python
    /// environment into which this program is installed, the folder used by the build, and the torch of
    /// the `python3` in `PATH`. The first one that exists is used; if its version is wrong, that is an
    /// error.
    pub fn find(flag: Option<&Path>) -> Result<Self, LaunchError> {
        let baked_in = option_env!("MLPERF_RUN_LIBTORCH_LIB");
        let flag = flag.map(|root| Candidate::named(root.to_owned(), "--libtorch"));
        let ours = env::var_os("MLPERF_LIBTORCH")
            .map(|root| Candidate::named(root.into(), "MLPERF_LIBTORCH"));
        let others = env::var_os("LIBTORCH").map(|root| Candidate::stray(root.into()));
        let built = baked_in.and_then(|lib| Path::new(lib).parent().map(Path::to_owned));
        let environment = std::iter::once_with(|| torch_of(&own_python()?)).flatten();
        let python = std::iter::once_with(|| torch_of(Path::new("python3"))).flatten();
        let found = environment.chain(built).chain(python).map(Candidate::stray);
        choose(flag.into_iter().chain(ours).chain(others).chain(found))
    }

    /// The folder with the shared libraries.
    pub fn lib_dir(&self) -> PathBuf {
        self.root.join("lib")
    }

    /// The version in its `version.py`, such as `2.11.0+cu130`.
    pub fn version(&self) -> &str {
        &self.version
    }
}

#[cfg(test)]
impl Libtorch {
    /// A libtorch for tests that need not exist.
    pub(super) fn fake(root: &str) -> Self {
        Self { root: root.into(), version: NEEDED.to_owned() }
    }
}

impl Candidate {
    fn named(root: PathBuf, by: &'static str) -> Self {
        Self { root, named_by: Some(by) }
    }

    fn stray(root: PathBuf) -> Self {
        Self { root, named_by: None }
    }
}

fn choose(candidates: impl Iterator<Item = Candidate>) -> Result<Libtorch, LaunchError> {
    for Candidate { root, named_by } in candidates {
        // Python packages, and `scripts/setup`, put it into a subfolder.
        let mut folders = [root.join("torch"), root.clone()].into_iter();
        match (folders.rfind(|folder| folder.join("lib/libtorch_cpu.so").is_file()), named_by) {
            (Some(folder), _) => return at(folder),
            (None, Some(origin)) => return Err(LaunchError::NotLibtorch { root, origin }),
            (None, None) => {}
        }
    }
    Err(if cfg!(feature = "torch") {
        LaunchError::NoLibtorch { needed: NEEDED }
    } else {
        LaunchError::BuiltWithoutTorch { needed: NEEDED }
    })
}

/// The libtorch in `root`. The path becomes absolute, because the loader must find it from any
/// folder.
fn at(root: PathBuf) -> Result<Libtorch, LaunchError> {
    let root = root.canonicalize().unwrap_or(root);
    let version = fs::read_to_string(root.join("version.py"))
        .ok()
        .and_then(|text| parse_version(&text))
        .unwrap_or_else(|| "unknown".to_owned());
    if version.split('+').next() == Some(NEEDED) {
        return Ok(Libtorch { root, version });
    }
    Err(LaunchError::LibtorchVersion { root, found: version, needed: NEEDED })
}

/// The version in a `version.py`: `__version__ = '2.11.0+cu130'`.
fn parse_version(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("__version__"))?;
    let (_, value) = line.split_once('=')?;
    Some(value.trim().trim_matches(['\'', '"']).to_owned())
}

/// The Python of the environment into which a wheel of this program is installed: it is in the same
/// folder.
fn own_python() -> Option<PathBuf> {
    let python = env::current_exe().ok()?.with_file_name("python3");
    python.is_file().then_some(python)
}

/// The folder of torch, as `python` finds it.
fn torch_of(python: &Path) -> Option<PathBuf> {
    let mut python = Command::new(python);
    python.args(["-c", PROBE]).stdin(Stdio::null()).stderr(Stdio::null());
    let output = python.output().ok()?;
    let root = String::from_utf8(output.stdout).ok()?;
    (!root.trim().is_empty()).then(|| root.trim().into())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn fake(version_line: &str) -> TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("lib")).unwrap();
        fs::write(root.path().join("lib/libtorch_cpu.so"), "").unwrap();
        let text = format!("from typing import Optional\n\n{version_line}\ndebug = False\n");
        fs::write(root.path().join("version.py"), text).unwrap();
        root
    }

    fn stray(root: &TempDir) -> Candidate {
        Candidate::stray(root.path().to_owned())
    }

    #[test]
    fn the_first_folder_that_exists_is_used() {
        let (empty, right) = (tempfile::tempdir().unwrap(), fake("__version__ = '2.11.0+cu130'"));
        let found = choose([stray(&empty), stray(&right)].into_iter()).unwrap();
        assert_eq!(found.version(), "2.11.0+cu130");
        assert_eq!(found.lib_dir(), right.path().canonicalize().unwrap().join("lib"));
    }

    #[test]
    fn another_version_is_rejected_with_both_versions_in_the_message() {
        for (line, found) in [
            ("__version__ = '2.9.1'", "2.9.1"),
            ("__version__ = '2.11.01'", "2.11.01"),
            ("nothing = 0", "unknown"),
        ] {
            let error = choose([stray(&fake(line))].into_iter()).unwrap_err().to_string();
            let says = format!("is version {found}, but this program requires 2.11.0; run");
            assert!(error.contains(&says), "{error}");
        }
    }

    #[test]
    fn the_folder_that_contains_the_folder_torch_is_accepted_too() {
        let (packages, right) = (tempfile::tempdir().unwrap(), fake("__version__ = '2.11.0'"));
        std::os::unix::fs::symlink(right.path(), packages.path().join("torch")).unwrap();
        let named = Candidate::named(packages.path().to_owned(), "--libtorch");
        let found = choose([named].into_iter()).unwrap();
        assert_eq!(found.lib_dir(), right.path().canonicalize().unwrap().join("lib"));
    }

    #[test]
    fn an_explicit_folder_without_libtorch_is_an_error() {
        let (empty, right) = (tempfile::tempdir().unwrap(), fake("__version__ = '2.11.0'"));
        let named = Candidate::named(empty.path().to_owned(), "--libtorch");
        let error = choose([named, stray(&right)].into_iter()).unwrap_err().to_string();
        assert!(error.contains("given by --libtorch"), "{error}");
    }

    #[test]
    fn the_error_for_a_missing_libtorch_has_the_fix() {
        let error = choose(std::iter::empty()).unwrap_err().to_string();
        assert!(error.contains("scripts/setup") && error.contains("--libtorch"), "{error}");
    }
}
