//! `inline:{ key=value, { key = text holding white space }, … }`: the table in its own name.

use std::collections::HashMap;

use ringpost_core::config::split_list;
use ringpost_core::lookup::{Found, TableSpec};

use crate::file_values;
use crate::fold::lower;
use crate::options::TableOptions;
use crate::table::{Listing, Table, Unlisted};

/// The entries of an `inline:` table.
#[derive(Debug)]
pub(crate) struct Inline {
    entries: HashMap<Box<str>, Box<str>>,
    fold: bool,
}

/// Reads the entries from the table's name.
pub(crate) fn open(spec: &TableSpec, options: &TableOptions) -> Result<Inline, String> {
    const SYNTAX: &str = "need \"inline:{name=value...}\"";
    let wrong = || format!("bad syntax: \"{spec}\"; {SYNTAX}");
    let inside = spec.name.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let mut entries = HashMap::new();
    for element in split_list(inside.ok_or_else(wrong)?) {
        let element = element.trim();
        let braced = element.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let pair = braced.map_or(element, str::trim);
        let missing = || format!("missing '=' after attribute name: \"{spec}\"; {SYNTAX}");
        let (key, value) = pair.split_once('=').ok_or_else(missing)?;
        let (key, value) = (key.trim_end(), value.trim_start());
        let value = match options.values_are_files {
            true => file_values::encoded(value)?.into(),
            false => value.into(),
        };
        entries.insert(if options.fold { lower(key) } else { key.into() }.into(), value);
    }
    match entries.is_empty() {
        true => Err(wrong()),
        false => Ok(Inline { entries, fold: options.fold }),
    }
}

impl Table for Inline {
    fn find(&self, key: &str) -> Found {
        let key = if self.fold { lower(key) } else { key.into() };
        Ok(self.entries.get(&*key).cloned())
    }

    fn list(&self, each: Listing<'_>) -> Result<(), Unlisted> {
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_unstable();
        entries.into_iter().try_for_each(|(key, value)| each(key, value)).map_err(Unlisted::Stopped)
    }
}
