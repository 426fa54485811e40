//! The rate delay of a transport: one delivery at a time over all its sites and all shards, with a pause after each.
//!
//! All sites of such a transport have one home, which keeps the gate: besides the window's room it takes the gate to
//! get a slot, for the home's own work as well. Sites wait in one line, and within a site the shards take turns. What
//! the gate gives serves one delivery and comes back at once when there is no work for it, so nobody holds it idle. A
//! transport without a rate delay never looks at its gate.

use super::ledger::{Own, Turn};
use super::scheduler::Scheduler;
use super::site_table::Site;
use super::slots::{SiteHandle, Standing};
use super::transport::TransportIndex;
use std::cmp::Reverse;
use std::collections::VecDeque;

#[derive(Default)]
pub(super) struct Gate {
    /// A slot is out, here or on another shard.
    given: bool,
    /// No slot before this scheduler time, in milliseconds.
    closed_until_ms: u64,
    /// Sites that somebody has work for, each at most once; [`Site::at_gate`] says so.
    line: VecDeque<SiteHandle>,
}

impl Gate {
    fn is_open(&self, now_ms: u64) -> bool {
        !self.given && now_ms >= self.closed_until_ms
    }

    /// The pause ends at this time at the latest; whether that is earlier than it would have.
    pub(super) fn shorten(&mut self, until_ms: u64) -> bool {
        let is_earlier = self.closed_until_ms > until_ms;
        self.closed_until_ms = self.closed_until_ms.min(until_ms);
        is_earlier
    }

    /// The slot has come back unused: the next may have it at once.
    fn given_back(&mut self) {
        assert!(self.given, "only what was given comes back");
        self.given = false;
    }

    /// The delivery has ended.
    fn close(&mut self, until_ms: u64) {
        self.given_back();
        self.closed_until_ms = until_ms;
    }
}

impl Site {
    /// Its transport has a rate delay.
    pub(super) fn is_gated(&self) -> bool {
        self.settings.transport_rate_delay_ms > 0
    }

    fn own_need(&self, stopping: bool) -> Own {
        let held = self.queue.held();
        Own { held, wanted: if stopping { held } else { self.queue.wanted() } }
    }

    /// Gives the one slot to whose turn it is. False: nobody wants it, or the site's own window is closed.
    fn take_turn(&mut self, stopping: bool, now_ms: u64) -> bool {
        let own = self.own_need(stopping);
        if self.window.room(&self.settings, now_ms) == 0 {
            return false;
        }
        let turn = match &mut self.ledger {
            Some(ledger) => ledger.grant_once(own),
            None => (own.wanted > own.held).then_some(Turn::Home),
        };
        match turn {
            Some(Turn::Home) => self.queue.granted(1),
            Some(Turn::Member) => {}
            None => return false,
        }
        self.window.grant(1);
        true
    }
}

impl Scheduler {
    /// At the home of a site whose transport has a rate delay, after every event: what cannot be used goes on to the
    /// next, and who wants something stands in the line.
    pub(super) fn settle_gate(&mut self, handle: SiteHandle) {
        let (now_ms, stopping) = (self.timeline.now_ms(), self.stopping);
        let site = self.sites.live(handle);
        let transport = site.transport_index;
        let is_dead = site.window.standing(&site.settings, now_ms) != Standing::Open;
        let is_useless = stopping || is_dead || !site.queue.has_work();
        let unused = if is_useless { site.queue.take_back(u32::MAX) } else { 0 };
        site.window.take_back(unused);
        let own = site.own_need(stopping);
        let wants = own.wanted > own.held || site.ledger.as_ref().is_some_and(|ledger| ledger.has_waiting());
        let joins = wants && !site.at_gate && site.window.room(&site.settings, now_ms) > 0;
        site.at_gate |= joins;
        let gate = &mut self.sites.transports.get_mut(transport).gate;
        if joins {
            gate.line.push_back(handle);
        }
        if unused > 0 {
            gate.given_back();
        }
        if joins || unused > 0 {
            self.let_one_go(transport);
        }
    }

    /// A slot of this site has come back to its home, after a delivery or unused.
    pub(super) fn slot_came_back(&mut self, handle: SiteHandle, after_delivery: bool) {
        let now_ms = self.timeline.now_ms();
        let site = self.sites.live(handle);
        if !site.is_gated() {
            return;
        }
        let (transport, delay_ms) = (site.transport_index, site.settings.transport_rate_delay_ms);
        let gate = &mut self.sites.transports.get_mut(transport).gate;
        if after_delivery {
            gate.close(now_ms + delay_ms);
            self.paused_transports.push(Reverse((now_ms + delay_ms, transport)));
        } else {
            gate.given_back();
            self.let_one_go(transport);
        }
    }

    /// While the gate is open, gives the next in its line a slot.
    pub(super) fn let_one_go(&mut self, transport: TransportIndex) {
        let (now_ms, stopping) = (self.timeline.now_ms(), self.stopping);
        loop {
            let gate = &mut self.sites.transports.get_mut(transport).gate;
            if !gate.is_open(now_ms) {
                return;
            }
            let Some(handle) = gate.line.pop_front() else { return };
            let site = self.sites.site_mut(handle).expect("a site in the line is not forgotten");
            site.at_gate = false;
            let given = site.take_turn(stopping, now_ms);
            self.sites.transports.get_mut(transport).gate.given = given;
            self.place(handle);
        }
    }
}
