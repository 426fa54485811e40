//! What a queue's segment files hold, read after the fact: where each message's record lies and in which commit.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use ringpost_spool::inspect::{self, FrameView, Kind};

use crate::trace::{Place, Records};

/// The segment files of one shard, in the log's order.
pub fn segments(queue: &Path, shard: usize) -> Vec<PathBuf> {
    let directory = queue.join("spool").join(format!("shard-{shard:02}"));
    let entries = std::fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("cannot list {}: {error}", directory.display()));
    let paths = entries.map(|entry| entry.expect("a directory can be listed to its end").path());
    let mut segments: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "log")).collect();
    segments.sort();
    segments
}

/// The messages and commits in a shard's segment files.
#[derive(Debug, Default)]
pub struct Evidence {
    commit_of: HashMap<u64, u64>,
    commits: BTreeMap<u64, Place>,
}

impl Evidence {
    /// Reads the files of one shard of a relay that has ended.
    ///
    /// # Panics
    /// When a frame is damaged or lies outside its commit: nothing damages them in the tests that ask.
    pub fn read(queue: &Path, shard: usize) -> Evidence {
        let mut evidence = Evidence::default();
        for path in segments(queue, shard) {
            let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let bytes = std::fs::read(&path)
                .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
            let (mut commit, mut end) = (0, 0);
            for frame in inspect::frames(&bytes) {
                assert!(frame.whole, "{file_name} is damaged at {}", frame.offset);
                if frame.kind == Kind::Commit {
                    let bytes = commit_bytes(&frame);
                    (commit, end) = (frame.id, frame.offset + bytes);
                    let place = Place { file_name: file_name.clone(), offset: frame.offset, bytes };
                    evidence.commits.insert(commit, place);
                }
                let frame_end = frame.offset + frame.payload.len() as u64;
                assert!(frame_end <= end, "{file_name} has a frame outside its commit at {}", frame.offset);
                if frame.kind == Kind::Message {
                    evidence.commit_of.insert(frame.id, commit);
                }
            }
        }
        evidence
    }
}

impl Records for Evidence {
    fn commit_of(&self, queue_id: &str) -> Option<u64> {
        self.commit_of.get(&spool_number(queue_id)?).copied()
    }

    fn commits(&self) -> &BTreeMap<u64, Place> {
        &self.commits
    }
}

/// The bytes of a whole commit, which stand first in its Commit frame.
fn commit_bytes(frame: &FrameView<'_>) -> u64 {
    let head = frame.payload.first_chunk().expect("a whole Commit frame has its payload");
    u64::from(u32::from_le_bytes(*head))
}

/// The number that the spool knows a message by: the last part of its queue id, in base 51.
pub fn spool_number(queue_id: &str) -> Option<u64> {
    const DIGITS: &str = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxy";
    let (_, number) = queue_id.rsplit_once('z')?;
    number.chars().try_fold(0_u64, |sum, symbol| {
        let digit = DIGITS.find(symbol)? as u64;
        sum.checked_mul(51)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::spool_number;

    #[test]
    fn a_queue_id_ends_in_a_number_in_base_51() {
        assert_eq!(spool_number("4SVLCh0sf8z10"), Some(51));
        assert_eq!(spool_number("4SVLCh0sf8z0"), Some(0));
        assert_eq!(spool_number("4SVLCh0sf8zy"), Some(50));
        assert_eq!(spool_number("no number"), None);
    }
}
