//! Reads the ordered record that the reactor keeps of its submissions and completions (`ringpost_reactor_trace`), and
//! checks the rule that a 250 after the final dot follows the commit that covers its message.
//!
//! The reactor writes a `submit` line before the kernel sees the operation and a `complete` line after the kernel
//! did it. So what stands above a submitted reply was done before the reply could leave.

use std::collections::{BTreeMap, HashMap, HashSet};

/// One line of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A file was opened for the reactor.
    Open {
        /// The number that later lines use.
        file: u64,
        /// Its path, as Rust prints strings.
        path: String,
    },
    /// An operation was handed over.
    Submit {
        /// `write`, `fdatasync`, `send`, …
        kind: String,
        /// The file or socket.
        file: u64,
        /// Operations that share a slot are linked.
        slot: u64,
        /// Bytes concerned.
        bytes: u64,
        /// Place in the file.
        offset: u64,
        /// The beginning of what is sent, escaped.
        text: Option<String>,
    },
    /// An operation was done.
    Complete {
        /// As submitted.
        kind: String,
        /// As submitted.
        file: u64,
        /// As submitted.
        slot: u64,
        /// Bytes done, or a negative error number.
        result: i64,
    },
}

/// The events of a trace, in order; a last line without its end is left out.
///
/// # Panics
/// On a line in another format: the trace is part of what is tested.
pub fn parse(trace: &str) -> Vec<Event> {
    let whole = trace.rfind('\n').map_or("", |end| &trace[..end]);
    whole
        .lines()
        .map(|line| parse_line(line).unwrap_or_else(|| panic!("not a line of a trace: {line:?}")))
        .collect()
}

fn parse_line(line: &str) -> Option<Event> {
    let (line, text) = match line.split_once(" text=\"") {
        Some((head, text)) => (head, Some(text.strip_suffix('"')?.to_owned())),
        None => (line, None),
    };
    let mut words = line.split(' ');
    let _sequence: u64 = words.next()?.parse().ok()?;
    let what = words.next()?;
    if what == "open" {
        let file = words.next()?.strip_prefix("file=")?.parse().ok()?;
        let path = line.split_once(" path=\"")?.1.rsplit_once('"')?.0.to_owned();
        return Some(Event::Open { file, path });
    }
    let kind = words.next()?.to_owned();
    let fields: HashMap<&str, &str> = words.filter_map(|word| word.split_once('=')).collect();
    let number = |name: &str| fields.get(name)?.parse::<i64>().ok();
    let unsigned = |name: &str| u64::try_from(number(name)?).ok();
    let (slot, file) = (unsigned("slot")?, unsigned("file")?);
    match what {
        "submit" => {
            let (bytes, offset) = (unsigned("bytes")?, unsigned("offset")?);
            Some(Event::Submit { kind, file, slot, bytes, offset, text })
        }
        "complete" => Some(Event::Complete { kind, file, slot, result: number("result")? }),
        _ => None,
    }
}

/// A place in the spool's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The segment's file name.
    pub file_name: String,
    /// The first byte.
    pub offset: u64,
    /// The length in bytes.
    pub bytes: u64,
}

/// What a trace proves to be on stable storage, at the point that has been read so far.
///
/// A write counts by its exact place. That a place holds *something* durable proves nothing: segments are filled with
/// durable zeros before they are used.
#[derive(Debug, Default)]
pub struct Durable {
    names: HashMap<u64, String>,
    // By (slot, file): writes in flight, and what the fdatasyncs in flight cover.
    writing: HashMap<(u64, u64), (u64, u64)>,
    syncing: HashMap<(u64, u64), Vec<(u64, u64)>>,
    // By file: (first byte, length, slot) of writes that are done but not synced.
    written: HashMap<u64, Vec<(u64, u64, u64)>>,
    durable: HashSet<(String, u64, u64)>,
    syncs: usize,
}

impl Durable {
    /// Takes the next event of the trace.
    pub fn take(&mut self, event: &Event) {
        match event {
            Event::Open { file, path } => {
                self.names.insert(*file, path.rsplit('/').next().unwrap_or("").to_owned());
            }
            Event::Submit { kind, file, slot, bytes, offset, .. } if kind == "write" => {
                self.writing.insert((*slot, *file), (*offset, *bytes));
            }
            Event::Complete { kind, file, slot, result } if kind == "write" => {
                if let Some((offset, bytes)) = self.writing.remove(&(*slot, *file))
                    && u64::try_from(*result) == Ok(bytes)
                {
                    self.written.entry(*file).or_default().push((offset, bytes, *slot));
                }
            }
            Event::Submit { kind, file, slot, .. } if kind == "fdatasync" => {
                // An fdatasync covers what was complete when it began.
                let written = self.written.get(file).into_iter().flatten();
                let covered = written.map(|&(offset, bytes, _)| (offset, bytes)).collect();
                self.syncing.insert((*slot, *file), covered);
            }
            Event::Complete { kind, file, slot, result } if kind == "fdatasync" => {
                let mut covered = self.syncing.remove(&(*slot, *file)).unwrap_or_default();
                let written = self.written.entry(*file).or_default();
                // And the write that it was linked to, which completed before it began.
                let linked = written.iter().filter(|(_, _, from)| from == slot);
                covered.extend(linked.map(|&(offset, bytes, _)| (offset, bytes)));
                if *result == 0 {
                    self.syncs += 1;
                    written.retain(|(offset, bytes, _)| !covered.contains(&(*offset, *bytes)));
                    let name = self.names.get(file).cloned().unwrap_or_default();
                    self.durable
                        .extend(covered.into_iter().map(|(offset, bytes)| (name.clone(), offset, bytes)));
                }
            }
            _ => {}
        }
    }

    /// Whether a write of exactly this place was done and synced.
    pub fn holds(&self, place: &Place) -> bool {
        self.durable.contains(&(place.file_name.clone(), place.offset, place.bytes))
    }

    /// How many fdatasyncs have succeeded.
    pub fn syncs(&self) -> usize {
        self.syncs
    }
}

/// What the spool's files say of the messages that were acknowledged.
pub trait Records {
    /// The number of the commit that holds the message's record.
    fn commit_of(&self, queue_id: &str) -> Option<u64>;
    /// Where each commit lies, by number.
    fn commits(&self) -> &BTreeMap<u64, Place>;
}

/// Checks every reply `250 … queued as QID` in `events`: before its submission the commit that holds that message was
/// written whole, and an fdatasync of its file, linked to that write or submitted after it, completed; and so it was
/// with every earlier commit. Gives the number of such replies, or the first breach.
///
/// # Errors
/// The queue id and what was missing.
pub fn check_replies_follow_commits(events: &[Event], records: &impl Records) -> Result<usize, String> {
    let mut durable = Durable::default();
    let mut commits = records.commits().iter().peekable();
    let mut replies = 0;
    for event in events {
        durable.take(event);
        let Event::Submit { kind, text: Some(text), .. } = event else { continue };
        if !kind.starts_with("send") {
            continue;
        }
        for id in queue_ids(text) {
            replies += 1;
            let number = records.commit_of(&id).ok_or_else(|| format!("{id}: no record in the spool"))?;
            while let Some((number, place)) = commits.next_if(|(earlier, _)| **earlier <= number) {
                if !durable.holds(place) {
                    return Err(format!(
                        "{id}: its 250 was submitted before commit {number} at {place:?} was durable"
                    ));
                }
            }
        }
    }
    Ok(replies)
}

/// The queue ids in replies to the final dot within a text that may be cut.
fn queue_ids(text: &str) -> Vec<String> {
    let pieces = text.split("queued as ").skip(1);
    // An id that the cut ends would be compared wrongly: only those with their CRLF count.
    pieces.filter_map(|rest| rest.split_once("\\r\\n").map(|(id, _)| id.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "0 open file=3 path=\"/s/segment-000001.log\" direct=true\n\
        1 submit write slot=4 file=3 offset=8192 bytes=4096\n\
        2 submit fdatasync slot=4 file=3 offset=0 bytes=0\n\
        3 complete write slot=4 file=3 result=4096\n\
        4 complete fdatasync slot=4 file=3 result=0\n\
        5 submit send slot=9 file=7 offset=0 bytes=36 text=\"250 2.0.0 Ok: queued as ABC\\r\\n\"\n";

    struct OneCommit(BTreeMap<u64, Place>);

    impl Records for OneCommit {
        fn commit_of(&self, _: &str) -> Option<u64> {
            Some(7)
        }

        fn commits(&self) -> &BTreeMap<u64, Place> {
            &self.0
        }
    }

    fn records() -> OneCommit {
        let place = Place { file_name: "segment-000001.log".into(), offset: 8192, bytes: 4096 };
        OneCommit([(7, place)].into())
    }

    #[test]
    fn a_reply_before_an_earlier_commit_is_a_breach() {
        let mut records = records();
        records.0.insert(6, Place { file_name: "segment-000001.log".into(), offset: 4096, bytes: 4096 });
        assert!(check_replies_follow_commits(&parse(GOOD), &records).is_err());
    }

    #[test]
    fn a_reply_after_its_commit_passes() {
        assert_eq!(check_replies_follow_commits(&parse(GOOD), &records()), Ok(1));
    }

    #[test]
    fn a_reply_before_the_sync_completes_is_a_breach() {
        let mut lines: Vec<&str> = GOOD.lines().collect();
        lines.swap(4, 5);
        let early = lines.join("\n") + "\n";
        assert!(check_replies_follow_commits(&parse(&early), &records()).is_err());
    }

    #[test]
    fn a_write_without_a_sync_is_a_breach() {
        let unsynced: String =
            GOOD.lines().filter(|line| !line.contains("fdatasync")).map(|line| format!("{line}\n")).collect();
        assert!(check_replies_follow_commits(&parse(&unsynced), &records()).is_err());
    }

    #[test]
    fn durable_zeros_are_not_the_commit() {
        let zeros = GOOD
            .replace("offset=8192 bytes=4096", "offset=0 bytes=1048576")
            .replace("result=4096", "result=1048576");
        assert!(check_replies_follow_commits(&parse(&zeros), &records()).is_err());
    }

    #[test]
    fn a_failed_sync_or_a_short_write_is_a_breach() {
        for (from, to) in [
            ("fdatasync slot=4 file=3 result=0", "fdatasync slot=4 file=3 result=-5"),
            ("result=4096", "result=100"),
        ] {
            assert!(check_replies_follow_commits(&parse(&GOOD.replace(from, to)), &records()).is_err());
        }
    }
}
