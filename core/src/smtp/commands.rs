//! The commands of one mail, assembled once in one buffer and sent in as many pieces as it takes.

use std::io::Write;

use super::{EhloKeywords, ForwardAttributes, MailRecipient, MailRequest, ServerOffers};
use crate::envelope::{BodyKind, Notify, Ret};

/// Longest ORCPT that is passed on (RFC 3461 section 4.2).
const ORCPT_BYTES_MAX: usize = 500;

/// Longest ENVID that is passed on (RFC 3461 section 4.4).
const ENVID_BYTES_MAX: usize = 100;

/// Longest value of an attribute of XFORWARD, encoded.
const FORWARD_VALUE_BYTES_MAX: usize = 255;

/// What a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CommandKind {
    Reset,
    /// XFORWARD.
    Forward,
    Mail,
    /// With the recipient's index in the request.
    Rcpt(usize),
    Data,
}

/// The queue of commands. Cleared, not freed, between mails.
#[derive(Debug, Default)]
pub(super) struct Commands {
    bytes: Vec<u8>,
    /// Where each command ends.
    list: Vec<(CommandKind, usize)>,
}

impl Commands {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.list.clear();
    }

    pub fn kind(&self, command: usize) -> Option<CommandKind> {
        self.list.get(command).map(|&(kind, _)| kind)
    }

    /// The bytes of the commands from one number to below another.
    pub fn bytes(&self, from: usize, to: usize) -> &[u8] {
        &self.bytes[self.start(from)..self.start(to)]
    }

    fn start(&self, command: usize) -> usize {
        if command == 0 { 0 } else { self.list[command - 1].1 }
    }

    fn end(&mut self, kind: CommandKind) {
        self.bytes.extend_from_slice(b"\r\n");
        self.list.push((kind, self.bytes.len()));
    }

    pub fn reset(&mut self) {
        self.bytes.extend_from_slice(b"RSET");
        self.end(CommandKind::Reset);
    }

    pub fn data(&mut self) {
        self.bytes.extend_from_slice(b"DATA");
        self.end(CommandKind::Data);
    }

    /// Tells where a mail came from, as far as the server wants to know and anybody told.
    pub fn forward(&mut self, mail: &MailRequest<'_>, offers: &ServerOffers) {
        let origin = &mail.origin;
        let port = if origin.port > 0 { origin.port.to_string() } else { String::new() };
        let known = |value: &'_ str| value != "unknown";
        let tag = if origin.address.contains(':') { "IPV6:" } else { "" };
        let source = if mail.is_local { "LOCAL" } else { "REMOTE" };
        let values = [origin.name, origin.address, &port, origin.protocol, origin.helo, mail.ident, source];
        for places in [0..3, 3..7] {
            let before = self.bytes.len();
            self.bytes.extend_from_slice(b"XFORWARD");
            let bare = self.bytes.len();
            for place in places {
                let (name, value) = (ForwardAttributes::NAMES[place], values[place]);
                if offers.forward.has(place) && !value.is_empty() && known(value) {
                    let start = format!(" {name}={}", if place == 1 { tag } else { "" });
                    put_xtext(&mut self.bytes, start.as_bytes(), "", value, FORWARD_VALUE_BYTES_MAX);
                }
            }
            match self.bytes.len() == bare {
                true => self.bytes.truncate(before),
                false => self.end(CommandKind::Forward),
            }
        }
    }

    pub fn mail(&mut self, mail: &MailRequest<'_>, smtputf8: bool, offers: &ServerOffers) {
        let out = &mut self.bytes;
        out.extend_from_slice(b"MAIL FROM:<");
        out.extend_from_slice(mail.sender.as_bytes());
        out.push(b'>');
        if offers.has(EhloKeywords::SIZE) && mail.size > 0 {
            put(out, format_args!(" SIZE={}", mail.size));
        }
        if offers.has(EhloKeywords::EIGHT_BIT_MIME) && mail.body != BodyKind::SevenBit {
            out.extend_from_slice(b" BODY=8BITMIME");
        }
        if smtputf8 {
            out.extend_from_slice(b" SMTPUTF8");
        }
        if offers.has(EhloKeywords::DSN) {
            match mail.ret {
                None => {}
                Some(Ret::Full) => out.extend_from_slice(b" RET=FULL"),
                Some(Ret::Headers) => out.extend_from_slice(b" RET=HDRS"),
            }
            if !mail.envid.is_empty() && mail.envid.is_ascii() {
                put_xtext(out, b" ENVID=", "", mail.envid, ENVID_BYTES_MAX);
            }
        }
        self.end(CommandKind::Mail);
    }

    pub fn rcpt(&mut self, index: usize, recipient: &MailRecipient<'_>, offers: &ServerOffers) {
        let out = &mut self.bytes;
        out.extend_from_slice(b"RCPT TO:<");
        out.extend_from_slice(recipient.address.as_bytes());
        out.push(b'>');
        if offers.has(EhloKeywords::DSN) {
            // An ORCPT that is not ASCII would need the notations of RFC 6533; it is left out, which
            // RFC 3461 section 4.2 allows.
            if let Some((kind, address)) = recipient.orcpt.split_once(';')
                && recipient.orcpt.is_ascii()
                && !kind.is_empty()
                && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            {
                put_xtext(out, b" ORCPT=", kind, address, ORCPT_BYTES_MAX);
            }
            put_notify(out, recipient.notify);
        }
        self.end(CommandKind::Rcpt(index));
    }
}

/// Appends formatted text to memory.
fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a vector takes every write");
}

/// Appends ` NAME=[kind;]xtext` (RFC 3461 section 4), or nothing if the value would exceed its limit.
fn put_xtext(out: &mut Vec<u8>, name: &[u8], kind: &str, value: &str, limit: usize) {
    let start = out.len();
    out.extend_from_slice(name);
    let value_start = out.len();
    if !kind.is_empty() {
        out.extend_from_slice(kind.as_bytes());
        out.push(b';');
    }
    for byte in value.bytes() {
        match byte {
            b'+' | b'=' => put(out, format_args!("+{byte:02X}")),
            b'!'..=b'~' => out.push(byte),
            _ => put(out, format_args!("+{byte:02X}")),
        }
    }
    if out.len() - value_start > limit {
        out.truncate(start);
    }
}

fn put_notify(out: &mut Vec<u8>, notify: Notify) {
    if notify.is_unset() {
        return;
    }
    if notify.has(Notify::NEVER) {
        out.extend_from_slice(b" NOTIFY=NEVER");
        return;
    }
    let names =
        [(Notify::SUCCESS, &b"SUCCESS"[..]), (Notify::FAILURE, b"FAILURE"), (Notify::DELAY, b"DELAY")];
    let mut separator = &b" NOTIFY="[..];
    for (flag, name) in names {
        if notify.has(flag) {
            out.extend_from_slice(separator);
            out.extend_from_slice(name);
            separator = b",";
        }
    }
}

/// True if an address can stand between angle brackets without ending them or the line: the last guard
/// against command injection, whatever the envelope went through before.
pub(super) fn is_safe_path(address: &str) -> bool {
    let mut quoted = false;
    let mut escaped = false;
    for byte in address.bytes() {
        if byte < 0x20 || byte == 0x7f {
            return false;
        }
        if escaped {
            escaped = false;
            continue;
        }
        match byte {
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b'<' | b'>' | b' ' if !quoted => return false,
            _ => {}
        }
    }
    !quoted && !escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_could_end_a_command_are_not_safe() {
        for address in ["", "a@b", "\"a b>\"@c", "\"a\\\"b\"@c", "ü@b", "a\\ b@c"] {
            assert!(is_safe_path(address), "{address:?}");
        }
        for address in
            ["a@b>\r\nDATA", "a@b> SIZE=1", "a\nb", "a b@c", "<a@b", "\"a@b", "a\\", "a\u{7f}", "\0"]
        {
            assert!(!is_safe_path(address), "{address:?}");
        }
    }

    #[test]
    fn xtext_is_encoded_and_limited() {
        let mut out = Vec::new();
        put_xtext(&mut out, b" ORCPT=", "rfc822", "a+b=c d@e", 500);
        assert_eq!(out, b" ORCPT=rfc822;a+2Bb+3Dc+20d@e");
        put_xtext(&mut out, b" ENVID=", "", "abcdef", 5);
        assert_eq!(out, b" ORCPT=rfc822;a+2Bb+3Dc+20d@e");
    }
}
