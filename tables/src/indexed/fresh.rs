//! A file that is written beside the old one, synced, and takes the old one's name when it is whole: readers see the
//! old file or the new one, also after a crash.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use ringpost_reactor::fs::{lock_exclusive, sync_dir};

/// A file is written by as much at a time, and at multiples of it: the page cache then keeps it in pages of this size
/// (ext4, xfs), and whoever maps it needs one entry of the TLB where there were 512. Measured with ten million entries: a
/// lookup takes half the time.
const CHUNK_BYTES: usize = 2 << 20;

/// Writes a file from its beginning, chunk by chunk.
#[derive(Debug)]
pub(super) struct ChunkWriter {
    file: File,
    chunk: Vec<u8>,
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(CHUNK_BYTES - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..count]);
        if self.chunk.len() == CHUNK_BYTES {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.chunk)?;
        self.chunk.clear();
        Ok(())
    }
}

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
    write: impl FnOnce(&mut ChunkWriter) -> io::Result<()>,
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
    let mut out = ChunkWriter { file, chunk: Vec::with_capacity(CHUNK_BYTES) };
    write(&mut out)?;
    out.flush()?;
    out.file.sync_all()?;
    fs::rename(&fresh, path)?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}
