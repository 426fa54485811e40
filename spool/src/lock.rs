//! One engine per spool directory.
//!
//! Receives: the spool's directory. Owns: `engine.lock` in it, locked with `flock` and holding the holder's process
//! id. Limits: none. On failure: the error names the holder; the caller exits 75 (sysexits: try again later).

use rustix::fs::{FlockOperation, flock};
use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

/// The lock's name in the directory.
const LOCK_NAME: &str = "engine.lock";
/// A queue command that works without an engine holds the lock while it does, [`EngineLock::is_held`] for an instant: an
/// engine that meets them tries so often again, after so long. Five seconds in all; who holds it longer is another engine.
const TRIES: u32 = 100;
const TRY_PAUSE: Duration = Duration::from_millis(50);

/// The right to use a spool directory; given up when dropped, or when the process ends in whatever way.
#[derive(Debug)]
pub struct EngineLock {
    _file: File,
}

/// Why the lock was not taken.
#[derive(Debug)]
pub enum LockError {
    /// Another engine has it.
    Held {
        /// The lock file.
        path: PathBuf,
        /// The holder's process id, if it could be read.
        pid: Option<u32>,
    },
    /// The directory or the file cannot be made or locked.
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { path, pid: Some(pid) } => {
                write!(f, "the spool is in use by process {pid} ({} is locked)", path.display())
            }
            Self::Held { path, pid: None } => {
                write!(f, "the spool is in use by another process ({} is locked)", path.display())
            }
            Self::Io { path, error } => write!(f, "cannot lock {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for LockError {}

impl EngineLock {
    /// Takes the lock of the spool in `directory`, which is created (mode 0700) if need be.
    pub fn take(directory: &Path) -> Result<EngineLock, LockError> {
        let path = directory.join(LOCK_NAME);
        Self::lock(directory, &path).map_err(|failure| match failure {
            Failure::Held(pid) => LockError::Held { path, pid },
            Failure::Io(error) => LockError::Io { path, error },
        })
    }

    /// Whether an engine has the spool in `directory` now. Changes nothing there.
    ///
    /// # Errors
    /// The lock file is there and cannot be looked at.
    pub fn is_held(directory: &Path) -> io::Result<bool> {
        let file = match File::open(directory.join(LOCK_NAME)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        // Given up again when the file is closed. Others who look share it.
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
            Err(errno) => Err(errno.into()),
        }
    }

    fn lock(directory: &Path, path: &Path) -> Result<EngineLock, Failure> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let mut taken = flock(&file, FlockOperation::NonBlockingLockExclusive);
        for _ in 1..TRIES {
            if taken != Err(rustix::io::Errno::WOULDBLOCK) {
                break;
            }
            std::thread::sleep(TRY_PAUSE);
            taken = flock(&file, FlockOperation::NonBlockingLockExclusive);
        }
        match taken {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let pid = match file.take(32).read_to_string(&mut text) {
                    Ok(_) => text.trim().parse().ok(),
                    Err(_) => None,
                };
                return Err(Failure::Held(pid));
            }
            Err(errno) => return Err(Failure::Io(errno.into())),
        }
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(format!("{}\n", std::process::id()).as_bytes())?;
        Ok(EngineLock { _file: file })
    }
}

enum Failure {
    Held(Option<u32>),
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_waits_for_a_command_that_has_the_spool_for_a_moment() {
        let directory = std::env::temp_dir().join(format!("ringpost-lock-{}", std::process::id()));
        let command = EngineLock::take(&directory).expect("nobody has it");
        let engine = std::thread::spawn({
            let directory = directory.clone();
            move || EngineLock::take(&directory).map(drop)
        });
        // How long the command takes: much longer than one look at the lock.
        std::thread::sleep(TRY_PAUSE * 10);
        assert!(!engine.is_finished(), "an engine must not give up at once");
        drop(command);
        engine.join().expect("taking a lock does not panic").expect("the engine has its turn");
        fs::remove_dir_all(&directory).expect("our own directory");
    }
}
