//! What operators ask for: hold, release, delete, flush.

use super::MessageId;
use super::action::Action;
use super::attempt::Intent;
use super::roster::Place;
use super::scheduler::Scheduler;

/// Entries that are looked at for each one that is buried while too many are: at least every ninth of all is buried
/// then, so that more are freed than buried.
const SWEPT_A_BURIAL: u32 = 32;

/// Which queue the sweep has come to.
#[derive(Clone, Copy)]
pub(super) enum Sweeping {
    Incoming,
    Flushed,
    Deferred,
}

impl Scheduler {
    /// Holds a message; [`Action::Held`] follows when it has taken effect, for an active message at the end of
    /// its deliveries in progress and only if recipients remain. False: it is not known, or corrupt.
    pub fn hold(&mut self, id: MessageId, now_ms: u64) -> bool {
        self.timeline.observe(now_ms);
        let Some(index) = self.roster.find(id) else { return false };
        match self.roster.place(index) {
            Place::Hold => return true,
            Place::Corrupt => return false,
            Place::Active => {
                self.redirect(index, Intent::Hold);
                return true;
            }
            Place::Kept | Place::Incoming | Place::Deferred | Place::Buried => self.bury(index),
        }
        self.roster.insert(id, Place::Hold, 0);
        self.outbox.push_back(Action::Held { id });
        true
    }

    /// Lets a held message go: it is deferred and due now. False: it is not on hold.
    pub fn release(&mut self, id: MessageId, now_ms: u64) -> bool {
        self.timeline.observe(now_ms);
        let Some(index) = self.roster.find(id) else { return false };
        match self.roster.place(index) {
            Place::Hold => {
                self.defer_until_now(index);
                true
            }
            Place::Active => {
                let key = self.active.key_at(self.roster.value(index));
                let message =
                    self.active.get_mut(key).expect("the roster names only active messages that exist");
                let held = message.intent == Intent::Hold;
                if held {
                    message.intent = Intent::Requeue;
                }
                held
            }
            _ => false,
        }
    }

    /// Deletes a message; [`Action::MessageDone`] follows when it is gone, for an active message at the end of its
    /// deliveries in progress. False: it is not known.
    pub fn delete(&mut self, id: MessageId, now_ms: u64) -> bool {
        self.timeline.observe(now_ms);
        let Some(index) = self.roster.find(id) else { return false };
        match self.roster.place(index) {
            Place::Active => {
                self.redirect(index, Intent::Delete);
                return true;
            }
            Place::Hold | Place::Corrupt => self.roster.remove(index),
            Place::Kept | Place::Incoming | Place::Deferred | Place::Buried => self.bury(index),
        }
        self.outbox.push_back(Action::MessageDone { id });
        true
    }

    /// `postqueue -f`: everything deferred is due now, dead sites are forgotten, and what is queued now is tried even
    /// by a transport that `defer_transports` names.
    pub fn flush(&mut self, now_ms: u64) {
        self.timeline.observe(now_ms);
        self.wheel.flush(&mut self.roster);
        let due = self.wheel.take_due(&mut self.roster);
        self.flushed.append(&mut self.roster, due);
        if self.sites.transports.any_deferred() {
            let incoming = self.incoming.take(&mut self.roster);
            self.flushed.append(&mut self.roster, incoming);
        }
        self.forget_dead_sites(now_ms);
    }

    /// Dead sites, and transports that have failed, are tried again with the next mail for them; nothing else becomes
    /// due.
    pub fn forget_dead_sites(&mut self, now_ms: u64) {
        self.timeline.observe(now_ms);
        self.sites.transports.end_rests();
        for handle in self.sites.handles() {
            self.forget_death(handle);
        }
    }

    /// `postqueue -i`: this message is due now if it is deferred, and is tried even by a transport that
    /// `defer_transports` names. Dead sites stay dead. False: it is not known, on
    /// hold or corrupt.
    pub fn flush_message(&mut self, id: MessageId, now_ms: u64) -> bool {
        self.timeline.observe(now_ms);
        let Some(index) = self.roster.find(id) else { return false };
        match self.roster.place(index) {
            Place::Kept | Place::Incoming | Place::Active => true,
            Place::Deferred => {
                self.bury(index);
                let index = self.roster.insert(id, Place::Deferred, 0);
                self.flushed.push_back(&mut self.roster, index);
                true
            }
            Place::Hold | Place::Corrupt | Place::Buried => false,
        }
    }

    /// `postsuper -e`: the message is returned to its sender at the end of its next attempt, or of the one that runs.
    /// For a message that is not active the caller remembers it and says so in [`Resolved`](super::Resolved). False:
    /// it is not known, or corrupt.
    pub fn force_expire(&mut self, id: MessageId, now_ms: u64) -> bool {
        self.timeline.observe(now_ms);
        let Some(index) = self.roster.find(id) else { return false };
        match self.roster.place(index) {
            Place::Active => {
                let key = self.active.key_at(self.roster.value(index));
                let message =
                    self.active.get_mut(key).expect("the roster names only active messages that exist");
                message.force_expired = true;
                true
            }
            Place::Corrupt | Place::Buried => false,
            Place::Kept | Place::Incoming | Place::Deferred | Place::Hold => true,
        }
    }

    fn redirect(&mut self, index: u32, intent: Intent) {
        let key = self.active.key_at(self.roster.value(index));
        let message = self.active.get(key).expect("the roster names only active messages that exist");
        if message.intent != Intent::Delete {
            self.withdraw(key, intent);
        }
    }

    /// Files an entry that is in no list as due.
    fn defer_until_now(&mut self, index: u32) {
        self.roster.set(index, Place::Deferred, 0);
        self.wheel.insert(&mut self.roster, index);
    }

    fn bury(&mut self, index: u32) {
        if self.roster.place(index) == Place::Kept {
            self.kept_bytes -= u64::from(self.roster.value(index));
        }
        self.roster.bury(index);
        if self.roster.wants_pruning() {
            self.sweep();
        }
    }

    /// A step of the sweep through all lists that entries are buried in.
    fn sweep(&mut self) {
        let (roster, budget) = (&mut self.roster, &mut { SWEPT_A_BURIAL });
        let (done, next) = match self.sweeping {
            Sweeping::Incoming => (self.incoming.sweep(roster, budget), Sweeping::Flushed),
            Sweeping::Flushed => (self.flushed.sweep(roster, budget), Sweeping::Deferred),
            Sweeping::Deferred => (self.wheel.sweep(roster, budget), Sweeping::Incoming),
        };
        if done {
            self.sweeping = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::QmgrSettings;
    use super::super::action::MessageState;
    use super::*;

    const MESSAGES: u64 = 100_000;
    const HOUR_MS: u64 = 3_600_000;

    fn id(number: u64) -> MessageId {
        MessageId(number << 10)
    }

    /// What the event looked at, in entries.
    fn visits(scheduler: &mut Scheduler, event: impl FnOnce(&mut Scheduler)) -> u64 {
        let before = scheduler.roster.visits;
        event(scheduler);
        scheduler.roster.visits - before
    }

    #[test]
    fn deleting_a_long_queue_takes_a_few_steps_a_message_and_leaves_few_buried() {
        let mut scheduler = Scheduler::new(QmgrSettings::default(), 1_000);
        for number in 0..MESSAGES {
            scheduler.recovered(id(number), 1_000 + number % 7 * HOUR_MS, 1_000);
        }
        for number in 0..MESSAGES {
            let took = visits(&mut scheduler, |scheduler| {
                assert!(scheduler.delete(id(number), 1_000));
                assert_eq!(scheduler.poll_action(), Some(Action::MessageDone { id: id(number) }));
            });
            assert!(took <= 32, "{took} entries for one message");
        }
        let buried = scheduler.roster.count(Place::Buried);
        assert!(buried < 10_000, "{buried} buried entries are left");
    }

    #[test]
    fn what_becomes_due_together_is_filed_and_passed_over_in_steps() {
        let mut scheduler = Scheduler::new(QmgrSettings::default(), 1_000);
        // All in one far slot of the wheel; most are deleted and leave buried entries before the last one.
        for number in 0..MESSAGES {
            scheduler.recovered(id(number), 1_000 + 4 * HOUR_MS, 1_000);
        }
        for number in 0..MESSAGES / 10 {
            assert!(scheduler.delete(id(number), 1_000));
            scheduler.poll_action();
        }
        let mut now_ms = 1_000;
        let mut activated = None;
        let mut calls = 0;
        while activated.is_none() && calls < 10_000 {
            now_ms = scheduler.next_wakeup().expect("something is to come").max(now_ms + 1);
            let took = visits(&mut scheduler, |scheduler| scheduler.tick(now_ms));
            assert!(took <= 4096, "{took} entries in one step");
            let took = visits(&mut scheduler, |scheduler| activated = scheduler.poll_action());
            assert!(took <= 4096, "{took} entries for one message");
            calls += 1;
        }
        let Some(Action::Activate { id }) = activated else { panic!("{activated:?} after {calls} calls") };
        assert_eq!(scheduler.state(id), Some(MessageState::Active));
        assert!((4 * HOUR_MS..4 * HOUR_MS + 2_000).contains(&(now_ms - 1_000)), "{now_ms}");
    }
}
