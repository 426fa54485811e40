//! filter: `(&(objectClass=person)(mail=user@example.com))` as it goes over the wire.
//!
//! Limits: [`NESTING_MAX`]. Standards: RFC 4515 for the text, RFC 4511 §4.5.1.7 for the bytes.

use super::ber::{OCTETS, SEQUENCE, put, put_all};

/// Filters within each other; those of people have three or four.
const NESTING_MAX: usize = 30;

/// Appends the filter that `text` says.
///
/// # Errors
/// It is none; in one sentence, without the text, which has a key in it.
pub fn encode(text: &str, out: &mut Vec<u8>) -> Result<(), String> {
    let text = text.trim();
    let mut rest = text;
    let done = match text.starts_with('(') {
        true => filter(&mut rest, out, 0),
        // The outermost parentheses are often forgotten.
        false => item(std::mem::take(&mut rest), out),
    };
    match done {
        Some(()) if rest.is_empty() => Ok(()),
        _ => Err("query_filter makes no filter".to_owned()),
    }
}

/// The parts of a DN or a filter that come from a key, with what has a meaning there taken away from it (RFC 4515 §3).
pub fn quote(part: &str, out: &mut String) {
    for character in part.chars() {
        match character {
            '*' | '(' | ')' | '\\' | '\0' => *out += &format!("\\{:02X}", character as u32),
            _ => out.push(character),
        }
    }
}

/// The same for a DN (RFC 4514 §2.4).
pub fn quote_dn(part: &str, out: &mut String) {
    let end = part.len();
    for (index, character) in part.char_indices() {
        let at_edge =
            (index == 0 && matches!(character, ' ' | '#')) || (index + 1 == end && character == ' ');
        match character {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' | '\0' => {
                *out += &format!("\\{:02X}", character as u32);
            }
            _ if at_edge => *out += &format!("\\{:02X}", character as u32),
            _ => out.push(character),
        }
    }
}

/// `( … )`, taken from the beginning of `text`.
fn filter(text: &mut &str, out: &mut Vec<u8>, depth: usize) -> Option<()> {
    if depth > NESTING_MAX {
        return None;
    }
    *text = text.strip_prefix('(')?;
    let tag = match text.bytes().next()? {
        b'&' => 0xa0,
        b'|' => 0xa1,
        b'!' => 0xa2,
        _ => {
            let end = text.find([')', '('])?;
            let (inside, rest) = text.split_at(end);
            item(inside, out)?;
            *text = rest.strip_prefix(')')?;
            return Some(());
        }
    };
    *text = &text[1..];
    let mut content = Vec::new();
    let mut count = 0;
    while text.trim_start().starts_with('(') {
        *text = text.trim_start();
        filter(text, &mut content, depth + 1)?;
        count += 1;
    }
    if tag == 0xa2 && count != 1 {
        return None;
    }
    *text = text.trim_start().strip_prefix(')')?;
    put(out, tag, &content);
    Some(())
}

/// `attribute=value` and its kin.
fn item(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let (left, value) = text.split_once('=')?;
    let (attribute, tag) = match left.as_bytes().last()? {
        b'>' => (&left[..left.len() - 1], 0xa5),
        b'<' => (&left[..left.len() - 1], 0xa6),
        b'~' => (&left[..left.len() - 1], 0xa8),
        b':' => return extensible(&left[..left.len() - 1], value, out),
        _ => (left, 0xa3),
    };
    let attribute = attribute.trim();
    if attribute.is_empty() || attribute.contains(|letter: char| !is_of_a_description(letter)) {
        return None;
    }
    if tag != 0xa3 || !value.contains('*') {
        let value = unescape(value)?;
        put_all(out, tag, |out| {
            put(out, OCTETS, attribute.as_bytes());
            put(out, OCTETS, &value);
        });
    } else if value == "*" {
        put(out, 0x87, attribute.as_bytes());
    } else {
        substrings(attribute, value, out)?;
    }
    Some(())
}

fn is_of_a_description(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.' | ';' | '_')
}

fn substrings(attribute: &str, value: &str, out: &mut Vec<u8>) -> Option<()> {
    let mut pieces = Vec::new();
    let last = value.matches('*').count();
    for (index, piece) in value.split('*').enumerate() {
        let tag = match index {
            0 => 0x80,
            _ if index == last => 0x82,
            _ => 0x81,
        };
        if !piece.is_empty() {
            put(&mut pieces, tag, &unescape(piece)?);
        }
    }
    if pieces.is_empty() {
        return None;
    }
    put_all(out, 0xa4, |out| {
        put(out, OCTETS, attribute.as_bytes());
        put(out, SEQUENCE, &pieces);
    });
    Some(())
}

/// `attribute:dn:rule:=value`, each part but the value optional.
fn extensible(left: &str, value: &str, out: &mut Vec<u8>) -> Option<()> {
    let mut parts = left.split(':');
    let attribute = parts.next()?;
    let (mut of_dn, mut rule) = (false, "");
    for part in parts {
        match part {
            "dn" if !of_dn && rule.is_empty() => of_dn = true,
            _ if rule.is_empty() && !part.is_empty() => rule = part,
            _ => return None,
        }
    }
    if (attribute.is_empty() && rule.is_empty())
        || [attribute, rule].iter().any(|word| word.contains(|letter: char| !is_of_a_description(letter)))
    {
        return None;
    }
    let value = unescape(value)?;
    put_all(out, 0xa9, |out| {
        if !rule.is_empty() {
            put(out, 0x81, rule.as_bytes());
        }
        if !attribute.is_empty() {
            put(out, 0x82, attribute.as_bytes());
        }
        put(out, 0x83, &value);
        if of_dn {
            put(out, 0x84, &[0xff]);
        }
    });
    Some(())
}

/// `\2a` is `*`.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::super::ber::Reader;
    use super::*;

    /// The filter as it is on the wire, in words.
    fn shown(bytes: &[u8]) -> String {
        let mut reader = Reader(bytes);
        let mut parts = Vec::new();
        while let Some((tag, content)) = reader.next() {
            let inner = match tag {
                0xa0..=0xaf | SEQUENCE => shown(content),
                _ => String::from_utf8_lossy(content).into_owned(),
            };
            parts.push(format!("{tag:02x}[{inner}]"));
        }
        parts.concat()
    }

    fn check(text: &str, expect: Option<&str>) {
        let mut out = Vec::new();
        let encoded = encode(text, &mut out).ok().map(|()| shown(&out));
        assert_eq!(encoded.as_deref(), expect, "{text}");
    }

    #[test]
    fn filters_of_every_kind_are_written() {
        check("(mail=a@b)", Some("a3[04[mail]04[a@b]]"));
        check("mail=a@b", Some("a3[04[mail]04[a@b]]"));
        check("(&(a=1)(|(b=2)(!(c=3))))", Some("a0[a3[04[a]04[1]]a1[a3[04[b]04[2]]a2[a3[04[c]04[3]]]]]"));
        check("(& (a>=1) (b<=2) (c~=3) )", Some("a0[a5[04[a]04[1]]a6[04[b]04[2]]a8[04[c]04[3]]]"));
        check("(objectClass=*)", Some("87[objectClass]"));
        check("(cn=a*b*c)", Some("a4[04[cn]30[80[a]81[b]82[c]]]"));
        check("(cn=*b*)", Some("a4[04[cn]30[81[b]]]"));
        check("(cn:caseExactMatch:=x)", Some("a9[81[caseExactMatch]82[cn]83[x]]"));
        check("(cn=a\\2a\\28)", Some("a3[04[cn]04[a*(]]"));
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for text in [
            "",
            "()",
            "(",
            "(a=b",
            "(a=b))",
            "(&(a=b)",
            "(!(a=b)(c=d))",
            "(=x)",
            "(a b=c)",
            "(a=\\2)",
            "(cn=**)",
        ] {
            check(text, None);
        }
        check(&"(!".repeat(10_000), None);
    }

    #[test]
    fn keys_cannot_leave_their_place() {
        let quoted = |key: &str| {
            let mut out = String::new();
            quote(key, &mut out);
            out
        };
        assert_eq!(quoted("a*)(uid=*))(|(x=\\\0é"), "a\\2A\\29\\28uid=\\2A\\29\\29\\28|\\28x=\\5C\\00é");
        check(&format!("(mail={})", quoted("*)(|(a=*)")), Some("a3[04[mail]04[*)(|(a=*)]]"));
        let mut dn = String::new();
        quote_dn(" a,ou=x+\"\\<>;\0é ", &mut dn);
        assert_eq!(dn, "\\20a\\2Cou\\3Dx\\2B\\22\\5C\\3C\\3E\\3B\\00é\\20");
        dn.clear();
        quote_dn("#x #", &mut dn);
        assert_eq!(dn, "\\23x #");
    }
}
