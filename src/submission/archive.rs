//! Writes a `tar.gz` whose bytes depend on file names and contents only.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

/// Packs `root/folder` into `archive`. Every entry gets `time`, in seconds since the Unix epoch.
pub(super) fn write_archive(
    root: &Path,
    folder: &Path,
    archive: &Path,
    time: u64,
) -> io::Result<()> {
    let file = BufWriter::new(File::create_new(archive)?);
    let mut tar = Builder::new(GzBuilder::new().mtime(0).write(file, Compression::best()));
    let mut paths = vec![folder.to_path_buf()];
    add_below(root, folder, &mut paths)?;
    paths.sort_unstable();
    for path in paths {
        append(&mut tar, root, &path, time)?;
    }
    tar.into_inner()?.finish()?.flush()
}

fn add_below(root: &Path, folder: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            add_below(root, &path, paths)?;
        }
        paths.push(path);
    }
    Ok(())
}

fn append(tar: &mut Builder<impl Write>, root: &Path, path: &Path, time: u64) -> io::Result<()> {
    let metadata = root.join(path).metadata()?;
    let executable = metadata.is_dir() || metadata.permissions().mode() & 0o100 != 0;
    let mut header = Header::new_gnu();
    header.set_mode(if executable { 0o755 } else { 0o644 });
    header.set_mtime(time);
    header.set_uid(0);
    header.set_gid(0);
    if metadata.is_dir() {
        header.set_entry_type(EntryType::Directory);
        header.set_size(0);
        return tar.append_data(&mut header, path, io::empty());
    }
    header.set_entry_type(EntryType::Regular);
    header.set_size(metadata.len());
    tar.append_data(&mut header, path, File::open(root.join(path))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_tree_gives_the_same_bytes_and_unpacks_to_itself() {
        let folder = tempfile::tempdir().unwrap();
        let name = "n".repeat(120);
        let pack = |request: [&str; 2], archive: &str| {
            let root = folder.path().join(archive);
            for file in request {
                let path = root.join("tree").join(&name).join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, file).unwrap();
                let times = fs::FileTimes::new().set_modified(std::time::SystemTime::now());
                File::open(&path).unwrap().set_times(times).unwrap();
            }
            let packed = folder.path().join(format!("{archive}.tar.gz"));
            write_archive(&root, Path::new("tree"), &packed, 1_700_000_000).unwrap();
            fs::read(packed).unwrap()
        };
        let bytes = pack(["a", "b"], "one");
        assert_eq!(bytes, pack(["b", "a"], "two"));
        let unpacked = folder.path().join("unpacked");
        let tar = flate2::read::GzDecoder::new(&bytes[..]);
        tar::Archive::new(tar).unpack(&unpacked).unwrap();
        let read = fs::read_to_string(unpacked.join("tree").join(&name).join("b")).unwrap();
        assert_eq!(read, "b");
    }
}
