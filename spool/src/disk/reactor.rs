//! The production disk: the shard's own ring carries its sockets and its spool.

use super::{AlignedBuffer, Disk, DiskFile};
use ringpost_reactor::{Handle, LogFile, LogMode, fs};
use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// A directory on a real file system, reached through a reactor.
pub struct ReactorDisk {
    handle: Handle,
    directory: PathBuf,
}

impl ReactorDisk {
    /// The files in `directory`, which is created if need be.
    pub fn new(handle: Handle, directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        Ok(Self { handle, directory: directory.to_owned() })
    }
}

impl Disk for ReactorDisk {
    type File = ReactorFile;

    fn list(&self) -> io::Result<Vec<String>> {
        let entries = fs::list_dir(&self.directory)?;
        Ok(entries.into_iter().filter_map(|entry| entry.name.into_string().ok()).collect())
    }

    fn open(&self, name: &str, create: bool) -> io::Result<ReactorFile> {
        let file = self.handle.open_log(&self.directory.join(name), LogMode { create, direct: true })?;
        Ok(ReactorFile { file })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(&self.directory.join(from), &self.directory.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove(&self.directory.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        fs::sync_dir(&self.directory)
    }

    fn available_bytes(&self) -> io::Result<u64> {
        Ok(fs::space(&self.directory)?.available_bytes)
    }

    fn now_ns(&self) -> u64 {
        self.handle.now().as_nanos()
    }

    fn salt(&self) -> u64 {
        // The standard library's hasher is keyed by the system's random numbers.
        RandomState::new().hash_one(self.handle.now().as_nanos())
    }

    async fn turn(&self) {
        self.handle.end_of_turn().await;
    }

    async fn give_way(&self) {
        self.handle.yield_now().await;
    }

    async fn sleep(&self, duration: Duration) {
        self.handle.sleep(duration).await;
    }
}

/// A segment file on the ring.
pub struct ReactorFile {
    file: LogFile,
}

impl DiskFile for ReactorFile {
    async fn write_durable(&self, offset: u64, buffer: AlignedBuffer) -> (io::Result<()>, AlignedBuffer) {
        self.file.write_durable(offset, buffer).await
    }

    async fn read_at(&self, offset: u64, buffer: AlignedBuffer) -> (io::Result<()>, AlignedBuffer) {
        self.file.read_at(offset, buffer).await
    }

    async fn zero_fill(&self, bytes: u64) -> io::Result<()> {
        self.file.zero_fill(bytes).await
    }

    fn bytes(&self) -> io::Result<u64> {
        self.file.len()
    }
}
