//! The spool's doors: what a shard calls.
//!
//! Receives: messages, chunks, what became of recipients. Sends: completions, loaded messages, figures. Owns: the
//! shared state behind every clone. Limits: as in [`SpoolOptions`]. On failure: see [`StoreError`], [`LoadError`];
//! nothing from the disk makes it panic.

use crate::{
    ChunkRef, Content, Corrupt, Disk, Listed, LoadError, Loaded, MessageId, NewMessage, OpenError, Queued,
    SpoolEvent, SpoolFigures, SpoolOptions, SpoolState, StoreError,
    account::State,
    append::{LATE_BYTES_MAX, Ticket, Writer, blank_entry},
    frame::Kind,
    index::SEQUENCE_MAX,
    options::{CHUNK_BYTES_MAX, INLINE_CONTENT_BYTES_MAX},
    record::{self, STATE_FORCE_EXPIRED, STATE_HELD},
    segment::{ENTRY_CHUNKED, FRAMES_START, Phase, footer_bytes},
    signal,
};
use bytes::Bytes;
use std::{cell::RefCell, io, rc::Rc};

/// Pending batches beyond this ask the caller to start no more deliveries.
const PENDING_MAX: usize = 4;

pub(crate) struct Inner<D: Disk> {
    pub disk: D,
    pub state: RefCell<State<D::File>>,
}

/// One shard's queue store; a cheap clone of the same store. `!Send`.
pub struct Spool<D: Disk> {
    pub(crate) inner: Rc<Inner<D>>,
}

impl<D: Disk> Clone for Spool<D> {
    fn clone(&self) -> Self {
        Self { inner: Rc::clone(&self.inner) }
    }
}

impl<D: Disk> Spool<D> {
    /// Recovers the store in the disk's directory, or makes a new one. [`Spool::queued`], [`Spool::corrupt`] and
    /// [`Spool::take_events`] then tell what was found.
    pub async fn open(disk: D, options: SpoolOptions) -> Result<Self, OpenError> {
        options.check()?;
        let state = RefCell::new(State::new(options, disk.salt()));
        let inner = Rc::new(Inner { disk, state });
        inner.recover().await?;
        Ok(Self { inner })
    }

    /// The commit and upkeep loop; spawn it once. Ends after [`Spool::close`].
    pub async fn run(&self) {
        signal::join(self.inner.commit_loop(), self.inner.upkeep_loop()).await;
    }

    /// A fresh identity; never given out before, also not before a crash.
    pub fn new_id(&self) -> MessageId {
        let mut state = self.inner.state.borrow_mut();
        let sequence = state.next_sequence;
        assert!(sequence <= SEQUENCE_MAX, "the sequence numbers of a shard are used up");
        state.next_sequence += 1;
        if state.next_sequence + crate::upkeep::LEASE / 2 == state.lease_end {
            state.upkeep.raise();
        }
        MessageId::new(state.options.shard, sequence)
    }

    /// Stores a message. Its bytes are copied once, into the open commit, when the future is first polled with room
    /// there. Resolves with `Ok` after the fdatasync that covers it: **then, and not before, 250 may be said**.
    /// Dropping the future before it resolves withdraws the message.
    pub async fn store(&self, message: NewMessage<'_>) -> Result<(), StoreError> {
        let mut loose = Loose { spool: self, chunks: message.chunks().cloned().collect() };
        self.check_size(&message)?;
        let ticket = loop {
            let (room, seen) = {
                let mut state = self.inner.state.borrow_mut();
                if let Some(ticket) = state.try_store(&message)? {
                    break ticket;
                }
                (Rc::clone(&state.room), state.room.seen())
            };
            room.after(seen).await;
        };
        loose.chunks.clear();
        let mut withdraw = Withdraw { spool: self, id: Some(message.id) };
        let outcome = ticket.wait().await;
        withdraw.id = None;
        outcome
    }

    fn check_size(&self, message: &NewMessage<'_>) -> Result<(), StoreError> {
        let state = self.inner.state.borrow();
        assert!(message.chunks().all(|chunk| chunk.id == message.id), "chunks belong to their message");
        let inline_fits = match &message.content {
            Content::Inline(_) => record::content_bytes(message) <= INLINE_CONTENT_BYTES_MAX as u64,
            Content::Chunked { chunks, total } => {
                assert_eq!(chunks.iter().map(|chunk| u64::from(chunk.bytes)).sum::<u64>(), *total);
                *total <= u64::from(u32::MAX)
            }
        };
        let fits = record::message_payload_bytes(message) <= state.payload_bytes_max();
        if inline_fits && fits { Ok(()) } else { Err(StoreError::TooLarge) }
    }

    /// Stores a piece of a large message that is still arriving, of its content or its envelope; at most [`CHUNK_BYTES_MAX`] bytes together, and
    /// less than a commit. Resolves when it is durable.
    pub async fn store_chunk(&self, id: MessageId, pieces: &[&[u8]]) -> Result<ChunkRef, StoreError> {
        let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
        if bytes > CHUNK_BYTES_MAX || bytes > self.inner.state.borrow().payload_bytes_max() {
            return Err(StoreError::TooLarge);
        }
        let (chunk, ticket) = loop {
            let (room, seen) = {
                let mut state = self.inner.state.borrow_mut();
                if let Some(placed) = state.try_store_chunk(id, pieces, bytes)? {
                    break placed;
                }
                (Rc::clone(&state.room), state.room.seen())
            };
            room.after(seen).await;
        };
        let mut loose = Loose { spool: self, chunks: vec![chunk.clone()] };
        ticket.wait().await?;
        loose.chunks.clear();
        Ok(chunk)
    }

    /// From now on so many bytes stay free on the file system ([`SpoolOptions::free_bytes_min`]).
    pub fn set_free_bytes_min(&self, bytes: u64) {
        self.inner.state.borrow_mut().options.free_bytes_min = bytes;
    }

    /// Forgets chunks that will not become a message.
    pub fn abandon_chunks(&self, chunks: Vec<ChunkRef>) {
        self.inner.state.borrow_mut().abandon(&chunks);
    }

    /// The largest note that [`Spool::outcome`] and [`Spool::retry`] take: [`crate::NOTE_BYTES_MAX`], or less if
    /// commits are small.
    pub fn note_bytes_max(&self) -> usize {
        let fits = self.inner.state.borrow().payload_bytes_max() - record::CHAIN_HEAD_BYTES - 4;
        fits.min(crate::NOTE_BYTES_MAX)
    }

    /// Records what became of a recipient. Not waited for: it rides on the next commit. No effect on a message that
    /// is not queued. Panics if the note is larger than [`Spool::note_bytes_max`].
    pub fn outcome(&self, id: MessageId, note: &[u8]) {
        self.check_note(note);
        self.inner.state.borrow_mut().chain(Kind::Outcome, id, None, None, Some(note));
    }

    /// Records that an attempt is over and when the next is due. `note` replaces all earlier notes. Not waited for.
    /// Panics if the note is larger than [`Spool::note_bytes_max`].
    pub fn retry(&self, id: MessageId, due_at_s: u32, note: &[u8]) {
        self.check_note(note);
        self.inner.state.borrow_mut().chain(Kind::Retry, id, Some(due_at_s), None, Some(note));
    }

    fn check_note(&self, note: &[u8]) {
        assert!(note.len() <= self.note_bytes_max(), "the caller bounds its notes");
    }

    /// Puts on hold. Not waited for.
    pub fn hold(&self, id: MessageId) {
        self.inner.state.borrow_mut().chain(Kind::Hold, id, None, Some((STATE_HELD, true)), None);
    }

    /// Takes off hold. Not waited for.
    pub fn release(&self, id: MessageId) {
        self.inner.state.borrow_mut().chain(Kind::Release, id, None, Some((STATE_HELD, false)), None);
    }

    /// Notes that the message shall expire at its next attempt, on hold or not. Not waited for; nothing takes it
    /// back.
    pub fn force_expire(&self, id: MessageId) {
        let mut state = self.inner.state.borrow_mut();
        let held = state.index.find(id).is_some_and(|known| known.state() & STATE_HELD != 0);
        // Every record about a message carries its whole state: the kind only repeats whether it is on hold.
        let kind = if held { Kind::Hold } else { Kind::Release };
        state.chain(kind, id, None, Some((STATE_FORCE_EXPIRED, true)), None);
    }

    /// Ends a message: all its recipients are done (or an operator said so). Not waited for. Also ends a quarantined
    /// one.
    pub fn remove(&self, id: MessageId) {
        self.inner.state.borrow_mut().remove(id);
    }

    /// Resolves when everything said so far is durable.
    pub async fn barrier(&self) -> Result<(), StoreError> {
        self.inner.barrier(Waiter::Caller).await
    }

    /// Reads a message back, whole but for chunks.
    pub async fn load(&self, id: MessageId) -> Result<Loaded, LoadError> {
        self.inner.load(id).await
    }

    /// Reads a piece of a large message.
    pub async fn read_chunk(&self, chunk: &ChunkRef) -> Result<Bytes, LoadError> {
        self.inner.read_chunk(chunk).await
    }

    /// What the index knows of one message; `None` if it is not queued, or in quarantine.
    pub fn find(&self, id: MessageId) -> Option<Queued> {
        let state = self.inner.state.borrow();
        state.index.find(id).filter(|known| !known.corrupt()).map(|known| known.queued(id.shard()))
    }

    /// Everything queued, about in the order of arrival, without what is in quarantine. The walk holds nothing and
    /// may take its time, also over awaits: it meets every message that is queued all the while, once; of those that
    /// come or go meanwhile, some.
    pub fn queued(&self) -> QueuedWalk<D> {
        QueuedWalk { spool: self.clone(), slot: 0 }
    }

    /// Reads the envelopes and notes of queued messages, in the order of `ids`, for a list of the queue. They are
    /// read in the order of the disk, neighbours together, with one read of at most 1 MiB (or one record) under way.
    /// A caller bounds what it asks for at a time: a thousand is plenty. Answers are for the first of them only, when
    /// these have records of `bytes_max` together: large messages are not read in vain by who wants a bounded piece.
    pub async fn envelopes(&self, ids: &[MessageId], bytes_max: u64) -> Vec<Result<Listed, LoadError>> {
        self.inner.envelopes(ids, bytes_max).await
    }

    /// Whether a message of that many bytes would be taken now. `false`: answer `452 4.3.1` at MAIL.
    pub fn room_for(&self, bytes: u64) -> bool {
        let mut state = self.inner.state.borrow_mut();
        let fits = state.status() == SpoolState::Healthy && state.has_room(bytes);
        if !fits {
            // Only upkeep tells that the spool is full, and sees room that others have given back.
            state.room_missed = true;
            state.upkeep.raise();
        }
        fits
    }

    /// Whether deliveries may start: `false` while the disk cannot take records about them.
    pub fn ready_for_notes(&self) -> bool {
        let state = self.inner.state.borrow();
        state.status() != SpoolState::Trouble
            && state.late_bytes < LATE_BYTES_MAX
            && state.pending.len() < PENDING_MAX
    }

    /// Counters.
    pub fn figures(&self) -> SpoolFigures {
        self.inner.state.borrow().figures()
    }

    /// Messages and areas that failed their checksums and are kept out of the queue.
    pub fn corrupt(&self) -> Vec<Corrupt> {
        self.inner.state.borrow().corrupt.clone()
    }

    /// What happened since the last call, for the log. Bounded: the oldest are dropped beyond 1,024.
    pub fn take_events(&self) -> Vec<SpoolEvent> {
        std::mem::take(&mut self.inner.state.borrow_mut().events).into()
    }

    /// Commits what is pending, seals the segment and ends [`Spool::run`]. Store nothing after this call.
    pub async fn close(&self) -> Result<(), StoreError> {
        let late = loop {
            let (progress, seen) = {
                let mut state = self.inner.state.borrow_mut();
                if !state.closing {
                    state.closing = true;
                    state.work.raise();
                    state.upkeep.raise();
                    state.room.raise();
                }
                if state.closed {
                    break state.late.len();
                }
                (Rc::clone(&state.progress), state.progress.seen())
            };
            progress.after(seen).await;
        };
        if late == 0 { Ok(()) } else { Err(StoreError::Failed(io::ErrorKind::ResourceBusy.into())) }
    }
}

/// A walk over the queued messages; see [`Spool::queued`].
pub struct QueuedWalk<D: Disk> {
    spool: Spool<D>,
    slot: u32,
}

impl<D: Disk> Iterator for QueuedWalk<D> {
    type Item = Queued;

    fn next(&mut self) -> Option<Queued> {
        let (queued, next) = self.spool.inner.state.borrow().index.next_queued(self.slot)?;
        self.slot = next;
        Some(queued)
    }
}

/// Chunks that go to waste unless a message takes them.
struct Loose<'a, D: Disk> {
    spool: &'a Spool<D>,
    chunks: Vec<ChunkRef>,
}

impl<D: Disk> Drop for Loose<'_, D> {
    fn drop(&mut self) {
        if !self.chunks.is_empty() {
            self.spool.inner.state.borrow_mut().abandon(&self.chunks);
        }
    }
}

/// Removes a message whose store was given up: nobody was told that it is ours.
struct Withdraw<'a, D: Disk> {
    spool: &'a Spool<D>,
    id: Option<MessageId>,
}

impl<D: Disk> Drop for Withdraw<'_, D> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.spool.remove(id);
        }
    }
}

/// Who waits for everything to be durable.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiter {
    Caller,
    /// Upkeep alone makes new segments: it must not wait for records that wait for one.
    Upkeep,
}

impl<D: Disk> Inner<D> {
    /// Resolves when everything said so far is durable; an error if a commit failed meanwhile.
    pub(crate) async fn barrier(&self, waiter: Waiter) -> Result<(), StoreError> {
        let failed_before = self.state.borrow().counters.commits_failed;
        // Numbers are used again after a failure, so what is waited for is told by number and by failures.
        let mut wanted = self.state.borrow().next_commit - 1;
        let mut late_before = false;
        loop {
            let (progress, seen) = {
                let state = self.state.borrow();
                if state.counters.commits_failed != failed_before {
                    return Err(StoreError::Failed(io::ErrorKind::Other.into()));
                }
                // Records that found no segment are said, too: the commit that took them is a later one.
                if late_before && state.late.is_empty() {
                    wanted = state.next_commit - 1;
                }
                late_before = !state.late.is_empty();
                if state.settled >= wanted && !late_before {
                    return Ok(());
                }
                let stuck = waiter == Waiter::Upkeep && !state.late.is_empty() && state.next.is_none();
                if state.commits_ended || stuck {
                    return Err(StoreError::Failed(io::ErrorKind::ResourceBusy.into()));
                }
                (Rc::clone(&state.progress), state.progress.seen())
            };
            progress.after(seen).await;
        }
    }
}

impl<F> State<F> {
    /// Bytes of mail that a fresh segment takes.
    fn usable_bytes(&self) -> u64 {
        self.options.segment_bytes - FRAMES_START - footer_bytes(0) - self.options.segment_bytes / 64
    }

    /// Segments that could still be created.
    pub fn segments_left(&self) -> u64 {
        let bytes = self.options.segment_bytes;
        let by_limit = self.options.bytes_max.saturating_sub(self.disk_bytes) / bytes;
        let by_disk = self.available_bytes.saturating_sub(self.options.free_bytes_min) / bytes;
        by_limit.min(by_disk)
    }

    /// Bytes that can still be written, without compaction.
    fn room_bytes(&self) -> u64 {
        let head =
            self.options.segment_bytes.saturating_sub(self.head_offset + self.options.segment_bytes / 32);
        let open = self.pending.back().map_or(0, |batch| batch.buffer.len() as u64);
        let fresh = u64::from(self.next.is_some())
            .saturating_add(self.spares.len() as u64)
            .saturating_add(self.segments_left());
        head.saturating_sub(open).saturating_add(fresh.saturating_mul(self.usable_bytes()))
    }

    /// Whether that much more mail leaves one segment for records about queued messages and for compaction.
    pub fn has_room(&self, bytes: u64) -> bool {
        self.room_bytes() >= bytes.saturating_add(self.usable_bytes())
    }

    /// Whether that much can be copied to the head before anything is retired. An eighth more for the padding of
    /// commits, and an eighth of a segment for records about queued messages meanwhile: a drain that had to stop for
    /// want of room would keep every other segment from being retired.
    pub fn has_room_to_copy(&self, bytes: u64) -> bool {
        self.room_bytes() >= bytes.saturating_add(bytes / 8).saturating_add(self.options.segment_bytes / 8)
    }

    pub fn status(&self) -> SpoolState {
        if self.head.is_none() {
            SpoolState::Trouble
        } else if !self.has_room(self.options.commit_bytes_max as u64 / 8) {
            SpoolState::Full
        } else {
            SpoolState::Healthy
        }
    }

    fn refusal(&self, payload: usize) -> Result<(), StoreError> {
        if self.closing || self.head.is_none() {
            return Err(StoreError::Failed(io::ErrorKind::ResourceBusy.into()));
        }
        if !self.has_room(payload as u64) || self.status() == SpoolState::Full {
            self.upkeep.raise();
            return Err(StoreError::Full);
        }
        Ok(())
    }

    fn try_store(&mut self, message: &NewMessage<'_>) -> Result<Option<Rc<Ticket>>, StoreError> {
        let payload = record::message_payload_bytes(message);
        self.refusal(payload)?;
        if !self.place(payload, Writer::Patient) {
            return Ok(None);
        }
        let mut entry = blank_entry(Kind::Message, message.id.bits());
        entry.due_at_s = message.due_at_s;
        entry.extra = record::content_bytes(message);
        entry.state = if message.held { STATE_HELD as u8 } else { 0 };
        let is_chunked = message.chunks().next().is_some();
        if is_chunked {
            entry.state |= ENTRY_CHUNKED;
        }
        let (location, ticket) = self.append(&mut entry, |out| record::put_message(out, message));
        self.message_at(location.segment, &entry);
        if is_chunked {
            self.attach_chunks(message.id, message.chunks());
        }
        self.pending.back_mut().expect("just appended").messages += 1;
        Ok(Some(ticket))
    }

    fn try_store_chunk(
        &mut self,
        id: MessageId,
        pieces: &[&[u8]],
        bytes: usize,
    ) -> Result<Option<(ChunkRef, Rc<Ticket>)>, StoreError> {
        self.refusal(bytes)?;
        if !self.place(bytes, Writer::Patient) {
            return Ok(None);
        }
        let mut entry = blank_entry(Kind::Chunk, id.bits());
        let (location, ticket) =
            self.append(&mut entry, |out| pieces.iter().for_each(|piece| out.extend_from_slice(piece)));
        if let Some(segment) = self.segments.get_mut(&location.segment) {
            segment.unattached += 1;
        }
        self.live_add(location.segment, entry.frame_bytes());
        Ok(Some((ChunkRef { id, position: u32::MAX, location, bytes: bytes as u32 }, ticket)))
    }

    fn figures(&self) -> SpoolFigures {
        let sealed = self.segments.values().filter(|segment| segment.phase != Phase::Head);
        SpoolFigures {
            state: self.status(),
            queued: self.index.len() as u64,
            corrupt: self.corrupt.len() as u64,
            segments_sealed: sealed.count() as u64,
            segments_spare: self.spares.len() as u64 + u64::from(self.next.is_some()),
            live_bytes: self.segments.values().map(|segment| segment.live_bytes).sum(),
            disk_bytes: self.disk_bytes,
            index_bytes: self.index.memory_bytes(),
            late_records: self.late.len() as u64,
            ..self.counters
        }
    }
}
