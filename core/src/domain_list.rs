//! Lists of domains (`relay_domains`, `mydestination`): does a domain belong?
//!
//! Patterns: `example.com`, `.example.com` (its sub-domains), `!pattern`, `[address]`. Whether a bare `example.com`
//! also stands for its sub-domains depends on the parameter (`parent_domain_matches_subdomains`). The first pattern
//! that matches decides. Case does not matter.

use std::collections::HashMap;

use crate::network_list::{INCLUDE_DEPTH_MAX, PATTERNS_MAX, is_table_type, without_comments};

/// Patterns in order.
#[derive(Debug, Clone, Default)]
pub struct DomainList {
    /// Lower-case pattern → its rank and meaning; only the first of equal patterns counts.
    patterns: HashMap<Box<[u8]>, (u32, bool), foldhash::fast::RandomState>,
    parent_matches_subdomains: bool,
}

/// The longest domain, RFC 1035 §2.3.4; a longer one is in no list.
const DOMAIN_BYTES_MAX: usize = 255;

impl DomainList {
    /// Reads a list. With `parent_matches_subdomains` a bare domain also stands for its sub-domains. `load` gives the
    /// text of an included file.
    ///
    /// # Errors
    /// What is wrong with which element, in one sentence.
    pub fn parse(
        text: &str,
        parent_matches_subdomains: bool,
        load: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<Self, String> {
        let mut list = Self { parent_matches_subdomains, ..Self::default() };
        list.add(text, true, 0, load)?;
        Ok(list)
    }

    /// Whether `domain` (without a trailing dot, ASCII or UTF-8) belongs.
    pub fn contains(&self, domain: &[u8]) -> bool {
        if self.patterns.is_empty() || domain.len() > DOMAIN_BYTES_MAX {
            return false;
        }
        let mut lower = [0; DOMAIN_BYTES_MAX];
        let domain = {
            lower[..domain.len()].copy_from_slice(domain);
            lower[..domain.len()].make_ascii_lowercase();
            &lower[..domain.len()]
        };
        let mut best = self.patterns.get(domain).copied();
        for dot in memchr::memchr_iter(b'.', domain).filter(|_| domain.first() != Some(&b'[')) {
            let parent = if self.parent_matches_subdomains { &domain[dot + 1..] } else { &domain[dot..] };
            let dotted = self.patterns.get(&domain[dot..]).copied();
            for found in [self.patterns.get(parent).copied(), dotted].into_iter().flatten() {
                if best.is_none_or(|(rank, _)| found.0 < rank) {
                    best = Some(found);
                }
            }
        }
        best.is_some_and(|(_, member)| member)
    }

    /// Whether nothing can match.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    fn add(
        &mut self,
        text: &str,
        member: bool,
        depth: usize,
        load: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<(), String> {
        for element in crate::config::split_list(text) {
            let negations = element.bytes().take_while(|&byte| byte == b'!').count();
            let pattern = &element[negations..];
            let member = member == (negations % 2 == 0);
            if pattern.starts_with('/') {
                if depth == INCLUDE_DEPTH_MAX {
                    return Err(format!("{pattern}: files include files more than {INCLUDE_DEPTH_MAX} deep"));
                }
                let content = load(pattern).map_err(|reason| format!("{pattern}: {reason}"))?;
                self.add(&without_comments(&content), member, depth + 1, load)
                    .map_err(|reason| format!("in {pattern}: {reason}"))?;
                continue;
            }
            if let Some((kind, _)) = pattern.split_once(':')
                && is_table_type(kind)
                && !pattern.starts_with('[')
            {
                return Err(format!("{pattern}: lookup tables are not served in lists of domains"));
            }
            if pattern.is_empty() || pattern.len() > DOMAIN_BYTES_MAX + 1 {
                return Err(format!("{} is no domain", crate::config::quoted_value(element)));
            }
            let rank = u32::try_from(self.patterns.len()).unwrap_or(u32::MAX);
            let key = pattern.trim_end_matches('.').to_ascii_lowercase().into_bytes();
            self.patterns.entry(key.into()).or_insert((rank, member));
            if self.patterns.len() > PATTERNS_MAX {
                return Err(format!("more than {PATTERNS_MAX} patterns in one list"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
    }

    #[test]
    fn the_first_match_decides() {
        let first = list("!secret.example.com example.com", true);
        assert!(!first.contains(b"secret.example.com") && !first.contains(b"x.secret.example.com"));
        assert!(first.contains(b"open.example.com"));
        assert!(list("example.com !secret.example.com", true).contains(b"secret.example.com"));
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

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text: String, domain: Vec<u8>, parents: bool) {
            if let Ok(list) = DomainList::parse(&text, parents, &|_| Err(String::new())) {
                list.contains(&domain);
            }
        }
    }
}
