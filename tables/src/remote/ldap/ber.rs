//! ber: the few of the Basic Encoding Rules that LDAP uses (RFC 4511 §5.1): definite lengths, tags of one byte.

pub const BOOLEAN: u8 = 0x01;
pub const INTEGER: u8 = 0x02;
pub const OCTETS: u8 = 0x04;
pub const ENUMERATED: u8 = 0x0a;
pub const SEQUENCE: u8 = 0x30;
pub const SET: u8 = 0x31;

/// Appends an element.
pub fn put(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    let length = content.len().to_be_bytes();
    let first = length.iter().position(|&byte| byte != 0).unwrap_or(length.len() - 1);
    let length = &length[first..];
    if let [short @ ..=0x7f] = length {
        out.push(*short);
    } else {
        // At most eight bytes of length.
        out.push(0x80 | length.len() as u8);
        out.extend_from_slice(length);
    }
    out.extend_from_slice(content);
}

/// Appends an element that `fill` makes the content of.
pub fn put_all(out: &mut Vec<u8>, tag: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut content = Vec::new();
    fill(&mut content);
    put(out, tag, &content);
}

/// Appends a number.
pub fn put_number(out: &mut Vec<u8>, tag: u8, number: u32) {
    // Five bytes: the first keeps the number positive.
    let bytes = [[0].as_slice(), &number.to_be_bytes()].concat();
    let first = bytes.windows(2).position(|pair| pair[0] != 0 || pair[1] > 0x7f);
    put(out, tag, &bytes[first.unwrap_or(bytes.len() - 1)..]);
}

/// Elements one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// The next element; `None` at the end, or where there is none.
    pub fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The next element, if it has this tag.
    pub fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }

    /// The next element as a number that is not negative, if it has this tag.
    pub fn number(&mut self, tag: u8) -> Option<u32> {
        let bytes = self.expect(tag)?;
        if bytes.is_empty() || bytes.len() > 5 || bytes[0] > 0x7f {
            return None;
        }
        u32::try_from(bytes.iter().fold(0_u64, |number, &byte| number << 8 | u64::from(byte))).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(number: u32, text in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut out = Vec::new();
            put_all(&mut out, SEQUENCE, |out| {
                put_number(out, INTEGER, number);
                put(out, OCTETS, &text);
            });
            let mut reader = Reader(&out);
            let mut inner = Reader(reader.expect(SEQUENCE).unwrap());
            prop_assert_eq!(inner.number(INTEGER), Some(number));
            prop_assert_eq!(inner.expect(OCTETS), Some(&text[..]));
            prop_assert!(inner.next().is_none() && reader.next().is_none());
        }

        #[test]
        fn anything_may_come(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut reader = Reader(&bytes);
            while reader.next().is_some() {}
        }
    }
}
