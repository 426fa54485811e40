//! route: a site's servers, by way of the resolver.

use ringpost_core::dns::{NextHop, Query, Resolution, ResolveOptions, Step};
use ringpost_core::dsn::Status;
use ringpost_core::smtp::{Failure, ResultKind};

pub use ringpost_core::dns::Server;

use crate::settings::Settings;
use crate::shard::Shard;

/// Why a site has no servers.
pub enum NoServers {
    /// The nexthop makes no sense, or the name service says so or says nothing.
    Failed(Failure),
    /// Mail for this nexthop would come back here.
    Loop(Failure),
    /// This host has no descriptors or no memory to ask the name service; in words.
    Shortage(String),
}

/// The servers for `nexthop` in the order in which they are to be tried; never empty.
pub async fn servers(shard: &Shard, nexthop: &str) -> Result<Vec<Server>, NoServers> {
    let begun = shard.handle.now();
    let next_hop = NextHop::parse(nexthop, shard.settings.smtp.port).map_err(|error| {
        NoServers::Failed(Failure {
            kind: ResultKind::Deferred,
            status: Status::persistent(3, 5),
            text: error.to_string(),
            reply: None,
            trouble: false,
        })
    })?;
    let random = shard.resolver.unpredictable();
    let (mut resolution, mut step) = Resolution::start(next_hop, options(&shard.settings), random);
    let mut open: Vec<Query> = Vec::new();
    loop {
        match step {
            Step::Done(resolved) => return Ok(resolved.servers),
            Step::Failed(failure) => {
                let temporary = failure.is_temporary();
                if temporary && let Some(shortage) = shard.resolver.shortage_since(begun) {
                    return Err(NoServers::Shortage(shortage));
                }
                let is_loop = failure.is_loop();
                let failure = Failure {
                    kind: if temporary { ResultKind::Deferred } else { ResultKind::Bounced },
                    status: failure.status,
                    text: failure.text,
                    reply: None,
                    trouble: temporary,
                };
                return Err(if is_loop { NoServers::Loop(failure) } else { NoServers::Failed(failure) });
            }
            Step::Ask(queries) => {
                ask_at_once(shard, &queries);
                open.extend(queries);
            }
            Step::Wait => {}
        }
        let query = open.pop().expect("a resolution that waits has open questions");
        let answer = shard.resolver.lookup(&query.name, query.kind).await;
        step = resolution.answer(&query, (*answer).clone());
    }
}

/// The destinations that a nexthop names, in order: one, or a list with commas or white space between them.
pub fn destinations(nexthop: &str) -> impl Iterator<Item = &str> {
    nexthop.split([',', ' ', '\t']).filter(|destination| !destination.is_empty())
}

/// Several questions go out together, so that silence about many costs no more than silence about one: the answers
/// are then found in the cache, or their query is joined.
fn ask_at_once(shard: &Shard, queries: &[Query]) {
    if queries.len() < 2 {
        return;
    }
    for Query { name, kind } in queries {
        let (resolver, name, kind) = (shard.resolver.clone(), name.clone(), *kind);
        shard.handle.spawn(async move {
            resolver.lookup(&name, kind).await;
        });
    }
}

fn options(settings: &Settings) -> ResolveOptions {
    let (ipv4, ipv6) = settings.smtp.families;
    ResolveOptions {
        address_limit: settings.smtp.mx_address_limit,
        randomize: settings.smtp.randomize_addresses,
        preference: settings.smtp.address_preference,
        balance: settings.smtp.balance_families,
        ignores_mx: settings.smtp.ignores_mx,
        forgives_mx_errors: settings.smtp.forgives_mx_errors,
        waits_for_addresses: settings.smtp.waits_for_addresses,
        ipv4,
        ipv6,
        own_names: vec![settings.myhostname.clone()],
        own_addresses: settings.own_addresses.clone(),
    }
}
