//! A transport that has failed as a whole rests for `transport_retry_time`: what is queued for it, and what comes
//! meanwhile, is deferred. Each shard finds out and keeps time for itself.

use super::scheduler::Scheduler;
use super::slots::{SiteHandle, Standing};
use super::transport::TransportIndex;
use crate::dsn::Status;
use std::rc::Rc;

pub(super) struct Rest {
    /// Scheduler time, milliseconds.
    pub until_ms: u64,
    /// Why deliveries are put off.
    pub reason: Rc<str>,
}

impl Scheduler {
    /// A delivery to this site could not be tried for a reason that lies in this host and would meet the transport's
    /// others too; `reason` is what their recipients are told. To be said before
    /// [`delivery_finished`](Self::delivery_finished), whose report knows of no trouble with the site then. True if
    /// the transport's rest begins with it.
    pub fn transport_failed(&mut self, site: SiteHandle, reason: &str, now_ms: u64) -> bool {
        self.timeline.observe(now_ms);
        let now_ms = self.timeline.now_ms();
        let index = self.sites.live(site).transport_index;
        if self.rest_of(index, now_ms).is_some() {
            return false;
        }
        let until_ms = now_ms + self.settings.transport_retry_ms;
        self.sites.transports.get_mut(index).rest = Some(Rest { until_ms, reason: Rc::from(reason) });
        for handle in self.sites.handles() {
            if self.sites.live(handle).transport_index == index {
                self.place(handle);
            }
        }
        true
    }

    /// The rest of a transport, while it lasts.
    pub(super) fn rest_of(&self, transport: TransportIndex, now_ms: u64) -> Option<&Rest> {
        self.sites.transports.get(transport).rest.as_ref().filter(|rest| now_ms < rest.until_ms)
    }

    /// Whether a site's mail is to be deferred without an attempt.
    pub(super) fn is_suspended(&mut self, handle: SiteHandle) -> bool {
        let now_ms = self.timeline.now_ms();
        let site = self.sites.live(handle);
        let transport = site.transport_index;
        site.window.standing(&site.settings, now_ms) != Standing::Open
            || self.rest_of(transport, now_ms).is_some()
    }

    /// Why it is.
    pub(super) fn reason_of_suspension(&mut self, handle: SiteHandle) -> (Status, Rc<str>) {
        let now_ms = self.timeline.now_ms();
        let site = self.sites.live(handle);
        let (reason, transport) = (Rc::clone(&site.reason), site.transport_index);
        match self.rest_of(transport, now_ms) {
            Some(rest) => (Status::persistent(3, 0), Rc::clone(&rest.reason)),
            None => (Status::persistent(4, 1), reason),
        }
    }
}
