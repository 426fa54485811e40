//! message: one message of the active queue, as the shard holds it in memory.

use std::cell::{Cell, RefCell};

use bytes::Bytes;
use ringpost_core::envelope::{Envelope, Progress};
use ringpost_core::queue_id::QueueId;
use ringpost_spool::{ChunkRef, Loaded, LoadedContent, MessageId};
use smallvec::SmallVec;

/// Marks a cumulative retry note among a message's notes.
const RETRY_NOTE: u8 = b'R';
/// Marks an outcome note.
const OUTCOME_NOTE: u8 = b'O';

/// Where the content of an active message is. Wire form: CRLF, dot-stuffed, without the final dot.
#[derive(Clone)]
pub enum Content {
    /// In memory, in pieces.
    Memory(SmallVec<[Bytes; 4]>),
    /// In the spool; read piece by piece while it is sent.
    Spool(Vec<ChunkRef>),
}

/// Which recipients of the attempt have not been handed to the scheduler yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unread {
    /// Index of the first of them; those that are done already may lie in between.
    pub from: u32,
    /// How many there are.
    pub count: u32,
}

/// One message that the queue manager has made active, or keeps in memory until then.
pub struct ActiveMessage {
    /// The spool's name for it.
    pub id: MessageId,
    /// The printed name.
    pub queue_id: QueueId,
    /// The envelope as stored.
    pub envelope: Envelope,
    /// The content.
    pub content: Content,
    /// Which recipients remain, and what the sender is still to be told.
    pub progress: RefCell<Progress>,
    /// When it became active, wall clock in microseconds; for `delays=`.
    pub active_at_us: Cell<u64>,
    /// Recipients that this attempt is still to look at.
    pub unread: Cell<Unread>,
    /// An operator wants it returned to the sender.
    pub force_expired: Cell<bool>,
}

/// The stored bytes are not what this program writes.
#[derive(Debug)]
pub struct Damaged;

impl ActiveMessage {
    /// A message that was stored a moment ago, all recipients to do.
    pub fn fresh(
        id: MessageId,
        queue_id: QueueId,
        envelope: Envelope,
        content: SmallVec<[Bytes; 4]>,
    ) -> ActiveMessage {
        let progress = Progress::new(envelope.recipient_count());
        ActiveMessage {
            id,
            queue_id,
            envelope,
            content: Content::Memory(content),
            progress: RefCell::new(progress),
            active_at_us: Cell::new(0),
            unread: Cell::default(),
            force_expired: Cell::new(false),
        }
    }

    /// A message read back from the spool.
    pub fn loaded(id: MessageId, loaded: Loaded) -> Result<ActiveMessage, Damaged> {
        let (envelope, progress) = stored(loaded.envelope, &loaded.notes)?;
        let content = match loaded.content {
            LoadedContent::Inline(bytes) => Content::Memory(SmallVec::from_iter([bytes])),
            LoadedContent::Chunked { chunks, .. } => Content::Spool(chunks),
        };
        Ok(ActiveMessage {
            id,
            queue_id: QueueId::new(envelope.arrival_us(), id.bits()),
            envelope,
            content,
            progress: RefCell::new(progress),
            active_at_us: Cell::new(0),
            unread: Cell::default(),
            force_expired: Cell::new(loaded.force_expired),
        })
    }

    /// Bytes of memory that the message holds beyond a fixed part.
    pub fn memory_bytes(&self) -> u32 {
        let content: usize = match &self.content {
            Content::Memory(pieces) => pieces.iter().map(Bytes::len).sum(),
            Content::Spool(chunks) => size_of_val(&chunks[..]),
        };
        u32::try_from(content + self.envelope.raw().len()).unwrap_or(u32::MAX)
    }
}

/// What a stored envelope and the notes after it say.
pub fn stored(envelope: Bytes, notes: &[Bytes]) -> Result<(Envelope, Progress), Damaged> {
    let envelope = Envelope::decode(envelope).map_err(|_| Damaged)?;
    let (retries, outcomes): (Vec<&[u8]>, Vec<&[u8]>) =
        notes.iter().map(|note| &note[..]).partition(|note| note.first() == Some(&RETRY_NOTE));
    let outcomes = outcomes.into_iter().map(|note| note.strip_prefix(&[OUTCOME_NOTE]).unwrap_or(note));
    let retry = retries.last().map(|note| &note[1..]);
    let progress = Progress::replay(envelope.recipient_count(), retry, outcomes).map_err(|_| Damaged)?;
    Ok((envelope, progress))
}

/// An outcome note: these recipients ended, one of the groups that `ringpost_core::envelope` writes.
pub fn outcome_note(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    marked(OUTCOME_NOTE, write)
}

/// A cumulative retry note.
pub fn retry_note(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    marked(RETRY_NOTE, write)
}

fn marked(mark: u8, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut note = vec![mark];
    write(&mut note);
    note
}
