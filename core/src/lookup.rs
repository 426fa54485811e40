//! lookup: the face of lookup tables, as those who decide see it.
//!
//! What a table is stored in, how it is searched and when it is swapped for a newer one is the business of the crate
//! `ringpost-tables`; here a table is a name, and asking it is a future. A table in memory answers at the first poll,
//! one behind a socket or a helper thread later: only the session or message that asked waits.
//!
//! Receives: `type:name` as a configuration writes it ([`TableSpec`]).
//! Sends:    exact keys to [`Tables::lookup`].
//! Owns:     the kinds of tables, and which of them are patterns.
//! On failure: [`LookupTrouble`]; an error is never "not found".
//! Standards: Postfix's DATABASE_README, postmap(1).

use std::collections::HashMap;
use std::fmt;
use std::future::Future;

/// A table of the loaded configuration: its place in [`crate::config::Config::tables`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableId(pub u32);

/// What a lookup gives: the value, `None` if there is no such key, or trouble.
pub type Found = Result<Option<Box<str>>, LookupTrouble>;

/// The table could not be asked: not found is not what happened. The client gets 451, the delivery is deferred.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupTrouble {
    /// `type:name` of the table.
    pub table: Box<str>,
    /// What went wrong, in words, for the log only.
    pub reason: Box<str>,
}

impl fmt::Display for LookupTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.table, self.reason)
    }
}

/// All tables of a configuration, to be asked by exact key.
pub trait Tables {
    /// What `table` holds for `key`. Folding of case is the table's own business, as is the substitution of `$1`; partial
    /// keys are the caller's ([`crate::maps`]).
    fn lookup(&self, table: TableId, key: &str) -> impl Future<Output = Found>;

    /// Hears what those who look up decide, and by which parameter. The tables of an engine do not listen, and there it
    /// costs nothing; `ringpost explain` prints it between the lookups that it saw.
    fn note(&self, _parameter: &str, _decision: fmt::Arguments<'_>) {}
}

impl<T: Tables> Tables for &T {
    fn lookup(&self, table: TableId, key: &str) -> impl Future<Output = Found> {
        (**self).lookup(table, key)
    }

    fn note(&self, parameter: &str, decision: fmt::Arguments<'_>) {
        (**self).note(parameter, decision);
    }
}

/// The kinds of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // each is the table type of its own name
pub enum TableType {
    Hash,
    Btree,
    Cdb,
    Lmdb,
    Texthash,
    Inline,
    Static,
    Regexp,
    Pcre,
    Cidr,
    Unionmap,
    Pipemap,
    Randmap,
    Environ,
    Unix,
    Nis,
    Proxy,
    Tcp,
    Socketmap,
    Memcache,
    Sqlite,
    Pgsql,
    Mysql,
    Ldap,
    Redis,
    Fail,
    Internal,
}

impl TableType {
    /// Every kind with its name, in the order of the alphabet.
    pub const ALL: [(&'static str, TableType); 27] = [
        ("btree", TableType::Btree),
        ("cdb", TableType::Cdb),
        ("cidr", TableType::Cidr),
        ("environ", TableType::Environ),
        ("fail", TableType::Fail),
        ("hash", TableType::Hash),
        ("inline", TableType::Inline),
        ("internal", TableType::Internal),
        ("ldap", TableType::Ldap),
        ("lmdb", TableType::Lmdb),
        ("memcache", TableType::Memcache),
        ("mysql", TableType::Mysql),
        ("nis", TableType::Nis),
        ("pcre", TableType::Pcre),
        ("pgsql", TableType::Pgsql),
        ("pipemap", TableType::Pipemap),
        ("proxy", TableType::Proxy),
        ("randmap", TableType::Randmap),
        ("redis", TableType::Redis),
        ("regexp", TableType::Regexp),
        ("socketmap", TableType::Socketmap),
        ("sqlite", TableType::Sqlite),
        ("static", TableType::Static),
        ("tcp", TableType::Tcp),
        ("texthash", TableType::Texthash),
        ("unionmap", TableType::Unionmap),
        ("unix", TableType::Unix),
    ];

    /// The kind of this name.
    pub fn named(name: &str) -> Option<TableType> {
        TableType::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, kind)| kind)
    }

    /// As a configuration writes it.
    pub fn word(self) -> &'static str {
        TableType::ALL.into_iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }
}

/// A table as a configuration names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TableSpec {
    /// What kind it is.
    pub kind: TableType,
    /// What follows the first colon: a file, an address, or the table's own content (`inline`, `static`, `unionmap`).
    pub name: String,
}

impl TableSpec {
    /// Reads `type:name`; a text without a type is of `default_type` (`default_database_type`).
    ///
    /// # Errors
    /// The type is not known; in one sentence.
    pub fn parse(text: &str, default_type: TableType) -> Result<TableSpec, String> {
        let (kind, name) = match text.split_once(':') {
            Some((kind, name)) => match TableType::named(kind) {
                Some(kind) => (kind, name),
                None => return Err(format!("unsupported dictionary type: {kind}")),
            },
            None => (default_type, text),
        };
        if name.is_empty() {
            return Err(format!("{text}: the table has no name"));
        }
        Ok(TableSpec { kind, name: name.into() })
    }

    /// Whether the table is searched by pattern and wants whole keys only: partial keys (a domain, a local part, parent
    /// domains) are not looked up in it.
    pub fn is_pattern(&self) -> bool {
        match self.kind {
            TableType::Regexp | TableType::Pcre | TableType::Cidr | TableType::Tcp | TableType::Randmap => {
                true
            }
            TableType::Unionmap | TableType::Pipemap => self.members().iter().any(TableSpec::is_pattern),
            TableType::Proxy => {
                TableSpec::parse(&self.name, TableType::Hash).is_ok_and(|inner| inner.is_pattern())
            }
            _ => false,
        }
    }

    /// The tables inside a `unionmap:{…}` or `pipemap:{…}`; those that are no tables are left out, whoever opens the
    /// table tells of them.
    pub fn members(&self) -> Vec<TableSpec> {
        let inside = self.name.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let elements = inside.map(crate::config::split_list).unwrap_or_default();
        elements.into_iter().filter_map(|text| TableSpec::parse(text, TableType::Hash).ok()).collect()
    }
}

impl fmt::Display for TableSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.word(), self.name)
    }
}

/// The tables that a configuration names, each once.
#[derive(Debug, Clone, Default)]
pub struct TableRegistry {
    specs: Vec<TableSpec>,
    ids: HashMap<TableSpec, TableId>,
}

impl TableRegistry {
    /// The table's id; the same for the same table.
    pub fn register(&mut self, spec: TableSpec) -> TableId {
        let next = TableId(u32::try_from(self.specs.len()).expect("a configuration names few tables"));
        *self.ids.entry(spec).or_insert_with_key(|spec| {
            self.specs.push(spec.clone());
            next
        })
    }

    /// The id of a table that is known already.
    pub fn id(&self, spec: &TableSpec) -> Option<TableId> {
        self.ids.get(spec).copied()
    }

    /// Every table, by its id.
    pub fn specs(&self) -> &[TableSpec] {
        &self.specs
    }
}

/// No tables at all: for configurations and tests without any.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTables;

impl Tables for NoTables {
    async fn lookup(&self, table: TableId, _key: &str) -> Found {
        Err(LookupTrouble {
            table: format!("table {}", table.0).into(),
            reason: "there are no tables here".into(),
        })
    }
}

/// Tables of a test: exact keys, each table by its id.
#[derive(Debug, Clone, Default)]
pub struct MemoryTables {
    tables: HashMap<TableId, HashMap<String, Result<String, String>>>,
}

impl MemoryTables {
    /// Puts an entry into a table.
    pub fn put(&mut self, table: TableId, key: &str, value: &str) {
        self.tables.entry(table).or_default().insert(key.into(), Ok(value.into()));
    }

    /// Lets a key of a table give trouble.
    pub fn put_trouble(&mut self, table: TableId, key: &str, reason: &str) {
        self.tables.entry(table).or_default().insert(key.into(), Err(reason.into()));
    }
}

impl Tables for MemoryTables {
    async fn lookup(&self, table: TableId, key: &str) -> Found {
        match self.tables.get(&table).and_then(|entries| entries.get(&key.to_ascii_lowercase())) {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some(value.as_str().into())),
            Some(Err(reason)) => Err(LookupTrouble {
                table: format!("test:{}", table.0).into(),
                reason: reason.as_str().into(),
            }),
        }
    }
}

/// Polls a future once: its result, if it needs nothing that is yet to come. For tests, and for a caller that goes
/// another way when it would have to wait.
pub fn at_once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> TableSpec {
        TableSpec::parse(text, TableType::Hash).unwrap()
    }

    #[test]
    fn a_table_is_a_type_and_a_name() {
        assert_eq!(spec("cidr:/etc/x").to_string(), "cidr:/etc/x");
        assert_eq!(spec("/etc/x").kind, TableType::Hash);
        assert_eq!(spec("inline:{a=b:c}").name, "{a=b:c}");
        assert_eq!(
            TableSpec::parse("nonsense:/x", TableType::Hash),
            Err("unsupported dictionary type: nonsense".into())
        );
        assert!(TableSpec::parse("hash:", TableType::Hash).is_err());
    }

    #[test]
    fn patterns_are_known_by_their_kind() {
        assert!(spec("regexp:/x").is_pattern() && spec("proxy:pcre:/x").is_pattern());
        assert!(spec("unionmap:{static:x,cidr:/y}").is_pattern());
        assert!(!spec("pipemap:{hash:/x,static:y}").is_pattern() && !spec("static:x").is_pattern());
    }

    #[test]
    fn a_registry_knows_each_table_once() {
        let mut registry = TableRegistry::default();
        let first = registry.register(spec("hash:/a"));
        let second = registry.register(spec("hash:/b"));
        assert_ne!(first, second);
        assert_eq!(registry.register(spec("/a")), first);
        assert_eq!(registry.id(&spec("hash:/b")), Some(second));
        assert_eq!(registry.specs().len(), 2);
    }
}
