//! The reckoning: what a source was promised against what a sink has seen.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::ledger::{Fate, Ledger};
use crate::message::{Plan, TrackingId};
use crate::source::Acknowledged;

/// So many lost messages are named in a report.
const EXAMPLES_MAX: usize = 10;

/// Where a message is that neither arrived nor bounced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// Nobody knows.
    Lost,
    /// Deleted by a command that was told so.
    Deleted,
    /// Perhaps deleted: the relay died before the command had its answer.
    DeletionUnanswered,
    /// The relay lists it.
    Queued,
}

/// Every acknowledged recipient in exactly one of delivered, bounced, deleted, queued, lost; and the copies beyond the
/// first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Recipients of acknowledged messages that the server had accepted.
    pub acknowledged: u64,
    /// Of these, delivered at least once.
    pub delivered: u64,
    /// Of these, never delivered, but the sender was told.
    pub bounced: u64,
    /// Of these, neither, but deleted by a command that was told so.
    pub deleted: u64,
    /// Of these, neither, and the relay died before the command that was to delete them had its answer.
    pub deletion_unanswered: u64,
    /// Of these, neither, and in the queue at the end.
    pub queued: u64,
    /// Of these, nothing of all that.
    pub lost: u64,
    /// Deliveries of the same message to the same recipient beyond the first.
    pub duplicated: u64,
    /// Delivered though never acknowledged: allowed, the answer may have been lost on its way.
    pub unacknowledged_delivered: u64,
    /// Some of the lost: id and recipient.
    pub lost_examples: Vec<String>,
}

impl Account {
    /// Whether every acknowledged recipient was delivered exactly once (or bounced, where that is allowed).
    pub fn is_exactly_once(&self, allow_bounces: bool) -> bool {
        self.lost == 0 && self.duplicated == 0 && (allow_bounces || self.bounced == 0)
    }

    /// Draws up the account of a run in which nothing is deleted and nothing stays.
    pub fn settle(plan: &Plan, acknowledged: &[Acknowledged], ledgers: &[Arc<Mutex<Ledger>>]) -> Account {
        Account::settle_knowing(plan, acknowledged, ledgers, |_| Whereabouts::Lost)
    }

    /// Draws up the account; `whereabouts` knows of a message, by its number, that did not arrive.
    pub fn settle_knowing(
        plan: &Plan,
        acknowledged: &[Acknowledged],
        ledgers: &[Arc<Mutex<Ledger>>],
        whereabouts: impl Fn(u64) -> Whereabouts,
    ) -> Account {
        let ledgers = lock_all(ledgers);
        let mut account = Account::default();
        let mut delivered_copies = 0;
        for_each_recipient(plan, acknowledged, |id, number, key| {
            account.acknowledged += 1;
            let fate = fate_in(&ledgers, id, key);
            delivered_copies += u64::from(fate.delivered);
            if fate.delivered > 0 {
                account.delivered += 1;
            } else if fate.bounced > 0 {
                account.bounced += 1;
            } else {
                match whereabouts(id.sequence) {
                    Whereabouts::Deleted => account.deleted += 1,
                    Whereabouts::DeletionUnanswered => account.deletion_unanswered += 1,
                    Whereabouts::Queued => account.queued += 1,
                    Whereabouts::Lost => {
                        account.lost += 1;
                        if account.lost_examples.len() < EXAMPLES_MAX {
                            let mut address = String::new();
                            plan.recipient(id.sequence, number, &mut address);
                            account.lost_examples.push(format!("{id} {address}"));
                        }
                    }
                }
            }
        });
        account.duplicated = delivered_copies - account.delivered;
        // What the run sent without an acknowledgement counts apart. Its copies are copies all the same.
        let mut all_copies = 0;
        let mut all_once = 0;
        for (id, _, fate) in ledgers.iter().flat_map(|ledger| ledger.iter()) {
            if id.run == plan.run && fate.delivered > 0 {
                all_copies += u64::from(fate.delivered);
                all_once += 1;
            }
        }
        if ledgers.len() == 1 {
            account.unacknowledged_delivered = all_once - account.delivered;
            account.duplicated = all_copies - all_once;
        } else {
            // With several ledgers one recipient may be in two, so only the sum of copies is exact.
            account.unacknowledged_delivered = all_copies - delivered_copies;
        }
        account
    }
}

/// Recipients of acknowledged messages that have neither arrived nor bounced.
pub struct Missing {
    recipients: Vec<(TrackingId, u64)>,
}

impl Missing {
    /// All that is missing now.
    pub fn find(plan: &Plan, acknowledged: &[Acknowledged], ledgers: &[Arc<Mutex<Ledger>>]) -> Missing {
        let ledgers = lock_all(ledgers);
        let mut recipients = Vec::new();
        for_each_recipient(plan, acknowledged, |id, _, key| {
            if fate_in(&ledgers, id, key) == Fate::default() {
                recipients.push((id, key));
            }
        });
        Missing { recipients }
    }

    /// Strikes out what has arrived since; says how many are left.
    pub fn update(&mut self, ledgers: &[Arc<Mutex<Ledger>>]) -> usize {
        let ledgers = lock_all(ledgers);
        self.recipients.retain(|&(id, key)| fate_in(&ledgers, id, key) == Fate::default());
        self.recipients.len()
    }

    /// How many are left of messages, by their numbers, that `counts` picks.
    pub fn left_of(&self, counts: impl Fn(u64) -> bool) -> usize {
        self.recipients.iter().filter(|(id, _)| counts(id.sequence)).count()
    }
}

fn lock_all(ledgers: &[Arc<Mutex<Ledger>>]) -> Vec<MutexGuard<'_, Ledger>> {
    // A ledger is whole after every change, so one whose thread panicked still counts.
    ledgers.iter().map(|ledger| ledger.lock().unwrap_or_else(PoisonError::into_inner)).collect()
}

fn fate_in(ledgers: &[MutexGuard<'_, Ledger>], id: TrackingId, key: u64) -> Fate {
    ledgers.iter().map(|ledger| ledger.fate(id, key)).fold(Fate::default(), |sum, fate| Fate {
        delivered: sum.delivered + fate.delivered,
        bounced: sum.bounced + fate.bounced,
    })
}

fn for_each_recipient(
    plan: &Plan,
    acknowledged: &[Acknowledged],
    mut take: impl FnMut(TrackingId, u32, u64),
) {
    for message in acknowledged {
        let id = TrackingId { run: plan.run, sequence: message.sequence };
        for number in (0..plan.recipients).filter(|number| !message.refused_recipients.contains(number)) {
            take(id, number, plan.recipient_key(message.sequence, number));
        }
    }
}
