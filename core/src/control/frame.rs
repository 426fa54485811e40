//! Frames: how much a message of the control socket may be, and where it ends.

use crate::envelope::codec::Damaged;

/// The version of the vocabulary. One higher whenever a frame changes its meaning.
pub const VERSION: u8 = 1;
/// Bytes of the preamble.
pub const PREAMBLE_BYTES: usize = 8;
/// What each side says first.
pub const PREAMBLE: [u8; PREAMBLE_BYTES] = *b"RINGCTL\x01";
const _: () = assert!(PREAMBLE[PREAMBLE_BYTES - 1] == VERSION);

/// Bytes before a frame's payload.
pub const FRAME_HEADER_BYTES: usize = 5;
/// Bytes of one payload at most: two texts of the envelope's length and a thousand queue ids both fit.
pub const FRAME_BYTES_MAX: usize = 64 << 10;

/// Bytes that are no frame of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("malformed control message")
    }
}

impl std::error::Error for Malformed {}

impl From<Damaged> for Malformed {
    fn from(_: Damaged) -> Malformed {
        Malformed
    }
}

/// Whether the other side's preamble is ours.
pub fn speaks_our_version(preamble: &[u8; PREAMBLE_BYTES]) -> bool {
    *preamble == PREAMBLE
}

/// What stands before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Bytes of the payload, at most [`FRAME_BYTES_MAX`].
    pub payload_bytes: usize,
    /// Which request or answer.
    pub kind: u8,
}

impl FrameHeader {
    /// Reads a header.
    ///
    /// # Errors
    /// [`Malformed`] when the payload would be too long: nothing that follows can be trusted then.
    pub fn read(bytes: &[u8; FRAME_HEADER_BYTES]) -> Result<FrameHeader, Malformed> {
        let [a, b, c, d, kind] = *bytes;
        let payload_bytes = u32::from_le_bytes([a, b, c, d]) as usize;
        if payload_bytes > FRAME_BYTES_MAX { Err(Malformed) } else { Ok(FrameHeader { payload_bytes, kind }) }
    }
}

/// Appends one frame whose payload `payload` writes.
///
/// # Panics
/// When the payload exceeds [`FRAME_BYTES_MAX`]: whoever writes one has bounded its parts.
pub(super) fn put_frame(out: &mut Vec<u8>, kind: u8, payload: impl FnOnce(&mut Vec<u8>)) {
    let header = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, kind]);
    payload(out);
    let bytes = out.len() - header - FRAME_HEADER_BYTES;
    assert!(bytes <= FRAME_BYTES_MAX, "the parts of a frame are bounded");
    out[header..header + 4].copy_from_slice(&(bytes as u32).to_le_bytes());
}
