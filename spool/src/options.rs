//! The spool's settings and named limits.

use crate::OpenError;

/// Content that may lie in the Message record itself; larger content arrives as chunks. Small enough that a record
/// never delays a commit by more than a fraction of a millisecond.
pub const INLINE_CONTENT_BYTES_MAX: usize = 128 << 10;
/// Content of one Chunk record: large enough that a chunk's header and its wait do not count.
pub const CHUNK_BYTES_MAX: usize = 256 << 10;
/// One note (what an outcome or a retry says). A note of all recipients of a message fits with room to spare.
pub const NOTE_BYTES_MAX: usize = 768 << 10;

/// How a shard's spool is kept.
#[derive(Clone, Debug)]
pub struct SpoolOptions {
    /// The shard's number, below [`crate::SHARDS_MAX`].
    pub shard: u16,
    /// Bytes of a segment file; a multiple of 4 KiB, at least four commits. Default 64 MiB.
    pub segment_bytes: u64,
    /// Bytes of one commit at most; a multiple of 4 KiB. Default 1 MiB. Bounds memory (two in flight and one open)
    /// and the time that one message can add to another's commit.
    pub commit_bytes_max: usize,
    /// Bytes of all segment files of this shard at most. Default: no limit but the disk's.
    pub bytes_max: u64,
    /// Bytes that stay free on the file system. Default 64 MiB.
    pub free_bytes_min: u64,
    /// Recycled segments kept for later; more are given back to the file system. Default 16.
    pub spares_max: usize,
    /// Compaction copies the survivors of sealed segments whose live share is below this, in percent. Default 50:
    /// the disk then holds at most twice what is queued, besides [`SpoolOptions::slack_segments`].
    pub compact_below_percent: u8,
    /// Sealed segments that may lie about before compaction starts. Default 4.
    pub slack_segments: u32,
    /// Share of the disk's time that compaction may take, in percent. Default 20.
    pub compaction_percent: u8,
}

impl SpoolOptions {
    /// The defaults, for one shard.
    pub fn new(shard: u16) -> Self {
        Self {
            shard,
            segment_bytes: 64 << 20,
            commit_bytes_max: 1 << 20,
            bytes_max: u64::MAX,
            free_bytes_min: 64 << 20,
            spares_max: 16,
            compact_below_percent: 50,
            slack_segments: 4,
            compaction_percent: 20,
        }
    }

    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let refuse = |text: &str| Err(OpenError::Options(text.to_owned()));
        if self.shard >= crate::SHARDS_MAX {
            return refuse("the shard's number is too large");
        }
        if self.commit_bytes_max < 16 << 10 || !self.commit_bytes_max.is_multiple_of(4096) {
            return refuse("a commit takes a multiple of 4 KiB, at least 16 KiB");
        }
        if !self.segment_bytes.is_multiple_of(4096) || self.segment_bytes < 4 * self.commit_bytes_max as u64 {
            return refuse("a segment takes a multiple of 4 KiB and at least four commits");
        }
        if self.segment_bytes > 16 << 30 {
            return refuse("a segment takes at most 16 GiB");
        }
        if self.compact_below_percent > 90 || self.compaction_percent == 0 || self.compaction_percent > 100 {
            return refuse("compaction's percentages are out of range");
        }
        Ok(())
    }
}
