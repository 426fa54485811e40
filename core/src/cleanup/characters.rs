//! Sets of characters that messages must not have (`message_reject_characters`, `message_strip_characters`).

/// A set of bytes. Line ends are never in what it is asked about.
#[derive(Clone)]
pub struct CharacterSet {
    has: [bool; 256],
    is_empty: bool,
}

impl std::fmt::Debug for CharacterSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let members = (0..=255_u8).filter(|byte| self.has[usize::from(*byte)]);
        f.debug_set().entries(members).finish()
    }
}

impl Default for CharacterSet {
    fn default() -> CharacterSet {
        CharacterSet { has: [false; 256], is_empty: true }
    }
}

impl CharacterSet {
    /// Reads characters, with `\a \b \f \n \r \t \v`, `\` and up to three octal digits, and `\\`.
    pub fn parse(text: &str) -> CharacterSet {
        let mut set = CharacterSet::default();
        let mut rest = text.bytes().peekable();
        while let Some(byte) = rest.next() {
            let byte = match (byte, rest.peek().copied()) {
                (b'\\', Some(digit @ b'0'..=b'7')) => {
                    let mut value = 0_u32;
                    let mut next = Some(digit);
                    for _ in 0..3 {
                        let Some(digit @ b'0'..=b'7') = next else { break };
                        value = value * 8 + u32::from(digit - b'0');
                        rest.next();
                        next = rest.peek().copied();
                    }
                    value as u8
                }
                (b'\\', Some(letter)) => {
                    rest.next();
                    match letter {
                        b'a' => 7,
                        b'b' => 8,
                        b't' => b'\t',
                        b'n' => b'\n',
                        b'v' => 11,
                        b'f' => 12,
                        b'r' => b'\r',
                        other => other,
                    }
                }
                (byte, _) => byte,
            };
            set.has[usize::from(byte)] = true;
            set.is_empty = false;
        }
        set
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// Whether a text has one of them. The line feeds that join a header's lines are none of its characters.
    pub fn is_in(&self, text: &[u8]) -> bool {
        !self.is_empty && text.iter().any(|byte| *byte != b'\n' && self.has[usize::from(*byte)])
    }

    /// The text without them.
    pub fn without(&self, text: &[u8]) -> Vec<u8> {
        text.iter().copied().filter(|byte| *byte == b'\n' || !self.has[usize::from(*byte)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_written_as_in_c() {
        let set = CharacterSet::parse("\\0\\377x\\t\\\\\\18");
        for byte in [0, 255, b'x', b'\t', b'\\', 1, b'8'] {
            assert!(set.is_in(&[byte]), "{byte}");
        }
        assert!(!set.is_in(b"yn0") && CharacterSet::parse("").is_empty());
        assert_eq!(set.without(b"ax\0\nb"), b"a\nb");
    }
}
