//! What restrictions come to: a refusal or none, and lines for the log.

use std::fmt;

use crate::reply::Reply;

/// Bytes of a refusal without its line end (RFC 5321 §4.5.3.1.5 allows 512 with it).
const REPLY_BYTES_MAX: usize = 510;

/// What one stage comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The refusal; none is permission.
    pub refusal: Option<Reply>,
    /// What is logged before that.
    pub notes: Vec<Note>,
}

/// A line for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// `verb: STAGE from client: text; from=… to=…`.
    Check {
        /// `reject_warning`, `hold`, `discard`, `redirect`, `filter`, `bcc`, `prepend`, `warn`, `info`, `permit`.
        verb: &'static str,
        /// What is said.
        text: Box<str>,
    },
    /// A warning about the configuration or the DNS.
    Warning(Box<str>),
}

/// A refusal that waits for what the other items say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deferral {
    /// Whose fault it is.
    pub(super) fault: Fault,
    /// The reply.
    pub(super) reply: Reply,
}

/// Whose fault a refusal is. A warning instead of a refusal is given only for what the client may have done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The client's, by the administrator's policy.
    Policy,
    /// Ours: the configuration, a table, the DNS.
    Ours,
}

/// What one item says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// Nothing: the next item is asked.
    Dunno,
    /// The list permits.
    Permit,
    /// The list refuses.
    Refuse(Reply),
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Said::Dunno => f.write_str("says nothing"),
            Said::Permit => f.write_str("permits"),
            Said::Refuse(reply) => write!(f, "refuses: {}", reply.line()),
        }
    }
}

/// The code decides about the first digit of the enhanced code, and the line has an end.
pub(super) fn reply(code: u16, status: &str, text: &str) -> Reply {
    let class = if code < 500 { '4' } else { '5' };
    let mut line = format!("{class}{} {text}", status.get(1..).unwrap_or(".7.1"));
    line.truncate(crate::envelope::floor_char_boundary(&line, REPLY_BYTES_MAX - 4));
    let (status, text) = line.split_once(' ').unwrap_or((&line, ""));
    Reply::new(code.clamp(400, 599), status, text)
}
