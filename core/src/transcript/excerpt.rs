//! Lines of a dialogue in one buffer, and what is reported of them.

use super::{ErrorClasses, FIRST_BYTES, LINE_BYTES_MAX, TRANSCRIPT_BYTES_MAX};

/// Who says a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The other end of the connection.
    Peer,
    /// This system.
    Ourselves,
}

impl Side {
    /// What stands before its lines in a report, in Postfix's columns.
    pub const fn label(self) -> &'static str {
        match self {
            Side::Peer => "In:  ",
            Side::Ourselves => "Out: ",
        }
    }

    pub(super) const fn other(self) -> Side {
        match self {
            Side::Peer => Side::Ourselves,
            Side::Ourselves => Side::Peer,
        }
    }

    const fn mark(self) -> u8 {
        match self {
            Side::Peer => b'<',
            Side::Ourselves => b'>',
        }
    }
}

/// What stands before a piece: its side's mark, and how many bytes it has.
const HEAD_BYTES: usize = 3;

/// What was said, as it came, in one buffer: nearly no session is ever reported, so that only then it is made fit to
/// read. A piece is a line, or a short reply of several lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    count: u32,
    left_out: u32,
}

impl Lines {
    pub fn count(&self) -> u32 {
        self.count
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        (self.count, self.left_out) = (0, 0);
    }

    /// Adds one line.
    pub fn add_line(&mut self, side: Side, line: &[u8]) {
        self.add_piece(side, line, 1);
    }

    /// Adds what may have several lines.
    pub fn add_lines(&mut self, side: Side, text: &[u8]) {
        if text.len() <= LINE_BYTES_MAX {
            self.add_piece(side, text, lines_of(text));
        } else {
            text.split(|&byte| byte == b'\n').for_each(|line| self.add_piece(side, line, 1));
        }
    }

    fn add_piece(&mut self, side: Side, text: &[u8], lines: u32) {
        let text = cut(text);
        let bytes = HEAD_BYTES + text.len();
        if self.bytes.len() + bytes > self.bytes.capacity().min(TRANSCRIPT_BYTES_MAX) {
            self.make_room(bytes);
        }
        let [low, high] = (text.len() as u16).to_le_bytes();
        self.bytes.extend_from_slice(&[side.mark(), low, high]);
        self.bytes.extend_from_slice(text);
        self.count = self.count.saturating_add(lines);
    }

    /// Where the limit is met the older half goes, so that pieces are seldom moved.
    #[cold]
    fn make_room(&mut self, bytes: usize) {
        if self.bytes.len() + bytes <= TRANSCRIPT_BYTES_MAX {
            self.bytes.reserve(bytes.max(FIRST_BYTES));
            return;
        }
        let mut gone = 0;
        for (_, text) in pieces(&self.bytes) {
            gone += HEAD_BYTES + text.len();
            self.left_out = self.left_out.saturating_add(lines_of(text));
            if gone >= TRANSCRIPT_BYTES_MAX / 2 {
                break;
            }
        }
        self.bytes.drain(..gone);
    }

    /// The lines without control characters, each with its side's mark before it and LF behind it; how many are missing.
    pub fn take_text(&mut self) -> (String, u32) {
        let mut out = String::with_capacity(self.bytes.len());
        for (mark, text) in pieces(&self.bytes) {
            for line in text.split(|&byte| byte == b'\n') {
                out.push(char::from(mark));
                for chunk in line.strip_suffix(b"\r").unwrap_or(line).utf8_chunks() {
                    out.extend(chunk.valid().chars().map(|c| if c.is_control() { '?' } else { c }));
                    out.extend((!chunk.invalid().is_empty()).then_some('?'));
                }
                out.push('\n');
            }
        }
        let left_out = self.left_out;
        self.clear();
        (out, left_out)
    }
}

/// At most [`LINE_BYTES_MAX`] bytes of `text`, and no part of a character.
fn cut(text: &[u8]) -> &[u8] {
    if text.len() <= LINE_BYTES_MAX {
        return text;
    }
    let begins_character = |&at: &usize| text[at] & 0xc0 != 0x80;
    let end = (LINE_BYTES_MAX - 3..=LINE_BYTES_MAX).rev().find(begins_character);
    &text[..end.unwrap_or(LINE_BYTES_MAX)]
}

fn lines_of(text: &[u8]) -> u32 {
    1 + memchr::memchr_iter(b'\n', text).count() as u32
}

/// The pieces of [`Lines`], each with its side's mark.
fn pieces(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (&[mark, low, high], rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let (text, rest) = rest.split_at(usize::from(u16::from_le_bytes([low, high])));
        bytes = rest;
        Some((mark, text))
    })
}

/// What is reported of a session.
#[derive(Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The classes of errors for which it is reported.
    pub met: ErrorClasses,
    pub(super) text: String,
    pub(super) left_out: u32,
    /// Why the session ended before its time.
    pub reason: Option<&'static str>,
}

impl Excerpt {
    /// The lines, oldest first, with who said them.
    pub fn lines(&self) -> impl Iterator<Item = (Side, &str)> {
        self.text.lines().map(|line| match line.strip_prefix(char::from(Side::Peer.mark())) {
            Some(line) => (Side::Peer, line),
            None => (Side::Ourselves, line.get(1..).unwrap_or_default()),
        })
    }

    /// How many older lines are missing.
    pub fn left_out(&self) -> u32 {
        self.left_out
    }
}
