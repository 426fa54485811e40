//! `inline:{ key=value, { key = text holding white space }, … }`: the table in its own name.

use std::collections::HashMap;

use ringpost_core::config::split_list;
use ringpost_core::lookup::{Found, TableSpec};

use crate::fold::lower;
use crate::table::Table;

/// The entries of an `inline:` table.
#[derive(Debug)]
pub(crate) struct Inline(HashMap<Box<str>, Box<str>>);

/// Reads the entries from the table's name.
pub(crate) fn open(spec: &TableSpec) -> Result<Inline, String> {
    let inside = spec.name.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let inside = inside.ok_or_else(|| "bad syntax; expected: inline:{name=value, ...}".to_owned())?;
    let mut entries = HashMap::new();
    for element in split_list(inside) {
        let element = element.trim();
        let pair = match element.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(braced) => braced.trim(),
            None => element,
        };
        let (key, value) = pair.split_once('=').ok_or_else(|| format!("missing '=' after {pair}"))?;
        entries.insert(lower(key.trim_end()).into(), value.trim_start().into());
    }
    match entries.is_empty() {
        true => Err("empty inline table; expected: inline:{name=value, ...}".to_owned()),
        false => Ok(Inline(entries)),
    }
}

impl Table for Inline {
    fn find(&self, key: &str) -> Found {
        Ok(self.0.get(&*lower(key)).cloned())
    }
}
