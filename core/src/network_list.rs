//! Lists of networks (`mynetworks` and its kind): does an address belong?
//!
//! Patterns are tried in the order given and the first that matches decides: `192.0.2.0/24`, `[2001:db8::]/32`,
//! a single address in either form, and `!pattern` for "no". Files of patterns are included by the caller's loader. A
//! lookup table (`type:name`) matches the addresses that are keys of it, and the verified names of clients with their
//! parent domains; a host name or `.domain` matches such a name. Those need [`NetworkList::matches_host`].
//!
//! Membership is a handful of integer comparisons per pattern, no allocation and no hashing: lists are short, and one
//! whose first patterns are the usual clients costs a few nanoseconds.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::lookup::{LookupTrouble, Tables};
use crate::pattern_list::{Element, ListTable, PATTERNS_MAX, TableIds, each_element};

/// Patterns in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkList {
    v4: Vec<Pattern<u32>>,
    v6: Vec<Pattern<u128>>,
    /// Tables in order, with their ranks among the patterns.
    tables: Vec<ListTable>,
    /// Names in order.
    names: Vec<NamePattern>,
    parent_matches_subdomains: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct NamePattern {
    name: Box<str>,
    rank: u32,
    member: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pattern<T> {
    network: T,
    mask: T,
    rank: u32,
    member: bool,
}

impl NetworkList {
    /// Reads a list without tables. `load` gives the text of an included file.
    ///
    /// # Errors
    /// What is wrong with which element, in one sentence.
    pub fn parse(text: &str, load: &dyn Fn(&str) -> Result<String, String>) -> Result<Self, String> {
        Self::parse_with_tables(text, load, &|spec| {
            Err(format!("{spec}: lookup tables are not served in this list"))
        })
    }

    /// Reads a list that may name tables and hosts; then [`NetworkList::matches_host`] is the one to ask.
    ///
    /// # Errors
    /// What is wrong with which element, in one sentence.
    pub fn parse_with_tables(
        text: &str,
        load: &dyn Fn(&str) -> Result<String, String>,
        ids: TableIds<'_>,
    ) -> Result<Self, String> {
        let mut list = Self::default();
        each_element(text, load, ids, |element| list.add(element))?;
        Ok(list)
    }

    /// Whether a bare domain stands for its sub-domains (`parent_domain_matches_subdomains`).
    #[must_use]
    pub fn with_parents(mut self, parent_matches_subdomains: bool) -> Self {
        self.parent_matches_subdomains = parent_matches_subdomains;
        self
    }

    /// Whether a host belongs by its verified name or its address, tables asked too, in the order of the list.
    ///
    /// # Errors
    /// A table could not be asked before an element matched.
    pub async fn matches_host(
        &self,
        tables: &impl Tables,
        name: Option<&str>,
        address: IpAddr,
    ) -> Result<bool, LookupTrouble> {
        let by_name =
            name.and_then(|name| self.names.iter().find(|pattern| self.covers(&pattern.name, name)));
        let by_name = by_name.map(|pattern| (pattern.rank, pattern.member));
        let plain = [self.rank(address), by_name].into_iter().flatten().min_by_key(|(rank, _)| *rank);
        if self.tables.is_empty() {
            return Ok(plain.is_some_and(|(_, member)| member));
        }
        let key = address.to_canonical().to_string();
        for table in &self.tables {
            if plain.is_some_and(|(rank, _)| rank < table.rank) {
                break;
            }
            let named = match name {
                Some(name) => table.has(tables, name, Some(self.parent_matches_subdomains)).await?,
                None => false,
            };
            if named || tables.lookup(table.id, &key).await?.is_some() {
                return Ok(table.member);
            }
        }
        Ok(plain.is_some_and(|(_, member)| member))
    }

    fn covers(&self, pattern: &str, name: &str) -> bool {
        let ends = |suffix: &str| {
            let at = name.len().checked_sub(suffix.len());
            at.and_then(|at| name.get(at..)).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
        };
        if pattern.starts_with('.') {
            return ends(pattern) && name.len() > pattern.len();
        }
        let longer = name.len() > pattern.len() && name.as_bytes()[name.len() - pattern.len() - 1] == b'.';
        ends(pattern) && (name.len() == pattern.len() || (self.parent_matches_subdomains && longer))
    }

    /// Whether it can be asked by [`NetworkList::contains`]: it names neither tables nor hosts.
    pub fn is_plain(&self) -> bool {
        self.tables.is_empty() && self.names.is_empty()
    }

    /// Whether it names tables.
    pub fn has_tables(&self) -> bool {
        !self.tables.is_empty()
    }

    /// Whether `address` belongs. An IPv4 address in IPv6 clothes (`::ffff:192.0.2.1`) is its IPv4 self.
    ///
    /// # Panics
    /// When the list has tables: those are asked by [`NetworkList::matches_host`].
    #[inline]
    pub fn contains(&self, address: IpAddr) -> bool {
        assert!(self.tables.is_empty(), "a list with tables is asked by matches_host()");
        self.rank(address).is_some_and(|(_, member)| member)
    }

    /// The first pattern that matches, and what it means.
    #[inline]
    fn rank(&self, address: IpAddr) -> Option<(u32, bool)> {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let address = u32::from(address);
                let found = self.v4.iter().find(|pattern| address & pattern.mask == pattern.network);
                found.map(|pattern| (pattern.rank, pattern.member))
            }
            IpAddr::V6(address) => {
                let address = u128::from(address);
                let found = self.v6.iter().find(|pattern| address & pattern.mask == pattern.network);
                found.map(|pattern| (pattern.rank, pattern.member))
            }
        }
    }

    /// Whether nothing can match.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty() && self.tables.is_empty() && self.names.is_empty()
    }

    fn add(&mut self, element: Element<'_>) -> Result<(), String> {
        let (written, pattern, rank, member) = match element {
            Element::Table(table) => {
                self.tables.push(table);
                return Ok(());
            }
            Element::Pattern { written, pattern, rank, member } => (written, pattern, rank, member),
        };
        let (address, prefix) = match parse_network(pattern) {
            Ok(network) => network,
            Err(reason) => {
                let name = pattern.strip_prefix('.').unwrap_or(pattern);
                let plain = name.bytes().any(|byte| byte.is_ascii_alphabetic()) && !name.contains(':');
                if !plain || !crate::access::is_hostname(name) {
                    return Err(reason);
                }
                self.names.push(NamePattern { name: pattern.into(), rank, member });
                return Ok(());
            }
        };
        match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                let network = u32::from(address);
                if network & !mask != 0 {
                    let right = Ipv4Addr::from(network & mask);
                    return Err(format!("{written} has bits beyond its prefix; perhaps {right}/{prefix}"));
                }
                self.v4.push(Pattern { network, mask, rank, member });
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                let network = u128::from(address);
                if network & !mask != 0 {
                    let right = Ipv6Addr::from(network & mask);
                    return Err(format!("{written} has bits beyond its prefix; perhaps [{right}]/{prefix}"));
                }
                self.v6.push(Pattern { network, mask, rank, member });
            }
        }
        if self.v4.len() + self.v6.len() + self.names.len() > PATTERNS_MAX {
            return Err(format!("more than {PATTERNS_MAX} patterns in one list"));
        }
        Ok(())
    }
}

/// `a.b.c.d`, `a.b.c.d/n`, `[v6]`, `[v6]/n`, `[v6/n]`, `v6`, `v6/n`.
fn parse_network(text: &str) -> Result<(IpAddr, u8), String> {
    let wrong = || format!("{text} is no network: address, address/prefix or [IPv6]/prefix");
    let unwrapped: String;
    let plain = match text.strip_prefix('[') {
        Some(rest) => {
            let (inside, after) = rest.split_once(']').ok_or_else(wrong)?;
            unwrapped = format!("{inside}{after}");
            &unwrapped
        }
        None => text,
    };
    let (address, prefix) = match plain.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (plain, None),
    };
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => bits,
        Some(prefix) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => {
            prefix.parse().ok().filter(|&prefix| prefix <= bits).ok_or_else(wrong)?
        }
        Some(_) => return Err(wrong()),
    };
    Ok((address, prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(text: &str) -> NetworkList {
        NetworkList::parse(text, &no_files).unwrap()
    }

    fn no_files(_: &str) -> Result<String, String> {
        Err("no such file".into())
    }

    fn has(list: &NetworkList, address: &str) -> bool {
        list.contains(address.parse().unwrap())
    }

    #[test]
    fn networks_of_both_families() {
        let list = list("127.0.0.0/8, 192.0.2.7 [::1]/128 [2001:db8::]/32 [fe80::/10]");
        for inside in ["127.9.9.9", "192.0.2.7", "::1", "2001:db8:1::2", "::ffff:127.0.0.1", "fe80::1"] {
            assert!(has(&list, inside), "{inside}");
        }
        for outside in ["128.0.0.1", "192.0.2.8", "::2", "2001:db9::"] {
            assert!(!has(&list, outside), "{outside}");
        }
    }

    #[test]
    fn the_first_match_decides() {
        let list = list("!10.0.0.5, 10.0.0.0/8, !0.0.0.0/0");
        assert!(has(&list, "10.0.0.4"));
        assert!(!has(&list, "10.0.0.5"));
        assert!(!has(&list, "11.0.0.5"));
    }

    #[test]
    fn the_whole_address_space() {
        assert!(has(&list("0.0.0.0/0 [::]/0"), "203.0.113.9"));
        assert!(has(&list("0.0.0.0/0 [::]/0"), "2001:db8::1"));
        assert!(!has(&list(""), "127.0.0.1"));
    }

    #[test]
    fn a_file_is_included_and_can_be_negated() {
        let load = |path: &str| match path {
            "/etc/nets" => {
                Ok("# ours\n10.1.0.0/16\n  10.2.0.0/16 # 10.9.0.0/16".replace(" # 10.9.0.0/16", ""))
            }
            _ => Err("no such file".to_string()),
        };
        let list = NetworkList::parse("/etc/nets", &load).unwrap();
        assert!(has(&list, "10.1.2.3") && has(&list, "10.2.2.3") && !has(&list, "10.9.0.1"));
        let list = NetworkList::parse("!/etc/nets 10.0.0.0/8", &load).unwrap();
        assert!(!has(&list, "10.1.2.3") && has(&list, "10.3.0.1"));
        let error = NetworkList::parse("/etc/other", &load).unwrap_err();
        assert_eq!(error, "/etc/other: no such file");
    }

    #[test]
    fn a_file_that_includes_itself_is_an_error() {
        let error = NetworkList::parse("/a", &|_| Ok("/a".into())).unwrap_err();
        assert!(error.contains("deep"), "{error}");
    }

    #[test]
    fn what_is_no_network_is_told() {
        for text in [
            "10.0.0.1/8",
            "10.0.0.0/33",
            "example..com",
            "[::1",
            "hash:/etc/nets",
            "1.2.3",
            "[::1]/129",
            "::/+1",
        ] {
            assert!(NetworkList::parse(text, &no_files).is_err(), "{text}");
        }
        let error = NetworkList::parse("10.0.0.1/8", &no_files).unwrap_err();
        assert!(error.contains("perhaps 10.0.0.0/8"), "{error}");
    }

    #[test]
    fn hosts_match_by_name_and_tables_by_both() {
        use crate::lookup::{MemoryTables, TableId, at_once};
        let mut tables = MemoryTables::default();
        tables.put(TableId(0), "192.0.2.9", "x");
        tables.put(TableId(0), ".dyn.example", "x");
        let parse = |text, parents| {
            let ids = |_| Ok(TableId(0));
            NetworkList::parse_with_tables(text, &no_files, &ids).unwrap().with_parents(parents)
        };
        let matches = |list: &NetworkList, name, address: &str| {
            at_once(list.matches_host(&tables, name, address.parse().unwrap())).unwrap().unwrap()
        };
        let list = parse("!bad.example.com example.com .example.net hash:/nets 10.0.0.0/8", true);
        assert!(!list.is_plain());
        for (name, address, member) in [
            (Some("mx.EXAMPLE.com"), "203.0.113.1", true),
            (Some("bad.example.com"), "10.0.0.1", false),
            (Some("badexample.com"), "203.0.113.1", false),
            (Some("example.net"), "203.0.113.1", false),
            (Some("a.example.net"), "203.0.113.1", true),
            (None, "192.0.2.9", true),
            (None, "10.1.2.3", true),
            (Some("unrelated.example"), "203.0.113.1", false),
        ] {
            assert_eq!(matches(&list, name, address), member, "{name:?} {address}");
        }
        let list = parse("example.com hash:/nets", false);
        assert!(!matches(&list, Some("mx.example.com"), "203.0.113.1"));
        assert!(matches(&list, Some("a.dyn.example"), "203.0.113.1"));
    }

    proptest! {
        #[test]
        fn a_prefix_holds_what_shares_its_bits(address: u32, other: u32, prefix in 0_u32..=32) {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            let network = Ipv4Addr::from(address & mask);
            let list = list(&format!("{network}/{prefix}"));
            let inside = (other ^ address) & mask == 0;
            prop_assert_eq!(list.contains(Ipv4Addr::from(other).into()), inside);
        }

        #[test]
        fn arbitrary_text_never_panics(text: String) {
            let _ = NetworkList::parse(&text, &no_files);
        }
    }
}
