//! Recovery: what is in the directory becomes the state that the last engine acknowledged.
//!
//! Receives: the disk's files. Sends: the state, ready for a fresh head segment. Limits: the entries of one sealed
//! segment at a time, and of those without a footer. On failure: only an I/O error or a foreign directory stops it;
//! damaged bytes are quarantined or, behind the last whole commit, ignored.
//!
//! A commit belongs to the log if it is whole and the one before it belongs too, or was known durable when it was
//! submitted. A commit that some later one proves durable (see [`FLIGHTS_MAX`](crate::commit::FLIGHTS_MAX)) but that
//! is not whole was damaged afterwards: what is good in it counts, the rest is quarantined. Any other commit that is
//! not whole is a torn tail: the log ends there, and a Cut in the new head makes that final.

use crate::{
    Disk, OpenError,
    account::State,
    append::Late,
    disk::{AlignedBuffer, DiskFile},
    figures::SpoolEvent,
    frame::{FRAME_HEADER_BYTES, Kind, PAYLOAD_BYTES_MAX},
    load::ReadError,
    message::{ChunkRef, Corrupt, MessageId},
    record::{Cut, MessageHead},
    scan::{ScannedCommit, scan},
    segment::{
        BLOCK_BYTES, ENTRY_CHUNKED, Entry, FRAMES_START, Location, Phase, Purpose, Segment, SegmentHeader,
        Trailer, entry_id, segment_name, segment_number,
    },
    signal,
    spool::Inner,
};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::{io, rc::Rc};

/// Messages in chunks whose records are read at a time: what keeps a disk busy, in little memory.
const READS_AT_ONCE: usize = 64;

/// A log segment as the first pass found it.
struct Found<F> {
    segment: Segment<F>,
    /// Its footer's place, if it was sealed.
    trailer: Option<Trailer>,
    /// Its commits, if it was not.
    commits: Vec<ScannedCommit>,
}

/// What the first pass learns of the whole log.
#[derive(Default)]
struct Log {
    /// The last commit that is proved durable.
    settled: u64,
    /// Cuts by segment; of several the smallest end holds, and a list of kept messages over none.
    cuts: HashMap<u32, Cut, FixedState>,
}

impl Log {
    fn add_cut(&mut self, cut: Cut) {
        match self.cuts.get_mut(&cut.segment) {
            Some(known) if known.end <= cut.end => {}
            Some(known) => *known = cut,
            None => {
                self.cuts.insert(cut.segment, cut);
            }
        }
    }
}

fn disk_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> OpenError {
    let what = what.into();
    move |error| OpenError::Disk { what, error }
}

impl<D: Disk> Inner<D> {
    /// Builds the state from the disk and opens a fresh head.
    pub(crate) async fn recover(&self) -> Result<(), OpenError> {
        let files = self.open_files().await?;
        let mut log = Log::default();
        let mut found = Vec::new();
        for segment in files {
            found.push(self.first_pass(segment, &mut log).await?);
        }
        let segments = found.len() as u32;
        let mut torn_commits = 0;
        let mut last = 0;
        // Every segment must be known before the first tombstone is counted.
        let mut order = Vec::new();
        for one in found {
            let Found { segment, trailer, commits } = one;
            let number = segment.header.segment;
            self.state.borrow_mut().segments.insert(number, segment);
            order.push((number, trailer, commits));
        }
        for (number, trailer, commits) in order {
            let cut = log.cuts.get(&number).cloned();
            let mut entries = None;
            if let Some(trailer) = trailer {
                entries = self.read_footer(number, &trailer).await?;
                last = last.max(trailer.last_commit);
            }
            if let (Some(entries), Some(trailer)) = (entries, trailer) {
                self.state.borrow_mut().replay_sealed(number, &trailer, &entries, cut.as_ref());
                continue;
            }
            let commits = if trailer.is_some() { self.scan_segment(number).await? } else { commits };
            let settled = log.settled.max(trailer.map_or(0, |trailer| trailer.last_commit));
            let mut state = self.state.borrow_mut();
            torn_commits += state.replay_scanned(number, commits, settled, &mut last, cut.as_ref());
        }
        self.finish_recovery(last).await?;
        let mut state = self.state.borrow_mut();
        let queued = state.index.len() as u64;
        state.event(SpoolEvent::Recovered { queued, segments, torn_commits });
        Ok(())
    }

    /// Opens every segment file; spares go to their place, log segments are returned in the log's order.
    async fn open_files(&self) -> Result<Vec<Segment<D::File>>, OpenError> {
        let names = self.disk.list().map_err(disk_error("list the spool directory"))?;
        let mut log = Vec::new();
        for name in names {
            let Some(number) = segment_number(&name) else { continue };
            let file = self.disk.open(&name, false).map_err(disk_error(format!("open {name}")))?;
            let bytes = file.bytes().map_err(disk_error(format!("measure {name}")))?;
            let block = AlignedBuffer::with_capacity((FRAMES_START + BLOCK_BYTES) as usize);
            let (result, blocks) = file.read_at(0, block).await;
            result.map_err(disk_error(format!("read {name}")))?;
            let mut state = self.state.borrow_mut();
            state.next_segment = state.next_segment.max(number + 1);
            let Some(header) = SegmentHeader::read(&blocks) else {
                drop(state);
                if let Some(version) = SegmentHeader::foreign_version(&blocks) {
                    return Err(OpenError::Version { name, version });
                }
                self.headless(number, &name, bytes, &blocks)?;
                continue;
            };
            if header.shard != state.options.shard {
                let text = format!("{name} belongs to shard {}, not {}", header.shard, state.options.shard);
                return Err(OpenError::Options(text));
            }
            state.next_segment = state.next_segment.max(header.segment + 1);
            state.generation = state.generation.max(header.generation);
            state.next_sequence = state.next_sequence.max(header.next_sequence);
            state.disk_bytes += bytes;
            let fits = header.segment_bytes == state.options.segment_bytes && bytes >= header.segment_bytes;
            let segment = Segment::new(header, Rc::new(file), name, Phase::Ended);
            match header.purpose {
                Purpose::Log => log.push(segment),
                Purpose::Spare if fits => state.spares.push(segment),
                Purpose::Spare => {
                    let removed = self.disk.remove(&segment.name);
                    removed.map_err(disk_error(format!("remove {}", segment.name)))?;
                    state.disk_bytes -= bytes;
                }
            }
        }
        // A file that bears its segment's name comes before one that claims to be the same.
        log.sort_by_key(|segment: &Segment<D::File>| {
            let number = segment.header.segment;
            (number, segment_name(number) != segment.name)
        });
        let mut state = self.state.borrow_mut();
        log.dedup_by(|second, first| {
            let number = first.header.segment;
            let same = number == second.header.segment;
            if same {
                let reason = "another file claims to be the same segment; it is left alone";
                state.quarantine(Corrupt { id: None, segment: number, offset: 0, reason });
            }
            same
        });
        drop(state);
        Ok(log)
    }

    /// A file without a good header: one that was being made, or one that is damaged beyond our reading.
    fn headless(&self, number: u32, name: &str, bytes: u64, blocks: &[u8]) -> Result<(), OpenError> {
        let frames = blocks.get(FRAMES_START as usize..).unwrap_or_default();
        if frames.iter().all(|&byte| byte == 0) {
            return self.disk.remove(name).map_err(disk_error(format!("remove {name}")));
        }
        let mut state = self.state.borrow_mut();
        state.disk_bytes += bytes;
        state.quarantine(Corrupt {
            id: None,
            segment: number,
            offset: 0,
            reason: "both copies of the segment's header are damaged; the file is left alone",
        });
        Ok(())
    }

    async fn first_pass(
        &self,
        mut segment: Segment<D::File>,
        log: &mut Log,
    ) -> Result<Found<D::File>, OpenError> {
        let header = segment.header;
        let failed = |error| OpenError::Disk { what: format!("read {}", segment.name), error };
        let block = AlignedBuffer::with_capacity(BLOCK_BYTES as usize);
        let (result, block) = segment.file.read_at(header.segment_bytes - BLOCK_BYTES, block).await;
        result.map_err(failed)?;
        if let Some(trailer) = Trailer::read(&header, &block) {
            log.settled = log.settled.max(trailer.last_commit);
            segment.footer_offset = trailer.footer_offset;
            segment.last_commit = trailer.last_commit;
            segment.end = trailer.footer_offset;
            segment.settled_end = trailer.footer_offset;
            if !trailer.has_cuts {
                return Ok(Found { segment, trailer: Some(trailer), commits: Vec::new() });
            }
            let commits = scan(&*segment.file, &header, trailer.footer_offset).await.map_err(failed)?;
            commits.into_iter().flat_map(|commit| commit.cuts).for_each(|cut| log.add_cut(cut));
            return Ok(Found { segment, trailer: Some(trailer), commits: Vec::new() });
        }
        let commits = scan(&*segment.file, &header, header.segment_bytes).await.map_err(failed)?;
        for commit in commits.iter().filter(|commit| commit.number.is_some()) {
            log.settled = log.settled.max(commit.settled);
            commit.cuts.iter().for_each(|cut| log.add_cut(cut.clone()));
        }
        Ok(Found { segment, trailer: None, commits })
    }

    async fn read_footer(&self, number: u32, trailer: &Trailer) -> Result<Option<Vec<Entry>>, OpenError> {
        let (file, header, name) = self.file_of(number);
        let wanted = (header.segment_bytes - trailer.footer_offset) as usize;
        let (result, bytes) = file.read_at(trailer.footer_offset, AlignedBuffer::with_capacity(wanted)).await;
        result.map_err(disk_error(format!("read {name}")))?;
        Ok(trailer.entries(&header, &bytes))
    }

    async fn scan_segment(&self, number: u32) -> Result<Vec<ScannedCommit>, OpenError> {
        let (file, header, name) = self.file_of(number);
        let end = self.state.borrow().segments[&number].end;
        scan(&*file, &header, end).await.map_err(disk_error(format!("read {name}")))
    }

    fn file_of(&self, number: u32) -> (Rc<D::File>, SegmentHeader, String) {
        let state = self.state.borrow();
        let segment = &state.segments[&number];
        (Rc::clone(&segment.file), segment.header, segment.name.clone())
    }

    /// Drops what has no message, counts chunks, retires empty segments and opens the head.
    async fn finish_recovery(&self, last: u64) -> Result<(), OpenError> {
        let chunked: Vec<_> = {
            let mut state = self.state.borrow_mut();
            let state = &mut *state;
            let orphans: Vec<_> = state
                .index
                .iter()
                .filter(|known| known.message.is_nowhere())
                .map(|known| state.index.id_of(known))
                .collect();
            for id in orphans {
                state.forget(id);
            }
            state.next_commit = last + 1;
            state.settled = last;
            state
                .index
                .iter()
                .filter(|known| known.chunked() && !known.corrupt())
                .map(|known| (state.index.id_of(known), known.message, known.length()))
                .collect()
        };
        for group in chunked.chunks(READS_AT_ONCE) {
            let reading = group.iter().map(|&(id, message, length)| self.recover_chunks(id, message, length));
            signal::join_all(reading).await.into_iter().collect::<Result<(), _>>()?;
        }
        let empty: Vec<_> = {
            let mut state = self.state.borrow_mut();
            let state = &mut *state;
            let stale = std::mem::take(&mut state.must_drain);
            state.must_drain =
                stale.into_iter().filter(|number| state.segments.contains_key(number)).collect();
            let unused = |segment: &&Segment<D::File>| {
                segment.end == FRAMES_START && segment.live_bytes == 0 && !segment.pinned
            };
            state.segments.values().filter(unused).map(|segment| segment.header.segment).collect()
        };
        for number in empty {
            // Nothing of it is in the log, so nothing depends on the order in which it goes.
            let stale = std::mem::take(&mut self.state.borrow_mut().must_drain);
            let retired = self.retire(number).await;
            self.state.borrow_mut().must_drain.extend(stale);
            retired.map_err(disk_error(format!("recycle segment {number}")))?;
        }
        {
            let mut state = self.state.borrow_mut();
            let cuts: Vec<Cut> = state
                .segments
                .values()
                .filter(|segment| segment.phase == Phase::Ended && segment.cut.is_none())
                .map(|segment| Cut { segment: segment.header.segment, end: segment.end, keep: Vec::new() })
                .collect();
            for cut in cuts {
                if let Some(segment) = state.segments.get_mut(&cut.segment) {
                    segment.cut = Some(cut.clone());
                }
                // The first frames of the first commit: no new mail is acknowledged before them.
                state.push_late(Late::Cut(cut));
            }
        }
        let prepared = self.prepare_next().await.map_err(disk_error("prepare a segment"))?;
        if prepared { Ok(()) } else { Err(OpenError::Full) }
    }

    /// Counts the chunks of a large message as live.
    async fn recover_chunks(&self, id: MessageId, message: Location, length: u32) -> Result<(), OpenError> {
        let chunks = match self.read_frame(message, Some(length)).await {
            Ok(frame) => MessageHead::read(frame.payload()).and_then(|head| head.chunks(id, frame.payload())),
            Err(ReadError::Io(error)) => {
                return Err(OpenError::Disk { what: format!("read message {id}"), error });
            }
            Err(_) => None,
        };
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let here = |chunk: &ChunkRef| {
            let end = chunk.location.offset() + crate::account::chunk_frame_bytes(chunk);
            state.segments.get(&chunk.location.segment).is_some_and(|segment| end <= segment.end)
        };
        match chunks {
            Some(chunks) if chunks.iter().all(here) => {
                for chunk in &chunks {
                    state.live_add(chunk.location.segment, crate::account::chunk_frame_bytes(chunk));
                }
                state.set_chunk_extents(id, chunks.iter());
            }
            _ => state.quarantine(Corrupt {
                id: Some(id),
                segment: message.segment,
                offset: message.offset(),
                reason: "the list of the message's chunks is damaged",
            }),
        }
        Ok(())
    }
}

impl<F> State<F> {
    /// Takes over the entries of a sealed segment: all of its commits were durable.
    fn replay_sealed(&mut self, number: u32, trailer: &Trailer, entries: &[Entry], cut: Option<&Cut>) {
        let segment = self.segments.get_mut(&number).expect("inserted before the replay");
        segment.phase = Phase::Sealed;
        segment.last_commit = trailer.last_commit;
        self.apply_cut(number, cut);
        for entry in entries {
            if wanted(entry, cut) {
                self.replay(number, entry);
            }
        }
    }

    /// Takes over the commits of a segment without a footer, as far as they belong to the log. Returns how many
    /// that hold something do not.
    fn replay_scanned(
        &mut self,
        number: u32,
        commits: Vec<ScannedCommit>,
        settled: u64,
        last: &mut u64,
        cut: Option<&Cut>,
    ) -> u32 {
        let mut torn = 0;
        let mut ended = false;
        let mut end = FRAMES_START;
        let mut seen_here = 0;
        for (nth, commit) in commits.iter().enumerate() {
            if cut.is_some_and(|cut| cut.keep.is_empty() && commit.offset >= cut.end) {
                break;
            }
            let after = commits[nth + 1..].iter().find_map(|later| later.number);
            // An area without a number lies before a commit of this segment that came later.
            let commit_number = commit.number.or(after.map(|after| after - 1));
            let proved = match commit_number {
                Some(commit_number) => commit_number <= settled,
                None => false,
            };
            let follows = commit.whole
                && commit.number.is_some_and(|commit_number| {
                    commit_number - 1 <= commit.settled || commit_number - 1 <= *last
                });
            if ended || !(proved || follows) {
                ended = true;
                torn += u32::from(commit.number.is_some());
                continue;
            }
            if let Some(commit_number) = commit_number {
                *last = (*last).max(commit_number);
                seen_here = commit_number;
            }
            end = commit.offset + commit.bytes;
            self.replay_commit(number, commit, cut);
        }
        let segment = self.segments.get_mut(&number).expect("inserted before the replay");
        segment.phase = Phase::Ended;
        segment.end = end;
        segment.settled_end = end;
        segment.last_commit = seen_here;
        self.apply_cut(number, cut);
        torn
    }

    fn replay_commit(&mut self, number: u32, commit: &ScannedCommit, cut: Option<&Cut>) {
        let mut entries: Vec<(Entry, bool)> = commit.entries.iter().map(|&entry| (entry, false)).collect();
        entries.extend(commit.damaged.iter().map(|&entry| (entry, true)));
        entries.sort_by_key(|(entry, _)| entry.eighth);
        let mut nameless = commit.nameless;
        for (entry, damaged) in entries {
            if !wanted(&entry, cut) {
                continue;
            }
            if damaged && entry_id(&entry).sequence() >= self.next_sequence {
                // What looks like its header is none: no such message was ever stored.
                nameless.get_or_insert(u64::from(entry.eighth) * 8);
                continue;
            }
            self.replay(number, &entry);
            if damaged && (entry.kind == Kind::Message || entry.kind.is_chain()) {
                self.quarantine(Corrupt {
                    id: Some(entry_id(&entry)),
                    segment: number,
                    offset: u64::from(entry.eighth) * 8,
                    reason: "a record of the message fails its checksum",
                });
            }
        }
        let lost =
            nameless.or((commit.number.is_none() && commit.entries.is_empty()).then_some(commit.offset));
        if let Some(offset) = lost
            && !commit.whole
        {
            self.quarantine(Corrupt {
                id: None,
                segment: number,
                offset,
                reason: "a record is damaged beyond recognition",
            });
        }
    }

    fn apply_cut(&mut self, number: u32, cut: Option<&Cut>) {
        let segment = self.segments.get_mut(&number).expect("inserted before the replay");
        segment.cut = cut.cloned();
        if let Some(cut) = cut {
            if cut.end == 0 {
                segment.phase = Phase::Kept;
            } else {
                segment.end = segment.end.min(cut.end);
                segment.settled_end = segment.end;
            }
        }
    }

    /// One frame of the log does again what it did when it was written.
    fn replay(&mut self, number: u32, entry: &Entry) {
        let id = entry_id(entry);
        if entry.kind != Kind::Cut {
            if !self.index.takes(id) || entry.length as usize >= PAYLOAD_BYTES_MAX {
                return;
            }
            self.next_sequence = self.next_sequence.max(id.sequence() + 1);
        }
        match entry.kind {
            Kind::Message => {
                let older = self.message_at(number, entry);
                if !older.is_nowhere() && older.segment != number && entry.state & ENTRY_CHUNKED != 0 {
                    self.add_stale(id, older.segment);
                } else if !older.is_nowhere()
                    && older.segment != number
                    && !self.must_drain.contains(&older.segment)
                {
                    self.must_drain.push(older.segment);
                }
            }
            Kind::Outcome | Kind::Retry | Kind::Hold | Kind::Release => self.chain_at(number, entry, true),
            Kind::Remove => {
                self.forget(id);
                self.grave_at(number, entry);
            }
            Kind::Cut => self.grave_at(number, entry),
            Kind::Chunk | Kind::Seal | Kind::Commit => {}
        }
    }
}

/// Whether a cut lets an entry count.
fn wanted(entry: &Entry, cut: Option<&Cut>) -> bool {
    let Some(cut) = cut else { return true };
    let offset = u64::from(entry.eighth) * 8;
    offset + FRAME_HEADER_BYTES as u64 <= cut.end || cut.keep.contains(&entry.id)
}
