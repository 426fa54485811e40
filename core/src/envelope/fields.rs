//! What an envelope says: its fields, and its recipients one by one.

use crate::verp::VerpDelimiters;

/// What the client declared about the content (`BODY=`, RFC 6152 and 3030).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyKind {
    /// Nothing declared, or `7BIT`.
    #[default]
    SevenBit,
    /// `8BITMIME`.
    EightBitMime,
    /// `BINARYMIME`.
    BinaryMime,
}

/// How much of the message a failure notice returns (`RET=`, RFC 3461 section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ret {
    /// The whole message.
    Full,
    /// Only its headers.
    Headers,
}

/// When the sender wants to hear of a recipient (`NOTIFY=`, RFC 3461 section 4.1).
/// The default, nothing declared, means failures and possibly delays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notify(u8);

impl Notify {
    /// Nothing declared.
    pub const UNSET: Notify = Notify(0);
    /// `NEVER`; stands alone.
    pub const NEVER: Notify = Notify(1);
    /// `SUCCESS`.
    pub const SUCCESS: Notify = Notify(2);
    /// `FAILURE`.
    pub const FAILURE: Notify = Notify(4);
    /// `DELAY`.
    pub const DELAY: Notify = Notify(8);

    /// Both.
    pub const fn with(self, other: Notify) -> Notify {
        Notify(self.0 | other.0)
    }

    /// True if all of `other` is in this.
    pub const fn has(self, other: Notify) -> bool {
        self.0 & other.0 == other.0
    }

    /// True if the client declared nothing.
    pub const fn is_unset(self) -> bool {
        self.0 == 0
    }

    /// True if a failure is to be reported.
    pub const fn wants_failure(self) -> bool {
        self.is_unset() || (self.has(Notify::FAILURE) && !self.has(Notify::NEVER))
    }

    /// True if a delay is to be reported. RFC 3461 leaves it to the MTA when nothing is declared; like
    /// Postfix we then report it (if `delay_warning_time` is set at all).
    pub const fn wants_delay(self) -> bool {
        self.is_unset() || (self.has(Notify::DELAY) && !self.has(Notify::NEVER))
    }

    /// True if a delivery is to be reported.
    pub const fn wants_success(self) -> bool {
        self.has(Notify::SUCCESS) && !self.has(Notify::NEVER)
    }

    /// The four flags as they are stored.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The flags from stored bits; others than the lowest four are dropped.
    pub const fn from_bits(bits: u8) -> Notify {
        Notify(bits & 0x0f)
    }
}

/// Where a message came from, as the log and other servers are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin<'a> {
    /// The client's name; empty or `unknown` if it has none.
    pub name: &'a str,
    /// Its address as printed in logs; empty if nobody knows.
    pub address: &'a str,
    /// Its port; 0 if nobody knows.
    pub port: u16,
    /// What it said in HELO or EHLO.
    pub helo: &'a str,
    /// `SMTP`, `ESMTP`, …
    pub protocol: &'a str,
}

/// Everything in an envelope but its recipients. Addresses are in the form that stands between the
/// angle brackets on the wire (quoted where RFC 5321 wants it); the null sender is empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct EnvelopeFields<'a> {
    /// Reverse-path; empty for the null sender.
    pub sender: &'a str,
    /// ENVID, xtext already decoded; empty if none.
    pub envid: &'a str,
    /// RET, if declared.
    pub ret: Option<Ret>,
    /// BODY.
    pub body: BodyKind,
    /// The client asked for SMTPUTF8.
    pub smtputf8: bool,
    /// Bytes of the stored content.
    pub content_bytes: u64,
    /// When the message arrived, microseconds since 1970.
    pub arrival_us: u64,
    /// The client's verified name, or `unknown`.
    pub client_name: &'a str,
    /// The client's address as printed in logs.
    pub client_address: &'a str,
    /// The client's port; 0 if none.
    pub client_port: u16,
    /// What the client said in HELO or EHLO.
    pub helo: &'a str,
    /// `SMTP`, `ESMTP`, `QMQP`, …
    pub protocol: &'a str,
    /// `transport:destination` through which the whole message goes (`content_filter`, FILTER); empty if none.
    pub filter: &'a str,
    /// What XFORWARD told of the client that stands behind the one which sent the message here.
    pub forwarded: Option<Origin<'a>>,
    /// The message's queue id there (XFORWARD IDENT); empty if none was told.
    pub ident: &'a str,
    /// The message comes from a client whose mail counts as local (XFORWARD SOURCE).
    pub is_local: bool,
    /// A probe: delivered up to RCPT, and only its result counts. Never returned, never tried again.
    pub is_probe: bool,
    /// `XVERP`: each recipient gets the message from a return path of its own.
    pub verp: Option<VerpDelimiters>,
}

impl<'a> EnvelopeFields<'a> {
    /// Where the message came from first, as far as anybody told.
    pub fn origin(&self) -> Origin<'a> {
        self.forwarded.unwrap_or(Origin {
            name: self.client_name,
            address: self.client_address,
            port: self.client_port,
            helo: self.helo,
            protocol: self.protocol,
        })
    }
}

/// One recipient of an envelope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recipient<'a> {
    /// Forward-path without angle brackets.
    pub address: &'a str,
    /// ORCPT, xtext already decoded: `rfc822;user@host`. Empty if none.
    pub orcpt: &'a str,
    /// The address before aliases; empty if it is the same.
    pub original: &'a str,
    /// NOTIFY.
    pub notify: Notify,
}
