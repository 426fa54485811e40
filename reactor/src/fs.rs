//! File-system upkeep: directories, names, locks, free space.
//!
//! Every function here **blocks the thread** and goes around the ring. They are for the start of a shard and for rare
//! upkeep (a segment created or recycled), never for the path of a message.

use rustix::fs::{self as sys, FlockOperation, Mode, OFlags};
use std::{
    ffi::OsString,
    fs,
    io::{self, Write},
    os::fd::OwnedFd,
    path::Path,
};

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirectoryEntry {
    /// The name, without the directory.
    pub name: OsString,
    /// Whether it is itself a directory.
    pub is_directory: bool,
    /// Length of a file in bytes.
    pub bytes: u64,
}

/// Creates `path` and its missing parents with mode 0700 (the spool is nobody else's business).
pub fn create_dir_all(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Creates `path` and its missing parents so that everybody may pass through and list it, whatever the umask says of
/// `path`. One that exists keeps its mode.
pub fn create_open_dir(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

/// The names in a directory, sorted.
pub fn list_dir(path: &Path) -> io::Result<Vec<DirectoryEntry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        entries.push(DirectoryEntry {
            name: entry.file_name(),
            is_directory: metadata.is_dir(),
            bytes: metadata.len(),
        });
    }
    entries.sort();
    Ok(entries)
}

/// Renames `from` to `to`, replacing it. Durable only after [`sync_dir`] on the directory.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

/// Removes a file. Durable only after [`sync_dir`] on the directory.
pub fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)
}

/// Makes the names in `directory` durable.
pub fn sync_dir(directory: &Path) -> io::Result<()> {
    fs::File::open(directory)?.sync_all()
}

/// Whether something exists at `path`.
pub fn exists(path: &Path) -> io::Result<bool> {
    fs::exists(path)
}

/// The contents of a small file.
///
/// Fails with `FileTooLarge` if it holds more than `bytes_max`.
pub fn read_small(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    use io::Read;
    let mut contents = Vec::new();
    fs::File::open(path)?.take(bytes_max.saturating_add(1)).read_to_end(&mut contents)?;
    if contents.len() as u64 > bytes_max {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(contents)
}

/// Writes a small file durably: to `path` with the suffix `.new`, synced, renamed, directory synced.
pub fn replace_small(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = Path::new(&fresh);
    let mut file = fs::File::create(fresh)?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(fresh, path)?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}

/// Room on the file system that holds a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Size of the file system in bytes.
    pub total_bytes: u64,
    /// Bytes that an unprivileged process may still take.
    pub available_bytes: u64,
}

/// How much room the file system that holds `path` has.
pub fn space(path: &Path) -> io::Result<Space> {
    let figures = sys::statvfs(path)?;
    Ok(Space {
        total_bytes: figures.f_blocks.saturating_mul(figures.f_frsize),
        available_bytes: figures.f_bavail.saturating_mul(figures.f_frsize),
    })
}

/// An exclusive lock on a file, held until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct LockFile {
    _file: OwnedFd,
}

impl LockFile {
    /// Creates `path` if need be, locks it and writes our process id into it.
    ///
    /// Fails with `WouldBlock` if another process (or another `LockFile` of this one) holds the lock.
    pub fn take(path: &Path) -> io::Result<LockFile> {
        let file = sys::open(path, OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)?;
        sys::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        sys::ftruncate(&file, 0)?;
        rustix::io::pwrite(&file, format!("{}\n", std::process::id()).as_bytes(), 0)?;
        Ok(LockFile { _file: file })
    }
}

/// Waits until this open file is locked by nobody else and locks it, until it is closed. Only programs that ask the same
/// way are kept out.
pub fn lock_exclusive(file: &fs::File) -> io::Result<()> {
    sys::flock(file, FlockOperation::LockExclusive).map_err(io::Error::from)
}

#[cfg(all(test, not(loom)))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("ringpost-reactor-fs-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn a_lock_is_exclusive_and_ends_with_its_holder() {
        let directory = scratch("lock");
        let path = directory.join("lock");
        let first = LockFile::take(&path).unwrap();
        assert_eq!(LockFile::take(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(first);
        LockFile::take(&path).unwrap();
        let id: u32 = fs::read_to_string(&path).unwrap().trim().parse().unwrap();
        assert_eq!(id, std::process::id());
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn names_come_sorted_and_small_files_are_replaced_whole() {
        let directory = scratch("names");
        replace_small(&directory.join("b"), b"one").unwrap();
        replace_small(&directory.join("b"), b"four").unwrap();
        replace_small(&directory.join("a"), b"").unwrap();
        create_dir_all(&directory.join("c/d")).unwrap();
        rename(&directory.join("a"), &directory.join("z")).unwrap();
        let names: Vec<_> = list_dir(&directory).unwrap();
        let expected: Vec<OsString> = ["b", "c", "z"].map(Into::into).to_vec();
        assert_eq!(names.iter().map(|entry| entry.name.clone()).collect::<Vec<_>>(), expected);
        assert_eq!(names[0].bytes, 4);
        assert!(names[1].is_directory);
        assert_eq!(read_small(&directory.join("b"), 4).unwrap(), b"four");
        assert_eq!(read_small(&directory.join("b"), 3).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        remove(&directory.join("z")).unwrap();
        assert!(!exists(&directory.join("z")).unwrap());
        assert!(space(&directory).unwrap().total_bytes > 0);
        fs::remove_dir_all(directory).unwrap();
    }
}
