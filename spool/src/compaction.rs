//! Compaction: copies what is live in a thin segment to the head, so that the segment can be retired.
//!
//! Receives: sealed segments with a small live share. Sends: copies, through the ordinary commits. Limits: a share of
//! the disk's time ([`SpoolOptions::compaction_percent`](crate::SpoolOptions)), one segment at a time, one commit's worth
//! of messages in memory. On failure: the segment stays as it is; copies that were made are as good as the originals.
//!
//! Invariant: compaction comes to rest. It drains only segments that are *stirred*: something was written there by
//! other hands than its own, or something there died by other hands. What compaction itself writes, replaces or moves
//! stirs nothing ([`Copier`]), and a drained segment leaves the log, or is `Kept` and never drained again. So each
//! finished drain uses up at least one record or death that came from outside, whatever the room and however badly the
//! copies packed: when callers, failures and retired segments (each of which ends tombstones, of which copying makes
//! no more) cease, so do the drains. A drain that stops half-way stays in `must_drain`; what it copied is no longer
//! live in its segment and is not copied again when it goes on.

mod chains;
mod chunks;

use crate::{
    ChunkRef, Disk, LoadError,
    account::State,
    append::{Writer, blank_entry},
    disk::{AlignedBuffer, DiskFile},
    frame::Kind,
    load::{FrameRead, ReadError},
    message::MessageId,
    record::{self, Cut, MessageHead},
    scan,
    segment::{ENTRY_CHUNKED, ENTRY_COPY, Entry, Location, Phase, Segment, Trailer},
    spool::{Inner, Waiter},
};
use std::{
    cell::RefMut,
    io,
    ops::{Deref, DerefMut},
    rc::Rc,
    time::Duration,
};

/// How often a copy is tried again because the message changed while it was read.
const CHANGES_MAX: u32 = 8;
/// Bytes of chunks and tombstones copied between two rests: so many that they share their commits.
const PACE_BYTES: u64 = 64 << 10;

/// Records read before their copies are appended: so many that the padding of a commit is a few percent even of the
/// smallest, so few that their buffers, of whole blocks each, add little to a commit's worth of memory.
const GROUP_RECORDS_MAX: usize = 256;

/// Why draining a segment stopped.
enum Stop {
    /// Something must be left in it: a damaged record, a reader, the disk. Try again later, if at all.
    Later,
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Io(error)
    }
}

impl<D: Disk> Inner<D> {
    /// Drains and retires one segment, if one is worth it. `Ok(false)` if none is.
    pub(crate) async fn compact_one(&self) -> io::Result<bool> {
        let Some(number) = self.state.borrow().victim() else { return Ok(false) };
        // Its copies may fill the head, and while it runs nobody makes a successor.
        self.state.borrow_mut().next_due = true;
        if self.prepare_next().await? {
            return Ok(true);
        }
        let done = |state: &State<D::File>| (state.counters.compacted_bytes, state.counters.commits_failed);
        let before = done(&self.state.borrow());
        match self.drain(number).await {
            Ok(mut kept) => {
                if self.barrier(Waiter::Upkeep).await.is_err() {
                    // The failure raises `upkeep`, if there is anything to do about it.
                    return Ok(false);
                }
                let unlisted = {
                    let state = self.state.borrow();
                    let lives = state.segments.get(&number).is_some_and(|segment| segment.live_bytes > 0);
                    lives && done(&state) == before
                };
                if unlisted {
                    kept = self.state.borrow().messages_in(number);
                }
                Ok(self.let_go(number, kept, unlisted).await)
            }
            Err(Stop::Later) => Ok(false),
            Err(Stop::Io(error)) => Err(error),
        }
    }

    /// A drained segment leaves the log: retired, or cut down to the messages that stay. `unlisted`: after damage,
    /// something lives there that the segment's own list does not show, such as a chunk that only its message names.
    /// `false` if there is no place for the cut now.
    async fn let_go(&self, number: u32, kept: Vec<u64>, unlisted: bool) -> bool {
        let pinned = self.state.borrow().segments.get(&number).is_some_and(|segment| segment.pinned);
        if kept.is_empty() && !pinned && !unlisted {
            // The upkeep loop retires it: it is dead now, unless it is being read.
            let mut state = self.state.borrow_mut();
            if !state.must_drain.contains(&number) {
                state.must_drain.push(number);
            }
            return true;
        }
        let cut = Cut { segment: number, end: 0, keep: kept };
        {
            let mut state = self.copier();
            if !state.place(cut.payload_bytes(), Writer::Urgent) {
                return false;
            }
            if let Some(segment) = state.segments.get_mut(&number) {
                segment.cut = Some(cut.clone());
            }
            state.append_cut(&cut);
        }
        if self.barrier(Waiter::Upkeep).await.is_err() {
            return false;
        }
        let mut state = self.state.borrow_mut();
        state.must_drain.retain(|&other| other != number);
        if let Some(segment) = state.segments.get_mut(&number) {
            segment.phase = Phase::Kept;
        }
        true
    }

    /// The state, for what compaction does itself.
    fn copier(&self) -> Copier<'_, D::File> {
        let mut state = self.state.borrow_mut();
        state.copying = true;
        Copier(state)
    }

    /// Copies everything live out of a segment. Returns the damaged messages that stay in it.
    async fn drain(&self, number: u32) -> Result<Vec<u64>, Stop> {
        let entries = self.entries_of(number).await?;
        // From the first copy on there are two records of a message: nothing else may be retired until this one is.
        {
            let mut state = self.state.borrow_mut();
            if !state.must_drain.contains(&number) {
                state.must_drain.push(number);
            }
        }
        let (messages, others): (Vec<Entry>, Vec<Entry>) =
            entries.into_iter().partition(|entry| entry.kind == Kind::Message);
        let (chains, others): (Vec<Entry>, Vec<Entry>) = others.into_iter().partition(|entry| {
            matches!(entry.kind, Kind::Outcome | Kind::Retry | Kind::Hold | Kind::Release)
        });
        let mut kept: Vec<u64> = self.move_messages(number, messages).await?;
        self.move_chains(number, &chains, &mut kept).await?;
        let mut paced_ns = self.disk.now_ns();
        let mut unpaced_bytes = 0;
        for entry in others {
            if self.state.borrow().closing {
                return Err(Stop::Later);
            }
            let id = MessageId::from_bits(entry.id);
            let copied = match entry.kind {
                Kind::Chunk => self.move_chunks(id, number).await?,
                Kind::Remove | Kind::Cut => self.move_grave(number, &entry).await?,
                // Moved above, or not to be moved.
                _ => Moved::Nothing,
            };
            unpaced_bytes += self.count_moved(copied, entry.id, &mut kept);
            if unpaced_bytes >= PACE_BYTES {
                self.pace(paced_ns).await;
                paced_ns = self.disk.now_ns();
                unpaced_bytes = 0;
            }
        }
        Ok(kept)
    }

    /// Moves the Message records of a segment. A commit's worth is read first and then appended without waiting in
    /// between: commits are padded to whole blocks, so that copies made one by one would gain no room.
    async fn move_messages(&self, number: u32, messages: Vec<Entry>) -> Result<Vec<u64>, Stop> {
        let group_bytes_max = self.state.borrow().payload_bytes_max() as u64;
        let mut kept = Vec::new();
        let mut messages = messages.into_iter().peekable();
        while messages.peek().is_some() {
            if self.state.borrow().closing {
                return Err(Stop::Later);
            }
            let started_ns = self.disk.now_ns();
            let mut group = Vec::new();
            let mut bytes = 0;
            while group.len() < GROUP_RECORDS_MAX
                && let Some(entry) =
                    messages.next_if(|entry| bytes == 0 || bytes + entry.frame_bytes() <= group_bytes_max)
            {
                match self.read_message(number, &entry).await? {
                    Ok(frame) => {
                        bytes += entry.frame_bytes();
                        group.push((entry, frame));
                    }
                    Err(moved) => {
                        self.count_moved(moved, entry.id, &mut kept);
                    }
                }
            }
            for (entry, frame) in group {
                let from = Location { segment: number, eighth: entry.eighth };
                let moved = self.copy_message(MessageId::from_bits(entry.id), from, &frame, None).await?;
                self.count_moved(moved, entry.id, &mut kept);
            }
            self.pace(started_ns).await;
        }
        Ok(kept)
    }

    /// Counts what moving one frame came to. Returns the bytes that were copied.
    fn count_moved(&self, moved: Moved, id: u64, kept: &mut Vec<u64>) -> u64 {
        match moved {
            Moved::Nothing => 0,
            Moved::Bytes(bytes) => {
                self.state.borrow_mut().counters.compacted_bytes += bytes;
                bytes
            }
            Moved::Stays => {
                if !kept.contains(&id) {
                    kept.push(id);
                }
                0
            }
        }
    }

    /// Waits so long that copying takes no more than its share of the time; not when room is short.
    async fn pace(&self, started_ns: u64) {
        let (percent, urgent) = {
            let state = self.state.borrow();
            let options = state.options();
            (u64::from(options.compaction_percent), !state.has_room(2 * options.segment_bytes))
        };
        if urgent || percent >= 100 {
            return;
        }
        let busy_ns = self.disk.now_ns().saturating_sub(started_ns);
        let rest_ns = (busy_ns * (100 - percent) / percent).min(100_000_000);
        if rest_ns > 0 {
            self.disk.sleep(Duration::from_nanos(rest_ns)).await;
        }
    }

    /// The frames of a segment, from its footer or by scanning.
    async fn entries_of(&self, number: u32) -> Result<Vec<Entry>, Stop> {
        let _reading = self.reading(number).ok_or(Stop::Later)?;
        let (file, header, phase, footer_offset, end) = {
            let state = self.state.borrow();
            let segment = state.segments.get(&number).ok_or(Stop::Later)?;
            (Rc::clone(&segment.file), segment.header, segment.phase, segment.footer_offset, segment.end)
        };
        if phase == Phase::Sealed {
            let wanted = (header.segment_bytes - footer_offset) as usize;
            let (result, buffer) = file.read_at(footer_offset, AlignedBuffer::with_capacity(wanted)).await;
            result?;
            let trailer = Trailer { footer_offset, last_commit: 0, has_cuts: false };
            if let Some(entries) = trailer.entries(&header, &buffer) {
                return Ok(entries);
            }
        }
        let commits = scan::scan(&*file, &header, end).await?;
        Ok(commits.into_iter().flat_map(|commit| commit.entries.into_iter().chain(commit.damaged)).collect())
    }

    /// Waits for a place in the open commit.
    async fn wait_for_place(&self, payload: usize) -> Result<(), Stop> {
        loop {
            let (room, seen) = {
                let mut state = self.copier();
                if state.closing || state.head.is_none() {
                    return Err(Stop::Later);
                }
                if state.late.is_empty() && state.place(payload, Writer::Patient) {
                    return Ok(());
                }
                if state.next.is_none() && state.pending.is_empty() {
                    // No segment to go on in, and only upkeep, which is us, could make one.
                    return Err(Stop::Later);
                }
                (Rc::clone(&state.room), state.room.seen())
            };
            room.after(seen).await;
        }
    }

    async fn read_for_move(
        &self,
        id: MessageId,
        at: Location,
        length: Option<u32>,
    ) -> Result<Option<FrameRead>, Stop> {
        match self.read_frame(at, length).await {
            Ok(frame) => Ok(Some(frame)),
            Err(ReadError::Io(_)) => Ok(None),
            Err(ReadError::Gone) => Err(Stop::Later),
            Err(ReadError::Damaged) => {
                let told = self.read_failed(id, at, ReadError::Damaged);
                debug_assert!(!matches!(told, LoadError::Failed(_)));
                Ok(None)
            }
        }
    }

    /// Reads a Message record that is to be moved, or says why it is not.
    async fn read_message(&self, number: u32, entry: &Entry) -> Result<Result<FrameRead, Moved>, Stop> {
        let id = MessageId::from_bits(entry.id);
        let here = Location { segment: number, eighth: entry.eighth };
        match self.state.borrow().index.find(id) {
            Some(known) if known.message == here && known.corrupt() => return Ok(Err(Moved::Stays)),
            Some(known) if known.message == here => {}
            _ => return Ok(Err(Moved::Nothing)),
        }
        Ok(self.read_for_move(id, here, Some(entry.length)).await?.ok_or(Moved::Stays))
    }

    /// Copies a Message record to the head, with other chunks if they have moved.
    async fn copy_message(
        &self,
        id: MessageId,
        from: Location,
        frame: &FrameRead,
        chunks: Option<&[ChunkRef]>,
    ) -> Result<Moved, Stop> {
        let payload = frame.payload();
        let Some(head) = MessageHead::read(payload) else { return Ok(Moved::Stays) };
        self.wait_for_place(payload.len()).await?;
        let mut state = self.copier();
        let Some(known) = state.index.find(id).filter(|known| known.message == from) else {
            return Ok(Moved::Nothing);
        };
        let (due_at_s, state_word) = (known.due_at_s, known.state());
        let mut copy = blank_entry(Kind::Message, id.bits());
        copy.due_at_s = due_at_s;
        copy.extra = head.content_bytes;
        copy.state = state_word as u8 | ENTRY_COPY | if head.chunk_count > 0 { ENTRY_CHUNKED } else { 0 };
        let (location, _) = state.append(&mut copy, |out| {
            record::put_message_copy(out, payload, from, due_at_s, state_word, chunks);
        });
        state.message_at(location.segment, &copy);
        if chunks.is_some() && from.segment != location.segment {
            state.add_stale(id, from.segment);
        }
        Ok(Moved::Bytes(copy.frame_bytes()))
    }

    /// Waits until a record is durable, so that it can be read. `false` if its commit failed: it is elsewhere now.
    async fn settled(&self, location: Location) -> Result<bool, Stop> {
        loop {
            let (progress, seen) = {
                let state = self.state.borrow();
                if state.is_settled(location).unwrap_or(true) {
                    return Ok(true);
                }
                let ended = |segment: &Segment<D::File>| segment.phase == Phase::Ended;
                if state.segments.get(&location.segment).is_some_and(ended) {
                    return Ok(false);
                }
                if state.commits_ended || state.head.is_none() {
                    return Err(Stop::Later);
                }
                (Rc::clone(&state.progress), state.progress.seen())
            };
            progress.after(seen).await;
        }
    }

    /// Carries a tombstone or a cut forward while the segment that it is about is on disk.
    async fn move_grave(&self, number: u32, entry: &Entry) -> Result<Moved, Stop> {
        let target = entry.extra as u32;
        if target == number || !self.state.borrow().segments.contains_key(&target) {
            return Ok(Moved::Nothing);
        }
        if entry.kind == Kind::Remove {
            self.wait_for_place(record::REMOVE_BYTES).await?;
            self.copier().append_remove(MessageId::from_bits(entry.id), target);
        } else {
            let cut = self.state.borrow().segments.get(&target).and_then(|about| about.cut.clone());
            let Some(cut) = cut else { return Ok(Moved::Nothing) };
            self.wait_for_place(cut.payload_bytes()).await?;
            self.copier().append_cut(&cut);
        }
        self.copier().unbury_moved(number, target, entry.frame_bytes());
        Ok(Moved::Bytes(entry.frame_bytes()))
    }
}

/// The state while compaction changes it: no segment is stirred.
struct Copier<'a, F>(RefMut<'a, State<F>>);

impl<F> Deref for Copier<'_, F> {
    type Target = State<F>;

    fn deref(&self) -> &State<F> {
        &self.0
    }
}

impl<F> DerefMut for Copier<'_, F> {
    fn deref_mut(&mut self) -> &mut State<F> {
        &mut self.0
    }
}

impl<F> Drop for Copier<'_, F> {
    fn drop(&mut self) {
        self.0.copying = false;
    }
}

/// What moving one frame came to.
enum Moved {
    Nothing,
    Bytes(u64),
    /// Damaged, unreadable or too long to be merged: a Cut keeps it where it is.
    Stays,
}

impl<F> State<F> {
    /// The segment to drain next, if any.
    fn victim(&self) -> Option<u32> {
        let can = |number: u32| {
            self.segments.get(&number).is_some_and(|segment| {
                matches!(segment.phase, Phase::Sealed | Phase::Ended)
                    && segment.unattached == 0
                    && segment.live_bytes > 0
            })
        };
        if !self.must_drain.is_empty() {
            return self.must_drain.iter().copied().find(|&number| can(number));
        }
        let (mut sealed_bytes, mut live_bytes) = (0, 0);
        for (&number, segment) in &self.segments {
            if self.head != Some(number) {
                sealed_bytes += segment.header.segment_bytes;
                live_bytes += segment.live_bytes;
            }
        }
        let slack = u64::from(self.options.slack_segments) * self.options.segment_bytes;
        let short = !self.has_room(2 * self.options.segment_bytes);
        if sealed_bytes <= 2 * live_bytes + slack && !short {
            return None;
        }
        let percent = if short { 90 } else { u64::from(self.options.compact_below_percent) };
        self.segments
            .iter()
            .filter(|&(&number, segment)| {
                can(number)
                    && segment.stirred
                    && self.has_room_to_copy(segment.live_bytes)
                    && !segment.pinned
                    && segment.live_bytes * 100 < segment.header.segment_bytes * percent
            })
            .min_by_key(|&(&number, segment)| (segment.live_bytes, number))
            .map(|(&number, _)| number)
    }

    /// The messages whose records lie in the segment, found the long way.
    fn messages_in(&self, number: u32) -> Vec<u64> {
        let ids = self.index.iter().map(|known| (self.index.id_of(known), known.message.segment));
        let here = ids.filter(|&(id, segment)| segment == number || self.chain_touches(id, number));
        here.map(|(id, _)| id.bits()).collect()
    }

    /// Whether a live note of the message lies in the segment.
    fn chain_touches(&self, id: MessageId, number: u32) -> bool {
        let Some(known) = self.index.find(id) else { return false };
        if known.note.segment == number && known.chain_bytes() > 0 {
            return true;
        }
        self.index
            .sprawls
            .get(&id)
            .is_some_and(|sprawl| sprawl.notes.iter().any(|extent| extent.segment == number))
    }

    /// A tombstone or cut was copied out of `holder`.
    fn unbury_moved(&mut self, holder: u32, target: u32, bytes: u64) {
        let Some(about) = self.segments.get_mut(&target) else { return };
        let Some(grave) = about.graves.iter_mut().find(|grave| grave.0 == holder) else { return };
        let freed = grave.1.min(bytes);
        grave.1 -= freed;
        self.live_sub(holder, freed);
    }
}
