//! Counters for metrics and the log.

use std::fmt;

/// Whether the spool takes mail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpoolState {
    /// It does.
    #[default]
    Healthy,
    /// No room for mail; records about queued messages still fit. New mail gets `452`.
    Full,
    /// The disk failed and no fresh segment could be opened yet. New mail gets `451`; start no deliveries.
    Trouble,
}

/// What the spool has done and holds; counts since it was opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct SpoolFigures {
    /// Whether it takes mail.
    pub state: SpoolState,
    /// Commits that reached the disk.
    pub commits: u64,
    /// Records in them.
    pub records: u64,
    /// Messages stored and acknowledged.
    pub messages_stored: u64,
    /// Bytes written in commits, padding included.
    pub commit_bytes: u64,
    /// Nanoseconds from the submission of a commit to its completion, summed over commits.
    pub commit_ns_sum: u64,
    /// The slowest of them.
    pub commit_ns_max: u64,
    /// Commits by latency: bucket i counts those that took less than 2^(i/4) microseconds and not less than the
    /// bucket before it allows; the last one takes all that is slower (over a minute).
    pub commit_latency_buckets: LatencyBuckets,
    /// Commits that failed.
    pub commits_failed: u64,
    /// Messages and chunks that were answered with [`crate::StoreError::Failed`].
    pub stores_failed: u64,
    /// Messages queued.
    pub queued: u64,
    /// Messages and areas in quarantine.
    pub corrupt: u64,
    /// Segments that are full (or ended by a fault) and hold something live.
    pub segments_sealed: u64,
    /// Recycled segments ready for use.
    pub segments_spare: u64,
    /// Segments retired since the spool was opened.
    pub segments_recycled: u64,
    /// Bytes of records that are still needed.
    pub live_bytes: u64,
    /// Bytes of all segment files.
    pub disk_bytes: u64,
    /// Bytes that compaction copied.
    pub compacted_bytes: u64,
    /// Bytes of memory that the index takes.
    pub index_bytes: u64,
    /// Records that wait for a segment because the disk failed.
    pub late_records: u64,
}

/// Counts by latency, four buckets to each doubling.
#[derive(Clone, Copy, Debug)]
pub struct LatencyBuckets([u64; LATENCY_BUCKETS]);

const LATENCY_BUCKETS: usize = 108;

impl Default for LatencyBuckets {
    fn default() -> Self {
        Self([0; LATENCY_BUCKETS])
    }
}

impl LatencyBuckets {
    /// Counts one commit that took `ns` nanoseconds.
    pub(crate) fn count(&mut self, ns: u64) {
        let quarters = (ns.max(1) as f64 / 1000.0).log2() * 4.0;
        let bucket = (quarters.floor() + 1.0).clamp(0.0, (LATENCY_BUCKETS - 1) as f64);
        self.0[bucket as usize] += 1;
    }

    /// The counts, bucket by bucket.
    pub fn counts(&self) -> &[u64] {
        &self.0
    }
}

impl SpoolFigures {
    /// Mean number of records in a commit; 0 before the first.
    pub fn records_per_commit(&self) -> f64 {
        if self.commits == 0 { 0.0 } else { self.records as f64 / self.commits as f64 }
    }
}

/// What happened inside the spool that an operator should read in the log.
#[derive(Clone, Debug)]
pub enum SpoolEvent {
    /// A record failed its checksum.
    Corrupt(crate::Corrupt),
    /// A write or a sync failed; the segment is finished and a fresh one is opened.
    DiskFailed {
        /// The segment's number.
        segment: u32,
        /// What the system said.
        error: String,
    },
    /// The state changed.
    State(SpoolState),
    /// At opening: what recovery found.
    Recovered {
        /// Messages queued.
        queued: u64,
        /// Segments read.
        segments: u32,
        /// Torn commits at the end of the log that were ignored (none of them was acknowledged).
        torn_commits: u32,
    },
}

impl fmt::Display for SpoolEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt(corrupt) => {
                let message = corrupt.id.map_or("something".to_owned(), |id| format!("message {id}"));
                let crate::Corrupt { segment, offset, reason, .. } = corrupt;
                write!(f, "{message} is damaged in segment-{segment:06}.log at {offset}: {reason}; set aside")
            }
            Self::DiskFailed { segment, error } => {
                write!(
                    f,
                    "the disk failed under segment-{segment:06}.log: {error}; a fresh segment takes over"
                )
            }
            Self::State(SpoolState::Healthy) => f.write_str("takes mail again"),
            Self::State(SpoolState::Full) => f.write_str("full: mail is refused until there is room"),
            Self::State(SpoolState::Trouble) => f.write_str("no segment can be written: mail is refused"),
            Self::Recovered { queued, segments, torn_commits } => write!(
                f,
                "recovered {queued} messages from {segments} segments; {torn_commits} unfinished commits ignored"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_falls_below_its_buckets_bound() {
        let mut buckets = LatencyBuckets::default();
        for (ns, bucket) in [(0, 0), (999, 0), (1_000, 1), (1_190_000, 41), (600_000, 37), (u64::MAX, 107)] {
            buckets.count(ns);
            assert!(buckets.counts()[bucket] > 0, "{ns} ns: {:?}", buckets.counts());
        }
    }
}
