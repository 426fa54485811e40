//! Reading messages back.
//!
//! Receives: ids and chunk references. Sends: envelopes, notes, content. Owns: the count of readers that keeps a
//! segment from being recycled under a read. On failure: a record that fails its checksum quarantines its message; an
//! I/O error is the caller's to try again.

use crate::{
    Disk,
    account::State,
    disk::{AlignedBuffer, DiskFile},
    error::LoadError,
    figures::SpoolState,
    frame::{self, FRAME_HEADER_BYTES, FrameHeader, Kind, Parsed},
    message::{ChunkRef, Corrupt, Loaded, LoadedContent, MessageId, Queued},
    record::{ChainHead, MessageHead},
    segment::{BLOCK_BYTES, Location},
    spool::Inner,
};
use bytes::Bytes;
use std::io;

/// How often a read starts again because compaction moved the message meanwhile.
const MOVES_MAX: u32 = 16;

/// Why a frame was not read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// Its segment has been retired: the record is elsewhere now, or gone.
    Gone,
    /// It fails its checksum.
    Damaged,
    Io(io::Error),
}

struct Owned(AlignedBuffer);

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A frame that was read, in the buffer it was read into.
pub(crate) struct FrameRead {
    pub header: FrameHeader,
    bytes: Bytes,
    start: usize,
}

impl FrameRead {
    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.header.length as usize]
    }

    /// A part of the payload, without copying.
    pub fn slice(&self, range: std::ops::Range<usize>) -> Bytes {
        self.bytes.slice(self.start + range.start..self.start + range.end)
    }
}

/// Where a message's records are, and what the index knows of it.
pub(crate) struct Places {
    pub slot: u32,
    pub message: Location,
    pub note: Location,
    pub length: u32,
    pub queued: Queued,
}

impl<F> State<F> {
    /// Where a message's records are on the disk. `None` if they are on their way to it.
    pub fn places(&self, id: MessageId) -> Result<Option<Places>, LoadError> {
        let slot = self.index.slot_of(id).ok_or(LoadError::Unknown(id))?;
        let known = self.index.find_at(slot, id).ok_or(LoadError::Unknown(id))?;
        if known.corrupt() {
            return Err(LoadError::Corrupt(id));
        }
        let note_settled = known.note.is_nowhere() || self.is_settled(known.note).unwrap_or(true);
        let settled = self.is_settled(known.message).unwrap_or(true) && note_settled;
        Ok((settled && self.late.is_empty()).then(|| Places {
            slot,
            message: known.message,
            note: known.note,
            length: known.length(),
            queued: known.queued(id.shard()),
        }))
    }
}

/// Keeps a segment from being retired while it is read.
pub(crate) struct Reading<'a, D: Disk> {
    inner: &'a Inner<D>,
    segment: u32,
}

impl<D: Disk> Drop for Reading<'_, D> {
    fn drop(&mut self) {
        let mut state = self.inner.state.borrow_mut();
        if let Some(segment) = state.segments.get_mut(&self.segment) {
            segment.readers -= 1;
            if segment.readers == 0 && segment.live_bytes == 0 {
                state.upkeep.raise();
            }
        }
    }
}

impl<D: Disk> Inner<D> {
    /// Keeps a segment from being retired until the value is dropped.
    pub(crate) fn reading(&self, segment: u32) -> Option<Reading<'_, D>> {
        self.state.borrow_mut().segments.get_mut(&segment)?.readers += 1;
        Some(Reading { inner: self, segment })
    }

    /// Reads the frame at a place. `length` is its payload's length, if known.
    pub(crate) async fn read_frame(
        &self,
        location: Location,
        length: Option<u32>,
    ) -> Result<FrameRead, ReadError> {
        let _reading = self.reading(location.segment).ok_or(ReadError::Gone)?;
        let (file, seed, segment_bytes) = {
            let state = self.state.borrow();
            let segment = state.segments.get(&location.segment).ok_or(ReadError::Gone)?;
            (segment.file.clone(), segment.header.seed(), segment.header.segment_bytes)
        };
        let offset = location.offset();
        let start = offset / BLOCK_BYTES * BLOCK_BYTES;
        let inside = (offset - start) as usize;
        let mut wanted = match length {
            Some(length) => inside + FRAME_HEADER_BYTES + length as usize,
            None => inside + FRAME_HEADER_BYTES,
        };
        loop {
            let capacity = wanted.next_multiple_of(BLOCK_BYTES as usize);
            if start + capacity as u64 > segment_bytes {
                return Err(ReadError::Damaged);
            }
            let (result, buffer) = file.read_at(start, AlignedBuffer::with_capacity(capacity)).await;
            result.map_err(ReadError::Io)?;
            let Some(frame_bytes) = buffer.get(inside..) else { return Err(ReadError::Damaged) };
            let Some(header) = frame::parse_header(frame_bytes, seed, offset) else {
                return Err(ReadError::Damaged);
            };
            let end = inside + FRAME_HEADER_BYTES + header.length as usize;
            if end > capacity {
                wanted = end;
                continue;
            }
            return match frame::parse(frame_bytes, seed, offset) {
                Parsed::Whole(header, _) => Ok(FrameRead {
                    header,
                    bytes: Bytes::from_owner(Owned(buffer)),
                    start: inside + FRAME_HEADER_BYTES,
                }),
                _ => Err(ReadError::Damaged),
            };
        }
    }

    /// Reads a message, its notes and where its content is.
    pub(crate) async fn load(&self, id: MessageId) -> Result<Loaded, LoadError> {
        let mut gone_from = None;
        for _ in 0..MOVES_MAX {
            let Places { message, note, length, queued, slot: _ } = self.settled_places(id).await?;
            if gone_from.replace((message, note)) == Some((message, note)) {
                // Nothing was moved: a segment that its records lie in has been lost.
                return Err(self.read_failed(id, message, ReadError::Damaged));
            }
            let frame = match self.read_frame(message, Some(length)).await {
                Ok(frame) => frame,
                Err(ReadError::Gone) => continue,
                Err(error) => return Err(self.read_failed(id, message, error)),
            };
            let Some(notes) = self.read_chain(id, note).await? else { continue };
            let head = match MessageHead::read(frame.payload()) {
                Some(head) if frame.header.kind == Kind::Message && frame.header.id == id.bits() => head,
                _ => return Err(self.read_failed(id, message, ReadError::Damaged)),
            };
            let inline = || LoadedContent::Inline(frame.slice(head.inline(frame.payload())));
            let (envelope_chunks, content) = if head.chunk_count == 0 {
                (Vec::new(), inline())
            } else {
                let chunks = head.chunks(id, frame.payload()).zip(head.envelope_chunks(frame.payload()));
                let (mut chunks, of_envelope) =
                    chunks.ok_or_else(|| self.read_failed(id, message, ReadError::Damaged))?;
                let of_content = chunks.split_off(of_envelope);
                match of_content.is_empty() {
                    true => (chunks, inline()),
                    false => {
                        (chunks, LoadedContent::Chunked { chunks: of_content, total: head.content_bytes })
                    }
                }
            };
            let envelope = frame.slice(head.envelope());
            return Ok(Loaded {
                arrival_us: head.arrival_us,
                due_at_s: queued.due_at_s,
                held: queued.held,
                force_expired: queued.force_expired,
                envelope,
                envelope_chunks,
                notes,
                content,
            });
        }
        Err(LoadError::Failed(io::ErrorKind::WouldBlock.into()))
    }

    /// Where a message's records are, once they are on the disk.
    async fn settled_places(&self, id: MessageId) -> Result<Places, LoadError> {
        loop {
            let (seen, progress) = {
                let state = self.state.borrow();
                if let Some(places) = state.places(id)? {
                    return Ok(places);
                }
                if state.status() == SpoolState::Trouble || state.commits_ended {
                    return Err(LoadError::Failed(io::ErrorKind::ResourceBusy.into()));
                }
                (state.progress.seen(), state.progress.clone())
            };
            progress.after(seen).await;
        }
    }

    /// The notes from `newest` back to the last Retry, oldest first. `None` if a segment went away meanwhile.
    pub(crate) async fn read_chain(
        &self,
        id: MessageId,
        newest: Location,
    ) -> Result<Option<Vec<Bytes>>, LoadError> {
        let mut notes: Vec<Bytes> = Vec::new();
        let mut at = newest;
        while !at.is_nowhere() {
            let frame = match self.read_frame(at, None).await {
                Ok(frame) => frame,
                Err(ReadError::Gone) => return Ok(None),
                Err(error) => return Err(self.read_failed(id, at, error)),
            };
            let payload = frame.payload();
            let head = ChainHead::read(payload).filter(|head| {
                frame.header.id == id.bits() && (head.previous.is_nowhere() || head.previous < at)
            });
            let ranges = head.and_then(|head| head.notes(payload));
            let (Some(head), Some(ranges)) = (head, ranges) else {
                return Err(self.read_failed(id, at, ReadError::Damaged));
            };
            notes.extend(ranges.into_iter().rev().map(|range| frame.slice(range)));
            if frame.header.kind == Kind::Retry {
                break;
            }
            at = head.previous;
        }
        notes.reverse();
        Ok(Some(notes))
    }

    /// Reads a chunk, wherever compaction has moved it.
    pub(crate) async fn read_chunk(&self, chunk: &ChunkRef) -> Result<Bytes, LoadError> {
        let id = chunk.id;
        let mut location = chunk.location;
        for _ in 0..MOVES_MAX {
            match self.read_frame(location, Some(chunk.bytes)).await {
                Ok(frame) if frame.header.kind == Kind::Chunk && frame.header.id == id.bits() => {
                    return Ok(frame.slice(0..frame.payload().len()));
                }
                Ok(_) => return Err(self.read_failed(id, location, ReadError::Damaged)),
                Err(ReadError::Gone) => {
                    let loaded = Box::pin(self.load(id)).await?;
                    let moved = loaded.chunk_at(chunk.position).ok_or(LoadError::Unknown(id))?;
                    if moved.location == location {
                        // Not moved: the segment has been lost.
                        return Err(self.read_failed(id, location, ReadError::Damaged));
                    }
                    location = moved.location;
                }
                Err(error) => return Err(self.read_failed(id, location, error)),
            }
        }
        Err(LoadError::Failed(io::ErrorKind::WouldBlock.into()))
    }

    /// Turns a failed read into what the caller is told, and quarantines what is damaged.
    pub(crate) fn read_failed(&self, id: MessageId, location: Location, error: ReadError) -> LoadError {
        match error {
            ReadError::Gone => LoadError::Unknown(id),
            ReadError::Io(error) => LoadError::Failed(error),
            ReadError::Damaged => {
                let mut state = self.state.borrow_mut();
                if state.index.find(id).is_none() {
                    return LoadError::Unknown(id);
                }
                state.quarantine(Corrupt {
                    id: Some(id),
                    segment: location.segment,
                    offset: location.offset(),
                    reason: "a record of the message fails its checksum",
                });
                LoadError::Corrupt(id)
            }
        }
    }
}
