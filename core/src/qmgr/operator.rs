//! What operators ask for: hold, release, delete, flush.

use super::MessageId;
use super::action::Action;
use super::attempt::Intent;
use super::roster::Place;
use super::scheduler::Scheduler;

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
        self.wheel.move_due(&mut self.roster, &mut self.flushed);
        if self.sites.transports.any_deferred() {
            self.roster.append(&mut self.flushed, &mut self.incoming);
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
                self.roster.push_back(&mut self.flushed, index);
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
            self.roster.prune(&mut self.incoming);
            self.roster.prune(&mut self.flushed);
            self.wheel.prune(&mut self.roster);
        }
    }
}
