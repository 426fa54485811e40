//! Mail addresses and the paths of MAIL FROM and RCPT TO (RFC 5321 §4.1.2, RFC 6531 §3.3).
//!
//! An [`Address`] is canonical text: `local@domain` with the local part quoted only where it must be, `local` alone
//! when the client gave no domain, or nothing for the null reverse-path. Whatever bytes it was made from, it holds no
//! control character and no unbalanced quote or bracket, so it can stand between `<` and `>` in a command, a header
//! or a log line.

use std::borrow::Cow;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::limits::{
    ADDRESS_BYTES_MAX, DOMAIN_BYTES_MAX, DOMAIN_LABEL_BYTES_MAX, LOCAL_PART_BYTES_MAX_STRICT,
};

/// One address in canonical text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Address {
    text: Box<str>,
    /// Where the `@` before the domain stands; the text's length when there is none.
    at: u32,
    /// The text without the quotes of its local part, if it has any.
    unquoted: Option<Box<str>>,
}

/// The local part of nobody.
const EMPTY_LOCAL: &str = "\"\"";

/// Why bytes are not an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressError {
    /// Nothing where an address must be.
    Empty,
    /// The grammar is broken.
    Syntax,
    /// Longer than the limits allow.
    TooLong,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AddressError::Empty => "empty address",
            AddressError::Syntax => "bad address syntax",
            AddressError::TooLong => "address too long",
        })
    }
}

impl std::error::Error for AddressError {}

/// What [`Address::parse_path`] tolerates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PathRules {
    /// `strict_rfc821_envelopes`: angle brackets are required, RFC 5321's local part grammar and length hold.
    pub strict: bool,
    /// `<>` is an address (the reverse-path of MAIL).
    pub allow_null: bool,
}

impl Address {
    /// The null reverse-path, `<>`.
    pub fn null() -> Address {
        Address::default()
    }

    /// Reads the path of MAIL FROM or RCPT TO: `<@a,@b:user@domain>`, `<user@domain>`, and where not strict
    /// `user@domain`. A source route is dropped (RFC 5321 §3.6.1).
    pub fn parse_path(bytes: &[u8], rules: PathRules) -> Result<Address, AddressError> {
        let text = std::str::from_utf8(bytes).map_err(|_| AddressError::Syntax)?.trim_matches([' ', '\t']);
        let inside = match (text.strip_prefix('<'), rules.strict) {
            (Some(rest), strict) => {
                let inside = rest.strip_suffix('>').ok_or(AddressError::Syntax)?;
                if strict { inside } else { inside.trim_matches([' ', '\t']) }
            }
            (None, false) => text,
            (None, true) => return Err(AddressError::Syntax),
        };
        if inside.is_empty() {
            return if rules.allow_null && text == "<>" {
                Ok(Address::null())
            } else {
                Err(AddressError::Empty)
            };
        }
        let mailbox = strip_route(inside)?;
        let address = Address::parse_mailbox(mailbox, rules.strict)?;
        if rules.strict && address.local().len() > LOCAL_PART_BYTES_MAX_STRICT {
            return Err(AddressError::TooLong);
        }
        Ok(address)
    }

    /// Reads a bare address such as a configuration or a header has: `user@domain` or `user`.
    pub fn parse(text: &str) -> Result<Address, AddressError> {
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        Address::parse_mailbox(text, false)
    }

    fn parse_mailbox(text: &str, strict: bool) -> Result<Address, AddressError> {
        if text.len() > ADDRESS_BYTES_MAX {
            return Err(AddressError::TooLong);
        }
        let (local, rest) = match text.as_bytes().first() {
            Some(b'"') => parse_quoted_local(text)?,
            // Postfix, too, takes `<@domain>` for the empty user of that domain.
            Some(b'@') if !strict => (Cow::Borrowed(EMPTY_LOCAL), text),
            _ => parse_plain_local(text, strict)?,
        };
        if rest.is_empty() && local == EMPTY_LOCAL {
            return Err(AddressError::Empty);
        }
        let mut canonical = local.into_owned();
        let at = canonical.len() as u32;
        if !rest.is_empty() {
            let domain = rest.strip_prefix('@').ok_or(AddressError::Syntax)?;
            let domain = check_domain(domain, strict)?;
            canonical.reserve_exact(1 + domain.len());
            canonical.push('@');
            canonical.push_str(domain);
        }
        if canonical.len() > ADDRESS_BYTES_MAX {
            return Err(AddressError::TooLong);
        }
        Ok(Address::of(canonical, at))
    }

    fn of(text: String, at: u32) -> Address {
        let local = &text[..at as usize];
        let unquoted =
            local.starts_with('"').then(|| format!("{}{}", unquoted(local), &text[at as usize..]).into());
        Address { text: text.into_boxed_str(), at, unquoted }
    }

    /// The canonical text: empty for the null address.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text as replies and tables know it: without the quotes of its local part.
    pub fn unquoted(&self) -> &str {
        self.unquoted.as_deref().unwrap_or(&self.text)
    }

    /// The local part as it stands in the text, with its quotes if it has any.
    pub fn local(&self) -> &str {
        &self.text[..self.at as usize]
    }

    /// The domain as the client wrote it (without a trailing dot), or `None` for a bare or null address.
    pub fn domain(&self) -> Option<&str> {
        self.text.get(self.at as usize + 1..).filter(|domain| !domain.is_empty())
    }

    /// The domain for comparing and looking up: ASCII letters in lower case.
    pub fn domain_lowercase(&self) -> Option<Cow<'_, str>> {
        self.domain().map(|domain| {
            if domain.bytes().any(|byte| byte.is_ascii_uppercase()) {
                Cow::Owned(domain.to_ascii_lowercase())
            } else {
                Cow::Borrowed(domain)
            }
        })
    }

    /// This is `<>`.
    pub fn is_null(&self) -> bool {
        self.text.is_empty()
    }

    /// Needs SMTPUTF8 (RFC 6531).
    pub fn is_ascii(&self) -> bool {
        self.text.is_ascii()
    }

    /// The same mailbox: local parts equal byte by byte, domains without regard to the case of ASCII letters.
    pub fn same_mailbox(&self, other: &Address) -> bool {
        self.local() == other.local()
            && match (self.domain(), other.domain()) {
                (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
                (None, None) => true,
                _ => false,
            }
    }

    /// A bare `user` completed to `user@domain` (`append_at_myorigin`); any other address unchanged.
    pub fn completed(self, domain: &str) -> Result<Address, AddressError> {
        if self.is_null() || self.domain().is_some() {
            return Ok(self);
        }
        let domain = check_domain(domain, false)?;
        Ok(Address::of(format!("{}@{domain}", self.text), self.at))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `@a,@b:user@domain` gives `user@domain`; other text is returned as it is.
fn strip_route(text: &str) -> Result<&str, AddressError> {
    if !text.starts_with('@') {
        return Ok(text);
    }
    // A colon in a domain is one of an address literal.
    let route_end = text.find(':').filter(|colon| !text[..*colon].contains('['));
    let Some((route, mailbox)) = route_end.map(|colon| (&text[..colon], &text[colon + 1..])) else {
        return Ok(text);
    };
    for hop in route.split(',') {
        let host = hop.trim_matches([' ', '\t']).strip_prefix('@').ok_or(AddressError::Syntax)?;
        check_domain(host, false)?;
    }
    if mailbox.is_empty() { Err(AddressError::Empty) } else { Ok(mailbox) }
}

/// RFC 5321 §4.1.2: Quoted-string. Returns it canonical: without quotes when a dot-string says the same.
fn parse_quoted_local(text: &str) -> Result<(Cow<'_, str>, &str), AddressError> {
    let mut content = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((index, c)) = chars.next() {
        match c {
            '"' => return Ok((quote_where_needed(Cow::Owned(content)), &text[index + 1..])),
            '\\' => match chars.next() {
                Some((_, escaped)) if escaped == ' ' || escaped.is_ascii_graphic() => content.push(escaped),
                _ => return Err(AddressError::Syntax),
            },
            c if c.is_control() => return Err(AddressError::Syntax),
            c => content.push(c),
        }
    }
    Err(AddressError::Syntax)
}

/// RFC 5321 §4.1.2: Dot-string. Where not strict, dots may stand anywhere (they do, in the field); such a local part
/// is quoted so that what we send is correct.
fn parse_plain_local(text: &str, strict: bool) -> Result<(Cow<'_, str>, &str), AddressError> {
    let mut end = text.bytes().position(|byte| !is_atext(byte) && byte != b'.').unwrap_or(text.len());
    if !strict && let Some(last) = text[end..].rfind('@').filter(|last| *last > 0) {
        // Several `@`: the last one ends the local part, as in Postfix.
        let between = text[end..end + last].bytes();
        if between.into_iter().all(|byte| is_atext(byte) || matches!(byte, b'.' | b'@')) {
            end += last;
        }
    }
    let (local, rest) = text.split_at(end);
    if local.is_empty() {
        return Err(AddressError::Syntax);
    }
    if strict && !is_dot_string(local) {
        return Err(AddressError::Syntax);
    }
    // U+0080 to U+009F are controls in two bytes that the byte test above lets through.
    if !local.is_ascii() && local.chars().any(char::is_control) {
        return Err(AddressError::Syntax);
    }
    Ok((quote_where_needed(Cow::Borrowed(local)), rest))
}

/// RFC 5322 §3.2.3 atext, with every byte of a non-ASCII character (RFC 6532 §3.2).
fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80 || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

fn is_dot_string(local: &str) -> bool {
    !local.is_empty() && local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atext))
}

/// A local part as it stands in an address: in quotes unless it is a dot-string.
pub(crate) fn quote_where_needed(local: Cow<'_, str>) -> Cow<'_, str> {
    if is_dot_string(&local) {
        return local;
    }
    let mut quoted = String::with_capacity(local.len() + 2);
    quoted.push('"');
    for c in local.chars() {
        if c == '"' || c == '\\' {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    Cow::Owned(quoted)
}

/// A local part without the quotes that it needs in an address.
pub(crate) fn unquoted(local: &str) -> Cow<'_, str> {
    let Some(inside) = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Cow::Borrowed(local);
    };
    if !inside.contains('\\') {
        return Cow::Borrowed(inside);
    }
    let mut plain = String::with_capacity(inside.len());
    let mut characters = inside.chars();
    while let Some(c) = characters.next() {
        plain.extend(if c == '\\' { characters.next() } else { Some(c) });
    }
    Cow::Owned(plain)
}

/// Checks a domain or an address literal; returns it without a trailing dot.
fn check_domain(domain: &str, strict: bool) -> Result<&str, AddressError> {
    if let Some(literal) = domain.strip_prefix('[') {
        let inside = literal.strip_suffix(']').ok_or(AddressError::Syntax)?;
        let valid = match inside.get(..5) {
            Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => inside[5..].parse::<Ipv6Addr>().is_ok(),
            _ => inside.parse::<Ipv4Addr>().is_ok(),
        };
        return if valid { Ok(domain) } else { Err(AddressError::Syntax) };
    }
    let name = match domain.strip_suffix('.') {
        Some(name) if !strict => name,
        _ => domain,
    };
    if name.len() > DOMAIN_BYTES_MAX {
        return Err(AddressError::TooLong);
    }
    if !are_labels(name) || (!name.is_ascii() && name.chars().any(char::is_control)) {
        return Err(AddressError::Syntax);
    }
    Ok(name)
}

/// Whether `name` is labels with dots between them. In one pass: every address of every message comes here.
pub(crate) fn are_labels(name: &str) -> bool {
    let (mut label_bytes, mut last) = (0, b'.');
    for byte in name.bytes() {
        match byte {
            b'.' if label_bytes == 0 || last == b'-' => return false,
            b'.' => label_bytes = 0,
            b'-' if label_bytes == 0 => return false,
            b'a'..=b'z' | b'0'..=b'9' | b'A'..=b'Z' | b'-' | b'_' | 0x80.. => {
                label_bytes += 1;
                if label_bytes > DOMAIN_LABEL_BYTES_MAX {
                    return false;
                }
            }
            _ => return false,
        }
        last = byte;
    }
    label_bytes > 0 && last != b'-'
}

/// Whether mail can be sent to `name` as it stands: an address literal in brackets, or a domain that is not a bare network
/// address. No trailing dot.
pub(crate) fn is_mail_domain(name: &str) -> bool {
    let named = name.starts_with('[') || name.bytes().any(|byte| !byte.is_ascii_digit() && byte != b'.');
    named && !name.ends_with('.') && is_domain(name)
}

/// Whether `name` can stand for a host: a domain or an address literal in brackets.
pub fn is_domain(name: &str) -> bool {
    check_domain(name, false).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANT: PathRules = PathRules { strict: false, allow_null: true };
    const STRICT: PathRules = PathRules { strict: true, allow_null: true };

    fn check(path: &str, expect: &str) {
        let got = match Address::parse_path(path.as_bytes(), TOLERANT) {
            Ok(address) => address.as_str().to_owned(),
            Err(error) => format!("! {error}"),
        };
        assert_eq!(got, expect, "{path}");
    }

    #[test]
    fn paths() {
        check("<a@b.example>", "a@b.example");
        check("a@b.example", "a@b.example");
        check("< a@b.example >", "a@b.example");
        check("<>", "");
        check("<postmaster>", "postmaster");
        check("<@x.example,@y.example:a@b.example>", "a@b.example");
        check("<a@b.example.>", "a@b.example");
        check("<a@b@c>", "\"a@b\"@c");
        check("<a@@b.example>", "\"a@\"@b.example");
        check("<a@[192.0.2.1]>", "a@[192.0.2.1]");
        check("<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]");
        check("<\"a b\"@c.example>", "\"a b\"@c.example");
        check("<\"ab\"@c.example>", "ab@c.example");
        check("<\"a\\\"b\"@c.example>", "\"a\\\"b\"@c.example");
        check("<\"a>b\"@c.example>", "\"a>b\"@c.example");
        check("<\"\"@c.example>", "\"\"@c.example");
        check("<@c.example>", "\"\"@c.example");
        check("<@[IPv6:2001:db8::1]>", "\"\"@[IPv6:2001:db8::1]");
        check("<@x.example:@c.example>", "\"\"@c.example");
        check("<a..b@c.example>", "\"a..b\"@c.example");
        check("<a+b=c.example@d.example>", "a+b=c.example@d.example");
        check("<jörg@müller.example>", "jörg@müller.example");
        check("<a@under_score.example>", "a@under_score.example");
    }

    #[test]
    fn broken_paths() {
        for path in [
            "<a@b",
            "a@b>",
            "<a@>",
            "<a@b c@d>",
            "<a@b@>",
            "<a b@c>",
            "<a@[300.1.1.1]>",
            "<a@[IPv6:zz]>",
            "<a@b..c>",
            "<\"a@b>",
            "<a\r\nRCPT TO:<x@y>@z>",
            "<a\0@b>",
            "<a@-b>",
            "<\"a\nb\"@c>",
            "<a@b>x",
            "<a,b@c>",
            "<a;b@c>",
            "<a@b c>",
            "<\"a\\\u{e9}\"@b>",
            "<a\u{85}@b>",
            "<a@b\u{85}>",
        ] {
            check(path, "! bad address syntax");
        }
        check("", "! empty address");
        check("< >", "! empty address");
        check("<\"\">", "! empty address");
        check("<@>", "! bad address syntax");
        check(&format!("<{}@b>", "a".repeat(1000)), "! address too long");
        check(&format!("<a@{}>", "b.".repeat(129)), "! address too long");
        check(&format!("<a@{}>", "b".repeat(64)), "! bad address syntax");
    }

    #[test]
    fn strict_paths_want_brackets_and_dot_strings() {
        for path in ["a@b", "<@b>", "<a..b@c>", "< a@b>", "<a@b.>"] {
            assert_eq!(Address::parse_path(path.as_bytes(), STRICT), Err(AddressError::Syntax), "{path}");
        }
        let long = format!("<{}@b>", "a".repeat(65));
        assert_eq!(Address::parse_path(long.as_bytes(), STRICT), Err(AddressError::TooLong));
        assert!(Address::parse_path(b"<a.b@c>", STRICT).is_ok());
    }

    #[test]
    fn replies_show_addresses_without_quotes() {
        let shown = |text| Address::parse(text).expect("an address").unquoted().to_owned();
        assert_eq!(shown("\"q u\"@b.example"), "q u@b.example");
        assert_eq!(shown("\"a\\\"b\"@b.example"), "a\"b@b.example");
        assert_eq!(shown("@b.example"), "@b.example");
        assert_eq!(shown("u@b.example"), "u@b.example");
    }

    #[test]
    fn domains_compare_without_case_and_local_parts_with_it() {
        let parse = |text| Address::parse(text).expect("an address");
        assert!(parse("a@B.Example").same_mailbox(&parse("a@b.eXAMPLE")));
        assert!(!parse("A@b").same_mailbox(&parse("a@b")));
        assert_eq!(parse("a@B.C").domain_lowercase().as_deref(), Some("b.c"));
        assert_eq!(
            parse("root").completed("example.org").map(|a| a.to_string()),
            Ok("root@example.org".into())
        );
    }
}
