//! Whether addresses in headers could be rewritten at all: nearly all mail has them complete.

use crate::header::{BlockEnd, HeaderCursor};

/// Whether every address header of a message has addresses that are in standard form at a glance. Says no to many that are.
/// `whole` says that `head` is all of the message.
pub fn has_plain_addresses(head: &[u8], whole: bool) -> bool {
    let mut cursor = HeaderCursor::new(head, whole);
    let plain = cursor.by_ref().all(|header| match header.name {
        // By first letter: From, To, Cc and their kin are few among the headers of a message.
        [b'F' | b'f' | b'T' | b't' | b'C' | b'c' | b'B' | b'b' | b'S' | b's' | b'R' | b'r', ..]
        | [b'A' | b'a' | b'D' | b'd' | b'E' | b'e' | b'M' | b'm', ..]
            if super::content::has_addresses(&header) =>
        {
            is_plain(header.value)
        }
        _ => true,
    });
    plain && (whole || !matches!(cursor.end(), BlockEnd::Input(_)))
}

/// `user@domain.example` or `Some Name <user@domain.example>`.
fn is_plain(value: &[u8]) -> bool {
    let value = value.trim_ascii();
    let address = match value.iter().position(|byte| *byte == b'<') {
        None => value,
        Some(open) => {
            let (name, rest) = value.split_at(open);
            let word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'-' | b'_');
            let Some(address) = rest[1..].strip_suffix(b">") else { return false };
            if !name.iter().all(word) {
                return false;
            }
            address
        }
    };
    let Some(at) = address.iter().position(|byte| *byte == b'@') else { return false };
    let (local, domain) = (&address[..at], &address[at + 1..]);
    let dotted = |text: &[u8]| {
        text.split(|byte| *byte == b'.').all(|atom| {
            let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_+=".contains(byte);
            !atom.is_empty() && atom.iter().all(plain)
        })
    };
    dotted(local) && dotted(domain) && domain.contains(&b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_complete_is_seen_at_a_glance() {
        let check = |headers: &str| has_plain_addresses(format!("{headers}\r\n\r\n").as_bytes(), true);
        assert!(check("From: A B <a.b@c.example>\r\nTo: d+e@f.example\r\nSubject: x, y") && check("X: y"));
        for other in [
            "From: a",
            "To: a@b",
            "Cc: a@b.example, c",
            "To: a@b.example.",
            "From: \"x\" <a@b.example>",
            "To: a%b@c.example",
            "Sender:",
        ] {
            assert!(!check(other), "{other}");
        }
        assert!(!has_plain_addresses(b"From: a@b.example\r\n", false));
    }
}
