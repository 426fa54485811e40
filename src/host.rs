//! host: what the configuration needs to know of this machine.

use std::fs;
use std::net::IpAddr;

use ringpost_core::config::{HostFacts, InterfaceAddress};

/// Name, interface addresses and `/etc/hosts`. What cannot be read is left out: the configuration then says which
/// name it cannot resolve.
pub fn facts() -> HostFacts {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    HostFacts {
        hostname: hostname(),
        interfaces: interfaces
            .into_iter()
            .map(|interface| InterfaceAddress { address: interface.ip(), prefix: prefix(&interface.addr) })
            .collect(),
        hosts: hosts(&fs::read_to_string("/etc/hosts").unwrap_or_default()),
    }
}

fn hostname() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}

fn prefix(address: &if_addrs::IfAddr) -> u8 {
    match address {
        if_addrs::IfAddr::V4(v4) => u32::from(v4.netmask).leading_ones() as u8,
        if_addrs::IfAddr::V6(v6) => u128::from(v6.netmask).leading_ones() as u8,
    }
}

fn hosts(text: &str) -> Vec<(String, Vec<IpAddr>)> {
    let mut hosts: Vec<(String, Vec<IpAddr>)> = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse().ok()) else { continue };
        for name in words {
            match hosts.iter_mut().find(|(known, _)| known == name) {
                Some((_, addresses)) => addresses.push(address),
                None => hosts.push((name.to_owned(), vec![address])),
            }
        }
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_gather_their_addresses() {
        let found = hosts("127.0.0.1 localhost\n# no\n::1\tlocalhost ip6-localhost # loopback\nbad line\n");
        let loopback: Vec<IpAddr> = vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
        assert_eq!(found[0], ("localhost".to_owned(), loopback));
        assert_eq!(found[1].0, "ip6-localhost");
        assert_eq!(found.len(), 2);
    }
}
