//! wire: a connection to a table's server, on which nothing takes longer, and nothing grows larger, than was said.
//!
//! Receives: an [`Endpoint`]; bytes to send; how much may come back. Sends: the bytes that came.
//! Owns:     one stream, and what was read from it ahead.
//! Limits:   a [`Deadline`] for a whole lookup, however slowly the bytes drip; a length for each line and each count.
//! On failure: an error of the kind `TimedOut`, `InvalidData` (the server said too much) or whatever the system gives.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType};

/// What one read asks the system for.
const READ_BYTES: usize = 4096;

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A host, by name or address, and its TCP port.
    Inet {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Endpoint {
    /// Reads `inet:host:port` or `unix:path`; `host:port` alone is of the first kind. An IPv6 address stands in brackets.
    ///
    /// # Errors
    /// It is neither; in one sentence.
    pub fn parse(text: &str, port: Option<u16>) -> Result<Endpoint, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path.is_empty() {
                true => Err(format!("{text}: the socket has no path")),
                false => Ok(Endpoint::Unix(path.into())),
            };
        }
        let place = text.strip_prefix("inet:").unwrap_or(text);
        let (host, number) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, rest)) => (host, rest.strip_prefix(':')),
            None => match place.rsplit_once(':') {
                Some((host, number)) => (host, Some(number)),
                None => (place, None),
            },
        };
        let port = match number {
            Some(number) => number.parse().ok().filter(|&port| port > 0),
            None => port,
        };
        match port {
            Some(port) if !host.is_empty() && !host.contains(['[', ']']) => {
                Ok(Endpoint::Inet { host: host.to_owned(), port })
            }
            _ => Err(format!("{text}: need inet:host:port or unix:path")),
        }
    }
}

/// The moment at which a lookup has taken too long.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    /// So long from now.
    pub fn after(limit: Duration) -> Deadline {
        Deadline(Instant::now() + limit)
    }

    /// The earlier of two.
    pub fn or_earlier(self, other: Deadline) -> Deadline {
        Deadline(self.0.min(other.0))
    }

    /// What is left.
    ///
    /// # Errors
    /// `TimedOut`: nothing is.
    pub fn left(self) -> io::Result<Duration> {
        let left = self.0.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }

    /// Whether the moment is still to come.
    pub fn is_ahead(self) -> bool {
        self.left().is_ok()
    }
}

/// `InvalidData`, with what is wrong with what the server said.
pub fn nonsense(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// An error of a connection, in words for the log.
pub fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "the time limit is over".to_owned(),
        io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
        _ => {
            let text = error.to_string();
            text.split(" (os error").next().unwrap_or_default().to_owned()
        }
    }
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// One connection.
#[derive(Debug)]
pub struct Wire {
    stream: Stream,
    /// Read ahead, from `taken` on.
    input: Vec<u8>,
    taken: usize,
}

impl Wire {
    /// Connects.
    ///
    /// # Errors
    /// Nobody is there, or the time is over.
    pub fn open(endpoint: &Endpoint, deadline: Deadline) -> io::Result<Wire> {
        let stream = match endpoint {
            Endpoint::Inet { host, port } => Stream::Tcp(connect_tcp(host, *port, deadline)?),
            Endpoint::Unix(path) => Stream::Unix(connect_unix(path, deadline)?),
        };
        Ok(Wire { stream, input: Vec::new(), taken: 0 })
    }

    /// Sends all of it.
    ///
    /// # Errors
    /// The connection broke, or the time is over.
    pub fn send(&mut self, bytes: &[u8], deadline: Deadline) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let left = Some(deadline.left()?);
            let sent = match &mut self.stream {
                Stream::Tcp(stream) => stream.set_write_timeout(left).and_then(|()| stream.write(rest)),
                Stream::Unix(stream) => stream.set_write_timeout(left).and_then(|()| stream.write(rest)),
            };
            match sent {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(in_time(error)),
            }
        }
        Ok(())
    }

    /// The next line without its line feed, of at most `bytes_max`.
    ///
    /// # Errors
    /// The line is longer, the connection broke, or the time is over.
    pub fn line(&mut self, bytes_max: usize, deadline: Deadline) -> io::Result<Vec<u8>> {
        loop {
            let ahead = &self.input[self.taken..];
            let end = ahead.iter().position(|&byte| byte == b'\n');
            if end.unwrap_or(ahead.len()) > bytes_max {
                return Err(nonsense(format!("a line of more than {bytes_max} bytes")));
            }
            if let Some(end) = end {
                let line = ahead[..end].to_vec();
                self.taken += end + 1;
                return Ok(line);
            }
            self.fill(deadline)?;
        }
    }

    /// The next line, without its carriage return if it has one.
    ///
    /// # Errors
    /// As [`Wire::line`].
    pub fn crlf_line(&mut self, bytes_max: usize, deadline: Deadline) -> io::Result<Vec<u8>> {
        let mut line = self.line(bytes_max + 1, deadline)?;
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(line)
    }

    /// The next so many bytes; the caller has bounded the count.
    ///
    /// # Errors
    /// The connection broke, or the time is over.
    pub fn exactly(&mut self, count: usize, deadline: Deadline) -> io::Result<Vec<u8>> {
        while self.input.len() - self.taken < count {
            self.fill(deadline)?;
        }
        let bytes = self.input[self.taken..self.taken + count].to_vec();
        self.taken += count;
        Ok(bytes)
    }

    /// Whether the connection is open and the server has said nothing that was not asked for. What it said unasked would
    /// be taken for the answer to the next question, which may be about somebody else.
    pub fn is_quiet(&self) -> bool {
        let mut byte = [0; 1];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        self.taken == self.input.len()
            && matches!(rustix::net::recv(self.fd(), &mut byte[..], flags), Err(rustix::io::Errno::AGAIN))
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }

    fn fill(&mut self, deadline: Deadline) -> io::Result<()> {
        self.input.drain(..self.taken);
        self.taken = 0;
        let mut buffer = [0; READ_BYTES];
        loop {
            let left = Some(deadline.left()?);
            let read = match &mut self.stream {
                Stream::Tcp(stream) => stream.set_read_timeout(left).and_then(|()| stream.read(&mut buffer)),
                Stream::Unix(stream) => stream.set_read_timeout(left).and_then(|()| stream.read(&mut buffer)),
            };
            match read {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.input.extend_from_slice(&buffer[..count]);
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(in_time(error)),
            }
        }
    }
}

/// The system says "again" when a time limit of a socket is over.
fn in_time(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

fn connect_tcp(host: &str, port: u16, deadline: Deadline) -> io::Result<TcpStream> {
    let addresses: Vec<_> = (host, port).to_socket_addrs()?.collect();
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
    for (index, address) in addresses.iter().enumerate() {
        // Each of those that are left gets its share.
        let shares = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let share = (deadline.left()? / shares).max(Duration::from_millis(1));
        match TcpStream::connect_timeout(address, share) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn connect_unix(path: &std::path::Path, deadline: Deadline) -> io::Result<UnixStream> {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // A listener whose backlog is full makes connect() wait for as long as sending may.
    set_socket_timeout(&socket, Timeout::Send, Some(deadline.left()?))?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)
        .map_err(|error| in_time(io::Error::from(error)))?;
    Ok(UnixStream::from(socket))
}

/// A connection that is kept between lookups, and made anew when it broke meanwhile.
#[derive(Debug)]
pub struct Kept {
    endpoint: Endpoint,
    wire: Option<Wire>,
}

impl Kept {
    /// Not connected yet.
    pub fn to(endpoint: Endpoint) -> Kept {
        Kept { endpoint, wire: None }
    }

    /// Lets `talk` ask and hear the answer. `greet` is called on a new connection first. A connection that was kept may
    /// have been closed by the server, so one that breaks is tried anew, once; after any error none is kept.
    ///
    /// # Errors
    /// Of either of them, or of connecting.
    pub fn exchange<T>(
        &mut self,
        deadline: Deadline,
        greet: impl FnOnce(&mut Wire) -> io::Result<()>,
        mut talk: impl FnMut(&mut Wire) -> io::Result<T>,
    ) -> io::Result<T> {
        if let Some(mut wire) = self.wire.take().filter(Wire::is_quiet) {
            match talk(&mut wire) {
                Ok(answer) => {
                    self.wire = Some(wire);
                    return Ok(answer);
                }
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::InvalidData) =>
                {
                    return Err(error);
                }
                Err(_) => {}
            }
        }
        let mut wire = Wire::open(&self.endpoint, deadline)?;
        greet(&mut wire)?;
        let answer = talk(&mut wire)?;
        self.wire = Some(wire);
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read() {
        let inet = |host: &str, port| Ok(Endpoint::Inet { host: host.into(), port });
        assert_eq!(Endpoint::parse("inet:localhost:7777", None), inet("localhost", 7777));
        assert_eq!(Endpoint::parse("inet:[::1]:7777", None), inet("::1", 7777));
        assert_eq!(Endpoint::parse("db.example", Some(5432)), inet("db.example", 5432));
        assert_eq!(Endpoint::parse("unix:/run/s", None), Ok(Endpoint::Unix("/run/s".into())));
        for wrong in ["inet:localhost", "inet::25", "localhost:none", "h:0", "h:65536", "unix:", "", "[::1"] {
            assert!(Endpoint::parse(wrong, None).is_err(), "{wrong}");
        }
    }
}
