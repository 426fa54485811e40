//! Where a recipient's mail goes, as the queue manager performs it.

use ringpost_core::lookup::at_once;

use crate::settings::Agent;
use crate::shard::Shard;

/// What becomes of a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination<'a> {
    /// To this nexthop by this transport.
    Site {
        /// The transport's name.
        transport: std::borrow::Cow<'a, str>,
        /// The nexthop, in the form that `ringpost_core::dns` reads.
        nexthop: std::borrow::Cow<'a, str>,
    },
    /// Nothing here can deliver it: a transport that nobody serves. Deferred as `mail transport unavailable`, as Postfix does
    /// when a transport's service is missing.
    Unavailable,
}

/// Where mail of `sender` for `recipient` goes.
pub fn destination<'a>(shard: &'a Shard, sender: &str, recipient: &'a str) -> Destination<'a> {
    match at_once(shard.settings.resolve.resolve(&shard.tables, sender, recipient)) {
        Some(Ok(route)) if shard.settings.agents.agent(&route.transport) == Some(Agent::Smtp) => {
            Destination::Site { transport: route.transport, nexthop: route.nexthop }
        }
        _ => Destination::Unavailable,
    }
}
