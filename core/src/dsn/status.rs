//! The enhanced status code of RFC 3463: `class.subject.detail`.

use std::fmt;

/// What a status code's first digit says (RFC 3463 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// `2.x.x`: it worked.
    Success,
    /// `4.x.x`: it may work later.
    Persistent,
    /// `5.x.x`: it will not work however often it is tried.
    Permanent,
}

impl Class {
    /// The digit: 2, 4 or 5.
    pub const fn digit(self) -> u8 {
        match self {
            Class::Success => 2,
            Class::Persistent => 4,
            Class::Permanent => 5,
        }
    }

    /// The class that a digit names, if it names one.
    pub const fn from_digit(digit: u8) -> Option<Class> {
        match digit {
            2 => Some(Class::Success),
            4 => Some(Class::Persistent),
            5 => Some(Class::Permanent),
            _ => None,
        }
    }
}

/// An enhanced status code, for example `5.1.1`. Subject and detail are 0 to 999 (RFC 3463 section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status {
    class: Class,
    subject: u16,
    detail: u16,
}

impl Status {
    /// Makes a code. Subject and detail above 999 do not exist on the wire.
    ///
    /// # Panics
    /// When subject or detail exceeds 999: callers name constants.
    pub const fn new(class: Class, subject: u16, detail: u16) -> Status {
        assert!(subject <= 999 && detail <= 999);
        Status { class, subject, detail }
    }

    /// `2.subject.detail`.
    pub const fn success(subject: u16, detail: u16) -> Status {
        Status::new(Class::Success, subject, detail)
    }

    /// `4.subject.detail`.
    pub const fn persistent(subject: u16, detail: u16) -> Status {
        Status::new(Class::Persistent, subject, detail)
    }

    /// `5.subject.detail`.
    pub const fn permanent(subject: u16, detail: u16) -> Status {
        Status::new(Class::Permanent, subject, detail)
    }

    /// Success, persistent or permanent.
    pub const fn class(self) -> Class {
        self.class
    }

    /// The second number, 0 to 999.
    pub const fn subject(self) -> u16 {
        self.subject
    }

    /// The third number, 0 to 999.
    pub const fn detail(self) -> u16 {
        self.detail
    }

    /// The same subject and detail in another class: a refusal that is to be tried again.
    pub const fn with_class(self, class: Class) -> Status {
        Status { class, ..self }
    }

    /// Reads a code at the beginning of `text`; it must end there or be followed by white space.
    /// Answers the code and the number of bytes that it takes (at most 9).
    pub fn read(text: &[u8]) -> Option<(Status, usize)> {
        let class = Class::from_digit(text.first()?.wrapping_sub(b'0'))?;
        let (subject, after_subject) = read_number(text, 1)?;
        let (detail, end) = read_number(text, after_subject)?;
        match text.get(end) {
            None | Some(b' ' | b'\t' | b'\r' | b'\n') => Some((Status { class, subject, detail }, end)),
            Some(_) => None,
        }
    }

    /// Reads a text that is a code and nothing else.
    pub fn parse(text: &str) -> Option<Status> {
        match Status::read(text.as_bytes()) {
            Some((status, end)) if end == text.len() => Some(status),
            _ => None,
        }
    }
}

/// Reads `.` and one to three digits at `at`; answers the number and where it ends.
fn read_number(text: &[u8], at: usize) -> Option<(u16, usize)> {
    if *text.get(at)? != b'.' {
        return None;
    }
    let mut number = 0u16;
    let mut end = at + 1;
    while end < at + 4
        && let Some(digit) = text.get(end).filter(|byte| byte.is_ascii_digit())
    {
        number = number * 10 + u16::from(digit - b'0');
        end += 1;
    }
    (end > at + 1).then_some((number, end))
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class.digit(), self.subject, self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_where_they_stand() {
        assert_eq!(Status::read(b"5.1.1 unknown"), Some((Status::permanent(1, 1), 5)));
        assert_eq!(Status::parse("2.0.0"), Some(Status::success(0, 0)));
        assert_eq!(Status::parse("4.7.999"), Some(Status::persistent(7, 999)));
    }

    #[test]
    fn what_only_looks_like_a_code_is_none() {
        for text in
            ["", "5", "5.", "5.1", "5.1.", "3.1.1", "5.1.1x", "5.1000.1", "5..1", "5.1.1.1", "550 5.1.1"]
        {
            assert_eq!(Status::read(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_code_is_written_as_it_was_read() {
        assert_eq!(Status::parse("4.3.10").map(|status| status.to_string()).as_deref(), Some("4.3.10"));
        assert_eq!(Status::permanent(7, 1).with_class(Class::Persistent).to_string(), "4.7.1");
    }
}
