//! Whether a message says in its headers that it has 8-bit content (`detect_8bit_encoding_header`).

use memchr::memchr_iter;

use crate::header::Header;

const NAME: &[u8] = b"Content-Transfer-Encoding";

/// What the message's own headers say.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The content is 8-bit.
    pub(super) eight_bit: bool,
    /// It has parts or is a message, which have headers of their own.
    composite: bool,
}

impl Seen {
    /// Takes a header.
    pub(super) fn see(&mut self, header: &Header<'_>) {
        if !matches!(header.name, [b'C' | b'c', ..]) {
            return;
        }
        if header.name.eq_ignore_ascii_case(NAME) {
            self.eight_bit |= is_eight_bit(header.value);
        } else if header.is("Content-Type") {
            let value = header.value.trim_ascii_start();
            self.composite |= begins_with(value, b"multipart") || begins_with(value, b"message");
        }
    }

    /// Whether only the parts can say it.
    pub(super) fn is_open(&self) -> bool {
        self.composite && !self.eight_bit
    }
}

/// Whether this header says that what it is about has 8-bit content.
pub(super) fn declares_eight_bit(name: &[u8], value: &[u8]) -> bool {
    name.eq_ignore_ascii_case(NAME) && is_eight_bit(value)
}

fn is_eight_bit(value: &[u8]) -> bool {
    let value = value.trim_ascii();
    value.eq_ignore_ascii_case(b"8bit") || value.eq_ignore_ascii_case(b"binary")
}

fn begins_with(text: &[u8], word: &[u8]) -> bool {
    text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

/// Whether some line of a body looks as if it said so. Nearly all bodies have none, and cost one glance at each line.
pub(super) fn may_be_declared(body: &[u8]) -> bool {
    memchr_iter(b'\n', body).any(|end| {
        let line = &body[end + 1..];
        // A line may be dot-stuffed.
        let line = line.strip_prefix(b".").unwrap_or(line);
        matches!(line.first(), Some(b'C' | b'c')) && begins_with(line, NAME) && {
            let rest = line[NAME.len()..].trim_ascii_start();
            rest.strip_prefix(b":").is_some_and(|value| {
                let value = value.trim_ascii_start();
                begins_with(value, b"8bit") || begins_with(value, b"binary")
            })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_looked_into_only_if_a_line_of_it_says_so() {
        for text in [
            "\nContent-Transfer-Encoding: 8bit",
            "\ncontent-transfer-encoding :\r\n binary\r\n",
            "x\r\n.Content-Transfer-Encoding:8BIT",
        ] {
            assert!(may_be_declared(text.as_bytes()), "{text}");
        }
        for text in [
            "\nContent-Transfer-Encoding: base64",
            "\nX-Content-Transfer-Encoding: 8bit",
            "\n8bit",
            "\nC",
            "",
        ] {
            assert!(!may_be_declared(text.as_bytes()), "{text}");
        }
    }
}
