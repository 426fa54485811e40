//! What a caller hands in and gets back: identities, new messages, chunks, loaded messages.

use crate::segment::Location;
use bytes::Bytes;
use std::fmt;

/// Bits of a [`MessageId`] that name the shard.
pub const SHARD_BITS: u32 = 10;
/// Shards that a spool can have: 1,024, because [`SHARD_BITS`] name them.
pub const SHARDS_MAX: u16 = 1 << SHARD_BITS;

/// Names one message for ever: `sequence << 10 | shard`. Never used again, also not after a crash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(u64);

impl MessageId {
    /// The identity made of a shard (below [`SHARDS_MAX`]) and a sequence number (below 2^54).
    pub fn new(shard: u16, sequence: u64) -> Self {
        assert!(shard < SHARDS_MAX, "a shard's number has {SHARD_BITS} bits");
        assert!(sequence >> (64 - SHARD_BITS) == 0, "a sequence number has {} bits", 64 - SHARD_BITS);
        Self(sequence << SHARD_BITS | u64::from(shard))
    }

    /// The identity whose [`MessageId::bits`] are `bits`.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The identity as one number.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The shard that accepted the message.
    pub const fn shard(self) -> u16 {
        (self.0 & (SHARDS_MAX as u64 - 1)) as u16
    }

    /// The message's number on its shard; grows with time.
    pub const fn sequence(self) -> u64 {
        self.0 >> SHARD_BITS
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.shard(), self.sequence())
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A message to be stored. All bytes are copied during the call, before the future is first awaited.
#[derive(Clone, Debug)]
pub struct NewMessage<'a> {
    /// From [`crate::Spool::new_id`].
    pub id: MessageId,
    /// When it arrived, in microseconds since 1970.
    pub arrival_us: u64,
    /// When it is next due, in seconds since 1970; now, for a message to be tried at once.
    pub due_at_s: u32,
    /// Whether it enters the queue on hold.
    pub held: bool,
    /// The envelope, in the caller's form, or the first part of it.
    pub envelope: &'a [u8],
    /// The rest of an envelope that is too large for one record: chunks stored before with
    /// [`crate::Spool::store_chunk`] under the same id, in order.
    pub envelope_chunks: Vec<ChunkRef>,
    /// The content.
    pub content: Content<'a>,
}

impl NewMessage<'_> {
    /// All chunks in the order in which the record names them: the envelope's, then the content's.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = &ChunkRef> + Clone {
        let content = match &self.content {
            Content::Inline(_) => &[][..],
            Content::Chunked { chunks, .. } => chunks,
        };
        self.envelope_chunks.iter().chain(content)
    }
}

/// A new message's content.
#[derive(Clone, Debug)]
pub enum Content<'a> {
    /// The whole content in pieces that are joined in the record; at most [`crate::INLINE_CONTENT_BYTES_MAX`] bytes.
    Inline(&'a [&'a [u8]]),
    /// Chunks stored before with [`crate::Spool::store_chunk`] under the same id, in order.
    Chunked {
        /// Every chunk, in order.
        chunks: Vec<ChunkRef>,
        /// Their bytes together.
        total: u64,
    },
}

/// Names a stored piece of a large message's content or envelope. Survives compaction: a moved chunk is found again through its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkRef {
    pub(crate) id: MessageId,
    /// Position among the message's chunks; `u32::MAX` until a Message record names it.
    pub(crate) position: u32,
    pub(crate) location: Location,
    pub(crate) bytes: u32,
}

impl ChunkRef {
    /// Bytes in this chunk.
    pub fn bytes(&self) -> u32 {
        self.bytes
    }
}

/// A message read back.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// When it arrived, in microseconds since 1970.
    pub arrival_us: u64,
    /// When it is next due, in seconds since 1970.
    pub due_at_s: u32,
    /// Whether it is on hold.
    pub held: bool,
    /// Whether an operator wants it to expire at its next attempt.
    pub force_expired: bool,
    /// The envelope as it was stored, or the first part of it.
    pub envelope: Bytes,
    /// The rest of it, to be read with [`crate::Spool::read_chunk`].
    pub envelope_chunks: Vec<ChunkRef>,
    /// The note of the last retry, if any, and the notes of the outcomes since, oldest first.
    pub notes: Vec<Bytes>,
    /// The content, or where it is.
    pub content: LoadedContent,
}

impl Loaded {
    /// The chunk at a position in the record's list.
    pub(crate) fn chunk_at(&self, position: u32) -> Option<&ChunkRef> {
        let position = position as usize;
        match position.checked_sub(self.envelope_chunks.len()) {
            None => self.envelope_chunks.get(position),
            Some(position) => match &self.content {
                LoadedContent::Inline(_) => None,
                LoadedContent::Chunked { chunks, .. } => chunks.get(position),
            },
        }
    }
}

/// A loaded message's content.
#[derive(Clone, Debug)]
pub enum LoadedContent {
    /// The whole content.
    Inline(Bytes),
    /// To be read with [`crate::Spool::read_chunk`], in order.
    Chunked {
        /// Every chunk, in order.
        chunks: Vec<ChunkRef>,
        /// Their bytes together.
        total: u64,
    },
}

/// A queued message as a list of the queue shows it: all but its content.
#[derive(Clone, Debug)]
pub struct Listed {
    /// What the index knows of it.
    pub queued: Queued,
    /// When it arrived, in microseconds since 1970.
    pub arrival_us: u64,
    /// The envelope as it was stored, or the first part of it.
    pub envelope: Bytes,
    /// The rest of it, to be read with [`crate::Spool::read_chunk`].
    pub envelope_chunks: Vec<ChunkRef>,
    /// The note of the last retry, if any, and the notes of the outcomes since, oldest first.
    pub notes: Vec<Bytes>,
}

/// What the index knows of a queued message without reading the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queued {
    /// The message.
    pub id: MessageId,
    /// When it is next due, in seconds since 1970.
    pub due_at_s: u32,
    /// Whether it is on hold.
    pub held: bool,
    /// Whether an operator wants it to expire at its next attempt.
    pub force_expired: bool,
    /// Bytes of content.
    pub bytes: u64,
}

/// A message, or a part of a segment, that fails its checksum. Nothing of it is thrown away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corrupt {
    /// The message, where its name could still be read.
    pub id: Option<MessageId>,
    /// The segment's number (its file is `segment-NNNNNN.log`).
    pub segment: u32,
    /// Where the damage begins, in bytes from the start of the file.
    pub offset: u64,
    /// What is wrong, for the log.
    pub reason: &'static str,
}
