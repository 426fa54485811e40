//! What becomes of a mail when the server refuses it, breaks the protocol or goes away, in Postfix's words.

use super::commands::CommandKind;
use super::reply::Reply;
use super::result::{NewVerdict, VerdictId};
use super::session::{Event, Session, State};
use crate::dsn::{Class, Status};
use crate::transcript::ErrorClass;

impl Session {
    pub(super) fn disturbed(&mut self, text: &[&str]) -> Event {
        match self.state {
            State::Over => Event::Broken,
            State::Quit => {
                self.state = State::Over;
                Event::Closed
            }
            _ => self.break_off(&NewVerdict {
                trouble: true,
                ..NewVerdict::failed(Status::persistent(4, 2), text)
            }),
        }
    }

    /// Notes a reply that may mean that we do not keep to the protocol, or the server does not.
    fn look_at_code(&mut self, reply: &Reply<'_>) {
        // RFC 5321 section 4.2.1: x0z is about syntax; section 4.1.1.11: 555 about parameters.
        if reply.class() < 4 || (500..510).contains(&reply.code) || reply.code == 555 {
            self.transcript.blame(ErrorClass::Protocol);
        }
    }

    /// `host H[ip] said: … (in reply to …)`, by the class of the reply.
    pub(super) fn refusal(&mut self, reply: &Reply<'_>, request: &str) -> VerdictId {
        self.look_at_code(reply);
        let status = reply.status().unwrap_or(Status::persistent(5, 0));
        self.results.verdict(&NewVerdict {
            reply: Some(reply.text),
            after: &[" (in reply to ", request, ")"],
            ..NewVerdict::failed(status, &["host ", &self.peer_text, " said: "])
        })
    }

    /// A reply after which the connection is of no use: 421, or one that cannot answer what was asked.
    pub(super) fn refused_whole(&mut self, reply: &Reply<'_>, request: &str) -> Event {
        let (status, prefix) = match reply.status() {
            Some(status) if status.class() != Class::Success => (status, ""),
            _ => (Status::persistent(5, 0), "Protocol error: "),
        };
        self.look_at_code(reply);
        let peer = self.peer_text.clone();
        self.break_off(&NewVerdict {
            reply: Some(reply.text),
            after: &[" (in reply to ", request, ")"],
            ..NewVerdict::failed(status, &[prefix, "host ", &peer, " said: "])
        })
    }

    /// A server that refuses RSET says nothing about the mail: even a 5xx only defers it.
    pub(super) fn reset_refused(&mut self, reply: &Reply<'_>) -> Event {
        self.look_at_code(reply);
        let peer = self.peer_text.clone();
        self.break_off(&NewVerdict {
            reply: Some(reply.text),
            after: &[" (in reply to RSET command)"],
            ..NewVerdict::failed(Status::persistent(5, 0), &["host ", &peer, " said: "])
        })
    }

    /// The server does not want to deal with us at all.
    pub(super) fn refused_to_talk(&mut self, reply: &Reply<'_>, soften: bool) -> Event {
        let status = match reply.status() {
            Some(status) if status.class() == Class::Permanent && soften => {
                status.with_class(Class::Persistent)
            }
            Some(status) if status.class() != Class::Success => status,
            _ => Status::persistent(5, 0),
        };
        self.look_at_code(reply);
        let peer = self.peer_text.clone();
        self.break_off(&NewVerdict {
            reply: Some(reply.text),
            trouble: status.class() == Class::Persistent,
            ..NewVerdict::failed(status, &["host ", &peer, " refused to talk to me: "])
        })
    }

    /// The server offers STARTTLS and does not want it. Another server, or the same one later, may.
    pub(super) fn starttls_refused(&mut self, reply: &Reply<'_>) -> Event {
        self.look_at_code(reply);
        let status = match reply.status() {
            Some(status) if status.class() != Class::Success => status.with_class(Class::Persistent),
            _ => Status::persistent(7, 4),
        };
        let peer = self.peer_text.clone();
        self.break_off(&NewVerdict {
            reply: Some(reply.text),
            trouble: true,
            ..NewVerdict::failed(status, &["TLS is required, but host ", &peer, " refused to start TLS: "])
        })
    }

    pub(super) fn protocol_error(&mut self, stage: impl Into<String>) -> Event {
        self.transcript.blame(ErrorClass::Protocol);
        let (peer, stage) = (self.peer_text.clone(), stage.into());
        let text = ["remote protocol error in reply from ", &peer, " while ", &stage];
        self.break_off(&NewVerdict { trouble: true, ..NewVerdict::failed(Status::persistent(5, 0), &text) })
    }

    pub(super) fn utf8_not_offered(&mut self) -> VerdictId {
        let text = ["SMTPUTF8 is required, but was not offered by host ", &self.peer_text];
        self.results.verdict(&NewVerdict::failed(Status::permanent(6, 7), &text))
    }

    /// Gives the connection up; whoever has no result gets this one.
    pub(super) fn break_off(&mut self, verdict: &NewVerdict<'_>) -> Event {
        let verdict = self.results.verdict(verdict);
        self.failure = Some(self.results.failure(verdict));
        self.results.decide_rest(verdict);
        self.state = State::Over;
        Event::Broken
    }

    /// The present stage in Postfix's words.
    pub(super) fn stage(&self) -> String {
        match self.state {
            State::Greeting => String::from("receiving the initial server greeting"),
            State::Hello(hello) => format!("performing the {} handshake", hello.name()),
            State::StartTls => String::from("sending STARTTLS"),
            State::Handshake => String::from("performing the TLS handshake"),
            State::Commands => String::from(match self.commands.kind(self.answered) {
                Some(CommandKind::Reset) => "sending RSET",
                Some(CommandKind::Mail) => "sending MAIL FROM",
                Some(CommandKind::Rcpt(_)) => "sending RCPT TO",
                Some(CommandKind::Forward) => "sending XFORWARD command",
                Some(CommandKind::Data) | None => "sending DATA command",
            }),
            State::Content => String::from("sending message body"),
            State::Dot => String::from("sending end of data -- message may be sent more than once"),
            State::EmptyDot => String::from("sending end of data"),
            State::Idle => String::from("waiting for the next message"),
            State::Quit | State::Over => String::from("sending QUIT"),
        }
    }
}
