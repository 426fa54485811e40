//! What has become of a message's recipients so far.

use smallvec::SmallVec;

use super::codec::{Cursor, Damaged, put_number};
use super::note::{OutcomeKind, Reason, put_indexes, put_reason, read_indexes, read_outcome, read_reason};
use super::reasons::Reasons;
use super::reports::Reports;
use crate::dsn::Action;

/// The version of retry notes.
const RETRY_VERSION: u8 = 3;

/// Flag of a retry note: the sender was warned of the delay.
const DELAY_TOLD: u8 = 1;

/// Bytes of a number in a note at most.
const NUMBER_BYTES_MAX: usize = 10;

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
    reasons: Reasons,
    /// Index into `reasons` by recipient; empty while there is no reason at all.
    reason_of: Vec<u32>,
    reports: Reports,
    delay_told: bool,
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
        if cursor.byte()? != RETRY_VERSION {
            return Err(Damaged);
        }
        let flags = cursor.byte()?;
        if flags & !DELAY_TOLD != 0 {
            return Err(Damaged);
        }
        self.delay_told = flags & DELAY_TOLD != 0;
        self.attempts = cursor.number_up_to(u64::from(u32::MAX))? as u32;
        self.due_at_s = cursor.number()?;
        let count = self.recipient_count;
        read_indexes(&mut cursor, count, |index| self.finish(index))?;
        self.reports = Reports::read(&mut cursor, count)?;
        let groups = cursor.number_up_to(cursor.left() as u64)?;
        for _ in 0..groups {
            let reason = self.reasons.add(read_reason(&mut cursor)?);
            read_indexes(&mut cursor, count, |index| self.point(index, reason))?;
        }
        if cursor.left() == 0 { Ok(()) } else { Err(Damaged) }
    }

    /// Applies an outcome note that was written for this message.
    ///
    /// # Errors
    /// [`Damaged`] as for [`Progress::replay`].
    pub fn apply_outcome(&mut self, note: &[u8]) -> Result<(), Damaged> {
        let reports =
            read_outcome(note, self.recipient_count, |_kind: OutcomeKind, index| self.finish(index))?;
        self.report(&reports);
        Ok(())
    }

    /// Marks the recipients of these reports as done, and keeps the reports until they are told. A recipient that was
    /// done before keeps what was said of it then.
    pub fn report(&mut self, reports: &Reports) {
        if reports.is_empty() {
            return;
        }
        for (index, action, reason) in reports.iter() {
            if !self.is_done(index) {
                self.finish(index);
                self.reports.add(index, action, reason.clone());
            }
        }
    }

    /// What the sender is still to be told.
    pub fn reports(&self) -> &Reports {
        &self.reports
    }

    /// The notice about the failures is stored, or none is due.
    pub fn failures_told(&mut self) {
        self.reports.retain(|action| action != Action::Failed);
    }

    /// The notice about the deliveries is stored, or none is due.
    pub fn confirmations_told(&mut self) {
        self.reports.retain(|action| action == Action::Failed);
    }

    /// Whether the sender was warned of the delay.
    pub fn delay_told(&self) -> bool {
        self.delay_told
    }

    /// The warning of the delay is stored: there will be no second one.
    pub fn tell_delay(&mut self) {
        self.delay_told = true;
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

    /// Remembers why these recipients are put off; a reason that is already known is not kept twice, and none
    /// beyond [`REASON_BYTES_MAX`](super::REASON_BYTES_MAX). Indexes of recipients that do not exist are passed over.
    pub fn put_off(&mut self, reason: Reason, indexes: impl IntoIterator<Item = u32>) {
        let group = self.reasons.add(reason);
        for index in indexes {
            self.point(index, group);
        }
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
        self.reasons.get(group)
    }

    /// Appends the cumulative retry note: it stands for everything before it. Reasons that no remaining
    /// recipient has any more are forgotten, and so are those that would make `out` longer than
    /// `bytes_max`: a server's replies can make reasons as long and as many as it likes, and which
    /// recipients are done, and what the sender is still to be told of them, matters more than why the others wait.
    pub fn write_retry(&mut self, due_at_s: u64, bytes_max: usize, out: &mut Vec<u8>) {
        self.due_at_s = due_at_s;
        out.push(RETRY_VERSION);
        out.push(if self.delay_told { DELAY_TOLD } else { 0 });
        put_number(out, u64::from(self.attempts));
        put_number(out, due_at_s);
        put_indexes(out, (0..self.recipient_count).filter(|&index| self.is_done(index)));
        self.reports.put(bytes_max.saturating_sub(out.len() + NUMBER_BYTES_MAX), out);
        let mut members: Vec<Vec<u32>> = vec![Vec::new(); self.reasons.len()];
        if !self.reason_of.is_empty() {
            for index in self.remaining() {
                if let Some(group) = members.get_mut(self.reason_of[index as usize] as usize) {
                    group.push(index);
                }
            }
        }
        let reasons = std::mem::take(&mut self.reasons).into_list();
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
            let group = self.reasons.add(reason);
            for index in members {
                self.point(index, group);
            }
        }
        put_number(out, group_count);
        out.extend_from_slice(&groups);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{NOTE_BYTES_MAX, REASON_BYTES_MAX, RECIPIENTS_MAX, write_outcome};
    use super::*;
    use crate::dsn::{Class, Status};

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
            assert!(progress.reasons.bytes() <= REASON_BYTES_MAX, "round {round}");
        }
        assert_eq!(progress.reason(0), progress.reason(50_000));
        assert!(progress.reason(0).is_some_and(|reason| reason.text.starts_with("0 x")));
        assert!(
            progress.reason(99_999).is_some_and(|reason| reason.text.starts_with("the reason is in the"))
        );
        assert_eq!(progress.remaining_count(), 100_000);
    }

    #[test]
    fn a_note_about_the_most_recipients_keeps_to_its_limit_whatever_became_of_which() {
        let mut progress = Progress::new(RECIPIENTS_MAX);
        let actions = [Action::Failed, Action::Delivered, Action::Relayed, Action::Expanded];
        let mut reports = Reports::default();
        for (nth, index) in (0..RECIPIENTS_MAX).step_by(2).enumerate() {
            let class = if nth % 4 == 0 { Class::Permanent } else { Class::Success };
            let why = Reason { status: Status::new(class, 1, 1), ..reason(&format!("{}", nth % 40_000)) };
            reports.add(index, actions[nth % 4], why);
        }
        progress.report(&reports);
        progress.put_off(reason("later"), (1..RECIPIENTS_MAX).step_by(2));
        let mut note = Vec::new();
        progress.write_retry(7, NOTE_BYTES_MAX, &mut note);
        assert!(note.len() <= NOTE_BYTES_MAX, "{} bytes", note.len());
        let replayed = Progress::replay(RECIPIENTS_MAX, Some(&note), []).expect("a note of ours");
        assert_eq!(replayed.remaining_count(), RECIPIENTS_MAX / 2);
        assert_eq!(replayed.reports().failures(), RECIPIENTS_MAX / 8);
        reports.write(NOTE_BYTES_MAX, |note| assert!(note.len() <= NOTE_BYTES_MAX));
    }

    #[test]
    fn a_note_of_another_message_is_damage() {
        let mut note = Vec::new();
        write_outcome(&mut note, &[(OutcomeKind::Sent, &[7])]);
        assert_eq!(Progress::replay(7, None, [note.as_slice()]), Err(Damaged));
        assert!(Progress::replay(8, None, [note.as_slice()]).is_ok());
    }

    fn failed(text: &str) -> Reason {
        Reason { status: Status::permanent(1, 1), ..reason(text) }
    }

    #[test]
    fn what_the_sender_is_to_be_told_outlives_attempts_and_crashes() {
        let mut first = Reports::default();
        first.add(3, Action::Failed, failed("unknown"));
        first.add(1, Action::Relayed, Reason { status: Status::success(0, 0), ..reason("250 Ok") });
        let mut outcomes = Vec::new();
        first.write(usize::MAX, |note| outcomes.push(note.to_vec()));
        let notes = outcomes.iter().map(Vec::as_slice);
        let mut progress = Progress::replay(5, None, notes).expect("a note of ours");
        assert_eq!(progress.remaining().collect::<Vec<_>>(), [0, 2, 4]);

        progress.put_off(reason("later"), [0, 2, 4]);
        progress.tell_delay();
        let mut retry = Vec::new();
        progress.write_retry(9, usize::MAX, &mut retry);
        let mut second = Reports::default();
        second.add(0, Action::Failed, failed("mailbox gone"));
        // A recipient has one end: what is said later of one that failed does not count.
        second.add(3, Action::Failed, failed("said twice"));
        let mut outcomes = Vec::new();
        second.write(usize::MAX, |note| outcomes.push(note.to_vec()));
        let notes = outcomes.iter().map(Vec::as_slice);
        let mut progress = Progress::replay(5, Some(&retry), notes).expect("notes of ours");
        assert!(progress.delay_told());
        let told = |progress: &Progress| -> Vec<(u32, Action, String)> {
            let all = progress.reports().iter();
            all.map(|(index, action, reason)| (index, action, reason.text.clone())).collect()
        };
        let expected = [
            (3, Action::Failed, "unknown"),
            (1, Action::Relayed, "250 Ok"),
            (0, Action::Failed, "mailbox gone"),
        ];
        assert_eq!(told(&progress), expected.map(|(index, action, text)| (index, action, text.to_owned())));
        assert_eq!((progress.reports().failures(), progress.reports().confirmations()), (2, 1));

        progress.confirmations_told();
        progress.failures_told();
        let mut retry = Vec::new();
        progress.write_retry(9, usize::MAX, &mut retry);
        let progress = Progress::replay(5, Some(&retry), []).expect("a note of ours");
        assert!(progress.reports().is_empty());
        assert_eq!(progress.remaining().collect::<Vec<_>>(), [2, 4]);
    }

    #[test]
    fn failures_are_kept_when_their_reasons_are_too_many() {
        let mut reports = Reports::default();
        for index in 0..5000 {
            reports.add(index, Action::Failed, failed(&format!("{index} {}", "x".repeat(500))));
        }
        let mut progress = Progress::new(5000);
        let mut notes = Vec::new();
        reports.write(16 << 10, |note| notes.push(note.to_vec()));
        assert!(notes.iter().all(|note| note.len() <= 16 << 10));
        for note in &notes {
            progress.apply_outcome(note).expect("a note of ours");
        }
        for bytes_max in [512 << 10, 16 << 10] {
            let mut retry = Vec::new();
            progress.write_retry(1, bytes_max, &mut retry);
            assert!(retry.len() <= bytes_max, "{} bytes", retry.len());
            let replayed = Progress::replay(5000, Some(&retry), []).expect("a note of ours");
            assert_eq!(replayed.reports().failures(), 5000);
            assert_eq!(replayed.remaining_count(), 0);
        }
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
        assert!(replayed.reason(0).is_some_and(|reason| reason.text.starts_with("0 x")));
        assert!(replayed.reason(100).is_none(), "it did not fit into the note");
        assert!(
            replayed.reason(999).is_some_and(|reason| !reason.text.starts_with("999")),
            "nor into memory"
        );
    }
}
