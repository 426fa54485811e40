//! `tcp:host:port`: Postfix's own protocol of lines.
//!
//! ```text
//! get SPACE key NEWLINE
//! 200 SPACE value | 500 SPACE text (no such key) | 400 SPACE text (trouble), each NEWLINE
//! ```
//!
//! In keys, values and texts `%XX` stands for what is not printable, for white space and for `%`.
//! Limits: [`REPLY_BYTES_MAX`]; the time limit of all lookups. Standards: Postfix's tcp_table(5).

use std::time::Duration;

use ringpost_core::lookup::{Found, TableSpec};

use super::source::text_of;
use super::wire::{Deadline, Endpoint, Kept, nonsense, words};
use super::{Backend, Connector, SERVER_CONNECTIONS_MAX};
use crate::options::TableOptions;
use crate::table::trouble;

/// tcp_table(5): a reply has no more than 4096 characters, with its line feed.
const REPLY_BYTES_MAX: usize = 4095;

struct Tcp {
    spec: TableSpec,
    limit: Duration,
    kept: Kept,
}

/// How to ask such a table.
pub(super) fn open(spec: &TableSpec, options: &TableOptions) -> Result<Connector, String> {
    let endpoint = Endpoint::parse(&format!("inet:{}", spec.name), None)?;
    let (spec, limit) = (spec.clone(), options.time_limit);
    Ok(Connector::of(SERVER_CONNECTIONS_MAX, move || Tcp {
        spec: spec.clone(),
        limit,
        kept: Kept::to(endpoint.clone()),
    }))
}

impl Backend for Tcp {
    fn lookup(&mut self, key: &str) -> Found {
        let deadline = Deadline::after(self.limit);
        let mut request = b"get ".to_vec();
        quote(key, &mut request);
        request.push(b'\n');
        let reply = self.kept.exchange(
            deadline,
            |_| Ok(()),
            |wire| {
                wire.send(&request, deadline)?;
                let line = wire.line(REPLY_BYTES_MAX, deadline)?;
                match line.get(..4) {
                    Some(b"200 " | b"400 " | b"500 ") => Ok(line),
                    _ => Err(nonsense("a reply that is none of 200, 400 and 500")),
                }
            },
        );
        let reply = reply.map_err(|error| trouble(&self.spec, words(&error)))?;
        let text = unquote(&reply[4..])
            .ok_or_else(|| "a % without two hexadecimal digits".to_owned())
            .and_then(text_of)
            .map_err(|reason| trouble(&self.spec, reason));
        match reply[0] {
            b'2' => text.map(Some),
            b'5' => Ok(None),
            _ => Err(trouble(&self.spec, format!("the server says: {}", text?.escape_debug()))),
        }
    }
}

fn quote(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            out.push(byte);
        } else {
            out.extend(format!("%{byte:02X}").bytes());
        }
    }
}

fn unquote(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(*bytes.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::scratch::{Fake, hear_line, say, say_without_end, wait_for_end};
    use ringpost_core::lookup::TableType;
    use std::time::Instant;

    fn table(port: u16, limit: Duration) -> Box<dyn Backend> {
        let spec = TableSpec { kind: TableType::Tcp, name: format!("127.0.0.1:{port}") };
        let options = TableOptions { time_limit: limit, ..TableOptions::default() };
        (open(&spec, &options).unwrap().connect)()
    }

    const LONG: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(300);

    #[test]
    fn keys_and_values_are_quoted() {
        let server = Fake::once(|guest| {
            assert_eq!(hear_line(guest), "get a%20b%25@x%C3%A9\n");
            say(guest, "200 100%25%20sure\n");
            assert_eq!(hear_line(guest), "get none\n");
            say(guest, "500 no%20such key\n");
            assert_eq!(hear_line(guest), "get down\n");
            say(guest, "400 not now\n");
            hear_line(guest);
            say(guest, "200 bad%2\n");
        });
        let mut table = table(server.port, LONG);
        assert_eq!(table.lookup("a b%@xé").unwrap().as_deref(), Some("100% sure"));
        assert_eq!(table.lookup("none"), Ok(None));
        assert!(table.lookup("down").unwrap_err().reason.contains("not now"));
        assert!(table.lookup("bad").unwrap_err().reason.contains('%'));
        server.end();
    }

    #[test]
    fn a_connection_that_was_closed_meanwhile_is_made_anew() {
        let answer = |value: &'static str| {
            Box::new(move |guest: &mut _| {
                hear_line(guest);
                say(guest, value);
            }) as Box<dyn FnOnce(&mut _) + Send>
        };
        let server = Fake::new(vec![answer("200 1\n"), answer("200 2\n")]);
        let mut table = table(server.port, LONG);
        assert_eq!(table.lookup("k").unwrap().as_deref(), Some("1"));
        assert_eq!(table.lookup("k").unwrap().as_deref(), Some("2"));
        server.end();
        assert!(table.lookup("k").is_err(), "nobody is there any more");
    }

    #[test]
    fn an_answer_that_nobody_asked_for_is_not_the_next_one() {
        let server = Fake::new(vec![
            Box::new(|guest| {
                hear_line(guest);
                say(guest, "200 mine\n200 of somebody else\n");
                wait_for_end(guest);
            }),
            Box::new(|guest| {
                hear_line(guest);
                say(guest, "200 yours\n");
            }),
        ]);
        let mut table = table(server.port, LONG);
        assert_eq!(table.lookup("me").unwrap().as_deref(), Some("mine"));
        assert_eq!(table.lookup("you").unwrap().as_deref(), Some("yours"));
        server.end();
    }

    #[test]
    fn servers_that_hang_drip_babble_or_never_end_are_trouble_in_time() {
        type Script = fn(&mut crate::remote::scratch::Guest);
        let scripts: [(Script, Duration); 6] = [
            (wait_for_end, SHORT),
            (
                |guest| {
                    while guest.get_mut().set_nodelay(true).is_ok() {
                        // Slow bytes do not stretch the time: the pause is shorter than the limit of the lookup.
                        std::thread::park_timeout(Duration::from_millis(20));
                        use std::io::Write;
                        if guest.get_mut().write_all(b"2").is_err() {
                            break;
                        }
                    }
                },
                SHORT,
            ),
            (|guest| say(guest, "hello there\n"), LONG),
            (|guest| say(guest, b"\xff\x00\n200\n"), LONG),
            (|guest| say_without_end(guest, &[b'2'; 4096]), LONG),
            (|guest| say(guest, "200 no line fe"), LONG),
        ];
        for (index, (script, limit)) in scripts.into_iter().enumerate() {
            let server = Fake::once(move |guest| {
                hear_line(guest);
                script(guest);
            });
            let begun = Instant::now();
            let mut table = table(server.port, limit);
            assert!(table.lookup("key").is_err(), "script {index}");
            assert!(begun.elapsed() < LONG, "script {index}");
            drop(table);
            server.end();
        }
    }
}
