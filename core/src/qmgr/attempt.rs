//! One attempt at a message: from its activation to the end of its last delivery.

use super::action::{Action, DeliveryId, DeliveryReport, Recipients, Refilled, Resolved};
use super::arena::Key;
use super::roster::Place;
use super::scheduler::Scheduler;
use super::site_queue::Batch;
use super::slots::SiteHandle;
use super::transport::TransportIndex;
use super::{MessageId, scheduler};

/// What happens to a message at the end of its attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intent {
    /// Retry or expire what remains.
    Continue,
    /// Hold what remains.
    Hold,
    /// Held and released while the attempt ran: what remains is due at once.
    Requeue,
    /// Forget it.
    Delete,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The caller loads and resolves it.
    Activating,
    /// Its recipients are in site queues and deliveries.
    Delivering,
}

/// A message in *active*.
pub(super) struct ActiveMessage {
    pub roster_index: u32,
    pub intent: Intent,
    pub force_expired: bool,
    stage: Stage,
    /// A flush let it go: `defer_transports` does not apply.
    flushed: bool,
    null_sender: bool,
    bytes: u32,
    arrival_ms: u64,
    /// Recipients in site queues, in deliveries, and deferred in this attempt.
    queued: u32,
    in_progress: u32,
    deferred: u32,
    /// Recipients that are still to be read, and how many of them the caller was told to read.
    unread: u32,
    reading: u32,
    /// When it became active, and when its recipients were read last; scheduler time.
    active_since_ms: u64,
    read_at_ms: u64,
}

impl ActiveMessage {
    pub fn new(roster_index: u32, bytes: u32, flushed: bool) -> Self {
        Self {
            roster_index,
            intent: Intent::Continue,
            force_expired: false,
            stage: Stage::Activating,
            flushed,
            null_sender: false,
            bytes,
            arrival_ms: 0,
            queued: 0,
            in_progress: 0,
            deferred: 0,
            unread: 0,
            reading: 0,
            active_since_ms: 0,
            read_at_ms: 0,
        }
    }

    /// Its queued recipients are still to be delivered.
    pub fn is_awaited(&self) -> bool {
        self.intent == Intent::Continue
    }

    /// Some of it is neither in delivery nor over, and nobody has decided what is to become of that.
    pub fn has_more_to_do(&self) -> bool {
        let waits = self.stage == Stage::Activating || self.queued + self.unread + self.reading > 0;
        waits && self.is_awaited()
    }

    /// A delivery to so many of its queued recipients begins.
    pub fn start(&mut self, recipients: u32) {
        assert!(recipients <= self.queued);
        self.queued -= recipients;
        self.in_progress += recipients;
    }

    /// Its recipients in memory.
    fn held(&self) -> u32 {
        self.queued + self.in_progress
    }

    /// Nothing of it is in memory and nobody reads more of it now.
    fn is_idle(&self) -> bool {
        self.held() == 0 && self.stage == Stage::Delivering && self.reading == 0
    }
}

pub(super) struct RunningDelivery {
    pub message: Key,
    pub site: SiteHandle,
    pub recipients: u32,
}

impl Scheduler {
    /// How many recipients of a message may be handed in with [`activated`](Self::activated): all that there is room
    /// for, and the minimum in any case.
    pub fn batch_recipients(&self) -> u32 {
        self.recipients_room(0).max(self.settings.message_recipients_min)
    }

    /// Recipients that fit into memory, counting those that are being read, when the limit is raised by `extra`.
    fn recipients_room(&self, extra: u32) -> u32 {
        let most = u64::from(self.settings.active_recipients_max) + u64::from(extra);
        let room = most.saturating_sub(self.active_recipients + self.reading_recipients);
        u32::try_from(room).unwrap_or(u32::MAX)
    }

    /// The answer to [`Action::Activate`]: remaining recipients with their sites (from [`Scheduler::site`]), in
    /// any order. Recipients of one site are delivered together, in the order of their indexes. Those that are not
    /// handed in now ([`Resolved::unread`]) are asked for later.
    pub fn activated(&mut self, id: MessageId, resolved: Resolved, plan: &[(SiteHandle, u32)], now_ms: u64) {
        self.timeline.observe(now_ms);
        let key = self.activating_key(id);
        self.activating -= 1;
        let message = self.active.get_mut(key).expect("the roster names only active messages that exist");
        self.active_bytes = self.active_bytes - u64::from(message.bytes) + u64::from(resolved.bytes);
        message.stage = Stage::Delivering;
        message.bytes = resolved.bytes;
        message.arrival_ms = resolved.arrival_ms;
        message.null_sender = resolved.null_sender;
        message.force_expired |= resolved.force_expired;
        message.active_since_ms = self.timeline.now_ms();
        self.take_batch(key, Refilled { deferred: resolved.deferred, unread: resolved.unread }, plan, false);
    }

    /// The answer to [`Action::Refill`]: the next recipients with their sites, as for [`activated`](Self::activated).
    pub fn refilled(&mut self, id: MessageId, read: Refilled, plan: &[(SiteHandle, u32)], now_ms: u64) {
        self.timeline.observe(now_ms);
        let index = self.roster.find(id).expect("a message stays known while more of it is read");
        assert_eq!(self.roster.place(index), Place::Active, "message {id:?} is not active");
        let key = self.active.key_at(self.roster.value(index));
        let message = self.active.get_mut(key).expect("the roster names only active messages that exist");
        assert!(message.reading > 0, "message {id:?} was not to be refilled");
        self.reading_recipients -= u64::from(std::mem::take(&mut message.reading));
        self.take_batch(key, read, plan, true);
    }

    fn take_batch(&mut self, key: Key, read: Refilled, plan: &[(SiteHandle, u32)], more: bool) {
        let recipients = u32::try_from(plan.len()).expect("an envelope has less than 2^32 recipients");
        let message = self.active.get_mut(key).expect("the caller has found it active");
        message.deferred += read.deferred;
        if message.is_awaited() {
            message.queued += recipients;
            message.unread = read.unread;
            message.read_at_ms = self.timeline.now_ms();
            self.queue(key, plan, more);
        } else {
            message.deferred += recipients + read.unread;
        }
        self.sites.forget_idle(self.settings.idle_sites_max as usize);
        self.settle(key);
    }

    /// The answer to [`Action::Activate`] when the message cannot be looked at now (a disk or table error): it is
    /// deferred for `minimal_backoff_time`.
    pub fn postponed(&mut self, id: MessageId, now_ms: u64) {
        self.timeline.observe(now_ms);
        let key = self.activating_key(id);
        self.activating -= 1;
        let message = self.active.get_mut(key).expect("the roster names only active messages that exist");
        message.stage = Stage::Delivering;
        // Its age is not known, so it neither expires nor waits longer than the least.
        message.arrival_ms = self.timeline.wall_ms();
        message.force_expired = false;
        message.deferred = 1;
        self.settle(key);
    }

    /// The answer to [`Action::Activate`] when the stored form is damaged: the message is kept as corrupt.
    pub fn corrupted(&mut self, id: MessageId) {
        let key = self.activating_key(id);
        self.activating -= 1;
        let message = self.leave_active(key);
        if message.intent == Intent::Delete {
            self.roster.remove(message.roster_index);
            self.outbox.push_back(Action::MessageDone { id });
        } else {
            self.roster.set(message.roster_index, Place::Corrupt, 0);
        }
    }

    /// A delivery has ended; its slot is free.
    pub fn delivery_finished(&mut self, delivery_id: DeliveryId, report: DeliveryReport<'_>, now_ms: u64) {
        self.timeline.observe(now_ms);
        let key = Key { index: delivery_id.0 as u32, generation: (delivery_id.0 >> 32) as u32 };
        let delivery = self.deliveries.remove(key).expect("a delivery ends once, after it has started");
        assert_eq!(report.done + report.deferred, delivery.recipients, "a report covers each recipient once");

        let site = self.sites.live(delivery.site);
        let transport = site.transport_index;
        site.reuse.done(self.timeline.now_ms());
        self.slot_finished(delivery.site, report.trouble);
        self.recipients_left(transport, delivery.recipients);
        self.place(delivery.site);

        let message =
            self.active.get_mut(delivery.message).expect("a message is active while it is delivered");
        message.in_progress -= delivery.recipients;
        message.deferred += report.deferred;
        if message.unread > 0 {
            self.refill_early(delivery.message, transport);
        }
        self.settle(delivery.message);
    }

    /// Recipients that were queued are deferred without an attempt.
    pub(super) fn defer_queued(&mut self, key: Key, recipients: u32) {
        let message = self.active.get_mut(key).expect("the caller has found it active");
        message.queued -= recipients;
        message.deferred += recipients;
        self.settle(key);
    }

    /// Takes what is still queued of a message away from its sites; what is in progress goes on.
    pub(super) fn withdraw(&mut self, key: Key, intent: Intent) {
        let message = self.active.get_mut(key).expect("the roster names only active messages that exist");
        message.intent = intent;
        message.deferred += message.queued + std::mem::take(&mut message.unread);
        self.stale_recipients += u64::from(std::mem::take(&mut message.queued));
        self.settle(key);
        if self.stale_recipients > u64::from(self.settings.active_recipients_max) {
            self.sweep_stale();
        }
    }

    fn activating_key(&self, id: MessageId) -> Key {
        let index = self.roster.find(id).expect("a message stays known while it is being activated");
        assert_eq!(self.roster.place(index), Place::Active, "message {id:?} was not to be activated");
        let key = self.active.key_at(self.roster.value(index));
        let stage = self.active.get(key).map(|message| message.stage);
        assert_eq!(stage, Some(Stage::Activating), "message {id:?} was activated twice");
        key
    }

    /// Groups the plan by site and queues each group.
    fn queue(&mut self, key: Key, plan: &[(SiteHandle, u32)], more: bool) {
        if let &[(site, recipient)] = plan {
            self.queue_for(site, key, Recipients::from_slice(&[recipient]), 1, more);
            return;
        }
        let mut sorted = std::mem::take(&mut self.plan);
        sorted.clear();
        sorted.extend_from_slice(plan);
        sorted.sort_unstable();
        let same_site = |a: &(SiteHandle, u32), b: &(SiteHandle, u32)| a.0 == b.0;
        let jobs = sorted.chunk_by(same_site).count() as u32;
        for group in sorted.chunk_by(same_site) {
            let recipients = group.iter().map(|&(_, recipient)| recipient).collect();
            self.queue_for(group[0].0, key, recipients, jobs, more);
        }
        if sorted.capacity() <= 4096 {
            self.plan = sorted;
        }
    }

    fn queue_for(&mut self, handle: SiteHandle, key: Key, recipients: Recipients, siblings: u32, more: bool) {
        let message = self.active.get_mut(key).expect("the caller has found it active");
        let site = self.sites.live(handle);
        let transport_index = site.transport_index;
        if self.sites.transports.get(transport_index).deferred && !message.flushed {
            message.queued -= recipients.len() as u32;
            message.deferred += recipients.len() as u32;
            let id = self.roster.id(message.roster_index);
            self.outbox.push_back(Action::DeferTransport { id, site: handle, recipients });
            return;
        }
        let (unread, active_since_ms) = (message.unread, message.active_since_ms);
        self.recipients_entered(transport_index, recipients.len() as u32);
        self.sites.awaken(handle);
        let site = self.sites.live(handle);
        let batch = Batch { message: key, recipients, siblings, unread, active_since_ms };
        match more {
            false => site.queue.push(batch, &site.settings),
            true => site.queue.extend(batch, &site.settings),
        }
        if self.is_full {
            self.warn_of_clog(handle);
        }
        self.place(handle);
    }

    /// Ends the attempt if nothing of it remains, or goes on with the recipients that are still to be read.
    fn settle(&mut self, key: Key) {
        let Some(message) = self.active.get(key).filter(|message| message.is_idle()) else { return };
        match message.unread {
            0 => self.end_attempt(key),
            _ => self.refill(key, self.batch_recipients()),
        }
    }

    /// Has more recipients read while some are still in memory, if there is room for enough of them, or for any after a
    /// while: room in the share of the transport that some of its recipients have just left, and altogether. Like Postfix this waits for one of the message's own
    /// deliveries to end; when none is left, `settle` sees to it.
    fn refill_early(&mut self, key: Key, transport: TransportIndex) {
        let message = self.active.get(key).expect("the caller has found it active");
        if message.reading > 0 || !message.is_awaited() || message.held() == 0 {
            return;
        }
        let transport = self.sites.transports.get(transport);
        let settings = &transport.settings;
        let extra =
            if message.held() < settings.refill_recipients { settings.extra_recipients_max } else { 0 };
        let share = u64::from(settings.recipients_in_memory_max) + u64::from(extra);
        let room =
            share.saturating_sub(transport.recipients).min(u64::from(self.recipients_room(extra))) as u32;
        let waited_ms = self.timeline.now_ms().saturating_sub(message.read_at_ms);
        if room >= settings.refill_recipients.max(1) || (room > 0 && waited_ms >= settings.refill_delay_ms) {
            self.refill(key, room);
        }
    }

    fn refill(&mut self, key: Key, recipients_max: u32) {
        let message = self.active.get_mut(key).expect("the caller has found it active");
        let recipients_max = recipients_max.min(message.unread);
        message.reading = recipients_max;
        self.reading_recipients += u64::from(recipients_max);
        let id = self.roster.id(message.roster_index);
        self.outbox.push_back(Action::Refill { id, recipients_max });
    }

    fn end_attempt(&mut self, key: Key) {
        let message = self.leave_active(key);
        let index = message.roster_index;
        let id = self.roster.id(index);
        let wall_ms = self.timeline.wall_ms();
        let age_ms = wall_ms.saturating_sub(message.arrival_ms);
        let settings = &self.settings;
        let lifetime_ms = match message.null_sender {
            true => settings.bounce_queue_lifetime_ms,
            false => settings.maximal_queue_lifetime_ms,
        };
        let action = match message.intent {
            Intent::Delete => Action::MessageDone { id },
            _ if message.deferred == 0 => Action::MessageDone { id },
            Intent::Hold => Action::Held { id },
            _ if message.force_expired => Action::Expire { id },
            Intent::Requeue => Action::Retry { id, due_at_ms: wall_ms },
            Intent::Continue if age_ms >= lifetime_ms => Action::Expire { id },
            Intent::Continue => {
                let most_ms = settings.maximal_backoff_ms.max(settings.minimal_backoff_ms);
                Action::Retry { id, due_at_ms: wall_ms + age_ms.clamp(settings.minimal_backoff_ms, most_ms) }
            }
        };
        match action {
            Action::Held { .. } => self.roster.set(index, Place::Hold, 0),
            Action::Retry { due_at_ms, .. } => {
                let due_s = self.second_of(self.timeline.scheduler_time_of(due_at_ms));
                self.roster.set(index, Place::Deferred, due_s);
                self.wheel.insert(&mut self.roster, index);
            }
            _ => self.roster.remove(index),
        }
        self.outbox.push_back(action);
    }

    fn leave_active(&mut self, key: Key) -> ActiveMessage {
        let message = self.active.remove(key).expect("a message leaves the active queue once");
        self.active_bytes -= u64::from(message.bytes);
        message
    }

    /// Takes the recipients of withdrawn messages out of the site queues.
    pub(super) fn sweep_stale(&mut self) {
        for handle in self.sites.handles() {
            let Self { sites, active, .. } = self;
            let site = sites.live(handle);
            let transport = site.transport_index;
            let mut dropped = 0;
            site.queue.sweep(&site.settings, |job| {
                let stale = !scheduler::is_awaited(active, job.message);
                dropped += if stale { job.remaining() } else { 0 };
                stale
            });
            self.stale_left(transport, dropped);
            self.place(handle);
        }
        assert_eq!(self.stale_recipients, 0, "every withdrawn recipient was in a site queue");
    }
}
