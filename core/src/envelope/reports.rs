//! What the sender is still to be told: the log of failures and deliveries of one message, which outlives attempts and
//! crashes until the notice about them is stored.

use super::codec::{Cursor, Damaged, put_number};
use super::note::{Reason, VERSION, put_indexes, put_reason, read_indexes, read_reason};
use super::reasons::{Reasons, not_kept};
use crate::dsn::Action;

/// Bytes of a number in a note at most.
const NUMBER_BYTES_MAX: usize = 10;

/// The codes of reports in outcome notes start here; below are the outcomes without a report.
const REPORT_CODE_FIRST: u8 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    action: Action,
    reason: u32,
    recipient: u32,
}

/// Recipients that are finished and not yet reported, with what became of each and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reports {
    entries: Vec<Entry>,
    reasons: Reasons,
    failures: u32,
}

impl Reports {
    /// Adds a recipient; the caller adds each once.
    ///
    /// # Panics
    /// For [`Action::Delayed`]: a delay finishes nobody, and is told from the reasons for which recipients wait.
    pub fn add(&mut self, recipient: u32, action: Action, reason: Reason) {
        assert!(action != Action::Delayed, "a delayed recipient is not finished");
        let reason = self.reasons.add(reason);
        self.push(Entry { action, reason, recipient });
    }

    fn push(&mut self, entry: Entry) {
        self.failures += u32::from(entry.action == Action::Failed);
        self.entries.push(entry);
    }

    /// True if there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many recipients failed.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// How many recipients were delivered to.
    pub fn confirmations(&self) -> u32 {
        self.entries.len() as u32 - self.failures
    }

    /// All of them, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Action, &Reason)> + Clone {
        self.entries.iter().filter_map(|entry| {
            self.reasons.get(entry.reason).map(|reason| (entry.recipient, entry.action, reason))
        })
    }

    /// Keeps those that `wanted` picks.
    pub(super) fn retain(&mut self, wanted: impl Fn(Action) -> bool) {
        let mut kept = Reports::default();
        for (recipient, action, reason) in self.iter().filter(|(_, action, _)| wanted(*action)) {
            kept.add(recipient, action, reason.clone());
        }
        *self = kept;
    }

    /// The outcome notes that make these reports durable, none longer than `bytes_max`.
    pub fn write(&self, bytes_max: usize, mut each: impl FnMut(&[u8])) {
        let mut groups = Vec::new();
        let mut count = 0u64;
        let mut emit = |count: &mut u64, groups: &mut Vec<u8>| {
            let mut note = vec![VERSION];
            put_number(&mut note, std::mem::take(count));
            note.append(groups);
            each(&note);
        };
        for members in self.groups().chunk_by(same_group) {
            let mut group = Vec::new();
            self.put_group(members, &mut group);
            if 1 + NUMBER_BYTES_MAX + groups.len() + group.len() > bytes_max && count > 0 {
                emit(&mut count, &mut groups);
            }
            if 1 + NUMBER_BYTES_MAX + group.len() > bytes_max {
                group.clear();
                put_members(members, &not_kept(class_of(members[0].action)), &mut group);
            }
            groups.append(&mut group);
            count += 1;
        }
        if count > 0 {
            emit(&mut count, &mut groups);
        }
    }

    /// Appends all reports to a retry note. When that would take more than `bytes_max`, reasons are left out: that a
    /// recipient failed matters more than why.
    pub(super) fn put(&self, bytes_max: usize, out: &mut Vec<u8>) {
        let start = out.len();
        let mut sorted = self.groups();
        let count = sorted.chunk_by(same_group).count();
        put_number(out, count as u64);
        sorted.chunk_by(same_group).for_each(|members| self.put_group(members, out));
        if out.len() - start <= bytes_max {
            return;
        }
        out.truncate(start);
        sorted.sort_unstable_by_key(|entry| (entry.action, entry.recipient));
        let same_action = |a: &Entry, b: &Entry| a.action == b.action;
        put_number(out, sorted.chunk_by(same_action).count() as u64);
        for members in sorted.chunk_by(same_action) {
            put_members(members, &not_kept(class_of(members[0].action)), out);
        }
    }

    /// Reads what [`Reports::put`] has written.
    pub(super) fn read(cursor: &mut Cursor<'_>, recipient_count: u32) -> Result<Reports, Damaged> {
        let mut reports = Reports::default();
        let groups = cursor.number_up_to(cursor.left() as u64)?;
        for _ in 0..groups {
            let code = cursor.byte()?;
            reports.read_group(code, cursor, recipient_count)?;
        }
        Ok(reports)
    }

    /// Reads the rest of a group whose code was read.
    pub(super) fn read_group(
        &mut self,
        code: u8,
        cursor: &mut Cursor<'_>,
        recipient_count: u32,
    ) -> Result<(), Damaged> {
        let action = code.checked_sub(REPORT_CODE_FIRST).and_then(action_from_code).ok_or(Damaged)?;
        let reason = self.reasons.add(read_reason(cursor)?);
        let mut too_many = false;
        read_indexes(cursor, recipient_count, |index| {
            // No recipient ends twice, so more than there are is damage, and must not cost memory.
            too_many |= self.entries.len() >= recipient_count as usize;
            if !too_many {
                self.push(Entry { action, reason, recipient: index });
            }
        })?;
        if too_many { Err(Damaged) } else { Ok(()) }
    }

    fn groups(&self) -> Vec<Entry> {
        let mut sorted = self.entries.clone();
        sorted.sort_unstable();
        sorted
    }

    fn put_group(&self, members: &[Entry], out: &mut Vec<u8>) {
        let reason = self.reasons.get(members[0].reason).expect("an entry's reason was added before it");
        put_members(members, reason, out);
    }
}

/// True for the code of a group that has a report.
pub(super) fn is_report_code(code: u8) -> bool {
    code >= REPORT_CODE_FIRST
}

fn same_group(a: &Entry, b: &Entry) -> bool {
    (a.action, a.reason) == (b.action, b.reason)
}

fn put_members(members: &[Entry], reason: &Reason, out: &mut Vec<u8>) {
    out.push(REPORT_CODE_FIRST + action_code(members[0].action));
    put_reason(out, reason);
    put_indexes(out, members.iter().map(|entry| entry.recipient));
}

fn class_of(action: Action) -> crate::dsn::Class {
    match action {
        Action::Failed | Action::Delayed => crate::dsn::Class::Permanent,
        Action::Delivered | Action::Relayed | Action::Expanded => crate::dsn::Class::Success,
    }
}

const fn action_code(action: Action) -> u8 {
    match action {
        Action::Failed => 0,
        Action::Delayed => 1,
        Action::Delivered => 2,
        Action::Relayed => 3,
        Action::Expanded => 4,
    }
}

const fn action_from_code(code: u8) -> Option<Action> {
    match code {
        0 => Some(Action::Failed),
        2 => Some(Action::Delivered),
        3 => Some(Action::Relayed),
        4 => Some(Action::Expanded),
        _ => None,
    }
}
