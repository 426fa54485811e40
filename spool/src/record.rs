//! Payloads: what stands in a frame of each kind. Writing appends to the commit's buffer; reading validates again and
//! answers `None` for anything that does not add up.

use crate::{
    frame::{read_u32, read_u64},
    message::{ChunkRef, Content, MessageId, NewMessage},
    segment::Location,
};
use ringpost_reactor::AlignedBuffer;

/// Fixed part of a Message payload.
pub(crate) const MESSAGE_HEAD_BYTES: usize = 40;
/// One chunk's entry in a Message payload.
pub(crate) const CHUNK_ENTRY_BYTES: usize = 16;
/// In a chunk's entry: a piece of the content.
const PART_CONTENT: u32 = 0;
/// In a chunk's entry: a piece of the envelope. They come first.
const PART_ENVELOPE: u32 = 1;
/// Fixed part of an Outcome, Retry, Hold or Release payload.
pub(crate) const CHAIN_HEAD_BYTES: usize = 24;
/// A Remove payload.
pub(crate) const REMOVE_BYTES: usize = 8;
/// A Commit payload.
pub(crate) const COMMIT_BYTES: usize = 16;

/// Bit of a state word: on hold.
pub(crate) const STATE_HELD: u32 = 1;
/// Bit of a state word: it expires at its next attempt, by an operator's word. (2 and 4 are bits of footer entries.)
pub(crate) const STATE_FORCE_EXPIRED: u32 = 8;

fn put_location(out: &mut AlignedBuffer, location: Location) {
    out.extend_from_slice(&location.segment.to_le_bytes());
    out.extend_from_slice(&location.eighth.to_le_bytes());
}

fn take_location(bytes: &[u8], at: usize) -> Option<Location> {
    Some(Location { segment: read_u32(bytes, at)?, eighth: read_u32(bytes, at + 4)? })
}

/// Bytes that a new message's payload takes.
pub(crate) fn message_payload_bytes(message: &NewMessage<'_>) -> usize {
    let content: usize = match &message.content {
        Content::Inline(pieces) => pieces.iter().map(|piece| piece.len()).sum(),
        Content::Chunked { .. } => 0,
    };
    let chunks = message.chunks().count() * CHUNK_ENTRY_BYTES;
    MESSAGE_HEAD_BYTES + message.envelope.len() + content + chunks
}

/// Bytes of content of a new message.
pub(crate) fn content_bytes(message: &NewMessage<'_>) -> u64 {
    match &message.content {
        Content::Inline(pieces) => pieces.iter().map(|piece| piece.len() as u64).sum(),
        Content::Chunked { total, .. } => *total,
    }
}

/// Writes a new message's payload: the one copy that is made of it.
pub(crate) fn put_message(out: &mut AlignedBuffer, message: &NewMessage<'_>) {
    let chunk_count = message.chunks().count() as u32;
    let mut head = [0; MESSAGE_HEAD_BYTES];
    head[8..16].copy_from_slice(&message.arrival_us.to_le_bytes());
    head[16..24].copy_from_slice(&content_bytes(message).to_le_bytes());
    head[24..28].copy_from_slice(&message.due_at_s.to_le_bytes());
    head[28..32].copy_from_slice(&(message.envelope.len() as u32).to_le_bytes());
    head[32..36].copy_from_slice(&chunk_count.to_le_bytes());
    head[36..40].copy_from_slice(&(if message.held { STATE_HELD } else { 0 }).to_le_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(message.envelope);
    if let Content::Inline(pieces) = &message.content {
        pieces.iter().for_each(|piece| out.extend_from_slice(piece));
    }
    for (position, chunk) in message.chunks().enumerate() {
        let part = if position < message.envelope_chunks.len() { PART_ENVELOPE } else { PART_CONTENT };
        put_location(out, chunk.location);
        out.extend_from_slice(&chunk.bytes.to_le_bytes());
        out.extend_from_slice(&part.to_le_bytes());
    }
}

/// A Message payload, read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageHead {
    /// Where this message lay before compaction copied it; nowhere for an original.
    pub previous: Location,
    pub arrival_us: u64,
    pub content_bytes: u64,
    pub due_at_s: u32,
    pub envelope_bytes: u32,
    pub chunk_count: u32,
    pub state: u32,
}

impl MessageHead {
    pub fn read(payload: &[u8]) -> Option<Self> {
        let head = Self {
            previous: take_location(payload, 0)?,
            arrival_us: read_u64(payload, 8)?,
            content_bytes: read_u64(payload, 16)?,
            due_at_s: read_u32(payload, 24)?,
            envelope_bytes: read_u32(payload, 28)?,
            chunk_count: read_u32(payload, 32)?,
            state: read_u32(payload, 36)?,
        };
        let rest = payload.len() - MESSAGE_HEAD_BYTES;
        let after_envelope = rest.checked_sub(head.envelope_bytes as usize)?;
        let inline = (after_envelope as u64).checked_sub(head.chunk_entries_bytes() as u64)?;
        // All of the content is in this record, or none.
        let whole = inline == head.content_bytes || (inline == 0 && head.chunk_count > 0);
        whole.then_some(head)
    }

    fn chunk_entries_bytes(&self) -> usize {
        self.chunk_count as usize * CHUNK_ENTRY_BYTES
    }

    /// Where the envelope, or its first part, lies in the payload.
    pub fn envelope(&self) -> std::ops::Range<usize> {
        MESSAGE_HEAD_BYTES..MESSAGE_HEAD_BYTES + self.envelope_bytes as usize
    }

    /// Where content lies in the payload, if it is not in chunks.
    pub fn inline(&self, payload: &[u8]) -> std::ops::Range<usize> {
        self.envelope().end..payload.len() - self.chunk_entries_bytes()
    }

    /// How many of the chunks are pieces of the envelope; they come first.
    pub fn envelope_chunks(&self, payload: &[u8]) -> Option<usize> {
        let mut count = 0;
        for (position, entry) in
            payload.get(self.inline(payload).end..)?.chunks_exact(CHUNK_ENTRY_BYTES).enumerate()
        {
            match read_u32(entry, 12)? {
                PART_ENVELOPE if count == position => count += 1,
                PART_CONTENT => {}
                _ => return None,
            }
        }
        Some(count)
    }

    /// The chunks that a Message payload names.
    pub fn chunks(&self, id: MessageId, payload: &[u8]) -> Option<Vec<ChunkRef>> {
        let entries = payload.get(self.inline(payload).end..)?;
        let mut chunks = Vec::with_capacity(self.chunk_count as usize);
        for (position, entry) in entries.chunks_exact(CHUNK_ENTRY_BYTES).enumerate() {
            let location = take_location(entry, 0)?;
            chunks.push(ChunkRef { id, position: position as u32, location, bytes: read_u32(entry, 8)? });
        }
        Some(chunks)
    }
}

/// Writes a copy of a Message payload with a new past, due time and state, and new places of all its chunks.
pub(crate) fn put_message_copy(
    out: &mut AlignedBuffer,
    payload: &[u8],
    previous: Location,
    due_at_s: u32,
    state: u32,
    chunks: Option<&[ChunkRef]>,
) {
    let start = out.len();
    put_location(out, previous);
    out.extend_from_slice(&payload[8..]);
    out[start + 24..start + 28].copy_from_slice(&due_at_s.to_le_bytes());
    out[start + 36..start + 40].copy_from_slice(&state.to_le_bytes());
    if let Some(chunks) = chunks {
        let entries = start + payload.len() - chunks.len() * CHUNK_ENTRY_BYTES;
        for (chunk, entry) in chunks.iter().zip(out[entries..].chunks_exact_mut(CHUNK_ENTRY_BYTES)) {
            entry[..4].copy_from_slice(&chunk.location.segment.to_le_bytes());
            entry[4..8].copy_from_slice(&chunk.location.eighth.to_le_bytes());
        }
    }
}

/// Writes an Outcome, Retry, Hold or Release payload. Each carries the whole state, so the latest alone decides.
pub(crate) fn put_chain<N: AsRef<[u8]>>(
    out: &mut AlignedBuffer,
    previous: Location,
    due_at_s: u32,
    state: u32,
    notes: &[N],
) {
    put_location(out, previous);
    out.extend_from_slice(&due_at_s.to_le_bytes());
    out.extend_from_slice(&state.to_le_bytes());
    out.extend_from_slice(&(notes.len() as u32).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    for note in notes {
        let note = note.as_ref();
        out.extend_from_slice(&(note.len() as u32).to_le_bytes());
        out.extend_from_slice(note);
    }
}

/// An Outcome, Retry, Hold or Release payload, read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChainHead {
    pub previous: Location,
    pub due_at_s: u32,
    pub state: u32,
    pub note_count: u32,
}

impl ChainHead {
    pub fn read(payload: &[u8]) -> Option<Self> {
        if payload.len() < CHAIN_HEAD_BYTES {
            return None;
        }
        Some(Self {
            previous: take_location(payload, 0)?,
            due_at_s: read_u32(payload, 8)?,
            state: read_u32(payload, 12)?,
            note_count: read_u32(payload, 16)?,
        })
    }

    /// Where each note lies in the payload, oldest first.
    pub fn notes(&self, payload: &[u8]) -> Option<Vec<std::ops::Range<usize>>> {
        let mut notes = Vec::new();
        let mut at = CHAIN_HEAD_BYTES;
        for _ in 0..self.note_count {
            let start = at + 4;
            let end = start.checked_add(read_u32(payload, at)? as usize)?;
            if end > payload.len() {
                return None;
            }
            notes.push(start..end);
            at = end;
        }
        (at == payload.len()).then_some(notes)
    }
}

/// Writes a Remove payload: the segment that holds the message's record, for which this tombstone must be kept.
pub(crate) fn put_remove(out: &mut AlignedBuffer, target: u32) {
    out.extend_from_slice(&target.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
}

/// Writes a Commit payload.
pub(crate) fn put_commit(out: &mut [u8], bytes: u32, frames: u32, settled: u64) {
    out[..4].copy_from_slice(&bytes.to_le_bytes());
    out[4..8].copy_from_slice(&frames.to_le_bytes());
    out[8..16].copy_from_slice(&settled.to_le_bytes());
}

/// A Commit payload, read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommitHead {
    /// Bytes of the commit, padding included; a multiple of 4 KiB.
    pub bytes: u32,
    /// Frames after the Commit frame.
    pub frames: u32,
    /// The last commit that was known durable when this one was submitted.
    pub settled: u64,
}

impl CommitHead {
    pub fn read(payload: &[u8]) -> Option<Self> {
        let head = Self {
            bytes: read_u32(payload, 0)?,
            frames: read_u32(payload, 4)?,
            settled: read_u64(payload, 8)?,
        };
        (head.bytes >= 4096 && head.bytes.is_multiple_of(4096)).then_some(head)
    }
}

/// A Cut: segment `segment` is valid up to `end` (bytes), and beyond it only for the messages in `keep`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub segment: u32,
    pub end: u64,
    pub keep: Vec<u64>,
}

impl Cut {
    pub fn payload_bytes(&self) -> usize {
        16 + self.keep.len() * 8
    }

    pub fn put(&self, out: &mut AlignedBuffer) {
        out.extend_from_slice(&self.segment.to_le_bytes());
        out.extend_from_slice(&(self.keep.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.end.to_le_bytes());
        self.keep.iter().for_each(|id| out.extend_from_slice(&id.to_le_bytes()));
    }

    pub fn read(payload: &[u8]) -> Option<Self> {
        let count = read_u32(payload, 4)? as usize;
        if payload.len() != count.checked_mul(8)?.checked_add(16)? {
            return None;
        }
        let keep = payload[16..].chunks_exact(8).filter_map(|id| read_u64(id, 0)).collect();
        Some(Self { segment: read_u32(payload, 0)?, end: read_u64(payload, 8)?, keep })
    }
}
