//! A cursor over the header block of a message in wire form (RFC 5322 §2.2): borrowed slices, folds left in place.

use std::ops::Range;

use memchr::memchr;

/// One header as it stands in the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header<'a> {
    /// The field name, without the colon.
    pub name: &'a [u8],
    /// What follows the colon, folds included, without the last CRLF.
    pub value: &'a [u8],
    /// Where the whole header stands, with its last CRLF.
    pub range: Range<usize>,
}

impl Header<'_> {
    /// The name is `name`, in any case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The value as text: unfolded, trimmed, invalid UTF-8 and control characters as `?`; at most `bytes_max` bytes.
    pub fn value_text(&self, bytes_max: usize) -> String {
        if self.value.iter().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~'))
            && let Ok(plain) = std::str::from_utf8(self.value.trim_ascii())
        {
            return plain[..plain.len().min(bytes_max)].to_owned();
        }
        let mut text = String::new();
        for c in String::from_utf8_lossy(self.value).trim().chars() {
            let c = match c {
                '\r' | '\n' => continue,
                '\t' => ' ',
                char::REPLACEMENT_CHARACTER => '?',
                c if c.is_control() => '?',
                c => c,
            };
            if text.len() + c.len_utf8() > bytes_max {
                break;
            }
            text.push(c);
        }
        text
    }
}

/// What stands after the last header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockEnd {
    /// The blank line between header and body begins here.
    BlankLine(usize),
    /// A line begins here that is no header, with no blank line before it.
    Text(usize),
    /// The message, or what was shown of it, ends here.
    Input(usize),
}

impl BlockEnd {
    /// Where the header block ends.
    pub fn at(self) -> usize {
        match self {
            BlockEnd::BlankLine(at) | BlockEnd::Text(at) | BlockEnd::Input(at) => at,
        }
    }
}

/// Yields the headers from the top; [`HeaderCursor::end`] tells where and why it stopped.
#[derive(Debug, Clone)]
pub struct HeaderCursor<'a> {
    wire: &'a [u8],
    at: usize,
    whole: bool,
    end: Option<BlockEnd>,
}

impl<'a> HeaderCursor<'a> {
    /// A cursor over the beginning of a message. With `whole` false more follows, and a last header that might go on
    /// is not yielded.
    pub fn new(wire: &'a [u8], whole: bool) -> HeaderCursor<'a> {
        HeaderCursor::starting_at(wire, 0, whole)
    }

    /// As [`HeaderCursor::new`], from position `at` on; ranges count from the start of `wire`.
    pub fn starting_at(wire: &'a [u8], at: usize, whole: bool) -> HeaderCursor<'a> {
        HeaderCursor { wire, at, whole, end: None }
    }

    /// Where the block ends; known once the cursor has yielded `None`.
    pub fn end(&self) -> BlockEnd {
        self.end.unwrap_or(BlockEnd::Input(self.at))
    }

    fn stop(&mut self, end: BlockEnd) -> Option<Header<'a>> {
        self.end = Some(end);
        None
    }
}

impl<'a> Iterator for HeaderCursor<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        if self.end.is_some() {
            return None;
        }
        let start = self.at;
        let rest = &self.wire[start..];
        if rest.is_empty() {
            return self.stop(BlockEnd::Input(start));
        }
        if rest.starts_with(b"\r\n") {
            return self.stop(BlockEnd::BlankLine(start));
        }
        // A leading dot is stuffing unless another follows; names may begin with a dot.
        let stuffing = usize::from(rest[0] == b'.');
        let name_bytes = rest[stuffing..]
            .iter()
            .position(|byte| *byte == b':' || !byte.is_ascii_graphic())
            .unwrap_or(rest.len());
        let name_end = (stuffing + name_bytes).min(rest.len());
        let gap = rest[name_end..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let colon = name_end + gap;
        match rest.get(colon) {
            Some(b':') if name_bytes > 0 => {}
            None if !self.whole => return self.stop(BlockEnd::Input(start)),
            _ => return self.stop(BlockEnd::Text(start)),
        }
        let mut from = colon;
        let end = loop {
            let Some(found) = memchr(b'\n', &rest[from..]) else {
                if self.whole {
                    break rest.len();
                }
                return self.stop(BlockEnd::Input(start));
            };
            let next = from + found + 1;
            if rest[next - 2] != b'\r' {
                from = next;
                continue;
            }
            match rest.get(next) {
                Some(b' ' | b'\t') => from = next,
                None if !self.whole => return self.stop(BlockEnd::Input(start)),
                _ => break next,
            }
        };
        self.at = start + end;
        let value = &rest[colon + 1..end];
        Some(Header {
            name: &rest[stuffing..name_end],
            value: value.strip_suffix(b"\r\n").unwrap_or(value),
            range: start..start + end,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(wire: &str, whole: bool) -> (Vec<String>, BlockEnd) {
        let mut cursor = HeaderCursor::new(wire.as_bytes(), whole);
        let names = cursor.by_ref().map(|h| String::from_utf8_lossy(h.name).into_owned()).collect();
        (names, cursor.end())
    }

    #[test]
    fn headers_end_at_the_blank_line_or_at_text_or_at_the_end() {
        assert_eq!(
            names("A: 1\r\nB : 2\r\n 3\r\n\r\nx", true),
            (vec!["A".into(), "B".into()], BlockEnd::BlankLine(17))
        );
        assert_eq!(names("A: 1\r\nno header\r\n", true), (vec!["A".into()], BlockEnd::Text(6)));
        assert_eq!(names("A: 1\r\n", true), (vec!["A".into()], BlockEnd::Input(6)));
        assert_eq!(names("A: 1\r\n", false), (vec![], BlockEnd::Input(0)));
        assert_eq!(names("A: 1\r\nB: 2\r\n", false), (vec!["A".into()], BlockEnd::Input(6)));
        assert_eq!(names("..X: 1\r\n\r\n", true), (vec![".X".into()], BlockEnd::BlankLine(8)));
        assert_eq!(names(": 1\r\n", true), (vec![], BlockEnd::Text(0)));
        assert_eq!(names("", true), (vec![], BlockEnd::Input(0)));
    }

    #[test]
    fn values_are_unfolded_for_the_log() {
        let header = HeaderCursor::new(b"Message-ID:\r\n <a\xff\x01@b>\r\n", true).next().expect("a header");
        assert_eq!(header.value_text(100), "<a??@b>");
        assert_eq!(header.value_text(3), "<a?");
        assert!(header.is("message-id"));
    }
}
