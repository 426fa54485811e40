//! options: what the configuration says of all tables.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use ringpost_core::config::{View, names};
use ringpost_core::lookup::TableType;

/// What opening a table depends on besides its own name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableOptions {
    /// `default_database_type`: of a table within a table that names no type.
    pub default_type: TableType,
    /// Keys of tables that are not patterns are compared in lower case.
    pub fold: bool,
    /// Values in text are names of files; the table holds these files' content in base64 (`postmap -F`, and tables of
    /// private keys).
    pub values_are_files: bool,
    /// `proxy_read_maps`: the tables, as `type:name`, that `proxy:` may stand before.
    pub proxy_read: Arc<HashSet<String>>,
    /// `proxy_write_maps`: the same for tables that are written.
    pub proxy_write: Arc<HashSet<String>>,
    /// `ringpost_lookup_time_limit`: the longest wait for a server, where the table's own file says nothing else.
    pub time_limit: Duration,
}

impl Default for TableOptions {
    fn default() -> TableOptions {
        TableOptions {
            default_type: TableType::Hash,
            fold: true,
            values_are_files: false,
            proxy_read: Arc::default(),
            proxy_write: Arc::default(),
            time_limit: Duration::from_secs(100),
        }
    }
}

impl TableOptions {
    /// As a configuration says.
    pub fn of(view: &View<'_>) -> TableOptions {
        TableOptions {
            default_type: view.default_table_type(),
            proxy_read: Arc::new(proxied(&view.list(names::PROXY_READ_MAPS))),
            proxy_write: Arc::new(proxied(&view.list(names::PROXY_WRITE_MAPS))),
            time_limit: view.time(names::RINGPOST_LOOKUP_TIME_LIMIT),
            ..TableOptions::default()
        }
    }
}

/// The proxied tables of a list, without `proxy:`; what else it names is not served by proxy.
fn proxied(list: &[String]) -> HashSet<String> {
    list.iter().filter_map(|element| element.strip_prefix("proxy:")).map(str::to_owned).collect()
}
