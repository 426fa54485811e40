//! The counts of the clients whose home is here.

use std::collections::VecDeque;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::{ClientCounts, ClientKey, ClientNews, EventCounts, Peaks};

/// One home shard's table.
pub struct AnvilTable {
    unit_ms: u64,
    clients_max: usize,
    clients: HashMap<ClientKey, Entry, foldhash::fast::RandomState>,
    /// When units of time began, oldest first.
    /// Invariant: a client stands here once if it is `filed`, with the beginning of its unit, and else not at all.
    units: VecDeque<(u64, ClientKey)>,
    peaks: Peaks,
}

struct Entry {
    /// When the unit of time that is running began.
    began_ms: u64,
    /// Invariant: a client that is not filed has a session open, or nobody would remember to forget it.
    filed: bool,
    rates: EventCounts,
    open: u32,
    /// Open sessions by shard, none of them 0.
    open_on: SmallVec<[(u16, u32); 2]>,
}

impl AnvilTable {
    /// An empty table of at most `clients_max` clients; `unit_ms` is `anvil_rate_time_unit`.
    pub fn new(unit_ms: u64, clients_max: usize) -> AnvilTable {
        AnvilTable {
            unit_ms,
            clients_max,
            clients: HashMap::default(),
            units: VecDeque::new(),
            peaks: Peaks::default(),
        }
    }

    /// From now on a unit of time has so many milliseconds; the one that runs is judged by it, too.
    pub fn set_unit_ms(&mut self, unit_ms: u64) {
        self.unit_ms = unit_ms;
    }

    /// Takes what shard `from` tells, and answers the client's counts. `None` when the table is full of clients that
    /// have sessions open: this one goes uncounted.
    pub fn hear(&mut self, from: u16, news: &ClientNews, now_ms: u64) -> Option<ClientCounts> {
        self.forget_idle(now_ms);
        let client = news.client;
        if !self.clients.contains_key(&client) {
            if news.open == 0 && news.events.is_empty() {
                return Some(ClientCounts::default());
            }
            if self.clients.len() >= self.clients_max && !self.make_room() {
                return None;
            }
            self.units.push_back((now_ms, client));
        }
        let clients = self.clients.len();
        let entry = self.clients.entry(client).or_insert_with(|| Entry {
            began_ms: now_ms,
            filed: true,
            rates: EventCounts::default(),
            open: 0,
            open_on: SmallVec::new(),
        });
        if !news.events.is_empty() {
            if now_ms.saturating_sub(entry.began_ms) >= self.unit_ms {
                // Units that are over have been unfiled above.
                debug_assert!(!entry.filed);
                (entry.began_ms, entry.filed) = (now_ms, true);
                entry.rates = EventCounts::default();
                self.units.push_back((now_ms, client));
            }
            entry.rates.add_all(&news.events);
        }
        entry.set_open(from, news.open);
        let counts = ClientCounts { open: entry.open, rates: entry.rates };
        if entry.open == 0 && !entry.filed {
            self.clients.remove(&client);
        }
        if !news.events.is_empty() {
            self.peaks.observe(client, &counts, clients.max(self.clients.len()), now_ms);
        }
        Some(counts)
    }

    /// Clients in the table.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether no client is known.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Forgets clients without sessions whose unit of time is over.
    pub fn forget_idle(&mut self, now_ms: u64) {
        while let Some(&(began_ms, _)) = self.units.front()
            && now_ms.saturating_sub(began_ms) >= self.unit_ms
        {
            self.unfile_first();
        }
    }

    /// The peaks since the last call.
    pub fn take_peaks(&mut self) -> Peaks {
        std::mem::take(&mut self.peaks)
    }

    /// Forgets the client without sessions whose unit of time began first. False: every client has a session open.
    fn make_room(&mut self) -> bool {
        while !self.units.is_empty() {
            if self.unfile_first() {
                return true;
            }
        }
        false
    }

    /// Takes the first client off the file; true if it is forgotten with that, because it has no session open.
    fn unfile_first(&mut self) -> bool {
        let (_, client) = self.units.pop_front().expect("the caller has seen one");
        let entry = self.clients.get_mut(&client).expect("filed clients are known");
        entry.filed = false;
        let idle = entry.open == 0;
        if idle {
            self.clients.remove(&client);
        }
        idle
    }
}

impl Entry {
    fn set_open(&mut self, shard: u16, open: u32) {
        let place = self.open_on.iter().position(|(from, _)| *from == shard);
        match (place, open) {
            (Some(place), 0) => drop(self.open_on.swap_remove(place)),
            (Some(place), open) => self.open_on[place].1 = open,
            (None, 0) => {}
            (None, open) => self.open_on.push((shard, open)),
        }
        self.open = self.open_on.iter().fold(0u32, |sum, (_, open)| sum.saturating_add(*open));
    }
}
