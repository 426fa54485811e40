//! Which clients are one client.

use core::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How much of an address names a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientPrefixes {
    /// `smtpd_client_ipv4_prefix_length`, bits; more than 32 counts as 32.
    pub ipv4: u8,
    /// `smtpd_client_ipv6_prefix_length`, bits; more than 128 counts as 128.
    pub ipv6: u8,
}

/// A client of one service: a network of the length that [`ClientPrefixes`] gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientKey {
    network: IpAddr,
    prefix: u8,
    service: u16,
}

impl ClientKey {
    /// The client at `address` (an IPv4 address in IPv6 clothes is its IPv4 self) of the service number `service`.
    pub fn new(service: u16, address: IpAddr, prefixes: ClientPrefixes) -> ClientKey {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let prefix = prefixes.ipv4.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                let network = IpAddr::V4(Ipv4Addr::from(u32::from(address) & mask));
                ClientKey { network, prefix, service }
            }
            IpAddr::V6(address) => {
                let prefix = prefixes.ipv6.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                let network = IpAddr::V6(Ipv6Addr::from(u128::from(address) & mask));
                ClientKey { network, prefix, service }
            }
        }
    }

    /// The service's number.
    pub fn service(&self) -> u16 {
        self.service
    }

    /// The shard of `shards` that counts for this client; the same on every shard. A fixed mix suffices: whoever
    /// chooses addresses so that they share a home makes that shard count a little more, and nothing else.
    ///
    /// # Panics
    /// When there are no shards.
    pub fn home(&self, shards: usize) -> usize {
        let folded = match self.network {
            IpAddr::V4(address) => u64::from(u32::from(address)),
            IpAddr::V6(address) => {
                let bits = u128::from(address);
                (bits >> 64) as u64 ^ (bits as u64).rotate_left(32)
            }
        };
        let mixed = (folded ^ u64::from(self.service) << 48).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32) as usize % shards
    }
}

impl fmt::Display for ClientKey {
    /// The address; a network with its prefix length.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = if self.network.is_ipv4() { 32 } else { 128 };
        match self.prefix == bits {
            true => write!(f, "{}", self.network),
            false => write!(f, "{}/{}", self.network, self.prefix),
        }
    }
}
