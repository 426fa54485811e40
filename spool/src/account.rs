//! The account: what each record does to the index and to the live bytes of segments. The same functions serve the
//! running spool and its recovery, so that both always agree.
//!
//! Which frames are live:
//! - a Message record, until the message is removed or copied elsewhere; chunks, until their message is removed;
//! - the notes of a queued message since its last Retry, that one included;
//! - a Remove (tombstone), as long as another segment that holds the message's record is on disk;
//! - a Cut, as long as the segment it is about is on disk.

use crate::{
    append::{Batch, Late},
    figures::{SpoolEvent, SpoolFigures},
    frame::Kind,
    index::{CHAIN_BYTES_MAX, Extent, Index},
    message::{ChunkRef, Corrupt, MessageId},
    options::SpoolOptions,
    segment::{ENTRY_CHUNKED, Entry, Location, Segment, entry_id},
    signal::Signal,
};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use ringpost_reactor::AlignedBuffer;
use std::{collections::VecDeque, rc::Rc};

/// Events kept for the log until it takes them; the oldest go first.
const EVENTS_MAX: usize = 1024;

/// Everything that changes in a spool.
pub(crate) struct State<F> {
    pub options: SpoolOptions,
    pub index: Index,
    pub segments: HashMap<u32, Segment<F>, FixedState>,
    /// The segment that commits go to; none while the disk is in trouble.
    pub head: Option<u32>,
    /// Where the next commit goes in it.
    pub head_offset: u64,
    /// The prepared successor of the head.
    pub next: Option<Segment<F>>,
    /// The head is so full that its successor is to be made even if that takes a new file.
    pub next_due: bool,
    /// Recycled files.
    pub spares: Vec<Segment<F>>,
    /// Commits that were not submitted, oldest first. The last is open if `batch_open`.
    pub pending: VecDeque<Batch<F>>,
    pub batch_open: bool,
    /// Records that found no segment.
    pub late: VecDeque<Late>,
    pub late_bytes: usize,
    pub next_commit: u64,
    pub settled: u64,
    /// Commits submitted and not settled.
    pub flying: usize,
    pub next_sequence: u64,
    pub lease_end: u64,
    pub next_segment: u32,
    pub generation: u32,
    /// What the file system can still give, as of the last look.
    pub available_bytes: u64,
    /// Mail was turned away since that look.
    pub room_missed: bool,
    pub disk_bytes: u64,
    /// Segments that must be drained before any other is retired: they hold older copies of moved messages.
    pub must_drain: Vec<u32>,
    /// Compaction is writing now: what it adds and what it lets die stirs no segment.
    pub copying: bool,
    pub corrupt: Vec<Corrupt>,
    pub events: VecDeque<SpoolEvent>,
    pub counters: SpoolFigures,
    pub pool: Vec<AlignedBuffer>,
    pub closing: bool,
    pub commits_ended: bool,
    pub closed: bool,
    pub upkeep: Rc<Signal>,
    pub work: Rc<Signal>,
    pub room: Rc<Signal>,
    pub progress: Rc<Signal>,
}

impl<F> State<F> {
    pub fn new(options: SpoolOptions, seed: u64) -> Self {
        let index = Index::new(options.shard, seed);
        Self {
            options,
            index,
            segments: HashMap::with_hasher(FixedState::with_seed(seed)),
            head: None,
            head_offset: 0,
            next: None,
            next_due: true,
            spares: Vec::new(),
            pending: VecDeque::new(),
            batch_open: false,
            late: VecDeque::new(),
            late_bytes: 0,
            next_commit: 1,
            settled: 0,
            flying: 0,
            next_sequence: 1,
            lease_end: 0,
            next_segment: 1,
            generation: 1,
            available_bytes: u64::MAX,
            room_missed: false,
            disk_bytes: 0,
            must_drain: Vec::new(),
            copying: false,
            corrupt: Vec::new(),
            events: VecDeque::new(),
            counters: SpoolFigures::default(),
            pool: Vec::new(),
            closing: false,
            commits_ended: false,
            closed: false,
            upkeep: Rc::default(),
            work: Rc::default(),
            room: Rc::default(),
            progress: Rc::default(),
        }
    }

    pub fn event(&mut self, event: SpoolEvent) {
        if self.events.len() >= EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    pub fn live_add(&mut self, segment: u32, bytes: u64) {
        if let Some(segment) = self.segments.get_mut(&segment) {
            segment.live_bytes += bytes;
        }
    }

    pub fn live_sub(&mut self, number: u32, bytes: u64) {
        if let Some(segment) = self.segments.get_mut(&number) {
            debug_assert!(
                segment.live_bytes >= bytes,
                "segment {number} has fewer live bytes than one record"
            );
            segment.live_bytes = segment.live_bytes.saturating_sub(bytes);
            segment.stirred |= bytes > 0 && !self.copying;
            if segment.live_bytes == 0 && self.head != Some(number) {
                self.upkeep.raise();
            }
        }
    }

    /// A Message record lies in `segment`: a new message, or a copy that replaces an older record. Returns where the
    /// older one lies.
    pub fn message_at(&mut self, segment: u32, entry: &Entry) -> Location {
        let location = Location { segment, eighth: entry.eighth };
        let id = entry_id(entry);
        if self.index.find(id).is_none() {
            self.index.insert(id);
        }
        let known = self.index.find_mut(id).expect("just inserted");
        let (older, older_length) = (known.message, known.length());
        known.message = location;
        known.set_length(entry.length);
        known.content_bytes = u32::try_from(entry.extra).unwrap_or(u32::MAX);
        known.due_at_s = entry.due_at_s;
        known.set_state(u32::from(entry.state));
        known.set_chunked(entry.state & ENTRY_CHUNKED != 0);
        if !older.is_nowhere() {
            self.live_sub(older.segment, crate::frame::frame_bytes(older_length as usize) as u64);
        }
        self.live_add(segment, entry.frame_bytes());
        older
    }

    /// A record of a message's chain lies in `segment`. `may_insert`: recovery meets notes before a copied message.
    pub fn chain_at(&mut self, segment: u32, entry: &Entry, may_insert: bool) {
        let id = entry_id(entry);
        if self.index.find(id).is_none() {
            if !may_insert {
                return;
            }
            self.index.insert(id);
        }
        if entry.kind == Kind::Retry {
            self.free_chain(id);
        }
        let known = self.index.find_mut(id).expect("just inserted");
        let (older, older_bytes) = (known.note, known.chain_bytes());
        let bytes = entry.frame_bytes();
        let together = if older.segment == segment { older_bytes + bytes } else { u64::MAX };
        known.note = Location { segment, eighth: entry.eighth };
        known.due_at_s = entry.due_at_s;
        known.set_state(u32::from(entry.state));
        if together <= CHAIN_BYTES_MAX {
            known.set_chain_bytes(together);
        } else {
            let fits = bytes <= CHAIN_BYTES_MAX;
            known.set_chain_bytes(if fits { bytes } else { 0 });
            let beside = [(older.segment, older_bytes), (segment, if fits { 0 } else { bytes })];
            for (segment, bytes) in beside.into_iter().filter(|&(_, bytes)| bytes > 0) {
                self.index.sprawl_mut(id).notes.push(Extent { segment, bytes });
            }
        }
        self.live_add(segment, bytes);
    }

    /// The notes so far are no longer needed.
    fn free_chain(&mut self, id: MessageId) {
        let Some(known) = self.index.find_mut(id) else { return };
        let (note, bytes, sprawls) = (known.note, known.chain_bytes(), known.sprawls());
        known.set_chain_bytes(0);
        self.live_sub(note.segment, bytes);
        if sprawls {
            let extents = self.index.sprawls.get_mut(&id).map(|sprawl| std::mem::take(&mut sprawl.notes));
            for extent in extents.into_iter().flatten() {
                self.live_sub(extent.segment, extent.bytes);
            }
            self.tidy_sprawl(id);
        }
    }

    /// Drops a side-table entry that holds nothing.
    pub fn tidy_sprawl(&mut self, id: MessageId) {
        if self.index.sprawls.get(&id).is_some_and(|sprawl| {
            sprawl.notes.is_empty() && sprawl.chunks.is_empty() && sprawl.stale.is_empty()
        }) {
            self.index.sprawls.remove(&id);
            if let Some(known) = self.index.find_mut(id) {
                known.set_sprawls(false);
            }
        }
    }

    /// The message has an older Message record in that segment, beside the one that counts.
    pub fn add_stale(&mut self, id: MessageId, segment: u32) {
        let stale = &mut self.index.sprawl_mut(id).stale;
        if !stale.contains(&segment) {
            stale.push(segment);
        }
    }

    /// Takes a message out of the index; nothing of it is live any more. Returns the segments that hold a Message
    /// record of it, the one that counted first.
    pub fn forget(&mut self, id: MessageId) -> Option<Buried> {
        self.free_chain(id);
        let known = self.index.remove(id)?;
        if !known.message.is_nowhere() {
            let bytes = crate::frame::frame_bytes(known.length() as usize) as u64;
            self.live_sub(known.message.segment, bytes);
        }
        let mut stale = Vec::new();
        if known.sprawls()
            && let Some(sprawl) = self.index.sprawls.remove(&id)
        {
            for extent in sprawl.chunks {
                self.live_sub(extent.segment, extent.bytes);
            }
            stale = sprawl.stale;
            stale.retain(|number| self.segments.contains_key(number));
        }
        if known.corrupt() {
            self.corrupt.retain(|corrupt| corrupt.id != Some(id));
        }
        Some(Buried { message: known.message.segment, stale })
    }

    /// A tombstone or cut about segment `target` lies in `segment`.
    pub fn grave_at(&mut self, segment: u32, entry: &Entry) {
        let target = entry.extra as u32;
        if target != segment
            && let Some(about) = self.segments.get_mut(&target)
        {
            about.add_grave(segment, entry.frame_bytes());
            self.live_add(segment, entry.frame_bytes());
        }
    }

    /// A segment has left the log: the tombstones and cuts about it are not needed any more.
    pub fn graves_end(&mut self, graves: Vec<(u32, u64)>) {
        for (holder, bytes) in graves {
            self.live_sub(holder, bytes);
        }
    }

    /// Gives stored chunks to a message: all that it has.
    pub fn attach_chunks<'c>(&mut self, id: MessageId, chunks: impl Iterator<Item = &'c ChunkRef> + Clone) {
        for chunk in chunks.clone() {
            if let Some(segment) = self.segments.get_mut(&chunk.location.segment) {
                segment.unattached = segment.unattached.saturating_sub(1);
            }
        }
        self.set_chunk_extents(id, chunks);
    }

    /// Notes in which segments a message's chunks lie, without counting them live.
    pub fn set_chunk_extents<'c>(&mut self, id: MessageId, chunks: impl Iterator<Item = &'c ChunkRef>) {
        let mut extents: Vec<Extent> = Vec::new();
        for chunk in chunks {
            let bytes = chunk_frame_bytes(chunk);
            match extents.iter_mut().find(|extent| extent.segment == chunk.location.segment) {
                Some(extent) => extent.bytes += bytes,
                None => extents.push(Extent { segment: chunk.location.segment, bytes }),
            }
        }
        self.index.sprawl_mut(id).chunks = extents;
    }

    /// Forgets chunks that no message names.
    pub fn abandon(&mut self, chunks: &[ChunkRef]) {
        for chunk in chunks {
            if let Some(segment) = self.segments.get_mut(&chunk.location.segment) {
                segment.unattached = segment.unattached.saturating_sub(1);
            }
            self.live_sub(chunk.location.segment, chunk_frame_bytes(chunk));
        }
    }

    /// Puts a message, or an area, into quarantine.
    pub fn quarantine(&mut self, corrupt: Corrupt) {
        match corrupt.id.and_then(|id| self.index.find_mut(id)) {
            Some(known) => {
                if known.corrupt() {
                    return;
                }
                known.set_corrupt();
            }
            None => {
                if let Some(segment) = self.segments.get_mut(&corrupt.segment) {
                    segment.pinned = true;
                }
            }
        }
        self.event(SpoolEvent::Corrupt(corrupt.clone()));
        self.corrupt.push(corrupt);
    }

    /// Whether a frame's bytes are durable; `None` if its segment has been retired.
    pub fn is_settled(&self, location: Location) -> Option<bool> {
        let segment = self.segments.get(&location.segment)?;
        Some(location.offset() < segment.settled_end)
    }
}

/// The segments that a message's removal is about.
pub(crate) struct Buried {
    /// Holds the Message record that counted.
    pub message: u32,
    /// Hold older ones; empty but for large messages whose chunks were moved.
    pub stale: Vec<u32>,
}

/// Bytes that a chunk takes in the log.
pub(crate) fn chunk_frame_bytes(chunk: &ChunkRef) -> u64 {
    crate::frame::frame_bytes(chunk.bytes as usize) as u64
}
