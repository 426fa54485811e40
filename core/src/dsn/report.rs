//! The report of a session that had errors: its transcript as a message to the postmaster.

use super::FromFormat;
use super::lines::Lines;
use super::notice::with_origin;
use crate::transcript::Excerpt;

/// Where the session was held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionKind {
    /// A client's, with our SMTP server.
    Server,
    /// Ours, with somebody's SMTP server.
    Client,
}

/// A report in the making.
#[derive(Clone, Copy, Debug)]
pub struct SessionReport<'a> {
    /// Where.
    pub kind: SessionKind,
    /// `name[address]` of the other side, with its port where that is logged.
    pub peer: &'a str,
    /// What was said.
    pub excerpt: &'a Excerpt,
    /// `mail_name`: the subject begins with it.
    pub mail_name: &'a str,
    /// `myorigin`: completes the `From:` address.
    pub origin: &'a str,
    /// `header_from_format`.
    pub from_format: FromFormat,
    /// To whom it goes.
    pub to: &'a str,
}

impl SessionReport<'_> {
    /// The content of the message in wire form: plain ASCII text, without Date and Message-Id, which cleanup adds.
    /// Lines of the dialogue begin with a blank: nothing that a peer said stands at the beginning of a line.
    pub fn content(&self) -> Vec<u8> {
        let SessionReport { kind, peer, excerpt, mail_name, origin, from_format, to } = *self;
        let mut lines = Lines::with_capacity(4096);
        lines.ascii_only = true;
        let side = match kind {
            SessionKind::Server => "server",
            SessionKind::Client => "client",
        };
        lines.line(&["From: ", &with_origin(from_format.mail_system(), origin)]);
        lines.line(&["To: Postmaster <", to, ">"]);
        lines.line(&["Subject: ", mail_name, " SMTP ", side, ": errors from ", peer]);
        lines.line(&["Auto-Submitted: auto-generated"]);
        lines.line(&[]);
        if kind == SessionKind::Client {
            lines.line(&["Unexpected response from ", peer, "."]);
            lines.line(&[]);
        }
        lines.line(&["Transcript of session follows."]);
        lines.line(&[]);
        if excerpt.left_out() > 0 {
            lines.line(&[" (", &excerpt.left_out().to_string(), " earlier lines are left out)"]);
        }
        for (side, line) in excerpt.lines() {
            lines.wrapped(side.label(), line);
        }
        lines.line(&[]);
        if let Some(reason) = excerpt.reason {
            lines.line(&["Session aborted, reason: ", reason]);
        }
        if kind == SessionKind::Server {
            lines.line(&[]);
        }
        lines.line(&["For other details, see the local mail logfile"]);
        lines.out
    }
}
