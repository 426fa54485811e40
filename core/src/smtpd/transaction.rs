//! One mail transaction: what MAIL and RCPT said.

use crate::address::Address;
use crate::envelope::{BodyKind, Notify, Ret};
use crate::verp::VerpDelimiters;

/// Reads `NEVER` or a list of `SUCCESS`, `FAILURE`, `DELAY` (RFC 3461 §4.1). `None` when the list is empty, has a word
/// twice or an unknown one, or NEVER together with others.
pub fn parse_notify(value: &str) -> Option<Notify> {
    let mut sum = Notify::UNSET;
    for word in value.split(',') {
        let one = [
            ("NEVER", Notify::NEVER),
            ("SUCCESS", Notify::SUCCESS),
            ("FAILURE", Notify::FAILURE),
            ("DELAY", Notify::DELAY),
        ]
        .into_iter()
        .find(|(name, _)| word.eq_ignore_ascii_case(name))?
        .1;
        if sum.has(one) || sum.has(Notify::NEVER) || (one == Notify::NEVER && sum != Notify::UNSET) {
            return None;
        }
        sum = sum.with(one);
    }
    Some(sum)
}

/// What MAIL said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MailTransaction {
    /// The reverse-path; null for `<>`.
    pub sender: Address,
    /// `SIZE=` in bytes; 0 when not said.
    pub size_bytes: u64,
    /// `BODY=`.
    pub body: BodyKind,
    /// `SMTPUTF8` was said.
    pub smtputf8: bool,
    /// `RET=`.
    pub ret: Option<Ret>,
    /// `ENVID=` as sent, in xtext (RFC 3461 §4): safe to send on as it is.
    pub envid: Option<Box<str>>,
    /// `XVERP`, or `XVERP=` with delimiters.
    pub verp: Option<VerpDelimiters>,
}

/// What one RCPT said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RcptCommand {
    /// The forward-path.
    pub address: Address,
    /// `ORCPT=` as sent, `type;xtext`: safe to send on as it is.
    pub orcpt: Option<Box<str>>,
    /// `NOTIFY=`.
    pub notify: Notify,
}

/// Whether `value` is xtext (RFC 3461 §4) of printable characters: what we may repeat in our own commands.
pub fn is_xtext(value: &str) -> bool {
    let bytes = value.as_bytes();
    let hex = |byte: Option<&u8>| {
        byte.and_then(|b| {
            (b.is_ascii_digit() || (b'A'..=b'F').contains(b)).then(|| (*b as char).to_digit(16))
        })
        .flatten()
    };
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'+' => {
                let (Some(high), Some(low)) = (hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) else {
                    return false;
                };
                if !(0x20..0x7f).contains(&(high * 16 + low)) {
                    return false;
                }
                at += 3;
            }
            b'=' => return false,
            byte if byte.is_ascii_graphic() => at += 1,
            _ => return false,
        }
    }
    true
}

/// Whether `value` is an ORCPT value: `addr-type;xtext`, or UTF-8 for the type `utf-8` (RFC 6533 §3).
pub fn is_orcpt(value: &str) -> bool {
    let Some((kind, address)) = value.split_once(';') else { return false };
    let kind_fits = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let address_fits = if kind.eq_ignore_ascii_case("utf-8") {
        !address.chars().any(|c| c.is_control() || c == ' ' || c == '=')
    } else {
        is_xtext(address)
    };
    kind_fits && !address.is_empty() && address_fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notify_lists() {
        assert_eq!(parse_notify("never"), Some(Notify::NEVER));
        assert_eq!(parse_notify("SUCCESS,delay"), Some(Notify::SUCCESS.with(Notify::DELAY)));
        for wrong in ["", "NEVER,SUCCESS", "SUCCESS,NEVER", "SUCCESS,SUCCESS", "x", "SUCCESS,"] {
            assert_eq!(parse_notify(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn xtext_lets_nothing_through_that_could_end_a_command() {
        assert!(is_xtext("a+2Bb") && is_xtext(""));
        for wrong in ["a b", "a+0D+0A", "a+2", "a=b", "é", "a+2b"] {
            assert!(!is_xtext(wrong), "{wrong}");
        }
        assert!(is_orcpt("rfc822;a@b") && is_orcpt("utf-8;ü@b"));
        assert!(!is_orcpt("rfc822") && !is_orcpt(";a") && !is_orcpt("rfc822;ü"));
    }
}
