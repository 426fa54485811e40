//! What the spool asks of a disk.

/// A directory of segment files. The shard uses `disk::ReactorDisk::new(handle, directory)`; tests `disk::MemoryDisk`.
pub trait Disk: 'static {}
