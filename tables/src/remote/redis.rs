//! `redis:/file.cf`: a string of a Redis server for each key. Postfix has no such table.
//!
//! ```text
//! hosts = inet:127.0.0.1:6379      user =      password =      dbname = 0
//! key_format = mail:%s             hash =      timeout = 5
//! domain, result_format, expansion_limit: as for databases
//! ```
//!
//! Limits: [`ANSWER_BYTES_MAX`]; `timeout` for a lookup.
//! Standards: the Redis serialisation protocol, version 2. Few lines of it are needed, and bounding each read wants the
//! socket in our hands; a client crate would bring thirty others.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ringpost_core::lookup::{Found, TableSpec};

use super::hosts::{Failure, Held, Hosts};
use super::source::{ANSWER_BYTES_MAX, Frame, Settings, text_of};
use super::template::Template;
use super::wire::{Deadline, Endpoint, Wire, nonsense, words};
use super::{Backend, Connector, SERVER_CONNECTIONS_MAX};
use crate::notes::Notes;
use crate::options::TableOptions;
use crate::table::trouble;

const SETTINGS: &[&str] = &["hosts", "user", "password", "dbname", "key_format", "hash", "timeout"];

/// The longest line of a reply: status, error, or length.
const LINE_BYTES_MAX: usize = 1024;

struct Config {
    spec: TableSpec,
    hosts: Hosts<Endpoint>,
    /// What is said on a new connection: AUTH and SELECT.
    greeting: Vec<Vec<u8>>,
    /// The hash whose fields are the keys; none for plain keys.
    hash: Option<String>,
    key_format: Template,
    frame: Frame,
    limit: Duration,
}

struct Redis {
    config: Arc<Config>,
    held: Held<Wire>,
}

/// How to ask such a table.
pub(super) fn open(spec: &TableSpec, options: &TableOptions, notes: &Notes) -> Result<Connector, String> {
    let settings = Settings::read(spec, &[SETTINGS, Frame::SETTINGS], &[], notes)?;
    let hosts = settings.list("hosts", "inet:localhost:6379");
    let hosts = hosts.iter().map(|host| Endpoint::parse(host, Some(6379))).collect::<Result<Vec<_>, _>>()?;
    let mut greeting = Vec::new();
    match (settings.text_or("user", ""), settings.text_or("password", "")) {
        ("", "") => {}
        ("", password) => greeting.push(command(&["AUTH", password])),
        (user, password) => greeting.push(command(&["AUTH", user, password])),
    }
    match settings.number("dbname", 0, 0..=65_535)? {
        0 => {}
        number => greeting.push(command(&["SELECT", &number.to_string()])),
    }
    let hash = settings.text_or("hash", "");
    let config = Arc::new(Config {
        spec: spec.clone(),
        hosts: Hosts::new(hosts, false),
        greeting,
        hash: (!hash.is_empty()).then(|| hash.to_owned()),
        key_format: settings.template("key_format", "%s")?,
        frame: Frame::of(&settings, options)?,
        limit: settings.seconds("timeout", 5)?,
    });
    Ok(Connector::of(SERVER_CONNECTIONS_MAX, move || Redis { config: config.clone(), held: Held::none() }))
}

impl Backend for Redis {
    fn lookup(&mut self, key: &str) -> Found {
        let config = self.config.clone();
        self.find(&config, key).map_err(|reason| trouble(&config.spec, reason))
    }
}

impl Redis {
    fn find(&mut self, config: &Config, key: &str) -> Result<Option<Box<str>>, String> {
        let Some(key) = config.frame.key(key)? else { return Ok(None) };
        let Some(name) = config.key_format.query(&key, |part, out| out.push_str(part)) else {
            return Ok(None);
        };
        let request = match &config.hash {
            Some(hash) => command(&["HGET", hash, &name]),
            None => command(&["GET", &name]),
        };
        let deadline = Deadline::after(config.limit);
        let connect = |host: &Endpoint| {
            let mut wire = Wire::open(host, deadline).map_err(|error| words(&error))?;
            for line in &config.greeting {
                match exchange(&mut wire, line, deadline).map_err(|error| words(&error))? {
                    Reply::Text(text) if text == b"OK" => {}
                    Reply::Error(text) => return Err(text),
                    _ => return Err("the server greets with nonsense".to_owned()),
                }
            }
            Ok(wire)
        };
        let value = config.hosts.ask(&mut self.held, connect, |wire| {
            if !wire.is_quiet() {
                return Err(Failure::Broken("the server closed the connection".to_owned()));
            }
            match exchange(wire, &request, deadline) {
                Ok(Reply::Text(value)) => Ok(Some(value)),
                Ok(Reply::Nothing) => Ok(None),
                Ok(Reply::Error(text)) => Err(Failure::Refused(text)),
                Err(error) => Err(Failure::Broken(words(&error))),
            }
        })?;
        let Some(value) = value else { return Ok(None) };
        let mut values = config.frame.values(&key);
        values.take(&text_of(value)?)?;
        Ok(values.end())
    }
}

/// A request: an array of strings, each with its length, so that no key can be a command.
fn command(parts: &[&str]) -> Vec<u8> {
    let mut request = format!("*{}\r\n", parts.len());
    for part in parts {
        request += &format!("${}\r\n{part}\r\n", part.len());
    }
    request.into_bytes()
}

enum Reply {
    Text(Vec<u8>),
    Nothing,
    Error(String),
}

fn exchange(wire: &mut Wire, request: &[u8], deadline: Deadline) -> io::Result<Reply> {
    wire.send(request, deadline)?;
    let line = wire.crlf_line(LINE_BYTES_MAX, deadline)?;
    match line.split_first() {
        Some((b'+', text)) => Ok(Reply::Text(text.to_vec())),
        Some((b'-', text)) => Ok(Reply::Error(format!("the server says: {}", text.escape_ascii()))),
        Some((b'$', b"-1")) => Ok(Reply::Nothing),
        Some((b'$', length)) => {
            let length = std::str::from_utf8(length).ok().and_then(|text| text.parse::<usize>().ok());
            match length.filter(|&length| length <= ANSWER_BYTES_MAX) {
                Some(length) => {
                    let value = wire.exactly(length, deadline)?;
                    match &*wire.exactly(2, deadline)? {
                        b"\r\n" => Ok(Reply::Text(value)),
                        _ => Err(nonsense("a value that is longer than was said")),
                    }
                }
                None => Err(nonsense("a value without a length, or a longer one than is accepted")),
            }
        }
        _ => Err(nonsense("a reply that is no string")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::scratch::{Fake, Guest, Scratch, hear, say, say_without_end, wait_for_end};
    use ringpost_core::lookup::TableType;

    fn table(server: &Fake, more: &str) -> Box<dyn Backend> {
        let content = format!("hosts = inet:127.0.0.1:{}\n{more}", server.port);
        let file = Scratch::file("redis.cf", &content);
        let opened = open(&file.spec(TableType::Redis), &TableOptions::default(), &Notes::default());
        (opened.unwrap().connect)()
    }

    fn expect(guest: &mut Guest, parts: &[&str]) {
        let request = command(parts);
        assert_eq!(hear(guest, request.len()), request);
    }

    #[test]
    fn strings_and_fields_are_asked_for() {
        let server = Fake::once(|guest| {
            expect(guest, &["AUTH", "mail", "s e c"]);
            say(guest, "+OK\r\n");
            expect(guest, &["SELECT", "3"]);
            say(guest, "+OK\r\n");
            expect(guest, &["HGET", "aliases", "a b\r\nflushall"]);
            say(guest, "$3\r\nx y\r\n");
            expect(guest, &["HGET", "aliases", "none"]);
            say(guest, "$-1\r\n");
            expect(guest, &["HGET", "aliases", "list"]);
            say(guest, "-WRONGTYPE not a string\r\n");
        });
        let mut table = table(
            &server,
            "user = mail\npassword = s e c\ndbname = 3\nhash = aliases\nresult_format = [%s]\n",
        );
        assert_eq!(table.lookup("a b\r\nFLUSHALL").unwrap().as_deref(), Some("[x y]"));
        assert_eq!(table.lookup("none"), Ok(None));
        assert!(table.lookup("list").unwrap_err().reason.contains("WRONGTYPE"));
        server.end();
    }

    #[test]
    fn a_refused_password_is_trouble_and_is_not_told() {
        let server = Fake::once(|guest| {
            expect(guest, &["AUTH", "hunter2"]);
            say(guest, "-WRONGPASS invalid\r\n");
        });
        let trouble = table(&server, "password = hunter2\n").lookup("k").unwrap_err();
        assert!(trouble.reason.contains("WRONGPASS") && !trouble.to_string().contains("hunter2"));
        server.end();
    }

    #[test]
    fn what_is_no_reply_is_trouble() {
        let scripts: [fn(&mut Guest); 8] = [
            |guest| say(guest, "$1048577\r\n"),
            |guest| say(guest, "$-5\r\n"),
            |guest| say(guest, "$1\r\nxyz"),
            |guest| say(guest, "*1\r\n$1\r\nx\r\n"),
            |guest| say(guest, "\r\n"),
            |guest| say_without_end(guest, &[b'+'; 4096]),
            |guest| say(guest, b"$2\r\n\xff\xfe\r\n"),
            wait_for_end,
        ];
        for (index, script) in scripts.into_iter().enumerate() {
            let server = Fake::once(move |guest| {
                expect(guest, &["GET", "k"]);
                script(guest);
            });
            let mut table = table(&server, "timeout = 1\n");
            assert!(table.lookup("k").is_err(), "script {index}");
            drop(table);
            server.end();
        }
    }
}
