//! The sites that this shard knows, found by (transport, nexthop).

use super::arena::{Arena, Key};
use super::claim::Claim;
use super::ledger::Ledger;
use super::reuse::ConnectionReuse;
use super::settings::{QmgrSettings, TransportSettings};
use super::site_queue::SiteQueue;
use super::slots::{ShardPlace, SiteHandle};
use super::transport::{TransportIndex, Transports};
use super::window::Window;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::rc::Rc;

const NONE: u32 = u32::MAX;

/// Where a site waits; it is in exactly one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// No work, nothing in progress, nothing between shards: it may be forgotten.
    Idle,
    /// Nothing more can start until a delivery ends or another shard says something.
    Busy,
    /// In the ready line: something may start.
    Ready,
    /// Its rate delay runs, a timer is set.
    Paused,
    /// Dead, its work is being deferred.
    Suspending,
    /// To be forgotten as soon as its home on another shard has been told; new work calls it back.
    Leaving,
}

pub(super) struct Site {
    pub transport: Box<str>,
    pub nexthop: Box<str>,
    pub settings: Rc<TransportSettings>,
    pub transport_index: TransportIndex,
    pub reuse: ConnectionReuse,
    /// No warning that it fills the active queue before this scheduler time, in milliseconds.
    pub no_warning_until_ms: u64,
    /// At the site's home, its window; elsewhere it only knows whether the home has said that the site is dead.
    pub window: Window,
    pub queue: SiteQueue,
    /// What this shard holds, when the site's home is another.
    pub claim: Option<Box<Claim>>,
    /// What other shards hold, when this one is the site's home and others have work for it.
    pub ledger: Option<Box<Ledger>>,
    /// The text of the trouble that made it dead last.
    pub reason: Rc<str>,
    pub line: Line,
    /// In the line of its transport's gate; it is not forgotten meanwhile.
    pub at_gate: bool,
    hash: u64,
    idle_before: u32,
    idle_after: u32,
}

pub(super) struct SiteTable {
    place: ShardPlace,
    sites: Arena<Site>,
    by_name: HashTable<u32>,
    hasher: RandomState,
    pub transports: Transports,
    no_reason: Rc<str>,
    /// Least recently idle first.
    idle_first: u32,
    idle_last: u32,
    idle_count: usize,
    /// By shard, the sites of which it is to hear something; at most every site once.
    post: Vec<VecDeque<SiteHandle>>,
}

impl SiteTable {
    pub fn new(settings: &QmgrSettings) -> Self {
        Self {
            place: ShardPlace::ALONE,
            sites: Arena::new(),
            by_name: HashTable::new(),
            // Nexthops come from outside: the hash is seeded so that nobody can aim at one bucket.
            hasher: RandomState::default(),
            transports: Transports::new(settings),
            no_reason: Rc::from(""),
            idle_first: NONE,
            idle_last: NONE,
            idle_count: 0,
            post: Vec::new(),
        }
    }

    /// Before the first site: which shard this is.
    pub fn set_place(&mut self, place: ShardPlace) {
        assert!(place.index < place.count && self.sites.len() == 0, "a shard has one place from its start");
        self.place = place;
        self.post = vec![VecDeque::new(); usize::from(place.count)];
    }

    pub fn place(&self) -> ShardPlace {
        self.place
    }

    /// The sites of which a shard is to hear something.
    pub fn post(&mut self, shard: u16) -> &mut VecDeque<SiteHandle> {
        &mut self.post[usize::from(shard)]
    }

    pub fn has_post(&self) -> bool {
        self.post.iter().any(|sites| !sites.is_empty())
    }

    pub fn len(&self) -> usize {
        self.sites.len()
    }

    pub fn site(&self, handle: SiteHandle) -> Option<&Site> {
        self.sites.get(key(handle))
    }

    pub fn site_mut(&mut self, handle: SiteHandle) -> Option<&mut Site> {
        self.sites.get_mut(key(handle))
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
        let home = settings.home_of(transport, nexthop, self.place.count);
        let key = self.sites.insert(Site {
            transport: transport.into(),
            nexthop: nexthop.into(),
            window: Window::new(&settings),
            settings,
            transport_index,
            reuse: ConnectionReuse::default(),
            no_warning_until_ms: 0,
            queue: SiteQueue::new(),
            claim: (home != self.place.index).then(|| Box::new(Claim::new(home))),
            ledger: None,
            reason: Rc::clone(&self.no_reason),
            line: Line::Busy,
            at_gate: false,
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

    /// Calls a site back that nobody needed; it waits nowhere then.
    pub fn awaken(&mut self, handle: SiteHandle) {
        let site = self.live(handle);
        match site.line {
            Line::Idle => self.leave_idle(handle),
            Line::Leaving => {
                site.line = Line::Busy;
                site.claim.as_mut().expect("only a site with another home leaves").leaving = false;
            }
            Line::Busy | Line::Ready | Line::Paused | Line::Suspending => {}
        }
    }

    /// Takes a site out of the idle list; it waits nowhere then.
    fn leave_idle(&mut self, handle: SiteHandle) {
        let site = self.live(handle);
        assert_eq!(site.line, Line::Idle);
        site.line = Line::Busy;
        let (before, after) = (site.idle_before, site.idle_after);
        self.link(before, after);
        self.link_back(after, before);
        self.idle_count -= 1;
    }

    /// Forgets the sites that have been idle longest, down to `idle_max`. One of which another shard knows is
    /// forgotten when that has been told: while it cannot be told, its sites get no more work done either, so no more
    /// of them become idle.
    pub fn forget_idle(&mut self, idle_max: usize) {
        while self.idle_count > idle_max {
            let oldest = handle(self.sites.key_at(self.idle_first));
            self.leave_idle(oldest);
            let site = self.live(oldest);
            match &mut site.claim {
                Some(claim) if !claim.is_unknown() => {
                    claim.leaving = true;
                    site.line = Line::Leaving;
                    self.post_claim(oldest);
                }
                _ => self.forget(oldest),
            }
        }
    }

    /// Forgets a site that is in no list.
    pub fn forget(&mut self, gone: SiteHandle) {
        let site = self.sites.remove(key(gone)).expect("a site is forgotten once");
        let entry = self.by_name.find_entry(site.hash, |&index| index == gone.index);
        entry.expect("every site is in the table").remove();
    }

    /// Puts a site into the line of those that have something to say to their home, unless it is there.
    pub fn post_claim(&mut self, handle: SiteHandle) {
        let claim = self.live(handle).claim.as_mut().expect("the caller has seen it");
        if !std::mem::replace(&mut claim.queued, true) {
            let home = claim.home;
            self.post(home).push_back(handle);
        }
    }

    /// Puts a site into the lines of those shards that are to hear something of this home and have not yet.
    pub fn post_ledger(&mut self, handle: SiteHandle) {
        let Self { sites, post, .. } = self;
        let site = sites.get_mut(key(handle)).expect("the caller has seen it");
        let ledger = site.ledger.as_mut().expect("the caller has seen it");
        ledger.newly_queued(|shard| post[usize::from(shard)].push_back(handle));
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
