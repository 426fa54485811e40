//! Logical lines as Postfix's text tables have them: a line that begins with white space continues the one before;
//! empty lines and lines whose first character after white space is `#` are passed by, also between continuations.

use std::borrow::Cow;

/// The logical lines of a text.
pub struct LogicalLines<'a> {
    rest: &'a [u8],
    /// Number of the last line that was taken from `rest`.
    number: usize,
}

/// One logical line.
#[derive(Debug, PartialEq, Eq)]
pub struct LogicalLine<'a> {
    /// Number of its first line, from 1.
    pub first: usize,
    /// Number of its last line.
    pub last: usize,
    /// Its bytes, line ends left out.
    pub bytes: Cow<'a, [u8]>,
}

impl<'a> LogicalLines<'a> {
    /// The logical lines of `text`.
    pub fn of(text: &'a [u8]) -> LogicalLines<'a> {
        LogicalLines { rest: text, number: 0 }
    }

    fn physical(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let end = self.rest.iter().position(|&byte| byte == b'\n');
        let (line, rest) = match end {
            Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
            None => (self.rest, &[][..]),
        };
        self.rest = rest;
        self.number += 1;
        Some(line)
    }
}

fn is_space(byte: u8) -> bool {
    super::is_space(byte)
}

/// Whether a line says nothing: empty, white space only, or a comment.
fn is_idle(line: &[u8]) -> bool {
    line.iter().find(|&&byte| !is_space(byte)).is_none_or(|&byte| byte == b'#')
}

impl<'a> Iterator for LogicalLines<'a> {
    type Item = LogicalLine<'a>;

    fn next(&mut self) -> Option<LogicalLine<'a>> {
        let mut line = self.physical()?;
        while is_idle(line) {
            line = self.physical()?;
        }
        let first = self.number;
        let mut logical = LogicalLine { first, last: first, bytes: Cow::Borrowed(line) };
        loop {
            // Only a line that belongs to us may be taken.
            let (rest, number) = (self.rest, self.number);
            match self.physical() {
                Some(line) if is_idle(line) => {}
                Some(line) if is_space(line[0]) => {
                    logical.bytes.to_mut().extend_from_slice(line);
                    logical.last = self.number;
                }
                _ => {
                    (self.rest, self.number) = (rest, number);
                    break;
                }
            }
        }
        if let Some(end) = logical.bytes.iter().rposition(|&byte| !is_space(byte)) {
            match &mut logical.bytes {
                Cow::Borrowed(bytes) => *bytes = &bytes[..=end],
                Cow::Owned(bytes) => bytes.truncate(end + 1),
            }
        }
        Some(logical)
    }
}

impl LogicalLine<'_> {
    /// The line as text.
    ///
    /// # Errors
    /// It is not UTF-8, as Postfix says it.
    pub fn text(&self) -> Result<&str, String> {
        std::str::from_utf8(&self.bytes).map_err(|_| {
            let text = String::from_utf8_lossy(&self.bytes).replace(char::REPLACEMENT_CHARACTER, "?");
            format!("non-UTF-8 input \"{text}\" -- ignoring this line")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<(usize, usize, String)> {
        LogicalLines::of(text.as_bytes())
            .map(|line| (line.first, line.last, String::from_utf8(line.bytes.into_owned()).unwrap()))
            .collect()
    }

    #[test]
    fn continuations_join_and_comments_vanish() {
        let text = "# head\n\na b\n  c\n# between\n  d\n\n\te\nf g\r\n # not part\nh i";
        assert_eq!(
            lines(text),
            [(3, 8, "a b  c  d\te".into()), (9, 9, "f g".into()), (11, 11, "h i".into())]
        );
    }
}
