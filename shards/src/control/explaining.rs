//! `ringpost why`: what a message, or the mail for an address, waits for, from this shard's own state.

use std::rc::Rc;

use hashbrown::HashSet;
use ringpost_core::control::{Answer, Queue};
use ringpost_core::qmgr::{MessageState, SiteReport, SiteWait};
use ringpost_core::queue_id::QueueId;

use super::answering::Reply;
use crate::qmgr::operator;
use crate::qmgr::routing;
use crate::shard::Shard;

/// Recipients of a message that are told one by one.
const RECIPIENTS_MAX: usize = 100;

/// What a message waits for; a count of 0 if it is not queued.
pub async fn why_message(shard: &Rc<Shard>, name: QueueId) -> Reply {
    let mut reply = Reply::default();
    let Some(id) = operator::message_named(name) else { return reply };
    let mut summaries = operator::summaries(shard, &[id]).await;
    let summary = summaries.pop().flatten().filter(|summary| summary.queue_id == name);
    let (Some(state), Some(summary)) = (operator::state(shard, id), summary) else { return reply };
    reply.count = 1;
    let waits = match state {
        MessageState::Incoming => "waits for room among the active".to_owned(),
        MessageState::Active => "is being delivered".to_owned(),
        MessageState::Deferred => match operator::due_in_seconds(shard, id) {
            0 => "is due, and waits for room among the active".to_owned(),
            seconds => format!("is tried again in {seconds} s"),
        },
        MessageState::Hold => format!("is on hold until an operator says: postsuper -H {}", name.as_str()),
        MessageState::Corrupt => "is damaged, and kept for repair".to_owned(),
    };
    let forced = if summary.force_expired { "; it will then be returned to its sender" } else { "" };
    let queue = Queue::of(state).name();
    say(
        &mut reply,
        &format!("{}: {queue}, attempts: {}; it {waits}{forced}", name.as_str(), summary.progress.attempts()),
    );
    let mut sites: HashSet<(String, String)> = HashSet::new();
    let told = summary.progress.remaining().take(RECIPIENTS_MAX);
    let chosen = match summary.stored.read(&shard.spool, || told.clone().collect()).await {
        Ok(chosen) => chosen,
        Err(error) => {
            say(&mut reply, &format!("  the recipients cannot be read: {error}"));
            return reply;
        }
    };
    chosen.for_each(told, |index, recipient| {
        let reason = summary.progress.reason(index).map_or("no attempt yet", |reason| &reason.text);
        say(&mut reply, &format!("  to <{}>: {reason}", recipient.address));
        if let Some(site) = site_of(shard, summary.stored.envelope.sender(), recipient.address)
            && sites.insert(site.clone())
        {
            say_site(shard, &site, &mut reply);
        }
    });
    let remaining = summary.progress.remaining_count() as usize;
    if remaining > RECIPIENTS_MAX {
        say(&mut reply, &format!("  and {} recipients more", remaining - RECIPIENTS_MAX));
    }
    reply
}

/// What the mail for an address or a domain waits for on this shard.
pub fn why_address(shard: &Rc<Shard>, address: &str) -> Reply {
    let mut reply = Reply::default();
    match site_of(shard, "", address) {
        Some(site) => say_site(shard, &site, &mut reply),
        None => say(&mut reply, &format!("  shard {}: mail transport unavailable", shard.index)),
    }
    reply
}

/// Transport and nexthop; a domain alone stands for any of its addresses.
fn site_of(shard: &Shard, sender: &str, address: &str) -> Option<(String, String)> {
    let whole = if address.contains('@') { address.to_owned() } else { format!("postmaster@{address}") };
    routing::site(shard, sender, &whole)
}

fn say_site(shard: &Rc<Shard>, (transport, nexthop): &(String, String), reply: &mut Reply) {
    let text = match operator::why_site(shard, transport, nexthop) {
        None => "nothing was sent there lately".to_owned(),
        Some(report) => site_text(&report, operator::now_ms(shard)),
    };
    say(reply, &format!("  shard {}, {transport}:{nexthop}: {text}", shard.index));
}

fn site_text(report: &SiteReport, now_ms: u64) -> String {
    let SiteReport { in_progress, most, messages, wait } = report;
    let load = format!("{in_progress} of {most} deliveries run, {messages} messages wait");
    match wait {
        SiteWait::Mail => load,
        SiteWait::Slot => format!("{load} for a slot"),
        SiteWait::RateDelay => format!("{load} for the end of the rate delay"),
        SiteWait::Dead { until_ms, reason } => {
            let seconds = until_ms.saturating_sub(now_ms).div_ceil(1000);
            format!("dead for {seconds} s more ({reason}); {load}")
        }
    }
}

fn say(reply: &mut Reply, text: &str) {
    reply.say(&Answer::Line(text));
}
