//! The end of an attempt: what senders are told, and what is recorded when they are.
//!
//! Invariant: a notice is committed before the record that forgets why it was due. Failures and deliveries that are to
//! be told are in outcome records from the moment at which they are known, so a crash anywhere in here repeats a
//! notice at the worst.

use std::rc::Rc;

use ringpost_core::dsn::{Action, Status};
use ringpost_core::envelope::{OutcomeKind, Reason, Reports, write_outcome};
use ringpost_core::qmgr::MessageId as QueuedId;

use super::{DeliveryEnd, make_due, now_ms, operator, pump};
use crate::message::{ActiveMessage, outcome_note, retry_note};
use crate::shard::Shard;
use crate::{bounce, defer, flush, notice, trace};

/// Outcome notes of one message after which a cumulative note takes their place: whoever loads the message reads them one
/// by one, and a message for a hundred thousand may have as many deliveries.
const OUTCOME_NOTES_MAX: u32 = 256;

/// How the scheduler ended an attempt.
#[derive(Clone, Copy)]
pub(super) enum AttemptEnd {
    /// No recipient remains to be tried.
    Done,
    /// Recipients remain.
    Retry {
        /// When the next attempt is due.
        due_at_ms: u64,
    },
    /// Recipients remain, and the message is too old.
    Expired,
    /// Recipients remain, and an operator has put the message on hold.
    Held,
}

/// Brings the message's progress up to date. Outcome records are written only while something of the message remains,
/// be it a notice: otherwise its Remove record says it all.
pub(super) fn record(shard: &Rc<Shard>, message: &ActiveMessage, end: &DeliveryEnd) {
    let mut progress = message.progress.borrow_mut();
    for &index in &end.sent {
        progress.finish(index);
    }
    for (index, reason) in &end.deferred {
        progress.put_off(reason.clone(), [*index]);
    }
    progress.report(&end.reports);
    let deferred = end.deferred.iter().map(|(index, _)| *index);
    let reported = end.reports.iter().map(|(index, ..)| index);
    message.let_go(end.sent.iter().copied().chain(deferred).chain(reported));
    if progress.remaining_count() == 0 && progress.reports().is_empty() {
        return;
    }
    drop(progress);
    message.outcome_notes.set(message.outcome_notes.get().saturating_add(1));
    if message.outcome_notes.get() > OUTCOME_NOTES_MAX {
        return write_progress(shard, message, now_ms(shard));
    }
    if !end.sent.is_empty() {
        let mut sent = end.sent.clone();
        sent.sort_unstable();
        let note = outcome_note(|out| write_outcome(out, &[(OutcomeKind::Sent, &sent)]));
        shard.spool.outcome(message.id, &note);
    }
    record_reports(shard, message, &end.reports);
}

fn record_reports(shard: &Rc<Shard>, message: &ActiveMessage, reports: &Reports) {
    // The mark in front of a note takes one byte.
    reports.write(shard.spool.note_bytes_max() - 1, |note| {
        shard.spool.outcome(message.id, &outcome_note(|out| out.extend_from_slice(note)));
    });
}

/// Takes the end of an attempt from the scheduler.
pub(super) fn end_attempt(shard: &Rc<Shard>, id: QueuedId, end: AttemptEnd) {
    let message = shard.qmgr.messages.borrow_mut().remove(&id.0);
    if !matches!(end, AttemptEnd::Held) {
        operator::forget_wish(shard, id);
    }
    let Some(message) = message else { return never_looked_at(shard, id, end) };
    if message.envelope.is_probe() {
        return end_probe(shard, id, message, end);
    }
    if let AttemptEnd::Expired = end {
        expire(shard, &message);
    }
    let due = NoticesDue::of(shard, &message, end);
    if due.any() {
        shard.qmgr.work_begins();
        shard.qmgr.notices_pending.borrow_mut().insert(id.0);
        shard.handle.spawn(tell_and_settle(shard.clone(), message, end, due));
    } else {
        settle(shard, &message, end);
    }
}

/// A probe is over when it has been tried, whatever came of it.
fn end_probe(shard: &Rc<Shard>, id: QueuedId, message: Rc<ActiveMessage>, end: AttemptEnd) {
    match end {
        AttemptEnd::Done | AttemptEnd::Expired => settle(shard, &message, AttemptEnd::Done),
        // What deferred it has been told: it ends now, which the scheduler has to hear.
        AttemptEnd::Retry { .. } => {
            shard.qmgr.messages.borrow_mut().insert(id.0, message);
            shard.qmgr.scheduler.borrow_mut().delete(id, now_ms(shard));
        }
        AttemptEnd::Held => settle(shard, &message, end),
    }
}

/// A message that could not be read, or was not to be read yet, has had no attempt: it stays as the spool has it.
fn never_looked_at(shard: &Rc<Shard>, id: QueuedId, end: AttemptEnd) {
    if let AttemptEnd::Done | AttemptEnd::Expired = end {
        let now_ms = now_ms(shard);
        let due_at_ms = now_ms + shard.settings.qmgr.minimal_backoff_ms;
        shard.qmgr.scheduler.borrow_mut().recovered(id, due_at_ms, now_ms);
    }
}

/// Every recipient that remains becomes a failed one, for the reason that was last known.
fn expire(shard: &Rc<Shard>, message: &ActiveMessage) {
    shard.log.write(|lines, out, now_s| {
        let sender = message.envelope.sender().as_bytes();
        let forced = message.force_expired.get();
        lines.expired(out, now_s, shard.index as u64, message.queue_id.as_str(), sender, forced);
    });
    let mut reports = Reports::default();
    let mut progress = message.progress.borrow_mut();
    for recipient in progress.remaining() {
        let reason = progress.reason(recipient).cloned().unwrap_or_else(|| Reason {
            status: Status::persistent(4, 7),
            text: "delivery time expired".to_owned(),
            reply: String::new(),
            remote_mta: String::new(),
        });
        reports.add(recipient, Action::Failed, reason);
    }
    progress.report(&reports);
}

/// Which notices the end of an attempt brings.
#[derive(Clone, Copy)]
struct NoticesDue {
    deliveries: bool,
    failures: bool,
    delay: bool,
}

impl NoticesDue {
    fn of(shard: &Shard, message: &ActiveMessage, end: AttemptEnd) -> NoticesDue {
        let progress = message.progress.borrow();
        let reports = progress.reports();
        let over = matches!(end, AttemptEnd::Done | AttemptEnd::Expired);
        // Nobody is told of what an operator took away.
        let deleted = matches!(end, AttemptEnd::Done) && progress.remaining_count() > 0;
        let early = shard.settings.notices.bounce_each_attempt
            || reports.failures() as usize >= notice::RECIPIENTS_MAX;
        NoticesDue {
            deliveries: reports.confirmations() > 0 && !deleted,
            failures: reports.failures() > 0 && !deleted && (over || early),
            delay: !over && defer::is_due(shard, message),
        }
    }

    fn any(self) -> bool {
        self.deliveries || self.failures || self.delay
    }
}

async fn tell_and_settle(shard: Rc<Shard>, message: Rc<ActiveMessage>, end: AttemptEnd, due: NoticesDue) {
    let mut told = true;
    if due.failures {
        match bounce::notify(&shard, &message).await {
            Ok(()) => message.progress.borrow_mut().failures_told(),
            Err(error) => {
                bounce::log_unstored(&shard, &message, &error).await;
                told = false;
            }
        }
    }
    if due.deliveries {
        match trace::notify(&shard, &message).await {
            Ok(()) => message.progress.borrow_mut().confirmations_told(),
            Err(error) => {
                let text = "the delivery status notification cannot be stored";
                notice::warn(&shard, &message, format_args!("{text}: {error}"));
                told = false;
            }
        }
    }
    if due.delay {
        defer::notify(&shard, &message).await;
    }
    shard.qmgr.notices_pending.borrow_mut().remove(&message.id.bits());
    if told {
        settle(&shard, &message, end);
    } else {
        retry_later(&shard, &message, end);
    }
    shard.qmgr.work_ends(&shard);
}

fn settle(shard: &Rc<Shard>, message: &ActiveMessage, end: AttemptEnd) {
    match end {
        AttemptEnd::Retry { due_at_ms } => {
            write_retry(shard, message, due_at_ms);
            if message.in_pieces().is_some() && shard.spool.find(message.id).is_none() {
                // A piece of its envelope is damaged: tried again, it is set aside.
                make_due(shard, &[QueuedId(message.id.bits())]);
            }
        }
        AttemptEnd::Held => {
            write_retry(shard, message, now_ms(shard));
            operator::held_and_settled(shard, QueuedId(message.id.bits()));
        }
        AttemptEnd::Done | AttemptEnd::Expired => {
            flush::ended(shard, message);
            shard.spool.remove(message.id);
            shard.log.write(|lines, out, now_s| {
                lines.removed(out, now_s, shard.index as u64, message.queue_id.as_str());
            });
        }
    }
}

/// A notice could not be stored: the message stays, whatever the scheduler had decided.
fn retry_later(shard: &Rc<Shard>, message: &ActiveMessage, end: AttemptEnd) {
    match end {
        AttemptEnd::Retry { .. } | AttemptEnd::Held => settle(shard, message, end),
        AttemptEnd::Done | AttemptEnd::Expired => {
            let now_ms = now_ms(shard);
            let due_at_ms = now_ms + shard.settings.qmgr.minimal_backoff_ms;
            write_retry(shard, message, due_at_ms);
            shard.qmgr.scheduler.borrow_mut().recovered(QueuedId(message.id.bits()), due_at_ms, now_ms);
            pump(shard);
        }
    }
}

fn write_retry(shard: &Rc<Shard>, message: &ActiveMessage, due_at_ms: u64) {
    flush::deferred(shard, message);
    message.progress.borrow_mut().attempted();
    write_progress(shard, message, due_at_ms);
}

/// Writes the cumulative note, which stands for all that came before.
fn write_progress(shard: &Shard, message: &ActiveMessage, due_at_ms: u64) {
    let due_at_s = due_at_ms.div_ceil(1000);
    let mut progress = message.progress.borrow_mut();
    message.outcome_notes.set(0);
    let bytes_max = shard.spool.note_bytes_max();
    let note = retry_note(|out| progress.write_retry(due_at_s, bytes_max, out));
    shard.spool.retry(message.id, u32::try_from(due_at_s).unwrap_or(u32::MAX), &note);
}
