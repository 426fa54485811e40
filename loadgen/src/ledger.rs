//! What a sink has accepted: how often each recipient of each message was delivered or bounced.
//!
//! One ledger per sink thread, behind a mutex that only the checker contends for.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::message::TrackingId;

/// Most messages that one ledger remembers: about 3 GiB. What comes after is counted as untracked and reported.
pub const LEDGER_MESSAGES_MAX: usize = 48_000_000;

/// Most different recipients remembered for one message: twice what a source can ask for.
const LEDGER_RECIPIENTS_MAX: usize = 2 * crate::message::RECIPIENTS_MAX as usize;

/// What happened to one recipient of one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// Times the sink accepted it.
    pub delivered: u32,
    /// Times a notice of failure arrived at the sender.
    pub bounced: u32,
}

#[derive(Clone, Copy)]
struct Entry {
    recipient: u64,
    fate: Fate,
}

/// Deliveries by message and recipient.
#[derive(Default)]
pub struct Ledger {
    messages: HashMap<TrackingId, SmallVec<[Entry; 1]>, FixedState>,
    untracked: u64,
}

impl Ledger {
    /// Counts a delivery. `recipient` is a [`recipient_key`](crate::message::recipient_key).
    pub fn deliver(&mut self, id: TrackingId, recipient: u64) {
        self.change(id, recipient, |fate| fate.delivered = fate.delivered.saturating_add(1));
    }

    /// Counts a notice of failure.
    pub fn bounce(&mut self, id: TrackingId, recipient: u64) {
        self.change(id, recipient, |fate| fate.bounced = fate.bounced.saturating_add(1));
    }

    fn change(&mut self, id: TrackingId, recipient: u64, change: impl FnOnce(&mut Fate)) {
        if self.messages.len() >= LEDGER_MESSAGES_MAX && !self.messages.contains_key(&id) {
            self.untracked += 1;
            return;
        }
        let entries = self.messages.entry(id).or_default();
        let is_full = entries.len() >= LEDGER_RECIPIENTS_MAX;
        // Many recipients usually come in the order of sending, so the search starts at the end.
        match entries.iter_mut().rev().find(|entry| entry.recipient == recipient) {
            Some(entry) => change(&mut entry.fate),
            None if is_full => self.untracked += 1,
            None => {
                let mut entry = Entry { recipient, fate: Fate::default() };
                change(&mut entry.fate);
                entries.push(entry);
            }
        }
    }

    /// What happened to one recipient.
    pub fn fate(&self, id: TrackingId, recipient: u64) -> Fate {
        self.messages
            .get(&id)
            .and_then(|entries| entries.iter().find(|entry| entry.recipient == recipient))
            .map_or(Fate::default(), |entry| entry.fate)
    }

    /// Every recipient that has an entry: message, recipient, fate.
    pub fn iter(&self) -> impl Iterator<Item = (TrackingId, u64, Fate)> + '_ {
        self.messages
            .iter()
            .flat_map(|(&id, entries)| entries.iter().map(move |entry| (id, entry.recipient, entry.fate)))
    }

    /// Messages known.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether nothing has arrived.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Deliveries that found no room.
    pub fn untracked(&self) -> u64 {
        self.untracked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_are_counted_by_message_and_recipient() {
        let mut ledger = Ledger::default();
        let id = TrackingId { run: 1, sequence: 2 };
        ledger.deliver(id, 10);
        ledger.deliver(id, 11);
        ledger.deliver(id, 10);
        ledger.bounce(id, 12);
        assert_eq!(ledger.fate(id, 10), Fate { delivered: 2, bounced: 0 });
        assert_eq!(ledger.fate(id, 11), Fate { delivered: 1, bounced: 0 });
        assert_eq!(ledger.fate(id, 12), Fate { delivered: 0, bounced: 1 });
        assert_eq!(ledger.fate(id, 13), Fate::default());
        assert_eq!((ledger.len(), ledger.iter().count()), (1, 3));
    }
}
