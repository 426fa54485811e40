//! incoming → active: a message's first recipients, and then more of them whenever the scheduler has room.
//!
//! Limits: the recipients that the scheduler asks for, and a piece of each large envelope at the least. These are read
//! from the spool a piece at a time, and kept while the scheduler has them.
//! On failure: a message that cannot be read is postponed, a damaged one set aside as corrupt. When a piece of an envelope
//! cannot be read, its recipients are deferred and all others served; if it was damage, the spool gives the message up
//! when it is due again.

use std::rc::Rc;
use std::time::Duration;

use ringpost_core::dsn::Status;
use ringpost_core::envelope::{KeptRecipient, Reason};
use ringpost_core::qmgr::{MessageId as QueuedId, Refilled, Resolved, SiteHandle};
use ringpost_spool::{LoadError, MessageId};
use smallvec::SmallVec;

use super::routing::{self, Destination};
use super::{now_ms, pump, put_off};
use crate::bounce;
use crate::message::{ActiveMessage, Unread};
use crate::recipients::StoredEnvelope;
use crate::shard::Shard;

/// How soon mail is looked at again after the spool could not be read.
const SPOOL_TROUBLE_WAIT: Duration = Duration::from_secs(5);

/// Begins an attempt. A message whose notice is still being stored waits: loaded now, it would come with the progress of
/// before.
pub(super) fn activate(shard: &Rc<Shard>, id: QueuedId) {
    if shard.qmgr.notices_pending.borrow().contains(&id.0) {
        shard.qmgr.scheduler.borrow_mut().postponed(id, now_ms(shard));
        return;
    }
    let kept = shard.qmgr.messages.borrow().get(&id.0).cloned();
    match kept {
        Some(message) if message.in_pieces().is_none() => begin_attempt(shard, &message),
        Some(message) => {
            let shard = shard.clone();
            shard.clone().handle.spawn(async move {
                begin_attempt_in_pieces(&shard, &message).await;
                pump(&shard);
            });
        }
        None => shard.handle.spawn(load_and_activate(shard.clone(), id)),
    }
}

async fn load_and_activate(shard: Rc<Shard>, id: QueuedId) {
    let spool_id = MessageId::from_bits(id.0);
    let loaded = match shard.spool.load(spool_id).await {
        Ok(loaded) => ActiveMessage::loaded(spool_id, loaded).map_err(|_| LoadError::Corrupt(spool_id)),
        Err(error) => Err(error),
    };
    match loaded {
        Ok(message) => {
            shard.counters.reloads.one();
            let message = Rc::new(message);
            shard.qmgr.messages.borrow_mut().insert(id.0, message.clone());
            match message.in_pieces() {
                None => begin_attempt(&shard, &message),
                Some(_) => Box::pin(begin_attempt_in_pieces(&shard, &message)).await,
            }
        }
        Err(LoadError::Failed(error)) => {
            shard.log.warning("qmgr", 0, format_args!("message {spool_id} cannot be read now: {error}"));
            shard.handle.sleep(SPOOL_TROUBLE_WAIT).await;
            shard.qmgr.scheduler.borrow_mut().postponed(id, now_ms(&shard));
        }
        Err(error) => {
            shard.log.warning("qmgr", 0, format_args!("{error}; it stays in the spool as corrupt"));
            shard.qmgr.scheduler.borrow_mut().corrupted(id);
        }
    }
    pump(&shard);
}

fn begin_attempt(shard: &Rc<Shard>, message: &ActiveMessage) {
    announce(shard, message);
    let recipients_max = shard.qmgr.scheduler.borrow().batch_recipients();
    let batch = next_recipients(shard, message, recipients_max);
    activated(shard, message, &batch);
}

async fn begin_attempt_in_pieces(shard: &Rc<Shard>, message: &ActiveMessage) {
    announce(shard, message);
    let being_read = &shard.qmgr.recipients_being_read;
    let room = shard.qmgr.scheduler.borrow().batch_recipients().saturating_sub(being_read.get());
    let recipients_max = room.max(first_piece(message));
    being_read.set(being_read.get() + recipients_max);
    let batch = next_recipients_in_pieces(shard, message, recipients_max).await;
    being_read.set(being_read.get() - recipients_max);
    activated(shard, message, &batch);
}

/// How many recipients remain in the first piece in which any do.
fn first_piece(message: &ActiveMessage) -> u32 {
    let progress = message.progress.borrow();
    let Some(first) = progress.remaining().next() else { return 0 };
    let envelope = &message.envelope;
    let indexes = first..envelope.indexes_in_piece(envelope.piece_of(first)).end;
    indexes.filter(|&index| !progress.is_done(index)).count() as u32
}

/// All recipients that remain are to be read; says so in the log.
fn announce(shard: &Shard, message: &ActiveMessage) {
    message.active_at_us.set(shard.handle.wall().as_micros());
    let count = message.progress.borrow().remaining_count();
    message.unread.set(Unread { from: 0, count });
    shard.log.write(|lines, out, now_s| {
        let fields = message.envelope.fields();
        let (sender, remaining) = (fields.sender.as_bytes(), u64::from(count));
        let number = shard.index as u64;
        lines.queue_active(
            out,
            now_s,
            number,
            message.queue_id.as_str(),
            sender,
            fields.content_bytes,
            remaining,
        );
    });
}

fn activated(shard: &Shard, message: &ActiveMessage, batch: &RecipientBatch) {
    let resolved = Resolved {
        arrival_ms: message.envelope.arrival_us() / 1000,
        bytes: message.memory_bytes(),
        null_sender: message.envelope.sender().is_empty(),
        force_expired: message.force_expired.get(),
        deferred: batch.deferred,
        unread: message.unread.get().count,
    };
    let id = QueuedId(message.id.bits());
    shard.qmgr.scheduler.borrow_mut().activated(id, resolved, &batch.plan, now_ms(shard));
}

/// Hands more recipients of an active message to the scheduler.
pub(super) fn refill(shard: &Rc<Shard>, id: QueuedId, recipients_max: u32) {
    let message = shard.qmgr.message(id);
    if message.in_pieces().is_none() {
        let batch = next_recipients(shard, &message, recipients_max);
        return refilled(shard, &message, &batch);
    }
    let shard = shard.clone();
    shard.clone().handle.spawn(async move {
        let batch = next_recipients_in_pieces(&shard, &message, recipients_max).await;
        refilled(&shard, &message, &batch);
        pump(&shard);
    });
}

fn refilled(shard: &Shard, message: &ActiveMessage, batch: &RecipientBatch) {
    let read = Refilled { deferred: batch.deferred, unread: message.unread.get().count };
    let id = QueuedId(message.id.bits());
    shard.qmgr.scheduler.borrow_mut().refilled(id, read, &batch.plan, now_ms(shard));
}

/// Recipients as the scheduler takes them.
#[derive(Default)]
struct RecipientBatch {
    plan: SmallVec<[(SiteHandle, u32); 4]>,
    /// Recipients that are deferred, because nothing here can deliver them or they cannot be read.
    deferred: u32,
}

/// Resolves the next recipients of a message, `recipients_max` at most.
fn next_recipients(shard: &Rc<Shard>, message: &ActiveMessage, recipients_max: u32) -> RecipientBatch {
    let mut unread = message.unread.get();
    let left = unread.count - unread.count.min(recipients_max);
    let mut batch = Resolving::new(shard, message);
    for (index, recipient) in message.envelope.recipients_from(unread.from) {
        if unread.count == left {
            break;
        }
        unread.from = index + 1;
        if message.progress.borrow().is_done(index) {
            continue;
        }
        unread.count -= 1;
        batch.resolve(index, recipient.address);
    }
    assert_eq!(unread.count, left, "nothing finishes a recipient that has not been handed to the scheduler");
    message.unread.set(unread);
    batch.finish()
}

/// As [`next_recipients`], with recipients that are read from the spool. They are resolved when all of them are there:
/// the scheduler may forget a site that it has no mail for.
async fn next_recipients_in_pieces(
    shard: &Rc<Shard>,
    message: &ActiveMessage,
    recipients_max: u32,
) -> RecipientBatch {
    let Some(stored) = message.in_pieces() else { return RecipientBatch::default() };
    let mut unread = message.unread.get();
    let most = unread.count.min(recipients_max);
    let (mut read, mut lost): (Vec<(u32, KeptRecipient)>, u32) = (Vec::new(), 0);
    while (read.len() as u32 + lost) < most {
        let number = stored.envelope.piece_of(unread.from);
        let end = stored.indexes(number).end;
        assert!(unread.from < end, "nothing finishes a recipient that has not been handed to the scheduler");
        match stored.part(&shard.spool, number).await {
            Ok(part) => {
                let progress = message.progress.borrow();
                let room = (most - lost) as usize;
                part.for_each(|index, recipient| {
                    let is_next = index >= unread.from && read.len() < room;
                    if is_next {
                        unread.from = index + 1;
                    }
                    if is_next && !progress.is_done(index) {
                        read.push((index, KeptRecipient::of(&recipient)));
                    }
                });
            }
            Err(error) => {
                lost += pass_over(shard, message, stored, unread.from..end, &error);
                unread.from = end;
            }
        }
    }
    unread.count -= read.len() as u32 + lost;
    message.unread.set(unread);
    let mut batch = Resolving::new(shard, message);
    for (index, recipient) in &read {
        message.keep(*index, recipient.clone());
        batch.resolve(*index, recipient.get().address);
    }
    let mut batch = batch.finish();
    batch.deferred += lost;
    batch
}

/// Recipients that cannot be read are deferred; answers how many of these indexes that are.
fn pass_over(
    shard: &Shard,
    message: &ActiveMessage,
    stored: &StoredEnvelope,
    indexes: std::ops::Range<u32>,
    error: &LoadError,
) -> u32 {
    let mut progress = message.progress.borrow_mut();
    let lost: Vec<u32> = indexes.filter(|&index| !progress.is_done(index)).collect();
    shard.log.warning(
        "qmgr",
        shard.index as u32,
        format_args!(
            "{}: {} of {} recipients cannot be read: {error}",
            message.queue_id.as_str(),
            lost.len(),
            stored.envelope.recipient_count()
        ),
    );
    let reason = Reason {
        status: Status::persistent(3, 0),
        text: "queue file read error".to_owned(),
        reply: String::new(),
        remote_mta: String::new(),
    };
    progress.put_off(reason, lost.iter().copied());
    lost.len() as u32
}

/// A batch in the making. Nothing may be awaited until the scheduler has it.
struct Resolving<'a> {
    shard: &'a Rc<Shard>,
    message: &'a ActiveMessage,
    plan: SmallVec<[(SiteHandle, u32); 4]>,
    unresolved: SmallVec<[u32; 4]>,
}

impl<'a> Resolving<'a> {
    fn new(shard: &'a Rc<Shard>, message: &'a ActiveMessage) -> Resolving<'a> {
        Resolving { shard, message, plan: SmallVec::new(), unresolved: SmallVec::new() }
    }

    fn resolve(&mut self, index: u32, address: &str) {
        match routing::destination(self.shard, self.message.envelope.sender(), address) {
            Destination::Site { transport, nexthop } => {
                let name = self.shard.settings.site_name(&transport, &nexthop, address);
                let site = self.shard.qmgr.scheduler.borrow_mut().site(&transport, &name);
                self.plan.push((site, index));
            }
            Destination::Unavailable if bounce::ends_here(self.shard, address) => {
                bounce::discard(self.shard, self.message, index, address);
                self.message.let_go([index]);
            }
            Destination::Unavailable => self.unresolved.push(index),
        }
    }

    fn finish(self) -> RecipientBatch {
        let Resolving { shard, message, plan, unresolved } = self;
        if !unresolved.is_empty() {
            put_off(shard, message, &unresolved, Status::persistent(3, 0), "mail transport unavailable");
        }
        RecipientBatch { plan, deferred: unresolved.len() as u32 }
    }
}
