//! Segments: their headers and footers on disk, and what is live in each of them in memory.
//!
//! Owns: the two copies of a segment's header, the footer (a sealed segment's own index), and the account of live
//! bytes. Limits: a footer takes at most an eighth of its segment. On failure: a header or footer that fails its
//! checksum reads as `None`.

use crate::{
    frame::{self, FRAME_HEADER_BYTES, FrameHeader, Kind, Parsed, Seed, read_u32, read_u64},
    message::MessageId,
    record::Cut,
};
use ringpost_reactor::AlignedBuffer;
use std::rc::Rc;

/// Everything on disk is aligned to this.
pub(crate) const BLOCK_BYTES: u64 = 4096;
/// Frames start here, behind the two copies of the header.
pub(crate) const FRAMES_START: u64 = 2 * BLOCK_BYTES;
/// One frame's entry in a footer.
pub(crate) const ENTRY_BYTES: usize = 32;

const MAGIC: &[u8; 8] = b"RINGPOST";
const FOOTER_MAGIC: &[u8; 8] = b"RINGSEAL";
/// The format of everything in a segment. Version 2 knows chunks of envelopes and contents beside chunks.
const VERSION: u32 = 2;

/// A frame's place: a segment's number and the offset in units of 8 bytes. Segment 0 does not exist and means
/// "nowhere".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Location {
    pub segment: u32,
    pub eighth: u32,
}

impl Location {
    pub const NOWHERE: Location = Location { segment: 0, eighth: 0 };

    pub fn new(segment: u32, offset: u64) -> Self {
        debug_assert!(offset.is_multiple_of(8) && offset / 8 <= u64::from(u32::MAX));
        Self { segment, eighth: (offset / 8) as u32 }
    }

    pub fn offset(self) -> u64 {
        u64::from(self.eighth) * 8
    }

    pub fn is_nowhere(self) -> bool {
        self.segment == 0
    }
}

/// The name of a segment's file.
pub(crate) fn segment_name(number: u32) -> String {
    format!("segment-{number:06}.log")
}

/// The number in a segment file's name.
pub(crate) fn segment_number(name: &str) -> Option<u32> {
    name.strip_prefix("segment-")?.strip_suffix(".log")?.parse().ok()
}

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Part of the log.
    Log,
    /// Recycled, waiting for use. Nothing in it counts.
    Spare,
}

/// The header, written twice (blocks 0 and 1) so that one damaged block does not cost a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub purpose: Purpose,
    pub shard: u16,
    pub segment: u32,
    /// Grows with every header that is written to any file of the shard.
    pub generation: u32,
    pub segment_bytes: u64,
    pub salt: u64,
    /// No message of this shard has this sequence number or a later one, when the header is written; numbers up to
    /// here are given out without asking the disk again.
    pub next_sequence: u64,
}

impl SegmentHeader {
    pub fn seed(&self) -> Seed {
        Seed::new(self.salt, self.segment, self.generation)
    }

    /// Both blocks.
    pub fn blocks(&self) -> AlignedBuffer {
        let mut block = [0; 64];
        block[..8].copy_from_slice(MAGIC);
        block[8..12].copy_from_slice(&VERSION.to_le_bytes());
        block[12..14].copy_from_slice(&self.shard.to_le_bytes());
        block[14..16].copy_from_slice(&(if self.purpose == Purpose::Log { 1u16 } else { 2 }).to_le_bytes());
        block[16..20].copy_from_slice(&self.segment.to_le_bytes());
        block[20..24].copy_from_slice(&self.generation.to_le_bytes());
        block[24..32].copy_from_slice(&self.segment_bytes.to_le_bytes());
        block[32..40].copy_from_slice(&self.salt.to_le_bytes());
        block[40..48].copy_from_slice(&self.next_sequence.to_le_bytes());
        let crc = crc32c::crc32c(&block[..60]);
        block[60..].copy_from_slice(&crc.to_le_bytes());
        let mut buffer = AlignedBuffer::with_capacity(FRAMES_START as usize);
        for copy in 1..=2 {
            buffer.extend_from_slice(&block);
            buffer.resize(copy * BLOCK_BYTES as usize, 0);
        }
        buffer
    }

    /// Reads the newer of the two copies that are good.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let first = Self::read_block(bytes);
        let second = bytes.get(BLOCK_BYTES as usize..).and_then(Self::read_block);
        match (first, second) {
            (Some(first), Some(second)) if second.generation > first.generation => Some(second),
            (Some(first), _) => Some(first),
            (None, second) => second,
        }
    }

    /// The format in which a segment was written, if it is a good one's and not ours.
    pub fn foreign_version(bytes: &[u8]) -> Option<u32> {
        let copies = [bytes, bytes.get(BLOCK_BYTES as usize..).unwrap_or_default()];
        let mut versions = copies.into_iter().filter_map(|copy| {
            let block = Self::good_block(copy)?;
            read_u32(block, 8)
        });
        versions.find(|&version| version != VERSION)
    }

    /// The bytes of a header that its checksum covers, and this with it.
    fn good_block(bytes: &[u8]) -> Option<&[u8]> {
        let block = bytes.get(..64)?;
        (&block[..8] == MAGIC && crc32c::crc32c(&block[..60]) == read_u32(block, 60)?).then_some(block)
    }

    fn read_block(bytes: &[u8]) -> Option<Self> {
        let block = Self::good_block(bytes)?;
        if read_u32(block, 8)? != VERSION {
            return None;
        }
        let purpose = match u16::from_le_bytes([block[14], block[15]]) {
            1 => Purpose::Log,
            2 => Purpose::Spare,
            _ => return None,
        };
        Some(Self {
            purpose,
            shard: u16::from_le_bytes([block[12], block[13]]),
            segment: read_u32(block, 16)?,
            generation: read_u32(block, 20)?,
            segment_bytes: read_u64(block, 24)?,
            salt: read_u64(block, 32)?,
            next_sequence: read_u64(block, 40)?,
        })
    }
}

/// What the index needs of one frame; a footer is a list of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub id: u64,
    /// Offset in units of 8 bytes.
    pub eighth: u32,
    /// Bytes of payload.
    pub length: u32,
    pub kind: Kind,
    /// `record::STATE_HELD`, [`ENTRY_CHUNKED`], [`ENTRY_COPY`].
    pub state: u8,
    pub due_at_s: u32,
    /// Message: bytes of content. Remove and Cut: the segment it is about.
    pub extra: u64,
}

/// A Message whose content or envelope lies in chunks.
pub(crate) const ENTRY_CHUNKED: u8 = 2;
/// A Message that compaction copied: an older record of it may still be on disk elsewhere.
pub(crate) const ENTRY_COPY: u8 = 4;

impl Entry {
    /// Bytes that the frame takes.
    pub fn frame_bytes(&self) -> u64 {
        frame::frame_bytes(self.length as usize) as u64
    }

    fn put(&self, out: &mut AlignedBuffer) {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..8].copy_from_slice(&self.id.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.eighth.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.length.to_le_bytes());
        bytes[16] = self.kind as u8;
        bytes[17] = self.state;
        bytes[20..24].copy_from_slice(&self.due_at_s.to_le_bytes());
        bytes[24..].copy_from_slice(&self.extra.to_le_bytes());
        out.extend_from_slice(&bytes);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            id: read_u64(bytes, 0)?,
            eighth: read_u32(bytes, 8)?,
            length: read_u32(bytes, 12)?,
            kind: Kind::from_byte(*bytes.get(16)?)?,
            state: *bytes.get(17)?,
            due_at_s: read_u32(bytes, 20)?,
            extra: read_u64(bytes, 24)?,
        })
    }
}

/// Bytes of a footer with that many entries, the trailer block included.
pub(crate) fn footer_bytes(entries: usize) -> u64 {
    let frame = (FRAME_HEADER_BYTES + entries * ENTRY_BYTES) as u64;
    frame.next_multiple_of(BLOCK_BYTES) + BLOCK_BYTES
}

/// Frames that a segment may hold: their footer takes at most an eighth of it, and memory while it is open.
pub(crate) fn frames_max(segment_bytes: u64) -> usize {
    ((segment_bytes / 8) as usize - FRAME_HEADER_BYTES) / ENTRY_BYTES
}

/// The last block of a sealed segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub footer_offset: u64,
    pub last_commit: u64,
    pub has_cuts: bool,
}

/// A footer as it is written, ending at the end of the segment: `(offset, bytes)`.
pub(crate) fn footer(header: &SegmentHeader, entries: &[Entry], last_commit: u64) -> (u64, AlignedBuffer) {
    let bytes = footer_bytes(entries.len());
    let offset = header.segment_bytes - bytes;
    let mut buffer = AlignedBuffer::with_capacity(bytes as usize);
    frame::write(&mut buffer, header.seed(), offset, Kind::Seal, last_commit, last_commit, |out| {
        entries.iter().for_each(|entry| entry.put(out));
    });
    buffer.resize((bytes - BLOCK_BYTES) as usize, 0);
    let has_cuts = entries.iter().any(|entry| entry.kind == Kind::Cut);
    let mut trailer = [0; 48];
    trailer[..8].copy_from_slice(FOOTER_MAGIC);
    trailer[8..12].copy_from_slice(&header.segment.to_le_bytes());
    trailer[12..16].copy_from_slice(&header.generation.to_le_bytes());
    trailer[16..24].copy_from_slice(&offset.to_le_bytes());
    trailer[24..32].copy_from_slice(&last_commit.to_le_bytes());
    trailer[32..36].copy_from_slice(&u32::from(has_cuts).to_le_bytes());
    trailer[36..44].copy_from_slice(&header.salt.to_le_bytes());
    let crc = crc32c::crc32c(&trailer[..44]);
    trailer[44..].copy_from_slice(&crc.to_le_bytes());
    buffer.extend_from_slice(&trailer);
    buffer.resize(bytes as usize, 0);
    (offset, buffer)
}

impl Trailer {
    /// Reads the last block of a segment.
    pub fn read(header: &SegmentHeader, block: &[u8]) -> Option<Self> {
        let bytes = block.get(..48)?;
        if &bytes[..8] != FOOTER_MAGIC || crc32c::crc32c(&bytes[..44]) != read_u32(bytes, 44)? {
            return None;
        }
        if read_u32(bytes, 8)? != header.segment
            || read_u32(bytes, 12)? != header.generation
            || read_u64(bytes, 36)? != header.salt
        {
            return None;
        }
        let footer_offset = read_u64(bytes, 16)?;
        let inside = footer_offset >= FRAMES_START
            && footer_offset.is_multiple_of(BLOCK_BYTES)
            && footer_offset + 2 * BLOCK_BYTES <= header.segment_bytes;
        let last_commit = read_u64(bytes, 24)?;
        inside.then_some(Self { footer_offset, last_commit, has_cuts: read_u32(bytes, 32)? != 0 })
    }

    /// Reads the entries from the footer's bytes (from its offset to the end of the segment).
    pub fn entries(&self, header: &SegmentHeader, bytes: &[u8]) -> Option<Vec<Entry>> {
        match frame::parse(bytes, header.seed(), self.footer_offset) {
            Parsed::Whole(FrameHeader { kind: Kind::Seal, .. }, payload) => {
                payload.chunks(ENTRY_BYTES).map(Entry::read).collect()
            }
            _ => None,
        }
    }
}

/// How far a segment's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Commits are written to it.
    Head,
    /// Full; its footer is not written yet.
    Full,
    /// Its footer is durable.
    Sealed,
    /// Its log ended early (crash, failed write); read by scanning up to `end`. A Cut elsewhere says so on disk.
    Ended,
    /// Drained but for damaged messages; a Cut elsewhere says which.
    Kept,
}

/// A segment of the log.
pub(crate) struct Segment<F> {
    pub header: SegmentHeader,
    pub file: Rc<F>,
    /// The file's present name; a spare keeps its last one.
    pub name: String,
    pub phase: Phase,
    /// Bytes of frames in it that are needed, now or by a recovery.
    pub live_bytes: u64,
    /// Tombstones and cuts in other segments that are needed only while this one exists: (segment, bytes).
    pub graves: Vec<(u32, u64)>,
    /// Chunks in it that no Message record names yet.
    pub unattached: u32,
    /// Reads under way.
    pub readers: u32,
    /// Damage that could not be given to a message: the segment is left alone.
    pub pinned: bool,
    /// Compaction may gain something here: it holds what compaction did not write, or something in it has died.
    pub stirred: bool,
    /// The Cut about this segment that stands, or will stand, in another one.
    pub cut: Option<Cut>,
    /// Frames so far, while not sealed.
    pub entries: Vec<Entry>,
    /// Where the log ends in it: frames lie below.
    pub end: u64,
    /// Frames below are durable.
    pub settled_end: u64,
    /// The footer's offset, if sealed.
    pub footer_offset: u64,
    /// The last commit in it.
    pub last_commit: u64,
}

impl<F> Segment<F> {
    pub fn new(header: SegmentHeader, file: Rc<F>, name: String, phase: Phase) -> Self {
        Self {
            header,
            file,
            name,
            phase,
            live_bytes: 0,
            graves: Vec::new(),
            unattached: 0,
            readers: 0,
            pinned: false,
            // Of a segment found at opening nobody knows how tightly it was written.
            stirred: phase != Phase::Head,
            cut: None,
            entries: Vec::new(),
            end: FRAMES_START,
            settled_end: FRAMES_START,
            footer_offset: 0,
            last_commit: 0,
        }
    }

    /// Takes note of a tombstone or cut in segment `holder` about this one.
    pub fn add_grave(&mut self, holder: u32, bytes: u64) {
        match self.graves.iter_mut().find(|grave| grave.0 == holder) {
            Some(grave) => grave.1 += bytes,
            None => self.graves.push((holder, bytes)),
        }
    }
}

/// Names a message in an entry.
pub(crate) fn entry_id(entry: &Entry) -> MessageId {
    MessageId::from_bits(entry.id)
}
