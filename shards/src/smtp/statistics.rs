//! statistics: what Postfix's scache tells of the use of kept connections, each shard for itself.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::idle::Peaks;
use crate::counters::Count;
use crate::shard::{Lasting, Shard};

/// How often scache(8) logs.
const INTERVAL: Duration = Duration::from_secs(600);

/// How often a connection was looked for, since the start.
#[derive(Default)]
struct Lookups {
    hits: Count,
    misses: Count,
    /// Hits and misses that were told already.
    told: Cell<(u64, u64)>,
}

impl Lookups {
    fn note(&self, found: bool) {
        if found { self.hits.one() } else { self.misses.one() }
    }

    /// Hits and misses since this was asked last.
    fn take(&self) -> (u64, u64) {
        let now = (self.hits.value(), self.misses.value());
        let told = self.told.replace(now);
        (now.0 - told.0, now.1 - told.1)
    }
}

/// How the two keys under which connections are kept have done.
#[derive(Default)]
pub struct Statistics {
    domains: Lookups,
    addresses: Lookups,
    /// The task that logs has been started.
    runs: Cell<bool>,
}

impl Statistics {
    /// A delivery has, or has not, found a connection of its destination.
    pub fn by_site(&self, found: bool) {
        self.domains.note(found);
    }

    /// A delivery has, or has not, found a connection to a server instead of opening one.
    pub fn by_server(&self, found: bool) {
        self.addresses.note(found);
    }
}

/// Starts logging, if connections are kept at all and it has not been started before.
pub fn start_statistics(shard: &Rc<Lasting>) {
    if are_kept(&shard.newest()) && !shard.transport.statistics.runs.replace(true) {
        let shard = shard.clone();
        shard.clone().handle.spawn(async move {
            loop {
                shard.handle.sleep(INTERVAL).await;
                log(&shard);
            }
        });
    }
}

/// Tells what is left to tell, at the stop.
pub fn log_last_statistics(shard: &Shard) {
    if are_kept(shard) {
        log(shard);
    }
}

fn are_kept(shard: &Shard) -> bool {
    let limits = &shard.settings.smtp;
    limits.keep_connections || !limits.cache_destinations.is_empty()
}

fn log(shard: &Lasting) {
    let Statistics { domains, addresses, runs: _ } = &shard.transport.statistics;
    let lines = lines(domains.take(), addresses.take(), shard.transport.idle.take_peaks());
    for line in lines.into_iter().flatten() {
        shard.log.info("scache", shard.index as u32, format_args!("statistics: {line}"));
    }
}

/// The lines of one interval: none of what did not happen.
fn lines(domains: (u64, u64), addresses: (u64, u64), peaks: Peaks) -> [Option<String>; 3] {
    let lookups = |key: &str, (hits, misses): (u64, u64)| {
        let success = (hits * 100).checked_div(hits + misses)?;
        Some(format!("{key} lookup hits={hits} miss={misses} success={success}%"))
    };
    let Peaks { sites, endpoints, connections } = peaks;
    [
        lookups("domain", domains),
        lookups("address", addresses),
        (connections > 0).then(|| {
            format!("max simultaneous domains={sites} addresses={endpoints} connection={connections}")
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_told_in_postfixs_words_and_an_empty_one_not_at_all() {
        assert_eq!(lines((0, 0), (0, 0), Peaks::default()), [None, None, None]);
        let peaks = Peaks { sites: 3, endpoints: 2, connections: 4 };
        let told = lines((2, 1), (1, 0), peaks).map(|line| line.expect("there was something"));
        assert_eq!(told[0], "domain lookup hits=2 miss=1 success=66%");
        assert_eq!(told[1], "address lookup hits=1 miss=0 success=100%");
        assert_eq!(told[2], "max simultaneous domains=3 addresses=2 connection=4");
    }

    #[test]
    fn each_interval_tells_only_its_own() {
        let lookups = Lookups::default();
        lookups.note(true);
        lookups.note(false);
        assert_eq!((lookups.take(), lookups.take()), ((1, 1), (0, 0)));
    }
}
