//! A window on a segment's bytes, for tools and tests: which frames lie where. Reads only, and never panics.

use crate::{
    frame::{self, FRAME_HEADER_BYTES, Parsed},
    segment::{BLOCK_BYTES, FRAMES_START, SegmentHeader},
};

pub use crate::frame::Kind;

/// One frame of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameView<'a> {
    /// Where it begins, in bytes from the start of the file.
    pub offset: u64,
    /// What it records.
    pub kind: Kind,
    /// The message's [`crate::MessageId::bits`]; of a Commit or Seal its number.
    pub id: u64,
    /// Whether its checksum holds.
    pub whole: bool,
    /// The payload, cut off where the bytes end.
    pub payload: &'a [u8],
}

/// The frames in a segment file's bytes, the footer's excepted. Nothing if the header is bad or the file is a spare.
pub fn frames(bytes: &[u8]) -> impl Iterator<Item = FrameView<'_>> {
    let header = SegmentHeader::read(bytes);
    let mut offset = FRAMES_START as usize;
    std::iter::from_fn(move || {
        let seed = header?.seed();
        while offset + FRAME_HEADER_BYTES <= bytes.len() {
            let here = offset;
            let (found, whole) = match frame::parse(&bytes[here..], seed, here as u64) {
                Parsed::Whole(found, _) => (found, true),
                Parsed::Damaged(found) => (found, false),
                Parsed::Nothing => {
                    offset = (here + 1).next_multiple_of(BLOCK_BYTES as usize);
                    continue;
                }
            };
            offset = here + frame::frame_bytes(found.length as usize);
            if found.kind == Kind::Seal {
                return None;
            }
            let start = here + FRAME_HEADER_BYTES;
            let end = (start + found.length as usize).min(bytes.len());
            let payload = &bytes[start..end];
            return Some(FrameView { offset: here as u64, kind: found.kind, id: found.id, whole, payload });
        }
        None
    })
}

/// The bytes of a Message frame's payload before the envelope; envelope and content follow.
pub const MESSAGE_HEAD_BYTES: usize = crate::record::MESSAGE_HEAD_BYTES;
