//! defer: warns a sender, once, that mail is late.
//!
//! Receives: a message whose attempt ended with recipients deferred. Sends: one notice, when the message is older than
//! `delay_warning_time`; the lines `sender delay notification` and `postmaster delay notification`.
//! Owns: nothing; that the warning was sent is kept in the message's progress.
//! Limits: [`notice::RECIPIENTS_MAX`] recipients are named. On failure: it is tried again after the next attempt.
//! Standards: RFC 3464 (Action: delayed, Will-Retry-Until), RFC 3461 section 5.2.7 (NOTIFY=DELAY).

use std::rc::Rc;

use ringpost_core::dsn::{Action, Audience, Notice, NoticeKind, Status};
use ringpost_core::envelope::Reason;
use ringpost_spool::StoreError;

use crate::message::ActiveMessage;
use crate::notice;
use crate::recipients::Chosen;
use crate::shard::Shard;

/// Whether the warning is due now.
pub fn is_due(shard: &Shard, message: &ActiveMessage) -> bool {
    let limit_ms = shard.settings.notices.delay_warning_ms;
    if limit_ms == 0 {
        return false;
    }
    let progress = message.progress.borrow();
    let age_ms = (shard.handle.wall().as_micros().saturating_sub(message.envelope.arrival_us())) / 1000;
    age_ms >= limit_ms && !progress.delay_told() && progress.remaining_count() > 0
}

/// Sends the warning. A failure leaves it due.
pub async fn notify(shard: &Rc<Shard>, message: &ActiveMessage) {
    let sender = message.envelope.sender();
    let indexes = || message.progress.borrow().remaining().take(notice::RECIPIENTS_MAX).collect();
    let chosen = match notice::recipients(shard, message, indexes).await {
        Ok(chosen) => chosen,
        Err(error) => return warn_unstored(shard, message, &error),
    };
    let warning = build(shard, message, &chosen, Audience::Sender(sender));
    if let Err(error) = notice::send(shard, message, warning, "sender delay notification").await {
        return warn_unstored(shard, message, &error);
    }
    message.progress.borrow_mut().tell_delay();
    if let Some(postmaster) = &shard.settings.notices.delay_copy_to {
        let copy = build(shard, message, &chosen, Audience::Postmaster(postmaster));
        notice::send_copy(shard, message, copy, "postmaster delay notification").await;
    }
}

fn warn_unstored(shard: &Shard, message: &ActiveMessage, error: &StoreError) {
    notice::warn(shard, message, format_args!("the delay notification cannot be stored: {error}"));
}

fn build(
    shard: &Shard,
    message: &ActiveMessage,
    chosen: &Chosen<'_>,
    audience: Audience<'_>,
) -> Option<Notice> {
    let unknown = Reason {
        status: Status::persistent(0, 0),
        text: "delivery is still being tried".to_owned(),
        reply: String::new(),
        remote_mta: String::new(),
    };
    let progress = message.progress.borrow();
    let delayed = progress
        .remaining()
        .take(notice::RECIPIENTS_MAX)
        .map(|index| (index, Action::Delayed, progress.reason(index).unwrap_or(&unknown)));
    notice::build(shard, message, chosen, NoticeKind::Delay, audience, delayed)
}
