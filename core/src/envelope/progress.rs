//! What has become of a message's recipients so far.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use smallvec::SmallVec;

use super::codec::{Cursor, Damaged, put_number};
use super::note::{
    OutcomeKind, Reason, VERSION, put_indexes, put_reason, read_indexes, read_outcome, read_reason,
};

/// Bytes of a number in a note at most.
const NUMBER_BYTES_MAX: usize = 10;

/// Bytes of reasons that one message keeps in memory. A retry note keeps far less; what has no reason any more is still
/// tried, only the listing and a notice on expiry say less about it.
const REASONS_BYTES_MAX: usize = 1 << 20;

/// No reason is known for this recipient.
const NO_REASON: u32 = u32::MAX;

/// Which recipients remain, why, and how often they were tried. Rebuilt from the spool's notes, kept up
/// to date by the shard, and written back as the next retry note.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    recipient_count: u32,
    remaining_count: u32,
    attempts: u32,
    due_at_s: u64,
    /// One bit a recipient; one word needs no allocation.
    done: SmallVec<[u64; 1]>,
    reasons: Vec<Reason>,
    /// Index into `reasons` by hash: with thousands of reasons a look at each would take too long. Two reasons of one
    /// hash cost a repetition, nothing else.
    reason_by_hash: HashMap<u64, u32>,
    reasons_bytes: usize,
    /// Index into `reasons` by recipient; empty while there is no reason at all.
    reason_of: Vec<u32>,
}

impl Progress {
    /// Nothing has happened yet to this many recipients.
    pub fn new(recipient_count: u32) -> Progress {
        Progress {
            recipient_count,
            remaining_count: recipient_count,
            done: smallvec::smallvec![0; (recipient_count as usize).div_ceil(64).max(1)],
            ..Progress::default()
        }
    }

    /// Rebuilds the state from what the spool kept: the last retry note, if any, and the outcome notes
    /// after it.
    ///
    /// # Errors
    /// [`Damaged`] if a note is not one of ours or names a recipient that does not exist.
    pub fn replay<'a>(
        recipient_count: u32,
        retry: Option<&[u8]>,
        outcomes: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Progress, Damaged> {
        let mut progress = Progress::new(recipient_count);
        if let Some(note) = retry {
            progress.read_retry(note)?;
        }
        for note in outcomes {
            progress.apply_outcome(note)?;
        }
        Ok(progress)
    }

    fn read_retry(&mut self, note: &[u8]) -> Result<(), Damaged> {
        let mut cursor = Cursor::new(note, 0);
        if cursor.byte()? != VERSION {
            return Err(Damaged);
        }
        self.attempts = cursor.number_up_to(u64::from(u32::MAX))? as u32;
        self.due_at_s = cursor.number()?;
        let count = self.recipient_count;
        read_indexes(&mut cursor, count, |index| self.finish(index))?;
        let groups = cursor.number_up_to(cursor.left() as u64)?;
        for group in 0..groups as u32 {
            let reason = read_reason(&mut cursor)?;
            self.learn(reason);
            read_indexes(&mut cursor, count, |index| self.point(index, group))?;
        }
        if cursor.left() == 0 { Ok(()) } else { Err(Damaged) }
    }

    /// Applies an outcome note that was written for this message.
    ///
    /// # Errors
    /// [`Damaged`] as for [`Progress::replay`].
    pub fn apply_outcome(&mut self, note: &[u8]) -> Result<(), Damaged> {
        read_outcome(note, self.recipient_count, |_kind: OutcomeKind, index| self.finish(index))
    }

    /// Marks a recipient as done. Doing it twice, or to one that does not exist, changes nothing.
    pub fn finish(&mut self, index: u32) {
        if index >= self.recipient_count {
            return;
        }
        let word = &mut self.done[index as usize / 64];
        let bit = 1u64 << (index % 64);
        self.remaining_count -= u32::from(*word & bit == 0);
        *word |= bit;
    }

    /// Remembers why these recipients are put off; a reason that is already known is not kept twice, and none is kept
    /// beyond a mebibyte of them. Indexes of recipients that do not exist are passed over.
    pub fn put_off(&mut self, reason: Reason, indexes: impl IntoIterator<Item = u32>) {
        let known = match self.reasons.last() {
            Some(last) if *last == reason => Some(self.reasons.len() as u32 - 1),
            Some(_) => {
                let group = self.reason_by_hash.get(&hash(&reason)).copied();
                group.filter(|&group| self.reasons[group as usize] == reason)
            }
            None => None,
        };
        let group = match known {
            Some(group) => group,
            None if self.reasons_bytes >= REASONS_BYTES_MAX => NO_REASON,
            None => self.learn(reason),
        };
        for index in indexes {
            self.point(index, group);
        }
    }

    /// Adds a reason and answers its place.
    fn learn(&mut self, reason: Reason) -> u32 {
        let group = self.reasons.len() as u32;
        self.reasons_bytes +=
            size_of::<Reason>() + reason.text.len() + reason.reply.len() + reason.remote_mta.len();
        self.reason_by_hash.insert(hash(&reason), group);
        self.reasons.push(reason);
        group
    }

    fn point(&mut self, index: u32, group: u32) {
        if index >= self.recipient_count {
            return;
        }
        if self.reason_of.is_empty() {
            self.reason_of = vec![NO_REASON; self.recipient_count as usize];
        }
        self.reason_of[index as usize] = group;
    }

    /// Counts one more attempt.
    pub fn attempted(&mut self) {
        self.attempts = self.attempts.saturating_add(1);
    }

    /// How many attempts have ended with something left to do.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// When the last retry note wanted the next attempt, seconds since 1970; 0 if there was none.
    pub fn due_at_s(&self) -> u64 {
        self.due_at_s
    }

    /// How many recipients remain.
    pub fn remaining_count(&self) -> u32 {
        self.remaining_count
    }

    /// True if the recipient is done (or does not exist).
    pub fn is_done(&self, index: u32) -> bool {
        index >= self.recipient_count || self.done[index as usize / 64] & 1 << (index % 64) != 0
    }

    /// The indexes that remain, rising.
    pub fn remaining(&self) -> impl Iterator<Item = u32> + Clone + '_ {
        (0..self.recipient_count).filter(|&index| !self.is_done(index))
    }

    /// The latest reason for a recipient, if one is known.
    pub fn reason(&self, index: u32) -> Option<&Reason> {
        let group = *self.reason_of.get(index as usize)?;
        self.reasons.get(group as usize)
    }

    /// Appends the cumulative retry note: it stands for everything before it. Reasons that no remaining
    /// recipient has any more are forgotten, and so are those that would make `out` longer than
    /// `bytes_max`: a server's replies can make reasons as long and as many as it likes, and which
    /// recipients are done matters more than why the others wait.
    pub fn write_retry(&mut self, due_at_s: u64, bytes_max: usize, out: &mut Vec<u8>) {
        self.due_at_s = due_at_s;
        out.push(VERSION);
        put_number(out, u64::from(self.attempts));
        put_number(out, due_at_s);
        put_indexes(out, (0..self.recipient_count).filter(|&index| self.is_done(index)));
        let mut members: Vec<Vec<u32>> = vec![Vec::new(); self.reasons.len()];
        if !self.reason_of.is_empty() {
            for index in self.remaining() {
                if let Some(group) = members.get_mut(self.reason_of[index as usize] as usize) {
                    group.push(index);
                }
            }
        }
        let reasons = std::mem::take(&mut self.reasons);
        self.reason_by_hash.clear();
        self.reasons_bytes = 0;
        self.reason_of.clear();
        let mut groups = Vec::new();
        let mut group_count = 0u64;
        for (reason, members) in reasons.into_iter().zip(members).filter(|(_, members)| !members.is_empty()) {
            let before = groups.len();
            put_reason(&mut groups, &reason);
            put_indexes(&mut groups, members.iter().copied());
            if out.len() + NUMBER_BYTES_MAX + groups.len() > bytes_max {
                groups.truncate(before);
                continue;
            }
            group_count += 1;
            let group = self.learn(reason);
            for index in members {
                self.point(index, group);
            }
        }
        put_number(out, group_count);
        out.extend_from_slice(&groups);
    }
}

fn hash(reason: &Reason) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&reason.text, &reason.reply, &reason.remote_mta).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::write_outcome;
    use super::*;
    use crate::dsn::Status;

    fn reason(text: &str) -> Reason {
        Reason {
            status: Status::persistent(4, 2),
            text: text.to_owned(),
            reply: String::new(),
            remote_mta: String::from("mx.example.com"),
        }
    }

    #[test]
    fn outcomes_after_a_retry_note_are_added_to_it() {
        let mut progress = Progress::new(100);
        for index in [0, 1, 2, 50] {
            progress.finish(index);
        }
        progress.put_off(reason("greylisted"), 3..50);
        progress.put_off(reason("mailbox full"), 51..100);
        progress.put_off(reason("greylisted"), [99]);
        progress.attempted();
        let mut note = Vec::new();
        progress.write_retry(1_700_000_300, usize::MAX, &mut note);
        let mut outcome = Vec::new();
        write_outcome(&mut outcome, &[(OutcomeKind::Sent, &[3, 4, 5, 9]), (OutcomeKind::Bounced, &[99])]);

        let replayed = Progress::replay(100, Some(&note), [outcome.as_slice()]).expect("whole");
        assert_eq!(replayed.remaining_count(), 91);
        assert_eq!(replayed.remaining().take(3).collect::<Vec<_>>(), [6, 7, 8]);
        assert_eq!(replayed.attempts(), 1);
        assert_eq!(replayed.due_at_s(), 1_700_000_300);
        assert_eq!(replayed.reason(6).map(|reason| reason.text.as_str()), Some("greylisted"));
        assert_eq!(replayed.reason(60).map(|reason| reason.text.as_str()), Some("mailbox full"));
        assert_eq!(replayed.reason(0), None);
    }

    #[test]
    fn a_shared_reason_is_stored_once() {
        let mut one = Progress::new(1_000);
        one.put_off(reason("connect to mx.example.com[192.0.2.1]:25: Connection refused"), 0..1_000);
        let mut note = Vec::new();
        one.write_retry(0, usize::MAX, &mut note);
        assert!(note.len() < 120, "{} bytes", note.len());
    }

    #[test]
    fn reasons_in_memory_are_bounded_and_each_is_kept_once() {
        let mut progress = Progress::new(100_000);
        for round in 0..2 {
            for index in 0..100_000u32 {
                progress.put_off(reason(&format!("{} {}", index % 50_000, "x".repeat(100))), [index]);
            }
            assert!(progress.reasons_bytes < REASONS_BYTES_MAX + 1000, "round {round}");
        }
        assert_eq!(progress.reason(0), progress.reason(50_000));
        assert!(progress.reason(0).is_some() && progress.reason(99_999).is_none());
        assert_eq!(progress.remaining_count(), 100_000);
    }

    #[test]
    fn a_note_of_another_message_is_damage() {
        let mut note = Vec::new();
        write_outcome(&mut note, &[(OutcomeKind::Sent, &[7])]);
        assert_eq!(Progress::replay(7, None, [note.as_slice()]), Err(Damaged));
        assert!(Progress::replay(8, None, [note.as_slice()]).is_ok());
    }

    proptest! {
        #[test]
        fn arbitrary_notes_never_panic(
            retry in proptest::collection::vec(any::<u8>(), 0..100),
            outcome in proptest::collection::vec(any::<u8>(), 0..100),
            count in 0u32..200,
        ) {
            let _ = Progress::replay(count, Some(&retry), [outcome.as_slice()]);
            let _ = Progress::replay(count, None, [outcome.as_slice()]);
        }

        #[test]
        fn a_retry_note_says_what_was_known(done in proptest::collection::btree_set(0u32..300, 0..300)) {
            let mut progress = Progress::new(300);
            for &index in &done {
                progress.finish(index);
            }
            progress.put_off(reason("later"), (0..300).filter(|index| !done.contains(index)));
            let mut note = Vec::new();
            progress.write_retry(5, usize::MAX, &mut note);
            let replayed = Progress::replay(300, Some(&note), []).expect("whole");
            for index in 0..300 {
                prop_assert_eq!(replayed.is_done(index), done.contains(&index));
                prop_assert_eq!(replayed.reason(index), progress.reason(index));
            }
        }
    }

    #[test]
    fn a_retry_note_keeps_to_its_limit_and_forgets_reasons_first() {
        let mut progress = Progress::new(1000);
        progress.finish(7);
        for index in 0..1000 {
            let text = format!("{index} {}", "x".repeat(1000));
            let (reply, remote_mta) = (String::new(), String::new());
            let reason = Reason { status: Status::persistent(0, 0), text, reply, remote_mta };
            progress.put_off(reason, [index]);
        }
        let mut note = Vec::new();
        progress.write_retry(5, 64 << 10, &mut note);
        assert!(note.len() <= 64 << 10 && note.len() > 60 << 10, "{}", note.len());
        let replayed = Progress::replay(1000, Some(&note), []).expect("a note of ours");
        assert_eq!(replayed.remaining_count(), 999);
        assert!(replayed.reason(0).is_some() && replayed.reason(999).is_none());
    }
}
