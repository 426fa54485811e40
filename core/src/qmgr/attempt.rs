//! One attempt at a message: from its activation to the end of its last delivery.

use super::action::{Action, DeliveryId, DeliveryReport, Recipients, Resolved};
use super::arena::Key;
use super::roster::Place;
use super::scheduler::Scheduler;
use super::site_table::Line;
use super::slots::{SiteHandle, Standing};
use super::{MessageId, scheduler};
use std::rc::Rc;

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
    stage: Stage,
    null_sender: bool,
    bytes: u32,
    arrival_ms: u64,
    /// Recipients in the plan.
    planned: u32,
    /// Recipients in site queues, in deliveries, and deferred in this attempt.
    queued: u32,
    in_progress: u32,
    deferred: u32,
}

impl ActiveMessage {
    pub fn new(roster_index: u32, bytes: u32) -> Self {
        Self {
            roster_index,
            intent: Intent::Continue,
            stage: Stage::Activating,
            null_sender: false,
            bytes,
            arrival_ms: 0,
            planned: 0,
            queued: 0,
            in_progress: 0,
            deferred: 0,
        }
    }

    /// Its queued recipients are still to be delivered.
    pub fn is_awaited(&self) -> bool {
        self.intent == Intent::Continue
    }

    /// A delivery to so many of its queued recipients begins.
    pub fn start(&mut self, recipients: u32) {
        assert!(recipients <= self.queued);
        self.queued -= recipients;
        self.in_progress += recipients;
    }

    fn is_over(&self) -> bool {
        self.stage == Stage::Delivering && self.queued == 0 && self.in_progress == 0
    }
}

pub(super) struct RunningDelivery {
    pub message: Key,
    pub site: SiteHandle,
    pub recipients: u32,
}

impl Scheduler {
    /// The answer to [`Action::Activate`]: each remaining recipient with its site (from [`Scheduler::site`]), in
    /// any order. Recipients of one site are delivered together, in the order of their indexes.
    pub fn activated(&mut self, id: MessageId, resolved: Resolved, plan: &[(SiteHandle, u32)], now_ms: u64) {
        self.timeline.observe(now_ms);
        let key = self.activating_key(id);
        self.activating -= 1;
        let message = self.active.get_mut(key).expect("the roster names only active messages that exist");
        self.active_bytes = self.active_bytes - u64::from(message.bytes) + u64::from(resolved.bytes);
        let recipients = u32::try_from(plan.len()).expect("an envelope has less than 2^32 recipients");
        message.stage = Stage::Delivering;
        message.bytes = resolved.bytes;
        message.arrival_ms = resolved.arrival_ms;
        message.null_sender = resolved.null_sender;
        message.planned = recipients;
        message.deferred = resolved.deferred;
        self.active_recipients += u64::from(recipients);
        if message.is_awaited() {
            message.queued = recipients;
            self.queue(key, plan);
        } else {
            message.deferred += recipients;
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
        let now_ms = self.timeline.now_ms();
        let key = Key { index: delivery_id.0 as u32, generation: (delivery_id.0 >> 32) as u32 };
        let delivery = self.deliveries.remove(key).expect("a delivery ends once, after it has started");
        assert_eq!(report.done + report.deferred, delivery.recipients, "a report covers each recipient once");

        let site = self.sites.live(delivery.site);
        let was = site.window.standing(&site.settings, now_ms);
        let done = site.queue.finished(delivery.site, report.trouble.is_some());
        let standing = site.window.done(&site.settings, done, now_ms, self.settings.minimal_backoff_ms);
        if let (Standing::Open, Standing::Dead { .. }, Some(reason)) = (was, standing, report.trouble) {
            site.reason = Rc::from(reason);
        }
        self.place(delivery.site);

        let message =
            self.active.get_mut(delivery.message).expect("a message is active while it is delivered");
        message.in_progress -= delivery.recipients;
        message.deferred += report.deferred;
        self.settle(delivery.message);
    }

    /// Recipients that were queued for a dead site are deferred without an attempt.
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
        message.deferred += message.queued;
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
    fn queue(&mut self, key: Key, plan: &[(SiteHandle, u32)]) {
        if let &[(site, recipient)] = plan {
            self.queue_for(site, key, Recipients::from_slice(&[recipient]), 1);
            return;
        }
        let mut sorted = std::mem::take(&mut self.plan);
        sorted.clear();
        sorted.extend_from_slice(plan);
        sorted.sort_unstable();
        let same_site = |a: &(SiteHandle, u32), b: &(SiteHandle, u32)| a.0 == b.0;
        let jobs = sorted.chunk_by(same_site).count() as u32;
        for group in sorted.chunk_by(same_site) {
            self.queue_for(group[0].0, key, group.iter().map(|&(_, recipient)| recipient).collect(), jobs);
        }
        if sorted.capacity() <= 4096 {
            self.plan = sorted;
        }
    }

    fn queue_for(&mut self, handle: SiteHandle, key: Key, recipients: Recipients, jobs: u32) {
        let now_ms = self.timeline.now_ms();
        if self.sites.live(handle).line == Line::Idle {
            self.sites.leave_idle(handle);
        }
        let site = self.sites.live(handle);
        let settings = Rc::clone(&site.settings);
        site.queue.push(key, recipients, jobs, &settings, now_ms);
        self.place(handle);
    }

    /// Ends the attempt if nothing of it remains.
    fn settle(&mut self, key: Key) {
        if self.active.get(key).is_some_and(ActiveMessage::is_over) {
            self.end_attempt(key);
        }
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
        self.active_recipients -= u64::from(message.planned);
        message
    }

    fn sweep_stale(&mut self) {
        for handle in self.sites.handles() {
            let Self { sites, active, stale_recipients, .. } = self;
            let site = sites.live(handle);
            site.queue.sweep(&site.settings, |job| {
                let stale = !scheduler::is_awaited(active, job.message);
                *stale_recipients -= if stale { u64::from(job.remaining()) } else { 0 };
                stale
            });
            self.place(handle);
        }
        assert_eq!(self.stale_recipients, 0, "every withdrawn recipient was in a site queue");
    }
}
