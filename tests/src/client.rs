//! An SMTP client over one blocking connection: says what a test tells it to say, right or wrong, and reads replies.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpStream};

use rustix::net::{AddressFamily, SocketType};

use crate::wait::PATIENCE;

/// One reply of the server, of one or more lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The three digits.
    pub code: u16,
    /// The text of each line after `250-` or `250 `.
    pub lines: Vec<String>,
}

impl Reply {
    /// The text of the last line.
    pub fn text(&self) -> &str {
        self.lines.last().map_or("", String::as_str)
    }

    /// Whether it begins with these words, as `250 2.1.0 Ok` would be written.
    pub fn is(&self, beginning: &str) -> bool {
        format!("{} {}", self.code, self.text()).starts_with(beginning)
    }

    /// The queue id in `250 2.0.0 Ok: queued as QID`.
    ///
    /// # Panics
    /// When the reply is another.
    pub fn queue_id(&self) -> &str {
        let id = self.text().split_once("queued as ").map(|(_, id)| id.trim());
        id.filter(|_| self.code == 250).unwrap_or_else(|| panic!("not an acceptance: {self:?}"))
    }
}

/// Connects from an address of our own; port 0 is any.
///
/// # Errors
/// `AddrInUse` when somebody has the port, and what connecting runs into.
pub fn connect_from(source: SocketAddrV4, address: SocketAddrV4) -> io::Result<TcpStream> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::bind(&socket, &source)?;
    rustix::net::connect(&socket, &address)?;
    Ok(TcpStream::from(socket))
}

/// A connection to the server under test. Methods whose names begin with `try_` give errors back; the others panic.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    /// Connects, without reading the greeting. Reads and writes fail after [`PATIENCE`].
    pub fn try_connect(address: SocketAddrV4) -> io::Result<Client> {
        Client::over(TcpStream::connect(address)?)
    }

    /// As [`Client::try_connect`], with this address of our own: each of 127.0.0.0/8 is another client.
    pub fn try_connect_from(source: Ipv4Addr, address: SocketAddrV4) -> io::Result<Client> {
        Client::over(connect_from(SocketAddrV4::new(source, 0), address)?)
    }

    fn over(stream: TcpStream) -> io::Result<Client> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Client { reader: BufReader::new(stream) })
    }

    /// Connects, reads the greeting and says EHLO.
    pub fn greeted(address: SocketAddrV4) -> Client {
        Client::try_greeted(address).unwrap_or_else(|error| panic!("no session with {address}: {error}"))
    }

    /// As [`Client::greeted`]; a refusal is an error too.
    pub fn try_greeted(address: SocketAddrV4) -> io::Result<Client> {
        let mut client = Client::try_connect(address)?;
        let greeting = client.try_reply()?;
        let hello = client.try_command("EHLO client.test")?;
        if greeting.code == 220 && hello.code == 250 {
            Ok(client)
        } else {
            Err(io::Error::other(format!("refused: {greeting:?}, {hello:?}")))
        }
    }

    /// Sends these bytes as they are.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Sends these bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap_or_else(|error| panic!("the server does not take bytes: {error}"));
    }

    /// Reads one reply.
    ///
    /// # Errors
    /// `UnexpectedEof` when the server closed the connection, `InvalidData` for what is no reply.
    pub fn try_reply(&mut self) -> io::Result<Reply> {
        let mut lines = Vec::new();
        loop {
            let mut line = Vec::new();
            self.reader.read_until(b'\n', &mut line)?;
            if line.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let text = String::from_utf8_lossy(&line).into_owned();
            let wrong = || io::Error::new(io::ErrorKind::InvalidData, format!("not a reply: {text:?}"));
            // RFC 5321 section 4.2: three digits, "-" or space, text, CRLF.
            let whole = text.strip_suffix("\r\n").ok_or_else(wrong)?;
            let code: u16 = whole.get(..3).and_then(|digits| digits.parse().ok()).ok_or_else(wrong)?;
            let (mark, rest) = (whole.as_bytes().get(3).copied(), whole.get(4..).unwrap_or(""));
            lines.push(rest.to_owned());
            match mark {
                Some(b'-') => {}
                Some(b' ') | None => return Ok(Reply { code, lines }),
                Some(_) => return Err(wrong()),
            }
        }
    }

    /// Reads one reply.
    pub fn reply(&mut self) -> Reply {
        self.try_reply().unwrap_or_else(|error| panic!("no reply: {error}"))
    }

    /// Sends a line and reads its reply.
    pub fn try_command(&mut self, line: &str) -> io::Result<Reply> {
        self.try_send(format!("{line}\r\n").as_bytes())?;
        self.try_reply()
    }

    /// Sends a line and reads its reply.
    pub fn command(&mut self, line: &str) -> Reply {
        self.try_command(line).unwrap_or_else(|error| panic!("no reply to {line:?}: {error}"))
    }

    /// Sends a line and asserts how its reply begins.
    pub fn expect(&mut self, line: &str, beginning: &str) -> Reply {
        let reply = self.command(line);
        assert!(reply.is(beginning), "{line:?}: wanted {beginning:?}, got {reply:?}");
        reply
    }

    /// Sends one message in lock step: MAIL, each RCPT, DATA, content. `content` is in wire form without the final
    /// `.` line. The reply is the first refusal, or the one after the dot.
    pub fn try_message(&mut self, sender: &str, recipients: &[&str], content: &[u8]) -> io::Result<Reply> {
        self.try_transaction(&format!("MAIL FROM:<{sender}>"), recipients, content)
    }

    /// As [`Client::try_message`] with a MAIL command of the caller's, options and all.
    pub fn try_transaction(&mut self, mail: &str, recipients: &[&str], content: &[u8]) -> io::Result<Reply> {
        let mail = self.try_command(mail)?;
        if mail.code != 250 {
            return Ok(mail);
        }
        for recipient in recipients {
            let rcpt = self.try_command(&format!("RCPT TO:<{recipient}>"))?;
            if rcpt.code != 250 {
                return Ok(rcpt);
            }
        }
        let data = self.try_command("DATA")?;
        if data.code != 354 {
            return Ok(data);
        }
        self.try_send(content)?;
        self.try_send(b".\r\n")?;
        self.try_reply()
    }

    /// Sends one message and asserts that the server accepted it; gives its queue id.
    pub fn message(&mut self, sender: &str, recipients: &[&str], content: &[u8]) -> String {
        let reply = self.try_message(sender, recipients, content);
        let reply = reply.unwrap_or_else(|error| panic!("no reply to a message: {error}"));
        reply.queue_id().to_owned()
    }

    /// Says QUIT and reads the farewell and the end of the stream.
    pub fn quit(mut self) {
        self.expect("QUIT", "221 2.0.0");
        assert!(self.is_closed(), "the server keeps the connection after QUIT");
    }

    /// Waits for the server to close; false when more bytes arrive instead.
    pub fn is_closed(&mut self) -> bool {
        match self.reader.read(&mut [0; 1]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    /// Closes our sending half only.
    pub fn finish_sending(&mut self) {
        self.reader.get_mut().shutdown(Shutdown::Write).expect("a connection can be half closed");
    }

    /// The socket beneath.
    pub fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }
}

/// A message of about `bytes` bytes in wire form whose header carries `track`; no line begins with a dot.
pub fn message_content(track: &str, bytes: usize) -> Vec<u8> {
    let mut content = format!(
        "From: <sender@client.test>\r\nSubject: test\r\nX-Track: {track}\r\n\
         Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-Id: <{track}@client.test>\r\n\r\n"
    )
    .into_bytes();
    let line = b"The quick brown fox jumps over the lazy dog, and the dog sleeps on.....\r\n";
    while content.len() < bytes {
        let rest = bytes - content.len();
        if rest > line.len() + 2 {
            content.extend_from_slice(line);
        } else {
            content.extend(std::iter::repeat_n(b'x', rest.saturating_sub(2)));
            content.extend_from_slice(b"\r\n");
        }
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_the_wanted_size_and_ends_a_line() {
        for bytes in [300, 1000, 4096, 100_000] {
            let content = message_content("t1", bytes);
            assert!(content.len().abs_diff(bytes) <= 2, "{} for {bytes}", content.len());
            assert!(content.ends_with(b"\r\n"));
        }
    }

    #[test]
    fn replies_are_compared_by_their_beginning() {
        let reply = Reply { code: 250, lines: vec!["2.0.0 Ok: queued as 4abc".into()] };
        assert!(reply.is("250 2.0.0 Ok"));
        assert_eq!(reply.queue_id(), "4abc");
    }
}
