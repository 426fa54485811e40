//! One shard's own clients, and what it still has to tell their homes.

use std::collections::VecDeque;

use hashbrown::HashMap;

use super::{ClientEvent, ClientKey, ClientNews, EventCounts};

/// One shard's side.
pub struct AnvilHere {
    clients_max: usize,
    clients: HashMap<ClientKey, Entry, foldhash::fast::RandomState>,
    /// Clients with something unsaid, each once.
    unsaid: VecDeque<ClientKey>,
}

#[derive(Default)]
struct Entry {
    open: u32,
    open_said: u32,
    events: EventCounts,
    filed: bool,
}

impl Entry {
    fn has_news(&self) -> bool {
        self.open != self.open_said || !self.events.is_empty()
    }
}

impl AnvilHere {
    /// No clients, and room for `clients_max`.
    pub fn new(clients_max: usize) -> AnvilHere {
        AnvilHere { clients_max, clients: HashMap::default(), unsaid: VecDeque::new() }
    }

    /// A session begins. False: there is no room, so that it goes uncounted and must not be reported again.
    #[must_use]
    pub fn connected(&mut self, client: ClientKey) -> bool {
        if self.clients.len() >= self.clients_max && !self.clients.contains_key(&client) {
            return false;
        }
        let entry = self.clients.entry(client).or_default();
        entry.open += 1;
        entry.events.add(ClientEvent::Connection);
        true
    }

    /// Something happened in a session that is open.
    ///
    /// # Panics
    /// When the client has no session open here.
    pub fn happened(&mut self, client: ClientKey, event: ClientEvent) {
        self.open_entry(client).events.add(event);
    }

    /// A session is over.
    ///
    /// # Panics
    /// When the client has no session open here.
    pub fn disconnected(&mut self, client: ClientKey) {
        self.open_entry(client).open -= 1;
    }

    fn open_entry(&mut self, client: ClientKey) -> &mut Entry {
        let entry = self.clients.get_mut(&client).filter(|entry| entry.open > 0);
        entry.expect("only sessions that were counted at their beginning are counted further")
    }

    /// How things are, and what the home does not know yet; `None` when this client has no session here and nothing
    /// to tell.
    pub fn news(&self, client: ClientKey) -> Option<ClientNews> {
        let entry = self.clients.get(&client)?;
        Some(ClientNews { client, open: entry.open, events: entry.events })
    }

    /// The home has been told what [`news`](Self::news) says now.
    pub fn said(&mut self, client: ClientKey) {
        if let Some(entry) = self.clients.get_mut(&client) {
            entry.open_said = entry.open;
            entry.events = EventCounts::default();
            // One that is filed is forgotten when it comes up.
            if entry.open == 0 && !entry.filed {
                self.clients.remove(&client);
            }
        }
    }

    /// The news of this client waits to be told. True if nothing waited before.
    pub fn file(&mut self, client: ClientKey) -> bool {
        let was_empty = self.unsaid.is_empty();
        if let Some(entry) = self.clients.get_mut(&client)
            && !std::mem::replace(&mut entry.filed, true)
        {
            self.unsaid.push_back(client);
        }
        was_empty && !self.unsaid.is_empty()
    }

    /// Clients whose news waits, at least.
    pub fn unsaid(&self) -> usize {
        self.unsaid.len()
    }

    /// Takes the news that has waited longest: tell it and call [`said`](Self::said), or [`file`](Self::file) it again.
    pub fn next_unsaid(&mut self) -> Option<ClientNews> {
        while let Some(client) = self.unsaid.pop_front() {
            let entry = self.clients.get_mut(&client).expect("a filed client is not forgotten");
            entry.filed = false;
            if entry.has_news() {
                return Some(ClientNews { client, open: entry.open, events: entry.events });
            }
            if entry.open == 0 {
                self.clients.remove(&client);
            }
        }
        None
    }

    /// Clients that have sessions here or news to tell.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }
}
