//! A file that is written beside the old one, synced, and takes the old one's name when it is whole: readers see the
//! old file or the new one, also after a crash.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use ringpost_reactor::fs::{lock_exclusive, sync_dir};

/// Buffer of a file that is being written.
const BUFFER_BYTES: usize = 1 << 20;

/// Who may read the new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// Exactly this mode, whatever the umask says: that of the source without what it does not grant to others.
    Mode(u32),
    /// Mode 0644 less the umask.
    Usual,
    /// Mode, user and group of the file that is replaced.
    AsBefore,
}

/// Keeps other writers of the same file away.
#[derive(Debug)]
pub struct WriteLock(#[allow(dead_code)] Option<File>); // held, never read

impl WriteLock {
    /// Waits for the file at `path`; where there is none yet, nothing is locked.
    ///
    /// # Errors
    /// The file cannot be opened or locked.
    pub fn wait(path: &Path) -> io::Result<WriteLock> {
        loop {
            let file = match File::open(path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(WriteLock(None)),
                Err(error) => return Err(error),
            };
            lock_exclusive(&file)?;
            // Whoever had the lock may have put a new file in its place.
            let (ours, there) = (file.metadata()?, fs::metadata(path));
            if there.is_ok_and(|there| there.ino() == ours.ino() && there.dev() == ours.dev()) {
                return Ok(WriteLock(Some(file)));
            }
        }
    }
}

/// Removes an unfinished file.
struct Unfinished<'a>(&'a Path);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        // It is gone already when it has taken its name.
        let _ = fs::remove_file(self.0);
    }
}

/// Writes a new file at `path`.
///
/// # Errors
/// Whatever fails; the old file is then as it was.
pub(super) fn replace(
    path: &Path,
    ownership: Ownership,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let fresh = PathBuf::from(name);
    let _unfinished = Unfinished(&fresh);
    // One of the same name was left by a process of the same number that died.
    let _ = fs::remove_file(&fresh);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&fresh)?;
    match ownership {
        Ownership::Usual => {}
        Ownership::Mode(mode) => file.set_permissions(fs::Permissions::from_mode(mode))?,
        Ownership::AsBefore => {
            let before = fs::metadata(path)?;
            let ours = file.metadata()?;
            if (before.uid(), before.gid()) != (ours.uid(), ours.gid()) {
                fchown(&file, Some(before.uid()), Some(before.gid()))?;
            }
            file.set_permissions(fs::Permissions::from_mode(before.mode() & 0o7777))?;
        }
    }
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, file);
    write(&mut out)?;
    out.flush()?;
    out.get_ref().sync_all()?;
    fs::rename(&fresh, path)?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}
