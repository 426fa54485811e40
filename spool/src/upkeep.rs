//! Upkeep beside the commits: prepares the next segment, seals full ones, retires what nothing needs.
//!
//! Receives: the account's signals. Owns: the files' names and headers. Limits: one action at a time. On failure:
//! tries again every second, and says so.
//!
//! Invariant: segments leave the log one at a time, and only when (1) no frame in them is live, (2) everything said
//! so far is durable, so that what made them dead cannot be undone by a crash, and (3) no other segment holds an
//! older copy of a message that was moved (`must_drain` is empty, or names this one). Hence at most one Message
//! record of a message is on disk whenever no drain is under way, and the tombstone of a removed message is kept as
//! long as the segment that it is about.

use crate::{
    Disk,
    disk::DiskFile,
    figures::{SpoolEvent, SpoolState},
    options::SpoolOptions,
    segment::{ENTRY_COPY, Phase, Purpose, Segment, SegmentHeader, footer, segment_name},
    signal,
    spool::{Inner, Waiter},
};
use crate::{frame::Kind, segment::Entry};
use foldhash::fast::FixedState;
use hashbrown::HashSet;
use std::{io, rc::Rc, time::Duration};

/// Sequence numbers that may be given out before a header must say so; the next header is written at half.
pub(crate) const LEASE: u64 = 1 << 20;
/// How long to wait before trying again what failed, or looking again for room.
const AGAIN: Duration = Duration::from_secs(1);

impl<D: Disk> Inner<D> {
    /// Does upkeep until the spool is closed.
    pub(crate) async fn upkeep_loop(&self) {
        let mut last_status = SpoolState::Healthy;
        loop {
            let upkeep = Rc::clone(&self.state.borrow().upkeep);
            let seen = upkeep.seen();
            if std::mem::take(&mut self.state.borrow_mut().room_missed) {
                self.look_for_room();
            }
            let acted = self.upkeep_once().await;
            let (status, closed) = {
                let mut state = self.state.borrow_mut();
                let status = state.status();
                if status != last_status {
                    last_status = status;
                    state.event(SpoolEvent::State(status));
                }
                (status, state.closed)
            };
            if closed {
                return;
            }
            if matches!(acted, Ok(true)) {
                continue;
            }
            if acted.is_err() || status != SpoolState::Healthy {
                signal::race(upkeep.after(seen), self.disk.sleep(AGAIN)).await;
                self.look_for_room();
                if acted.is_err() && !self.state.borrow().closing {
                    // A failing disk is not asked more often than four times a second.
                    self.disk.sleep(AGAIN / 4).await;
                }
            } else {
                upkeep.after(seen).await;
            }
        }
    }

    /// Asks the file system what it can still give. If it cannot tell, the last answer holds.
    fn look_for_room(&self) {
        if let Ok(bytes) = self.disk.available_bytes() {
            self.state.borrow_mut().available_bytes = bytes;
        }
    }

    /// One action, the most urgent first. `Ok(false)` if there is nothing to do.
    async fn upkeep_once(&self) -> io::Result<bool> {
        if self.state.borrow().commits_ended {
            // What was removed last gives its room back now, if the disk lets it.
            return if matches!(self.retire_one().await, Ok(true)) { Ok(true) } else { self.finish().await };
        }
        if self.prepare_next().await? {
            return Ok(true);
        }
        if self.seal_one().await? {
            return Ok(true);
        }
        if self.retire_one().await? {
            return Ok(true);
        }
        if self.state.borrow().closing {
            return Ok(false);
        }
        self.compact_one().await
    }

    /// Sees to it that a successor of the head lies ready. `false` if it does, if there is no room for one, and while
    /// the head is so empty that a segment may well be recycled before it is full: a new file full of zeros
    /// keeps the disk from the commits for tens of milliseconds.
    pub(crate) async fn prepare_next(&self) -> io::Result<bool> {
        let spare = {
            let mut state = self.state.borrow_mut();
            if state.closing && state.head.is_some() {
                return Ok(false);
            }
            if let Some(next) = &state.next {
                if state.next_sequence + LEASE / 2 < state.lease_end {
                    return Ok(false);
                }
                let _ = next;
                state.next.take()
            } else if !state.next_due && state.spares.is_empty() {
                return Ok(false);
            } else {
                state.spares.pop()
            }
        };
        let (file, name, fresh) = match spare {
            Some(spare) => (spare.file, spare.name, false),
            None => match self.create_file().await? {
                Some((file, name)) => (Rc::new(file), name, true),
                None => return Ok(false),
            },
        };
        let header = {
            let mut state = self.state.borrow_mut();
            state.generation += 1;
            let number = state.next_segment;
            state.next_segment += 1;
            SegmentHeader {
                purpose: Purpose::Log,
                shard: state.options.shard,
                segment: number,
                generation: state.generation,
                segment_bytes: state.options.segment_bytes,
                salt: self.disk.salt(),
                next_sequence: state.next_sequence + LEASE,
            }
        };
        match self.write_header(&file, &name, &header).await {
            Ok(name) => {
                let mut state = self.state.borrow_mut();
                let segment = Segment::new(header, file, name, Phase::Head);
                state.next = Some(segment);
                state.lease_end = header.next_sequence;
                if state.head.is_none() {
                    state.roll();
                }
                state.flush_late();
                state.room.raise();
                state.progress.raise();
                Ok(true)
            }
            Err(error) => {
                // The old header may or may not be there; the file is not part of the log either way.
                if !fresh {
                    let spare = Segment::new(header, file, name, Phase::Head);
                    self.state.borrow_mut().spares.insert(0, spare);
                } else if self.disk.remove(&name).is_ok() {
                    let mut state = self.state.borrow_mut();
                    state.disk_bytes -= state.options.segment_bytes;
                }
                Err(error)
            }
        }
    }

    async fn write_header(
        &self,
        file: &Rc<D::File>,
        name: &str,
        header: &SegmentHeader,
    ) -> io::Result<String> {
        file.write_durable(0, header.blocks()).await.0?;
        let wanted = segment_name(header.segment);
        if wanted != name {
            self.disk.rename(name, &wanted)?;
        }
        self.disk.sync_names()?;
        Ok(wanted)
    }

    /// Makes a file full of zeros. `None` if there is no room.
    async fn create_file(&self) -> io::Result<Option<(D::File, String)>> {
        let available = self.disk.available_bytes()?;
        let (name, bytes) = {
            let mut state = self.state.borrow_mut();
            state.available_bytes = available;
            if state.segments_left() == 0 {
                return Ok(None);
            }
            // The number that the caller gives it next, so that the file never changes its name.
            (segment_name(state.next_segment), state.options.segment_bytes)
        };
        let file = self.disk.open(&name, true)?;
        if let Err(error) = file.zero_fill(bytes).await {
            drop(file);
            // Should the removal fail, the next file must not be this one.
            self.state.borrow_mut().next_segment += 1;
            self.disk.remove(&name)?;
            if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
                self.state.borrow_mut().available_bytes = 0;
                return Ok(None);
            }
            return Err(error);
        }
        let mut state = self.state.borrow_mut();
        state.disk_bytes += bytes;
        state.available_bytes = state.available_bytes.saturating_sub(bytes);
        Ok(Some((file, name)))
    }

    /// Writes the footer of one full segment whose commits are all durable.
    async fn seal_one(&self) -> io::Result<bool> {
        let full = {
            let state = self.state.borrow();
            let settled = state.settled;
            let mut full = state
                .segments
                .values()
                .filter(|segment| segment.phase == Phase::Full && segment.last_commit <= settled);
            full.next().map(|segment| segment.header.segment)
        };
        match full {
            Some(number) => self.seal(number).await.map(|()| true),
            None => Ok(false),
        }
    }

    async fn seal(&self, number: u32) -> io::Result<()> {
        let (file, header, entries, last_commit) = {
            let mut state = self.state.borrow_mut();
            let Some(segment) = state.segments.get_mut(&number) else { return Ok(()) };
            let entries = std::mem::take(&mut segment.entries);
            (Rc::clone(&segment.file), segment.header, entries, segment.last_commit)
        };
        let needed = needed_entries(&entries, number);
        let (offset, buffer) = footer(&header, &needed, last_commit);
        let result = file.write_durable(offset, buffer).await.0;
        let mut state = self.state.borrow_mut();
        let mut failed = None;
        if let Some(segment) = state.segments.get_mut(&number) {
            segment.footer_offset = offset;
            // Without a footer the segment is read by scanning: slower, nothing else.
            segment.phase = if result.is_ok() { Phase::Sealed } else { Phase::Ended };
            failed = result.as_ref().err().map(|error| error.to_string());
        }
        if let Some(error) = failed {
            state.event(SpoolEvent::DiskFailed { segment: number, error });
        }
        Ok(())
    }

    /// Retires one segment in which nothing is live.
    async fn retire_one(&self) -> io::Result<bool> {
        let Some(number) = self.state.borrow().dead_segment() else { return Ok(false) };
        if self.barrier(Waiter::Upkeep).await.is_err() {
            return Ok(false);
        }
        if self.state.borrow().dead_segment() != Some(number) {
            return Ok(true);
        }
        self.retire(number).await?;
        Ok(true)
    }

    /// Takes a segment out of the log: its header says so durably before anything that depended on it is let go.
    pub(crate) async fn retire(&self, number: u32) -> io::Result<()> {
        let (file, name, header, keep) = {
            let mut state = self.state.borrow_mut();
            state.generation += 1;
            let generation = state.generation;
            let keep_count = state.spares.len() < state.options.spares_max;
            let Some(segment) = state.segments.get(&number) else { return Ok(()) };
            let keep = keep_count && segment.header.segment_bytes == state.options.segment_bytes;
            let header = SegmentHeader {
                purpose: Purpose::Spare,
                generation,
                salt: self.disk.salt(),
                next_sequence: state.next_sequence + LEASE,
                ..segment.header
            };
            (Rc::clone(&segment.file), segment.name.clone(), header, keep)
        };
        let mut gone = file.write_durable(0, header.blocks()).await.0;
        if !keep || gone.is_err() {
            // Too many spares, or a bad place on the disk: the name goes, and with it the segment.
            let removed = self.disk.remove(&name).and_then(|()| self.disk.sync_names());
            if removed.is_ok() {
                gone = Ok(());
            }
            if let Err(error) = gone {
                // It may still be found after a crash, so it goes first next time, before any other.
                let mut state = self.state.borrow_mut();
                if !state.must_drain.contains(&number) {
                    state.must_drain.push(number);
                }
                state.event(SpoolEvent::DiskFailed { segment: number, error: error.to_string() });
                return Err(error);
            }
        }
        let removed = !keep || file.bytes().is_err() || !self.disk.list()?.contains(&name);
        let mut state = self.state.borrow_mut();
        if let Some(segment) = state.segments.remove(&number) {
            state.graves_end(segment.graves);
        }
        state.must_drain.retain(|&other| other != number);
        state.counters.segments_recycled += 1;
        if removed {
            state.disk_bytes = state.disk_bytes.saturating_sub(header.segment_bytes);
            state.available_bytes = state.available_bytes.saturating_add(header.segment_bytes);
        } else {
            state.spares.push(Segment::new(header, file, name, Phase::Head));
        }
        state.upkeep.raise();
        state.room.raise();
        Ok(())
    }

    /// The commits have ended: seals the head and says that the spool is closed.
    async fn finish(&self) -> io::Result<bool> {
        let head = self.state.borrow_mut().head.take();
        let mut result = Ok(());
        if let Some(number) = head {
            let empty = self.state.borrow().segments.get(&number).is_none_or(|head| head.entries.is_empty());
            if !empty {
                result = self.seal(number).await;
            }
        }
        while matches!(self.seal_one().await, Ok(true)) {}
        let mut state = self.state.borrow_mut();
        state.closed = true;
        state.progress.raise();
        state.room.raise();
        result.map(|()| false)
    }
}

/// A footer's entries: all frames but those of messages that came and went within the segment. A message that was
/// copied here stays listed: its older record elsewhere needs the tombstone.
fn needed_entries(entries: &[Entry], number: u32) -> Vec<Entry> {
    let mut gone: HashSet<u64, FixedState> = entries
        .iter()
        .filter(|entry| entry.kind == Kind::Remove && entry.extra == u64::from(number))
        .map(|entry| entry.id)
        .collect();
    for copy in entries.iter().filter(|entry| entry.kind == Kind::Message && entry.state & ENTRY_COPY != 0) {
        gone.remove(&copy.id);
    }
    entries.iter().filter(|entry| entry.kind == Kind::Cut || !gone.contains(&entry.id)).copied().collect()
}

impl<F> crate::account::State<F> {
    /// A segment that may be retired, once everything said so far is durable.
    fn dead_segment(&self) -> Option<u32> {
        let dead = |number: u32| {
            let segment = self.segments.get(&number)?;
            let over = matches!(segment.phase, Phase::Sealed | Phase::Ended | Phase::Kept);
            let unused = segment.live_bytes == 0 && segment.unattached == 0 && segment.readers == 0;
            (over && unused && !segment.pinned).then_some(number)
        };
        if !self.must_drain.is_empty() {
            return self.must_drain.iter().copied().find_map(dead);
        }
        self.segments.keys().copied().filter_map(dead).min()
    }

    /// Options, for rooms that only see the state.
    pub fn options(&self) -> &SpoolOptions {
        &self.options
    }
}
