//! The queues by the names that operators use.

use crate::qmgr::MessageState;

/// One of Postfix's queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Queue {
    /// Accepted, not yet looked at.
    Incoming,
    /// Being delivered.
    Active,
    /// Waiting for the next attempt.
    Deferred,
    /// Held by an operator.
    Hold,
    /// Damaged: never listed, but it can be deleted.
    Corrupt,
}

impl Queue {
    /// In the order in which a listing shows them.
    pub const LISTED: [Queue; 4] = [Queue::Active, Queue::Incoming, Queue::Deferred, Queue::Hold];
    const ALL: [Queue; 5] = [Queue::Incoming, Queue::Active, Queue::Deferred, Queue::Hold, Queue::Corrupt];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Queue::Incoming => "incoming",
            Queue::Active => "active",
            Queue::Deferred => "deferred",
            Queue::Hold => "hold",
            Queue::Corrupt => "corrupt",
        }
    }

    /// The queue of that name.
    pub fn named(name: &str) -> Option<Queue> {
        Queue::ALL.into_iter().find(|queue| queue.name() == name)
    }

    /// Where the queue manager keeps such messages.
    pub const fn of(state: MessageState) -> Queue {
        match state {
            MessageState::Incoming => Queue::Incoming,
            MessageState::Active => Queue::Active,
            MessageState::Deferred => Queue::Deferred,
            MessageState::Hold => Queue::Hold,
            MessageState::Corrupt => Queue::Corrupt,
        }
    }

    pub(super) const fn code(self) -> u8 {
        self as u8
    }

    pub(super) fn from_code(code: u8) -> Option<Queue> {
        Queue::ALL.into_iter().find(|queue| queue.code() == code)
    }
}

/// Some of the queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queues(u8);

impl Queues {
    /// None.
    pub const NONE: Queues = Queues(0);

    /// These.
    pub const fn of(queues: &[Queue]) -> Queues {
        let mut bits = 0;
        let mut at = 0;
        while at < queues.len() {
            bits |= 1 << queues[at].code();
            at += 1;
        }
        Queues(bits)
    }

    /// These and one more.
    #[must_use]
    pub const fn with(self, queue: Queue) -> Queues {
        Queues(self.0 | 1 << queue.code())
    }

    /// Whether the queue is among them.
    pub const fn has(self, queue: Queue) -> bool {
        self.0 & 1 << queue.code() != 0
    }

    pub(super) const fn bits(self) -> u8 {
        self.0
    }

    pub(super) fn from_bits(bits: u8) -> Option<Queues> {
        (bits < 1 << Queue::ALL.len()).then_some(Queues(bits))
    }
}
