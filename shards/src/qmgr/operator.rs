//! operator: what the queue commands do to this shard's messages. Each function is one event for the scheduler, with
//! the records that make it last.

use std::rc::Rc;
use std::time::Duration;

use ringpost_core::control::Kick;
use ringpost_core::envelope::Progress;
use ringpost_core::qmgr::{MessageId as QueuedId, MessageState, SiteReport};
use ringpost_core::queue_id::QueueId;
use ringpost_spool::{Listed, LoadError, MessageId, Queued};

use super::ending::{AttemptEnd, end_attempt};
use crate::message::{ActiveMessage, Damaged, stored};
use crate::recipients::StoredEnvelope;
use crate::requeue::{self, Intake};
use crate::shard::Shard;
use crate::trace;

pub use super::{now_ms, pump};

/// What is to become of a message that the scheduler gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// An operator deleted it: no line of the queue manager tells of its end.
    Delete,
    /// It is being requeued by a task that waits for it to be on hold.
    Requeue,
    /// It is to be requeued when its attempt has ended.
    RequeueLater,
}

/// Messages that are decoded or listed before clients have their say: some ten microseconds.
pub const MESSAGES_A_TURN: usize = 32;
/// Bytes of records that summaries are read from at a time, and the last record's: what a disk gives in about a
/// millisecond, so that a commit waits no longer behind it.
const SUMMARY_BYTES_MAX: u64 = 512 << 10;

/// How long a notice about the message may take before its requeuing is given up, in steps of this length.
const NOTICE_STEP: Duration = Duration::from_millis(20);
const NOTICE_STEPS_MAX: u32 = 500;

/// The message that a printed name stands for, if its shape says that it is one of this system's.
pub fn message_named(name: QueueId) -> Option<QueuedId> {
    QueueId::parse(name.as_bytes()).map(|(_, parts)| QueuedId(parts.unique))
}

/// See [`ringpost_core::qmgr::Scheduler::walk`].
pub fn walk(
    shard: &Shard,
    from: u32,
    entries_max: u32,
    each: impl FnMut(u32, QueuedId, MessageState) -> bool,
) -> Option<u32> {
    shard.qmgr.scheduler.borrow().walk(from, entries_max, each)
}

pub use super::state;

/// Seconds until a deferred message is due; 0 for one that is due or not deferred.
pub fn due_in_seconds(shard: &Shard, id: QueuedId) -> u64 {
    let due_at_ms = shard.qmgr.scheduler.borrow().due_at_ms(id).unwrap_or(0);
    due_at_ms.saturating_sub(now_ms(shard)).div_ceil(1000)
}

/// See [`ringpost_core::qmgr::Scheduler::why_site`].
pub fn why_site(shard: &Shard, transport: &str, nexthop: &str) -> Option<SiteReport> {
    shard.qmgr.scheduler.borrow_mut().why_site(transport, nexthop, now_ms(shard))
}

/// The message, from memory or read from the spool; `None` if it is gone or cannot be read.
pub async fn find_message(shard: &Shard, id: QueuedId) -> Option<Rc<ActiveMessage>> {
    if let Some(message) = shard.qmgr.messages.borrow().get(&id.0) {
        return Some(message.clone());
    }
    let spool_id = MessageId::from_bits(id.0);
    let loaded = shard.spool.load(spool_id).await.ok()?;
    ActiveMessage::loaded(spool_id, loaded).ok().map(Rc::new)
}

/// What listings tell of a message.
pub struct Summary {
    /// The printed name.
    pub queue_id: QueueId,
    /// The envelope, wherever its recipients are.
    pub stored: StoredEnvelope,
    /// Which recipients remain, and why.
    pub progress: Progress,
    /// An operator has expired it.
    pub force_expired: bool,
}

impl Summary {
    /// The summary of a message read from the spool, and what the spool knows of it.
    pub fn of(listed: Listed) -> Result<(Queued, Summary), Damaged> {
        let id = listed.queued.id;
        let (stored, progress) = stored(id, listed.envelope, listed.envelope_chunks, &listed.notes)?;
        let summary = Summary {
            queue_id: QueueId::new(stored.envelope.arrival_us(), id.bits()),
            stored,
            progress,
            force_expired: listed.queued.force_expired,
        };
        Ok((listed.queued, summary))
    }

    /// The summary of message `id` as the spool answered for it.
    ///
    /// # Errors
    /// Why there is none, for people to read.
    pub fn read(id: MessageId, listed: Result<Listed, LoadError>) -> Result<(Queued, Summary), String> {
        let listed = listed.map_err(|error| error.to_string())?;
        Summary::of(listed).map_err(|_| format!("message {id} is damaged"))
    }
}

/// Summaries of the first of `ids`, one at least, in their order: from memory or read together from the spool; `None` for
/// what is gone or cannot be read now. The caller bounds how many it asks for, this the bytes that are read.
pub async fn summaries(shard: &Shard, ids: &[QueuedId]) -> Vec<Option<Summary>> {
    let mut found: Vec<Option<Summary>> = ids.iter().map(|id| in_memory(shard, *id)).collect();
    let missing =
        || found.iter().enumerate().filter(|(_, summary)| summary.is_none()).map(|(place, _)| place);
    let places: Vec<usize> = missing().collect();
    let wanted: Vec<MessageId> = places.iter().map(|place| MessageId::from_bits(ids[*place].0)).collect();
    let listed = shard.spool.envelopes(&wanted, SUMMARY_BYTES_MAX).await;
    if let Some(&unread) = places.get(listed.len()) {
        found.truncate(unread);
    }
    for (nth, (place, listed)) in places.into_iter().zip(listed).enumerate() {
        give_way(shard, nth).await;
        if let Ok(Ok((_, summary))) = listed.map(Summary::of) {
            found[place] = Some(summary);
        }
    }
    found
}

/// Lets others have their say before the message of this number, now and then.
pub async fn give_way(shard: &Shard, nth: usize) {
    if nth > 0 && nth.is_multiple_of(MESSAGES_A_TURN) {
        shard.handle.yield_now().await;
    }
}

fn in_memory(shard: &Shard, id: QueuedId) -> Option<Summary> {
    let messages = shard.qmgr.messages.borrow();
    let message = messages.get(&id.0)?;
    let progress = message.progress.borrow().clone();
    Some(Summary {
        queue_id: message.queue_id,
        stored: message.stored_envelope(),
        progress,
        force_expired: message.force_expired.get(),
    })
}

/// Deletes a message. One in delivery leaves memory when the attempt ends; the queue's log has it no more at once.
pub fn delete(shard: &Rc<Shard>, id: QueuedId) -> bool {
    if !shard.qmgr.scheduler.borrow_mut().delete(id, now_ms(shard)) {
        return false;
    }
    shard.qmgr.fates.borrow_mut().insert(id.0, Fate::Delete);
    shard.spool.remove(MessageId::from_bits(id.0));
    true
}

/// Deletes a damaged message, which the scheduler may never have met.
pub fn delete_corrupt(shard: &Rc<Shard>, id: QueuedId) {
    if !delete(shard, id) {
        shard.spool.remove(MessageId::from_bits(id.0));
    }
}

/// Puts a message on hold; one in delivery at the end of its attempt. False if it is there already.
pub fn hold(shard: &Rc<Shard>, id: QueuedId) -> bool {
    let mut scheduler = shard.qmgr.scheduler.borrow_mut();
    if scheduler.state(id) == Some(MessageState::Hold) || !scheduler.hold(id, now_ms(shard)) {
        return false;
    }
    shard.spool.hold(MessageId::from_bits(id.0));
    true
}

/// Releases a message from hold: it is due at once. False if it is not there, or only while it is requeued.
pub fn release(shard: &Rc<Shard>, id: QueuedId) -> bool {
    if is_being_requeued(shard, id) || !shard.qmgr.scheduler.borrow_mut().release(id, now_ms(shard)) {
        return false;
    }
    shard.spool.release(MessageId::from_bits(id.0));
    true
}

/// Has a message returned to its sender at its next attempt, or at the end of the one that runs; `release_too` takes it
/// off hold as well.
pub fn expire(shard: &Rc<Shard>, id: QueuedId, release_too: bool) -> bool {
    if !super::force_expire(shard, MessageId::from_bits(id.0)) {
        return false;
    }
    if release_too {
        release(shard, id);
    }
    true
}

/// Makes everything deferred due now, and forgets dead sites.
pub fn flush(shard: &Rc<Shard>) {
    shard.qmgr.scheduler.borrow_mut().flush(now_ms(shard));
    pump(shard);
}

/// Makes one message due now. False if there is none of that name, or it is on hold.
pub fn flush_message(shard: &Rc<Shard>, id: QueuedId) -> bool {
    let known = shard.qmgr.scheduler.borrow_mut().flush_message(id, now_ms(shard));
    pump(shard);
    known
}

/// What `postkick` asks. New mail and due mail need no scan here: they are looked at when they come and when they are
/// due.
pub fn kick(shard: &Rc<Shard>, kick: Kick) {
    let now_ms = now_ms(shard);
    let mut scheduler = shard.qmgr.scheduler.borrow_mut();
    if kick.scan_deferred && kick.ignore_times {
        scheduler.flush(now_ms);
    } else if kick.forget_dead {
        scheduler.forget_dead_sites(now_ms);
    }
    drop(scheduler);
    pump(shard);
}

/// Takes a message in again under a new queue id, and ends the old one when that is committed. One in delivery follows
/// when its attempt has ended.
pub async fn requeue(shard: &Rc<Shard>, id: QueuedId) -> bool {
    if is_being_requeued(shard, id) {
        return false;
    }
    match state(shard, id) {
        None | Some(MessageState::Corrupt) => false,
        Some(MessageState::Active) => {
            shard.qmgr.fates.borrow_mut().insert(id.0, Fate::RequeueLater);
            shard.qmgr.scheduler.borrow_mut().hold(id, now_ms(shard));
            true
        }
        Some(MessageState::Hold) => {
            shard.qmgr.fates.borrow_mut().insert(id.0, Fate::Requeue);
            requeue_held(shard, id, true).await
        }
        Some(MessageState::Incoming | MessageState::Deferred) => {
            // On hold nothing touches it while its copy is being stored.
            shard.qmgr.fates.borrow_mut().insert(id.0, Fate::Requeue);
            shard.qmgr.scheduler.borrow_mut().hold(id, now_ms(shard));
            pump(shard);
            requeue_held(shard, id, false).await
        }
    }
}

/// Until its copy is stored the message stays on hold, so that nobody delivers it meanwhile.
fn is_being_requeued(shard: &Shard, id: QueuedId) -> bool {
    matches!(shard.qmgr.fates.borrow().get(&id.0), Some(Fate::Requeue | Fate::RequeueLater))
}

async fn requeue_held(shard: &Rc<Shard>, id: QueuedId, was_held: bool) -> bool {
    let stored = store_again(shard, id).await;
    shard.qmgr.fates.borrow_mut().remove(&id.0);
    if let Err(reason) = &stored {
        shard.log.warning("postsuper", 0, format_args!("message {} is not requeued: {reason}", id.0));
        if !was_held {
            shard.qmgr.scheduler.borrow_mut().release(id, now_ms(shard));
        }
    } else {
        delete(shard, id);
    }
    pump(shard);
    stored.is_ok()
}

async fn store_again(shard: &Rc<Shard>, id: QueuedId) -> Result<(), String> {
    for _ in 0..NOTICE_STEPS_MAX {
        if !shard.qmgr.notices_pending.borrow().contains(&id.0) {
            break;
        }
        shard.handle.sleep(NOTICE_STEP).await;
    }
    let spool_id = MessageId::from_bits(id.0);
    let loaded = shard.spool.load(spool_id).await.map_err(|error| error.to_string())?;
    let message = ActiveMessage::loaded(spool_id, loaded).map_err(|_| "it is damaged".to_owned())?;
    let settings = &shard.settings;
    let intake = Intake {
        own_mail: &settings.own_mail,
        mapping: &settings.own_mapping,
        resolve: &settings.resolve,
        tables: &shard.tables,
        content_filter: &settings.own_content_filter,
        now_us: shard.handle.wall().as_micros(),
        zone: &shard.log.zone(),
    };
    let requeued = requeue::store_again(&shard.spool, &message, &intake).await?;
    requeued.log(&shard.log, shard.index as u64);
    if !requeued.expanded.is_empty() {
        trace::tell_expanded(shard, requeued.id, &requeued.expanded).await;
    }
    super::accepted_in_spool(shard, requeued.id);
    Ok(())
}

/// The scheduler gives a message up. Whether that was an operator's doing, who has been told already.
pub(super) fn was_deleted(shard: &Shard, id: QueuedId) -> bool {
    match shard.qmgr.fates.borrow_mut().remove(&id.0) {
        Some(Fate::Delete) => {
            shard.qmgr.messages.borrow_mut().remove(&id.0);
            true
        }
        // It has been delivered before it could be requeued.
        Some(Fate::Requeue | Fate::RequeueLater) | None => false,
    }
}

/// A hold has taken effect.
pub(super) fn held(shard: &Rc<Shard>, id: QueuedId) {
    let in_memory = shard.qmgr.messages.borrow().get(&id.0).cloned();
    match in_memory {
        // What its attempt has found out is kept with it.
        Some(message) if message.active_at_us.get() > 0 => end_attempt(shard, id, AttemptEnd::Held),
        _ => {
            shard.qmgr.messages.borrow_mut().remove(&id.0);
            held_and_settled(shard, id);
        }
    }
}

/// A message is on hold, and its records say all that is known of it.
pub(super) fn held_and_settled(shard: &Rc<Shard>, id: QueuedId) {
    if shard.qmgr.fates.borrow().get(&id.0) == Some(&Fate::RequeueLater) {
        let task = {
            let shard = shard.clone();
            async move {
                requeue_held(&shard, id, false).await;
            }
        };
        shard.handle.spawn(task);
    }
}

/// An attempt has ended in another way than an operator wanted it to: nothing of that wish is left.
pub(super) fn forget_wish(shard: &Shard, id: QueuedId) {
    shard.qmgr.fates.borrow_mut().remove(&id.0);
}
