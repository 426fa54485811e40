//! Ordered lists of lookup tables, as `transport_maps` and its kind name them: the first table that has a key decides.

mod address;

pub use address::{AddressKeys, AddressLookup, LocalNames, MatchedAddress};

use crate::lookup::{Found, LookupTrouble, TableId, TableSpec, TableType, Tables};

/// One table of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapTable {
    /// Which.
    pub id: TableId,
    /// It wants whole keys only ([`TableSpec::is_pattern`]).
    pub is_pattern: bool,
}

/// Tables in the order in which they are asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Maps {
    tables: Vec<MapTable>,
}

/// What a key is of the thing that is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// All of it: every table is asked.
    Whole,
    /// A part of it (a domain, a local part, a parent domain): tables of patterns are passed by.
    Partial,
}

impl Maps {
    /// Reads a list of tables; `id` gives each its id.
    ///
    /// # Errors
    /// What is wrong with which element, in one sentence.
    pub fn parse(
        text: &str,
        default_type: TableType,
        mut id: impl FnMut(TableSpec) -> Result<TableId, String>,
    ) -> Result<Maps, String> {
        let mut tables = Vec::new();
        for element in crate::config::split_list(text) {
            let spec = TableSpec::parse(element, default_type)?;
            let is_pattern = spec.is_pattern();
            tables.push(MapTable { id: id(spec)?, is_pattern });
        }
        Ok(Maps { tables })
    }

    /// A list of these tables.
    pub fn of(tables: impl IntoIterator<Item = MapTable>) -> Maps {
        Maps { tables: tables.into_iter().collect() }
    }

    /// Whether there is nothing to ask. Ask this first where a message passes: it costs nothing.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// The tables.
    pub fn tables(&self) -> &[MapTable] {
        &self.tables
    }

    /// The value of the first table that has the key. An empty value is one, too, and stands for what the caller says;
    /// Postfix warns of it.
    ///
    /// # Errors
    /// The first table that cannot be asked before one has the key.
    pub async fn find(&self, tables: &impl Tables, key: &str, kind: Key) -> Found {
        for table in &self.tables {
            if kind == Key::Partial && table.is_pattern {
                continue;
            }
            if let Some(value) = tables.lookup(table.id, key).await? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// The value for a domain: all of it, then (as partial keys) its parents, each with the dot before it, or without if
    /// `parent_matches_subdomains`.
    ///
    /// # Errors
    /// As for [`Maps::find`].
    pub async fn find_domain(
        &self,
        tables: &impl Tables,
        domain: &str,
        parent_matches_subdomains: bool,
    ) -> Result<Option<Box<str>>, LookupTrouble> {
        let mut key = domain;
        let mut kind = Key::Whole;
        loop {
            if let Some(value) = self.find(tables, key, kind).await? {
                return Ok(Some(value));
            }
            // An address literal has no parents.
            if key.starts_with('[') {
                return Ok(None);
            }
            kind = Key::Partial;
            match key.get(1..).and_then(|rest| rest.find('.')) {
                Some(dot) => key = &key[dot + 1 + usize::from(parent_matches_subdomains)..],
                None => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::{MemoryTables, at_once};

    fn maps(patterns: &[bool]) -> Maps {
        Maps::of(
            patterns
                .iter()
                .enumerate()
                .map(|(index, &is_pattern)| MapTable { id: TableId(index as u32), is_pattern }),
        )
    }

    #[test]
    fn the_first_table_that_has_the_key_decides() {
        let mut tables = MemoryTables::default();
        tables.put(TableId(1), "k", "second");
        tables.put(TableId(2), "k", "third");
        let find = |maps: &Maps, kind| at_once(maps.find(&tables, "K", kind)).unwrap().unwrap();
        assert_eq!(find(&maps(&[false, false, false]), Key::Whole).as_deref(), Some("second"));
        assert_eq!(find(&maps(&[false, true, false]), Key::Partial).as_deref(), Some("third"));
    }

    #[test]
    fn trouble_is_not_absence() {
        let mut tables = MemoryTables::default();
        tables.put_trouble(TableId(0), "k", "gone");
        tables.put(TableId(1), "k", "v");
        assert!(at_once(maps(&[false, false]).find(&tables, "k", Key::Whole)).unwrap().is_err());
    }

    #[test]
    fn domains_are_walked_to_their_parents() {
        let mut tables = MemoryTables::default();
        tables.put(TableId(0), "example.com", "bare");
        tables.put(TableId(0), ".example.org", "dotted");
        let find =
            |domain, parents| at_once(maps(&[false]).find_domain(&tables, domain, parents)).unwrap().unwrap();
        assert_eq!(find("a.b.example.com", true).as_deref(), Some("bare"));
        assert_eq!(find("a.b.example.com", false), None);
        assert_eq!(find("a.b.example.org", false).as_deref(), Some("dotted"));
        assert_eq!(find("example.org", false), None);
        assert_eq!(find("[192.0.2.1]", true), None);
    }
}
