//! A directory for one test, on the disk that cargo builds on; removed when the test passed, kept when it failed.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Owns a fresh directory below cargo's target directory.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes an empty directory whose name begins with `name`.
    pub fn new(name: &str) -> Scratch {
        // Relaxed: only uniqueness within this process matters.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = target_directory().join("tmp").join(format!("{name}-{}-{number}", std::process::id()));
        // A directory of this name can only be the rest of a dead process that had our number.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path)
            .unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
        Scratch { path }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path inside.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the test failed; its files are kept in {}", self.path.display());
        } else if let Err(error) = std::fs::remove_dir_all(&self.path) {
            eprintln!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Cargo's target directory, found from where the running test program lies (`target/PROFILE/deps/program`).
pub fn target_directory() -> PathBuf {
    profile_directory().parent().expect("a profile's directory lies in the target directory").to_path_buf()
}

/// The directory of the running profile's binaries (`target/debug`, `target/release`).
pub fn profile_directory() -> PathBuf {
    let program = std::env::current_exe().expect("a running program knows its path");
    let mut directory = program.parent().expect("a program lies in a directory");
    if directory.ends_with("deps") {
        directory = directory.parent().expect("cargo keeps `deps` inside the profile's directory");
    }
    directory.to_path_buf()
}
