//! ringpost-spool: the log-structured queue store.

pub mod disk;
mod error;
mod figures;
mod lock;
mod message;
mod options;
mod segment;
mod spool;

pub use disk::Disk;
pub use error::{LoadError, OpenError, StoreError};
pub use figures::{SpoolEvent, SpoolFigures, SpoolState};
pub use lock::{EngineLock, LockError};
pub use message::{
    ChunkRef, Content, Corrupt, Loaded, LoadedContent, MessageId, NewMessage, Queued, SHARD_BITS, SHARDS_MAX,
};
pub use options::{CHUNK_BYTES_MAX, INLINE_CONTENT_BYTES_MAX, NOTE_BYTES_MAX, SpoolOptions};
pub use spool::Spool;
