//! Lines of a dialogue in one buffer, and what is reported of them.

use super::{ErrorClasses, FIRST_BYTES, LINE_BYTES_MAX, TRANSCRIPT_BYTES_MAX};
use crate::envelope::floor_char_boundary;

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

    const fn mark(self) -> char {
        match self {
            Side::Peer => '<',
            Side::Ourselves => '>',
        }
    }
}

/// Lines without control characters, each with its side's mark before it and LF behind it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lines {
    text: String,
    count: u32,
    left_out: u32,
}

impl Lines {
    pub fn count(&self) -> u32 {
        self.count
    }

    pub fn clear(&mut self) {
        self.text.clear();
        (self.count, self.left_out) = (0, 0);
    }

    pub fn add(&mut self, side: Side, line: &str) {
        let line = &line[..floor_char_boundary(line, LINE_BYTES_MAX)];
        self.make_room(line.len() + 2);
        self.text.push(side.mark());
        if line.bytes().all(|byte| byte >= b' ' && byte != 0x7f) {
            self.text.push_str(line);
        } else {
            self.text.extend(line.chars().map(|c| if c.is_control() { '?' } else { c }));
        }
        self.text.push('\n');
        self.count = self.count.saturating_add(1);
    }

    /// As [`add`](Self::add) for bytes: what is no UTF-8 becomes `?`.
    pub fn add_bytes(&mut self, side: Side, line: &[u8]) {
        let line = &line[..line.len().min(LINE_BYTES_MAX)];
        match std::str::from_utf8(line) {
            Ok(line) => self.add(side, line),
            Err(_) => {
                let mut text = String::with_capacity(line.len());
                for chunk in line.utf8_chunks() {
                    text.push_str(chunk.valid());
                    text.extend((!chunk.invalid().is_empty()).then_some('?'));
                }
                self.add(side, &text);
            }
        }
    }

    /// The older half goes when there is no room for `bytes` more, so that lines are seldom moved.
    fn make_room(&mut self, bytes: usize) {
        if self.text.capacity() == 0 {
            self.text.reserve(FIRST_BYTES);
        }
        if self.text.len() + bytes <= TRANSCRIPT_BYTES_MAX {
            return;
        }
        let half = &self.text.as_bytes()[TRANSCRIPT_BYTES_MAX / 2..];
        let end = half.iter().position(|&byte| byte == b'\n');
        let end = end.map_or(self.text.len(), |place| TRANSCRIPT_BYTES_MAX / 2 + place + 1);
        let gone = self.text.as_bytes()[..end].iter().filter(|&&byte| byte == b'\n').count();
        self.left_out = self.left_out.saturating_add(gone as u32);
        self.text.drain(..end);
    }
}

/// What is reported of a session.
#[derive(Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The classes of errors for which it is reported.
    pub met: ErrorClasses,
    pub(super) lines: Lines,
    /// Why the session ended before its time.
    pub reason: Option<&'static str>,
}

impl Excerpt {
    /// The lines, oldest first, with who said them.
    pub fn lines(&self) -> impl Iterator<Item = (Side, &str)> {
        self.lines.text.lines().map(|line| match line.strip_prefix(Side::Peer.mark()) {
            Some(line) => (Side::Peer, line),
            None => (Side::Ourselves, line.get(1..).unwrap_or_default()),
        })
    }

    /// How many older lines are missing.
    pub fn left_out(&self) -> u32 {
        self.lines.left_out
    }
}
