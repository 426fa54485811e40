//! Addresses as keys: which parts of `user+ext@domain` are looked up, in which order.

use std::borrow::Cow;

use super::{Key, Maps};
use crate::address::{quote_where_needed, unquoted};
use crate::domain_list::DomainList;
use crate::lookup::{LookupTrouble, Tables};

/// What of this system a local part or a domain may stand for.
#[derive(Debug, Clone, Default)]
pub struct LocalNames {
    /// `myorigin`.
    pub my_origin: String,
    /// `mydestination`.
    pub my_destination: DomainList,
    /// Own addresses: those of `inet_interfaces` and `proxy_interfaces`.
    pub own_addresses: Vec<std::net::IpAddr>,
    /// `recipient_delimiter`: characters that begin an address extension.
    pub recipient_delimiter: String,
}

impl LocalNames {
    /// Whether a domain means this system: `mydestination`, or an address of its own in brackets.
    ///
    /// # Errors
    /// A table of `mydestination` could not be asked.
    pub async fn is_local(&self, tables: &impl Tables, domain: &str) -> Result<bool, LookupTrouble> {
        let domain = domain.strip_suffix('.').unwrap_or(domain);
        if let Some(literal) = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let plain = literal
                .get(..5)
                .filter(|tag| tag.eq_ignore_ascii_case("ipv6:"))
                .map_or(literal, |_| &literal[5..]);
            if plain.parse().is_ok_and(|address| self.own_addresses.contains(&address)) {
                return Ok(true);
            }
        }
        self.my_destination.matches(tables, domain).await
    }

    /// Where the extension of a local part begins, its delimiter included. Postfix never splits what the system itself
    /// needs whole: `mailer-daemon`, `owner-…`, `…-request`, `double-bounce`.
    pub fn extension_at(&self, local_part: &str) -> Option<usize> {
        if self.recipient_delimiter.is_empty()
            || local_part.eq_ignore_ascii_case("mailer-daemon")
            || local_part.eq_ignore_ascii_case("double-bounce")
        {
            return None;
        }
        if self.recipient_delimiter.contains('-') {
            let owner = local_part.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("owner-"));
            let request = local_part
                .len()
                .checked_sub(8)
                .and_then(|at| local_part.get(at..))
                .is_some_and(|end| end.eq_ignore_ascii_case("-request"));
            if owner || request {
                return None;
            }
        }
        let at = local_part.find(|c| self.recipient_delimiter.contains(c))?;
        // A local part that begins with a delimiter has no name.
        (at > 0).then_some(at)
    }
}

/// Which partial keys follow the whole address, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressKeys {
    /// `user+ext@domain`, `user@domain`, for own domains `user+ext` and `user`, `@domain`: canonical(5), virtual(5), generic(5),
    /// relocated(5).
    Mapping,
    /// `user+ext@domain`, `user@domain`, `domain` and its parents, `user+ext@`, `user@`: access(5). Parents bear a dot unless
    /// `parent_matches_subdomains`.
    Access {
        /// `smtpd_access_maps` is in `parent_domain_matches_subdomains`.
        parent_matches_subdomains: bool,
    },
    /// `user+ext@domain`, `user@domain`, `domain` and its parents: transport(5).
    Transport {
        /// `transport_maps` is in `parent_domain_matches_subdomains`.
        parent_matches_subdomains: bool,
    },
    /// `user+ext@domain`, `user@domain`, `@domain`: tables of valid recipients and of senders.
    Plain,
}

/// What matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchedAddress {
    /// The table's value.
    pub value: Box<str>,
    /// The key that had it.
    pub key: String,
    /// The extension with its delimiter, when the key that matched had been stripped of it.
    pub extension: Option<String>,
}

/// A lookup of addresses.
#[derive(Debug, Clone, Copy)]
pub struct AddressLookup<'a> {
    /// Which tables.
    pub maps: &'a Maps,
    /// Which keys.
    pub keys: AddressKeys,
    /// This system's names.
    pub names: &'a LocalNames,
}

impl AddressLookup<'_> {
    /// The value for `address`. A local part that needs quotes is asked for with them first, then without.
    ///
    /// # Errors
    /// A table could not be asked.
    pub async fn find(
        &self,
        tables: &impl Tables,
        address: &str,
    ) -> Result<Option<MatchedAddress>, LookupTrouble> {
        if self.maps.is_empty() {
            return Ok(None);
        }
        let (local, domain) = match address.rsplit_once('@') {
            Some((local, domain)) => (local, Some(domain)),
            None => (address, None),
        };
        let local = &*unquoted(local);
        let extension_at = self.names.extension_at(local);
        let bare = extension_at.map(|at| &local[..at]);
        let extension = extension_at.map(|at| &local[at..]);
        if let Some(found) = self.at_local(tables, (local, domain), Key::Whole, None).await? {
            return Ok(Some(found));
        }
        if let Some(bare) = bare
            && let Some(found) = self.at_local(tables, (bare, domain), Key::Partial, extension).await?
        {
            return Ok(Some(found));
        }
        let Some(domain) = domain else { return Ok(None) };
        match self.keys {
            AddressKeys::Mapping => {
                if self.stands_alone(tables, domain).await? {
                    if let Some(found) = self.at_local(tables, (local, None), Key::Partial, None).await? {
                        return Ok(Some(found));
                    }
                    if let Some(bare) = bare
                        && let Some(found) =
                            self.at_local(tables, (bare, None), Key::Partial, extension).await?
                    {
                        return Ok(Some(found));
                    }
                }
                self.at(tables, &format!("@{domain}"), Key::Partial, None).await
            }
            AddressKeys::Plain => self.at(tables, &format!("@{domain}"), Key::Partial, None).await,
            AddressKeys::Transport { parent_matches_subdomains } => {
                self.domain_and_parents(tables, domain, parent_matches_subdomains).await
            }
            AddressKeys::Access { parent_matches_subdomains } => {
                let by_domain = self.domain_and_parents(tables, domain, parent_matches_subdomains).await?;
                if by_domain.is_some() {
                    return Ok(by_domain);
                }
                let user = (local, Some(""));
                if let Some(found) = self.at_local(tables, user, Key::Partial, None).await? {
                    return Ok(Some(found));
                }
                match bare {
                    Some(bare) => self.at_local(tables, (bare, Some("")), Key::Partial, extension).await,
                    None => Ok(None),
                }
            }
        }
    }

    /// Whether a local part alone may stand for addresses of this domain.
    async fn stands_alone(&self, tables: &impl Tables, domain: &str) -> Result<bool, LookupTrouble> {
        if domain.eq_ignore_ascii_case(&self.names.my_origin) {
            return Ok(true);
        }
        self.names.is_local(tables, domain).await
    }

    async fn domain_and_parents(
        &self,
        tables: &impl Tables,
        domain: &str,
        parent_matches_subdomains: bool,
    ) -> Result<Option<MatchedAddress>, LookupTrouble> {
        let mut key = domain;
        loop {
            if let Some(found) = self.at(tables, key, Key::Partial, None).await? {
                return Ok(Some(found));
            }
            match key.get(1..).and_then(|rest| rest.find('.')).filter(|_| !key.starts_with('[')) {
                Some(dot) => key = &key[dot + 1 + usize::from(parent_matches_subdomains)..],
                None => return Ok(None),
            }
        }
    }

    /// A key with a local part: as an address would write it, then, if that is another text, as it is.
    async fn at_local(
        &self,
        tables: &impl Tables,
        (local, domain): (&str, Option<&str>),
        kind: Key,
        extension: Option<&str>,
    ) -> Result<Option<MatchedAddress>, LookupTrouble> {
        let key = |local: &str| match domain {
            Some(domain) => format!("{local}@{domain}"),
            None => local.to_owned(),
        };
        let quoted = quote_where_needed(Cow::Borrowed(local));
        let found = self.at(tables, &key(&quoted), kind, extension).await?;
        if found.is_some() || quoted == local {
            return Ok(found);
        }
        self.at(tables, &key(local), kind, extension).await
    }

    async fn at(
        &self,
        tables: &impl Tables,
        key: &str,
        kind: Key,
        extension: Option<&str>,
    ) -> Result<Option<MatchedAddress>, LookupTrouble> {
        let value = self.maps.find(tables, key, kind).await?;
        Ok(value.map(|value| MatchedAddress {
            value,
            key: key.into(),
            extension: extension.map(String::from),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::{MemoryTables, TableId, at_once};
    use crate::maps::MapTable;

    fn names() -> LocalNames {
        LocalNames {
            my_origin: "origin.example".into(),
            my_destination: DomainList::parse("here.example", false, &|_| Err("no files".into())).unwrap(),
            own_addresses: vec!["192.0.2.1".parse().unwrap()],
            recipient_delimiter: "+-".into(),
        }
    }

    fn check(entries: &[&str], keys: AddressKeys, address: &str) -> String {
        let mut tables = MemoryTables::default();
        for key in entries {
            tables.put(TableId(0), key, key);
        }
        let maps = Maps::of([MapTable { id: TableId(0), is_pattern: false }]);
        let lookup = AddressLookup { maps: &maps, keys, names: &names() };
        match at_once(lookup.find(&tables, address)).unwrap().unwrap() {
            None => "-".into(),
            Some(found) => format!("{}{}", found.value, found.extension.unwrap_or_default()),
        }
    }

    #[test]
    fn mappings_go_from_the_whole_to_the_domain() {
        let all = ["u+x@d.example", "u@d.example", "u", "@d.example"];
        let check = |from: usize, address| check(&all[from..], AddressKeys::Mapping, address);
        assert_eq!(check(0, "U+x@D.example"), "u+x@d.example");
        assert_eq!(check(1, "u+x@d.example"), "u@d.example+x");
        assert_eq!(check(2, "u+x@d.example"), "@d.example");
        assert_eq!(check(2, "u+x@here.example"), "u+x");
        assert_eq!(check(2, "u@origin.example"), "u");
        assert_eq!(check(2, "u@[192.0.2.1]"), "u");
        assert_eq!(check(2, "u@[192.0.2.2]"), "-");
    }

    #[test]
    fn quoted_local_parts_are_asked_for_with_and_without_quotes() {
        let all =
            ["\"a b+x\"@d.example", "a b+x@d.example", "\"a b\"@d.example", "a b@d.example", "@d.example"];
        let check = |from: usize| check(&all[from..], AddressKeys::Mapping, "\"a b+x\"@d.example");
        assert_eq!(check(0), "\"a b+x\"@d.example");
        assert_eq!(check(1), "a b+x@d.example");
        assert_eq!(check(2), "\"a b\"@d.example+x");
        assert_eq!(check(3), "a b@d.example+x");
        assert_eq!(check(4), "@d.example");
    }

    #[test]
    fn access_walks_domains_before_users() {
        let keys = AddressKeys::Access { parent_matches_subdomains: true };
        assert_eq!(check(&["example", "u@"], keys, "u@a.example"), "example");
        assert_eq!(check(&["u@"], keys, "u+x@a.example"), "u@+x");
        let dotted = AddressKeys::Access { parent_matches_subdomains: false };
        assert_eq!(check(&["example", ".example"], dotted, "u@a.example"), ".example");
    }

    #[test]
    fn some_local_parts_are_never_split() {
        for whole in ["owner-list", "list-request", "MAILER-DAEMON", "double-bounce", "+x", "plain"] {
            assert_eq!(names().extension_at(whole), None, "{whole}");
        }
        assert_eq!(names().extension_at("a-b+c"), Some(1));
        assert_eq!(names().extension_at("x+"), Some(1), "an empty extension is one");
    }
}
