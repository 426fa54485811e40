//! The border between a site's home, which owns its window, and a shard, which has work for it.
//!
//! Today every shard is the home of its own sites and these values are passed by plain calls; between shards they
//! are ring messages. They carry levels and counts, never history, so that saying one again does no harm.

/// Names a site, that is one (transport, nexthop), on one shard; valid until the site is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteHandle {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// Shard to home: this shard has work for so many deliveries beyond the grants that it holds (a level, not an
/// addition to an earlier `Want`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// The site that is wanted.
    pub site: SiteHandle,
    /// Deliveries that could start now.
    pub deliveries: u32,
}

/// Home to shard: so many more deliveries may start. Each ends in exactly one count of a [`Done`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The site that is granted.
    pub site: SiteHandle,
    /// Deliveries that may start; 0 when the window is full, the site is dead or its rate delay runs.
    pub deliveries: u32,
}

/// Shard to home: what became of grants since the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// The site that was served.
    pub site: SiteHandle,
    /// Deliveries that ended without connection or handshake trouble.
    pub sent: u32,
    /// Deliveries that ended with it.
    pub trouble: u32,
    /// Grants given back unused.
    pub unused: u32,
}

/// Home to shard: what the home thinks of the site after a [`Done`].
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
