//! `mysql:/file.cf`: MySQL and MariaDB.
//!
//! Limits:   the time limit of all lookups, for the connection and for each read from it. On failure: see
//!           [`super::hosts`]. Standards: Postfix's mysql_table(5). Connections are not encrypted.

use std::sync::Arc;
use std::time::Duration;

use ::mysql::prelude::Queryable;
use ::mysql::{Conn, Error, OptsBuilder, Value};
use ringpost_core::lookup::{Found, TableSpec};

use super::hosts::{Failure, Held, Hosts};
use super::source::{ANSWER_BYTES_MAX, Frame, Settings, Values, text_of};
use super::sql::{Query, double_apostrophes, escape_by_backslash};
use super::wire::{self, Endpoint};
use super::{Backend, Connector, SERVER_CONNECTIONS_MAX};
use crate::notes::Notes;
use crate::options::TableOptions;
use crate::table::trouble;

const SETTINGS: &[&str] = &["hosts", "user", "password", "dbname", "require_result_set"];
/// The client library's own file has nothing that is not here.
const WITHOUT_EFFECT: &[&str] = &["option_file", "option_group"];
const PROTECTION: &[&str] =
    &["tls_cert_file", "tls_key_file", "tls_CAfile", "tls_CApath", "tls_ciphers", "tls_verify_cert"];
const PORT: u16 = 3306;
/// Where the client library of Debian finds the server of `localhost`.
const LOCAL_SOCKET: &str = "/run/mysqld/mysqld.sock";

struct Config {
    spec: TableSpec,
    hosts: Hosts<OptsBuilder>,
    query: Query,
    require_result_set: bool,
}

struct Mysql {
    config: Arc<Config>,
    held: Held<Conn>,
}

/// How to ask such a table.
pub(super) fn open(spec: &TableSpec, options: &TableOptions, notes: &Notes) -> Result<Connector, String> {
    let known = &[SETTINGS, PROTECTION, Query::SETTINGS, Frame::SETTINGS];
    let settings = Settings::read(spec, known, WITHOUT_EFFECT, notes)?;
    settings.refuse(PROTECTION)?;
    let mut hosts = settings.list("hosts", "localhost");
    // Sockets of this host first.
    hosts.sort_by_key(|host| !host.starts_with("unix:"));
    let server = |host: &String| server(host, &settings, options.time_limit);
    let hosts = hosts.iter().map(server).collect::<Result<Vec<_>, _>>()?;
    let config = Arc::new(Config {
        spec: spec.clone(),
        hosts: Hosts::new(hosts, true),
        query: Query::of(&settings, options)?,
        require_result_set: settings.flag("require_result_set", true)?,
    });
    Ok(Connector::of(SERVER_CONNECTIONS_MAX, move || Mysql { config: config.clone(), held: Held::none() }))
}

fn server(host: &str, settings: &Settings, limit: Duration) -> Result<OptsBuilder, String> {
    let endpoint = match host {
        "localhost" if std::path::Path::new(LOCAL_SOCKET).exists() => Endpoint::Unix(LOCAL_SOCKET.into()),
        _ => Endpoint::parse(host, Some(PORT))?,
    };
    let server = OptsBuilder::new()
        .user(settings.text("user"))
        .pass(settings.text("password"))
        .db_name(settings.text("dbname"))
        .tcp_connect_timeout(Some(limit))
        .read_timeout(Some(limit))
        .write_timeout(Some(limit))
        .max_allowed_packet(Some(2 * ANSWER_BYTES_MAX))
        .stmt_cache_size(0_usize)
        // A server that is asked over TCP says where its socket is; it may be on another host.
        .prefer_socket(false);
    match endpoint {
        Endpoint::Inet { host, port } => Ok(server.ip_or_hostname(Some(host)).tcp_port(port)),
        Endpoint::Unix(path) => {
            let path = path.to_str().ok_or_else(|| settings.wrong("hosts", "a path in UTF-8"))?;
            Ok(server.socket(Some(path)))
        }
    }
}

impl Backend for Mysql {
    fn lookup(&mut self, key: &str) -> Found {
        let config = self.config.clone();
        let held = &mut self.held;
        let found = config.query.find(key, |make, values| {
            let connect = |server: &OptsBuilder| Conn::new(server.clone()).map_err(words);
            config.hosts.ask(held, connect, |connection| {
                let quote = match connection.no_backslash_escape() {
                    true => double_apostrophes,
                    false => escape_by_backslash,
                };
                match make(quote) {
                    Some(query) => run(connection, &query, config.require_result_set, values),
                    None => Ok(()),
                }
            })
        });
        found.map_err(|reason| trouble(&config.spec, reason))
    }
}

fn run(
    connection: &mut Conn,
    query: &str,
    require_result_set: bool,
    values: &mut Values<'_>,
) -> Result<(), Failure> {
    let mut sets = connection.query_iter(query).map_err(failure)?;
    let mut answered = false;
    // A procedure's own end is a set without columns.
    while let Some(set) = sets.iter() {
        if set.columns().as_ref().is_empty() {
            continue;
        }
        if std::mem::replace(&mut answered, true) {
            return Err(Failure::Refused("the query gives more than one set of rows".to_owned()));
        }
        for row in set {
            for value in row.map_err(failure)?.unwrap() {
                let text = match value {
                    Value::NULL => continue,
                    Value::Bytes(bytes) => text_of(bytes).map_err(Failure::Refused)?,
                    other => other.as_sql(true).into(),
                };
                values.take(&text).map_err(Failure::Refused)?;
            }
        }
    }
    match answered || !require_result_set {
        true => Ok(()),
        false => Err(Failure::Refused("the query gives no rows (require_result_set)".to_owned())),
    }
}

fn failure(error: Error) -> Failure {
    match error {
        Error::MySqlError(said) => Failure::Refused(said.message),
        error => Failure::Broken(words(error)),
    }
}

fn words(error: Error) -> String {
    match error {
        Error::MySqlError(said) => said.message,
        Error::IoError(error) => wire::words(&error),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::scratch::{Fake, Guest, Scratch, hear, say, say_without_end, wait_for_end};
    use ringpost_core::lookup::TableType;
    use std::time::Instant;

    fn table(hosts: &str, more: &str, limit: Duration) -> Result<Box<dyn Backend>, String> {
        let content = format!(
            "hosts = {hosts}\nuser = mail\npassword = hunter2\ndbname = d\nquery = SELECT '%s'\n{more}"
        );
        let file = Scratch::file("mysql.cf", &content);
        let options = TableOptions { time_limit: limit, ..TableOptions::default() };
        Ok((open(&file.spec(TableType::Mysql), &options, &Notes::default())?.connect)())
    }

    fn packet(number: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap().to_le_bytes();
        [&length[..3], &[number], body].concat()
    }

    fn greeting() -> Vec<u8> {
        let mut body = b"\x0a5.7.0\0\x01\0\0\0abcdefgh\0".to_vec();
        body.extend(b"\x09\xa2\x21\x02\0\x08\0\x15");
        body.extend([0; 10]);
        body.extend(b"ijklmnopqrst\0mysql_native_password\0");
        packet(0, &body)
    }

    fn hear_packet(guest: &mut Guest) {
        let head = hear(guest, 4);
        hear(guest, usize::from(head[0]) | usize::from(head[1]) << 8);
    }

    #[test]
    fn servers_that_refuse_babble_hang_or_never_end_are_trouble() {
        let scripts: [fn(&mut Guest); 6] = [
            wait_for_end,
            |guest| say(guest, "HTTP/1.1 400 Bad Request\r\n\r\n"),
            |guest| say(guest, packet(0, b"\x0a")),
            |guest| say_without_end(guest, &packet(0, &[0x0a; 1000])),
            |guest| {
                say(guest, greeting());
                hear_packet(guest);
                say(guest, packet(2, b"\xff\x15\x04#28000Access denied for user"));
            },
            |guest| {
                say(guest, greeting());
                hear_packet(guest);
                say(guest, packet(2, b"\xfe"));
            },
        ];
        for (index, script) in scripts.into_iter().enumerate() {
            let server = Fake::once(script);
            let begun = Instant::now();
            let hosts = format!("127.0.0.1:{}", server.port);
            let mut table = table(&hosts, "", Duration::from_secs(1)).unwrap();
            let trouble = table.lookup("k").unwrap_err();
            assert!(!trouble.to_string().contains("hunter2"), "script {index}: {trouble}");
            assert_eq!(trouble.reason.contains("Access denied"), index == 4, "script {index}: {trouble}");
            assert!(begun.elapsed() < Duration::from_secs(15), "script {index}");
            drop(table);
            server.end();
        }
    }

    #[test]
    fn protection_that_is_not_served_is_refused() {
        let open = |more| table("h", more, Duration::from_secs(1)).map(|_| ());
        assert!(open("option_group = client\ntls_verify_cert = no\n").is_ok());
        assert!(open("tls_CAfile = /etc/ca.pem\n").is_err_and(|reason| reason.contains("tls_CAfile")));
        assert!(table("unix: h", "", Duration::from_secs(1)).is_err());
    }
}
