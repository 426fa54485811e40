//! `pgsql:/file.cf`: PostgreSQL.
//!
//! Owns:     the connections, each with a runtime of its own for the client library, on the thread that asks.
//! Limits:   the time limit of all lookups, from the connection to the last row. On failure: see [`super::hosts`].
//! Standards: Postfix's pgsql_table(5). Connections are not encrypted; a URI that asks for it is refused.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::StreamExt;
use ringpost_core::lookup::{Found, TableSpec};
use tokio::runtime::Runtime;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config as ServerConfig, Error, NoTls, SimpleQueryMessage};

use super::hosts::{Failure, Held, Hosts};
use super::source::{Frame, Settings, Values};
use super::sql::{Query, double_apostrophes, double_backslashes_too};
use super::wire::{Deadline, Endpoint};
use super::{Backend, Connector, SERVER_CONNECTIONS_MAX};
use crate::notes::Notes;
use crate::options::TableOptions;
use crate::table::trouble;

const SETTINGS: &[&str] = &["hosts", "user", "password", "dbname", "encoding"];
const PORT: u16 = 5432;

struct Config {
    spec: TableSpec,
    hosts: Hosts<ServerConfig>,
    query: Query,
    limit: Duration,
}

struct Pgsql {
    config: Arc<Config>,
    /// Made when it is needed first.
    runtime: Option<Runtime>,
    held: Held<Connection>,
}

struct Connection {
    client: Client,
    /// Backslashes in strings are plain characters.
    conforming: bool,
}

/// How to ask such a table.
pub(super) fn open(spec: &TableSpec, options: &TableOptions, notes: &Notes) -> Result<Connector, String> {
    let settings = Settings::read(spec, &[SETTINGS, Query::SETTINGS, Frame::SETTINGS], &[], notes)?;
    if !matches!(&*settings.text_or("encoding", "UTF8").to_ascii_uppercase(), "UTF8" | "UTF-8") {
        return Err(settings.wrong("encoding", "UTF8"));
    }
    let hosts = settings.list("hosts", "localhost");
    let hosts = hosts.iter().map(|host| server(host, &settings)).collect::<Result<Vec<_>, _>>()?;
    let config = Arc::new(Config {
        spec: spec.clone(),
        hosts: Hosts::new(hosts, true),
        query: Query::of(&settings, options)?,
        limit: options.time_limit,
    });
    Ok(Connector::of(SERVER_CONNECTIONS_MAX, move || Pgsql {
        config: config.clone(),
        runtime: None,
        held: Held::none(),
    }))
}

/// One of `hosts`: `unix:/directory`, `unix:/directory/.s.PGSQL.port`, `inet:host:port`, `host:port`, or a URI.
fn server(host: &str, settings: &Settings) -> Result<ServerConfig, String> {
    let mut server = if host.starts_with("postgresql://") || host.starts_with("postgres://") {
        // The error of the library could repeat the URI, which may hold a password.
        let server: ServerConfig =
            host.parse().map_err(|_| settings.wrong("hosts", "a PostgreSQL URI that can be read"))?;
        if !matches!(server.get_ssl_mode(), SslMode::Disable | SslMode::Prefer) {
            return Err(settings.about("hosts", "encrypted connections (sslmode) are not served"));
        }
        server
    } else {
        let mut server = ServerConfig::new();
        match Endpoint::parse(host, Some(PORT))? {
            Endpoint::Inet { host, port } => server.host(host).port(port),
            Endpoint::Unix(path) => {
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                let port = name.strip_prefix(".s.PGSQL.").and_then(|port| port.parse().ok());
                match (port, path.parent()) {
                    (Some(port), Some(directory)) => server.host_path(directory).port(port),
                    _ => server.host_path(&path).port(PORT),
                }
            }
        };
        server
    };
    let unset = |own: Option<&str>, name| match own {
        Some(_) => None,
        None => settings.text(name).map(str::to_owned),
    };
    if let Some(user) = unset(server.get_user(), "user") {
        server.user(user);
    }
    if let Some(name) = unset(server.get_dbname(), "dbname") {
        server.dbname(name);
    }
    if let (None, Some(password)) = (server.get_password(), settings.text("password")) {
        server.password(password);
    }
    server.application_name("ringpost");
    Ok(server)
}

impl Backend for Pgsql {
    fn lookup(&mut self, key: &str) -> Found {
        let config = self.config.clone();
        let runtime = match &self.runtime {
            Some(runtime) => runtime,
            None => match tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build() {
                Ok(runtime) => self.runtime.insert(runtime),
                Err(error) => return Err(trouble(&config.spec, error)),
            },
        };
        let held = &mut self.held;
        let found = config.query.find(key, |make, values| {
            let deadline = Deadline::after(config.limit);
            let connect = |server: &ServerConfig| {
                within(runtime, deadline, connect(server)).and_then(|connected| connected.map_err(words))
            };
            config.hosts.ask(held, connect, |connection| {
                let quote = if connection.conforming { double_apostrophes } else { double_backslashes_too };
                let Some(query) = make(quote) else { return Ok(()) };
                within(runtime, deadline, run(&connection.client, &query, values))
                    .unwrap_or_else(|reason| Err(Failure::Broken(reason)))
            })
        });
        found.map_err(|reason| trouble(&config.spec, reason))
    }
}

fn within<F: Future>(runtime: &Runtime, deadline: Deadline, work: F) -> Result<F::Output, String> {
    let left = deadline.left().map_err(|error| super::wire::words(&error))?;
    runtime
        .block_on(async { tokio::time::timeout(left, work).await })
        .map_err(|_| "the time limit is over".to_owned())
}

async fn connect(server: &ServerConfig) -> Result<Connection, Error> {
    let (client, connection) = server.connect(NoTls).await?;
    let conforming = connection.parameter("standard_conforming_strings") != Some("off");
    // It runs while this thread waits for an answer, and ends with the client.
    tokio::spawn(connection);
    Ok(Connection { client, conforming })
}

async fn run(client: &Client, query: &str, values: &mut Values<'_>) -> Result<(), Failure> {
    let failure = |error: Error| match error.is_closed() || error.as_db_error().is_none() {
        true => Failure::Broken(words(error)),
        false => Failure::Refused(words(error)),
    };
    let mut messages = pin!(client.simple_query_raw(query).await.map_err(failure)?);
    while let Some(message) = messages.next().await {
        if let SimpleQueryMessage::Row(row) = message.map_err(failure)? {
            for value in (0..row.len()).filter_map(|column| row.get(column)) {
                values.take(value).map_err(Failure::Refused)?;
            }
        }
    }
    Ok(())
}

/// What the server says, or the library; never the query, which has the key in it.
fn words(error: Error) -> String {
    match error.as_db_error() {
        Some(said) => said.message().to_owned(),
        None => {
            let mut text = error.to_string();
            if let Some(source) = std::error::Error::source(&error) {
                text += &format!(": {source}");
            }
            text.split(" (os error").next().unwrap_or_default().to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::scratch::{Fake, Guest, Scratch, hear, say, say_without_end, wait_for_end};
    use ringpost_core::lookup::TableType;

    fn table(hosts: &str, more: &str, seconds: u64) -> Result<Box<dyn Backend>, String> {
        let content = format!(
            "hosts = {hosts}\nuser = mail\npassword = hunter2\ndbname = d\nquery = SELECT '%s'\n{more}"
        );
        let file = Scratch::file("pgsql.cf", &content);
        let limit = Duration::from_secs(seconds);
        let options = TableOptions { time_limit: limit, ..TableOptions::default() };
        Ok((open(&file.spec(TableType::Pgsql), &options, &Notes::default())?.connect)())
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[kind][..], &length.to_be_bytes(), body].concat()
    }

    /// Lets the client in without a password.
    fn welcome(guest: &mut Guest, conforming: &str) {
        let length = u32::from_be_bytes(hear(guest, 4).try_into().unwrap());
        hear(guest, length as usize - 4);
        say(guest, message(b'R', &[0; 4]));
        say(guest, message(b'S', format!("standard_conforming_strings\0{conforming}\0").as_bytes()));
        say(guest, message(b'Z', b"I"));
    }

    fn hear_query(guest: &mut Guest) -> String {
        assert_eq!(hear(guest, 1), b"Q");
        let length = u32::from_be_bytes(hear(guest, 4).try_into().unwrap());
        String::from_utf8(hear(guest, length as usize - 4)).unwrap().trim_end_matches('\0').to_owned()
    }

    fn row(value: &str) -> Vec<u8> {
        let length = u32::try_from(value.len()).unwrap().to_be_bytes();
        message(b'D', &[&[0, 1][..], &length, value.as_bytes()].concat())
    }

    /// One column named `v`, of text.
    const COLUMN: &[u8] = b"\0\x01v\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";

    fn done(guest: &mut Guest) {
        say(guest, message(b'C', b"SELECT 1\0"));
        say(guest, message(b'Z', b"I"));
    }

    #[test]
    fn rows_are_joined_and_keys_quoted_as_the_server_reads_them() {
        for (conforming, expect) in [("on", "SELECT 'o''x\\'"), ("off", "SELECT 'o''x\\\\'")] {
            let server = Fake::once(move |guest| {
                welcome(guest, conforming);
                assert_eq!(hear_query(guest), expect);
                say(guest, message(b'T', COLUMN));
                say(guest, row("a"));
                say(guest, row("b"));
                done(guest);
                hear_query(guest);
                say(guest, message(b'E', b"SERROR\0C42601\0Msyntax error\0\0"));
                say(guest, message(b'Z', b"I"));
                hear_query(guest);
                say(guest, message(b'T', COLUMN));
                done(guest);
            });
            let mut table = table(&format!("127.0.0.1:{}", server.port), "", 20).unwrap();
            assert_eq!(table.lookup("o'x\\").unwrap().as_deref(), Some("a,b"));
            assert_eq!(&*table.lookup("k").unwrap_err().reason, "syntax error");
            assert_eq!(table.lookup("k"), Ok(None), "the connection is still good");
            drop(table);
            server.end();
        }
    }

    #[test]
    fn servers_that_hang_babble_or_refuse_are_trouble() {
        type Script = fn(&mut Guest);
        let scripts: [(Script, u64); 4] = [
            (wait_for_end, 1),
            (|guest| say(guest, "HTTP/1.1 400 Bad Request\r\n\r\n"), 2),
            (
                |guest| {
                    welcome(guest, "on");
                    hear_query(guest);
                    say(guest, message(b'T', COLUMN));
                    say_without_end(guest, &row(&"x".repeat(10_000)));
                },
                20,
            ),
            (|guest| say(guest, message(b'E', b"SFATAL\0C28P01\0Mpassword authentication failed\0\0")), 20),
        ];
        for (index, (script, seconds)) in scripts.into_iter().enumerate() {
            let server = Fake::once(script);
            let mut table = table(&format!("inet:127.0.0.1:{}", server.port), "", seconds).unwrap();
            let trouble = table.lookup("k").unwrap_err();
            assert!(!trouble.to_string().contains("hunter2"), "script {index}: {trouble}");
            drop(table);
            server.end();
        }
    }

    #[test]
    fn hosts_are_read_in_every_form() {
        let good = "unix:/run/postgresql unix:/tmp/.s.PGSQL.5433 inet:[::1]:5432 db postgresql://u:p@h:1/d";
        assert!(table(good, "", 1).is_ok());
        assert!(table("postgresql://u@h/d?sslmode=prefer", "", 1).is_ok(), "as libpq, without if need be");
        for bad in [
            "postgresql://u:hunter2@h:x/d",
            "postgresql://u:hunter2@h/d?sslmode=require",
            "postgresql://u:hunter2@h/d?sslmode=verify-full",
            "inet:h:0",
        ] {
            let reason = table(bad, "", 1).map(|_| ()).unwrap_err();
            assert!(!reason.contains("hunter2"), "{reason}");
        }
        assert!(table("h", "encoding = LATIN1\n", 1).is_err());
    }
}
