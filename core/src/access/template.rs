//! Replies with `$name`s: of block lists, and the footers of refusals.

use super::{AccessFacts, AccessRules};
use crate::address::Address;

/// `smtpd_expansion_filter`: characters that may come from a client into a reply; others become `_`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyCharacters([bool; 256]);

impl Default for ReplyCharacters {
    /// Printable ASCII and the tab.
    fn default() -> ReplyCharacters {
        let mut set = [false; 256];
        (0x20..0x7f).for_each(|byte| set[byte] = true);
        set[usize::from(b'\t')] = true;
        ReplyCharacters(set)
    }
}

impl ReplyCharacters {
    /// Reads a set with C's escapes (`\t`, `\40`, `\\`).
    pub fn parse(text: &str) -> ReplyCharacters {
        let mut set = [false; 256];
        let mut rest = text.as_bytes();
        while let Some((&first, after)) = rest.split_first() {
            rest = after;
            let byte = match (first, rest.first()) {
                (b'\\', Some(digit @ b'0'..=b'7')) => {
                    let digits = rest.iter().take(3).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
                    let value =
                        rest[..digits].iter().fold(0_u32, |sum, byte| sum * 8 + u32::from(byte - b'0'));
                    rest = &rest[digits..];
                    u8::try_from(value).unwrap_or(*digit)
                }
                (b'\\', Some(&escaped)) => {
                    rest = &rest[1..];
                    match escaped {
                        b'a' => 7,
                        b'b' => 8,
                        b'f' => 12,
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'v' => 11,
                        other => other,
                    }
                }
                (byte, _) => byte,
            };
            set[usize::from(byte)] = true;
        }
        ReplyCharacters(set)
    }

    /// The text with what may not stand in it as `_`.
    pub fn clean(&self, text: &str) -> String {
        let clean = |c: char| match u8::try_from(c) {
            Ok(byte) if c.is_ascii() && self.0[usize::from(byte)] => c,
            _ => '_',
        };
        text.chars().map(clean).collect()
    }
}

/// Expands a template; `own` gives names that only this template has.
///
/// # Errors
/// What is wrong with it.
pub(super) fn expand(
    template: &str,
    rules: &AccessRules,
    facts: &AccessFacts<'_>,
    own: impl Fn(&str) -> Option<String>,
) -> Result<String, String> {
    let lookup = |name: &str| {
        let value = own(name).or_else(|| of_session(name, facts))?;
        // A value is no template: what looks like a reference in it stays as it is.
        Some(std::borrow::Cow::Owned(rules.reply_characters.clean(&value).replace('$', "$$")))
    };
    crate::config::expand(template, lookup)
}

/// What a template may tell of a session.
fn of_session(name: &str, facts: &AccessFacts<'_>) -> Option<String> {
    let part = |address: Option<&Address>, suffix: &str| {
        let address = address?;
        let text = match suffix {
            "_name" => address.local(),
            "_domain" => address.domain().unwrap_or_default(),
            _ => address.unquoted(),
        };
        Some(if text.is_empty() { "<>".to_owned() } else { text.to_owned() })
    };
    let client = facts.client;
    match name {
        "client" => Some(facts.client_text.to_owned()),
        "client_address" => Some(client.address.to_string()),
        "client_name" => Some(client.name_or_unknown().to_owned()),
        "client_port" => Some(client.port.to_string()),
        "reverse_client_name" => Some(client.reverse_name_or_unknown().to_owned()),
        "helo_name" => facts.helo.map(str::to_owned),
        _ => {
            if let Some(suffix) = name.strip_prefix("sender") {
                return part(facts.sender, suffix);
            }
            name.strip_prefix("recipient").and_then(|suffix| part(facts.recipient, suffix))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_read_with_their_escapes() {
        let set = ReplyCharacters::parse("\\t\\40ab\\\\");
        assert_eq!(set.clean("a b\tc\\\u{e9}"), "a b\t_\\_");
        assert_eq!(ReplyCharacters::default().clean("a\r\nb"), "a__b");
    }
}
