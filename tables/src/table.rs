//! table: what every kind of table that answers at once can do.

use std::fmt;

use ringpost_core::lookup::{Found, LookupTrouble, TableSpec};

/// A table that answers without waiting for anybody. Never changed: a newer file makes a new one.
pub trait Table: Send + Sync + fmt::Debug {
    /// What the table holds for `key`.
    fn find(&self, key: &str) -> Found;
}

/// Trouble with a table.
pub fn trouble(spec: &TableSpec, reason: impl fmt::Display) -> LookupTrouble {
    LookupTrouble { table: spec.to_string().into(), reason: reason.to_string().into() }
}

/// A table that cannot be asked: every lookup is trouble.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) LookupTrouble);

impl Table for Broken {
    fn find(&self, _key: &str) -> Found {
        Err(self.0.clone())
    }
}

/// `static:`: the same value for every key.
#[derive(Debug)]
pub(crate) struct Static(pub(crate) Box<str>);

impl Table for Static {
    fn find(&self, _key: &str) -> Found {
        Ok(Some(self.0.clone()))
    }
}
