//! The sites that this shard knows, found by (transport, nexthop).

use super::arena::{Arena, Key};
use super::reuse::ConnectionReuse;
use super::settings::{QmgrSettings, TransportSettings};
use super::site_queue::SiteQueue;
use super::slots::SiteHandle;
use super::transport::{TransportIndex, Transports};
use super::window::Window;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;
use std::rc::Rc;

const NONE: u32 = u32::MAX;

/// Where a site waits; it is in exactly one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// No work and nothing in progress: it may be forgotten.
    Idle,
    /// Something is in progress and nothing more can start until that ends.
    Busy,
    /// In the ready line: something may start.
    Ready,
    /// Its rate delay runs, a timer is set.
    Paused,
    /// Its transport's rate delay runs, or another delivery of a transport that has one.
    Transport,
    /// Dead, its work is being deferred.
    Suspending,
}

pub(super) struct Site {
    pub transport: Box<str>,
    pub nexthop: Box<str>,
    pub settings: Rc<TransportSettings>,
    pub transport_index: TransportIndex,
    pub reuse: ConnectionReuse,
    /// No warning that it fills the active queue before this scheduler time, in milliseconds.
    pub no_warning_until_ms: u64,
    pub window: Window,
    pub queue: SiteQueue,
    /// The text of the trouble that made it dead last.
    pub reason: Rc<str>,
    pub line: Line,
    hash: u64,
    idle_before: u32,
    idle_after: u32,
}

pub(super) struct SiteTable {
    sites: Arena<Site>,
    by_name: HashTable<u32>,
    hasher: RandomState,
    pub transports: Transports,
    no_reason: Rc<str>,
    /// Least recently idle first.
    idle_first: u32,
    idle_last: u32,
    idle_count: usize,
}

impl SiteTable {
    pub fn new(settings: &QmgrSettings) -> Self {
        Self {
            sites: Arena::new(),
            by_name: HashTable::new(),
            // Nexthops come from outside: the hash is seeded so that nobody can aim at one bucket.
            hasher: RandomState::default(),
            transports: Transports::new(settings),
            no_reason: Rc::from(""),
            idle_first: NONE,
            idle_last: NONE,
            idle_count: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.sites.len()
    }

    pub fn site(&self, handle: SiteHandle) -> Option<&Site> {
        self.sites.get(key(handle))
    }

    /// A site that has work, something in progress, or was interned for the message at hand.
    pub fn live(&mut self, handle: SiteHandle) -> &mut Site {
        self.sites.get_mut(key(handle)).expect("a site is forgotten only when idle, between messages")
    }

    pub fn handles(&self) -> Vec<SiteHandle> {
        self.sites.keys().into_iter().map(handle).collect()
    }

    /// Finds or creates the site.
    pub fn intern(&mut self, transport: &str, nexthop: &str) -> SiteHandle {
        let hash = self.hasher.hash_one((transport, nexthop));
        let sites = &self.sites;
        let found = self.by_name.find(hash, |&index| {
            let site = sites.get(sites.key_at(index)).expect("the table names only sites that exist");
            *site.nexthop == *nexthop && *site.transport == *transport
        });
        if let Some(&index) = found {
            return handle(sites.key_at(index));
        }
        let transport_index = self.transports.intern(transport);
        let settings = Rc::clone(&self.transports.get(transport_index).settings);
        let key = self.sites.insert(Site {
            transport: transport.into(),
            nexthop: nexthop.into(),
            window: Window::new(&settings),
            settings,
            transport_index,
            reuse: ConnectionReuse::default(),
            no_warning_until_ms: 0,
            queue: SiteQueue::new(),
            reason: Rc::clone(&self.no_reason),
            line: Line::Busy,
            hash,
            idle_before: NONE,
            idle_after: NONE,
        });
        let sites = &self.sites;
        self.by_name.insert_unique(hash, key.index, |&index| {
            sites.get(sites.key_at(index)).expect("the table names only sites that exist").hash
        });
        self.enter_idle(handle(key));
        handle(key)
    }

    /// Puts a site that waits nowhere at the end of the idle list; its window's history ends.
    pub fn enter_idle(&mut self, handle: SiteHandle) {
        let last = self.idle_last;
        let site = self.live(handle);
        let settings = Rc::clone(&site.settings);
        site.window.forget_history(&settings);
        site.line = Line::Idle;
        (site.idle_before, site.idle_after) = (last, NONE);
        self.link(last, handle.index);
        self.link_back(NONE, handle.index);
        self.idle_count += 1;
    }

    /// Takes a site out of the idle list; it waits nowhere then.
    pub fn leave_idle(&mut self, handle: SiteHandle) {
        let site = self.live(handle);
        assert_eq!(site.line, Line::Idle);
        site.line = Line::Busy;
        let (before, after) = (site.idle_before, site.idle_after);
        self.link(before, after);
        self.link_back(after, before);
        self.idle_count -= 1;
    }

    /// Forgets the sites that have been idle longest, down to `idle_max`.
    pub fn forget_idle(&mut self, idle_max: usize) {
        while self.idle_count > idle_max {
            let oldest = handle(self.sites.key_at(self.idle_first));
            self.leave_idle(oldest);
            let site = self.sites.remove(key(oldest)).expect("an idle site exists");
            let entry = self.by_name.find_entry(site.hash, |&index| index == oldest.index);
            entry.expect("every site is in the table").remove();
        }
    }

    /// Makes `after` follow `before`, or lead the list.
    fn link(&mut self, before: u32, after: u32) {
        match before {
            NONE => self.idle_first = after,
            before => self.live(handle(self.sites.key_at(before))).idle_after = after,
        }
    }

    /// Makes `before` precede `after`, or end the list.
    fn link_back(&mut self, after: u32, before: u32) {
        match after {
            NONE => self.idle_last = before,
            after => self.live(handle(self.sites.key_at(after))).idle_before = before,
        }
    }
}

fn key(handle: SiteHandle) -> Key {
    Key { index: handle.index, generation: handle.generation }
}

fn handle(key: Key) -> SiteHandle {
    SiteHandle { index: key.index, generation: key.generation }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_sites_are_forgotten_oldest_first_and_their_handles_die() {
        let mut table = SiteTable::new(&QmgrSettings::default());
        let first = table.intern("smtp", "a.example");
        let second = table.intern("smtp", "b.example");
        assert_ne!(table.intern("lmtp", "a.example"), first);
        assert_eq!(table.intern("smtp", "a.example"), first);
        table.leave_idle(first);
        table.enter_idle(first);
        table.forget_idle(2);
        assert!(table.site(second).is_none() && table.site(first).is_some());
        let again = table.intern("smtp", "b.example");
        assert_ne!(again, second);
        table.forget_idle(0);
        assert_eq!(table.len(), 0);
    }
}
