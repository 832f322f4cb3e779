//! Packages runs into a submission: `SUBMITTER/` with descriptions, code, results, license and
//! hashes, and an archive of it.
//!
//! Everything is written to a temporary folder next to the target, verified there and then renamed,
//! so a submission is either complete or absent. The same runs give the same bytes.

use std::{
    fs::{self, File, FileTimes},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde_json::{Map, Value};

use super::archive::write_archive;
use super::checksums::{CHECKSUMS, checksums};
use super::error::PackageError;
use super::implementation;
use super::runs::RunSet;
use super::source::Source;
use super::system::{Availability, SystemDescription, SystemError};
use super::verify::{Verdict, verify};
use crate::{
    compliance::Strictness,
    hash::sha256_of,
    mlperf::{LEGEND, UNVERIFIED},
    recipe::DeviceChoice,
};

const LICENSE: &str = include_str!("../../LICENSE");
const IMPLEMENTATION: &str = "benchmarks/resnet/implementations/mlperf-run";

type Members = Map<String, Value>;

/// What to package.
#[derive(Clone, Debug)]
pub struct PackageRequest {
    /// Results folders of systems, or run folders.
    pub dirs: Vec<PathBuf>,
    /// The target folder; must not exist.
    pub out: PathBuf,
    /// The submitter, if not the one in the description.
    pub submitter: Option<String>,
    /// The description's name or file, if not that of the system.
    pub description: Option<String>,
    /// The folder of the program's source.
    pub source: PathBuf,
    /// This machine's name. A description is filled in from this machine if the runs were made on
    /// it.
    pub host: String,
    /// What rejects the submission.
    pub strictness: Strictness,
}

/// A submission that was written.
#[derive(Clone, Debug)]
pub struct Package {
    /// The submitter's folder.
    pub submission: PathBuf,
    /// Its archive.
    pub archive: PathBuf,
    /// SHA-256 of the archive.
    pub sha256: String,
    /// The runs of each system, with the chosen ones.
    pub sets: Vec<RunSet>,
    /// The findings.
    pub verdict: Verdict,
    /// Notes for the user.
    pub notes: Vec<String>,
}

/// Creates the submission that `request` describes.
pub fn package(request: &PackageRequest) -> Result<Package, PackageError> {
    if request.out.symlink_metadata().is_ok() {
        return Err(PackageError::OutExists(request.out.clone()));
    }
    let sets = RunSet::gather(&request.dirs)?;
    check_alike(&sets)?;
    let (descriptions, mut notes) = describe(request, &sets)?;
    let submitter = one_submitter(request, &descriptions)?;
    let source = Source::read(&request.source, sets[0].runs[0].manifest.commit.as_deref())?;
    let folder = folder_name(&submitter);
    let files = files(&sets, &descriptions, &source);

    let staging = StagingDir::beside(&request.out)?;
    let root = staging.path.join(&folder);
    write_tree(&root, files).map_err(write_error(&staging.path))?;
    let submission = request.out.join(&folder);
    let verdict = verify(&root, sets[0].ruleset, request.strictness);
    let verdict = Verdict { submission: submission.clone(), ..verdict };
    if !verdict.accepted(request.strictness) {
        return Err(PackageError::Rejected(Box::new(verdict)));
    }
    let archive = format!("{folder}.tar.gz");
    let sha256 = finish(&staging.path, &folder, &archive, stamp(&sets))
        .map_err(write_error(&staging.path))?;
    staging.put(&request.out)?;
    notes.extend(notes_of(&sets, &source));
    Ok(Package { submission, archive: request.out.join(archive), sha256, sets, verdict, notes })
}

/// All systems must be of one round and one commit, whose source is packaged.
fn check_alike(sets: &[RunSet]) -> Result<(), PackageError> {
    let commit = |set: &RunSet| set.runs[0].manifest.commit.clone().unwrap_or("unknown".into());
    let first = &sets[0];
    for other in &sets[1..] {
        let shared = [
            ("the ruleset", first.ruleset.to_string(), other.ruleset.to_string()),
            ("the commit", commit(first), commit(other)),
        ];
        for (what, ours, theirs) in shared {
            if ours != theirs {
                let (one, other) = (first.system.clone(), other.system.clone());
                return Err(PackageError::SystemsDiffer { what, one, other, ours, theirs });
            }
        }
    }
    Ok(())
}

/// The description's members for each set, and notes about them.
fn describe(
    request: &PackageRequest,
    sets: &[RunSet],
) -> Result<(Vec<Members>, Vec<String>), PackageError> {
    if request.description.is_some() && sets.len() > 1 {
        return Err(PackageError::SharedDescription(sets.len()));
    }
    let mut notes = Vec::new();
    let members = sets.iter().map(|set| {
        let mut system = describe_one(request, set)?;
        let (name, manifest) = (&set.system, &set.runs[0].manifest);
        if system.division != manifest.division {
            let division = manifest.division.as_str();
            notes.push(format!(
                "{name}: the description's division is now {division}, like the runs'"
            ));
            system.division = manifest.division;
        }
        let (ranks, accelerators) = (manifest.world_size, system.num_accelerators());
        if manifest.device == DeviceChoice::Cuda && accelerators != Some(ranks) {
            notes.push(format!(
                "{name}: the runs used {ranks} GPUs, which is not number_of_nodes times \
                 accelerators_per_node in the description"
            ));
        }
        Ok(system.members(set.ruleset))
    });
    let members = members.collect::<Result<_, PackageError>>()?;
    Ok((members, notes))
}

/// The written description, or else the machine's own if the runs were made on it; division and
/// status then come from the logs.
fn describe_one(request: &PackageRequest, set: &RunSet) -> Result<SystemDescription, PackageError> {
    let run = &set.runs[0];
    let is_here = run.manifest.host == request.host;
    let machine = || SystemDescription::from_machine();
    let name = request.description.as_deref();
    let mut system = match SystemDescription::find(name.unwrap_or(&set.system))? {
        Some(written) if is_here => written.completed_by(&machine()),
        Some(written) => written,
        None if name.is_some() => {
            return Err(SystemError::Unknown(name.unwrap_or_default().into()).into());
        }
        None if is_here => {
            let logged = run.report.availability.as_deref().and_then(Availability::named);
            let described = machine();
            let status = logged.unwrap_or(described.status);
            SystemDescription { status, division: run.manifest.division, ..described }
        }
        None => {
            let (system, host) = (set.system.clone(), run.manifest.host.clone());
            return Err(PackageError::NoDescription { system, host });
        }
    };
    if let Some(submitter) = &request.submitter {
        system.submitter.clone_from(submitter);
    }
    if system.other_software_stack.is_empty() {
        system.other_software_stack = format!("libtorch {}", run.manifest.libtorch);
    }
    system.check_names()?;
    Ok(system)
}

fn one_submitter(
    request: &PackageRequest,
    descriptions: &[Members],
) -> Result<String, PackageError> {
    if let Some(submitter) = &request.submitter {
        return Ok(submitter.clone());
    }
    let mut named = descriptions.iter().filter_map(|it| it.get("submitter")?.as_str());
    let first = named.next().unwrap_or_default().to_owned();
    match named.find(|other| *other != first) {
        Some(other) => Err(PackageError::SubmittersDiffer(first, other.to_owned())),
        None => Ok(first),
    }
}

/// The submitter as a folder name: no space, no leading dot, no shell characters.
fn folder_name(submitter: &str) -> String {
    let words = submitter.split(|c: char| !(c.is_alphanumeric() || "-_.+".contains(c)));
    let name = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-");
    let name = name.trim_start_matches(['.', '-']);
    if name.is_empty() { "submitter".into() } else { name.into() }
}

/// A file to write.
struct TreeFile {
    path: PathBuf,
    content: Content,
    executable: bool,
}

enum Content {
    Bytes(Vec<u8>),
    CopyOf(PathBuf),
}

impl TreeFile {
    fn text(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        let content = Content::Bytes(text.into().into_bytes());
        Self { path: path.into(), content, executable: false }
    }

    fn script(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        Self { executable: true, ..Self::text(path, text) }
    }
}

/// All files of the submission except the list of hashes.
fn files(sets: &[RunSet], descriptions: &[Members], source: &Source) -> Vec<TreeFile> {
    let implementation = Path::new(IMPLEMENTATION);
    let readme = implementation::readme(sets, &source.origin);
    let mut files = vec![
        TreeFile::text("LICENSE", LICENSE),
        TreeFile::text("README.md", top_readme(sets)),
        TreeFile::text(implementation.join("README.md"), readme),
        TreeFile::script(implementation.join("setup.sh"), implementation::SETUP),
        TreeFile::script(implementation.join("run_and_time.sh"), implementation::RUN_AND_TIME),
        TreeFile::script(
            implementation.join("init_datasets.sh"),
            implementation::init_datasets(sets),
        ),
    ];
    for (set, members) in sets.iter().zip(descriptions) {
        let system = &set.system;
        let config = implementation.join(format!("config_{system}.toml"));
        files.push(TreeFile::text(config, implementation::config(set)));
        let json = serde_json::to_string_pretty(members).expect("texts are JSON");
        files.push(TreeFile::text(format!("systems/{system}.json"), json + "\n"));
        for (number, run) in set.chosen().iter().enumerate() {
            files.push(TreeFile {
                path: format!("results/{system}/resnet/result_{number}.txt").into(),
                content: Content::CopyOf(run.report.path.clone()),
                executable: false,
            });
        }
    }
    files.extend(source.files.iter().map(|file| TreeFile {
        path: implementation.join("source").join(&file.path),
        content: Content::Bytes(file.content.clone()),
        executable: file.executable,
    }));
    files
}

fn top_readme(sets: &[RunSet]) -> String {
    let systems: Vec<_> = sets.iter().map(|set| format!("- {}\n", set.system)).collect();
    format!(
        "# MLPerf Training, ResNet-50, ruleset {}\n\n{}\n\
         `systems/` describes them, `results/` has their logs, and `{IMPLEMENTATION}/README.md` \
         explains how to repeat the runs. `sha256sum -c {CHECKSUMS}` verifies every file.\n\n\
         Unverified until MLCommons has reviewed it: \"{UNVERIFIED}\" {LEGEND}\n",
        sets[0].ruleset,
        systems.concat(),
    )
}

fn write_tree(root: &Path, files: Vec<TreeFile>) -> io::Result<()> {
    let mut names = Vec::new();
    for file in files {
        let path = root.join(&file.path);
        fs::create_dir_all(path.parent().unwrap_or(root))?;
        match file.content {
            Content::Bytes(bytes) => fs::write(&path, bytes)?,
            Content::CopyOf(from) => drop(fs::copy(from, &path)?),
        }
        let mode = if file.executable { 0o755 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        names.push(file.path);
    }
    names.sort_unstable();
    fs::write(root.join(CHECKSUMS), checksums(root, &names)?)
}

/// Writes the archive and its hash next to the tree and sets the time of all files. Returns the
/// hash.
fn finish(staging: &Path, folder: &str, archive: &str, time: Duration) -> io::Result<String> {
    write_archive(staging, Path::new(folder), &staging.join(archive), time.as_secs())?;
    let sha256 = sha256_of(&staging.join(archive))?.sha256;
    fs::write(staging.join(format!("{archive}.sha256")), format!("{sha256}  {archive}\n"))?;
    set_times(&staging.join(folder), SystemTime::UNIX_EPOCH + time)?;
    Ok(sha256)
}

fn set_times(path: &Path, time: SystemTime) -> io::Result<()> {
    if path.is_dir() {
        for entry in path.read_dir()? {
            set_times(&entry?.path(), time)?;
        }
    }
    File::open(path)?.set_times(FileTimes::new().set_modified(time))
}

/// The end of the last run: the time of every file, so that the same runs give the same archive.
fn stamp(sets: &[RunSet]) -> Duration {
    let stops = sets.iter().flat_map(|set| &set.runs).map(|run| run.timing.stop_ms);
    Duration::from_secs((stops.fold(0.0, f64::max) / 1000.0) as u64)
}

fn notes_of(sets: &[RunSet], source: &Source) -> Vec<String> {
    let mut notes = vec![format!("source: {}", source.origin)];
    for set in sets {
        let left_out = set.runs.len() - set.chosen.len();
        if left_out > 0 {
            notes.push(format!(
                "{}: {} of {} runs were chosen, by the rule of the median window",
                set.system,
                set.chosen.len(),
                set.runs.len()
            ));
        }
    }
    notes
}

fn write_error(path: &Path) -> impl Fn(io::Error) -> PackageError {
    |source| PackageError::Write { path: path.to_owned(), source }
}

/// A folder next to the target, which is removed unless it is renamed to the target.
struct StagingDir {
    path: PathBuf,
}

impl StagingDir {
    fn beside(out: &Path) -> Result<Self, PackageError> {
        let name = out.file_name().unwrap_or_default().to_string_lossy();
        let path = out.with_file_name(format!(".{name}.part-{}", std::process::id()));
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        fs::create_dir_all(parent.unwrap_or(Path::new("."))).map_err(write_error(out))?;
        fs::create_dir(&path).map_err(write_error(&path))?;
        Ok(Self { path })
    }

    fn put(self, out: &Path) -> Result<(), PackageError> {
        fs::rename(&self.path, out).map_err(write_error(out))
    }
}

impl Drop for StagingDir {
    fn drop(&mut self) {
        // Nothing is left to remove after the rename.
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_submitters_folder_has_a_name_that_the_repository_checker_accepts() {
        assert_eq!(folder_name("unverified, not a submission"), "unverified-not-a-submission");
        assert_eq!(folder_name("Zürich Labs"), "Zürich-Labs");
        assert_eq!(folder_name(" ../.hidden"), "hidden".to_owned());
        assert_eq!(folder_name("..."), "submitter");
    }

    #[test]
    fn a_staging_folder_that_is_not_renamed_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("new/out");
        let staging = StagingDir::beside(&out).unwrap();
        fs::write(staging.path.join("x"), "").unwrap();
        drop(staging);
        assert_eq!(folder.path().join("new").read_dir().unwrap().count(), 0);
    }
}
