//! statistics: what Postfix's scache tells of the use of kept connections, each shard for itself.

use std::rc::Rc;
use std::time::Duration;

use crate::counters::Count;
use crate::shard::Shard;

/// How often scache(8) logs.
const INTERVAL: Duration = Duration::from_secs(600);

/// Deliveries by whether there was a connection for them, since the start.
#[derive(Default)]
pub struct Lookups {
    pub hits: Count,
    pub misses: Count,
}

/// Starts logging, if connections are kept at all.
pub fn start_statistics(shard: &Rc<Shard>) {
    let limits = &shard.settings.smtp;
    if limits.keep_connections || !limits.cache_destinations.is_empty() {
        shard.handle.spawn(log_statistics(shard.clone()));
    }
}

async fn log_statistics(shard: Rc<Shard>) {
    let Lookups { hits, misses } = &shard.transport.lookups;
    let mut last = (0, 0);
    loop {
        shard.handle.sleep(INTERVAL).await;
        let now = (hits.value(), misses.value());
        let lines = lines(now.0 - last.0, now.1 - last.1, shard.transport.idle.take_peaks());
        for line in lines.into_iter().flatten() {
            shard.log.info("scache", shard.index as u32, format_args!("statistics: {line}"));
        }
        last = now;
    }
}

/// The lines of one interval: none where nothing was delivered.
fn lines(hits: u64, misses: u64, (sites, connections): (usize, usize)) -> [Option<String>; 2] {
    let lookups = hits + misses;
    let success = (hits * 100).checked_div(lookups);
    [
        success.map(|success| format!("domain lookup hits={hits} miss={misses} success={success}%")),
        (lookups > 0).then(|| format!("max simultaneous domains={sites} connection={connections}")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_told_in_postfixs_words_and_an_empty_one_not_at_all() {
        assert_eq!(lines(0, 0, (1, 1)), [None, None]);
        let told = lines(2, 1, (3, 4)).map(|line| line.expect("there were deliveries"));
        assert_eq!(told[0], "domain lookup hits=2 miss=1 success=66%");
        assert_eq!(told[1], "max simultaneous domains=3 connection=4");
    }
}
