//! What shards say to each other about sites: the border between a site's home, which owns its window, and the other
//! shards, which have work for it.
//!
//! Every site has one home, [`home_of`] its names. The home itself serves its own work by plain calls; for the others
//! these values are ring messages. A full ring loses nothing: whoever has something to say keeps it as a level or as
//! a count since the last message, and says it again at the next turn.
//!
//! ```text
//! shard                                       home
//!   SiteOpen {names, wanted}  ─────────────►        names the site once; later messages carry the other side's handle
//!                             ◄─────────────  SiteOpened
//!                             ◄─────────────  Grant {deliveries, once}
//!   (deliveries start and end on these grants, and a grant is used again as long as there is work)
//!   Done {sent, trouble, returned, wanted} ►        after a cohort; at once after trouble
//!   Want {deliveries}         ─────────────►        only when the need has changed by much
//!                             ◄─────────────  Revoke {deliveries, after_use}    others wait, or the window narrowed
//!                             ◄─────────────  Dead {reason, for_ms} / Alive
//!   SiteClose                 ─────────────►        the shard has forgotten the site
//! ```

use std::hash::BuildHasher;
use std::sync::Arc;

/// Names a site, that is one (transport, nexthop), on one shard; valid until the site is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteHandle {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// Which of how many shards a scheduler works for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardPlace {
    /// From 0, below `count`.
    pub index: u16,
    /// At least 1.
    pub count: u16,
}

impl ShardPlace {
    /// The only shard: home of every site, with nobody to talk to.
    pub const ALONE: ShardPlace = ShardPlace { index: 0, count: 1 };
}

/// The shard that is a site's home, the same whoever asks. Nexthops come from outside and the hash is no secret, so
/// many sites can be aimed at one shard: that costs it their bookkeeping, not their deliveries.
pub fn home_of(transport: &str, nexthop: &str, shards: u16) -> u16 {
    if shards <= 1 {
        return 0;
    }
    let hash = foldhash::quality::FixedState::default().hash_one((transport, nexthop));
    (hash % u64::from(shards)) as u16
}

/// A site's names, sent once when a shard opens it. Boxed: two names of up to 255 octets and more would make every
/// cell of every ring as large, and sites are opened rarely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteNames {
    /// The transport's name in `master.cf`.
    pub transport: Box<str>,
    /// The nexthop as the resolver wrote it.
    pub nexthop: Box<str>,
}

/// Shard to home: the deliveries that this shard could have in progress now, those in progress included. A level: it
/// replaces what was said before, and whatever the home has granted meanwhile is part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// The site that is wanted, by the receiver's handle.
    pub site: SiteHandle,
    /// Deliveries in progress and those that could start.
    pub deliveries: u32,
}

/// Home to shard: so many more deliveries may be in progress. A grant may be used again after each delivery without
/// trouble, and comes back in exactly one count of [`Outcomes::returned`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The site that is granted, by the receiver's handle.
    pub site: SiteHandle,
    /// Deliveries that may start.
    pub deliveries: u32,
    /// Of these, grants for one delivery each: others wait, or a rate delay follows each delivery.
    pub once: u32,
}

/// Home to shard: give grants back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoke {
    /// The site, by the receiver's handle.
    pub site: SiteHandle,
    /// Grants to give back; those beyond what the shard holds are on their way already.
    pub deliveries: u32,
    /// Others wait for their turn: an unused grant for which there is work may still serve one delivery, so that
    /// grant and revocation in one turn cannot chase each other for ever. Otherwise the window has narrowed: unused
    /// grants come back at once, the others when their delivery ends.
    pub after_use: bool,
}

/// Shard to home: what became of grants since the last one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Deliveries that ended without connection or handshake trouble.
    pub sent: u32,
    /// Deliveries that ended with it.
    pub trouble: u32,
    /// Grants given back, used or not. A delivery with trouble always gives its grant back.
    pub returned: u32,
    /// The text of the last trouble, if there was any.
    pub reason: Option<Arc<str>>,
}

/// What the home thinks of a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Deliveries may be granted.
    Open,
    /// Everything queued for the site is to be deferred, and nothing is granted before this time.
    Dead {
        /// Scheduler time in milliseconds.
        until_ms: u64,
    },
}

/// The whole vocabulary between queue managers. Handles are the receiver's, but for `SiteOpen`, where it has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotMessage {
    /// Shard → home, once before anything else about a site.
    SiteOpen {
        /// The sender's handle, to be used in everything that the home says.
        sender_site: SiteHandle,
        /// The site's names.
        names: Box<SiteNames>,
        /// As in [`Want`].
        deliveries: u32,
    },
    /// Shard → home: the need has changed.
    Want(Want),
    /// Shard → home: outcomes, and the need as it is now.
    Done {
        /// The site and the need.
        want: Want,
        /// Counts since the last one.
        outcomes: Outcomes,
    },
    /// Shard → home: an operator flushes; a dead site is to be tried again.
    Revive {
        /// The site.
        site: SiteHandle,
    },
    /// Shard → home: the last message about a site; the sender holds no grants and has forgotten it.
    SiteClose {
        /// The site.
        site: SiteHandle,
    },
    /// Home → shard: the answer to `SiteOpen`.
    SiteOpened {
        /// The site.
        site: SiteHandle,
        /// The home's handle, to be used in everything that the shard says.
        home_site: SiteHandle,
    },
    /// Home → shard.
    Grant(Grant),
    /// Home → shard.
    Revoke(Revoke),
    /// Home → every shard that knows the site: defer everything that is queued for it.
    Dead {
        /// The site.
        site: SiteHandle,
        /// The text of the trouble that made it dead.
        reason: Arc<str>,
        /// For how long from now on, milliseconds; a span, because shards' clocks are read at different times.
        for_ms: u64,
    },
    /// Home → every shard that knows the site: it is not dead any more, before its time.
    Alive {
        /// The site.
        site: SiteHandle,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_are_spread_and_fit_into_a_small_message() {
        let mut sites = [0; 4];
        for number in 0..4000 {
            sites[usize::from(home_of("smtp", &format!("d{number}.example"), 4))] += 1;
        }
        assert!(sites.iter().all(|&count| (800..1200).contains(&count)), "{sites:?}");
        assert_ne!(home_of("smtp", "", 1000), home_of("lmtp", "", 1000));
        assert!(size_of::<SlotMessage>() <= 48, "{} bytes", size_of::<SlotMessage>());
    }
}
