//! What the spool asks of a disk: one directory of fixed-size files, and a clock to measure it with.
//!
//! Three implementations: [`ReactorDisk`] over the reactor's ring, [`ViewDisk`] for looking without changing anything,
//! and [`MemoryDisk`] with live and durable bytes for tests that crash.

mod executor;
mod memory;
mod reactor;
mod view;

pub use executor::LocalExecutor;
pub use memory::{Fault, MemoryDisk, MemoryFile};
pub use reactor::{ReactorDisk, ReactorFile};
pub use ringpost_reactor::AlignedBuffer;
pub use view::{ViewDisk, ViewFile, run_now};

use std::{io, time::Duration};

/// A directory of segment files. Operations on names may block: they happen once per segment, not per message.
#[allow(async_fn_in_trait, reason = "one thread, static dispatch: no Send bound is wanted")]
pub trait Disk: 'static {
    /// An open file.
    type File: DiskFile;

    /// The names in the directory.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Opens a file, or creates one (which must not exist).
    fn open(&self, name: &str, create: bool) -> io::Result<Self::File>;
    /// Gives a file another name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Deletes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals durable.
    fn sync_names(&self) -> io::Result<()>;
    /// Bytes that the file system can still give us.
    fn available_bytes(&self) -> io::Result<u64>;
    /// A monotonic clock, in nanoseconds.
    fn now_ns(&self) -> u64;
    /// A number that nobody outside can guess; it keeps message content from passing for a frame.
    fn salt(&self) -> u64;
    /// Resolves after all other tasks that are ready now have run, so that they share a commit.
    async fn turn(&self);
    /// Resolves after all others had their say: tasks that are ready now, and what has happened outside meanwhile.
    async fn give_way(&self);
    /// Resolves after that time.
    async fn sleep(&self, duration: Duration);
}

/// An open segment file. Offsets and lengths are multiples of 4 KiB.
#[allow(async_fn_in_trait, reason = "one thread, static dispatch: no Send bound is wanted")]
pub trait DiskFile: 'static {
    /// Writes everything, then makes it durable: resolves with `Ok` only after the fdatasync that follows the write.
    async fn write_durable(&self, offset: u64, buffer: AlignedBuffer) -> (io::Result<()>, AlignedBuffer);
    /// Fills the buffer's capacity, less at the end of the file; its length says how much.
    async fn read_at(&self, offset: u64, buffer: AlignedBuffer) -> (io::Result<()>, AlignedBuffer);
    /// Writes zeros from the start to `bytes` and makes them durable, so that later writes change no metadata.
    async fn zero_fill(&self, bytes: u64) -> io::Result<()>;
    /// The file's length in bytes.
    fn bytes(&self) -> io::Result<u64>;
}
