//! qmgr: the queue manager's decisions, one [`Scheduler`] per shard.
//!
//! **What**: which message is looked at next, which delivery starts when, what happens after each attempt.
//! **Receives**: events, each with `now_ms` (wall clock, milliseconds since the epoch; it may step back).
//! **Sends**: [`Action`]s, taken one by one with [`Scheduler::poll_action`] until it answers `None`.
//! **Owns**: the state of every queued message (incoming, active, deferred, hold, corrupt), the sites with their
//! windows, the deliveries in progress. Not the bytes: those are the caller's, who is told which to keep.
//! **Limits**: [`QmgrSettings`] names them; a queued message that is not active costs at most 22 bytes.
//! **On failure**: nothing here fails on outside data; a call that contradicts an earlier one is our own broken
//! invariant and panics (a report for a delivery that never started, an id used twice).
//! **Standards**: Postfix's `qmgr(8)` and its `SCHEDULER_README`; RFC 5321 section 4.5.4.1 (retry strategy).
//!
//! ```text
//! arrived ──► incoming ─┐                       ┌─► MessageDone, Expire      (the scheduler forgets the id)
//!                       ├─► Activate ─► active ─┼─► Retry ─► deferred ─┐
//! recovered ► deferred ─┘      ▲                └─► Held ─► hold       │
//!                              └────────────── due ◄───────────────────┘
//! ```
//!
//! ```text
//! Scheduler::new(QmgrSettings, now_ms)
//!   .arrived(id, bytes, now_ms) -> Custody            .recovered(id, due_at_ms, now_ms)
//!   .recovered_held(id)                               .site(transport, nexthop) -> SiteHandle
//!   .batch_recipients() -> u32                        (how many of a message's recipients to hand in at first)
//!   .activated(id, Resolved, &[(SiteHandle, recipient)], now_ms)
//!   .refilled(id, Refilled, &[(SiteHandle, recipient)], now_ms)
//!   .postponed(id, now_ms)                            .corrupted(id)
//!   .transport_failed(site, reason, now_ms) -> bool   .delivery_finished(delivery_id, DeliveryReport, now_ms)
//!   .next_for(site) -> Option<Delivery>               .poll_action() -> Option<Action>
//!   .tick(now_ms)                                     .next_wakeup() -> Option<u64>
//!   .hold(id, now_ms) .release(id, now_ms) .delete(id, now_ms) -> bool   (false: no such message)
//!   .force_expire(id, now_ms) -> bool
//!   .flush(now_ms)    .flush_message(id, now_ms) -> bool    .forget_dead_sites(now_ms)
//!   .walk(from, entries_max, each) -> Option<u32>     (entries of the table of messages)
//!   .due_at_ms(id) -> Option<u64>                     .why_site(transport, nexthop, now_ms) -> Option<SiteReport>
//!   .state(id) -> Option<MessageState>                .figures() -> QmgrFigures
//!   .among(ShardPlace)                                .hear(from, SlotMessage, now_ms)
//!   .has_slot_news() -> bool                          .say(now_ms, send) -> bool
//!   .stop(now_ms)
//! ```
//!
//! A message's recipients are handed in by batches: at most [`Scheduler::batch_recipients`] with `activated`, the rest
//! when [`Action::Refill`] asks for them, so that a message for 100,000 costs no more memory than a batch.
//!
//! Windows span shards: every site has one home, which owns its `window` and keeps in a `ledger` what the other shards
//! hold; these keep in a `claim` what they were granted and have to report. What they say to each other is in
//! [`slots`]; [`Scheduler::hear`] and [`Scheduler::say`] (in `exchange`) take and give it.

mod action;
mod arena;
mod attempt;
mod claim;
mod exchange;
mod explain;
mod fifo;
mod gate;
mod ledger;
mod operator;
mod renew;
mod rest;
mod reuse;
mod roster;
mod scheduler;
mod settings;
#[cfg(test)]
mod shards_model;
mod site_queue;
mod site_table;
pub mod slots;
mod timeline;
mod transport;
mod walk;
mod wheel;
mod window;

pub use action::{
    Action, Custody, Delivery, DeliveryId, DeliveryReport, MessageState, Recipients, Refilled, Resolved,
};
pub use explain::{SiteReport, SiteWait};
pub use scheduler::{QmgrFigures, Scheduler};
pub use settings::{Feedback, FeedbackError, QmgrSettings, TransportSettings};
pub use slots::{ShardPlace, SiteHandle, SiteNames, SlotMessage, home_of};

/// Names one queued message; opaque here, unique among all that the scheduler knows at a time.
///
/// The spool's id fits: 64 bits, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub u64);
