//! trace: tells a sender that mail was delivered, if the sender wanted to know.
//!
//! Receives: from delivery agents, recipients that a server took; a message with deliveries that nobody was told of;
//! from cleanup, recipients whose place others have taken (aliases).
//! Sends: one notice at the end of each attempt, and one about aliases when the message is taken in; the line `sender
//! delivery status notification`.
//! Owns: nothing; the deliveries stay in the message's progress until the notice is stored.
//! Limits: [`notice::RECIPIENTS_MAX`] recipients a notice. On failure: the caller keeps the deliveries and tries again;
//! a notice about aliases is only missed.
//! Standards: RFC 3461 section 5.2.1 and 5.2.2: a server that offers DSN is given NOTIFY and reports itself; for any
//! other one we report `relayed`. Section 5.2.7.3: an alias is `expanded`, and its members report no success.

use std::rc::Rc;

use ringpost_core::cleanup::MappedRecipient;
use ringpost_core::dsn::{Action, Audience, Notice, NoticeKind, ReportedRecipient};
use ringpost_core::envelope::{Notify, Progress, Reason};
use ringpost_spool::{MessageId, StoreError};

use crate::message::ActiveMessage;
use crate::notice;
use crate::recipients::Chosen;
use crate::shard::Shard;

const TO_SENDER: &str = "sender delivery status notification";

/// Whether the sender is to hear that a server took this recipient. `server_reports`: the server was given NOTIFY.
/// Almost always decided without a look at the recipient.
pub fn is_wanted(shard: &Shard, message: &ActiveMessage, recipient: u32, server_reports: bool) -> bool {
    let late = shard.settings.notices.confirm_delay_cleared && message.progress.borrow().delay_told();
    let asked = !server_reports && message.envelope.success_wanted();
    if !late && !asked || message.envelope.sender().is_empty() {
        return false;
    }
    let notify = message.at_hand(&[recipient]).recipient(recipient).map(|recipient| recipient.notify);
    notify.is_some_and(|notify| (late && !notify.has(Notify::NEVER)) || (asked && notify.wants_success()))
}

/// Tells of recipients that became others by aliases, of a message that was stored a moment ago. A crash before the message
/// is acknowledged repeats this at worst, as the client sends the message again.
pub async fn tell_expanded(shard: &Rc<Shard>, id: MessageId, lists: &[MappedRecipient]) {
    let unread = |why: &dyn std::fmt::Display| {
        let text = format_args!("the notification about aliases cannot be made: {why}");
        shard.log.warning("bounce", shard.index as u32, text);
    };
    let message = match shard.spool.load(id).await {
        Ok(loaded) => match ActiveMessage::loaded(id, loaded) {
            Ok(message) => message,
            Err(_) => return unread(&"the message is damaged"),
        },
        Err(error) => return unread(&error),
    };
    for lists in lists.chunks(notice::RECIPIENTS_MAX) {
        let expanded = lists
            .iter()
            .map(|list| ReportedRecipient::expanded(&list.address, &list.original, &list.orcpt, list.notify));
        let audience = Audience::Sender(message.envelope.sender());
        let notice = notice::build_about(shard, &message, NoticeKind::Success, audience, expanded);
        if let Err(error) = notice::send(shard, &message, notice, TO_SENDER).await {
            notice::warn(
                shard,
                &message,
                format_args!("the notification about aliases is not stored: {error}"),
            );
        }
    }
}

/// Sends what is due about the message's deliveries. `Ok` when all of it is stored, and when nothing is due.
pub async fn notify(shard: &Rc<Shard>, message: &ActiveMessage) -> Result<(), StoreError> {
    let count = message.progress.borrow().reports().confirmations() as usize;
    for from in (0..count).step_by(notice::RECIPIENTS_MAX) {
        let chosen = notice::recipients(shard, message, || {
            delivered(&message.progress.borrow(), from).map(|(index, ..)| index).collect()
        });
        let notice = part(shard, message, &chosen.await?, from);
        notice::send(shard, message, notice, TO_SENDER).await?;
    }
    Ok(())
}

fn part(shard: &Shard, message: &ActiveMessage, chosen: &Chosen<'_>, from: usize) -> Option<Notice> {
    let progress = message.progress.borrow();
    let audience = Audience::Sender(message.envelope.sender());
    notice::build(shard, message, chosen, NoticeKind::Success, audience, delivered(&progress, from))
}

/// The recipients of one notice.
fn delivered(progress: &Progress, from: usize) -> impl Iterator<Item = (u32, Action, &Reason)> + Clone {
    let delivered = progress.reports().iter().filter(|(_, action, _)| *action != Action::Failed);
    delivered.skip(from).take(notice::RECIPIENTS_MAX)
}
