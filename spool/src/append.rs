//! The open commit: where records are placed, and what happens to those that find no place.
//!
//! Receives: records. Owns: the pending batches and the queue of late records. Limits: new mail waits when one batch
//! is full and two are in flight; records about queued messages never wait and are bounded by the deliveries in
//! progress, which the caller stops by [`crate::Spool::ready_for_notes`]. On failure: records that must not be lost
//! become late records and are written to the next segment.

use crate::{
    account::State,
    error::StoreError,
    frame::{self, FRAME_HEADER_BYTES, FrameHeader, Kind, Seed, frame_bytes},
    message::MessageId,
    record::{self, COMMIT_BYTES, Cut},
    segment::{BLOCK_BYTES, Entry, FRAMES_START, Location, Phase, footer_bytes, frames_max},
    signal::Signal,
};
use ringpost_reactor::AlignedBuffer;
use std::{cell::RefCell, io, rc::Rc};

/// Late records beyond this ask the caller to start no more deliveries: 4 MiB, some ten thousand outcomes.
pub(crate) const LATE_BYTES_MAX: usize = 4 << 20;
/// The part of the head (one in so many) that is used when its successor is made at the latest. Writing zeros takes
/// less time than the rest of the head does at the rate of a busy shard.
const NEXT_DUE_SHARE: u64 = 4;
/// Buffers kept for re-use: two in flight and two on their way.
const POOL_MAX: usize = 4;
/// The Commit frame that opens every batch.
pub(crate) const COMMIT_FRAME_BYTES: usize = FRAME_HEADER_BYTES + COMMIT_BYTES;
/// Part of a commit that no record may use, so that every record fits into an empty one.
pub(crate) const COMMIT_RESERVE_BYTES: usize = 4096;

/// How a commit ended, for those who wait for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    kind: io::ErrorKind,
    errno: Option<i32>,
}

impl Failure {
    pub fn of(error: &io::Error) -> Self {
        Self { kind: error.kind(), errno: error.raw_os_error() }
    }

    pub fn error(self) -> io::Error {
        match self.errno {
            Some(errno) => io::Error::from_raw_os_error(errno),
            None => self.kind.into(),
        }
    }
}

/// Shared by all who wait for one commit.
#[derive(Default)]
pub(crate) struct Ticket {
    outcome: RefCell<Option<Result<(), Failure>>>,
    changed: Signal,
}

impl Ticket {
    pub fn settle(&self, outcome: Result<(), Failure>) {
        *self.outcome.borrow_mut() = Some(outcome);
        self.changed.raise();
    }

    pub async fn wait(&self) -> Result<(), StoreError> {
        loop {
            let seen = self.changed.seen();
            if let Some(outcome) = *self.outcome.borrow() {
                return outcome.map_err(|failure| StoreError::Failed(failure.error()));
            }
            self.changed.after(seen).await;
        }
    }
}

/// One commit in the making or on its way.
pub(crate) struct Batch<F> {
    pub number: u64,
    pub segment: u32,
    pub offset: u64,
    pub file: Rc<F>,
    pub seed: Seed,
    pub buffer: AlignedBuffer,
    pub frames: u32,
    pub messages: u32,
    pub ticket: Rc<Ticket>,
}

/// A record that found no segment.
#[derive(Debug)]
pub(crate) enum Late {
    Chain { kind: Kind, id: MessageId, notes: Vec<Box<[u8]>> },
    Remove { id: MessageId, target: u32 },
    Cut(Cut),
}

impl Late {
    fn bytes(&self) -> usize {
        match self {
            Late::Chain { notes, .. } => 64 + notes.iter().map(|note| note.len() + 16).sum::<usize>(),
            Late::Remove { .. } => 64,
            Late::Cut(cut) => 64 + cut.payload_bytes(),
        }
    }
}

/// Who asks for a place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writer {
    /// New mail and compaction: waits while a full batch waits.
    Patient,
    /// Records about queued messages: always placed while there is a segment.
    Urgent,
}

impl<F> State<F> {
    /// Largest payload that fits in a commit.
    pub fn payload_bytes_max(&self) -> usize {
        self.options.commit_bytes_max - COMMIT_RESERVE_BYTES - COMMIT_FRAME_BYTES - FRAME_HEADER_BYTES
    }

    /// Sees to it that the open batch has room for one more frame; `false` if it cannot have now.
    pub fn place(&mut self, payload: usize, writer: Writer) -> bool {
        let bytes = frame_bytes(payload);
        if self.head.is_none() {
            return false;
        }
        if self.batch_open {
            let len = self.pending.back().map_or(0, |batch| batch.buffer.len());
            if len + bytes <= self.options.commit_bytes_max && self.head_fits(len + bytes) {
                return true;
            }
            self.close_batch();
        }
        if writer == Writer::Patient && !self.pending.is_empty() {
            return false;
        }
        if !self.head_fits(COMMIT_FRAME_BYTES + bytes) && !self.roll() {
            return false;
        }
        self.open_batch();
        true
    }

    /// Whether the head has room for a commit of `bytes` with one more frame, and for its footer after that.
    fn head_fits(&self, bytes: usize) -> bool {
        let Some(head) = self.head.and_then(|head| self.segments.get(&head)) else { return false };
        let frames = head.entries.len() + 1;
        let end = self.head_offset + (bytes as u64).next_multiple_of(BLOCK_BYTES) + footer_bytes(frames);
        end <= head.header.segment_bytes && frames <= frames_max(head.header.segment_bytes)
    }

    /// Makes the prepared segment the head. `false` if none is prepared.
    pub fn roll(&mut self) -> bool {
        let Some(next) = self.next.take() else {
            self.next_due = true;
            // Compaction is part of upkeep: it would only wake itself, without end.
            if !self.copying {
                self.upkeep.raise();
            }
            return false;
        };
        if let Some(head) = self.head.and_then(|head| self.segments.get_mut(&head)) {
            head.phase = Phase::Full;
        }
        self.next_due = false;
        let number = next.header.segment;
        self.head = Some(number);
        self.head_offset = FRAMES_START;
        self.segments.insert(number, next);
        self.upkeep.raise();
        self.room.raise();
        true
    }

    /// Asks for a successor of the head once [`NEXT_DUE_SHARE`] of it is used.
    fn tell_if_next_is_due(&mut self) {
        let Some(head) = self.head.and_then(|head| self.segments.get(&head)) else { return };
        let bytes_max = head.header.segment_bytes;
        let used = self.head_offset >= bytes_max / NEXT_DUE_SHARE
            || head.entries.len() >= frames_max(bytes_max) / NEXT_DUE_SHARE as usize;
        if used && !self.next_due {
            self.next_due = true;
            self.upkeep.raise();
        }
    }

    fn open_batch(&mut self) {
        let number = self.head.expect("a place was found in the head");
        let head = self.segments.get_mut(&number).expect("the head is a segment");
        let mut buffer =
            self.pool.pop().unwrap_or_else(|| AlignedBuffer::with_capacity(self.options.commit_bytes_max));
        buffer.clear();
        buffer.resize(COMMIT_FRAME_BYTES, 0);
        head.last_commit = self.next_commit;
        self.pending.push_back(Batch {
            number: self.next_commit,
            segment: number,
            offset: self.head_offset,
            file: Rc::clone(&head.file),
            seed: head.header.seed(),
            buffer,
            frames: 0,
            messages: 0,
            ticket: Rc::default(),
        });
        self.next_commit += 1;
        self.batch_open = true;
        self.work.raise();
    }

    /// Ends the open batch; the next record opens another.
    pub fn close_batch(&mut self) {
        if !self.batch_open {
            return;
        }
        self.batch_open = false;
        let batch = self.pending.back_mut().expect("an open batch is pending");
        batch.buffer.pad_to(BLOCK_BYTES as usize);
        self.head_offset += batch.buffer.len() as u64;
        if let Some(segment) = self.segments.get_mut(&batch.segment) {
            segment.end = self.head_offset;
        }
        self.tell_if_next_is_due();
    }

    /// Takes the oldest pending batch, complete with its Commit frame, for submission.
    pub fn take_batch(&mut self) -> Option<Batch<F>> {
        if self.pending.len() == 1 {
            self.close_batch();
        }
        let mut batch = self.pending.pop_front()?;
        let bytes = batch.buffer.len() as u32;
        record::put_commit(&mut batch.buffer[FRAME_HEADER_BYTES..], bytes, batch.frames, self.settled);
        let header = FrameHeader {
            length: COMMIT_BYTES as u32,
            kind: Kind::Commit,
            commit: batch.number as u32,
            id: batch.number,
        };
        frame::finish(&mut batch.buffer, batch.seed, batch.offset, header);
        self.flying += 1;
        self.room.raise();
        Some(batch)
    }

    /// Gives a buffer back.
    pub fn give_buffer(&mut self, buffer: AlignedBuffer) {
        if self.pool.len() < POOL_MAX && buffer.capacity() <= self.options.commit_bytes_max {
            self.pool.push(buffer);
        }
    }

    /// Appends a frame to the open batch, where [`State::place`] has made room. `entry` gets its place and length.
    pub fn append(
        &mut self,
        entry: &mut Entry,
        payload: impl FnOnce(&mut AlignedBuffer),
    ) -> (Location, Rc<Ticket>) {
        let batch = self.pending.back_mut().expect("place() opened a batch");
        let offset = batch.offset + batch.buffer.len() as u64;
        let location = Location::new(batch.segment, offset);
        let length =
            frame::write(&mut batch.buffer, batch.seed, offset, entry.kind, batch.number, entry.id, payload);
        batch.frames += 1;
        entry.eighth = location.eighth;
        entry.length = length as u32;
        let ticket = Rc::clone(&batch.ticket);
        let segment = self.segments.get_mut(&location.segment).expect("the head is a segment");
        segment.entries.push(*entry);
        segment.stirred |= !self.copying;
        (location, ticket)
    }

    /// Records a change of a queued message: in the index at once, in the log with the next commit. `switch` turns a
    /// bit of its state on or off.
    pub fn chain(
        &mut self,
        kind: Kind,
        id: MessageId,
        due_at_s: Option<u32>,
        switch: Option<(u32, bool)>,
        note: Option<&[u8]>,
    ) {
        let Some(known) = self.index.find_mut(id) else { return };
        if let Some(due_at_s) = due_at_s {
            known.due_at_s = due_at_s;
        }
        if let Some((bit, on)) = switch {
            let others = known.state() & !bit;
            known.set_state(if on { others | bit } else { others });
        }
        let notes = note.as_slice();
        let payload = record::CHAIN_HEAD_BYTES + notes.iter().map(|note| note.len() + 4).sum::<usize>();
        if self.late.is_empty() && self.place(payload, Writer::Urgent) {
            self.append_chain(kind, id, notes);
        } else {
            let notes = notes.iter().map(|note| Box::from(*note)).collect();
            self.push_late(Late::Chain { kind, id, notes });
        }
    }

    /// Appends a chain record, in a place that was found, with the message's present state.
    pub fn append_chain<N: AsRef<[u8]>>(&mut self, kind: Kind, id: MessageId, notes: &[N]) {
        let Some(known) = self.index.find(id) else { return };
        let (previous, due_at_s, state) = (known.note, known.due_at_s, known.state());
        let mut entry = blank_entry(kind, id.bits());
        entry.due_at_s = due_at_s;
        entry.state = state as u8;
        let (location, _) =
            self.append(&mut entry, |out| record::put_chain(out, previous, due_at_s, state, notes));
        self.chain_at(location.segment, &entry, false);
    }

    /// Ends a message.
    pub fn remove(&mut self, id: MessageId) {
        let Some(buried) = self.forget(id) else { return };
        for target in std::iter::once(buried.message).chain(buried.stale) {
            if self.late.is_empty() && self.place(record::REMOVE_BYTES, Writer::Urgent) {
                self.append_remove(id, target);
            } else {
                self.push_late(Late::Remove { id, target });
            }
        }
        self.room.raise();
    }

    /// Appends a tombstone, in a place that was found.
    pub fn append_remove(&mut self, id: MessageId, target: u32) {
        let mut entry = blank_entry(Kind::Remove, id.bits());
        entry.extra = u64::from(target);
        let (location, _) = self.append(&mut entry, |out| record::put_remove(out, target));
        self.grave_at(location.segment, &entry);
    }

    /// Appends a cut, in a place that was found.
    pub fn append_cut(&mut self, cut: &Cut) {
        let mut entry = blank_entry(Kind::Cut, 0);
        entry.extra = u64::from(cut.segment);
        let (location, _) = self.append(&mut entry, |out| cut.put(out));
        self.grave_at(location.segment, &entry);
    }

    pub fn push_late(&mut self, late: Late) {
        self.late_bytes += late.bytes();
        self.late.push_back(late);
        self.upkeep.raise();
    }

    /// Writes late records as far as there is room.
    pub fn flush_late(&mut self) {
        while let Some(late) = self.late.front() {
            let payload = match late {
                Late::Chain { notes, .. } => {
                    record::CHAIN_HEAD_BYTES + notes.iter().map(|note| note.len() + 4).sum::<usize>()
                }
                Late::Remove { .. } => record::REMOVE_BYTES,
                Late::Cut(cut) => cut.payload_bytes(),
            };
            if !self.place(payload, Writer::Urgent) {
                return;
            }
            let late = self.late.pop_front().expect("looked at above");
            self.late_bytes -= late.bytes();
            match late {
                Late::Chain { kind, id, notes } => self.append_chain(kind, id, &notes),
                Late::Remove { id, target } => self.append_remove(id, target),
                Late::Cut(cut) => self.append_cut(&cut),
            }
        }
        self.progress.raise();
    }
}

/// An entry before it is placed.
pub(crate) fn blank_entry(kind: Kind, id: u64) -> Entry {
    Entry { id, eighth: 0, length: 0, kind, state: 0, due_at_s: 0, extra: 0 }
}
