//! `memcache:/file.cf`: a cache in front of another table.
//!
//! ```text
//! get KEY              VALUE KEY flags bytes, the bytes, END | END
//! set KEY flags ttl bytes, the bytes          STORED | NOT_STORED
//! ```
//!
//! What the cache does not hold the `backup` table is asked for, and the cache is told. A cache that cannot be asked is
//! no trouble while there is a backup.
//!
//! Limits: `line_size_limit`, `data_size_limit`, `timeout` for each try, `max_try`.
//! Standards: Postfix's memcache_table(5); the text protocol of memcached.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ringpost_core::lookup::{Found, TableSpec, TableType};

use super::source::{Domains, Settings, reaches, text_of};
use super::template::Template;
use super::wire::{Deadline, Endpoint, Kept, Wire, nonsense, words};
use super::{Backend, Connector, SERVER_CONNECTIONS_MAX};
use crate::notes::Notes;
use crate::open::Direct;
use crate::options::TableOptions;
use crate::table::trouble;

const SETTINGS: &[&str] = &[
    "memcache",
    "backup",
    "flags",
    "ttl",
    "key_format",
    "domain",
    "data_size_limit",
    "line_size_limit",
    "max_try",
    "retry_pause",
    "timeout",
];

/// memcached's own limit for a key.
const KEY_BYTES_MAX: usize = 250;

struct Config {
    spec: TableSpec,
    endpoint: Endpoint,
    backup: Option<TableSpec>,
    options: TableOptions,
    flags: u64,
    ttl: u64,
    key_format: Template,
    domains: Domains,
    data_bytes_max: usize,
    line_bytes_max: usize,
    tries: u64,
    pause: Duration,
    limit: Duration,
}

struct Memcache {
    config: Arc<Config>,
    kept: Kept,
    /// Opened when it is needed first.
    backup: Option<Direct>,
}

/// How to ask such a table.
pub(super) fn open(spec: &TableSpec, options: &TableOptions, notes: &Notes) -> Result<Connector, String> {
    let settings = Settings::read(spec, &[SETTINGS], &[], notes)?;
    let place = settings.text_or("memcache", "inet:localhost:11211");
    let backup = settings.text_or("backup", "");
    let backup = match backup.is_empty() {
        true => None,
        false => Some(TableSpec::parse(backup, options.default_type)?),
    };
    if backup.as_ref().is_some_and(|backup| reaches(backup, TableType::Memcache)) {
        return Err("a memcache table cannot back up another".to_owned());
    }
    let size = |name, default| {
        let number = settings.number(name, default, 1..=1 << 24)?;
        usize::try_from(number).map_err(|error| error.to_string())
    };
    let config = Arc::new(Config {
        spec: spec.clone(),
        endpoint: Endpoint::parse(place, Some(11211))?,
        backup,
        options: options.clone(),
        flags: settings.number("flags", 0, 0..=u64::from(u32::MAX))?,
        ttl: settings.number("ttl", 3600, 0..=i32::MAX as u64)?,
        key_format: settings.template("key_format", "%s")?,
        domains: Domains::of(&settings, options)?,
        data_bytes_max: size("data_size_limit", 10_240)?,
        line_bytes_max: size("line_size_limit", 1024)?,
        tries: settings.number("max_try", 2, 1..=100)?,
        pause: settings.seconds("retry_pause", 1)?,
        limit: settings.seconds("timeout", 2)?,
    });
    Ok(Connector::of(SERVER_CONNECTIONS_MAX, move || Memcache {
        config: config.clone(),
        kept: Kept::to(config.endpoint.clone()),
        backup: None,
    }))
}

impl Backend for Memcache {
    fn lookup(&mut self, key: &str) -> Found {
        let config = self.config.clone();
        let key = if config.options.fold { crate::fold::lower(key) } else { key.into() };
        let admitted = config.domains.admit(&key).map_err(|reason| trouble(&config.spec, reason))?;
        let cache_key = config.key_format.query(&key, |part, out| out.push_str(part));
        // White space would make two words of it, and with them another request.
        let is_word = |text: &String| {
            text.len() <= KEY_BYTES_MAX && !text.bytes().any(|byte| byte.is_ascii_control() || byte == b' ')
        };
        let Some(cache_key) = cache_key.filter(is_word).filter(|_| admitted) else { return Ok(None) };
        let cached = self.get(&cache_key);
        match (cached, &config.backup) {
            (Ok(Some(value)), _) => Ok(Some(value)),
            (Ok(None), None) => Ok(None),
            (Err(reason), None) => Err(trouble(&config.spec, reason)),
            (cached, Some(backup)) => {
                let found = self.ask_backup(backup, &key)?;
                if let (Ok(_), Some(value)) = (cached, &found) {
                    // Whoever comes next asks the backup, too, if the cache does not take it.
                    let _ = self.set(&cache_key, value);
                }
                Ok(found)
            }
        }
    }
}

impl Memcache {
    fn ask_backup(&mut self, spec: &TableSpec, key: &str) -> Found {
        let backup = match &mut self.backup {
            Some(backup) => backup,
            none => {
                let opened = Direct::open(spec, &self.config.options, &Notes::default());
                none.insert(opened.map_err(|reason| trouble(spec, reason))?)
            }
        };
        backup.find(key)
    }

    fn get(&mut self, key: &str) -> Result<Option<Box<str>>, String> {
        let config = self.config.clone();
        let request = format!("get {key}\r\n");
        let value = self.tried(|wire, deadline| {
            wire.send(request.as_bytes(), deadline)?;
            let line = wire.crlf_line(config.line_bytes_max, deadline)?;
            if line == b"END" {
                return Ok(None);
            }
            let bytes = value_bytes(&line, key).ok_or_else(|| unexpected(&line))?;
            if bytes > config.data_bytes_max {
                return Err(nonsense(format!("a value of {bytes} bytes (data_size_limit)")));
            }
            let value = wire.exactly(bytes, deadline)?;
            match (&*wire.crlf_line(0, deadline)?, &*wire.crlf_line(config.line_bytes_max, deadline)?) {
                (b"", b"END") => Ok(Some(value)),
                _ => Err(nonsense("a value that is longer than was said")),
            }
        })?;
        value.map(text_of).transpose()
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let config = self.config.clone();
        if value.len() > config.data_bytes_max {
            return Err("the value is too long (data_size_limit)".to_owned());
        }
        let request = format!("set {key} {} {} {}\r\n{value}\r\n", config.flags, config.ttl, value.len());
        self.tried(|wire, deadline| {
            wire.send(request.as_bytes(), deadline)?;
            let line = wire.crlf_line(config.line_bytes_max, deadline)?;
            match &*line {
                b"STORED" | b"NOT_STORED" => Ok(()),
                _ => Err(unexpected(&line)),
            }
        })
    }

    fn tried<T>(&mut self, mut talk: impl FnMut(&mut Wire, Deadline) -> io::Result<T>) -> Result<T, String> {
        let mut tries = self.config.tries;
        loop {
            let deadline = Deadline::after(self.config.limit);
            match self.kept.exchange(deadline, |_| Ok(()), |wire| talk(wire, deadline)) {
                Ok(answer) => return Ok(answer),
                Err(error) if tries <= 1 => return Err(words(&error)),
                Err(_) => tries -= 1,
            }
            // On a helper thread; the session that asked is all that waits.
            std::thread::sleep(self.config.pause);
        }
    }
}

/// `VALUE key flags bytes`.
fn value_bytes(line: &[u8], key: &str) -> Option<usize> {
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    if words.next()? != "VALUE" || words.next()? != key {
        return None;
    }
    words.next()?.parse::<u32>().ok()?;
    words.next()?.parse().ok()
}

fn unexpected(line: &[u8]) -> io::Error {
    nonsense(format!("the server says: {}", line.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::scratch::{Fake, Scratch, hear_line, say, say_without_end, wait_for_end};

    fn table(server: &Fake, more: &str) -> Box<dyn Backend> {
        let content = format!("memcache = inet:127.0.0.1:{}\nmax_try = 1\n{more}", server.port);
        let file = Scratch::file("memcache.cf", &content);
        let opened = open(&file.spec(TableType::Memcache), &TableOptions::default(), &Notes::default());
        (opened.unwrap().connect)()
    }

    #[test]
    fn what_is_cached_is_given_and_what_is_not_is_fetched_and_cached() {
        let server = Fake::once(|guest| {
            assert_eq!(hear_line(guest), "get mail:a@b\r\n");
            say(guest, "VALUE mail:a@b 0 5\r\nab\r\nc\r\nEND\r\n");
            assert_eq!(hear_line(guest), "get mail:c@d\r\n");
            say(guest, "END\r\n");
            assert_eq!(hear_line(guest), "set mail:c@d 0 60 4\r\n");
            assert_eq!(hear_line(guest), "kept\r\n");
            say(guest, "STORED\r\n");
            assert_eq!(hear_line(guest), "get mail:none\r\n");
            say(guest, "END\r\n");
        });
        let backup = "key_format = mail:%s\nttl = 60\nbackup = inline:{c@d=kept}\n";
        let mut table = table(&server, backup);
        assert_eq!(table.lookup("A@B").unwrap().as_deref(), Some("ab\r\nc"));
        assert_eq!(table.lookup("c@d").unwrap().as_deref(), Some("kept"));
        assert_eq!(table.lookup("none"), Ok(None));
        server.end();
    }

    #[test]
    fn a_key_cannot_be_a_command() {
        let server = Fake::once(|guest| {
            assert_eq!(hear_line(guest), "get fine\r\n", "nothing was asked before");
            say(guest, "END\r\n");
        });
        let mut table = table(&server, "");
        let long = "x".repeat(300);
        for key in ["a\r\nflush_all", "a b", "a\tb", "", long.as_str()] {
            assert_eq!(table.lookup(key), Ok(None), "{key}");
        }
        assert_eq!(table.lookup("fine"), Ok(None));
        server.end();
    }

    #[test]
    fn a_cache_that_is_out_of_its_mind_is_trouble_unless_there_is_a_backup() {
        let scripts: [fn(&mut crate::remote::scratch::Guest); 6] = [
            |guest| say(guest, "VALUE other 0 1\r\nx\r\nEND\r\n"),
            |guest| say(guest, "VALUE k 0 99999999\r\n"),
            |guest| say(guest, "VALUE k 0 1\r\nxyz\r\nEND\r\n"),
            |guest| say(guest, "SERVER_ERROR out of memory\r\n"),
            |guest| say_without_end(guest, &[b'V'; 4096]),
            wait_for_end,
        ];
        for (index, script) in scripts.into_iter().enumerate() {
            for (more, expect) in
                [("timeout = 1\n", None), ("timeout = 1\nbackup = static:safe\n", Some("safe"))]
            {
                let server = Fake::once(move |guest| {
                    hear_line(guest);
                    script(guest);
                });
                let mut table = table(&server, more);
                let found = table.lookup("k");
                assert_eq!(found.ok().flatten().as_deref(), expect, "script {index}");
                drop(table);
                server.end();
            }
        }
    }

    #[test]
    fn a_cache_of_a_cache_is_refused() {
        let file = Scratch::file("memcache.cf", "backup = unionmap:{proxy:memcache:/etc/x.cf}\n");
        let opened = open(&file.spec(TableType::Memcache), &TableOptions::default(), &Notes::default());
        assert!(opened.is_err());
    }
}
