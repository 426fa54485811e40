//! What a session says to the log, as Postfix's smtpd says it (log tools match these lines).

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

use crate::anvil::Exceeded;
use crate::limits::LOGGED_TEXT_BYTES_MAX;

/// One log line of one session; its text is its `Display`, with `warning: ` before it where Postfix has that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionLog {
    /// `name[address]`.
    pub client: Rc<str>,
    /// What happened.
    pub event: Event,
}

/// What happened. `after` is the last command, `CONNECT`, `UNKNOWN` or `END-OF-MESSAGE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A command or message was refused by policy, or something else is to be done with it.
    Check {
        /// `reject`, `reject_warning`, `hold`, `discard`, `filter`, …
        verb: &'static str,
        /// The message's queue id, once the shard has named it.
        queue_id: Option<Box<str>>,
        /// The stage.
        after: &'static str,
        /// The reply and what is known of the transaction.
        text: Box<str>,
    },
    /// Something is wrong with the configuration, a table or the DNS, as restrictions found.
    Warning(Box<str>),
    /// The client sent before its turn.
    ImproperPipelining {
        /// The command after which it should have waited.
        after: &'static str,
        /// The beginning of what it sent.
        input: Box<str>,
    },
    /// A command of `smtpd_forbidden_commands`, or a header line.
    NonSmtpCommand(Box<str>),
    /// MAIL or RCPT with something that is no address.
    IllegalAddress {
        /// MAIL or RCPT.
        after: &'static str,
        /// What stood there.
        argument: Box<str>,
    },
    /// The connection ended without QUIT.
    LostConnection {
        /// With the bytes of content when content was under way.
        after: Cow<'static, str>,
    },
    /// `smtpd_timeout` passed.
    Timeout {
        /// As for [`Event::LostConnection`].
        after: Cow<'static, str>,
    },
    /// The client went beyond a limit of its own.
    LimitExceeded {
        /// Which, and how far.
        exceeded: Exceeded,
        /// The service's name in `master.cf`.
        service: Box<str>,
    },
    /// ETRN for a domain whose mail nobody may ask for, or cannot be asked for now.
    EtrnRefused {
        /// `reject` if nobody may, `bad` if it did not work.
        verdict: &'static str,
        /// The domain.
        domain: Box<str>,
    },
    /// `smtpd_hard_error_limit` was reached.
    TooManyErrors {
        /// The last command.
        after: &'static str,
    },
}

impl Event {
    /// Why the session ends before its time, in Postfix's words, if that is what happened.
    pub(super) fn abort_reason(&self) -> Option<&'static str> {
        match self {
            Event::LostConnection { .. } => Some("lost connection"),
            Event::Timeout { .. } => Some("timeout"),
            Event::TooManyErrors { .. } => Some("too many errors"),
            _ => None,
        }
    }
}

impl SessionLog {
    /// Logged with severity *warning*; the text says so, too.
    pub fn is_warning(&self) -> bool {
        match self.event {
            Event::NonSmtpCommand(_)
            | Event::IllegalAddress { .. }
            | Event::LimitExceeded { .. }
            | Event::EtrnRefused { .. }
            | Event::Warning(_) => true,
            Event::Check { .. }
            | Event::ImproperPipelining { .. }
            | Event::LostConnection { .. }
            | Event::Timeout { .. }
            | Event::TooManyErrors { .. } => false,
        }
    }
}

impl fmt::Display for SessionLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let client = &self.client;
        match &self.event {
            Event::Check { verb, queue_id, after, text } => {
                let id = queue_id.as_deref().unwrap_or("NOQUEUE");
                write!(f, "{id}: {verb}: {after} from {client}: {text}")
            }
            Event::Warning(text) => write!(f, "warning: {text}"),
            Event::ImproperPipelining { after, input } => {
                write!(f, "improper command pipelining after {after} from {client}: {input}")
            }
            Event::NonSmtpCommand(command) => write!(f, "warning: non-SMTP command from {client}: {command}"),
            Event::IllegalAddress { after, argument } => {
                write!(f, "warning: Illegal address syntax from {client} in {after} command: {argument}")
            }
            Event::LimitExceeded { exceeded, service } => {
                write!(f, "warning: {exceeded} from {client} for service {service}")
            }
            Event::EtrnRefused { verdict: "bad", domain } => {
                write!(f, "warning: bad ETRN {domain}... from {client}")
            }
            Event::EtrnRefused { verdict, domain } => {
                write!(f, "warning: {verdict}: ETRN {domain}... from {client}")
            }
            Event::LostConnection { after } => write!(f, "lost connection after {after} from {client}"),
            Event::Timeout { after } => write!(f, "timeout after {after} from {client}"),
            Event::TooManyErrors { after } => write!(f, "too many errors after {after} from {client}"),
        }
    }
}

/// The beginning of what a client sent, with C's escapes for what is not printable.
pub(super) fn escaped(input: &[u8]) -> Box<str> {
    let cut = &input[..input.len().min(LOGGED_TEXT_BYTES_MAX)];
    let mut text = String::with_capacity(cut.len() + 8);
    for &byte in cut {
        match byte {
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(byte as char),
            _ => text.push_str(&format!("\\{byte:03o}")),
        }
    }
    text.into_boxed_str()
}
