//! What a shard holds of a site whose home is another shard: its need, its grants, and what it has to tell the home.
//!
//! A grant is used again for delivery after delivery, so that a busy site costs a ring message for each cohort of
//! deliveries and not for each delivery. It goes back with a delivery that met trouble, when the home asks for it,
//! when the site is dead, and when there has been no work for it for [`LINGER_MS`].

use super::site_queue::SiteQueue;
use super::slots::{Grant, Outcomes, Revoke, SiteHandle, SiteNames, SlotMessage, Want};
use std::sync::Arc;

/// How long a grant without work is kept, milliseconds: long enough that mail that trickles in needs no message to
/// the home for each delivery, short enough that what others could use does not lie idle for long.
pub(super) const LINGER_MS: u64 = 20;

/// How far the home knows this shard's site.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Acquaintance {
    None,
    /// `SiteOpen` is on its way; without the home's handle nothing else can be said.
    Opening,
    Open(SiteHandle),
}

pub(super) struct Claim {
    /// The home's index.
    pub home: u16,
    acquaintance: Acquaintance,
    /// The need as it was last said.
    said: u32,
    /// Grants to be given back after their next delivery.
    owed: u32,
    outcomes: Outcomes,
    revive: bool,
    /// The site is to be forgotten as soon as the home has been told.
    pub leaving: bool,
    /// The site is in the line of those that have something to say to the home.
    pub queued: bool,
    /// A timer runs for grants without work; the least there were of them since it was set.
    lingering: Option<u32>,
}

/// What a shard's site is like when its claim is looked at.
#[derive(Clone, Copy)]
pub(super) struct Mood {
    /// The home has said that the site is dead.
    pub dead: bool,
    /// The shard stops: it wants nothing and keeps nothing.
    pub stopping: bool,
}

impl Claim {
    pub fn new(home: u16) -> Self {
        Self {
            home,
            acquaintance: Acquaintance::None,
            said: 0,
            owed: 0,
            outcomes: Outcomes::default(),
            revive: false,
            leaving: false,
            queued: false,
            lingering: None,
        }
    }

    pub fn opened(&mut self, home_site: SiteHandle) {
        self.acquaintance = Acquaintance::Open(home_site);
    }

    /// The home has never heard of the site from here.
    pub fn is_unknown(&self) -> bool {
        self.acquaintance == Acquaintance::None
    }

    pub fn granted(&mut self, queue: &mut SiteQueue, grant: Grant) {
        queue.granted(grant.deliveries);
        self.owed += grant.once;
    }

    pub fn revoked(&mut self, queue: &mut SiteQueue, revoke: Revoke) {
        self.owed = self.owed.saturating_add(revoke.deliveries).min(queue.held());
        if !revoke.after_use {
            let unused = queue.take_back(revoke.deliveries.min(self.owed));
            self.give_back(unused);
        }
    }

    /// A delivery has ended. Its grant stays for the next one unless something speaks against it.
    pub fn finished(&mut self, queue: &mut SiteQueue, trouble: Option<&str>, mood: Mood) {
        queue.finished();
        match trouble {
            Some(text) => {
                self.outcomes.trouble += 1;
                self.outcomes.reason = Some(Arc::from(text));
            }
            None => self.outcomes.sent += 1,
        }
        if trouble.is_some() || self.owed > 0 || mood.dead || mood.stopping {
            self.give_back(1);
        } else {
            queue.granted(1);
        }
    }

    /// An operator flushes: the home is to forget that the site is dead.
    pub fn revive(&mut self) {
        self.revive = self.acquaintance != Acquaintance::None;
    }

    /// Gives back what need not be kept; true if a timer of [`LINGER_MS`] is to be set for what may be needed again.
    pub fn settle(&mut self, queue: &mut SiteQueue, mood: Mood) -> bool {
        let surplus = if mood.stopping || mood.dead { u32::MAX } else { self.owed.min(queue.spare()) };
        let unused = queue.take_back(surplus);
        self.give_back(unused);
        let spare = queue.spare();
        match &mut self.lingering {
            Some(least) => {
                *least = spare.min(*least);
                false
            }
            None if spare > 0 => {
                self.lingering = Some(spare);
                true
            }
            None => false,
        }
    }

    /// The timer has run out: what had no work all the time goes back.
    pub fn linger_ends(&mut self, queue: &mut SiteQueue) {
        let least = self.lingering.take().unwrap_or(0);
        let unused = queue.take_back(least.min(queue.spare()));
        self.give_back(unused);
    }

    /// Nothing is held, and the home knows that nothing is wanted.
    pub fn is_at_rest(&self, queue: &SiteQueue) -> bool {
        queue.held() == 0 && self.said == 0 && self.outcomes == Outcomes::default() && !self.revive
    }

    /// Whether something is to be said now. Outcomes without trouble wait for a whole cohort of them.
    pub fn has_news(&self, queue: &SiteQueue, mood: Mood) -> bool {
        match self.acquaintance {
            Acquaintance::None => need(queue, mood) > 0,
            Acquaintance::Opening => false,
            Acquaintance::Open(_) => {
                let Outcomes { sent, trouble, returned, .. } = self.outcomes;
                self.leaving
                    || self.revive
                    || trouble > 0
                    || returned > 0
                    || (sent > 0 && (mood.dead || sent >= queue.held()))
                    || self.need_has_changed(queue, mood)
            }
        }
    }

    /// Says it to the home; what `send` does not take is kept for the next time. True when the site may be forgotten.
    pub fn say(
        &mut self,
        queue: &SiteQueue,
        here: SiteHandle,
        names: (&str, &str),
        mood: Mood,
        send: &mut impl FnMut(SlotMessage) -> Result<(), SlotMessage>,
    ) -> Result<bool, SlotMessage> {
        let deliveries = need(queue, mood);
        let site = match self.acquaintance {
            Acquaintance::None if deliveries > 0 => {
                let names = Box::new(SiteNames { transport: names.0.into(), nexthop: names.1.into() });
                send(SlotMessage::SiteOpen { sender_site: here, names, deliveries })?;
                self.acquaintance = Acquaintance::Opening;
                self.said = deliveries;
                return Ok(false);
            }
            Acquaintance::None | Acquaintance::Opening => return Ok(false),
            Acquaintance::Open(site) => site,
        };
        if self.revive {
            send(SlotMessage::Revive { site })?;
            self.revive = false;
        }
        let want = Want { site, deliveries };
        if self.outcomes != Outcomes::default() {
            send(SlotMessage::Done { want, outcomes: self.outcomes.clone() })?;
            self.outcomes = Outcomes::default();
            self.said = deliveries;
        } else if self.need_has_changed(queue, mood) {
            send(SlotMessage::Want(want))?;
            self.said = deliveries;
        }
        if self.leaving {
            send(SlotMessage::SiteClose { site })?;
        }
        Ok(self.leaving)
    }

    fn give_back(&mut self, grants: u32) {
        self.outcomes.returned += grants;
        self.owed = self.owed.saturating_sub(grants);
    }

    /// Whether the home has to hear of the need: it begins or ends, or has changed by much.
    fn need_has_changed(&self, queue: &SiteQueue, mood: Mood) -> bool {
        let (need, held) = (need(queue, mood), queue.held());
        let (unmet, said_unmet) = (need.saturating_sub(held), self.said.saturating_sub(held));
        let begins_or_ends = (unmet == 0) != (said_unmet == 0);
        let changed_much = unmet / 2 >= said_unmet.max(1) || unmet < said_unmet / 4;
        begins_or_ends || changed_much || (need == 0 && held == 0 && self.said > 0)
    }
}

/// The level that the home is told.
fn need(queue: &SiteQueue, mood: Mood) -> u32 {
    if mood.dead || mood.stopping { queue.in_progress() } else { queue.wanted() }
}
