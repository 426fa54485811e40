//! New settings for a queue manager that runs: nothing that is known of messages and sites is lost.
//!
//! Windows keep what they have learned, within the new limits. Each shard takes the settings for itself, at about the same
//! time; what was granted under the older ones is used up or asked back.

use super::attempt::Intent;
use super::scheduler::Scheduler;
use super::settings::QmgrSettings;
use super::site_table::Line;
use super::slots::SiteHandle;
use std::cmp::Reverse;
use std::rc::Rc;

impl Scheduler {
    /// From now on these settings hold.
    ///
    /// # Panics
    /// When a transport that has a rate delay gets none, or the other way round: that moves the accounts of its sites
    /// between shards, which only a start can do.
    pub fn renew(&mut self, settings: QmgrSettings, now_ms: u64) {
        self.timeline.observe(now_ms);
        self.settings = settings.sound();
        self.sites.transports.renew(&self.settings);
        self.shorten_gates();
        for handle in self.sites.handles() {
            self.renew_site(handle);
        }
        self.sites.forget_idle(self.settings.idle_sites_max as usize);
    }

    /// What of the active messages is not in delivery is to be resolved anew: they are deferred and due at once, those in
    /// delivery when that has ended.
    pub fn reconsider(&mut self, now_ms: u64) {
        self.timeline.observe(now_ms);
        for key in self.active.keys() {
            if self.active.get(key).is_some_and(|message| message.has_more_to_do()) {
                self.withdraw(key, Intent::Requeue);
            }
        }
        self.sweep_stale();
    }

    fn renew_site(&mut self, handle: SiteHandle) {
        let now_ms = self.timeline.now_ms();
        let transport = self.sites.live(handle).transport_index;
        let new = Rc::clone(&self.sites.transports.get(transport).settings);
        let site = self.sites.live(handle);
        let old = std::mem::replace(&mut site.settings, Rc::clone(&new));
        if *old == *new {
            return;
        }
        assert_eq!(
            old.transport_rate_delay_ms > 0,
            new.transport_rate_delay_ms > 0,
            "a transport's rate delay neither begins nor ends while its sites are known"
        );
        site.queue.recount(&new);
        site.window.renew(&old, &new, now_ms);
        let is_slowed = old.rate_delay_ms == 0 && new.rate_delay_ms > 0;
        if let Some(ledger) = site.ledger.as_mut().filter(|_| is_slowed) {
            ledger.recall();
        }
        if site.line == Line::Paused {
            // Its timer finds it elsewhere then.
            site.line = Line::Busy;
        }
        self.place(handle);
    }

    /// A pause that has begun lasts no longer than the new delay.
    fn shorten_gates(&mut self) {
        let now_ms = self.timeline.now_ms();
        for (index, transport) in self.sites.transports.iter_mut() {
            let until_ms = now_ms + transport.settings.transport_rate_delay_ms;
            if transport.gate.shorten(until_ms) {
                self.paused_transports.push(Reverse((until_ms, index)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::action::{Action, Delivery, DeliveryReport, Resolved};
    use super::super::settings::TransportSettings;
    use super::super::{MessageId, MessageState};
    use super::*;

    const NOW_MS: u64 = 1_700_000_000_000;

    fn with(change: impl FnOnce(&mut TransportSettings)) -> QmgrSettings {
        let mut settings = QmgrSettings::default();
        change(&mut settings.default_transport);
        settings
    }

    /// Activates a message for so many recipients of one site.
    fn activate(scheduler: &mut Scheduler, id: u64, nexthop: &str, recipients: u32) {
        let site = scheduler.site("smtp", nexthop);
        let plan: Vec<_> = (0..recipients).map(|index| (site, index)).collect();
        let resolved = Resolved {
            arrival_ms: NOW_MS,
            bytes: 100,
            null_sender: false,
            force_expired: false,
            deferred: 0,
            unread: 0,
        };
        scheduler.activated(MessageId(id), resolved, &plan, NOW_MS);
    }

    /// Deliveries that start now; messages that are to be activated go to `nexthop`.
    fn started(scheduler: &mut Scheduler, nexthop: &str, recipients: u32) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        while let Some(action) = scheduler.poll_action() {
            match action {
                Action::Activate { id } => activate(scheduler, id.0, nexthop, recipients),
                Action::Deliver(delivery) => deliveries.push(delivery),
                _ => {}
            }
        }
        deliveries
    }

    fn finish(scheduler: &mut Scheduler, delivery: &Delivery) {
        let report = DeliveryReport { done: delivery.recipients.len() as u32, deferred: 0, trouble: None };
        scheduler.delivery_finished(delivery.delivery_id, report, NOW_MS);
    }

    #[test]
    fn a_lower_limit_holds_as_soon_as_deliveries_have_ended_and_a_higher_one_at_once() {
        let mut scheduler = Scheduler::new(QmgrSettings::default(), NOW_MS);
        for id in 0..20 {
            scheduler.arrived(MessageId(id), 100, NOW_MS);
        }
        let first = started(&mut scheduler, "a.test", 1);
        assert_eq!(first.len(), 5);
        scheduler.renew(with(|transport| transport.concurrency_max = 2), NOW_MS);
        for delivery in &first[..3] {
            finish(&mut scheduler, delivery);
        }
        assert!(started(&mut scheduler, "a.test", 1).is_empty(), "two are still running");
        finish(&mut scheduler, &first[3]);
        assert_eq!(started(&mut scheduler, "a.test", 1).len(), 1);
        scheduler.renew(with(|transport| transport.concurrency_initial = 8), NOW_MS);
        assert_eq!(started(&mut scheduler, "a.test", 1).len(), 6);
    }

    #[test]
    fn another_recipient_limit_cuts_what_waits_anew() {
        let mut scheduler = Scheduler::new(with(|transport| transport.concurrency_max = 1), NOW_MS);
        scheduler.arrived(MessageId(1), 100, NOW_MS);
        let first = started(&mut scheduler, "a.test", 120);
        assert_eq!(first[0].recipients.len(), 50);
        let renewed = with(|transport| {
            transport.concurrency_max = 1;
            transport.recipients_max = 7;
        });
        scheduler.renew(renewed, NOW_MS);
        finish(&mut scheduler, &first[0]);
        let mut sizes = Vec::new();
        while let Some(delivery) = started(&mut scheduler, "a.test", 0).pop() {
            sizes.push(delivery.recipients.len());
            finish(&mut scheduler, &delivery);
        }
        assert_eq!(sizes, [7; 10], "each of the seventy that were left");
        assert_eq!(scheduler.state(MessageId(1)), None);
    }

    #[test]
    fn a_rate_delay_holds_from_the_next_delivery_on_and_its_end_frees_the_site() {
        let mut scheduler = Scheduler::new(QmgrSettings::default(), NOW_MS);
        for id in 0..20 {
            scheduler.arrived(MessageId(id), 100, NOW_MS);
        }
        let first = started(&mut scheduler, "a.test", 1);
        scheduler.renew(with(|transport| transport.rate_delay_ms = 60_000), NOW_MS);
        first.iter().for_each(|delivery| finish(&mut scheduler, delivery));
        assert!(started(&mut scheduler, "a.test", 1).is_empty(), "the delay runs");
        scheduler.renew(QmgrSettings::default(), NOW_MS);
        assert!(!started(&mut scheduler, "a.test", 1).is_empty());
    }

    #[test]
    fn transports_that_are_deferred_change_for_what_is_resolved_afterwards() {
        let mut scheduler = Scheduler::new(QmgrSettings::default(), NOW_MS);
        scheduler.renew(
            QmgrSettings { deferred_transports: vec!["smtp".to_owned()], ..QmgrSettings::default() },
            NOW_MS,
        );
        scheduler.arrived(MessageId(1), 100, NOW_MS);
        assert!(started(&mut scheduler, "a.test", 1).is_empty());
        assert_eq!(scheduler.state(MessageId(1)), Some(MessageState::Deferred));
        scheduler.renew(QmgrSettings::default(), NOW_MS);
        scheduler.flush_message(MessageId(1), NOW_MS);
        assert_eq!(started(&mut scheduler, "a.test", 1).len(), 1);
    }

    #[test]
    fn what_is_not_in_delivery_is_resolved_anew_and_nothing_is_tried_twice() {
        let mut scheduler = Scheduler::new(with(|transport| transport.concurrency_max = 1), NOW_MS);
        for id in 0..3 {
            scheduler.arrived(MessageId(id), 100, NOW_MS);
        }
        let running = started(&mut scheduler, "old.test", 1);
        assert_eq!(running.len(), 1);
        scheduler.reconsider(NOW_MS);
        let anew = started(&mut scheduler, "new.test", 1);
        assert_eq!(anew.len(), 1, "and its window is its own");
        assert_ne!(anew[0].id, running[0].id);
        finish(&mut scheduler, &running[0]);
        assert!(started(&mut scheduler, "new.test", 1).is_empty(), "nothing is left for the old site");
        finish(&mut scheduler, &anew[0]);
        let last = started(&mut scheduler, "new.test", 1);
        finish(&mut scheduler, &last[0]);
        let mut ids = [running[0].id.0, anew[0].id.0, last[0].id.0];
        ids.sort_unstable();
        assert_eq!(ids, [0, 1, 2]);
    }
}
