//! Log lines: Postfix's words in Postfix's order, because log parsers match them byte for byte.
//!
//! A [`LogLines`] (one per shard) appends whole lines, newline included, to a buffer of its caller's; it does no I/O,
//! asks no clock and allocates nothing beyond the growth of that buffer. The number in brackets is a session's, not a
//! process's, so that tools can pair lines.
//!
//! Receives: typed values from sessions. Owns: the line head of the current second. Limits: a value taken from a peer
//! is cut at [`VALUE_BYTES_MAX`]. Every value passes [`append_printable`]: nothing that a peer sends can end a line or
//! begin another.

mod delay;
mod text;

pub use delay::{Delays, append_delay};
pub use text::{VALUE_BYTES_MAX, append_printable};

use core::net::{IpAddr, Ipv6Addr};

use crate::date::{SyslogTime, Zone};

/// How bad a line is; printed before its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// No prefix.
    Info,
    /// `warning: `
    Warning,
    /// `error: `
    Error,
    /// `fatal: `
    Fatal,
    /// `panic: `
    Panic,
}

impl Severity {
    fn prefix(self) -> &'static [u8] {
        match self {
            Severity::Info => b"",
            Severity::Warning => b"warning: ",
            Severity::Error => b"error: ",
            Severity::Fatal => b"fatal: ",
            Severity::Panic => b"panic: ",
        }
    }
}

/// A client or server as lines name it: `name[address]`, with `:port` where asked for.
#[derive(Debug, Clone, Copy)]
pub struct Peer<'a> {
    /// Its verified name, or `unknown`.
    pub name: &'a [u8],
    /// Its address, printed without brackets.
    pub address: &'a [u8],
    /// Printed after the brackets if given (`smtpd_client_port_logging`; always for `relay=`).
    pub port: Option<u16>,
}

impl Peer<'_> {
    fn append(&self, out: &mut Vec<u8>) {
        append_printable(out, if self.name.is_empty() { b"unknown" } else { self.name });
        out.push(b'[');
        append_printable(out, self.address);
        out.push(b']');
        if let Some(port) = self.port {
            out.push(b':');
            append_number(out, u64::from(port));
        }
    }
}

/// How many commands of one name a session saw.
#[derive(Debug, Clone, Copy)]
pub struct CommandCount {
    /// As printed, lower case: `ehlo`, `mail`, … `unknown`.
    pub name: &'static str,
    /// Those that were answered with success.
    pub ok: u32,
    /// All of them.
    pub total: u32,
}

/// Where a delivery went, as `relay=` prints it.
#[derive(Debug, Clone, Copy)]
pub enum Relay<'a> {
    /// No server was reached: `none`.
    None,
    /// `host[ip]:port`.
    Server(Peer<'a>),
    /// A service's name (`local`, `virtual`, a pipe service).
    Service(&'a str),
}

/// What became of a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Delivered or handed on.
    Sent,
    /// Returned to the sender.
    Bounced,
    /// To be tried again.
    Deferred,
    /// To be tried again only because of `soft_bounce`: it would have been returned to the sender.
    SoftBounced,
    /// Probe: would be delivered.
    Deliverable,
    /// Probe: would not be delivered.
    Undeliverable,
    /// The same where that is not kept (`address_verify_negative_cache = no`).
    UndeliverableUnkept,
}

impl Status {
    fn word(self) -> &'static [u8] {
        match self {
            Status::Sent => b"sent",
            Status::Bounced => b"bounced",
            Status::Deferred => b"deferred",
            Status::SoftBounced => b"SOFTBOUNCE",
            Status::Deliverable => b"deliverable",
            Status::Undeliverable => b"undeliverable",
            Status::UndeliverableUnkept => b"undeliverable-but-not-cached",
        }
    }
}

/// One recipient's delivery line.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// The agent, e.g. `smtp`.
    pub process: &'a str,
    /// The session's number.
    pub number: u64,
    /// The queue id.
    pub queue_id: &'a str,
    /// The recipient as delivered to.
    pub to: &'a [u8],
    /// The recipient as first given; printed only if it differs from `to` otherwise than in case.
    pub orig_to: Option<&'a [u8]>,
    /// The server.
    pub relay: Relay<'a>,
    /// Deliveries that this connection has carried, this one included; printed from 2 on.
    pub conn_use: u32,
    /// Where the time went.
    pub delays: Delays,
    /// The enhanced status code, e.g. `2.0.0`.
    pub dsn: &'a str,
    /// What became of it.
    pub status: Status,
    /// The reason or the server's reply, without the parentheses.
    pub text: &'a [u8],
}

/// A refusal by the SMTP server.
#[derive(Debug, Clone, Copy)]
pub struct Rejection<'a> {
    /// The queue id, if the transaction has one already; `NOQUEUE` otherwise.
    pub queue_id: Option<&'a str>,
    /// `reject`, `reject_warning`, `hold`, `discard`, …
    pub verb: &'a str,
    /// The command or stage: `RCPT`, `MAIL`, `CONNECT`, `END-OF-MESSAGE`.
    pub stage: &'a str,
    /// Who was refused.
    pub client: Peer<'a>,
    /// The reply without its line end: `554 5.7.1 <r@d>: Relay access denied`.
    pub reply: &'a [u8],
    /// The reverse-path, once known.
    pub from: Option<&'a [u8]>,
    /// The forward-path, once known.
    pub to: Option<&'a [u8]>,
    /// `SMTP` or `ESMTP`, once known.
    pub protocol: Option<&'a str>,
    /// The HELO argument, once known.
    pub helo: Option<&'a [u8]>,
}

/// Writes lines for one shard.
#[derive(Debug, Clone)]
pub struct LogLines {
    time: SyslogTime,
    /// `␠host␠syslog_name/`: what stands between the time and the process.
    host_and_name: Vec<u8>,
    delay_decimals: u8,
}

impl LogLines {
    /// Lines of `host` (its first label, as syslog prints it) under `syslog_name`, times in `zone`, at most
    /// `delay_decimals` decimals in delays (`delay_logging_resolution_limit`, 0 to 6; more counts as 6).
    pub fn new(host: &str, syslog_name: &str, zone: Zone, delay_decimals: u8) -> Self {
        let mut host_and_name = vec![b' '];
        append_printable(&mut host_and_name, host.split('.').next().unwrap_or(host).as_bytes());
        host_and_name.push(b' ');
        append_printable(&mut host_and_name, syslog_name.as_bytes());
        host_and_name.push(b'/');
        Self { time: SyslogTime::new(zone), host_and_name, delay_decimals }
    }

    /// Prints times in another zone from now on.
    pub fn set_zone(&mut self, zone: Zone) {
        self.time.set_zone(zone);
    }

    /// `Mmm dd hh:mm:ss host postfix/process[number]: `.
    pub fn head(&mut self, out: &mut Vec<u8>, now_s: i64, process: &str, number: u64) {
        out.extend_from_slice(self.time.text(now_s));
        out.extend_from_slice(&self.host_and_name);
        out.extend_from_slice(process.as_bytes());
        out.push(b'[');
        append_number(out, number);
        out.extend_from_slice(b"]: ");
    }

    /// Any other line: severity and text.
    pub fn message(
        &mut self,
        out: &mut Vec<u8>,
        now_s: i64,
        process: &str,
        number: u64,
        severity: Severity,
        text: &[u8],
    ) {
        self.head(out, now_s, process, number);
        out.extend_from_slice(severity.prefix());
        append_printable(out, text);
        out.push(b'\n');
    }

    /// Any other line of one message: `QID: text`.
    pub fn about(
        &mut self,
        out: &mut Vec<u8>,
        now_s: i64,
        process: &str,
        number: u64,
        queue_id: &str,
        text: &[u8],
    ) {
        self.head_of(out, now_s, process, number, queue_id);
        append_printable(out, text);
        out.push(b'\n');
    }

    /// `connect from NAME[ADDR]`.
    pub fn connect(&mut self, out: &mut Vec<u8>, now_s: i64, number: u64, client: &Peer<'_>) {
        self.session_event(out, now_s, number, b"connect from ", client);
    }

    /// `lost connection after CMD from NAME[ADDR]`; `event` is `lost connection`, `timeout`, `too many errors` or the
    /// like, `command` the last one seen (`CONNECT` before any).
    pub fn broken_off(
        &mut self,
        out: &mut Vec<u8>,
        now_s: i64,
        number: u64,
        event: &str,
        command: &str,
        client: &Peer<'_>,
    ) {
        self.head(out, now_s, "smtpd", number);
        append_printable(out, event.as_bytes());
        out.extend_from_slice(b" after ");
        append_printable(out, command.as_bytes());
        out.extend_from_slice(b" from ");
        client.append(out);
        out.push(b'\n');
    }

    /// `disconnect from NAME[ADDR] ehlo=1 … commands=5`; `counts` in the server's table order, those never used are
    /// left out.
    pub fn disconnect(
        &mut self,
        out: &mut Vec<u8>,
        now_s: i64,
        number: u64,
        client: &Peer<'_>,
        counts: impl IntoIterator<Item = CommandCount>,
    ) {
        self.head(out, now_s, "smtpd", number);
        out.extend_from_slice(b"disconnect from ");
        client.append(out);
        let (mut ok, mut total) = (0, 0);
        for count in counts {
            if count.total > 0 {
                append_count(out, count.name, u64::from(count.ok), u64::from(count.total));
                ok += u64::from(count.ok);
                total += u64::from(count.total);
            }
        }
        if total == 0 {
            out.extend_from_slice(b" commands=0/0");
        } else {
            append_count(out, "commands", ok, total);
        }
        out.push(b'\n');
    }

    /// `QID: client=NAME[ADDR]`.
    pub fn client(&mut self, out: &mut Vec<u8>, now_s: i64, number: u64, queue_id: &str, client: &Peer<'_>) {
        self.head_of(out, now_s, "smtpd", number, queue_id);
        out.extend_from_slice(b"client=");
        client.append(out);
        out.push(b'\n');
    }

    /// `QID: message-id=<…>`; `message_id` as the header has it, angle brackets included, empty if there is none.
    pub fn message_id(
        &mut self,
        out: &mut Vec<u8>,
        now_s: i64,
        number: u64,
        queue_id: &str,
        message_id: &[u8],
    ) {
        self.head_of(out, now_s, "cleanup", number, queue_id);
        out.extend_from_slice(b"message-id=");
        append_printable(out, if message_id.is_empty() { b"<>" } else { message_id });
        out.push(b'\n');
    }

    /// `QID: from=<SENDER>, size=N, nrcpt=N (queue active)`.
    #[allow(clippy::too_many_arguments)]
    pub fn queue_active(
        &mut self,
        out: &mut Vec<u8>,
        now_s: i64,
        number: u64,
        queue_id: &str,
        from: &[u8],
        bytes: u64,
        recipients: u64,
    ) {
        self.head_of(out, now_s, "qmgr", number, queue_id);
        append_address(out, b"from=<", from);
        out.extend_from_slice(b", size=");
        append_number(out, bytes);
        out.extend_from_slice(b", nrcpt=");
        append_number(out, recipients);
        out.extend_from_slice(b" (queue active)\n");
    }

    /// The delivery line of one recipient.
    pub fn delivery(&mut self, out: &mut Vec<u8>, now_s: i64, delivery: &Delivery<'_>) {
        self.head_of(out, now_s, delivery.process, delivery.number, delivery.queue_id);
        append_address(out, b"to=<", delivery.to);
        if let Some(orig_to) = delivery.orig_to
            && !orig_to.eq_ignore_ascii_case(delivery.to)
        {
            append_address(out, b", orig_to=<", orig_to);
        }
        out.extend_from_slice(b", relay=");
        match &delivery.relay {
            Relay::None => out.extend_from_slice(b"none"),
            Relay::Server(server) => server.append(out),
            Relay::Service(name) => append_printable(out, name.as_bytes()),
        }
        if delivery.conn_use > 1 {
            out.extend_from_slice(b", conn_use=");
            append_number(out, u64::from(delivery.conn_use));
        }
        delivery.delays.append(out, self.delay_decimals);
        out.extend_from_slice(b", dsn=");
        append_printable(out, delivery.dsn.as_bytes());
        out.extend_from_slice(b", status=");
        out.extend_from_slice(delivery.status.word());
        out.extend_from_slice(b" (");
        append_printable(out, delivery.text);
        out.extend_from_slice(b")\n");
    }

    /// `QID: removed`.
    pub fn removed(&mut self, out: &mut Vec<u8>, now_s: i64, number: u64, queue_id: &str) {
        self.head_of(out, now_s, "qmgr", number, queue_id);
        out.extend_from_slice(b"removed\n");
    }

    /// `QID: from=<…>, status=expired, returned to sender`; `forced` when an operator asked for it.
    pub fn expired(
        &mut self,
        out: &mut Vec<u8>,
        now_s: i64,
        number: u64,
        queue_id: &str,
        from: &[u8],
        forced: bool,
    ) {
        self.head_of(out, now_s, "qmgr", number, queue_id);
        append_address(out, b"from=<", from);
        out.extend_from_slice(if forced { b", status=force-expired" } else { b", status=expired" });
        out.extend_from_slice(b", returned to sender\n");
    }

    /// `QID: WHAT: QID2`; what is `sender non-delivery notification`, `postmaster delay notification` or their like.
    pub fn notification(
        &mut self,
        out: &mut Vec<u8>,
        now_s: i64,
        number: u64,
        queue_id: &str,
        what: &str,
        notice: &str,
    ) {
        self.head_of(out, now_s, "bounce", number, queue_id);
        append_printable(out, what.as_bytes());
        out.extend_from_slice(b": ");
        append_printable(out, notice.as_bytes());
        out.push(b'\n');
    }

    /// `NOQUEUE: reject: RCPT from NAME[ADDR]: reply; from=<s> to=<r> proto=ESMTP helo=<h>`.
    pub fn rejection(&mut self, out: &mut Vec<u8>, now_s: i64, number: u64, rejection: &Rejection<'_>) {
        self.head_of(out, now_s, "smtpd", number, rejection.queue_id.unwrap_or("NOQUEUE"));
        append_printable(out, rejection.verb.as_bytes());
        out.extend_from_slice(b": ");
        append_printable(out, rejection.stage.as_bytes());
        out.extend_from_slice(b" from ");
        rejection.client.append(out);
        out.extend_from_slice(b": ");
        append_printable(out, rejection.reply);
        out.push(b';');
        if let Some(from) = rejection.from {
            append_address(out, b" from=<", from);
        }
        if let Some(to) = rejection.to {
            append_address(out, b" to=<", to);
        }
        if let Some(protocol) = rejection.protocol {
            out.extend_from_slice(b" proto=");
            append_printable(out, protocol.as_bytes());
        }
        if let Some(helo) = rejection.helo {
            append_address(out, b" helo=<", helo);
        }
        out.push(b'\n');
    }

    fn session_event(&mut self, out: &mut Vec<u8>, now_s: i64, number: u64, event: &[u8], client: &Peer<'_>) {
        self.head(out, now_s, "smtpd", number);
        out.extend_from_slice(event);
        client.append(out);
        out.push(b'\n');
    }

    fn head_of(&mut self, out: &mut Vec<u8>, now_s: i64, process: &str, number: u64, queue_id: &str) {
        self.head(out, now_s, process, number);
        append_printable(out, queue_id.as_bytes());
        out.extend_from_slice(b": ");
    }
}

/// The printed form of an address, inline: what [`Peer::address`] wants, without allocation.
#[derive(Debug, Clone, Copy)]
pub struct AddressText {
    text: [u8; 45],
    length: u8,
}

impl AddressText {
    /// IPv4 as four numbers; IPv6 shortened as RFC 5952 has it, IPv4-mapped ones as IPv4.
    pub fn new(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::of_v4(address.octets()),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    /// Every session and every message print some, so this does without the formatter.
    fn of_v4(octets: [u8; 4]) -> Self {
        let mut text = Self { text: [0; 45], length: 0 };
        for (index, octet) in octets.into_iter().enumerate() {
            if index > 0 {
                text.push(b'.');
            }
            if octet >= 100 {
                text.push(b'0' + octet / 100);
            }
            if octet >= 10 {
                text.push(b'0' + octet / 10 % 10);
            }
            text.push(b'0' + octet % 10);
        }
        text
    }

    fn push(&mut self, byte: u8) {
        self.text[usize::from(self.length)] = byte;
        self.length += 1;
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        use std::io::Write;
        let mut text = [0; 45];
        let mut rest = &mut text[..];
        // The longest IPv6 text has 45 bytes; were one longer, a cut address in a log line would be the right answer.
        let _ = write!(rest, "{address}");
        let length = (45 - rest.len()) as u8;
        Self { text, length }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("addresses are ASCII")
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text[..usize::from(self.length)]
    }
}

fn append_address(out: &mut Vec<u8>, before: &[u8], address: &[u8]) {
    out.extend_from_slice(before);
    append_printable(out, address);
    out.push(b'>');
}

fn append_count(out: &mut Vec<u8>, name: &str, ok: u64, total: u64) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.push(b'=');
    append_number(out, ok);
    if ok != total {
        out.push(b'/');
        append_number(out, total);
    }
}

fn append_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}
