//! `socketmap:inet:host:port:name`, `socketmap:unix:path:name`: netstrings, as Sendmail's.
//!
//! ```text
//! name SPACE key
//! OK SPACE value | NOTFOUND SPACE | TEMP SPACE text | TIMEOUT SPACE text | PERM SPACE text
//! ```
//!
//! Limits: [`REPLY_BYTES_MAX`]; the time limit of all lookups. Standards: Postfix's socketmap_table(5), and the
//! netstring of D. J. Bernstein.

use std::time::Duration;

use ringpost_core::lookup::{Found, TableSpec};

use super::source::text_of;
use super::wire::{Deadline, Endpoint, Kept, Wire, nonsense, words};
use super::{Backend, Connector, SERVER_CONNECTIONS_MAX};
use crate::options::TableOptions;
use crate::table::trouble;

/// The longest reply, as of Postfix.
const REPLY_BYTES_MAX: usize = 100_000;
/// More digits than any length that is accepted.
const LENGTH_DIGITS_MAX: usize = 10;

struct Socketmap {
    spec: TableSpec,
    /// The name that the server knows the table by.
    name: String,
    limit: Duration,
    kept: Kept,
}

/// How to ask such a table.
pub(super) fn open(spec: &TableSpec, options: &TableOptions) -> Result<Connector, String> {
    let wrong = || format!("{spec}: need inet:host:port:name or unix:path:name");
    let (place, name) = spec.name.rsplit_once(':').filter(|(_, name)| !name.is_empty()).ok_or_else(wrong)?;
    if !place.starts_with("inet:") && !place.starts_with("unix:") {
        return Err(wrong());
    }
    let endpoint = Endpoint::parse(place, None).map_err(|_| wrong())?;
    let (spec, name) = (spec.clone(), name.to_owned());
    let limit = options.time_limit;
    Ok(Connector::of(SERVER_CONNECTIONS_MAX, move || Socketmap {
        spec: spec.clone(),
        name: name.clone(),
        limit,
        kept: Kept::to(endpoint.clone()),
    }))
}

impl Backend for Socketmap {
    fn lookup(&mut self, key: &str) -> Found {
        let deadline = Deadline::after(self.limit);
        let payload = format!("{} {key}", self.name);
        let request = format!("{}:{payload},", payload.len());
        let reply = self.kept.exchange(
            deadline,
            |_| Ok(()),
            |wire| {
                wire.send(request.as_bytes(), deadline)?;
                let mut reply = netstring(wire, deadline)?;
                let end = reply.iter().position(|&byte| byte == b' ').unwrap_or(reply.len());
                let rest = reply.split_off((end + 1).min(reply.len()));
                reply.truncate(end);
                match &*reply {
                    b"OK" | b"NOTFOUND" | b"TEMP" | b"TIMEOUT" | b"PERM" => Ok((reply, rest)),
                    _ => Err(nonsense("a status that is none of OK, NOTFOUND, TEMP, TIMEOUT and PERM")),
                }
            },
        );
        let (status, rest) = reply.map_err(|error| trouble(&self.spec, words(&error)))?;
        match &*status {
            b"OK" => text_of(rest).map(Some).map_err(|reason| trouble(&self.spec, reason)),
            b"NOTFOUND" => Ok(None),
            _ => {
                let (status, text) = (String::from_utf8_lossy(&status), String::from_utf8_lossy(&rest));
                Err(trouble(&self.spec, format!("the server says: {status} {}", text.escape_debug())))
            }
        }
    }
}

fn netstring(wire: &mut Wire, deadline: Deadline) -> std::io::Result<Vec<u8>> {
    let mut length = 0_usize;
    for digits in 0.. {
        match wire.exactly(1, deadline)?[0] {
            byte @ b'0'..=b'9' if digits < LENGTH_DIGITS_MAX => {
                length = length * 10 + usize::from(byte - b'0');
            }
            b':' if digits > 0 => break,
            _ => return Err(nonsense("a reply that is no netstring")),
        }
    }
    if length > REPLY_BYTES_MAX {
        return Err(nonsense(format!("a reply of more than {REPLY_BYTES_MAX} bytes")));
    }
    let payload = wire.exactly(length, deadline)?;
    match wire.exactly(1, deadline)?[0] {
        b',' => Ok(payload),
        _ => Err(nonsense("a reply that is no netstring")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::scratch::{Fake, Scratch, hear, say, say_without_end};
    use ringpost_core::lookup::TableType;
    use std::io::{Read, Write};

    fn table(name: &str) -> Box<dyn Backend> {
        let spec = TableSpec { kind: TableType::Socketmap, name: name.to_owned() };
        let options = TableOptions { time_limit: Duration::from_secs(20), ..TableOptions::default() };
        (open(&spec, &options).unwrap().connect)()
    }

    #[test]
    fn each_status_has_its_meaning() {
        let replies = ["OK ok", "NOTFOUND ", "TEMP no", "TIMEOUT x", "PERM x", "OK ", "NOTFOUND"];
        let server = Fake::once(move |guest| {
            for reply in replies {
                assert_eq!(hear(guest, 12), b"9:users a@b,");
                say(guest, format!("{}:{reply},", reply.len()));
            }
        });
        let mut table = table(&format!("inet:127.0.0.1:{}:users", server.port));
        let mut ask = || table.lookup("a@b").map(|found| found.map(String::from)).map_err(|t| t.reason);
        assert_eq!(ask(), Ok(Some("ok".into())));
        assert_eq!(ask(), Ok(None));
        assert!(ask().unwrap_err().contains("TEMP no"));
        assert!(ask().is_err());
        assert!(ask().is_err());
        assert_eq!(ask(), Ok(Some(String::new())));
        assert_eq!(ask(), Ok(None));
        server.end();
    }

    #[test]
    fn what_is_no_netstring_is_trouble() {
        for reply in
            ["OK x\n", ":x,", "4:OK x;", "100001:", "99999999999999999999:", "3:YES,", "-1:x,", "9:OK"]
        {
            let server = Fake::once(move |guest| {
                hear(guest, 6);
                say(guest, reply);
            });
            let mut table = table(&format!("inet:127.0.0.1:{}:m", server.port));
            assert!(table.lookup("k").is_err(), "{reply}");
            server.end();
        }
        let server = Fake::once(|guest| say_without_end(guest, &[b'1'; 4096]));
        assert!(table(&format!("inet:127.0.0.1:{}:m", server.port)).lookup("k").is_err());
        server.end();
    }

    #[test]
    fn sockets_in_the_file_system_are_asked() {
        let path = Scratch::path("socketmap");
        let listener = std::os::unix::net::UnixListener::bind(path.name()).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 6];
            stream.read_exact(&mut request).unwrap();
            stream.write_all(b"4:OK v,").unwrap();
            request
        });
        let found = table(&format!("unix:{}:m", path.name())).lookup("k");
        assert_eq!(found.unwrap().as_deref(), Some("v"));
        assert_eq!(&server.join().unwrap(), b"3:m k,");
    }

    #[test]
    fn names_are_whole() {
        for wrong in ["localhost:25:x", "inet:localhost:25", "unix:/run/s", "inet:h:0:x", "unix:/run/s:"] {
            let spec = TableSpec { kind: TableType::Socketmap, name: wrong.to_owned() };
            assert!(open(&spec, &TableOptions::default()).is_err(), "{wrong}");
        }
    }
}
