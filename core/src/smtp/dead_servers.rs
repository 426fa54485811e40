//! Servers that were not to be had lately, so that not every delivery to a destination of several servers first waits
//! for the one that is down.
//!
//! A server that refused the connection, or said nothing in time, is tried after all others for [`DEAD_SERVER_MS`].
//! Then one delivery may try it in its usual place while the others still pass it by. A destination all of whose
//! servers are dead is tried as ever: how often is the scheduler's business.

use std::net::SocketAddr;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

/// How long a server that was not to be had is passed by, milliseconds: an outage of a minute costs one delivery its
/// time limit, and a server that is back has work again within a minute.
pub const DEAD_SERVER_MS: u64 = 60_000;

/// The most servers that are remembered. An entry is some 50 bytes; more dead servers than this only cost their time
/// limits, as if nothing were remembered.
pub const DEAD_SERVERS_MAX: usize = 4096;

/// The memory of one shard. Times are milliseconds on a clock that never goes back.
#[derive(Debug, Default)]
pub struct DeadServers {
    // Addresses come from outside: the hash is seeded so that nobody can aim at one bucket.
    until_ms: HashMap<SocketAddr, u64, RandomState>,
}

impl DeadServers {
    /// Puts the dead behind the living, each in the order in which they were; how many live. One whose time has passed
    /// counts as living for this caller, and as dead for the next ones until it is heard how that went.
    pub fn put_last<S>(
        &mut self,
        servers: &mut Vec<S>,
        address: impl Fn(&S) -> SocketAddr,
        now_ms: u64,
    ) -> usize {
        if self.until_ms.is_empty() || servers.len() < 2 {
            return servers.len();
        }
        let mut dead = Vec::new();
        for index in (0..servers.len()).rev() {
            match self.until_ms.get_mut(&address(&servers[index])) {
                Some(until_ms) if *until_ms > now_ms => dead.push(servers.remove(index)),
                Some(until_ms) => *until_ms = now_ms + DEAD_SERVER_MS,
                None => {}
            }
        }
        let living = servers.len();
        servers.extend(dead.into_iter().rev());
        living
    }

    /// A server of several was not to be had.
    pub fn failed(&mut self, server: SocketAddr, now_ms: u64) {
        if self.until_ms.len() >= DEAD_SERVERS_MAX && !self.until_ms.contains_key(&server) {
            self.until_ms.retain(|_, until_ms| *until_ms > now_ms);
            if self.until_ms.len() >= DEAD_SERVERS_MAX {
                return;
            }
        }
        self.until_ms.insert(server, now_ms + DEAD_SERVER_MS);
    }

    /// A server took the connection and spoke.
    pub fn answered(&mut self, server: SocketAddr) {
        if !self.until_ms.is_empty() {
            self.until_ms.remove(&server);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(number: u32) -> SocketAddr {
        SocketAddr::from((std::net::Ipv4Addr::from_bits(0x0a00_0000 + number), 25))
    }

    /// The servers as they are to be tried, `|` before the dead.
    fn order(dead: &mut DeadServers, now_ms: u64) -> String {
        let mut servers = vec![1, 2, 3];
        let living = dead.put_last(&mut servers, |&number| server(number), now_ms);
        let text = |servers: &[u32]| servers.iter().map(u32::to_string).collect::<String>();
        format!("{}|{}", text(&servers[..living]), text(&servers[living..]))
    }

    #[test]
    fn a_dead_server_is_tried_last_until_it_answers() {
        let mut dead = DeadServers::default();
        assert_eq!(order(&mut dead, 0), "123|");
        dead.failed(server(1), 0);
        assert_eq!(order(&mut dead, 0), "23|1");
        dead.failed(server(3), 0);
        dead.failed(server(2), 0);
        assert_eq!(order(&mut dead, 1), "|123", "all are dead: all are tried, in their order");
        dead.answered(server(1));
        assert_eq!(order(&mut dead, 1), "1|23");
    }

    #[test]
    fn when_its_time_has_passed_one_tries_it_and_the_others_wait_for_the_outcome() {
        let mut dead = DeadServers::default();
        dead.failed(server(1), 0);
        assert_eq!(order(&mut dead, DEAD_SERVER_MS - 1), "23|1");
        assert_eq!(order(&mut dead, DEAD_SERVER_MS), "123|");
        assert_eq!(order(&mut dead, DEAD_SERVER_MS), "23|1");
        assert_eq!(order(&mut dead, 2 * DEAD_SERVER_MS), "123|", "nobody has told how it went");
    }

    #[test]
    fn no_more_are_remembered_than_the_limit_and_old_ones_make_room() {
        let mut dead = DeadServers::default();
        (0..DEAD_SERVERS_MAX as u32).for_each(|number| dead.failed(server(100 + number), 0));
        dead.failed(server(1), 1);
        assert_eq!(order(&mut dead, 1), "123|");
        dead.failed(server(1), DEAD_SERVER_MS);
        assert_eq!(order(&mut dead, DEAD_SERVER_MS), "23|1");
        assert_eq!(dead.until_ms.len(), 1);
    }
}
