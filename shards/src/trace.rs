//! trace: tells a sender that mail was delivered, if the sender wanted to know.
//!
//! Receives: from delivery agents, recipients that a server took; a message with deliveries that nobody was told of.
//! Sends: one notice at the end of each attempt; the line `sender delivery status notification`.
//! Owns: nothing; the deliveries stay in the message's progress until the notice is stored.
//! Limits: [`notice::RECIPIENTS_MAX`] recipients a notice. On failure: the caller keeps the deliveries and tries again.
//! Standards: RFC 3461 section 5.2.1 and 5.2.2: a server that offers DSN is given NOTIFY and reports itself; for any
//! other one we report `relayed`.

use std::rc::Rc;

use ringpost_core::dsn::{Action, Audience, Notice, NoticeKind};
use ringpost_core::envelope::{Notify, Progress, Reason};
use ringpost_spool::StoreError;

use crate::message::ActiveMessage;
use crate::notice;
use crate::recipients::Chosen;
use crate::shard::Shard;

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

/// Sends what is due about the message's deliveries. `Ok` when all of it is stored, and when nothing is due.
pub async fn notify(shard: &Rc<Shard>, message: &ActiveMessage) -> Result<(), StoreError> {
    let count = message.progress.borrow().reports().confirmations() as usize;
    for from in (0..count).step_by(notice::RECIPIENTS_MAX) {
        let chosen = notice::recipients(shard, message, || {
            delivered(&message.progress.borrow(), from).map(|(index, ..)| index).collect()
        });
        let notice = part(shard, message, &chosen.await?, from);
        notice::send(shard, message, notice, "sender delivery status notification").await?;
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
