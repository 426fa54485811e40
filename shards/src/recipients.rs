//! recipients: who a message is for, wherever that is kept: in its envelope, or in pieces that the spool keeps apart.
//!
//! Receives: a stored envelope and the chunks that its pieces are in. Sends: recipients, a part at a time. Owns: copies
//! of those recipients of a large envelope that the scheduler has. Limits: one piece in memory while it is read, and the
//! recipients that are asked for. On failure: what the spool says; a piece that is not what its envelope says is damage.

use std::cell::RefCell;
use std::ops::Range;

use hashbrown::HashMap;
use ringpost_core::envelope::{Envelope, KeptRecipient, Recipient, RecipientPiece};
use ringpost_spool::{ChunkRef, Disk, LoadError, MessageId, Spool};

use crate::message::Damaged;

/// An envelope and where its pieces are, if it is in pieces.
#[derive(Clone)]
pub struct StoredEnvelope {
    /// The message.
    pub id: MessageId,
    /// The envelope, or its first part.
    pub envelope: Envelope,
    /// The spool's names of the pieces.
    pub chunks: Vec<ChunkRef>,
}

impl StoredEnvelope {
    /// An envelope whose recipients are all in it.
    ///
    /// # Panics
    /// For one in pieces.
    pub fn whole(id: MessageId, envelope: Envelope) -> StoredEnvelope {
        assert!(!envelope.is_in_pieces(), "the pieces of an envelope belong to it");
        StoredEnvelope { id, envelope, chunks: Vec::new() }
    }

    /// An envelope as the spool has it.
    pub fn decode(
        id: MessageId,
        envelope: bytes::Bytes,
        chunks: Vec<ChunkRef>,
    ) -> Result<StoredEnvelope, Damaged> {
        let envelope = Envelope::decode(envelope).map_err(|_| Damaged)?;
        match envelope.piece_count() as usize == chunks.len() {
            true => Ok(StoredEnvelope { id, envelope, chunks }),
            false => Err(Damaged),
        }
    }

    /// In how many parts the recipients can be read: 1 for an envelope that has them.
    pub fn part_count(&self) -> u32 {
        self.envelope.piece_count().max(1)
    }

    /// The indexes of the recipients in a part.
    pub fn indexes(&self, part: u32) -> Range<u32> {
        match self.envelope.is_in_pieces() {
            true => self.envelope.indexes_in_piece(part),
            false => 0..self.envelope.recipient_count(),
        }
    }

    /// A part, which is below [`StoredEnvelope::part_count`]. Does not wait if the envelope is not in pieces.
    ///
    /// # Errors
    /// The piece cannot be read, or is damaged.
    pub async fn part<D: Disk>(&self, spool: &Spool<D>, part: u32) -> Result<Part<'_>, LoadError> {
        let Some(chunk) = self.chunks.get(part as usize) else { return Ok(Part::Envelope(&self.envelope)) };
        let bytes = spool.read_chunk(chunk).await?;
        let piece = self.envelope.piece(part, bytes).map_err(|_| LoadError::Corrupt(self.id))?;
        Ok(Part::Piece(piece))
    }

    /// The recipients with these indexes, which rise. Does not wait, nor ask for the indexes, if the envelope is not in
    /// pieces.
    ///
    /// # Errors
    /// One of their pieces cannot be read, or is damaged.
    pub async fn read<D: Disk>(
        &self,
        spool: &Spool<D>,
        indexes: impl FnOnce() -> Vec<u32>,
    ) -> Result<Chosen<'_>, LoadError> {
        if !self.envelope.is_in_pieces() {
            return Ok(Chosen::Envelope(&self.envelope));
        }
        let indexes = indexes();
        let mut kept = Vec::with_capacity(indexes.len());
        let mut rest = indexes.iter().copied().peekable();
        while let Some(&first) = rest.peek() {
            let part = self.part(spool, self.envelope.piece_of(first)).await?;
            part.for_each(|index, recipient| {
                if rest.next_if_eq(&index).is_some() {
                    kept.push((index, KeptRecipient::of(&recipient)));
                }
            });
            assert_ne!(rest.peek(), Some(&first), "a recipient is in the piece that the table says");
        }
        Ok(Chosen::Kept(kept))
    }
}

/// Some neighbouring recipients, or all of a small envelope.
pub enum Part<'a> {
    /// All.
    Envelope(&'a Envelope),
    /// Those of a piece.
    Piece(RecipientPiece),
}

impl Part<'_> {
    /// Calls `each` with every recipient and its index, in rising order.
    pub fn for_each(&self, mut each: impl FnMut(u32, Recipient<'_>)) {
        match self {
            Part::Envelope(envelope) => {
                (0..).zip(envelope.recipients()).for_each(|(index, recipient)| each(index, recipient));
            }
            Part::Piece(piece) => piece.recipients().for_each(|(index, recipient)| each(index, recipient)),
        }
    }

    /// The recipients with their indexes, in rising order.
    pub fn recipients(&self) -> Vec<(u32, Recipient<'_>)> {
        match self {
            Part::Envelope(envelope) => (0..).zip(envelope.recipients()).collect(),
            Part::Piece(piece) => piece.recipients().collect(),
        }
    }
}

/// Recipients that were asked for, to be looked at.
pub enum Chosen<'a> {
    /// In their envelope, with all others.
    Envelope(&'a Envelope),
    /// Taken out of their pieces, by rising index.
    Kept(Vec<(u32, KeptRecipient)>),
}

impl Chosen<'static> {
    fn kept(mut chosen: Vec<(u32, KeptRecipient)>) -> Chosen<'static> {
        chosen.sort_unstable_by_key(|(index, _)| *index);
        Chosen::Kept(chosen)
    }
}

impl Chosen<'_> {
    /// The recipient with this index; `None` for one that does not exist or was not asked for.
    pub fn recipient(&self, index: u32) -> Option<Recipient<'_>> {
        match self {
            Chosen::Envelope(envelope) => envelope.recipient(index),
            Chosen::Kept(kept) => {
                let place = kept.binary_search_by_key(&index, |(index, _)| *index).ok()?;
                Some(kept[place].1.get())
            }
        }
    }

    /// Calls `each` with the recipients of these indexes, in their order.
    pub fn for_each<'s>(
        &'s self,
        indexes: impl IntoIterator<Item = u32>,
        mut each: impl FnMut(u32, Recipient<'s>),
    ) {
        match self {
            Chosen::Envelope(envelope) => {
                envelope.select(indexes).for_each(|(index, recipient)| each(index, recipient));
            }
            Chosen::Kept(_) => {
                let known = indexes.into_iter().filter_map(|index| Some((index, self.recipient(index)?)));
                known.for_each(|(index, recipient)| each(index, recipient));
            }
        }
    }
}

/// Recipients of an envelope in pieces that the scheduler has: as many as its limits let it have.
#[derive(Default)]
pub struct AtHand {
    kept: RefCell<HashMap<u32, KeptRecipient, foldhash::fast::RandomState>>,
}

impl AtHand {
    /// Keeps a recipient.
    pub fn keep(&self, index: u32, recipient: KeptRecipient) {
        self.kept.borrow_mut().insert(index, recipient);
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.kept.borrow().is_empty()
    }

    /// Those of these recipients that are kept, and the others as the envelope has them.
    pub fn choose_or(&self, indexes: &[u32], envelope: &Envelope) -> Chosen<'static> {
        let kept = self.kept.borrow();
        let of_envelope = |index| envelope.recipient(index).map(|recipient| KeptRecipient::of(&recipient));
        let known = indexes
            .iter()
            .filter_map(|&index| Some((index, kept.get(&index).cloned().or_else(|| of_envelope(index))?)));
        Chosen::kept(known.collect())
    }

    /// Lets a recipient go.
    pub fn forget(&self, index: u32) {
        self.kept.borrow_mut().remove(&index);
    }

    /// Those of these recipients that are kept.
    pub fn choose(&self, indexes: &[u32]) -> Chosen<'static> {
        let kept = self.kept.borrow();
        let known = indexes.iter().filter_map(|index| Some((*index, kept.get(index)?.clone())));
        Chosen::kept(known.collect())
    }
}
