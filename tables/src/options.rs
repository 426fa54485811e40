//! options: what the configuration says of all tables.

use ringpost_core::config::View;
use ringpost_core::lookup::TableType;

/// What opening a table depends on besides its own name.
#[derive(Debug, Clone)]
pub struct TableOptions {
    /// `default_database_type`: of a table within a table that names no type.
    pub default_type: TableType,
    /// Keys of tables that are not patterns are compared in lower case.
    pub fold: bool,
    /// Values in text are names of files; the table holds these files' content in base64 (`postmap -F`, and tables of
    /// private keys).
    pub values_are_files: bool,
}

impl Default for TableOptions {
    fn default() -> TableOptions {
        TableOptions { default_type: TableType::Hash, fold: true, values_are_files: false }
    }
}

impl TableOptions {
    /// As a configuration says.
    pub fn of(view: &View<'_>) -> TableOptions {
        TableOptions { default_type: view.default_table_type(), ..TableOptions::default() }
    }
}
