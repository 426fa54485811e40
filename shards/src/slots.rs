//! slots: performs what the schedulers of several shards say to each other about destinations' windows.
//!
//! Receives: `SlotMessage`s of other shards, from `mesh`.
//! Sends:    the scheduler's own, into the rings, once a turn and only while it has any.
//! Owns:     nothing but the word that there is something to say; what is to be said stays in the scheduler.
//! Limits:   the rings'. What a full ring does not take is said again after [`FULL_RING_WAIT`].
//! On failure: a shard that does not read its ring hears late; nothing is lost and no other shard waits.

use std::rc::Rc;
use std::time::Duration;

use ringpost_reactor::local::Notify;

use crate::mesh::MeshMessage;
use crate::qmgr;
use crate::shard::Lasting;

/// How long a full ring is left alone: its shard has 1024 messages to read and has not done so for a turn.
pub const FULL_RING_WAIT: Duration = Duration::from_millis(2);

/// The word from the queue manager to the task that fills the rings.
#[derive(Default)]
pub struct Slots {
    has_news: Notify,
}

impl Slots {
    /// The scheduler has something to say. What follows in the same turn is said with it.
    pub fn has_news(&self) {
        self.has_news.notify();
    }
}

/// Fills the rings; the shard spawns it once if there are other shards. Woken by the queue manager it runs after the
/// tasks that were ready then, so one message carries what they all did.
pub async fn run(shard: Rc<Lasting>) {
    loop {
        shard.slots.has_news.notified().await;
        while !qmgr::say_slots(&shard, |to, message| {
            shard.counters.slot_messages.one();
            let sent = shard.mesh.borrow_mut().try_send(usize::from(to), MeshMessage::Slots(message));
            sent.map_err(|back| {
                shard.counters.slot_messages_refused.one();
                match back {
                    MeshMessage::Slots(message) => message,
                    _ => unreachable!("a ring gives back what it was given"),
                }
            })
        }) {
            shard.handle.sleep(FULL_RING_WAIT).await;
        }
    }
}
