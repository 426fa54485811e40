//! ringpost-spool: the log-structured queue store.

mod account;
mod append;
mod commit;
mod compaction;
pub mod disk;
mod error;
mod figures;
mod frame;
mod index;
pub mod inspect;
mod load;
mod lock;
mod message;
mod options;
mod record;
mod recovery;
mod scan;
mod segment;
mod signal;
mod spool;
mod upkeep;

pub use disk::Disk;
pub use error::{LoadError, OpenError, StoreError};
pub use figures::{SpoolEvent, SpoolFigures, SpoolState};
pub use lock::{EngineLock, LockError};
pub use message::{
    ChunkRef, Content, Corrupt, Loaded, LoadedContent, MessageId, NewMessage, Queued, SHARD_BITS, SHARDS_MAX,
};
pub use options::{CHUNK_BYTES_MAX, INLINE_CONTENT_BYTES_MAX, NOTE_BYTES_MAX, SpoolOptions};
pub use spool::Spool;
