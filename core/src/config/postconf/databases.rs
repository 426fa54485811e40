//! Lookup tables of database clients, whose parameters may stand in `main.cf` as `NAME_parameter`.

/// One kind of client and its parameters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Database {
    /// The table's type.
    pub kind: &'static str,
    /// The names of its parameters.
    pub suffixes: &'static [&'static str],
}

const DATABASES: [Database; 5] = [
    Database {
        kind: "ldap",
        suffixes: &[
            "bind",
            "bind_dn",
            "bind_pw",
            "cache",
            "cache_expiry",
            "cache_size",
            "chase_referrals",
            "debuglevel",
            "dereference",
            "domain",
            "expansion_limit",
            "leaf_result_attribute",
            "query_filter",
            "recursion_limit",
            "result_attribute",
            "result_filter",
            "result_format",
            "sasl_authz_id",
            "sasl_mechs",
            "sasl_minssf",
            "sasl_realm",
            "scope",
            "search_base",
            "server_host",
            "server_port",
            "size_limit",
            "special_result_attribute",
            "start_tls",
            "terminal_result_attribute",
            "timeout",
            "tls_ca_cert_dir",
            "tls_ca_cert_file",
            "tls_cert",
            "tls_cipher_suite",
            "tls_key",
            "tls_random_file",
            "tls_require_cert",
            "version",
        ],
    },
    Database {
        kind: "mysql",
        suffixes: &[
            "additional_conditions",
            "dbname",
            "domain",
            "expansion_limit",
            "hosts",
            "option_file",
            "option_group",
            "password",
            "query",
            "require_result_set",
            "result_format",
            "select_field",
            "table",
            "tls_CAfile",
            "tls_CApath",
            "tls_cert_file",
            "tls_ciphers",
            "tls_key_file",
            "tls_verify_cert",
            "user",
            "where_field",
        ],
    },
    Database {
        kind: "pgsql",
        suffixes: &[
            "additional_conditions",
            "dbname",
            "domain",
            "expansion_limit",
            "hosts",
            "password",
            "query",
            "result_format",
            "select_field",
            "select_function",
            "table",
            "user",
            "where_field",
        ],
    },
    Database {
        kind: "sqlite",
        suffixes: &[
            "additional_conditions",
            "dbpath",
            "domain",
            "expansion_limit",
            "query",
            "result_format",
            "select_field",
            "table",
            "where_field",
        ],
    },
    Database {
        kind: "memcache",
        suffixes: &[
            "backup",
            "data_size_limit",
            "domain",
            "flags",
            "key_format",
            "line_size_limit",
            "max_try",
            "memcache",
            "retry_pause",
            "timeout",
            "ttl",
        ],
    },
];

/// Braces nest at most so deep in a list of tables that anybody writes.
const NESTING_MAX: usize = 20;

/// Gives the database tables that a value names, through `proxy:` and within braces too.
pub(super) fn tables(value: &str, each: &mut dyn FnMut(Database, &str)) {
    tables_within(value, 0, each);
}

fn tables_within(value: &str, depth: usize, each: &mut dyn FnMut(Database, &str)) {
    if depth > NESTING_MAX {
        return;
    }
    for element in crate::config::value::split_list(value) {
        let mut element = element;
        while let Some(inner) = element.strip_prefix("proxy:") {
            element = inner;
        }
        let Some((kind, name)) = element.split_once(':') else { continue };
        let found = DATABASES.into_iter().find(|database| database.kind == kind && !name.is_empty());
        if let Some(database) = found {
            each(database, name);
        } else if element.contains([' ', '\t', ',', '{']) {
            let inside = name.strip_prefix('{').and_then(|name| name.strip_suffix('}')).unwrap_or(element);
            if inside.len() < value.len() {
                tables_within(inside, depth + 1, each);
            }
        }
    }
}
