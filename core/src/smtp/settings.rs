//! What the caller tells a client session: settings, the peer, and the mail to send.

use super::EhloKeywords;
use crate::envelope::{BodyKind, Notify, Origin, Ret};
use crate::transcript::ErrorClasses;

/// Which of the two protocols this client speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// RFC 5321: EHLO, one reply after the dot.
    #[default]
    Smtp,
    /// RFC 2033: LHLO, one reply for each accepted recipient after the dot.
    Lmtp,
}

/// How long to wait in each stage, seconds. Defaults are Postfix's.
#[derive(Clone, Debug)]
pub struct StageTimeouts {
    /// `smtp_connect_timeout`; the caller's, listed here so that one table has all.
    pub connect: u32,
    /// `smtp_helo_timeout`: greeting and EHLO.
    pub helo: u32,
    /// `smtp_starttls_timeout`: reply to STARTTLS, and the handshake.
    pub starttls: u32,
    /// `smtp_mail_timeout`.
    pub mail: u32,
    /// `smtp_rcpt_timeout`.
    pub rcpt: u32,
    /// `smtp_data_init_timeout`: reply to DATA.
    pub data_init: u32,
    /// `smtp_data_xfer_timeout`: each write of content.
    pub data_transfer: u32,
    /// `smtp_data_done_timeout`: reply after the dot.
    pub data_done: u32,
    /// `smtp_quit_timeout`.
    pub quit: u32,
    /// `smtp_rset_timeout`.
    pub rset: u32,
    /// `smtp_xforward_timeout`.
    pub forward: u32,
}

impl Default for StageTimeouts {
    fn default() -> StageTimeouts {
        StageTimeouts {
            connect: 30,
            helo: 300,
            starttls: 300,
            mail: 300,
            rcpt: 300,
            data_init: 120,
            data_transfer: 180,
            data_done: 600,
            quit: 300,
            rset: 20,
            forward: 300,
        }
    }
}

/// A client's settings, shared by all sessions of one transport.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// SMTP or LMTP.
    pub protocol: Protocol,
    /// `smtp_helo_name`; what we call ourselves.
    pub helo_name: String,
    /// `myhostname`; a server that greets with it is probably ourselves.
    pub my_hostname: String,
    /// Use PIPELINING when it is offered.
    pub pipelining: bool,
    /// `smtp_discard_ehlo_keywords`: offers that are ignored.
    pub discard_ehlo_keywords: EhloKeywords,
    /// `smtp_send_xforward_command`: servers that offer XFORWARD are told where a mail came from.
    pub forwards: bool,
    /// `smtp_skip_5xx_greeting`: a 5xx greeting is only a reason to try elsewhere or later.
    pub skip_5xx_greeting: bool,
    /// Those of `notify_classes` for which a transcript of the session goes to the postmaster; without any of
    /// [`ErrorClasses::OF_CLIENTS`], none is kept.
    pub reported_errors: ErrorClasses,
    /// Stage timeouts.
    pub timeouts: StageTimeouts,
}

impl Default for ClientSettings {
    fn default() -> ClientSettings {
        ClientSettings {
            protocol: Protocol::Smtp,
            helo_name: String::from("localhost"),
            my_hostname: String::from("localhost"),
            pipelining: true,
            discard_ehlo_keywords: EhloKeywords::NONE,
            forwards: false,
            skip_5xx_greeting: true,
            reported_errors: ErrorClasses::NONE,
            timeouts: StageTimeouts::default(),
        }
    }
}

/// The server as results and logs name it.
#[derive(Clone, Debug)]
pub struct PeerName {
    /// Host name (or literal address) from DNS or configuration.
    pub host: String,
    /// Address as printed: `192.0.2.1`, `2001:db8::1`, or a socket path.
    pub address: String,
    /// Port; 0 for a socket path.
    pub port: u16,
}

impl PeerName {
    /// `host[address]`.
    pub fn name_and_address(&self) -> String {
        format!("{}[{}]", self.host, self.address)
    }

    /// `host[address]:port`, the form of `relay=` and of connect failures; without port if it has none.
    pub fn with_port(&self) -> String {
        match self.port {
            0 => self.name_and_address(),
            port => format!("{}[{}]:{port}", self.host, self.address),
        }
    }
}

/// One mail transaction, without its recipients. Addresses are in wire form without angle brackets.
#[derive(Clone, Copy, Debug, Default)]
pub struct MailRequest<'a> {
    /// Reverse-path; empty for the null sender.
    pub sender: &'a str,
    /// Bytes of the content, for SIZE; 0 if unknown.
    pub size: u64,
    /// What the content is. A server without 8BITMIME hears no `BODY=`; its content has been converted
    /// (`crate::outgoing`).
    pub body: BodyKind,
    /// The message needs SMTPUTF8 (an address or header is not ASCII), not merely asked for it.
    pub smtputf8: bool,
    /// RET, sent if the server offers DSN.
    pub ret: Option<Ret>,
    /// ENVID as decoded text; empty if none.
    pub envid: &'a str,
    /// Where it came from, for XFORWARD.
    pub origin: Origin<'a>,
    /// Its queue id where it came from, or here, for XFORWARD.
    pub ident: &'a str,
    /// It came from a client whose mail counts as local, for XFORWARD.
    pub is_local: bool,
    /// A probe: its recipients have their results from RCPT, and there is no DATA.
    pub is_probe: bool,
}

/// One recipient of a transaction.
#[derive(Clone, Copy, Debug, Default)]
pub struct MailRecipient<'a> {
    /// Forward-path without angle brackets.
    pub address: &'a str,
    /// ORCPT as decoded text, `rfc822;user@host`; empty if none.
    pub orcpt: &'a str,
    /// NOTIFY.
    pub notify: Notify,
}

impl<'a> From<crate::envelope::Recipient<'a>> for MailRecipient<'a> {
    fn from(recipient: crate::envelope::Recipient<'a>) -> MailRecipient<'a> {
        MailRecipient { address: recipient.address, orcpt: recipient.orcpt, notify: recipient.notify }
    }
}
