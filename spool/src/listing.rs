//! Reading the envelopes of many messages, for a list of the queue.
//!
//! Receives: ids. Sends: envelopes and notes, in the order of the ids. Limits: one read under way, of [`RUN_BYTES_MAX`]
//! or one record; [`RECORDS_A_TURN`] records decoded before others have their say; what is handed out is copied, so that
//! no long buffer stays for a short envelope. On failure: what
//! the long reads do not settle (a record on its way to the disk, one that was moved meanwhile, a damaged one, notes
//! in more than one record) is loaded by itself, which quarantines damage and tells the error.

use crate::{
    Disk, LoadError,
    disk::{AlignedBuffer, DiskFile},
    frame::{self, Kind, Parsed, Seed, frame_bytes},
    message::{ChunkRef, Listed, MessageId},
    record::{ChainHead, MessageHead},
    segment::{BLOCK_BYTES, Location},
    spool::Inner,
};
use bytes::Bytes;
use std::ops::Range;

/// Bytes read at a time: long enough that the disk's speed counts and not its latency.
const RUN_BYTES_MAX: u64 = 1 << 20;
/// What is read though nobody asked for it, between two records that are: as much as passes while the disk would
/// answer another request.
const GAP_BYTES_MAX: u64 = 64 << 10;
/// Bytes of a note's frame that are read before its length is known: most are shorter.
const NOTE_BYTES_GUESSED: u64 = 1024;

/// Records that are decoded before others have their say: less than a tenth of a millisecond.
const RECORDS_A_TURN: usize = 64;

/// One record to be read.
#[derive(Clone, Copy)]
struct Wanted {
    at: Location,
    bytes: u64,
    /// The message's place among the ids.
    nth: usize,
    is_note: bool,
}

/// An envelope as a Message record has it.
struct StoredEnvelope {
    arrival_us: u64,
    bytes: Bytes,
    chunks: Vec<ChunkRef>,
}

/// What has been read of one message.
#[derive(Default)]
struct Parts {
    /// Its slot in the index.
    slot: Option<u32>,
    envelope: Option<StoredEnvelope>,
    notes: Option<Vec<Bytes>>,
}

impl<D: Disk> Inner<D> {
    pub(crate) async fn envelopes(
        &self,
        ids: &[MessageId],
        bytes_max: u64,
    ) -> Vec<Result<Listed, LoadError>> {
        let mut parts = Vec::with_capacity(ids.len());
        let mut wanted = self.wanted(ids, bytes_max, &mut parts);
        let ids = &ids[..parts.len()];
        wanted.sort_unstable_by_key(|wanted| wanted.at);
        let mut rest = &wanted[..];
        while !rest.is_empty() {
            let (run, blocks) = first_run(rest);
            self.read_run(&rest[..run], blocks, ids, &mut parts).await;
            rest = &rest[run..];
        }
        let mut listed = Vec::with_capacity(ids.len());
        for (&id, parts) in ids.iter().zip(parts) {
            listed.push(self.list(id, parts).await);
        }
        listed
    }

    /// The records of the first messages, until they have `bytes_max` together, and an empty part for each message.
    fn wanted(&self, ids: &[MessageId], bytes_max: u64, parts: &mut Vec<Parts>) -> Vec<Wanted> {
        let (mut wanted, mut bytes_wanted) = (Vec::with_capacity(2 * ids.len()), 0);
        let state = self.state.borrow();
        for (nth, &id) in ids.iter().enumerate() {
            if nth > 0 && bytes_wanted >= bytes_max {
                break;
            }
            let mut empty = Parts::default();
            if let Ok(Some(places)) = state.places(id) {
                empty.slot = Some(places.slot);
                let bytes = frame_bytes(places.length as usize) as u64;
                bytes_wanted += bytes;
                wanted.push(Wanted { at: places.message, bytes, nth, is_note: false });
                if places.note.is_nowhere() {
                    empty.notes = Some(Vec::new());
                } else {
                    wanted.push(Wanted { at: places.note, bytes: NOTE_BYTES_GUESSED, nth, is_note: true });
                }
            }
            parts.push(empty);
        }
        wanted
    }

    /// What was read of a message becomes its place in the list; what was not is loaded.
    async fn list(&self, id: MessageId, parts: Parts) -> Result<Listed, LoadError> {
        if let Parts { slot: Some(slot), envelope: Some(envelope), notes: Some(notes) } = parts {
            let state = self.state.borrow();
            let known = state.index.find_at(slot, id).ok_or(LoadError::Unknown(id))?;
            let StoredEnvelope { arrival_us, bytes: envelope, chunks: envelope_chunks } = envelope;
            let queued = known.queued(id.shard());
            return Ok(Listed { queued, arrival_us, envelope, envelope_chunks, notes });
        }
        let loaded = self.load(id).await?;
        let state = self.state.borrow();
        let known = state.index.find(id).ok_or(LoadError::Unknown(id))?;
        Ok(Listed {
            queued: known.queued(id.shard()),
            arrival_us: loaded.arrival_us,
            envelope: Bytes::copy_from_slice(&loaded.envelope),
            envelope_chunks: loaded.envelope_chunks,
            notes: loaded.notes.iter().map(|note| Bytes::copy_from_slice(note)).collect(),
        })
    }

    /// Reads neighbours with one read. Whatever goes wrong leaves the parts unread.
    async fn read_run(&self, run: &[Wanted], blocks: Range<u64>, ids: &[MessageId], parts: &mut [Parts]) {
        let number = run[0].at.segment;
        let Some(_reading) = self.reading(number) else { return };
        let (file, seed, segment_bytes) = {
            let state = self.state.borrow();
            let Some(segment) = state.segments.get(&number) else { return };
            (segment.file.clone(), segment.header.seed(), segment.header.segment_bytes)
        };
        let end = blocks.end.min(segment_bytes);
        let Some(bytes) = end.checked_sub(blocks.start) else { return };
        let (result, buffer) = file.read_at(blocks.start, AlignedBuffer::with_capacity(bytes as usize)).await;
        if result.is_err() {
            return;
        }
        for (nth, wanted) in run.iter().enumerate() {
            if nth > 0 && nth.is_multiple_of(RECORDS_A_TURN) {
                self.disk.give_way().await;
            }
            let inside = (wanted.at.offset() - blocks.start) as usize;
            let Some(bytes) = buffer.get(inside..) else { continue };
            let (id, parts) = (ids[wanted.nth], &mut parts[wanted.nth]);
            if wanted.is_note {
                parts.notes = only_notes(bytes, seed, wanted.at, id);
            } else {
                parts.envelope = envelope(bytes, seed, wanted.at, id);
            }
        }
    }
}

/// How many of the records, which are sorted, are read together, and the bytes of the file that hold them.
fn first_run(wanted: &[Wanted]) -> (usize, Range<u64>) {
    let first = wanted[0].at;
    let start = first.offset() / BLOCK_BYTES * BLOCK_BYTES;
    let mut end = first.offset() + wanted[0].bytes;
    let mut count = 1;
    for next in &wanted[1..] {
        let next_end = end.max(next.at.offset() + next.bytes);
        let near = next.at.segment == first.segment && next.at.offset() <= end + GAP_BYTES_MAX;
        if !near || next_end - start > RUN_BYTES_MAX {
            break;
        }
        end = next_end;
        count += 1;
    }
    (count, start..end.next_multiple_of(BLOCK_BYTES))
}

/// The envelope in a Message record, if it is one of that message, and whole.
fn envelope(bytes: &[u8], seed: Seed, at: Location, id: MessageId) -> Option<StoredEnvelope> {
    let payload = payload_of(bytes, seed, at, id, |kind| kind == Kind::Message)?;
    let head = MessageHead::read(payload)?;
    let mut chunks = Vec::new();
    if head.chunk_count > 0 {
        chunks = head.chunks(id, payload)?;
        chunks.truncate(head.envelope_chunks(payload)?);
        chunks.shrink_to_fit();
    }
    let bytes = Bytes::copy_from_slice(payload.get(head.envelope())?);
    Some(StoredEnvelope { arrival_us: head.arrival_us, bytes, chunks })
}

/// The notes in the newest record about a message, if there are none in older ones.
fn only_notes(bytes: &[u8], seed: Seed, at: Location, id: MessageId) -> Option<Vec<Bytes>> {
    let mut is_retry = false;
    let payload = payload_of(bytes, seed, at, id, |kind| {
        is_retry = kind == Kind::Retry;
        kind.is_chain()
    })?;
    let head = ChainHead::read(payload).filter(|head| is_retry || head.previous.is_nowhere())?;
    Some(head.notes(payload)?.into_iter().map(|range| Bytes::copy_from_slice(&payload[range])).collect())
}

fn payload_of(
    bytes: &[u8],
    seed: Seed,
    at: Location,
    id: MessageId,
    mut is_right: impl FnMut(Kind) -> bool,
) -> Option<&[u8]> {
    match frame::parse(bytes, seed, at.offset()) {
        Parsed::Whole(header, payload) if header.id == id.bits() && is_right(header.kind) => Some(payload),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_read_together_and_distant_records_apart() {
        let at = |segment, offset, bytes| Wanted {
            at: Location::new(segment, offset),
            bytes,
            nth: 0,
            is_note: false,
        };
        let near =
            [at(1, 8248, 100), at(1, 8352, 4000), at(1, 70_000, 10), at(1, 200_000, 10), at(2, 8192, 10)];
        assert_eq!(first_run(&near), (3, 8192..73_728));
        assert_eq!(first_run(&near[3..]).0, 1);
        // A record longer than a run is read whole.
        assert_eq!(first_run(&[at(1, 8192, 3 << 20), at(1, 4 << 20, 8)]), (1, 8192..8192 + (3 << 20)));
        let long: Vec<_> = (0..100).map(|nth| at(1, 8192 + nth * 30_000, 30_000)).collect();
        assert_eq!(first_run(&long).0, 34);
    }
}
