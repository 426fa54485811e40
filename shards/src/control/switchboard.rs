//! The sending ends of the shards' control rings, shared by the main thread and the control sessions.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ringpost_reactor::ring::{Full, Sender};

use crate::mesh::Control;

/// How long to wait before a full ring is tried again: the shard drains it every turn.
const FULL_PAUSE: Duration = Duration::from_millis(1);

/// Speaks to every shard. The lock is taken for one attempt to send at a time, and never by a shard.
pub struct Switchboard {
    senders: Mutex<Vec<Sender<Control>>>,
    shards: usize,
    stopping: AtomicBool,
}

/// The shard does not take the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTold {
    /// It has ended, or the engine stops.
    Gone,
    /// Its ring stayed full.
    Busy,
}

impl Switchboard {
    /// With the ends of all shards, by their index.
    pub fn new(senders: Vec<Sender<Control>>) -> Switchboard {
        let shards = senders.len();
        Switchboard { senders: Mutex::new(senders), shards, stopping: AtomicBool::new(false) }
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.shards
    }

    /// No control session may ask any more.
    pub fn stop(&self) {
        // Relaxed: a flag that is looked at again and again, nothing is published by it.
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether the engine stops.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Says `message` to one shard, again and again while its ring is full.
    pub fn tell(&self, shard: usize, message: Control, patience: Duration) -> Result<(), NotTold> {
        let begun = Instant::now();
        let mut message = message;
        loop {
            {
                let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(sender) = senders.get_mut(shard) else { return Err(NotTold::Gone) };
                match sender.try_send(message) {
                    Ok(()) => return Ok(()),
                    Err(Full(_)) if sender.is_closed() => return Err(NotTold::Gone),
                    Err(Full(again)) => message = again,
                }
            }
            if begun.elapsed() >= patience {
                return Err(NotTold::Busy);
            }
            std::thread::sleep(FULL_PAUSE);
        }
    }

    /// Says it to every shard that lives, however long it takes.
    pub fn tell_all(&self, message: impl Fn() -> Control) {
        for shard in 0..self.shards {
            // A shard that has ended needs no word.
            let _ = self.tell(shard, message(), Duration::MAX);
        }
    }
}
