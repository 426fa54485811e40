//! remote: tables behind a server or a library that blocks.
//!
//! Receives: a [`TableSpec`] of such a kind; keys, on helper threads.
//! Sends:    whatever the protocol asks for, on sockets of its own with time limits of its own.
//! Owns:     the connections, one to each [`Backend`].
//! Limits:   [`Connector::connections_max`]; lookups that wait for one, in [`crate::desk`].
//! On failure: a lookup that fails is trouble, and the next one tries to connect anew.

use ringpost_core::lookup::{Found, TableSpec, TableType};

use crate::options::TableOptions;

/// One connection to whatever holds a table. May block; lives on one helper thread.
pub trait Backend {
    /// What the table holds for `key`. Connects first if need be, and bounds its own waiting.
    fn lookup(&mut self, key: &str) -> Found;
}

/// How connections of a table are made.
pub struct Connector {
    /// How many there may be at a time.
    pub connections_max: usize,
    /// Makes one, on the thread that will use it. Trouble is told by its lookups.
    pub connect: Box<dyn Fn() -> Box<dyn Backend> + Send + Sync>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connector({})", self.connections_max)
    }
}

/// How to ask a table of one of the kinds that are served here.
///
/// # Errors
/// Why its name, or the file that its name stands for, cannot be used; in one sentence. Servers are not asked yet.
pub fn open(spec: &TableSpec, _options: &TableOptions) -> Result<Connector, String> {
    Err(format!("the {} table type is not served", spec.kind.word()))
}

/// The table that `proxy:type:name` stands for, if the proxymap service may read it.
///
/// # Errors
/// It may not, or it is no table; in one sentence.
pub fn proxied(spec: &TableSpec, options: &TableOptions) -> Result<TableSpec, String> {
    let inner = TableSpec::parse(&spec.name, options.default_type)?;
    if inner.kind == TableType::Proxy {
        return Err("a proxied table within a proxied table".to_owned());
    }
    Ok(inner)
}
