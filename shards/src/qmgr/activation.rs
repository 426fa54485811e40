//! incoming → active: a message's first recipients, and then more of them whenever the scheduler has room.
//!
//! Limits: the recipients that the scheduler asks for, and a piece of each large envelope at the least. These are read
//! from the spool a piece at a time, and kept while the scheduler has them.
//! On failure: a message that cannot be read is postponed, a damaged one set aside as corrupt. When a piece of an envelope
//! cannot be read, its recipients are deferred and all others served; if it was damage, the spool gives the message up
//! when it is due again.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

use ringpost_core::dsn::Status;
use ringpost_core::envelope::{KeptRecipient, Reason, Recipient};
use ringpost_core::lookup::{LookupTrouble, at_once};
use ringpost_core::qmgr::{MessageId as QueuedId, Refilled, Resolved, SiteHandle};
use ringpost_core::resolve::{AddressClass, ResolveSettings, Route};
use ringpost_spool::{LoadError, MessageId};
use smallvec::SmallVec;

use super::error::Undelivered;
use super::{now_ms, pump, put_off};
use crate::bounce;
use crate::message::{ActiveMessage, Unread};
use crate::recipients::StoredEnvelope;
use crate::settings::{Agent, Settings};
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
        Some(message) if message.in_pieces().is_some() => {
            let shard = shard.clone();
            shard.clone().handle.spawn(async move {
                begin_attempt_in_pieces(&shard, &message).await;
                pump(&shard);
            });
        }
        Some(message) if asks_tables(shard, &message) => {
            let own = shard.clone();
            start(shard, async move { begin_attempt_asking(&own, &message).await });
        }
        Some(message) => begin_attempt(shard, &message),
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
                None if asks_tables(&shard, &message) => {
                    Box::pin(begin_attempt_asking(&shard, &message)).await;
                }
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

/// As [`begin_attempt`], where tables must be asked.
async fn begin_attempt_asking(shard: &Rc<Shard>, message: &ActiveMessage) {
    announce(shard, message);
    let recipients_max = shard.qmgr.scheduler.borrow().batch_recipients();
    let batch = next_recipients_asking(shard, message, recipients_max).await;
    activated(shard, message, &batch);
}

/// Does what tables in memory let be done at once; what has to wait for others goes on as a task.
fn start(shard: &Rc<Shard>, work: impl Future<Output = ()> + 'static) {
    let mut work = Box::pin(work);
    if at_once(work.as_mut()).is_none() {
        let shard = shard.clone();
        shard.clone().handle.spawn(async move {
            work.await;
            pump(&shard);
        });
    }
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
    if message.in_pieces().is_none() && asks_tables(shard, &message) {
        let own = shard.clone();
        return start(shard, async move {
            let batch = next_recipients_asking(&own, &message, recipients_max).await;
            refilled(&own, &message, &batch);
        });
    }
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

/// Resolves the next recipients of a message, `recipients_max` at most, where that asks no table.
fn next_recipients(shard: &Rc<Shard>, message: &ActiveMessage, recipients_max: u32) -> RecipientBatch {
    let mut batch = Resolving::new(shard, message);
    for_next(message, recipients_max, |index, recipient| {
        let route = at_once(route(shard, message, recipient.address)).expect("no table is asked");
        batch.place(index, &recipient, route);
    });
    batch.finish()
}

/// Calls `each` with the next recipients of a message that has its envelope whole.
fn for_next<'m>(message: &'m ActiveMessage, recipients_max: u32, mut each: impl FnMut(u32, Recipient<'m>)) {
    let mut unread = message.unread.get();
    let left = unread.count - unread.count.min(recipients_max);
    for (index, recipient) in message.envelope.recipients_from(unread.from) {
        if unread.count == left {
            break;
        }
        unread.from = index + 1;
        if message.progress.borrow().is_done(index) {
            continue;
        }
        unread.count -= 1;
        each(index, recipient);
    }
    assert_eq!(unread.count, left, "nothing finishes a recipient that has not been handed to the scheduler");
    message.unread.set(unread);
}

/// As [`next_recipients`], where tables must be asked. All routes are known before the first site is: the scheduler may
/// forget a site that it has no mail for.
async fn next_recipients_asking(
    shard: &Rc<Shard>,
    message: &ActiveMessage,
    recipients_max: u32,
) -> RecipientBatch {
    let mut next: SmallVec<[(u32, Recipient<'_>); 1]> = SmallVec::new();
    for_next(message, recipients_max, |index, recipient| next.push((index, recipient)));
    let mut routes = SmallVec::<[_; 1]>::new();
    for (_, recipient) in &next {
        routes.push(route(shard, message, recipient.address).await);
    }
    let mut batch = Resolving::new(shard, message);
    for ((index, recipient), route) in next.iter().zip(routes) {
        batch.place(*index, recipient, route);
    }
    batch.finish()
}

/// As [`next_recipients`], with recipients that are read from the spool. Sites are found when all of them are there
/// and resolved.
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
    let recipients: Vec<Recipient<'_>> = read.iter().map(|(_, recipient)| recipient.get()).collect();
    let mut routes = Vec::with_capacity(read.len());
    for recipient in &recipients {
        routes.push(route(shard, message, recipient.address).await);
    }
    let mut batch = Resolving::new(shard, message);
    for (((index, kept), recipient), route) in read.iter().zip(&recipients).zip(routes) {
        message.keep(*index, kept.clone());
        batch.place(*index, recipient, route);
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

/// Where the mail for this address goes.
async fn route<'a>(
    shard: &'a Rc<Shard>,
    message: &ActiveMessage,
    address: &'a str,
) -> Result<Route<'a>, LookupTrouble> {
    match message.envelope.filter() {
        "" => routes(shard, message).resolve(&shard.tables, message.envelope.sender(), address).await,
        filter => Ok(to_filter(&shard.settings, filter, address)),
    }
}

/// What decides about routes: probes may have some of their own.
fn routes<'a>(shard: &'a Shard, message: &ActiveMessage) -> &'a ResolveSettings {
    let settings = &shard.settings;
    let probes = settings.probes.as_ref().filter(|_| message.envelope.is_probe());
    probes.map_or(&settings.resolve, |probes| &probes.resolve)
}

fn asks_tables(shard: &Shard, message: &ActiveMessage) -> bool {
    routes(shard, message).asks_tables()
}

/// The whole message goes through a filter, wherever its recipients' mail goes.
fn to_filter<'a>(settings: &'a Settings, filter: &str, address: &'a str) -> Route<'a> {
    let (transport, nexthop) = filter.split_once(':').unwrap_or((filter, ""));
    let domain = address.rsplit_once('@').map(|(_, domain)| domain);
    let nexthop = match nexthop {
        "" if !settings.default_filter_nexthop.is_empty() => Cow::Borrowed(&*settings.default_filter_nexthop),
        "" => Cow::Borrowed(domain.unwrap_or(&settings.myhostname)),
        nexthop => Cow::Owned(nexthop.to_owned()),
    };
    Route {
        transport: Cow::Owned(transport.to_owned()),
        nexthop,
        recipient: Cow::Borrowed(address),
        class: AddressClass::Default,
        routed: false,
        malformed: false,
    }
}

/// A batch in the making. Nothing may be awaited between the first place and the scheduler's having it.
struct Resolving<'a> {
    shard: &'a Rc<Shard>,
    message: &'a ActiveMessage,
    plan: SmallVec<[(SiteHandle, u32); 4]>,
    unresolved: SmallVec<[u32; 4]>,
    undelivered: Undelivered<'a>,
}

impl<'a> Resolving<'a> {
    fn new(shard: &'a Rc<Shard>, message: &'a ActiveMessage) -> Resolving<'a> {
        let undelivered = Undelivered::new(shard, message);
        Resolving { shard, message, plan: SmallVec::new(), unresolved: SmallVec::new(), undelivered }
    }

    fn place(&mut self, index: u32, recipient: &Recipient<'_>, route: Result<Route<'_>, LookupTrouble>) {
        let Resolving { shard, message, .. } = *self;
        let route = match route {
            Ok(route) => route,
            Err(trouble) => {
                let number = shard.index as u32;
                let text = format_args!("{}: {trouble}", message.queue_id.as_str());
                shard.log.warning("trivial-rewrite", number, text);
                return self.undelivered.defer(index, "4.3.0 address resolver failure");
            }
        };
        if route.recipient != recipient.address {
            message.redirect(index, recipient, &route.recipient);
        }
        if route.class == AddressClass::Local && bounce::ends_here(shard, &route.recipient) {
            bounce::discard(shard, message, index, &route.recipient);
            return message.let_go([index]);
        }
        match shard.settings.agents.agent(&route.transport) {
            Some(Agent::Smtp) => {
                let name = shard.settings.site_name(&route.transport, &route.nexthop, &route.recipient);
                let site = shard.qmgr.scheduler.borrow_mut().site(&route.transport, &name);
                self.plan.push((site, index));
            }
            Some(agent) => self.undelivered.take(agent, index, &route.nexthop),
            None => self.unresolved.push(index),
        }
    }

    fn finish(self) -> RecipientBatch {
        let Resolving { shard, message, plan, unresolved, undelivered } = self;
        if !unresolved.is_empty() {
            put_off(shard, message, &unresolved, Status::persistent(3, 0), "mail transport unavailable");
        }
        RecipientBatch { plan, deferred: unresolved.len() as u32 + undelivered.finish() }
    }
}
