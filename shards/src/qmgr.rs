//! qmgr: performs what the scheduler of `ringpost_core::qmgr` decides, for the messages of one shard.
//!
//! Receives: messages that are committed; the ends of deliveries; the recovered queue at the start.
//! Sends:    deliveries to the SMTP client; outcome, retry and remove records to the spool; notices to bounce; the
//!           lines `queue active`, `removed` and `status=expired`.
//! Owns:     the scheduler, and the active messages in memory.
//! Limits:   `qmgr_message_active_limit` and the scheduler's byte budgets bound what is in memory; beyond them only
//!           ids are kept and messages are loaded again when their turn comes. Recipients are resolved and queued by
//!           batches; those of a large envelope are in memory only while the scheduler has them (`activation`).
//! On failure: a message that cannot be read is postponed (disk trouble) or set aside as corrupt (damage); while the
//!           spool cannot take records no delivery starts, because its outcome could not be kept.
//! Standards: Postfix's qmgr(8); RFC 5321 section 4.5.4.1.

mod activation;
mod ending;
mod error;
pub mod routing;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};
use ringpost_core::dsn::Status;
use ringpost_core::envelope::{Reason, Reports};
use ringpost_core::qmgr::{
    Action, Custody, Delivery, DeliveryReport, MessageId as QueuedId, MessageState, QmgrSettings, Scheduler,
    ShardPlace, SiteHandle, SiteNames, SlotMessage,
};
use ringpost_reactor::local::Notify;
use ringpost_spool::{MessageId, SpoolEvent, SpoolState};

use crate::message::ActiveMessage;
use crate::race::race;
use crate::shard::{Lasting, Shard};
use crate::{smtp, verify};

use self::ending::AttemptEnd;

pub mod operator;

/// The queue manager of one shard.
pub struct Qmgr {
    scheduler: RefCell<Scheduler>,
    messages: RefCell<HashMap<u64, Rc<ActiveMessage>, foldhash::fast::RandomState>>,
    /// Messages whose attempt is over but for its notice, which is being stored.
    notices_pending: RefCell<HashSet<u64, foldhash::fast::RandomState>>,
    /// Messages that an operator has deleted or requeues, until the scheduler gives them back.
    fates: RefCell<HashMap<u64, operator::Fate, foldhash::fast::RandomState>>,
    /// Recipients of large envelopes that are being read for messages which become active; the scheduler knows of those
    /// that it has asked for itself.
    recipients_being_read: Cell<u32>,
    pumping: Cell<bool>,
    /// Told when the scheduler wants to be woken before [`Qmgr::sleeping_until_ms`].
    rescheduled: Notify,
    /// When the timekeeping task wakes by itself; wall clock in milliseconds, `u64::MAX` for never.
    sleeping_until_ms: Cell<u64>,
    deliveries_running: Cell<u32>,
    /// Another shard has said something that the scheduler may act on.
    slots_heard: Cell<bool>,
}

impl Qmgr {
    /// An empty queue.
    pub fn new(settings: QmgrSettings, place: ShardPlace, now_ms: u64) -> Qmgr {
        Qmgr {
            scheduler: RefCell::new(Scheduler::new(settings, now_ms).among(place)),
            slots_heard: Cell::new(false),
            messages: RefCell::default(),
            notices_pending: RefCell::default(),
            fates: RefCell::default(),
            recipients_being_read: Cell::new(0),
            pumping: Cell::new(false),
            rescheduled: Notify::new(),
            sleeping_until_ms: Cell::new(0),
            deliveries_running: Cell::new(0),
        }
    }

    /// Deliveries, notices and reports that have begun and not ended: what a stop waits for.
    pub fn deliveries_running(&self) -> u32 {
        self.deliveries_running.get()
    }

    /// Something begins that a stop waits for.
    pub fn work_begins(&self) {
        self.deliveries_running.set(self.deliveries_running.get() + 1);
    }

    /// It has ended.
    pub fn work_ends(&self, shard: &Shard) {
        self.deliveries_running.set(self.deliveries_running.get() - 1);
        shard.quieter.notify();
    }

    /// An active message. A delivery's message is active until its last delivery ended.
    pub fn message(&self, id: QueuedId) -> Rc<ActiveMessage> {
        self.messages.borrow().get(&id.0).expect("a message in delivery is in memory").clone()
    }

    /// The nexthop of a site in delivery.
    pub fn nexthop(&self, site: SiteHandle) -> String {
        let scheduler = self.scheduler.borrow();
        let (_transport, nexthop) = scheduler.site_names(site).expect("a site in delivery is not forgotten");
        // Where each recipient is a destination of its own, the nexthop follows the local part.
        nexthop.rsplit_once('@').map_or(nexthop, |(_, nexthop)| nexthop).to_owned()
    }
}

impl Qmgr {
    /// The whole names of a site; `None` when it has been forgotten.
    pub fn site_names(&self, site: SiteHandle) -> Option<SiteNames> {
        let scheduler = self.scheduler.borrow();
        let (transport, nexthop) = scheduler.site_names(site)?;
        Some(SiteNames { transport: transport.into(), nexthop: nexthop.into() })
    }

    /// Whether these are the site's names.
    pub fn is_site(&self, site: SiteHandle, names: &SiteNames) -> bool {
        self.scheduler.borrow().site_names(site) == Some((&*names.transport, &*names.nexthop))
    }
}

/// The wall clock as the scheduler counts it: milliseconds since 1970.
pub fn now_ms(shard: &Lasting) -> u64 {
    shard.handle.wall().as_micros() / 1000
}

/// Takes the recovered queue over from the spool.
pub fn recover(shard: &Rc<Shard>) {
    let now_ms = now_ms(shard);
    let mut scheduler = shard.qmgr.scheduler.borrow_mut();
    for queued in shard.spool.queued() {
        let id = QueuedId(queued.id.bits());
        match queued.held {
            true => scheduler.recovered_held(id),
            false => scheduler.recovered(id, u64::from(queued.due_at_s) * 1000, now_ms),
        }
    }
}

/// Keeps time for the scheduler; the shard spawns it once.
pub async fn run(shard: Rc<Lasting>) {
    loop {
        shard.qmgr.sleeping_until_ms.set(0);
        shard.qmgr.scheduler.borrow_mut().tick(now_ms(&shard));
        pump(&shard.newest());
        let wakeup_ms = shard.qmgr.scheduler.borrow_mut().next_wakeup();
        shard.qmgr.sleeping_until_ms.set(wakeup_ms.unwrap_or(u64::MAX));
        match wakeup_ms {
            None => shard.qmgr.rescheduled.notified().await,
            Some(at_ms) => {
                let wait = Duration::from_millis(at_ms.saturating_sub(now_ms(&shard)).max(1));
                race(shard.qmgr.rescheduled.notified(), shard.handle.sleep(wait)).await;
            }
        }
    }
}

/// Takes a message that has just been committed. Kept in memory for its first attempt if there is room.
pub fn accepted(shard: &Rc<Shard>, message: ActiveMessage) {
    let id = QueuedId(message.id.bits());
    let custody = shard.qmgr.scheduler.borrow_mut().arrived(id, message.memory_bytes(), now_ms(shard));
    if custody == Custody::KeepBytes {
        shard.qmgr.messages.borrow_mut().insert(id.0, Rc::new(message));
    }
    pump(shard);
}

/// Takes a message that was committed but is not in memory (its content came in chunks).
pub fn accepted_in_spool(shard: &Rc<Shard>, id: MessageId) {
    // Nothing is kept, whatever the scheduler would allow: the message is loaded at its activation.
    let _ = shard.qmgr.scheduler.borrow_mut().arrived(QueuedId(id.bits()), 0, now_ms(shard));
    pump(shard);
}

/// Takes a message that was committed on hold.
pub fn accepted_on_hold(shard: &Rc<Shard>, id: MessageId) {
    shard.qmgr.scheduler.borrow_mut().recovered_held(QueuedId(id.bits()));
}

/// These messages are due now, if they are deferred. Those that are gone, on hold or corrupt are left alone.
pub fn make_due(shard: &Rc<Shard>, ids: &[QueuedId]) {
    let now_ms = now_ms(shard);
    let mut scheduler = shard.qmgr.scheduler.borrow_mut();
    for &id in ids {
        scheduler.flush_message(id, now_ms);
    }
    drop(scheduler);
    pump(shard);
}

/// Sites that are dead are tried again with the next mail for them.
pub fn forget_dead_sites(shard: &Rc<Shard>) {
    shard.qmgr.scheduler.borrow_mut().forget_dead_sites(now_ms(shard));
    pump(shard);
}

/// The queue that a message is in; `None` for one that is gone.
pub fn state(shard: &Shard, id: QueuedId) -> Option<MessageState> {
    shard.qmgr.scheduler.borrow().state(id)
}

/// `postsuper -e`: the message is returned to its sender at the end of its next attempt, or of the one that runs. False:
/// it is not known, or corrupt.
pub fn force_expire(shard: &Rc<Shard>, id: MessageId) -> bool {
    let queued_id = QueuedId(id.bits());
    if !shard.qmgr.scheduler.borrow_mut().force_expire(queued_id, now_ms(shard)) {
        return false;
    }
    if let Some(message) = shard.qmgr.messages.borrow().get(&queued_id.0) {
        message.force_expired.set(true);
    }
    shard.spool.force_expire(id);
    true
}

/// Takes what another shard says of a destination's slots; [`heard`] follows when all that it said is taken.
pub fn hear_slots(shard: &Shard, from: usize, message: SlotMessage) {
    shard.qmgr.scheduler.borrow_mut().hear(from as u16, message, now_ms(shard));
    shard.qmgr.slots_heard.set(true);
}

/// Acts on what other shards have said.
pub fn heard(shard: &Rc<Shard>) {
    if shard.qmgr.slots_heard.take() {
        pump(shard);
    }
}

/// Lets the scheduler say to the other shards what they have not heard; false if some ring was full.
pub fn say_slots(shard: &Lasting, send: impl FnMut(u16, SlotMessage) -> Result<(), SlotMessage>) -> bool {
    shard.qmgr.scheduler.borrow_mut().say(now_ms(shard), send)
}

/// The stop has begun: nothing more starts, and other shards get back what this one holds of their sites.
pub fn stop(shard: &Rc<Shard>) {
    shard.qmgr.scheduler.borrow_mut().stop(now_ms(shard));
    pump(shard);
}

/// New settings hold from now on. What is active and not in delivery goes back to where it is resolved anew, as Postfix's
/// queue manager does.
pub fn renew(shard: &Rc<Shard>) {
    let now_ms = now_ms(shard);
    let mut scheduler = shard.qmgr.scheduler.borrow_mut();
    scheduler.renew(shard.settings.qmgr.clone(), now_ms);
    scheduler.reconsider(now_ms);
    drop(scheduler);
    pump(shard);
}

/// Carries out what the scheduler wants done, with the newest settings, whoever called. Actions may lead to further
/// events; those are taken up by the same loop.
pub fn pump(shard: &Rc<Shard>) {
    if shard.qmgr.pumping.replace(true) {
        return;
    }
    let shard = &shard.newest();
    loop {
        let action = shard.qmgr.scheduler.borrow_mut().poll_action();
        match action {
            Some(action) => perform(shard, action),
            None => break,
        }
    }
    shard.qmgr.pumping.set(false);
    report_spool_events(shard);
    let scheduler = shard.qmgr.scheduler.borrow();
    if scheduler.has_slot_news() {
        shard.slots.has_news();
    }
    let wakeup_ms = scheduler.next_wakeup();
    if wakeup_ms.is_some_and(|at_ms| at_ms < shard.qmgr.sleeping_until_ms.get()) {
        shard.qmgr.rescheduled.notify();
    }
}

fn perform(shard: &Rc<Shard>, action: Action) {
    match action {
        // At the stop nothing new is begun; what is not begun is found in the spool at the next start.
        Action::Activate { .. } | Action::Refill { .. } | Action::Deliver(_) if shard.drain.begun() => {}
        Action::Activate { id } => activation::activate(shard, id),
        Action::Refill { id, recipients_max } => activation::refill(shard, id, recipients_max),
        Action::Deliver(delivery) => deliver(shard, delivery),
        Action::DeferNow { id, site: _, recipients, status, reason } => {
            let message = shard.qmgr.message(id);
            let text = format!("delivery temporarily suspended: {reason}");
            put_off(shard, &message, &recipients, status, &text);
        }
        Action::DeferTransport { id, site: _, recipients } => {
            let message = shard.qmgr.message(id);
            put_off(shard, &message, &recipients, Status::persistent(3, 2), "deferred transport");
        }
        Action::WarnOfClog { site, messages, active } => warn_of_clog(shard, site, messages, active),
        // It could not be loaded: the spool's record of it holds, until the scheduler has it tried again.
        Action::Retry { id, .. } if !shard.qmgr.messages.borrow().contains_key(&id.0) => {}
        Action::MessageDone { id } if operator::was_deleted(shard, id) => {}
        Action::MessageDone { id } => ending::end_attempt(shard, id, AttemptEnd::Done),
        Action::Retry { id, due_at_ms } => ending::end_attempt(shard, id, AttemptEnd::Retry { due_at_ms }),
        Action::Expire { id } => ending::end_attempt(shard, id, AttemptEnd::Expired),
        Action::Held { id } => operator::held(shard, id),
    }
}

/// Like Postfix, this says what may help.
fn warn_of_clog(shard: &Shard, site: SiteHandle, messages: u32, active: u32) {
    let scheduler = shard.qmgr.scheduler.borrow();
    let Some((transport, nexthop)) = scheduler.site_names(site) else { return };
    let number = shard.index as u32;
    shard.log.warning(
        "qmgr",
        number,
        format_args!("mail for {nexthop} is using up {messages} of {active} active queue entries"),
    );
    shard.log.warning(
        "qmgr",
        number,
        format_args!(
            "other mail waits behind it: you may need to raise {transport}_destination_concurrency_limit, or to give \
             {nexthop} a transport of its own; qmgr_clog_warn_time = 0 turns this warning off"
        ),
    );
}

// ---------------------------------------------------------------------------------------------------------------
// deliveries

fn deliver(shard: &Rc<Shard>, delivery: Delivery) {
    if shard.spool.ready_for_notes() {
        shard.qmgr.work_begins();
        smtp::start(shard, delivery);
        return;
    }
    let message = shard.qmgr.message(delivery.id);
    put_off(shard, &message, &delivery.recipients, Status::persistent(3, 0), "queue file write error");
    let report = DeliveryReport { done: 0, deferred: delivery.recipients.len() as u32, trouble: None };
    shard.qmgr.scheduler.borrow_mut().delivery_finished(delivery.delivery_id, report, now_ms(shard));
}

/// What a delivery agent has found out about the recipients of one delivery. Every recipient is in one of the three.
#[derive(Default)]
pub struct DeliveryEnd {
    /// Recipients that the server took, of which nobody is told.
    pub sent: Vec<u32>,
    /// Recipients that failed for good, and delivered ones that the sender wants to hear of.
    pub reports: Reports,
    /// Recipients to be tried again, with the reason.
    pub deferred: Vec<(u32, Reason)>,
    /// Connection or handshake trouble, with its text.
    pub trouble: Option<String>,
    /// The transport has failed as a whole; what its other mail is told.
    pub transport_failure: Option<&'static str>,
}

/// Takes the end of a delivery, records it, and answers the next delivery for the same site, if one may start now: a
/// kept connection then goes on at once.
pub fn delivery_ended(shard: &Rc<Shard>, delivery: &Delivery, end: DeliveryEnd) -> Option<Delivery> {
    let message = shard.qmgr.message(delivery.id);
    let end = verify::settled(&message, end);
    let sent = end.sent.len() as u64 + u64::from(end.reports.confirmations());
    let bounced = u64::from(end.reports.failures());
    shard.counters.recipients_sent.add(sent);
    shard.counters.recipients_bounced.add(bounced);
    shard.counters.recipients_deferred.add(end.deferred.len() as u64);
    let report = DeliveryReport {
        done: (sent + bounced) as u32,
        deferred: end.deferred.len() as u32,
        trouble: end.trouble.as_deref(),
    };
    ending::record(shard, &message, &end);
    let mut scheduler = shard.qmgr.scheduler.borrow_mut();
    if let Some(reason) = end.transport_failure
        && scheduler.transport_failed(delivery.site, reason, now_ms(shard))
    {
        let transport = scheduler.site_names(delivery.site).map_or("", |(transport, _)| transport);
        shard.log.warning(
            "qmgr",
            shard.index as u32,
            format_args!(
                "transport {transport} failure -- see a previous warning for the problem description"
            ),
        );
    }
    scheduler.delivery_finished(delivery.delivery_id, report, now_ms(shard));
    // A connection of older settings takes no more mail.
    let ends = shard.drain.begun() || !shard.is_newest();
    let next = if ends { None } else { scheduler.next_for(delivery.site) };
    drop(scheduler);
    if next.is_none() {
        shard.qmgr.work_ends(shard);
    }
    pump(shard);
    next
}

/// Logs and remembers that these recipients are deferred without an attempt.
fn put_off(shard: &Rc<Shard>, message: &ActiveMessage, recipients: &[u32], status: Status, text: &str) {
    let reason = Reason { status, text: text.to_owned(), reply: String::new(), remote_mta: String::new() };
    shard.counters.recipients_deferred.add(recipients.len() as u64);
    smtp::log_without_attempt(shard, message, &message.at_hand(recipients), recipients, &reason);
    message.progress.borrow_mut().put_off(reason, recipients.iter().copied());
    message.let_go(recipients.iter().copied());
}

fn report_spool_events(shard: &Rc<Shard>) {
    for event in shard.spool.take_events() {
        match event {
            SpoolEvent::Recovered { .. } | SpoolEvent::State(SpoolState::Healthy) => {
                shard.log.info("qmgr", shard.index as u32, format_args!("spool: {event}"));
            }
            event => shard.log.warning("qmgr", shard.index as u32, format_args!("spool: {event}")),
        }
    }
}
