//! Frames: the unit of the log, and the checksum that ties each to its segment, generation and offset.
//!
//! Receives: kinds, identities and payloads. Sends: bytes in a commit's buffer; parsed frames. Owns: the layout drawn
//! in the crate's head. On failure: a frame that fails is *damaged* (its header can be trusted, so its id and length
//! are known) or *nothing* (not a frame of this segment at all). Never panics on any bytes.

use ringpost_reactor::AlignedBuffer;

/// Bytes before a frame's payload.
pub(crate) const FRAME_HEADER_BYTES: usize = 24;
/// Payloads are shorter than this (16 MiB); anything longer is not a frame.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 16 << 20;

/// What a frame records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A whole message, or the envelope of a chunked one with the list of its chunks.
    Message = 1,
    /// A piece of a large message's content.
    Chunk = 2,
    /// What became of recipients.
    Outcome = 3,
    /// An attempt is over; the next is due later. Its notes replace all earlier ones.
    Retry = 4,
    /// On hold.
    Hold = 5,
    /// Off hold.
    Release = 6,
    /// The message has left the queue.
    Remove = 7,
    /// A sealed segment's own index (at the end of the file).
    Seal = 8,
    /// Opens every commit and says how long it is.
    Commit = 9,
    /// Another segment's log is valid only up to an offset.
    Cut = 10,
}

impl Kind {
    pub(crate) fn from_byte(byte: u8) -> Option<Kind> {
        Some(match byte {
            1 => Kind::Message,
            2 => Kind::Chunk,
            3 => Kind::Outcome,
            4 => Kind::Retry,
            5 => Kind::Hold,
            6 => Kind::Release,
            7 => Kind::Remove,
            8 => Kind::Seal,
            9 => Kind::Commit,
            10 => Kind::Cut,
            _ => return None,
        })
    }

    /// Outcome, Retry, Hold and Release form a message's chain of notes.
    pub(crate) fn is_chain(self) -> bool {
        matches!(self, Kind::Outcome | Kind::Retry | Kind::Hold | Kind::Release)
    }
}

/// What every checksum of a segment starts from: its salt, number and generation. Bytes that another generation left
/// in a recycled file, and frames that a sender put into a message, do not match it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seed(u32);

impl Seed {
    pub fn new(salt: u64, segment: u32, generation: u32) -> Self {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&salt.to_le_bytes());
        bytes[8..12].copy_from_slice(&segment.to_le_bytes());
        bytes[12..].copy_from_slice(&generation.to_le_bytes());
        Self(crc32c::crc32c(&bytes))
    }

    fn at(self, offset: u64) -> u32 {
        self.0 ^ ((offset / 8) as u32).wrapping_mul(0x9e37_79b1)
    }
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub length: u32,
    pub kind: Kind,
    pub commit: u32,
    pub id: u64,
}

/// Bytes that a frame with `payload` bytes takes in the log.
pub(crate) fn frame_bytes(payload: usize) -> usize {
    (FRAME_HEADER_BYTES + payload).next_multiple_of(8)
}

/// What lies at a place.
#[derive(Debug)]
pub(crate) enum Parsed<'a> {
    /// A frame with its payload.
    Whole(FrameHeader, &'a [u8]),
    /// The header is good, the payload is damaged or cut off.
    Damaged(FrameHeader),
    /// No frame of this segment.
    Nothing,
}

/// Writes a frame: reserves the header, lets `payload` append, then fills the header in. `offset` is the frame's
/// offset in the file. Returns the payload's length.
pub(crate) fn write(
    buffer: &mut AlignedBuffer,
    seed: Seed,
    offset: u64,
    kind: Kind,
    commit: u64,
    id: u64,
    payload: impl FnOnce(&mut AlignedBuffer),
) -> usize {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; FRAME_HEADER_BYTES]);
    payload(buffer);
    let length = buffer.len() - start - FRAME_HEADER_BYTES;
    assert!(length < PAYLOAD_BYTES_MAX, "callers bound their payloads");
    finish(
        &mut buffer[start..],
        seed,
        offset,
        FrameHeader { length: length as u32, kind, commit: commit as u32, id },
    );
    buffer.pad_to(8);
    length
}

/// Fills in the header of a frame whose payload is in place.
pub(crate) fn finish(frame: &mut [u8], seed: Seed, offset: u64, header: FrameHeader) {
    frame[..4].copy_from_slice(&header.length.to_le_bytes());
    frame[8] = header.kind as u8;
    frame[9] = 0;
    frame[12..16].copy_from_slice(&header.commit.to_le_bytes());
    frame[16..24].copy_from_slice(&header.id.to_le_bytes());
    let check = header_check(frame, seed, offset);
    frame[10..12].copy_from_slice(&check.to_le_bytes());
    let end = FRAME_HEADER_BYTES + header.length as usize;
    let crc = crc32c::crc32c_append(seed.at(offset), &frame[8..end]);
    frame[4..8].copy_from_slice(&crc.to_le_bytes());
}

/// Sixteen bits over length, kind, commit and id, so that a damaged payload does not cost us its name and length.
fn header_check(frame: &[u8], seed: Seed, offset: u64) -> u16 {
    let mut bytes = [0; 18];
    bytes[..4].copy_from_slice(&frame[..4]);
    bytes[4..6].copy_from_slice(&frame[8..10]);
    bytes[6..].copy_from_slice(&frame[12..24]);
    let crc = crc32c::crc32c_append(seed.at(offset), &bytes);
    (crc ^ (crc >> 16)) as u16
}

/// Reads the frame at the start of `bytes`, which lies at `offset` in its segment.
pub(crate) fn parse(bytes: &[u8], seed: Seed, offset: u64) -> Parsed<'_> {
    let Some(header) = parse_header(bytes, seed, offset) else { return Parsed::Nothing };
    let end = FRAME_HEADER_BYTES + header.length as usize;
    let Some(checked) = bytes.get(8..end) else { return Parsed::Damaged(header) };
    let crc = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
    if crc32c::crc32c_append(seed.at(offset), checked) != crc {
        return Parsed::Damaged(header);
    }
    Parsed::Whole(header, &bytes[FRAME_HEADER_BYTES..end])
}

/// Reads a header and checks its sixteen bits.
pub(crate) fn parse_header(bytes: &[u8], seed: Seed, offset: u64) -> Option<FrameHeader> {
    let head = bytes.get(..FRAME_HEADER_BYTES)?;
    let kind = Kind::from_byte(head[8])?;
    let length = read_u32(head, 0)?;
    if length as usize >= PAYLOAD_BYTES_MAX || head[9] != 0 {
        return None;
    }
    if header_check(head, seed, offset) != u16::from_le_bytes([head[10], head[11]]) {
        return None;
    }
    Some(FrameHeader { length, kind, commit: read_u32(head, 12)?, id: read_u64(head, 16)? })
}

pub(crate) fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub(crate) fn read_u64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_valid_only_in_its_place_its_segment_and_its_generation() {
        let seed = Seed::new(7, 3, 1);
        let mut buffer = AlignedBuffer::new();
        write(&mut buffer, seed, 8192, Kind::Outcome, 5, 77, |out| out.extend_from_slice(b"payload"));
        assert!(matches!(parse(&buffer, seed, 8192), Parsed::Whole(header, b"payload") if header.id == 77));
        assert!(!matches!(parse(&buffer, seed, 8200), Parsed::Whole(..)));
        assert!(!matches!(parse(&buffer, Seed::new(7, 3, 2), 8192), Parsed::Whole(..)));
        assert!(!matches!(parse(&buffer, Seed::new(7, 4, 1), 8192), Parsed::Whole(..)));
        assert!(!matches!(parse(&buffer, Seed::new(8, 3, 1), 8192), Parsed::Whole(..)));
    }

    #[test]
    fn every_flipped_bit_is_noticed_and_the_name_survives_damage_of_the_payload() {
        let seed = Seed::new(1, 2, 3);
        let mut buffer = AlignedBuffer::new();
        let length =
            write(&mut buffer, seed, 64, Kind::Message, 1, 9, |out| out.extend_from_slice(&[0x55; 40]));
        for bit in 0..(FRAME_HEADER_BYTES + length) * 8 {
            let mut flipped = buffer.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            match parse(&flipped, seed, 64) {
                Parsed::Whole(..) => panic!("bit {bit} went unnoticed"),
                Parsed::Damaged(header) => assert_eq!(header.id, 9, "bit {bit}"),
                Parsed::Nothing => assert!(bit / 8 < FRAME_HEADER_BYTES, "bit {bit} is in the payload"),
            }
        }
    }
}
