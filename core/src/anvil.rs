//! anvil: how many connections a client has, and how often it connects, sends messages, names recipients, and so on.
//!
//! - What it is: Postfix's anvil(8) over many shards. Each client, named by a [`ClientKey`], has a home shard that
//!   counts for all of them; every shard keeps what it has to tell that home.
//! - Receives: connects, events and disconnects of sessions ([`AnvilHere`]); what shards tell a home
//!   ([`AnvilTable::hear`]), with a monotonic `now_ms`.
//! - Sends: [`ClientNews`] to the home, [`ClientCounts`] back, [`Exceeded`] to the session, [`Peaks`] for the log.
//! - Owns: counts in memory only. They are gone after a restart, as Postfix's are.
//! - Limits: [`CLIENTS_MAX`] clients in each of the two tables of a shard. Beyond it a home forgets the rates of the
//!   client that began its unit of time first and has no connection open; if all have one, the newcomer goes
//!   uncounted. A shard whose own table is full lets the session go uncounted, too.
//! - On failure: nothing fails. News says how many sessions are open *now* and what happened since the last news, so
//!   that news that could not be said is contained in the next: counts are late then, and never leak.
//! - Standards: none; limits, texts and the fixed unit of time are Postfix's (TUNING_README, anvil(8)).

mod client;
mod here;
mod limits;
mod peaks;
mod table;

pub use client::{ClientKey, ClientPrefixes};
pub use here::AnvilHere;
pub use limits::{ClientLimits, Exceeded};
pub use peaks::{Peak, PeakKind, PeakReport, Peaks};
pub use table::AnvilTable;

/// Clients in one table. At about 150 bytes each a full table is 10 MiB a shard; a client of IPv6 is a network, so
/// that one customer of a provider cannot be thousands.
pub const CLIENTS_MAX: usize = 65_536;

/// What a client does that is counted in a unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// It connects.
    Connection,
    /// It gives MAIL.
    Message,
    /// It gives RCPT.
    Recipient,
    /// It makes a TLS session that does not resume an older one.
    NewTls,
    /// It gives AUTH.
    Auth,
}

impl ClientEvent {
    const ALL: [ClientEvent; 5] = [
        ClientEvent::Connection,
        ClientEvent::Message,
        ClientEvent::Recipient,
        ClientEvent::NewTls,
        ClientEvent::Auth,
    ];
}

/// How often each event happened. Counts stay at their maximum rather than wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventCounts([u32; ClientEvent::ALL.len()]);

impl EventCounts {
    /// How often `event` happened.
    pub fn of(&self, event: ClientEvent) -> u32 {
        self.0[event as usize]
    }

    /// One more `event`.
    pub fn add(&mut self, event: ClientEvent) {
        let count = &mut self.0[event as usize];
        *count = count.saturating_add(1);
    }

    /// All of `more`.
    pub fn add_all(&mut self, more: &EventCounts) {
        for (count, more) in self.0.iter_mut().zip(more.0) {
            *count = count.saturating_add(more);
        }
    }

    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        *self == EventCounts::default()
    }
}

/// What a shard tells a client's home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientNews {
    /// The client.
    pub client: ClientKey,
    /// Its sessions that are open on the telling shard now.
    pub open: u32,
    /// What it did there since that shard's last news of it.
    pub events: EventCounts,
}

/// What a home knows of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientCounts {
    /// Its sessions that are open on all shards.
    pub open: u32,
    /// What it did in the unit of time that is running.
    pub rates: EventCounts,
}

#[cfg(test)]
mod tests;
