//! One SMTP reply line: code, enhanced status code, text (RFC 5321 §4.2, RFC 3463).

use std::borrow::Cow;
use std::fmt;

/// A reply as it goes on the wire, without the line end: `554 5.7.1 <a@b>: Relay access denied`.
///
/// Invariant: begins with three digits of which the first is 2 to 5, then a space; holds no control character, so
/// text taken from a client can never start a second reply line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply(Cow<'static, str>);

impl Reply {
    /// A reply that never changes.
    ///
    /// # Panics
    /// When `line` does not begin with a reply code; in a `const` this is a compile error.
    pub const fn fixed(line: &'static str) -> Reply {
        let b = line.as_bytes();
        assert!(b.len() > 4 && b[0] >= b'2' && b[0] <= b'5', "a reply begins with a code");
        assert!(b[1].is_ascii_digit() && b[2].is_ascii_digit() && b[3] == b' ', "a reply begins with a code");
        Reply(Cow::Borrowed(line))
    }

    /// A reply of its three parts. Control characters in `text` become `?`.
    ///
    /// # Panics
    /// When `code` is outside 200..=599: codes are ours, never a client's.
    pub fn new(code: u16, enhanced: &str, text: impl fmt::Display) -> Reply {
        assert!((200..600).contains(&code), "a reply code lies between 200 and 599");
        Reply(Cow::Owned(printable(format!("{code} {enhanced} {text}"))))
    }

    /// Reads a reply line, for instance from an access table. `None` when it does not begin with a code.
    pub fn parse(line: &str) -> Option<Reply> {
        let b = line.as_bytes();
        let coded = b.len() > 4 && (b'2'..=b'5').contains(&b[0]) && b[1..3].iter().all(u8::is_ascii_digit);
        (coded && b[3] == b' ').then(|| Reply(Cow::Owned(printable(line.to_owned()))))
    }

    /// The whole line without its end.
    pub fn line(&self) -> &str {
        &self.0
    }

    /// The three-digit code.
    pub fn code(&self) -> u16 {
        self.0.as_bytes()[..3].iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'))
    }

    /// The enhanced status code (RFC 3463), when the line has one.
    pub fn enhanced(&self) -> Option<&str> {
        let word = self.0[4..].split(' ').next()?;
        let mut parts = word.split('.');
        let whole = (0..3)
            .all(|_| parts.next().is_some_and(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit())));
        (whole && parts.next().is_none()).then_some(word)
    }

    /// The text after the code and the enhanced status code.
    pub fn text(&self) -> &str {
        match self.enhanced() {
            Some(word) => self.0[4 + word.len()..].trim_start(),
            None => &self.0[4..],
        }
    }

    /// With `soft_bounce = yes` a 5xx becomes 4xx, in the code and in the enhanced code.
    pub fn softened(self) -> Reply {
        if !self.0.starts_with('5') {
            return self;
        }
        let has_enhanced = self.enhanced().is_some_and(|word| word.starts_with("5."));
        let mut line = self.0.into_owned();
        line.replace_range(0..1, "4");
        if has_enhanced {
            line.replace_range(4..5, "4");
        }
        Reply(Cow::Owned(line))
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Replaces control characters by `?`, in place where possible.
pub(crate) fn printable(text: String) -> String {
    if text.chars().any(char::is_control) {
        text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_reply() {
        let reply = Reply::new(554, "5.7.1", "<a@b>: Relay access denied");
        assert_eq!((reply.code(), reply.enhanced()), (554, Some("5.7.1")));
        assert_eq!(reply.text(), "<a@b>: Relay access denied");
        assert_eq!(Reply::fixed("501 Syntax: HELO hostname").enhanced(), None);
    }

    #[test]
    fn soft_bounce_turns_both_codes() {
        let soft = Reply::fixed("550 5.1.1 no such user").softened();
        assert_eq!(soft.line(), "450 4.1.1 no such user");
        assert_eq!(Reply::fixed("502 not here").softened().line(), "402 not here");
        assert_eq!(Reply::fixed("250 2.0.0 Ok").softened().line(), "250 2.0.0 Ok");
    }

    #[test]
    fn client_text_cannot_start_a_second_line() {
        assert_eq!(Reply::new(550, "5.7.1", "a\r\n250 Ok").line(), "550 5.7.1 a??250 Ok");
        assert_eq!(Reply::parse("550 x\r\n250 y").map(|r| r.line().to_owned()), Some("550 x??250 y".into()));
        assert_eq!(Reply::parse("no"), None);
    }
}
