//! verp: a return path of its own for each recipient, so that a bounce names its recipient by where it arrives.
//!
//! Receives: the delimiters that a client asked for; sender and recipient of a delivery. Owns: the form
//! `user+rcpt=domain@origin`. Limits: the result may exceed what other servers take (RFC 5321 section 4.5.3.1); that is
//! for them to refuse. On failure: an address without a domain stays as it is.
//! Standards: none; Postfix's VERP_README and D. J. Bernstein's note of 1997 describe it.

use std::borrow::Cow;

use crate::address::quote_where_needed;

/// The two characters of a variable return path: before the recipient's local part, and in place of its `@`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VerpDelimiters([u8; 2]);

impl VerpDelimiters {
    /// `+=`.
    pub const DEFAULT: VerpDelimiters = VerpDelimiters(*b"+=");

    /// Reads `+=`: two characters, each of them in `allowed` (`verp_delimiter_filter`).
    pub fn parse(text: &str, allowed: &str) -> Option<VerpDelimiters> {
        let bytes: [u8; 2] = text.as_bytes().try_into().ok()?;
        let all_allowed = bytes.iter().all(|byte| allowed.as_bytes().contains(byte));
        VerpDelimiters::from_bytes(bytes).filter(|_| all_allowed)
    }

    /// From stored bytes; both are printable ASCII.
    pub fn from_bytes(bytes: [u8; 2]) -> Option<VerpDelimiters> {
        bytes.iter().all(u8::is_ascii_graphic).then_some(VerpDelimiters(bytes))
    }

    /// As stored.
    pub fn bytes(self) -> [u8; 2] {
        self.0
    }
}

/// The return path for one recipient: `user@origin` and `rcpt@domain` give `user+rcpt=domain@origin`. Addresses are in
/// wire form; a sender without a domain (the null sender among them) is returned as it is.
pub fn verp_sender<'a>(sender: &'a str, recipient: &str, delimiters: VerpDelimiters) -> Cow<'a, str> {
    let Some((local, origin)) = sender.rsplit_once('@') else { return Cow::Borrowed(sender) };
    let (user, domain) = match recipient.rsplit_once('@') {
        Some((user, domain)) => (user, Some(domain)),
        None => (recipient, None),
    };
    let [before, between] = delimiters.0.map(char::from);
    let mut varied = unquoted(local).into_owned();
    varied.push(before);
    varied.push_str(&unquoted(user));
    if let Some(domain) = domain {
        varied.push(between);
        varied.push_str(domain);
    }
    Cow::Owned(format!("{}@{origin}", quote_where_needed(Cow::Owned(varied))))
}

/// The text that a local part in wire form stands for.
fn unquoted(local: &str) -> Cow<'_, str> {
    let Some(inside) = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Cow::Borrowed(local);
    };
    let mut text = String::with_capacity(inside.len());
    let mut characters = inside.chars();
    while let Some(character) = characters.next() {
        let character = if character == '\\' { characters.next() } else { Some(character) };
        text.extend(character);
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plus() -> VerpDelimiters {
        VerpDelimiters::parse("+=", "-=+").expect("the default")
    }

    #[test]
    fn the_recipient_becomes_part_of_the_sender() {
        let cases = [
            (
                "owner-list@origin.example",
                "user@domain.example",
                "owner-list+user=domain.example@origin.example",
            ),
            ("list@o.example", "a.b+c@[192.0.2.1]", "\"list+a.b+c=[192.0.2.1]\"@o.example"),
            ("list@o.example", "\"a b\\\"c\"@d.example", "\"list+a b\\\"c=d.example\"@o.example"),
            ("\"my list\"@o.example", "u@d.example", "\"my list+u=d.example\"@o.example"),
            ("list@o.example", "local", "list+local@o.example"),
            ("", "u@d.example", ""),
            ("bare", "u@d.example", "bare"),
        ];
        for (sender, recipient, expected) in cases {
            assert_eq!(verp_sender(sender, recipient, plus()), expected, "{sender} to {recipient}");
        }
    }

    #[test]
    fn delimiters_are_two_and_allowed() {
        assert_eq!(VerpDelimiters::parse("-=", "-=+").map(VerpDelimiters::bytes), Some(*b"-="));
        for wrong in ["", "+", "+==", "+#", "ab", "\u{e9}"] {
            assert_eq!(VerpDelimiters::parse(wrong, "-=+"), None, "{wrong}");
        }
    }
}
