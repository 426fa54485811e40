//! The text of a nexthop: `relayhost`, transport table results, or a recipient's domain.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where a destination's servers are found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HopHost {
    /// A domain: ask for MX, then for addresses.
    Domain(String),
    /// `[host]`: ask for addresses only.
    Host(String),
    /// A literal address: ask nothing.
    Address(IpAddr),
}

/// A nexthop with its port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NextHop {
    /// Who.
    pub host: HopHost,
    /// TCP port.
    pub port: u16,
}

/// A nexthop that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadNextHop {
    /// The whole text.
    pub text: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl fmt::Display for BadNextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bad nexthop \"{}\": {}", self.text, self.problem)
    }
}

impl std::error::Error for BadNextHop {}

impl NextHop {
    /// Reads `domain`, `domain:port`, `[host]`, `[host]:port`, and for `host` also `1.2.3.4`,
    /// `::1` and `IPv6:::1`. Names are folded to lower case and lose a trailing dot. A bare IPv4
    /// address is taken for what it says, with or without brackets.
    ///
    /// # Errors
    /// [`BadNextHop`] for an empty or malformed name, unbalanced brackets, or a port outside 1–65535.
    /// Service names are not known here.
    pub fn parse(text: &str, default_port: u16) -> Result<NextHop, BadNextHop> {
        let bad = |problem| BadNextHop { text: text.to_owned(), problem };
        let trimmed = text.trim();
        let (name, port, bracketed) = if let Some(inner) = trimmed.strip_prefix('[') {
            let (name, rest) = inner.split_once(']').ok_or(bad("\"]\" is missing"))?;
            match rest {
                "" => (name, None, true),
                _ => (name, Some(rest.strip_prefix(':').ok_or(bad("\":\" expected after \"]\""))?), true),
            }
        } else {
            match trimmed.split_once(':') {
                Some((name, port)) => (name, Some(port), false),
                None => (trimmed, None, false),
            }
        };
        let port = match port {
            None => default_port,
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                port.parse().ok().filter(|&port| port != 0).ok_or(bad("port must be 1 to 65535"))?
            }
            Some(_) => return Err(bad("port must be a number")),
        };
        let host = match read_address(name) {
            Some(IpAddr::V6(_)) if !bracketed => return Err(bad("an IPv6 address needs brackets")),
            Some(address) => HopHost::Address(address),
            None => {
                let name = fold_name(name).ok_or(bad("not a valid host or domain name"))?;
                if bracketed { HopHost::Host(name) } else { HopHost::Domain(name) }
            }
        };
        Ok(NextHop { host, port })
    }

    /// The name, or the address, as texts and logs show it.
    pub fn host_text(&self) -> String {
        match &self.host {
            HopHost::Domain(name) | HopHost::Host(name) => name.clone(),
            HopHost::Address(address) => address.to_string(),
        }
    }
}

/// An address as written in brackets (RFC 5321 section 4.1.3, and without the `IPv6:` tag).
fn read_address(text: &str) -> Option<IpAddr> {
    let untagged = match text.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => {
            return text[5..].parse::<Ipv6Addr>().ok().map(IpAddr::V6);
        }
        _ => text,
    };
    untagged
        .parse::<Ipv4Addr>()
        .map(IpAddr::V4)
        .or_else(|_| untagged.parse::<Ipv6Addr>().map(IpAddr::V6))
        .ok()
}

/// Checks a name (RFC 1035 section 2.3.4: 63 and 253 bytes; underscores and UTF-8 occur) and folds it.
pub(super) fn fold_name(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let fits = !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .chars()
                    .all(|one| one.is_ascii_alphanumeric() || matches!(one, '-' | '_') || is_foreign(one))
        });
    fits.then(|| name.to_ascii_lowercase())
}

fn is_foreign(character: char) -> bool {
    !character.is_ascii() && character.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> NextHop {
        NextHop::parse(text, 25).expect(text)
    }

    #[test]
    fn every_form_is_understood() {
        let domain = |name: &str, port| NextHop { host: HopHost::Domain(name.into()), port };
        let host = |name: &str, port| NextHop { host: HopHost::Host(name.into()), port };
        let address = |text: &str, port| NextHop { host: HopHost::Address(text.parse().unwrap()), port };
        assert_eq!(parsed("Example.COM."), domain("example.com", 25));
        assert_eq!(parsed("example.com:2525"), domain("example.com", 2525));
        assert_eq!(parsed("[mx.example.com]"), host("mx.example.com", 25));
        assert_eq!(parsed(" [mx.example.com]:587 "), host("mx.example.com", 587));
        assert_eq!(parsed("[127.0.0.1]:2600"), address("127.0.0.1", 2600));
        assert_eq!(parsed("127.0.0.1:2600"), address("127.0.0.1", 2600));
        assert_eq!(parsed("[IPv6:2001:db8::1]"), address("2001:db8::1", 25));
        assert_eq!(parsed("[::1]:2600"), address("::1", 2600));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in [
            "", "[]", "[a", "[a]b", "a:", "a:0", "a:65536", "a:+25", "a:smtp", "a..b", "-a", "a b", "::1",
            "a/b", ".", "a\r\nb",
        ] {
            assert!(NextHop::parse(text, 25).is_err(), "{text:?}");
        }
    }
}
