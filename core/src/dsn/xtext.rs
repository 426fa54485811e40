//! The xtext of RFC 3461 section 4: how ENVID and ORCPT travel in commands.

use std::borrow::Cow;

/// Decodes `+XX`. What is not xtext, or would decode to something that is not UTF-8, stays as it is;
/// encoding it again for the next server then gives an equivalent value.
pub fn decode_xtext(value: &str) -> Cow<'_, str> {
    if !value.contains('+') {
        return Cow::Borrowed(value);
    }
    let bytes = value.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let pair = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'+');
        match pair.map(|pair| (hex_digit(pair[0]), hex_digit(pair[1]))) {
            Some((Some(high), Some(low))) => {
                decoded.push(high << 4 | low);
                at += 3;
            }
            _ => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).map_or(Cow::Borrowed(value), Cow::Owned)
}

/// RFC 3461 section 4: upper-case digits; lower case is understood.
fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xtext_is_decoded_and_other_text_kept() {
        assert_eq!(decode_xtext("rfc822;a+2Bb@c+3Dd"), "rfc822;a+b@c=d");
        assert_eq!(decode_xtext("plain"), "plain");
        for kept in ["a+", "a+4", "a+zz", "a+FF"] {
            assert_eq!(decode_xtext(kept), kept);
        }
    }
}
