//! bounce: tells a sender that mail could not be delivered, or the postmaster when the sender cannot be told.
//!
//! Receives: a message with failures that nobody was told of. Sends: one notice, or one for each recipient of VERP
//! mail; the lines `sender non-delivery notification` and `postmaster non-delivery notification`. Owns: nothing; the
//! failures stay in the message's progress until the notice is stored.
//! Limits: [`notice::RECIPIENTS_MAX`] recipients a notice. On failure: the caller keeps the failures and tries again.
//! Standards: RFC 3464, RFC 3461; RFC 5321 section 4.5.5: a bounce of a bounce goes to nobody but the postmaster, and
//! when that one cannot be delivered either, it ends here.

use std::rc::Rc;

use ringpost_core::dsn::{Action, Audience, Notice, NoticeKind, Status};
use ringpost_core::envelope::{OutcomeKind, Progress, Reason, write_outcome};
use ringpost_core::logline::{self, Delays, Relay};
use ringpost_core::verp::verp_sender;
use ringpost_spool::StoreError;

use crate::message::{ActiveMessage, outcome_note};
use crate::notice;
use crate::recipients::Chosen;
use crate::shard::Shard;
use crate::verify;

const TO_SENDER: &str = "sender non-delivery notification";
const TO_POSTMASTER: &str = "postmaster non-delivery notification";

/// What becomes of mail that nobody is left to hear of.
const DISCARDED: &str = "undeliverable postmaster notification discarded";

/// Sends what is due about the message's failures. `Ok` when all of it is stored, and when nothing is due.
pub async fn notify(shard: &Rc<Shard>, message: &ActiveMessage) -> Result<(), StoreError> {
    let settings = &shard.settings.notices;
    let fields = message.envelope.fields();
    if fields.sender.eq_ignore_ascii_case(&settings.double_bounce) {
        notice::warn(shard, message, format_args!("{DISCARDED}"));
        return Ok(());
    }
    if fields.sender.is_empty() {
        let Some(postmaster) = &settings.second_bounce_to else { return Ok(()) };
        return in_parts(shard, message, Audience::Postmaster(postmaster), TO_POSTMASTER).await;
    }
    match fields.verp {
        Some(delimiters) if settings.verp_bounces => {
            let failures = message.progress.borrow().reports().failures() as usize;
            for from in (0..failures).step_by(notice::RECIPIENTS_MAX) {
                let chosen = failed_recipients(shard, message, from, notice::RECIPIENTS_MAX).await?;
                for place in from..failures.min(from + notice::RECIPIENTS_MAX) {
                    let notice = verp_notice(shard, message, &chosen, place, |recipient| {
                        verp_sender(fields.sender, recipient, delimiters).into_owned()
                    });
                    notice::send(shard, message, notice, TO_SENDER).await?;
                }
            }
        }
        _ => in_parts(shard, message, Audience::Sender(fields.sender), TO_SENDER).await?,
    }
    if let Some(postmaster) = &settings.bounce_copy_to {
        let chosen = failed_recipients(shard, message, 0, notice::RECIPIENTS_MAX).await?;
        let copy = part(shard, message, &chosen, Audience::Postmaster(postmaster), 0, notice::RECIPIENTS_MAX);
        notice::send_copy(shard, message, copy, TO_POSTMASTER).await;
    }
    Ok(())
}

/// All failures, in as many notices as they take.
async fn in_parts(
    shard: &Rc<Shard>,
    message: &ActiveMessage,
    audience: Audience<'_>,
    text: &str,
) -> Result<(), StoreError> {
    let failures = message.progress.borrow().reports().failures() as usize;
    for from in (0..failures).step_by(notice::RECIPIENTS_MAX) {
        let chosen = failed_recipients(shard, message, from, notice::RECIPIENTS_MAX).await?;
        let notice = part(shard, message, &chosen, audience, from, notice::RECIPIENTS_MAX);
        notice::send(shard, message, notice, text).await?;
    }
    Ok(())
}

fn part(
    shard: &Shard,
    message: &ActiveMessage,
    chosen: &Chosen<'_>,
    audience: Audience<'_>,
    from: usize,
    count: usize,
) -> Option<Notice> {
    let progress = message.progress.borrow();
    let failures = failures(&progress).skip(from).take(count);
    notice::build(shard, message, chosen, NoticeKind::Failure, audience, failures)
}

/// The recipients of some failures.
async fn failed_recipients<'m>(
    shard: &Shard,
    message: &'m ActiveMessage,
    from: usize,
    count: usize,
) -> Result<Chosen<'m>, StoreError> {
    notice::recipients(shard, message, || {
        failures(&message.progress.borrow()).skip(from).take(count).map(|(index, ..)| index).collect()
    })
    .await
}

fn failures(progress: &Progress) -> impl Iterator<Item = (u32, Action, &Reason)> + Clone {
    progress.reports().iter().filter(|(_, action, _)| *action == Action::Failed)
}

/// The notice about one recipient of VERP mail, to the return path that `path` makes for it.
fn verp_notice(
    shard: &Shard,
    message: &ActiveMessage,
    chosen: &Chosen<'_>,
    place: usize,
    path: impl Fn(&str) -> String,
) -> Option<Notice> {
    let progress = message.progress.borrow();
    let failure = failures(&progress).nth(place)?;
    let recipient = chosen.recipient(failure.0)?;
    let path = path(match recipient.original {
        "" => recipient.address,
        original => original,
    });
    let failure = std::iter::once(failure);
    notice::build(shard, message, chosen, NoticeKind::Failure, Audience::Sender(&path), failure)
}

/// The failures could not be told: the message stays, and each recipient's line says why.
pub async fn log_unstored(shard: &Rc<Shard>, message: &ActiveMessage, error: &StoreError) {
    notice::warn(shard, message, format_args!("the non-delivery notification cannot be stored: {error}"));
    let failed = || {
        failures(&message.progress.borrow()).take(notice::RECIPIENTS_MAX).map(|(index, ..)| index).collect()
    };
    // When they cannot be read either, the line above is all that can be said.
    let Ok(chosen) = notice::recipients(shard, message, failed).await else { return };
    let failed: Vec<u32> = failed();
    let reason = Reason {
        status: Status::persistent(3, 0),
        text: "bounce failed".to_owned(),
        reply: String::new(),
        remote_mta: String::new(),
    };
    crate::smtp::log_without_attempt(shard, message, &chosen, &failed, &reason);
}

/// Whether mail to this address, which is ours, ends here: the double-bounce address reads no mail, so that another
/// system that bounces our notices starts nothing.
pub fn ends_here(shard: &Shard, address: &str) -> bool {
    address.eq_ignore_ascii_case(&shard.settings.notices.double_bounce)
}

/// Takes a recipient for which [`ends_here`] off the message.
pub fn discard(shard: &Rc<Shard>, message: &ActiveMessage, recipient: u32, address: &str) {
    notice::warn(shard, message, format_args!("{DISCARDED}"));
    let now_us = shard.handle.wall().as_micros();
    let (arrival_us, active_us) = (message.envelope.arrival_us(), message.active_at_us.get());
    let line = logline::Delivery {
        process: "qmgr",
        number: shard.index as u64,
        queue_id: message.queue_id.as_str(),
        to: address.as_bytes(),
        orig_to: None,
        relay: Relay::None,
        conn_use: 0,
        delays: Delays::between(arrival_us, active_us, now_us, now_us, now_us),
        dsn: "2.0.0",
        status: verify::logged(shard, message, logline::Status::Sent, DISCARDED),
        text: DISCARDED.as_bytes(),
    };
    shard.log.write(|lines, out, now_s| lines.delivery(out, now_s, &line));
    let mut progress = message.progress.borrow_mut();
    progress.finish(recipient);
    if progress.remaining_count() > 0 {
        let note = outcome_note(|out| write_outcome(out, &[(OutcomeKind::Discarded, &[recipient])]));
        shard.spool.outcome(message.id, &note);
    }
}
