//! Reading replies from bytes that come in any pieces.

use super::{REPLY_LINE_BYTES_MAX, REPLY_LINES_MAX};
use crate::dsn::{Class, Status};

/// The server does not speak SMTP, or speaks too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Garbage;

/// One whole reply. Its text lies in the reader.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reply<'a> {
    /// 200 to 599; the code of the last line.
    pub code: u16,
    /// All lines with their codes, separated by `\n`, without control characters otherwise.
    pub text: &'a str,
}

impl Reply<'_> {
    /// 2 to 5.
    pub fn class(&self) -> u16 {
        self.code / 100
    }

    /// The enhanced code of the last line if it has one of the right class, else `x.0.0`.
    /// For 3xx there is none (RFC 2034 section 4).
    pub fn status(&self) -> Option<Status> {
        let class = Class::from_digit(self.class() as u8)?;
        let last = self.text.rsplit('\n').next().unwrap_or("");
        let words = last.get(4..).unwrap_or("").trim_start_matches(' ');
        match Status::read(words.as_bytes()) {
            Some((status, _)) if status.class() == class => Some(status),
            _ => Some(Status::new(class, 0, 0)),
        }
    }

    /// The texts behind the codes, line by line.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.split('\n').map(|line| line.get(4..).unwrap_or(""))
    }
}

/// Collects bytes to lines and lines to replies.
#[derive(Debug, Default)]
pub(super) struct ReplyReader {
    /// The beginning of a line whose end has not come.
    partial: Vec<u8>,
    /// Lines of the reply so far.
    text: String,
    lines: usize,
    /// The last reply was handed out; the next line begins a new one.
    complete: bool,
}

impl ReplyReader {
    /// Takes bytes from the front of `input` until a reply is whole. Answers its code, or `None` when
    /// all input is used up; its text can be lent until the next call.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<u16>, Garbage> {
        while let Some(end) = memchr::memchr(b'\n', input) {
            let (line, rest) = input.split_at(end);
            *input = &rest[1..];
            let last = if self.partial.is_empty() {
                self.line(line)?
            } else {
                if self.partial.len() + line.len() > REPLY_LINE_BYTES_MAX + 1 {
                    return Err(Garbage);
                }
                self.partial.extend_from_slice(line);
                let mut whole = std::mem::take(&mut self.partial);
                let last = self.line(&whole);
                whole.clear();
                self.partial = whole;
                last?
            };
            if last.is_some() {
                return Ok(last);
            }
        }
        // One more for the CR, which does not count.
        if self.partial.len() + input.len() > REPLY_LINE_BYTES_MAX + 1 {
            return Err(Garbage);
        }
        self.partial.extend_from_slice(input);
        *input = &[];
        Ok(None)
    }

    /// Lends the text out so that the session can change while it reads it; see [`ReplyReader::give_back`].
    pub fn lend(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    /// Takes the lent text back for its allocation.
    pub fn give_back(&mut self, text: String) {
        self.text = text;
    }

    /// True if part of a reply has come.
    pub fn is_inside(&self) -> bool {
        !self.partial.is_empty() || (self.lines > 0 && !self.complete)
    }

    /// Takes one line without its LF; the code if it ends a reply.
    fn line(&mut self, line: &[u8]) -> Result<Option<u16>, Garbage> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if self.complete || self.lines == 0 {
            self.complete = false;
            self.lines = 0;
            self.text.clear();
        }
        if line.len() > REPLY_LINE_BYTES_MAX || self.lines == REPLY_LINES_MAX {
            return Err(Garbage);
        }
        let &[hundreds @ b'2'..=b'5', tens @ b'0'..=b'9', ones @ b'0'..=b'9', ..] = line else {
            return Err(Garbage);
        };
        let more = match line.get(3) {
            Some(b'-') => true,
            None | Some(b' ') => false,
            Some(_) => return Err(Garbage),
        };
        if self.lines > 0 {
            self.text.push('\n');
        }
        push_printable(&mut self.text, line);
        self.lines += 1;
        self.complete = !more;
        let digit = |byte: u8| u16::from(byte - b'0');
        Ok((!more).then(|| digit(hundreds) * 100 + digit(tens) * 10 + digit(ones)))
    }
}

/// Appends bytes as text: whatever could break a log line or a notice becomes `?`, a tab a blank.
fn push_printable(text: &mut String, line: &[u8]) {
    if line.iter().all(|&byte| (0x20..0x7f).contains(&byte)) {
        // Plain ASCII: the usual case, and checked as such above.
        text.push_str(std::str::from_utf8(line).unwrap_or(""));
        return;
    }
    for chunk in line.utf8_chunks() {
        for character in chunk.valid().chars() {
            text.push(match character {
                '\t' => ' ',
                character if character.is_control() => '?',
                character => character,
            });
        }
        if !chunk.invalid().is_empty() {
            text.push('?');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(mut input: &[u8]) -> Result<Vec<(u16, String)>, Garbage> {
        let mut reader = ReplyReader::default();
        let mut replies = Vec::new();
        while let Some(code) = reader.read(&mut input)? {
            replies.push((code, reader.text.clone()));
        }
        Ok(replies)
    }

    #[test]
    fn replies_have_lines() {
        let replies = read_all(b"220 hello\r\n250-one\r\n250 two\r\n354\r\n").expect("replies");
        let expected = [(220, "220 hello"), (250, "250-one\n250 two"), (354, "354")];
        assert_eq!(replies, expected.map(|(code, text)| (code, text.to_owned())));
    }

    #[test]
    fn hostile_bytes_cannot_break_a_log_line() {
        let replies = read_all(b"550 a\x00b\rc\x1b[2J\td\xff \xc3\xa9 e\x7f\r\n").expect("a reply");
        assert_eq!(replies[0].1, "550 a?b?c?[2J d? é e?");
    }

    #[test]
    fn what_is_no_reply_is_garbage() {
        for input in
            [&b"hello\r\n"[..], b"\r\n", b"25\r\n", b"2500 x\r\n", b"150 x\r\n", b"650 x\r\n", b"250:x\r\n"]
        {
            assert_eq!(read_all(input), Err(Garbage), "{}", String::from_utf8_lossy(input));
        }
    }

    #[test]
    fn limits_end_a_flood() {
        let mut line = b"250 ".to_vec();
        line.resize(REPLY_LINE_BYTES_MAX, b'x');
        line.extend_from_slice(b"\r\n");
        assert!(read_all(&line).is_ok());
        line.insert(4, b'x');
        assert_eq!(read_all(&line), Err(Garbage));
        assert_eq!(read_all(&vec![b'2'; REPLY_LINE_BYTES_MAX + 2]), Err(Garbage));
        assert!(read_all(&b"250-x\r\n".repeat(REPLY_LINES_MAX)).is_ok());
        assert_eq!(read_all(&b"250-x\r\n".repeat(REPLY_LINES_MAX + 1)), Err(Garbage));
    }

    #[test]
    fn enhanced_codes_count_only_in_their_class() {
        let status = |text: &'static str| Reply { code: text[..3].parse().unwrap(), text }.status();
        assert_eq!(status("550 5.1.1 unknown"), Some(Status::permanent(1, 1)));
        assert_eq!(status("550 2.1.1 unknown"), Some(Status::permanent(0, 0)));
        assert_eq!(status("450 unknown"), Some(Status::persistent(0, 0)));
        assert_eq!(status("550-5.1.1 a\n550 5.7.1 b"), Some(Status::permanent(7, 1)));
        assert_eq!(status("354 go"), None);
    }
}
