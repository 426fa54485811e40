//! table: what every kind of table that answers at once can do.

use std::fmt;
use std::io;

use ringpost_core::lookup::{Found, LookupTrouble, TableSpec};

/// A table that answers without waiting for anybody. Never changed: a newer file makes a new one.
pub trait Table: Send + Sync + fmt::Debug {
    /// What the table holds for `key`.
    fn find(&self, key: &str) -> Found;

    /// Answers that were found under one version are those of this version. `None`: nothing is to be remembered, since
    /// answers may differ, or asking again costs no more than remembering.
    fn version(&self) -> Option<u64> {
        None
    }

    /// Every key with its value, in the table's own order.
    ///
    /// # Errors
    /// The kind of table cannot be listed; it cannot be read; whatever `each` says.
    fn list(&self, _each: Listing<'_>) -> Result<(), Unlisted> {
        Err(Unlisted::NotSupported)
    }
}

/// What is called with each entry of a listing.
pub type Listing<'a> = &'a mut dyn FnMut(&str, &str) -> io::Result<()>;

/// Why a listing is not whole.
#[derive(Debug)]
pub enum Unlisted {
    /// This kind of table cannot be listed.
    NotSupported,
    /// The table cannot be read on.
    Trouble(LookupTrouble),
    /// Whoever asked for it wants no more.
    Stopped(io::Error),
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
