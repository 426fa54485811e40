//! The two ends of SMTP as far as a load generator needs them: replies as a client reads them, command lines as a
//! server reads them, the end of the content. Bytes in, values out; no sockets.
//!
//! Written for this crate alone, so that a fault of the relay's own SMTP code cannot cancel out here.
//!
//! Standards: RFC 5321 §2.3.8, §4.2, §4.5.2; RFC 2034 (enhanced codes are passed over, only the basic code counts).

use std::ops::Range;

use memchr::{memchr, memmem};

/// Longest command line that a server reads, with its line end. RFC 5321 §4.5.3.1.4 asks for 512; ESMTP parameters and
/// long paths need more.
pub const COMMAND_BYTES_MAX: usize = 4096;

/// Longest reply (all its lines) that a client reads. A longer one is taken as a broken server.
pub const REPLY_BYTES_MAX: usize = 64 * 1024;

/// A whole reply, as found in a [`ReplyReader`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The three digits.
    pub code: u16,
    /// Where the reply's lines lie, as text for [`ReplyReader::text`].
    range: Range<usize>,
}

impl Reply {
    /// 2yz.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.code)
    }
}

/// What a server sent that is not SMTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyError {
    /// More than [`REPLY_BYTES_MAX`] bytes without an end.
    TooLong,
    /// A line that does not begin with three digits and a space or a hyphen.
    NotAReply(String),
}

impl std::fmt::Display for ReplyError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ReplyError::TooLong => write!(formatter, "a reply of more than {REPLY_BYTES_MAX} bytes"),
            ReplyError::NotAReply(line) => write!(formatter, "not a reply: {line:?}"),
        }
    }
}

/// Collects what a server sends and takes it apart into replies.
#[derive(Debug, Default)]
pub struct ReplyReader {
    buffer: Vec<u8>,
    start: usize,
}

impl ReplyReader {
    /// Adds bytes as they arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        } else if self.start > 0 && self.buffer.len() + bytes.len() > self.buffer.capacity() {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole reply, if it has arrived.
    ///
    /// # Errors
    /// [`ReplyError`] if it can never become one.
    pub fn next_reply(&mut self) -> Result<Option<Reply>, ReplyError> {
        let mut at = self.start;
        loop {
            let rest = &self.buffer[at..];
            let Some(end) = memchr(b'\n', rest) else {
                if self.buffer.len() - self.start > REPLY_BYTES_MAX {
                    return Err(ReplyError::TooLong);
                }
                return Ok(None);
            };
            let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
            let not_a_reply =
                || ReplyError::NotAReply(String::from_utf8_lossy(&line[..line.len().min(200)]).into());
            let &[a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', ref tail @ ..] = line else {
                return Err(not_a_reply());
            };
            at += end + 1;
            match tail.first() {
                Some(b'-') => {
                    if at - self.start > REPLY_BYTES_MAX {
                        return Err(ReplyError::TooLong);
                    }
                }
                None | Some(b' ') => {
                    let code = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
                    let range = self.start..at;
                    self.start = at;
                    return Ok(Some(Reply { code, range }));
                }
                Some(_) => return Err(not_a_reply()),
            }
        }
    }

    /// The lines of a reply, valid until the next [`push`](Self::push).
    pub fn text(&self, reply: &Reply) -> &[u8] {
        &self.buffer[reply.range.clone()]
    }
}

/// What a server offered in its answer to EHLO, as far as a source cares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// RFC 2920.
    pub pipelining: bool,
    /// RFC 1870.
    pub size: bool,
}

impl Extensions {
    /// Reads the lines of an EHLO reply.
    pub fn parse(reply: &[u8]) -> Extensions {
        let mut extensions = Extensions::default();
        for line in reply.split(|&byte| byte == b'\n').skip(1) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let keyword =
                line.get(4..).unwrap_or_default().split(|&byte| byte == b' ').next().unwrap_or_default();
            extensions.pipelining |= keyword.eq_ignore_ascii_case(b"PIPELINING");
            extensions.size |= keyword.eq_ignore_ascii_case(b"SIZE");
        }
        extensions
    }
}

/// A client's command, borrowed from its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// HELO, EHLO or LHLO with its argument.
    Hello {
        /// Which of the three.
        verb: HelloVerb,
        /// The client's name, possibly empty.
        name: &'a [u8],
    },
    /// MAIL FROM with the address between the angle brackets (empty for the null reverse-path).
    Mail(&'a [u8]),
    /// RCPT TO with the address between the angle brackets.
    Rcpt(&'a [u8]),
    /// DATA.
    Data,
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// QUIT.
    Quit,
    /// A known verb with an argument that is not what it takes.
    Malformed,
    /// Anything else.
    Unknown,
}

/// The three ways to say hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelloVerb {
    /// RFC 5321, without extensions.
    Helo,
    /// RFC 5321, with extensions.
    Ehlo,
    /// RFC 2033 (LMTP).
    Lhlo,
}

impl<'a> Command<'a> {
    /// Reads one command line without its line end.
    pub fn parse(line: &'a [u8]) -> Command<'a> {
        let line = line.trim_ascii_end();
        let verb_bytes = line.iter().position(|&byte| byte == b' ').unwrap_or(line.len());
        let (verb, argument) = (&line[..verb_bytes], line[verb_bytes..].trim_ascii_start());
        let hello = |verb| Command::Hello { verb, name: argument };
        if verb.eq_ignore_ascii_case(b"MAIL") {
            path_argument(argument, b"FROM:").map_or(Command::Malformed, Command::Mail)
        } else if verb.eq_ignore_ascii_case(b"RCPT") {
            match path_argument(argument, b"TO:") {
                Some(path) if !path.is_empty() => Command::Rcpt(path),
                _ => Command::Malformed,
            }
        } else if verb.eq_ignore_ascii_case(b"DATA") {
            Command::Data
        } else if verb.eq_ignore_ascii_case(b"EHLO") {
            hello(HelloVerb::Ehlo)
        } else if verb.eq_ignore_ascii_case(b"HELO") {
            hello(HelloVerb::Helo)
        } else if verb.eq_ignore_ascii_case(b"LHLO") {
            hello(HelloVerb::Lhlo)
        } else if verb.eq_ignore_ascii_case(b"RSET") {
            Command::Rset
        } else if verb.eq_ignore_ascii_case(b"NOOP") {
            Command::Noop
        } else if verb.eq_ignore_ascii_case(b"QUIT") {
            Command::Quit
        } else {
            Command::Unknown
        }
    }
}

/// The address of `FROM:<address> parameters` or `TO:<address> parameters`.
fn path_argument<'a>(argument: &'a [u8], keyword: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = argument.split_at_checked(keyword.len())?;
    if !head.eq_ignore_ascii_case(keyword) {
        return None;
    }
    let rest = rest.trim_ascii_start().strip_prefix(b"<")?;
    // A quoted local part may contain '>', so the last '>' before the parameters counts; parameters begin with a space
    // and contain none.
    let mut quoted = false;
    let mut escaped = false;
    for (index, &byte) in rest.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => {
                let parameters = &rest[index + 1..];
                let ends_well = parameters.is_empty() || parameters[0] == b' ';
                return ends_well.then_some(&rest[..index]);
            }
            _ => {}
        }
    }
    None
}

/// Finds the end of the content (`CRLF . CRLF`) in bytes that arrive in pieces.
///
/// Only CRLF counts as a line end (RFC 5321 §2.3.8): a lone LF before the dot does not end a message.
#[derive(Debug)]
pub struct DotFinder {
    /// How many bytes of `CRLF . CRLF` the input so far ends with, 0 to 4. Content begins as after a CRLF.
    matched: usize,
}

/// The end of the content, with the line end that belongs to the last line of content.
const END_OF_CONTENT: &[u8; 5] = b"\r\n.\r\n";

/// The part of [`END_OF_CONTENT`] that is not content: the dot and its line end.
const TERMINATOR_BYTES: usize = 3;

/// What a piece of input was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentPiece {
    /// Bytes withheld from earlier pieces that have turned out to be content: this long a prefix of `".\r"`.
    pub released: usize,
    /// So many bytes of this piece, from its start, are content.
    pub content: usize,
    /// So many bytes of this piece are used up (content, withheld, terminator).
    pub consumed: usize,
    /// The terminator has been seen; the rest of the piece is commands.
    pub ended: bool,
}

impl Default for DotFinder {
    fn default() -> DotFinder {
        DotFinder { matched: 2 }
    }
}

impl DotFinder {
    /// Takes one piece of input.
    ///
    /// A dot that opens a line, and a CR after it, are withheld until it is clear whether they end the content; they are
    /// `released` with the piece that shows that they do not.
    pub fn push(&mut self, piece: &[u8]) -> ContentPiece {
        let withheld_before = self.withheld();
        let mut at = 0;
        while self.matched != 0 && self.matched != END_OF_CONTENT.len() && at < piece.len() {
            self.matched = advance(self.matched, piece[at]);
            at += 1;
        }
        if self.matched == 0 {
            if let Some(found) = memmem::find(&piece[at..], END_OF_CONTENT) {
                at += found + END_OF_CONTENT.len();
                self.matched = END_OF_CONTENT.len();
            } else {
                // Only the last bytes can be the beginning of a terminator.
                let tail_from = at.max(piece.len().saturating_sub(END_OF_CONTENT.len() - 1));
                for &byte in &piece[tail_from..] {
                    self.matched = advance(self.matched, byte);
                }
                at = piece.len();
            }
        }
        let ended = self.matched == END_OF_CONTENT.len();
        let not_content = if ended { TERMINATOR_BYTES } else { self.withheld() };
        // What was withheld, then this piece, without what is (or may be) the terminator at the end of both.
        let content_bytes = withheld_before + at - not_content;
        let released = withheld_before.min(content_bytes);
        ContentPiece { released, content: content_bytes - released, consumed: at, ended }
    }

    /// Bytes at the end of the input so far of which it is not known whether they are content.
    fn withheld(&self) -> usize {
        self.matched.saturating_sub(2)
    }
}

/// One step of matching [`END_OF_CONTENT`].
fn advance(matched: usize, byte: u8) -> usize {
    if byte == END_OF_CONTENT[matched] {
        matched + 1
    } else if byte == b'\r' {
        1
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All content of `stream` (up to the terminator) when it arrives in the given pieces, and what follows it.
    fn read_content(pieces: &[&[u8]]) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut finder = DotFinder::default();
        let mut content = Vec::new();
        let mut pieces = pieces.iter();
        for piece in pieces.by_ref() {
            let found = finder.push(piece);
            content.extend_from_slice(&b".\r"[..found.released]);
            content.extend_from_slice(&piece[..found.content]);
            if found.ended {
                let mut rest = piece[found.consumed..].to_vec();
                pieces.for_each(|piece| rest.extend_from_slice(piece));
                return Some((content, rest));
            }
            assert_eq!(found.consumed, piece.len());
        }
        None
    }

    #[test]
    fn content_is_the_same_however_it_is_split() {
        let streams: [(&[u8], &[u8]); 6] = [
            (b".\r\nQUIT\r\n", b""),
            (b"a\r\n.\r\nQUIT\r\n", b"a\r\n"),
            (b"..stuffed\r\n..\r\n.\r\nQUIT\r\n", b"..stuffed\r\n..\r\n"),
            (b"x\r\n.\rx\r\n.\r\r\n.\r\nQUIT\r\n", b"x\r\n.\rx\r\n.\r\r\n"),
            (b"bare\n.\nlf\r\n.\n\r.\r\n\r\n.\r\nQUIT\r\n", b"bare\n.\nlf\r\n.\n\r.\r\n\r\n"),
            (b"\r\n\r\n.\r\nQUIT\r\n", b"\r\n\r\n"),
        ];
        for (stream, content) in streams {
            let expected = Some((content.to_vec(), b"QUIT\r\n".to_vec()));
            assert_eq!(read_content(&[stream]), expected);
            for first in 0..stream.len() {
                for second in first..stream.len() {
                    let pieces = [&stream[..first], &stream[first..second], &stream[second..]];
                    assert_eq!(read_content(&pieces), expected, "{pieces:?}");
                }
            }
            let bytes: Vec<&[u8]> = stream.chunks(1).collect();
            assert_eq!(read_content(&bytes), expected);
        }
    }

    #[test]
    fn a_lone_line_feed_before_the_dot_does_not_end_the_content() {
        assert_eq!(read_content(&[b"text\n.\r\n", b"text\r\n.\n"]), None);
    }

    #[test]
    fn replies_are_read_across_pieces_and_in_one_piece() {
        let mut reader = ReplyReader::default();
        reader.push(b"250-mx.example\r\n250-PIPELI");
        assert_eq!(reader.next_reply(), Ok(None));
        reader.push(b"NING\r\n250 SIZE 1000\r\n354 go on\n4");
        let hello = reader.next_reply().expect("a reply").expect("whole");
        assert_eq!(hello.code, 250);
        assert_eq!(Extensions::parse(reader.text(&hello)), Extensions { pipelining: true, size: true });
        assert_eq!(reader.next_reply().expect("a reply").map(|reply| reply.code), Some(354));
        reader.push(b"52 full\r\n");
        assert_eq!(reader.next_reply().expect("a reply").map(|reply| reply.code), Some(452));
        assert_eq!(reader.next_reply(), Ok(None));
    }

    #[test]
    fn what_is_not_a_reply_is_an_error_and_not_a_panic() {
        for junk in [&b"hello\r\n"[..], b"\r\n", b"25\r\n", b"250x\r\n", b"\xff\xfe\xfd\r\n", b"999 \r\n"] {
            let mut reader = ReplyReader::default();
            reader.push(junk);
            assert!(matches!(reader.next_reply(), Err(ReplyError::NotAReply(_))), "{junk:?}");
        }
        let mut reader = ReplyReader::default();
        reader.push(&vec![b'2'; REPLY_BYTES_MAX + 1]);
        assert_eq!(reader.next_reply(), Err(ReplyError::TooLong));
    }

    #[test]
    fn commands_are_read_in_any_case_with_parameters() {
        assert_eq!(Command::parse(b"mail from:<a@b.example> SIZE=10"), Command::Mail(b"a@b.example"));
        assert_eq!(Command::parse(b"MAIL FROM:<>"), Command::Mail(b""));
        assert_eq!(Command::parse(b"RCPT TO: <\"a>b\"@c.example>"), Command::Rcpt(b"\"a>b\"@c.example"));
        assert_eq!(Command::parse(b"RCPT TO:<>"), Command::Malformed);
        assert_eq!(Command::parse(b"RCPT TO:<a@b"), Command::Malformed);
        assert_eq!(Command::parse(b"MAIL"), Command::Malformed);
        assert_eq!(
            Command::parse(b"EHLO client.example\r"),
            Command::Hello { verb: HelloVerb::Ehlo, name: b"client.example" }
        );
        assert_eq!(Command::parse(b"data"), Command::Data);
        assert_eq!(Command::parse(b"XYZZY"), Command::Unknown);
        assert_eq!(Command::parse(b""), Command::Unknown);
    }
}
