//! What the configuration needs to know of the host. Callers look; this crate computes.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::fmt::Write;

/// An address of a network interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddr,
    /// The length of its network's prefix in bits.
    pub prefix: u8,
}

/// The host's name and addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// As `gethostname` gives it, with or without a domain.
    pub hostname: String,
    /// All interfaces' addresses, loopback included.
    pub interfaces: Vec<InterfaceAddress>,
    /// Names with their addresses, as `/etc/hosts` gives them, for `inet_interfaces` and `master.cf`. `localhost` is
    /// known without.
    pub hosts: Vec<(String, Vec<IpAddr>)>,
}

impl HostFacts {
    /// A host with loopback addresses only: what tests and dry runs need.
    pub fn loopback(hostname: &str) -> Self {
        let interfaces = vec![
            InterfaceAddress { address: Ipv4Addr::LOCALHOST.into(), prefix: 8 },
            InterfaceAddress { address: Ipv6Addr::LOCALHOST.into(), prefix: 128 },
        ];
        Self { hostname: hostname.into(), interfaces, hosts: Vec::new() }
    }

    /// The addresses of a name or of an address literal (bare or in brackets).
    pub(super) fn resolve(&self, name: &str) -> Option<Vec<IpAddr>> {
        let literal = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
        if let Ok(address) = literal.parse() {
            return Some(vec![address]);
        }
        if let Some((_, addresses)) = self.hosts.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            return Some(addresses.clone());
        }
        let localhost = name.eq_ignore_ascii_case("localhost");
        localhost.then(|| vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
    }

    /// The default of `mynetworks`: the networks of those interfaces that `used` picks, IPv4 first.
    pub(super) fn networks(&self, style: &str, used: impl Fn(IpAddr) -> bool) -> String {
        let mut out = String::new();
        for v4 in [true, false] {
            for interface in self.interfaces.iter().filter(|interface| interface.address.is_ipv4() == v4) {
                if !used(interface.address) {
                    continue;
                }
                let prefix = match (style, interface.address) {
                    ("host", IpAddr::V4(_)) => 32,
                    ("host", IpAddr::V6(_)) => 128,
                    ("class", IpAddr::V4(address)) => match address.octets()[0] {
                        0..=127 => 8,
                        128..=191 => 16,
                        192..=223 => 24,
                        _ => 32,
                    },
                    _ => interface.prefix,
                };
                if !out.is_empty() {
                    out.push(' ');
                }
                let written = match interface.address {
                    IpAddr::V4(address) => {
                        let prefix = prefix.min(32);
                        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                        write!(out, "{}/{prefix}", Ipv4Addr::from(u32::from(address) & mask))
                    }
                    IpAddr::V6(address) => {
                        let prefix = prefix.min(128);
                        let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                        write!(out, "[{}]/{prefix}", Ipv6Addr::from(u128::from(address) & mask))
                    }
                };
                written.expect("writing to a String cannot fail");
            }
        }
        out
    }
}
