//! One queued message in 40 bytes.
//!
//! ```text
//! message:8 note:8 due_at_s:4 content_bytes:4 sequence_low:4 next:4
//! length:24 flags:8  sequence_high:16 chain_eighths:16
//! ```

use crate::{
    message::{MessageId, Queued},
    record::{STATE_FORCE_EXPIRED, STATE_HELD},
    segment::Location,
};

/// Sequence numbers end here: a million messages a second for nine years.
pub(crate) const SEQUENCE_MAX: u64 = (1 << 48) - 1;
/// Live notes in the segment of the newest one that an entry can count; what is more goes to the side table. No
/// message but one with very many recipients in delivery has so many.
pub(crate) const CHAIN_BYTES_MAX: u64 = 8 * u16::MAX as u64;
const LENGTH_SHIFT: u32 = 8;

const _: () = assert!(crate::frame::PAYLOAD_BYTES_MAX <= 1 << 24, "a payload's length has 24 bits");

/// What is known of one message, bit by bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Flag {
    /// The slot holds a message.
    Used = 1,
    Held = 2,
    ForceExpired = 4,
    Chunked = 8,
    Corrupt = 16,
    Sprawls = 32,
}

/// One queued message, or a free slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IndexEntry {
    /// The Message record; nowhere only while recovery has seen notes but not yet the message.
    pub message: Location,
    /// The newest Outcome, Retry, Hold or Release record; nowhere if none.
    pub note: Location,
    pub due_at_s: u32,
    pub content_bytes: u32,
    sequence_low: u32,
    /// The next slot in the bucket, or in the page's list of free ones.
    pub(super) next: u32,
    length_and_flags: u32,
    sequence_high: u16,
    chain_eighths: u16,
}

const _: () = assert!(size_of::<IndexEntry>() == 40);

impl IndexEntry {
    /// A message of which nothing else is known yet.
    pub fn new(id: MessageId) -> Self {
        let sequence = id.sequence();
        assert!(sequence <= SEQUENCE_MAX, "callers let in no other sequence numbers");
        Self {
            sequence_low: sequence as u32,
            sequence_high: (sequence >> 32) as u16,
            length_and_flags: Flag::Used as u32,
            ..Self::free(0)
        }
    }

    pub(super) fn free(next: u32) -> Self {
        Self {
            message: Location::NOWHERE,
            note: Location::NOWHERE,
            due_at_s: 0,
            content_bytes: 0,
            sequence_low: 0,
            next,
            length_and_flags: 0,
            sequence_high: 0,
            chain_eighths: 0,
        }
    }

    pub(super) fn is_free(&self) -> bool {
        !self.flag(Flag::Used)
    }

    /// The message's number on this shard.
    pub fn sequence(&self) -> u64 {
        u64::from(self.sequence_high) << 32 | u64::from(self.sequence_low)
    }

    fn flag(&self, flag: Flag) -> bool {
        self.length_and_flags & flag as u32 != 0
    }

    fn set_flag(&mut self, flag: Flag, on: bool) {
        self.length_and_flags &= !(flag as u32);
        self.length_and_flags |= if on { flag as u32 } else { 0 };
    }

    /// Payload bytes of the Message record.
    pub fn length(&self) -> u32 {
        self.length_and_flags >> LENGTH_SHIFT
    }

    pub fn set_length(&mut self, bytes: u32) {
        assert!((bytes as usize) < crate::frame::PAYLOAD_BYTES_MAX, "frames are no longer than this");
        self.length_and_flags = bytes << LENGTH_SHIFT | self.length_and_flags & ((1 << LENGTH_SHIFT) - 1);
    }

    /// The state word of the message's records: [`STATE_HELD`], [`STATE_FORCE_EXPIRED`].
    pub fn state(&self) -> u32 {
        let bit = |on: bool, bit: u32| if on { bit } else { 0 };
        bit(self.flag(Flag::Held), STATE_HELD) | bit(self.flag(Flag::ForceExpired), STATE_FORCE_EXPIRED)
    }

    /// Takes the state over from a record; other bits of the word do not count.
    pub fn set_state(&mut self, state: u32) {
        self.set_flag(Flag::Held, state & STATE_HELD != 0);
        self.set_flag(Flag::ForceExpired, state & STATE_FORCE_EXPIRED != 0);
    }

    pub fn chunked(&self) -> bool {
        self.flag(Flag::Chunked)
    }

    pub fn set_chunked(&mut self, chunked: bool) {
        self.set_flag(Flag::Chunked, chunked);
    }

    pub fn corrupt(&self) -> bool {
        self.flag(Flag::Corrupt)
    }

    pub fn set_corrupt(&mut self) {
        self.set_flag(Flag::Corrupt, true);
    }

    pub fn sprawls(&self) -> bool {
        self.flag(Flag::Sprawls)
    }

    pub fn set_sprawls(&mut self, sprawls: bool) {
        self.set_flag(Flag::Sprawls, sprawls);
    }

    /// Bytes of the live notes that lie in `note.segment` and are not in the side table.
    pub fn chain_bytes(&self) -> u64 {
        u64::from(self.chain_eighths) * 8
    }

    /// At most [`CHAIN_BYTES_MAX`], in units of 8.
    pub fn set_chain_bytes(&mut self, bytes: u64) {
        assert!(bytes <= CHAIN_BYTES_MAX && bytes.is_multiple_of(8), "more goes to the side table");
        self.chain_eighths = (bytes / 8) as u16;
    }

    /// What callers are told of it.
    pub fn queued(&self, shard: u16) -> Queued {
        Queued {
            id: MessageId::new(shard, self.sequence()),
            due_at_s: self.due_at_s,
            held: self.flag(Flag::Held),
            force_expired: self.flag(Flag::ForceExpired),
            bytes: u64::from(self.content_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packed_parts_do_not_touch_each_other() {
        let mut entry = IndexEntry::new(MessageId::new(5, SEQUENCE_MAX));
        entry.set_length((1 << 24) - 1);
        entry.set_chain_bytes(CHAIN_BYTES_MAX);
        entry.set_state(STATE_HELD | STATE_FORCE_EXPIRED);
        entry.set_chunked(true);
        entry.set_corrupt();
        entry.set_sprawls(true);
        assert_eq!(entry.queued(5).id, MessageId::new(5, SEQUENCE_MAX));
        assert_eq!((entry.length(), entry.chain_bytes()), ((1 << 24) - 1, CHAIN_BYTES_MAX));
        entry.set_length(0);
        entry.set_chain_bytes(0);
        assert!(entry.chunked() && entry.corrupt() && entry.sprawls() && !entry.is_free());
        entry.set_state(STATE_FORCE_EXPIRED);
        assert!(!entry.queued(5).held && entry.queued(5).force_expired);
        assert_eq!(entry.sequence(), SEQUENCE_MAX);
    }
}
