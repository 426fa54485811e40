//! Bracket expressions: sets of ASCII characters and bytes, and how both engines write them.

use std::fmt::Write;

/// A set of bytes.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ByteSet([bool; 256]);

impl ByteSet {
    pub(super) fn new() -> ByteSet {
        ByteSet([false; 256])
    }

    pub(super) fn of(is_in: impl Fn(u8) -> bool) -> ByteSet {
        let mut set = ByteSet::new();
        (0..=255).filter(|&byte| is_in(byte)).for_each(|byte| set.add(byte));
        set
    }

    pub(super) fn add(&mut self, byte: u8) {
        self.0[usize::from(byte)] = true;
    }

    pub(super) fn add_range(&mut self, first: u8, last: u8) {
        (first..=last).for_each(|byte| self.add(byte));
    }

    pub(super) fn add_all(&mut self, other: &ByteSet) {
        (0..256).filter(|&index| other.0[index]).for_each(|index| self.0[index] = true);
    }

    fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte)]
    }

    /// As a class of the `regex` crate and of PCRE2, with its brackets.
    pub(super) fn written(&self, negated: bool) -> String {
        let mut text = String::from(if negated { "[^" } else { "[" });
        let mut any = false;
        let mut byte = 0_u16;
        while byte < 256 {
            if !self.contains(byte as u8) {
                byte += 1;
                continue;
            }
            any = true;
            let first = byte;
            while byte < 256 && self.contains(byte as u8) {
                byte += 1;
            }
            let last = byte - 1;
            // Writing to a string cannot fail.
            let _ = match first == last {
                true => write!(text, "\\x{first:02x}"),
                false => write!(text, "\\x{first:02x}-\\x{last:02x}"),
            };
        }
        match (any, negated) {
            (true, _) => text + "]",
            // Nothing, or everything.
            (false, false) => "[^\\x00-\\xff]".to_owned(),
            (false, true) => "[\\x00-\\xff]".to_owned(),
        }
    }
}

/// The bytes of a `[:name:]`, in the C locale.
pub(super) fn named(name: &str) -> Option<ByteSet> {
    let is_in: fn(u8) -> bool = match name {
        "alpha" => |byte| byte.is_ascii_alphabetic(),
        "digit" => |byte| byte.is_ascii_digit(),
        "alnum" => |byte| byte.is_ascii_alphanumeric(),
        "upper" => |byte| byte.is_ascii_uppercase(),
        "lower" => |byte| byte.is_ascii_lowercase(),
        "space" => |byte| matches!(byte, b' ' | 9..=13),
        "blank" => |byte| matches!(byte, b' ' | b'\t'),
        "punct" => |byte| byte.is_ascii_punctuation(),
        "print" => |byte| (32..127).contains(&byte),
        "graph" => |byte| (33..127).contains(&byte),
        "cntrl" => |byte| byte.is_ascii_control(),
        "xdigit" => |byte| byte.is_ascii_hexdigit(),
        "word" => |byte| byte.is_ascii_alphanumeric() || byte == b'_',
        "ascii" => |byte| byte < 128,
        _ => return None,
    };
    Some(ByteSet::of(is_in))
}

/// The bytes of `\d`, `\w`, `\s`; of their opposites for the capital letters.
pub(super) fn of_letter(letter: u8) -> Option<(ByteSet, bool)> {
    let set = match letter.to_ascii_lowercase() {
        b'd' => named("digit"),
        b'w' => named("word"),
        b's' => named("space"),
        _ => None,
    };
    set.map(|set| (set, letter.is_ascii_uppercase()))
}

/// One byte as both engines write it.
pub(super) fn literal(byte: u8) -> String {
    match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("\\x{byte:02x}"),
    }
}
