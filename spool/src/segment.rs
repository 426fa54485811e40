//! Where a record lies.

/// A frame's place: a segment's number and the offset in units of 8 bytes. Segment 0 does not exist and means "nowhere".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Location {
    pub segment: u32,
    pub eighth: u32,
}
