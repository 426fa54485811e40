//! Why something waits, for those who ask: a message's due time, and what a destination is doing.

use super::MessageId;
use super::roster::Place;
use super::scheduler::Scheduler;
use super::site_table::Line;
use super::slots::Standing;

/// What a destination is doing on this shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteReport {
    /// Deliveries that run here.
    pub in_progress: u32,
    /// Deliveries that may run here at a time.
    pub most: u32,
    /// Messages that wait here.
    pub messages: usize,
    /// What the next delivery waits for.
    pub wait: SiteWait,
}

/// What the next delivery of a destination waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SiteWait {
    /// Nothing: there is no mail for it.
    Mail,
    /// A slot: the end of a delivery to it, or its turn among the shard's.
    Slot,
    /// The end of its rate delay, or of its transport's.
    RateDelay,
    /// It is dead, or its transport has failed, and its mail is put off.
    Dead {
        /// When it is tried again; wall clock, milliseconds since the epoch.
        until_ms: u64,
        /// The trouble that made it so.
        reason: String,
    },
}

impl Scheduler {
    /// When a deferred message is due; wall clock, milliseconds since the epoch. A time that is past: it waits for room
    /// among the active. `None`: it is not deferred.
    pub fn due_at_ms(&self, id: MessageId) -> Option<u64> {
        let index = self.roster.find(id).filter(|&index| self.roster.place(index) == Place::Deferred)?;
        Some(self.timeline.wall_time_of(u64::from(self.roster.value(index)) * 1000))
    }

    /// What a destination is doing; `None` if it is not known here. Walks all destinations: for people, not for mail.
    pub fn why_site(&mut self, transport: &str, nexthop: &str, now_ms: u64) -> Option<SiteReport> {
        self.timeline.observe(now_ms);
        let now_ms = self.timeline.now_ms();
        let named =
            |site: &super::site_table::Site| *site.nexthop == *nexthop && *site.transport == *transport;
        let mut handles = self.sites.handles().into_iter();
        let handle = handles.find(|&handle| self.sites.site(handle).is_some_and(named))?;
        let (in_progress, most) = self.site_load(handle)?;
        let transport = self.sites.live(handle).transport_index;
        if let Some(rest) = self.rest_of(transport, now_ms) {
            let until_ms = self.timeline.wall_time_of(rest.until_ms);
            let wait = SiteWait::Dead { until_ms, reason: rest.reason.to_string() };
            let messages = self.sites.live(handle).queue.messages();
            return Some(SiteReport { in_progress, most, messages, wait });
        }
        let site = self.sites.live(handle);
        let wait = match (site.window.standing(&site.settings, now_ms), site.line) {
            (Standing::Dead { until_ms }, _) => SiteWait::Dead {
                until_ms: self.timeline.wall_time_of(until_ms),
                reason: site.reason.to_string(),
            },
            (Standing::Open, Line::Paused) => SiteWait::RateDelay,
            (Standing::Open, line) if line != Line::Ready && site.is_gated() && site.queue.has_work() => {
                SiteWait::RateDelay
            }
            (Standing::Open, _) if site.queue.has_work() => SiteWait::Slot,
            (Standing::Open, _) => SiteWait::Mail,
        };
        Some(SiteReport { in_progress, most, messages: site.queue.messages(), wait })
    }
}

#[cfg(test)]
mod tests {
    use super::super::QmgrSettings;
    use super::*;

    #[test]
    fn a_deferred_message_tells_its_due_time_and_an_unknown_site_nothing() {
        let mut scheduler = Scheduler::new(QmgrSettings::default(), 1_000_000);
        scheduler.recovered(MessageId(1), 1_300_000, 1_000_000);
        scheduler.recovered_held(MessageId(2));
        assert_eq!(scheduler.due_at_ms(MessageId(1)), Some(1_300_000));
        assert_eq!(scheduler.due_at_ms(MessageId(2)), None);
        assert_eq!(scheduler.why_site("smtp", "a.test", 1_000_000), None);
        let _ = scheduler.site("smtp", "a.test");
        let report = scheduler.why_site("smtp", "a.test", 1_000_000).expect("it was just named");
        assert_eq!((report.in_progress, report.messages, report.wait), (0, 0, SiteWait::Mail));
    }
}
