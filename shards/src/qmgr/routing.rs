//! Where a recipient's mail goes, for those who tell of it.

use ringpost_core::lookup::at_once;

use crate::settings::Agent;
use crate::shard::Shard;

/// The transport and nexthop of mail of `sender` for `recipient`, if the SMTP client delivers it and no table has to be
/// waited for.
pub fn site(shard: &Shard, sender: &str, recipient: &str) -> Option<(String, String)> {
    match at_once(shard.settings.resolve.resolve(&shard.tables, sender, recipient)) {
        Some(Ok(route)) if shard.settings.agents.agent(&route.transport) == Some(Agent::Smtp) => {
            Some((route.transport.into_owned(), route.nexthop.to_ascii_lowercase()))
        }
        _ => None,
    }
}
