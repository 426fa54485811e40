//! Scanning a segment that has no footer: commit after commit, and between them when one is damaged.
//!
//! Receives: a file and its header. Sends: the commits found, each with its frames and whether it is whole. Limits:
//! one commit's bytes in memory at a time, and the entries of one segment. On failure: damage is told, never a panic.

use crate::{
    disk::{AlignedBuffer, DiskFile},
    frame::{self, FRAME_HEADER_BYTES, FrameHeader, Kind, Parsed, Seed},
    record::{ChainHead, CommitHead, Cut, MessageHead},
    segment::{BLOCK_BYTES, ENTRY_CHUNKED, ENTRY_COPY, Entry, FRAMES_START, SegmentHeader},
};
use std::io;

/// Bytes read at a time while looking for the next commit.
const WINDOW_BYTES: u64 = 1 << 20;
/// A commit is never longer than this, whatever its header says.
const COMMIT_BYTES_MAX: u64 = 64 << 20;

/// A commit as it was found, or an area where one must have been.
#[derive(Debug, Default)]
pub(crate) struct ScannedCommit {
    /// Its number; none if its own frame is damaged.
    pub number: Option<u64>,
    pub settled: u64,
    pub offset: u64,
    pub bytes: u64,
    /// Every frame is there and good.
    pub whole: bool,
    pub entries: Vec<Entry>,
    /// Frames whose payload is damaged but whose header is good.
    pub damaged: Vec<Entry>,
    /// Offset of the first damage that has no name.
    pub nameless: Option<u64>,
    pub cuts: Vec<Cut>,
}

/// Reads the commits of a segment from its start to `end`.
pub(crate) async fn scan<F: DiskFile>(
    file: &F,
    header: &SegmentHeader,
    end: u64,
) -> io::Result<Vec<ScannedCommit>> {
    let mut commits: Vec<ScannedCommit> = Vec::new();
    let mut window = Window { start: 0, bytes: AlignedBuffer::new() };
    let end = end.min(file.bytes()?).min(header.segment_bytes);
    let seed = header.seed();
    let mut offset = FRAMES_START;
    let mut lost: Option<u64> = None;
    while offset < end {
        window.hold(file, offset, BLOCK_BYTES.min(end - offset), end).await?;
        match commit_head(window.at(offset), seed, offset) {
            Some((frame_header, head)) if offset + u64::from(head.bytes) <= end => {
                if let Some(start) = lost.take() {
                    commits.push(salvage(file, header, start, offset).await?);
                }
                let bytes = u64::from(head.bytes);
                window.hold(file, offset, bytes, end).await?;
                let area = window.at(offset);
                let area = &area[..area.len().min(bytes as usize)];
                let mut commit =
                    read_area(area, seed, offset, frame::frame_bytes(frame_header.length as usize));
                commit.number = Some(frame_header.id);
                commit.settled = head.settled;
                commit.whole = commit.whole && commit.entries.len() as u64 == u64::from(head.frames);
                commits.push(commit);
                offset += bytes;
            }
            _ => {
                lost.get_or_insert(offset);
                offset += BLOCK_BYTES;
            }
        }
    }
    if let Some(start) = lost {
        // Nothing whole follows: the unwritten rest, or a torn tail. Told as one nameless area.
        commits.push(ScannedCommit { offset: start, bytes: end - start, ..ScannedCommit::default() });
    }
    Ok(commits)
}

fn commit_head(bytes: &[u8], seed: Seed, offset: u64) -> Option<(FrameHeader, CommitHead)> {
    match frame::parse(bytes, seed, offset) {
        Parsed::Whole(header, payload) if header.kind == Kind::Commit => {
            let head = CommitHead::read(payload)?;
            (u64::from(head.bytes) <= COMMIT_BYTES_MAX).then_some((header, head))
        }
        _ => None,
    }
}

/// Reads an area whose Commit frame is damaged but which other commits prove to have been durable.
async fn salvage<F: DiskFile>(
    file: &F,
    header: &SegmentHeader,
    start: u64,
    end: u64,
) -> io::Result<ScannedCommit> {
    let mut window = Window { start: 0, bytes: AlignedBuffer::new() };
    let end_of_area = end.min(start + COMMIT_BYTES_MAX);
    window.hold(file, start, end_of_area - start, end_of_area).await?;
    let mut area = read_area(window.at(start), header.seed(), start, 0);
    area.whole = false;
    Ok(area)
}

/// Reads frames one after another from `skip` on; after damage, looks for the next frame at every eighth byte.
fn read_area(bytes: &[u8], seed: Seed, offset: u64, skip: usize) -> ScannedCommit {
    let mut commit =
        ScannedCommit { offset, bytes: bytes.len() as u64, whole: true, ..ScannedCommit::default() };
    let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    let mut at = skip;
    while at + FRAME_HEADER_BYTES <= bytes.len() {
        let here = offset + at as u64;
        match frame::parse(&bytes[at..], seed, here) {
            Parsed::Whole(header, payload) => {
                match describe(&header, here, payload) {
                    Some(entry) => commit.entries.push(entry),
                    None => commit.whole &= header.kind == Kind::Commit,
                }
                if header.kind == Kind::Cut {
                    commit.cuts.extend(Cut::read(payload));
                }
                at += frame::frame_bytes(header.length as usize);
            }
            Parsed::Damaged(header) => {
                commit.whole = false;
                commit.damaged.push(bare_entry(&header, here));
                at += frame::frame_bytes(header.length as usize);
            }
            Parsed::Nothing if at >= used => break,
            Parsed::Nothing => {
                commit.whole = false;
                commit.nameless.get_or_insert(here);
                at += 8;
            }
        }
    }
    commit
}

fn bare_entry(header: &FrameHeader, offset: u64) -> Entry {
    let mut entry = crate::append::blank_entry(header.kind, header.id);
    entry.eighth = (offset / 8) as u32;
    entry.length = header.length;
    entry
}

/// The footer entry of a frame; `None` for a frame that does not add up or belongs in no footer.
pub(crate) fn describe(header: &FrameHeader, offset: u64, payload: &[u8]) -> Option<Entry> {
    let mut entry = bare_entry(header, offset);
    match header.kind {
        Kind::Message => {
            let head = MessageHead::read(payload)?;
            entry.due_at_s = head.due_at_s;
            entry.extra = head.content_bytes;
            entry.state = head.state as u8
                | if head.chunk_count > 0 { ENTRY_CHUNKED } else { 0 }
                | if head.previous.is_nowhere() { 0 } else { ENTRY_COPY };
        }
        Kind::Chunk => {}
        Kind::Outcome | Kind::Retry | Kind::Hold | Kind::Release => {
            let head = ChainHead::read(payload)?;
            entry.due_at_s = head.due_at_s;
            entry.state = head.state as u8;
        }
        Kind::Remove | Kind::Cut => entry.extra = u64::from(frame::read_u32(payload, 0)?),
        Kind::Commit | Kind::Seal => return None,
    }
    Some(entry)
}

/// Part of a file in memory.
struct Window {
    start: u64,
    bytes: AlignedBuffer,
}

impl Window {
    /// Sees to it that `bytes` from `offset` are held; reads ahead, but not beyond `end`.
    async fn hold<F: DiskFile>(&mut self, file: &F, offset: u64, bytes: u64, end: u64) -> io::Result<()> {
        let held = self.start + self.bytes.len() as u64;
        if offset >= self.start && offset + bytes <= held {
            return Ok(());
        }
        let wanted = bytes.max(WINDOW_BYTES.min(end - offset));
        let buffer = std::mem::take(&mut self.bytes);
        let buffer = if buffer.capacity() as u64 == wanted.next_multiple_of(BLOCK_BYTES) {
            buffer
        } else {
            AlignedBuffer::with_capacity(wanted as usize)
        };
        let (result, buffer) = file.read_at(offset, buffer).await;
        result?;
        self.start = offset;
        self.bytes = buffer;
        Ok(())
    }

    fn at(&self, offset: u64) -> &[u8] {
        self.bytes.get((offset - self.start) as usize..).unwrap_or_default()
    }
}
