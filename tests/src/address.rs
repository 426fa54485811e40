//! Loopback addresses of one's own, so that tests which run at the same time never want the same port.
//!
//! Linux answers on all of 127.0.0.0/8. Each server under test gets its own address there; the port numbers on it can
//! then be fixed, and no port has to be picked, freed and hoped for.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// The port that a relay under test listens on.
pub const RELAY_PORT: u16 = 2525;
/// The port that a sink listens on.
pub const SINK_PORT: u16 = 2600;

/// A loopback address that nobody else uses while this process runs.
pub fn unique_loopback() -> Ipv4Addr {
    // Relaxed: only uniqueness within this process matters, nothing is published through it.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..1000 {
        let number = std::process::id().wrapping_mul(2_654_435_761)
            ^ NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(40_503);
        let [a, b, c, _] = number.to_be_bytes();
        // 127.0.x.y stays free for the embedded default and for people; x.y.z.0 and .255 look like networks.
        let candidate = Ipv4Addr::new(127, a.max(1), b, c.clamp(1, 254));
        let free = [RELAY_PORT, SINK_PORT].iter().all(|&port| is_free(SocketAddrV4::new(candidate, port)));
        if free {
            return candidate;
        }
    }
    panic!("no loopback address is free: does this machine have 127.0.0.0/8 on its loopback interface?");
}

/// Whether a listener could be opened at `address` now.
pub fn is_free(address: SocketAddrV4) -> bool {
    TcpListener::bind(address).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_address_is_given_twice() {
        let given: HashSet<_> = (0..200).map(|_| unique_loopback()).collect();
        assert_eq!(given.len(), 200);
        assert!(given.iter().all(Ipv4Addr::is_loopback));
    }
}
