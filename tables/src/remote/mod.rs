//! remote: tables behind a server or a library that blocks.
//!
//! Receives: a [`TableSpec`] of such a kind; keys, on helper threads.
//! Sends:    whatever the protocol asks for, on sockets of its own with time limits of its own.
//! Owns:     the connections, one to each [`Backend`].
//! Limits:   [`Connector::connections_max`]; lookups that wait for one, in [`crate::desk`]; the time of a lookup
//!           ([`TableOptions::time_limit`], or what the table's own file says).
//! On failure: a lookup that fails is trouble, and the next one tries to connect anew.
//! Standards: tcp_table(5), socketmap_table(5), memcache_table(5), sqlite_table(5), pgsql_table(5), mysql_table(5) and
//!           ldap_table(5) of Postfix.

mod hosts;
mod ldap;
mod memcache;
mod mysql;
mod pgsql;
mod redis;
#[cfg(test)]
pub(crate) mod scratch;
mod socketmap;
mod source;
mod sql;
mod sqlite;
mod tcp;
mod template;
mod wire;

use ringpost_core::lookup::{Found, TableSpec, TableType};

use crate::notes::Notes;
use crate::options::TableOptions;

/// Connections to one server. The engine of one host needs few: an answer takes milliseconds, and what waits for one is
/// a session, not a shard.
const SERVER_CONNECTIONS_MAX: usize = 8;

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

impl Connector {
    /// Of what `connect` makes.
    fn of<B: Backend + 'static>(
        connections_max: usize,
        connect: impl Fn() -> B + Send + Sync + 'static,
    ) -> Connector {
        Connector { connections_max, connect: Box::new(move || Box::new(connect())) }
    }
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
pub fn open(spec: &TableSpec, options: &TableOptions, notes: &Notes) -> Result<Connector, String> {
    match spec.kind {
        TableType::Tcp => tcp::open(spec, options),
        TableType::Socketmap => socketmap::open(spec, options),
        TableType::Memcache => memcache::open(spec, options, notes),
        TableType::Sqlite => sqlite::open(spec, options, notes),
        TableType::Pgsql => pgsql::open(spec, options, notes),
        TableType::Mysql => mysql::open(spec, options, notes),
        TableType::Ldap => ldap::open(spec, options, notes),
        TableType::Redis => redis::open(spec, options, notes),
        kind => Err(format!("the {} table type is not served", kind.word())),
    }
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
    if !options.proxy_read.contains(&spec.name) {
        return Err(format!(
            "proxymap service is not configured for table \"{inner}\"; to approve it for reading, list {spec} in proxy_read_maps"
        ));
    }
    Ok(inner)
}
