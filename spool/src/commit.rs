//! Group commit: batches on their way to the disk, at most two at a time, settled in order.
//!
//! Receives: pending batches. Sends: outcomes to those who wait, in the order of the commits: commit k+1 is settled
//! only after k, and fails when k fails. Limits: [`FLIGHTS_MAX`]. On failure: the segment's log ends before the first
//! failed commit (a Cut in the next segment says so); new mail in the failed commits is refused, everything else in
//! them is written again to the next segment; nothing is written to the same pages again.

use crate::{
    Disk,
    account::State,
    append::{Batch, Failure, Late},
    disk::{AlignedBuffer, DiskFile},
    figures::SpoolEvent,
    frame::{self, Kind, Parsed},
    index::CHAIN_BYTES_MAX,
    message::MessageId,
    record::{ChainHead, Cut, MessageHead},
    segment::{Entry, Location, Phase},
    spool::Inner,
};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

/// Commits on their way at once. Two keep the disk busy while the shard gathers the third; with one, throughput on
/// busy cores falls to a third. Recovery relies on it: a commit that is whole proves that the one two before it was
/// durable.
pub(crate) const FLIGHTS_MAX: usize = 2;

/// Bytes that make a second commit worth its flight while the first is on its way. A commit costs the processor as much
/// as receiving a message does, and one that starts just before another ends brings its few records no earlier than
/// that other's successor would: below this, records wait for the flight to land and share the next one.
pub(crate) const SECOND_FLIGHT_BYTES: usize = 32 << 10;

type Writing = Pin<Box<dyn Future<Output = (io::Result<()>, AlignedBuffer)>>>;

struct Flight<F> {
    batch: Batch<F>,
    bytes: u64,
    submitted_ns: u64,
    writing: Writing,
    result: Option<(io::Result<()>, AlignedBuffer)>,
}

enum Step {
    Submit,
    Settle,
    Fail,
    End,
}

impl<D: Disk> Inner<D> {
    /// Submits and settles commits until the spool is closed and everything is durable.
    pub(crate) async fn commit_loop(&self) {
        let mut flights: VecDeque<Flight<D::File>> = VecDeque::new();
        loop {
            match poll_fn(|cx| self.poll_commit(cx, &mut flights)).await {
                Step::Submit => {
                    self.disk.turn().await;
                    self.submit(&mut flights);
                }
                Step::Settle => self.settle(&mut flights),
                Step::Fail => self.fail(&mut flights),
                Step::End => break,
            }
        }
        let mut state = self.state.borrow_mut();
        state.commits_ended = true;
        state.upkeep.raise();
    }

    fn poll_commit(&self, cx: &mut Context<'_>, flights: &mut VecDeque<Flight<D::File>>) -> Poll<Step> {
        let seen = self.state.borrow().work.seen();
        for flight in flights.iter_mut().filter(|flight| flight.result.is_none()) {
            if let Poll::Ready(result) = flight.writing.as_mut().poll(cx) {
                flight.result = Some(result);
            }
        }
        if let Some(Flight { result: Some((Ok(()), _)), .. }) = flights.front() {
            return Poll::Ready(Step::Settle);
        }
        let failing = flights.iter().any(|flight| matches!(flight.result, Some((Err(_), _))));
        if failing && flights.iter().all(|flight| flight.result.is_some()) {
            return Poll::Ready(Step::Fail);
        }
        let state = self.state.borrow();
        if !failing && state.next_flight_is_due(flights.len()) {
            return Poll::Ready(Step::Submit);
        }
        let idle = flights.is_empty() && state.pending.is_empty();
        if state.closing && idle && (state.late.is_empty() || state.head.is_none()) {
            return Poll::Ready(Step::End);
        }
        let work = Rc::clone(&state.work);
        drop(state);
        match work.poll_after(seen, cx) {
            Poll::Ready(()) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn submit(&self, flights: &mut VecDeque<Flight<D::File>>) {
        let Some(mut batch) = self.state.borrow_mut().take_batch() else { return };
        let buffer = std::mem::take(&mut batch.buffer);
        let bytes = buffer.len() as u64;
        let (file, offset) = (Rc::clone(&batch.file), batch.offset);
        let writing: Writing = Box::pin(async move { file.write_durable(offset, buffer).await });
        flights.push_back(Flight { batch, bytes, submitted_ns: self.disk.now_ns(), writing, result: None });
    }

    /// The oldest commit is durable: the exact step after which its messages may be answered with 250.
    fn settle(&self, flights: &mut VecDeque<Flight<D::File>>) {
        let flight = flights.pop_front().expect("the oldest flight has just completed");
        let took_ns = self.disk.now_ns().saturating_sub(flight.submitted_ns);
        let mut state = self.state.borrow_mut();
        let batch = flight.batch;
        state.flying -= 1;
        state.settled = batch.number;
        if let Some(segment) = state.segments.get_mut(&batch.segment) {
            segment.settled_end = batch.offset + flight.bytes;
            if segment.phase == Phase::Full {
                state.upkeep.raise();
            }
        }
        let counters = &mut state.counters;
        counters.commits += 1;
        counters.records += u64::from(batch.frames);
        counters.messages_stored += u64::from(batch.messages);
        counters.commit_bytes += flight.bytes;
        counters.commit_ns_sum += took_ns;
        counters.commit_latency_buckets.count(took_ns);
        counters.commit_ns_max = counters.commit_ns_max.max(took_ns);
        if let Some((_, buffer)) = flight.result {
            state.give_buffer(buffer);
        }
        state.flush_late();
        state.room.raise();
        state.progress.raise();
        drop(state);
        batch.ticket.settle(Ok(()));
    }

    /// A write or a sync failed, and nothing else is in flight.
    fn fail(&self, flights: &mut VecDeque<Flight<D::File>>) {
        let mut error = None;
        let mut failed: Vec<Batch<D::File>> = Vec::new();
        for flight in flights.drain(..) {
            let mut batch = flight.batch;
            if let Some((result, buffer)) = flight.result {
                batch.buffer = buffer;
                error = error.or(result.err());
            }
            failed.push(batch);
        }
        let error = error.expect("a flight has failed");
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        state.close_batch();
        failed.extend(state.pending.drain(..));
        let tickets: Vec<_> = failed.iter().map(|batch| Rc::clone(&batch.ticket)).collect();
        state.flying = 0;
        state.next_commit = failed[0].number;
        state.counters.commits_failed += failed.len() as u64;
        let segment = failed[0].segment;
        state.event(SpoolEvent::DiskFailed { segment, error: error.to_string() });
        state.take_back(failed);
        state.head = None;
        if state.roll() {
            state.flush_late();
        }
        state.upkeep.raise();
        state.room.raise();
        state.progress.raise();
        for ticket in tickets {
            ticket.settle(Err(Failure::of(&error)));
        }
    }
}

impl<F> State<F> {
    /// Whether the oldest pending batch shall be submitted now, with so many commits on their way.
    fn next_flight_is_due(&self, flights: usize) -> bool {
        let Some(batch) = self.pending.front() else { return false };
        let full = self.pending.len() > 1 || batch.buffer.len() >= SECOND_FLIGHT_BYTES;
        flights == 0 || (flights < FLIGHTS_MAX && full)
    }

    /// Undoes failed commits: new messages in them are forgotten, moved ones are where they were, and everything
    /// else becomes late records.
    fn take_back(&mut self, failed: Vec<Batch<F>>) {
        let mut cuts: Vec<Cut> = Vec::new();
        for batch in &failed {
            let Some(segment) = self.segments.get_mut(&batch.segment) else { continue };
            segment.phase = Phase::Ended;
            if cuts.iter().all(|cut| cut.segment != batch.segment) {
                let end = batch.offset;
                segment.end = end;
                segment.settled_end = end;
                let eighth = (end / 8) as u32;
                segment.entries.retain(|entry| entry.eighth < eighth);
                let cut = Cut { segment: batch.segment, end, keep: Vec::new() };
                segment.cut = Some(cut.clone());
                cuts.push(cut);
            }
        }
        // Newest first: each record says what was true before it.
        let mut moved_back: HashMap<u64, (u32, u32), FixedState> = HashMap::default();
        let mut again: Vec<Late> = Vec::new();
        for batch in failed.iter().rev() {
            for (location, entry, payload) in frames_of(batch).into_iter().rev() {
                let range = payload;
                let payload = &batch.buffer[range];
                if let Some(late) = self.take_back_one(location, &entry, payload, &mut moved_back) {
                    again.push(late);
                }
            }
        }
        again.reverse();
        for late in self.late.iter_mut().chain(again.iter_mut()) {
            if let Late::Remove { id, target } = late
                && let Some(&(failed, older)) = moved_back.get(&id.bits())
                && *target == failed
            {
                *target = older;
            }
        }
        let waiting = std::mem::take(&mut self.late);
        self.late_bytes = 0;
        for late in cuts.into_iter().map(Late::Cut).chain(again).chain(waiting) {
            self.push_late(late);
        }
        for batch in failed {
            self.give_buffer(batch.buffer);
        }
    }

    fn take_back_one(
        &mut self,
        location: Location,
        entry: &Entry,
        payload: &[u8],
        moved_back: &mut HashMap<u64, (u32, u32), FixedState>,
    ) -> Option<Late> {
        let id = MessageId::from_bits(entry.id);
        match entry.kind {
            Kind::Message => {
                let previous = MessageHead::read(payload).map_or(Location::NOWHERE, |head| head.previous);
                let here = self.index.find(id).is_some_and(|known| known.message == location);
                if previous.is_nowhere() {
                    if here {
                        self.counters.stores_failed += 1;
                        self.forget(id);
                    }
                } else if here {
                    self.live_sub(location.segment, entry.frame_bytes());
                    self.live_add(previous.segment, entry.frame_bytes());
                    let known = self.index.find_mut(id).expect("found above");
                    known.message = previous;
                } else {
                    moved_back.insert(entry.id, (location.segment, previous.segment));
                }
                None
            }
            // Whoever stored the chunk learns of the failure and abandons it.
            Kind::Chunk | Kind::Commit | Kind::Seal => None,
            Kind::Outcome | Kind::Retry | Kind::Hold | Kind::Release => {
                let head = ChainHead::read(payload).expect("we wrote this record");
                self.unlink_chain(id, location, head.previous, entry.frame_bytes());
                let notes = head.notes(payload).expect("we wrote this record");
                let notes = notes.into_iter().map(|range| Box::from(&payload[range])).collect();
                Some(Late::Chain { kind: entry.kind, id, notes })
            }
            Kind::Remove => {
                let target = frame::read_u32(payload, 0).expect("we wrote this record");
                self.unbury(location.segment, target, entry.frame_bytes());
                Some(Late::Remove { id, target })
            }
            Kind::Cut => {
                let cut = Cut::read(payload).expect("we wrote this record");
                self.unbury(location.segment, cut.segment, entry.frame_bytes());
                Some(Late::Cut(cut))
            }
        }
    }

    /// A chain record did not become durable: the chain ends before it again. What a failed Retry had freed stays
    /// freed; the Retry is written again before anything is retired.
    fn unlink_chain(&mut self, id: MessageId, location: Location, previous: Location, bytes: u64) {
        let Some(known) = self.index.find_mut(id) else { return };
        if known.note != location {
            return;
        }
        // A Retry behind it, failed too, may have freed it already.
        let bytes = bytes.min(known.chain_bytes());
        let left = known.chain_bytes() - bytes;
        known.note = previous;
        known.set_chain_bytes(left);
        let sprawls = known.sprawls();
        self.live_sub(location.segment, bytes);
        if previous.segment == location.segment || !sprawls {
            return;
        }
        if let Some(sprawl) = self.index.sprawls.get_mut(&id)
            && let Some(at) = sprawl
                .notes
                .iter()
                .position(|extent| extent.segment == previous.segment && extent.bytes <= CHAIN_BYTES_MAX)
        {
            let extent = sprawl.notes.remove(at);
            if let Some(known) = self.index.find_mut(id) {
                known.set_chain_bytes(extent.bytes);
            }
            self.tidy_sprawl(id);
        }
    }

    fn unbury(&mut self, holder: u32, target: u32, bytes: u64) {
        if holder == target {
            return;
        }
        if let Some(about) = self.segments.get_mut(&target)
            && let Some(grave) = about.graves.iter_mut().find(|grave| grave.0 == holder)
        {
            grave.1 = grave.1.saturating_sub(bytes);
            self.live_sub(holder, bytes);
        }
    }
}

/// The frames of a batch that we hold in memory: place, entry, and the payload's range in the buffer.
fn frames_of<F>(batch: &Batch<F>) -> Vec<(Location, Entry, std::ops::Range<usize>)> {
    let mut frames = Vec::with_capacity(batch.frames as usize);
    let mut at = crate::append::COMMIT_FRAME_BYTES;
    for _ in 0..batch.frames {
        let offset = batch.offset + at as u64;
        let Parsed::Whole(header, payload) = frame::parse(&batch.buffer[at..], batch.seed, offset) else {
            unreachable!("the batch's own buffer was damaged in memory");
        };
        let start = at + frame::FRAME_HEADER_BYTES;
        let range = start..start + payload.len();
        let mut entry = crate::append::blank_entry(header.kind, header.id);
        entry.length = header.length;
        let location = Location::new(batch.segment, offset);
        entry.eighth = location.eighth;
        frames.push((location, entry, range));
        at += frame::frame_bytes(header.length as usize);
    }
    frames
}
