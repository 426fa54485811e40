//! The scheduler: admission, the choice of the next action, and time.
//!
//! Attempts (what happens to an active message) are in `attempt`, operators' requests in `operator`.

use super::action::{Action, Custody, Delivery, DeliveryId, MessageState};
use super::arena::{Arena, Key};
use super::attempt::{ActiveMessage, RunningDelivery};
use super::fifo::Fifo;
use super::operator::Sweeping;
use super::roster::{Place, Roster, VALUE_MAX};
use super::settings::QmgrSettings;
use super::site_table::{Line, SiteTable};
use super::slots::SiteHandle;
use super::timeline::Timeline;
use super::transport::TransportIndex;
use super::wheel::Wheel;
use super::{MessageId, Recipients};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Messages that are being loaded and resolved at a time. Bounds reads in flight, and what a shard does of it between two
/// looks at its clients: mail that was deferred together comes due together, thousands in a second. Sixteen reads at a
/// time still give tens of thousands of messages a second.
const ACTIVATING_MAX: u32 = 16;
/// Active messages below which no site clogs anything: a full queue that small is full of large messages.
const CLOG_MIN: usize = 100;
/// What a message counts for in memory until its size is known: the spool inlines bodies up to 128 KiB.
const UNKNOWN_BYTES: u32 = 64 << 10;

/// The queue manager of one shard. See the module's head for how it is driven.
pub struct Scheduler {
    pub(super) settings: QmgrSettings,
    pub(super) timeline: Timeline,
    pub(super) roster: Roster,
    pub(super) incoming: Fifo,
    /// Mail that a flush lets go: due, and tried even by transports that `defer_transports` names.
    pub(super) flushed: Fifo,
    pub(super) wheel: Wheel,
    pub(super) sweeping: Sweeping,
    /// The queues begin with so many buried entries that the look for a message was broken off.
    buried_ahead: bool,
    pub(super) kept_bytes: u64,
    pub(super) active: Arena<ActiveMessage>,
    pub(super) active_bytes: u64,
    /// Recipients in site queues and deliveries.
    pub(super) active_recipients: u64,
    /// Recipients that the caller was told to read.
    pub(super) reading_recipients: u64,
    /// New mail has waited for room among the active, and some still waits.
    pub(super) is_full: bool,
    pub(super) activating: u32,
    /// Recipients in site queues whose messages have been withdrawn; swept when they are many.
    pub(super) stale_recipients: u64,
    pub(super) sites: SiteTable,
    /// Ends of the time for which grants without work are kept, in order.
    pub(super) lingering: VecDeque<(u64, SiteHandle)>,
    /// The shard stops: no delivery starts, other shards get their grants back.
    pub(super) stopping: bool,
    pub(super) deliveries: Arena<RunningDelivery>,
    /// Sites that may start something: those whose first job is small, and those with a bulk job in front. Both
    /// lines are served in turn, so that mail for many sites at once cannot keep a small message waiting.
    ready: [VecDeque<SiteHandle>; 2],
    ready_turn: usize,
    suspending: VecDeque<SiteHandle>,
    /// Ends of rate delays of sites.
    pub(super) paused: BinaryHeap<Reverse<(u64, SiteHandle)>>,
    /// Ends of rate delays of transports.
    pub(super) paused_transports: BinaryHeap<Reverse<(u64, TransportIndex)>>,
    /// Outcomes that follow from events; drained first.
    pub(super) outbox: VecDeque<Action>,
    /// Work space of `activated`.
    pub(super) plan: Vec<(SiteHandle, u32)>,
    deferred_turn: bool,
}

/// Levels for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QmgrFigures {
    /// Messages in *incoming*.
    pub incoming: usize,
    /// Active messages.
    pub active: usize,
    /// Deferred messages, those that are due but wait for room included.
    pub deferred: usize,
    /// Messages on hold.
    pub hold: usize,
    /// Corrupt messages.
    pub corrupt: usize,
    /// Deliveries in progress.
    pub deliveries: usize,
    /// Sites that are known, idle ones included.
    pub sites: usize,
    /// Recipients of active messages in memory.
    pub active_recipients: u64,
    /// Bytes of active messages in memory.
    pub active_bytes: u64,
    /// Bytes of incoming messages in memory.
    pub kept_bytes: u64,
    /// Bytes that the table of all messages takes.
    pub roster_bytes: usize,
}

impl Scheduler {
    /// A queue manager that knows no messages; `now_ms` is the wall clock.
    ///
    /// Limits of 0 that would stop all work count as 1, and `queue_run_delay` as at least a second.
    pub fn new(settings: QmgrSettings, now_ms: u64) -> Self {
        let settings = settings.sound();
        Self {
            timeline: Timeline::new(now_ms),
            roster: Roster::new(),
            incoming: Fifo::EMPTY,
            flushed: Fifo::EMPTY,
            wheel: Wheel::new(),
            sweeping: Sweeping::Incoming,
            buried_ahead: false,
            kept_bytes: 0,
            active: Arena::new(),
            active_bytes: 0,
            active_recipients: 0,
            reading_recipients: 0,
            is_full: false,
            activating: 0,
            stale_recipients: 0,
            sites: SiteTable::new(&settings),
            lingering: VecDeque::new(),
            stopping: false,
            deliveries: Arena::new(),
            ready: [VecDeque::new(), VecDeque::new()],
            ready_turn: 0,
            suspending: VecDeque::new(),
            paused: BinaryHeap::new(),
            paused_transports: BinaryHeap::new(),
            outbox: VecDeque::new(),
            plan: Vec::new(),
            deferred_turn: false,
            settings,
        }
    }

    /// A message has just been committed; `bytes` of it are in the caller's memory.
    pub fn arrived(&mut self, id: MessageId, bytes: u32, now_ms: u64) -> Custody {
        self.timeline.observe(now_ms);
        let keeps = self.roster.count(Place::Kept) < self.settings.incoming_kept_messages_max as usize
            && self.kept_bytes < self.settings.incoming_kept_bytes_max;
        let (place, bytes, custody) = if keeps {
            (Place::Kept, bytes.min(VALUE_MAX), Custody::KeepBytes)
        } else {
            (Place::Incoming, 0, Custody::DropBytes)
        };
        self.kept_bytes += u64::from(bytes);
        let index = self.roster.insert(id, place, bytes);
        self.incoming.push_back(&mut self.roster, index);
        custody
    }

    /// A message from the spool, at start or after an [`Action::Expire`] that could not be carried out. What is
    /// due already is tried as soon as there is room.
    pub fn recovered(&mut self, id: MessageId, due_at_ms: u64, now_ms: u64) {
        self.timeline.observe(now_ms);
        let due_s = self.second_of(self.timeline.scheduler_time_of(due_at_ms));
        let index = self.roster.insert(id, Place::Deferred, due_s);
        self.wheel.insert(&mut self.roster, index);
    }

    /// A message from the spool that is on hold.
    pub fn recovered_held(&mut self, id: MessageId) {
        self.roster.insert(id, Place::Hold, 0);
    }

    /// Time has passed: lets due mail leave and rate delays end.
    pub fn tick(&mut self, now_ms: u64) {
        self.timeline.observe(now_ms);
        let now_ms = self.timeline.now_ms();
        self.wheel.advance(&mut self.roster, (now_ms / 1000).min(u64::from(VALUE_MAX)) as u32);
        while let Some(&Reverse((until_ms, site))) = self.paused.peek() {
            if until_ms > now_ms {
                break;
            }
            self.paused.pop();
            self.rate_delay_ends(site);
        }
        while let Some(&Reverse((until_ms, transport))) = self.paused_transports.peek() {
            if until_ms > now_ms {
                break;
            }
            self.paused_transports.pop();
            self.let_one_go(transport);
        }
        self.end_lingering();
        self.sites.forget_idle(self.settings.idle_sites_max as usize);
    }

    /// When [`tick`](Self::tick) is to be called next, if nothing else happens; wall clock, milliseconds since the
    /// epoch. `None`: not before another event.
    pub fn next_wakeup(&self) -> Option<u64> {
        let due = self.wheel.next_s().map(|second| u64::from(second) * 1000);
        let paused = self.paused.peek().map(|&Reverse((until_ms, _))| until_ms);
        let paused_transport = self.paused_transports.peek().map(|&Reverse((until_ms, _))| until_ms);
        let lingering = self.lingering.front().map(|&(until_ms, _)| until_ms);
        let buried = self.buried_ahead.then(|| self.timeline.now_ms());
        let times = due.into_iter().chain(paused).chain(paused_transport).chain(lingering).chain(buried);
        let next_ms = times.min()?;
        let latest_ms = self.timeline.now_ms() + self.settings.queue_run_delay_ms;
        Some(self.timeline.wall_time_of(next_ms.min(latest_ms)))
    }

    /// The next thing to do, or `None` when everything waits for an event or for time.
    ///
    /// Deliveries come before activations: what has a slot starts before more is looked at.
    pub fn poll_action(&mut self) -> Option<Action> {
        loop {
            if let Some(action) = self.outbox.pop_front() {
                return Some(action);
            }
            if let Some(&site) = self.suspending.front() {
                if let Some(action) = self.suspend_next(site) {
                    return Some(action);
                }
                self.suspending.pop_front();
                self.sites.live(site).line = Line::Busy;
                self.place(site);
                continue;
            }
            if let Some(delivery) = self.start_ready() {
                return Some(Action::Deliver(delivery));
            }
            // A site whose turn came may have turned out dead.
            if self.suspending.is_empty() {
                return self.admit().map(|id| Action::Activate { id });
            }
        }
    }

    /// A connection to this site has just become free: its next delivery, if the site and this shard have a slot.
    /// Counts exactly like an [`Action::Deliver`]. `None` also while other sites wait for the shard's last slots.
    pub fn next_for(&mut self, site: SiteHandle) -> Option<Delivery> {
        if self.stopping || self.sites.site(site)?.line != Line::Ready {
            return None;
        }
        let free = (self.settings.deliveries_max as usize).saturating_sub(self.deliveries.len());
        if free < self.ready[0].len() + self.ready[1].len() {
            return None;
        }
        // The site stays in its line; when its turn comes it is looked at anew.
        self.start(site)
    }

    /// The queue that a message is in; `None` for one that is not known (any more).
    pub fn state(&self, id: MessageId) -> Option<MessageState> {
        self.roster.find(id).and_then(|index| self.roster.place(index).state())
    }

    /// The levels of everything that is bounded here.
    pub fn figures(&self) -> QmgrFigures {
        QmgrFigures {
            incoming: self.roster.count(Place::Kept) + self.roster.count(Place::Incoming),
            active: self.roster.count(Place::Active),
            deferred: self.roster.count(Place::Deferred),
            hold: self.roster.count(Place::Hold),
            corrupt: self.roster.count(Place::Corrupt),
            deliveries: self.deliveries.len(),
            sites: self.sites.len(),
            active_recipients: self.active_recipients,
            active_bytes: self.active_bytes,
            kept_bytes: self.kept_bytes,
            roster_bytes: self.roster.memory_bytes(),
        }
    }

    /// The handle of a site, created when new. Take it right before [`activated`](Self::activated), for each message
    /// anew and with no other call than this one in between: idle sites are forgotten by later events, and a
    /// handle that names nothing is our own error there.
    pub fn site(&mut self, transport: &str, nexthop: &str) -> SiteHandle {
        self.sites.intern(transport, nexthop)
    }

    /// The transport and the nexthop of a site; `None` when it has been forgotten. A site with a delivery in
    /// progress never is.
    pub fn site_names(&self, site: SiteHandle) -> Option<(&str, &str)> {
        self.sites.site(site).map(|site| (&*site.transport, &*site.nexthop))
    }

    /// A site's deliveries in progress on this shard and the most there may be: its window at its home, the grants
    /// held elsewhere. For metrics and tests.
    pub fn site_load(&self, site: SiteHandle) -> Option<(u32, u32)> {
        self.sites.site(site).map(|site| {
            let most = if site.claim.is_some() { site.queue.held() } else { site.window.width() };
            (site.queue.in_progress(), most)
        })
    }

    /// The wheel's second in which something due at this scheduler time leaves: never early, late by less than one.
    pub(super) fn second_of(&self, scheduler_ms: u64) -> u32 {
        scheduler_ms.div_ceil(1000).min(u64::from(VALUE_MAX)) as u32
    }

    /// Takes from *incoming* and *deferred* in turn while there is room. A full queue that gets one place free
    /// takes new mail first, like Postfix's, whose loop begins with *incoming*.
    fn admit(&mut self) -> Option<MessageId> {
        self.buried_ahead = false;
        if self.activating >= ACTIVATING_MAX {
            return None;
        }
        let full = self.active.len() >= self.settings.active_messages_max as usize
            || self.active_bytes >= self.settings.active_bytes_max;
        if full {
            self.deferred_turn = false;
            self.is_full |= !self.incoming.is_empty();
            return None;
        }
        let first = if self.deferred_turn { self.take_deferred() } else { self.take_incoming() };
        let taken = match first {
            Some(taken) => Some(taken),
            None if self.deferred_turn => self.take_incoming(),
            None => self.take_deferred(),
        };
        self.buried_ahead = taken.is_none()
            && !(self.incoming.is_empty() && self.flushed.is_empty() && !self.wheel.has_due());
        let Some((index, bytes, flushed)) = taken else {
            self.is_full = false;
            return None;
        };
        self.deferred_turn = !self.deferred_turn;
        let key = self.active.insert(ActiveMessage::new(index, bytes, flushed));
        self.active_bytes += u64::from(bytes);
        self.activating += 1;
        self.roster.set(index, Place::Active, key.index);
        Some(self.roster.id(index))
    }

    /// The entry, the bytes that it is counted for, and whether a flush let it go.
    fn take_incoming(&mut self) -> Option<(u32, u32, bool)> {
        let index = self.incoming.pop_front(&mut self.roster)?;
        Some((index, self.bytes_taken(index), false))
    }

    fn take_deferred(&mut self) -> Option<(u32, u32, bool)> {
        if let Some(index) = self.flushed.pop_front(&mut self.roster) {
            return Some((index, self.bytes_taken(index), true));
        }
        self.wheel.pop_due(&mut self.roster).map(|index| (index, UNKNOWN_BYTES, false))
    }

    fn bytes_taken(&mut self, index: u32) -> u32 {
        match self.roster.place(index) {
            Place::Kept => {
                let bytes = self.roster.value(index);
                self.kept_bytes -= u64::from(bytes);
                bytes
            }
            _ => UNKNOWN_BYTES,
        }
    }

    /// Starts the next delivery of the site whose turn it is.
    fn start_ready(&mut self) -> Option<Delivery> {
        while !self.stopping && self.deliveries.len() < self.settings.deliveries_max as usize {
            let turn =
                if self.ready[self.ready_turn].is_empty() { 1 - self.ready_turn } else { self.ready_turn };
            let site = self.ready[turn].pop_front()?;
            self.ready_turn = 1 - turn;
            let delivery = self.start(site);
            self.sites.live(site).line = Line::Busy;
            self.place(site);
            if delivery.is_some() {
                return delivery;
            }
        }
        None
    }

    /// Starts a delivery of this site if its window has room, or its home has granted one.
    fn start(&mut self, handle: SiteHandle) -> Option<Delivery> {
        let now_ms = self.timeline.now_ms();
        let transport = self.sites.live(handle).transport_index;
        if self.rest_of(transport, now_ms).is_some() {
            return None;
        }
        let Self { sites, active, .. } = self;
        let site = sites.live(handle);
        let mut dropped = 0;
        site.take_grant(now_ms);
        let request = site.queue.start(&site.settings, now_ms, |job| {
            let stale = !is_awaited(active, job.message);
            dropped += if stale { job.remaining() } else { 0 };
            stale
        });
        site.started(request.is_some());
        let keep_connection = request.is_some() && site.reuse.starts(site.queue.in_progress(), now_ms);
        let more_queued = site.queue.has_work();
        if dropped > 0 {
            self.stale_left(transport, dropped);
        }
        let request = request?;
        let message =
            self.active.get_mut(request.message).expect("a request of a withdrawn message is not started");
        let recipients = request.recipients.len() as u32;
        message.start(recipients);
        let id = self.roster.id(message.roster_index);
        let running = RunningDelivery { message: request.message, site: handle, recipients };
        let Key { index, generation } = self.deliveries.insert(running);
        let delivery_id = DeliveryId(u64::from(generation) << 32 | u64::from(index));
        Some(Delivery {
            delivery_id,
            id,
            site: handle,
            recipients: request.recipients,
            more_queued,
            keep_connection,
        })
    }

    /// Defers the next message of a site that is dead, or whose transport rests; `None` when it has no more work or
    /// that is over.
    fn suspend_next(&mut self, handle: SiteHandle) -> Option<Action> {
        loop {
            if !self.is_suspended(handle) {
                return None;
            }
            let site = self.sites.live(handle);
            let transport = site.transport_index;
            let (message, recipients): (Key, Recipients) = site.queue.pop_job(&site.settings)?;
            if !is_awaited(&self.active, message) {
                self.stale_left(transport, recipients.len() as u32);
                continue;
            }
            let (status, reason) = self.reason_of_suspension(handle);
            self.recipients_left(transport, recipients.len() as u32);
            let id = self.roster.id(self.active.get(message).expect("it is awaited").roster_index);
            self.defer_queued(message, recipients.len() as u32);
            return Some(Action::DeferNow { id, site: handle, recipients, status, reason });
        }
    }

    /// Puts a site that waits nowhere where it belongs now. What it means to other shards is looked at in any case.
    pub(super) fn place(&mut self, handle: SiteHandle) {
        self.settle_slots(handle);
        let now_ms = self.timeline.now_ms();
        let site = self.sites.live(handle);
        if site.line != Line::Busy {
            return;
        }
        if !site.queue.has_work() {
            if site.is_idle() {
                self.sites.enter_idle(handle);
            }
            return;
        }
        let is_suspended = self.is_suspended(handle);
        let site = self.sites.live(handle);
        if is_suspended {
            site.line = Line::Suspending;
            self.suspending.push_back(handle);
        } else if site.window.closed_until_ms() > now_ms {
            site.line = Line::Paused;
            self.paused.push(Reverse((site.window.closed_until_ms(), handle)));
        } else if site.may_start() {
            // Otherwise the end of one of its deliveries places it again, its transport's gate, or what another shard
            // says.
            site.line = Line::Ready;
            self.ready[usize::from(site.queue.front_is_bulk(&site.settings))].push_back(handle);
        }
    }

    /// Recipients of this transport are in memory now.
    pub(super) fn recipients_entered(&mut self, transport: TransportIndex, count: u32) {
        self.active_recipients += u64::from(count);
        self.sites.transports.get_mut(transport).recipients += u64::from(count);
    }

    /// Recipients of this transport are in memory no more.
    pub(super) fn recipients_left(&mut self, transport: TransportIndex, count: u32) {
        self.active_recipients -= u64::from(count);
        self.sites.transports.get_mut(transport).recipients -= u64::from(count);
    }

    /// The same for recipients of a message that was withdrawn.
    pub(super) fn stale_left(&mut self, transport: TransportIndex, count: u32) {
        self.stale_recipients -= u64::from(count);
        self.recipients_left(transport, count);
    }

    /// The active queue is full: warns if most of it is for this site, and if no such warning was given lately.
    pub(super) fn warn_of_clog(&mut self, handle: SiteHandle) {
        let now_ms = self.timeline.now_ms();
        let (pause_ms, active) = (self.settings.clog_warn_ms, self.active.len());
        let site = self.sites.live(handle);
        let messages = site.queue.messages();
        if pause_ms > 0 && active >= CLOG_MIN && messages > active / 2 && now_ms >= site.no_warning_until_ms {
            site.no_warning_until_ms = now_ms + pause_ms;
            let (messages, active) = (messages as u32, active as u32);
            self.outbox.push_back(Action::WarnOfClog { site: handle, messages, active });
        }
    }
}

/// Whether the work of this message is still to be done.
pub(super) fn is_awaited(active: &Arena<ActiveMessage>, message: Key) -> bool {
    active.get(message).is_some_and(ActiveMessage::is_awaited)
}
