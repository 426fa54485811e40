//! Lists of domains (`relay_domains`, `mydestination`): does a domain belong?
//!
//! Patterns: `example.com`, `.example.com` (its sub-domains), `!pattern`, `[address]`. Whether a bare `example.com`
//! also stands for its sub-domains depends on the parameter (`parent_domain_matches_subdomains`); where it does,
//! `.example.com` matches nothing, as with Postfix. The first pattern
//! that matches decides. Case does not matter. A lookup table (`type:name`) matches the domains that are keys of it, and
//! their sub-domains where a bare domain would.

use std::collections::HashMap;

use crate::lookup::{LookupTrouble, Tables};
use crate::pattern_list::{Element, ListTable, PATTERNS_MAX, TableIds, each_element};

/// Patterns in order.
#[derive(Debug, Clone, Default)]
pub struct DomainList {
    /// Lower-case pattern → its rank and meaning; only the first of equal patterns counts.
    patterns: HashMap<Box<[u8]>, (u32, bool), foldhash::fast::RandomState>,
    parent_matches_subdomains: bool,
    /// Neither patterns nor tables know of sub-domains.
    whole_names: bool,
    /// Tables in order, with their ranks among the patterns.
    tables: Vec<ListTable>,
}

/// The longest domain, RFC 1035 §2.3.4; a longer one is in no list.
const DOMAIN_BYTES_MAX: usize = 255;

impl DomainList {
    /// Reads a list without tables. With `parent_matches_subdomains` a bare domain also stands for its sub-domains.
    /// `load` gives the text of an included file.
    ///
    /// # Errors
    /// What is wrong with which element, in one sentence.
    pub fn parse(
        text: &str,
        parent_matches_subdomains: bool,
        load: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<Self, String> {
        Self::parse_with_tables(text, parent_matches_subdomains, load, &|spec| {
            Err(format!("{spec}: lookup tables are not served in this list"))
        })
    }

    /// Reads a list that may name tables; then [`DomainList::matches`] is the one to ask.
    ///
    /// # Errors
    /// What is wrong with which element, in one sentence.
    pub fn parse_with_tables(
        text: &str,
        parent_matches_subdomains: bool,
        load: &dyn Fn(&str) -> Result<String, String>,
        ids: TableIds<'_>,
    ) -> Result<Self, String> {
        let mut list = Self { parent_matches_subdomains, ..Self::default() };
        each_element(text, load, ids, |element| list.add(element))?;
        Ok(list)
    }

    /// The same list, of whole names: `.example.com` is no pattern, and tables are asked for the domain only. Postfix reads
    /// the domains that it takes mail for in this way (`mydestination`, but not `relay_domains`).
    #[must_use]
    pub fn of_whole_names(self) -> Self {
        Self { whole_names: true, ..self }
    }

    /// Whether `domain` (without a trailing dot, ASCII or UTF-8) belongs, tables asked too, in the order of the list.
    ///
    /// # Errors
    /// A table could not be asked before an element matched.
    pub async fn matches(&self, tables: &impl Tables, domain: &str) -> Result<bool, LookupTrouble> {
        let plain = self.rank(domain.as_bytes());
        // An address has no parents.
        let has_parents = !self.whole_names && !domain.starts_with('[');
        let parents = has_parents.then_some(self.parent_matches_subdomains);
        for table in &self.tables {
            if plain.is_some_and(|(rank, _)| rank < table.rank) {
                break;
            }
            if table.has(tables, domain, parents).await? {
                return Ok(table.member);
            }
        }
        Ok(plain.is_some_and(|(_, member)| member))
    }

    /// Whether `domain` (without a trailing dot, ASCII or UTF-8) belongs.
    ///
    /// # Panics
    /// When the list has tables: those are asked by [`DomainList::matches`].
    pub fn contains(&self, domain: &[u8]) -> bool {
        assert!(self.tables.is_empty(), "a list with tables is asked by matches()");
        self.rank(domain).is_some_and(|(_, member)| member)
    }

    /// The first pattern that matches, and what it means.
    fn rank(&self, domain: &[u8]) -> Option<(u32, bool)> {
        if self.patterns.is_empty() || domain.len() > DOMAIN_BYTES_MAX {
            return None;
        }
        let mut lower = [0; DOMAIN_BYTES_MAX];
        let domain = {
            lower[..domain.len()].copy_from_slice(domain);
            lower[..domain.len()].make_ascii_lowercase();
            &lower[..domain.len()]
        };
        let mut best = self.patterns.get(domain).copied();
        if self.whole_names {
            return best;
        }
        for dot in memchr::memchr_iter(b'.', domain).filter(|_| domain.first() != Some(&b'[')) {
            let parent = if self.parent_matches_subdomains { &domain[dot + 1..] } else { &domain[dot..] };
            let found = self.patterns.get(parent).copied();
            best = match (best, found) {
                (Some(one), Some(other)) => Some(if other.0 < one.0 { other } else { one }),
                (one, other) => one.or(other),
            };
        }
        best
    }

    /// Whether nothing can match.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty() && self.tables.is_empty()
    }

    /// The tables it names.
    pub fn has_tables(&self) -> bool {
        !self.tables.is_empty()
    }

    fn add(&mut self, element: Element<'_>) -> Result<(), String> {
        let (written, pattern, rank, member) = match element {
            Element::Table(table) => {
                self.tables.push(table);
                return Ok(());
            }
            Element::Pattern { written, pattern, rank, member } => (written, pattern, rank, member),
        };
        if pattern.is_empty() || pattern.len() > DOMAIN_BYTES_MAX + 1 {
            return Err(format!("{} is no domain", crate::config::quoted_value(written)));
        }
        let key = pattern.trim_end_matches('.').to_ascii_lowercase().into_bytes();
        self.patterns.entry(key.into()).or_insert((rank, member));
        if self.patterns.len() > PATTERNS_MAX {
            return Err(format!("more than {PATTERNS_MAX} patterns in one list"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::{MemoryTables, TableId, at_once};
    use proptest::prelude::*;

    fn list(text: &str, parents: bool) -> DomainList {
        DomainList::parse(text, parents, &|_| Err("no such file".into())).unwrap()
    }

    #[test]
    fn a_bare_domain_stands_for_itself() {
        let list = list("example.com, Other.Example", false);
        assert!(
            list.contains(b"example.com") && list.contains(b"EXAMPLE.com") && list.contains(b"other.example")
        );
        assert!(!list.contains(b"www.example.com") && !list.contains(b"com") && !list.contains(b""));
    }

    #[test]
    fn a_dotted_domain_stands_for_its_subdomains() {
        let list = list(".example.com", false);
        assert!(list.contains(b"a.example.com") && list.contains(b"a.b.example.com"));
        assert!(!list.contains(b"example.com") && !list.contains(b"badexample.com"));
    }

    #[test]
    fn a_bare_domain_stands_for_subdomains_where_the_parameter_says_so() {
        let list = list("example.com", true);
        assert!(list.contains(b"example.com") && list.contains(b"a.b.example.com"));
        assert!(!list.contains(b"badexample.com"));
        let dotted = self::list(".example.com", true);
        assert!(!dotted.contains(b"a.example.com"), "there a dot makes no pattern, as with Postfix");
    }

    #[test]
    fn the_first_match_decides() {
        let first = list("!secret.example.com example.com", true);
        assert!(!first.contains(b"secret.example.com") && !first.contains(b"x.secret.example.com"));
        assert!(first.contains(b"open.example.com"));
        assert!(list("example.com !secret.example.com", true).contains(b"secret.example.com"));
    }

    #[test]
    fn a_list_of_whole_names_knows_no_subdomains() {
        let mut tables = MemoryTables::default();
        tables.put(TableId(7), ".example.com", "x");
        tables.put(TableId(7), "example.com", "x");
        let text = "hash:/etc/domains .other.example";
        let list = DomainList::parse_with_tables(text, true, &|_| Err(String::new()), &|_| Ok(TableId(7)));
        let list = list.unwrap().of_whole_names();
        let matches = |domain| at_once(list.matches(&tables, domain)).unwrap().unwrap();
        assert!(matches("example.com"));
        assert!(!matches("www.example.com") && !matches("www.other.example"));
    }

    #[test]
    fn an_address_literal_is_no_subdomain() {
        let list = list("[192.0.2.1] 2.1]", true);
        assert!(
            list.contains(b"[192.0.2.1]") && !list.contains(b"[192.0.2.2]") && !list.contains(b"[9.9.2.1]")
        );
    }

    #[test]
    fn tables_are_told() {
        let error = DomainList::parse("hash:/etc/domains", true, &|_| Err(String::new())).unwrap_err();
        assert!(error.contains("lookup tables"), "{error}");
    }

    #[test]
    fn a_table_has_its_place_among_the_patterns() {
        let mut tables = MemoryTables::default();
        tables.put(TableId(7), "example.com", "x");
        let parse = |text| {
            DomainList::parse_with_tables(text, true, &|_| Err("no files".into()), &|_| Ok(TableId(7)))
                .unwrap()
        };
        let matches = |text, domain| at_once(parse(text).matches(&tables, domain)).unwrap().unwrap();
        assert!(
            matches("hash:/etc/domains", "example.com") && matches("hash:/etc/domains", "www.example.com")
        );
        assert!(!matches("hash:/etc/domains", "example.org"));
        assert!(!matches("!example.com hash:/etc/domains", "example.com"));
        assert!(!matches("!hash:/etc/domains example.com", "example.com"));
        assert!(matches("www.example.com !hash:/etc/domains", "www.example.com"));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text: String, domain: Vec<u8>, parents: bool) {
            if let Ok(list) = DomainList::parse(&text, parents, &|_| Err(String::new())) {
                list.contains(&domain);
            }
        }
    }
}
