//! message: one message of the active queue, as the shard holds it in memory.

use std::cell::{Cell, RefCell};

use bytes::Bytes;
use ringpost_core::envelope::{Envelope, KeptRecipient, Progress, Recipient};
use ringpost_core::queue_id::QueueId;
use ringpost_spool::{ChunkRef, Disk, LoadError, Loaded, LoadedContent, MessageId, Spool};
use smallvec::SmallVec;

use crate::recipients::{AtHand, Chosen, StoredEnvelope};

const _: () = assert!(
    ringpost_core::envelope::NOTE_BYTES_MAX < ringpost_spool::NOTE_BYTES_MAX,
    "the spool takes every note, and the mark before it"
);

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
    /// The envelope as stored, but for recipients in pieces.
    pub envelope: Envelope,
    /// Where recipients in pieces are; `None` for all but large envelopes.
    pieces: Option<Box<Pieces>>,
    /// Recipients of a whole envelope whose mail goes to another address than it says.
    redirected: AtHand,
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
    /// Outcome notes since the last cumulative one.
    pub outcome_notes: Cell<u32>,
}

/// Recipients of a large envelope.
struct Pieces {
    stored: StoredEnvelope,
    at_hand: AtHand,
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
            pieces: None,
            redirected: AtHand::default(),
            content: Content::Memory(content),
            progress: RefCell::new(progress),
            active_at_us: Cell::new(0),
            unread: Cell::default(),
            force_expired: Cell::new(false),
            outcome_notes: Cell::new(0),
        }
    }

    /// A message read back from the spool.
    pub fn loaded(id: MessageId, loaded: Loaded) -> Result<ActiveMessage, Damaged> {
        let (stored, progress) = stored(id, loaded.envelope, loaded.envelope_chunks, &loaded.notes)?;
        let envelope = stored.envelope.clone();
        let pieces = envelope.is_in_pieces().then(|| Box::new(Pieces { stored, at_hand: AtHand::default() }));
        let content = match loaded.content {
            LoadedContent::Inline(bytes) => Content::Memory(SmallVec::from_iter([bytes])),
            LoadedContent::Chunked { chunks, .. } => Content::Spool(chunks),
        };
        Ok(ActiveMessage {
            id,
            queue_id: QueueId::new(envelope.arrival_us(), id.bits()),
            envelope,
            pieces,
            redirected: AtHand::default(),
            content,
            progress: RefCell::new(progress),
            active_at_us: Cell::new(0),
            unread: Cell::default(),
            force_expired: Cell::new(loaded.force_expired),
            outcome_notes: Cell::new(u32::try_from(loaded.notes.len()).unwrap_or(u32::MAX)),
        })
    }

    /// The envelope with its pieces; `None` for one that has its recipients in it.
    pub fn in_pieces(&self) -> Option<&StoredEnvelope> {
        self.pieces.as_deref().map(|pieces| &pieces.stored)
    }

    /// The envelope, wherever its recipients are.
    pub fn stored_envelope(&self) -> StoredEnvelope {
        match self.in_pieces() {
            Some(stored) => stored.clone(),
            None => StoredEnvelope::whole(self.id, self.envelope.clone()),
        }
    }

    /// The scheduler gets this recipient of an envelope in pieces: its bytes stay in memory until [`Self::let_go`].
    pub fn keep(&self, index: u32, recipient: KeptRecipient) {
        if let Some(pieces) = &self.pieces {
            pieces.at_hand.keep(index, recipient);
        }
    }

    /// The scheduler gets this recipient, under another address than the envelope has. One of an envelope in pieces is let
    /// go like the others; one of a whole envelope keeps that address while the message is in memory, also in notices.
    pub fn redirect(&self, index: u32, recipient: &Recipient<'_>, address: &str) {
        let original = if recipient.original.is_empty() { recipient.address } else { recipient.original };
        let kept = KeptRecipient::of(&Recipient { address, original, ..*recipient });
        match &self.pieces {
            Some(pieces) => pieces.at_hand.keep(index, kept),
            None => self.redirected.keep(index, kept),
        }
    }

    /// The scheduler has these recipients no more.
    pub fn let_go(&self, indexes: impl IntoIterator<Item = u32>) {
        if let Some(pieces) = &self.pieces {
            indexes.into_iter().for_each(|index| pieces.at_hand.forget(index));
        }
    }

    /// These recipients, which the scheduler has.
    pub fn at_hand(&self, indexes: &[u32]) -> Chosen<'_> {
        match &self.pieces {
            None if self.redirected.is_empty() => Chosen::Envelope(&self.envelope),
            None => self.redirected.choose_or(indexes, &self.envelope),
            Some(pieces) => pieces.at_hand.choose(indexes),
        }
    }

    /// The recipients with these indexes, whether the scheduler has them or not; sorted here. Does not wait, nor ask
    /// for the indexes, if the envelope is not in pieces.
    ///
    /// # Errors
    /// A piece cannot be read, or is damaged.
    pub async fn read<D: Disk>(
        &self,
        spool: &Spool<D>,
        indexes: impl FnOnce() -> Vec<u32>,
    ) -> Result<Chosen<'_>, LoadError> {
        let Some(pieces) = &self.pieces else {
            return Ok(match self.redirected.is_empty() {
                true => Chosen::Envelope(&self.envelope),
                false => self.redirected.choose_or(&indexes(), &self.envelope),
            });
        };
        let sorted = || {
            let mut indexes = indexes();
            indexes.sort_unstable();
            indexes
        };
        Box::pin(pieces.stored.read(spool, sorted)).await
    }

    /// Bytes of memory that the message holds beyond a fixed part.
    pub fn memory_bytes(&self) -> u32 {
        let content: usize = match &self.content {
            Content::Memory(pieces) => pieces.iter().map(Bytes::len).sum(),
            Content::Spool(chunks) => size_of_val(&chunks[..]),
        };
        let chunks = self.pieces.as_ref().map_or(0, |pieces| size_of_val(&pieces.stored.chunks[..]));
        u32::try_from(content + self.envelope.raw().len() + chunks).unwrap_or(u32::MAX)
    }
}

/// What a stored envelope and the notes after it say.
pub fn stored(
    id: MessageId,
    envelope: Bytes,
    chunks: Vec<ChunkRef>,
    notes: &[Bytes],
) -> Result<(StoredEnvelope, Progress), Damaged> {
    let stored = StoredEnvelope::decode(id, envelope, chunks)?;
    let (retries, outcomes): (Vec<&[u8]>, Vec<&[u8]>) =
        notes.iter().map(|note| &note[..]).partition(|note| note.first() == Some(&RETRY_NOTE));
    let outcomes = outcomes.into_iter().map(|note| note.strip_prefix(&[OUTCOME_NOTE]).unwrap_or(note));
    let retry = retries.last().map(|note| &note[1..]);
    let count = stored.envelope.recipient_count();
    let progress = Progress::replay(count, retry, outcomes).map_err(|_| Damaged)?;
    Ok((stored, progress))
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
