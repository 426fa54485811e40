//! ringpost-spool: the log-structured queue store. Knows bytes and message states, not SMTP.
//!
//! - Receives: new messages, chunks of large ones, what became of recipients ([`Spool`]).
//! - Sends: one completion per message after the fdatasync that covers it; messages read back; figures; events.
//! - Owns: one directory of segment files per shard, the index of queued messages (41 bytes each; `index.rs`), two commits
//!   in flight.
//! - Limits: [`SpoolOptions`], [`INLINE_CONTENT_BYTES_MAX`], [`CHUNK_BYTES_MAX`], [`NOTE_BYTES_MAX`].
//! - On failure: no room is [`StoreError::Full`]; a failed write or sync is [`StoreError::Failed`] and final for its
//!   segment; damage is quarantined ([`Spool::corrupt`]). Nothing that the disk holds or says makes it panic.
//! - Standards: RFC 5321 §4.2.5 and §6.1 (a 250 takes responsibility: the message must survive a crash).
//!
//! # When 250 may be said
//!
//! When [`Spool::store`] resolves with `Ok`, and never before. That happens in one place: `Inner::settle` in
//! `commit.rs`, which runs when the reactor has reaped the completion of the **fdatasync linked behind the write** of
//! the message's commit, and when every earlier commit has been settled in the same way.
//!
//! # The bytes
//!
//! All numbers are little-endian; every file offset of a write is a multiple of 4 KiB.
//!
//! ```text
//! shard-NN/segment-NNNNNN.log, fixed size, written once with zeros, then used again and again
//!
//! 0       header   "RINGPOST" version:4 shard:2 purpose:2 segment:4 generation:4 segment_bytes:8 salt:8
//!                  next_sequence:8 zero:12 crc32c:4                        purpose 1 = log, 2 = spare
//! 4096    the same header again
//! 8192    commits, one after another, each padded with zeros to 4 KiB
//! ...     the unwritten rest: zeros, or frames of an earlier generation
//! F       (sealed only) Seal frame: one 32-byte entry for each frame
//!           id:8 offset/8:4 length:4 kind:1 state:1 zero:2 due_at_s:4 extra:8
//! end-4K  (sealed only) trailer  "RINGSEAL" segment:4 generation:4 F:8 last_commit:8 has_cuts:4 salt:8 crc32c:4
//!
//! commit  Commit frame, then frames
//! frame   length:4 crc32c:4 kind:1 zero:1 check:2 commit:4 id:8 payload[length] zeros to a multiple of 8
//!         crc32c covers bytes 8.. and starts from (salt, segment, generation, offset); check covers the header alone
//!
//! Message  previous:8 arrival_us:8 content_bytes:8 due_at_s:4 envelope_bytes:4 chunk_count:4 state:4
//!          envelope, or its first part; the content, unless it is in chunks;
//!          per chunk: place:8 bytes:4 part:4          part 1 = of the envelope (these first), 0 = of the content
//! Chunk    a piece of the envelope or of the content
//! Outcome, Retry, Hold, Release
//!          previous:8 due_at_s:4 state:4 note_count:4 zero:4, then per note: length:4 bytes
//! Remove   segment of the Message record:4 zero:4
//! Commit   bytes:4 frames:4 settled:8         (id: the commit's number)
//! Cut      segment:4 keep_count:4 end:8 ids to keep:8 each
//! place    segment:4 offset/8:4               (0, 0: nowhere)
//! state    1 on hold, 8 expires at its next attempt; in a footer's entry also 2 chunked, 4 copied
//! ```
//!
//! The version in a segment's header is 2 and stands for all of this; a spool that says another one is not opened.
//!
//! A large envelope (the caller says what is large) is kept like a large content: in Chunk records, each with its own
//! checksum, that the Message record names. Whoever needs a few recipients reads the piece that they are in; a piece
//! that rots is noticed when it is read, and the others can still be read. Chunks that no Message record names are dead,
//! so that a crash while an envelope is being stored leaves nothing of it.
//!
//! The salt makes the checksum of a frame unguessable, so that bytes in a message never pass for a frame when damage
//! has to be searched for the next good one. `previous` links a message's notes, newest to oldest, up to a Retry. Every
//! record of a message carries its whole state and due time, so that the newest alone decides; that an operator wants
//! it to expire is said by one more Hold or Release with bit 8, and by each record after that.
//!
//! # What we assume of the medium
//!
//! 1. After fdatasync has completed, what was written to the file before it was submitted is read back after a loss
//!    of power. A drive that lies about its cache breaks rule 1 of the design, and nothing above it can mend that.
//! 2. A write that was not synced may be there in any part: sectors of 512 bytes are written whole or not at all, in
//!    any order. (The header relies on it: each copy lies in one sector.)
//! 3. Writing sectors never harms other sectors. Bytes may rot at any time: everything has a checksum.
//! 4. After a failed write or fdatasync nothing is known about those pages, also not if a later sync succeeds (the
//!    kernel may have dropped them): hence a fresh segment, and never a second try on the same pages.
//! 5. File names are durable after the directory is synced.
//!
//! # Message state × crash → cleanup
//!
//! | state when the crash comes | what recovery finds | what it does |
//! |---|---|---|
//! | chunks stored, no Message record | chunks that nothing names | dead; the segment is recycled in time |
//! | Message record in a commit that was not settled | torn, or whole by luck | torn: the log ends before it, for ever (Cut). Whole: queued; the client, who saw no 250, may send again |
//! | stored and answered | a whole commit | queued: due at once or at its time, or on hold |
//! | outcome said, commit not settled | old notes | the recipient may get a second copy (the one window of design §1.2) |
//! | retry, hold, release said, not settled | the state before | as before; harmless |
//! | remove said, not settled | still queued | attempted again; its settled outcomes say what is done |
//! | removed, commit settled | tombstone | gone, as long as any record of it is on disk |
//! | being moved by compaction | one or two records | the later one counts; the old segment is drained before any other is retired |
//! | a commit failed and the engine went on | Cut in the next segment | what lay behind the Cut is ignored; its records about queued messages were written again |
//! | segment being sealed | no footer, or a torn one | scanned instead |
//! | segment being retired or prepared | old header, or new | old: nothing in it is live. New: spare, or an empty log |
//! | a record rots | checksum fails | its message is *corrupt*: kept on disk, out of the queue, told in the log |
//!
//! # What may be recycled
//!
//! The account (`account.rs`) says which frames are live, `upkeep.rs` holds the invariant under which a segment may
//! leave the log, and `recovery.rs` says which commits belong to the log.

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
mod listing;
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
    ChunkRef, Content, Corrupt, Listed, Loaded, LoadedContent, MessageId, NewMessage, Queued, SHARD_BITS,
    SHARDS_MAX,
};
pub use options::{CHUNK_BYTES_MAX, INLINE_CONTENT_BYTES_MAX, NOTE_BYTES_MAX, SpoolOptions};
pub use spool::{QueuedWalk, Spool};
