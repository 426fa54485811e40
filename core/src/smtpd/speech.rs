//! What a session says: replies to the client, events to the log, and what is kept of both for the postmaster.

use std::borrow::Cow;
use std::mem;

use super::event::{Event, SessionLog};
use super::session::{Phase, Session};
use super::trouble::error_class;
use crate::anvil::Exceeded;
use crate::content::ContentScanner;
use crate::reply::Reply;
use crate::transcript::{ErrorClass, Excerpt};

impl Session {
    /// The greeting.
    pub fn greet(&mut self, replies: &mut Vec<u8>) {
        let from = replies.len();
        put_line(replies, "220 ", &self.settings.banner);
        self.transcript.reply(replies[from..].trim_ascii_end());
    }

    /// Instead of a greeting: refuses the connection; the next step asks to close.
    pub fn refuse_connection(&mut self, reply: &Reply, replies: &mut Vec<u8>) {
        self.write_down(reply.line(), error_class(reply.line(), self.after));
        put_line(replies, "", reply.line());
        self.closing = true;
    }

    /// Instead of a greeting: the client has too many connections, or makes them too often; the next step asks to
    /// close.
    pub fn refuse_crowd(&mut self, exceeded: Exceeded, replies: &mut Vec<u8>) {
        let reply = self.note_exceeded(exceeded);
        self.refuse_connection(&reply, replies);
    }

    /// Says one reply line; from `smtpd_soft_error_limit` errors on it is held for the error sleep.
    pub(super) fn say(&mut self, replies: &mut Vec<u8>, line: &str) {
        let class = self.transcript.is_kept().then(|| error_class(line, self.after)).flatten();
        self.say_as(class, replies, line);
    }

    /// As [`say`](Self::say), for an error of this class.
    pub(super) fn say_as(&mut self, class: Option<ErrorClass>, replies: &mut Vec<u8>, line: &str) {
        let soft;
        let mut line = line;
        if self.settings.soft_bounce
            && line.starts_with('5')
            && let Some(reply) = Reply::parse(line)
        {
            soft = reply.softened();
            line = soft.line();
        }
        self.write_down(line, class);
        let out = if self.errors >= self.settings.soft_error_limit && self.settings.error_sleep_ms > 0 {
            self.pause_due = true;
            &mut self.held
        } else {
            replies
        };
        put_line(out, "", line);
        // RFC 5321 §3.8: the server announces that it closes.
        if line.starts_with("421 ") || line.starts_with("521 ") || line.starts_with("221 ") {
            self.closing = true;
        }
    }

    /// Nothing came for `smtpd_timeout`: says so; the next step asks to close.
    pub fn input_timeout(&mut self, replies: &mut Vec<u8>) {
        let line = format!("421 4.4.2 {} Error: timeout exceeded", self.settings.myhostname);
        self.note(Event::Timeout { after: self.after_with_bytes() });
        self.end_now(replies, &line);
    }

    /// The server is stopping: says so; the next step asks to close. Call between commands.
    pub fn shut_down(&mut self, replies: &mut Vec<u8>) {
        let line = format!("421 4.3.2 {} Service shutting down", self.settings.myhostname);
        self.end_now(replies, &line);
    }

    pub(super) fn end_now(&mut self, replies: &mut Vec<u8>, line: &str) {
        self.write_down(line, None);
        replies.append(&mut self.held);
        put_line(replies, "", line);
        self.pause_due = false;
        self.closing = true;
    }

    /// The connection is gone. After QUIT, or any other end that we announced, there is nothing to say about that.
    pub fn lost(&mut self) {
        if !self.closing {
            self.closing = true;
            self.note(Event::LostConnection { after: self.after_with_bytes() });
        }
    }

    pub(super) fn after_with_bytes(&self) -> Cow<'static, str> {
        match &self.phase {
            Phase::Data | Phase::Chunk(_) | Phase::Skip(..) => {
                let bytes = self.scanner.as_ref().map_or(0, ContentScanner::size_bytes);
                Cow::Owned(format!("{} ({bytes} bytes)", self.after))
            }
            _ => Cow::Borrowed(self.after),
        }
    }

    /// Log lines since the last call.
    pub fn take_log(&mut self) -> Vec<SessionLog> {
        mem::take(&mut self.log)
    }

    pub(super) fn write_down(&mut self, reply: &str, class: Option<ErrorClass>) {
        self.transcript.reply(reply);
        if let Some(class) = class {
            self.transcript.blame(class);
        }
    }

    /// Whether a transcript of the session is kept (`notify_classes`).
    pub fn keeps_transcript(&self) -> bool {
        self.transcript.is_kept()
    }

    /// The session carries a report about a session: nothing of it is reported.
    pub fn mute_transcript(&mut self) {
        self.transcript.mute();
    }

    /// What is to be reported to the postmaster by now, because more has gathered than is kept.
    pub fn take_report(&mut self) -> Option<Box<Excerpt>> {
        self.transcript.take_due()
    }

    /// What is to be reported at the end.
    pub fn last_report(&mut self) -> Option<Box<Excerpt>> {
        self.transcript.cut()
    }

    pub(super) fn note(&mut self, event: Event) {
        if let Some(reason) = event.abort_reason() {
            self.transcript.abort(reason);
        }
        self.log.push(SessionLog { client: self.client_text.clone(), event });
    }

    /// Notes that the client went beyond a limit, and gives the reply to that.
    pub(super) fn note_exceeded(&mut self, exceeded: Exceeded) -> Reply {
        self.note(Event::LimitExceeded { exceeded, service: self.settings.service_name.as_str().into() });
        exceeded.reply(&self.settings.myhostname, self.client.address)
    }

    /// Notes a reject with what is known of the transaction; `rcpt` is the recipient it is about.
    pub(super) fn note_reject(&mut self, after: &'static str, reply: &str, rcpt: Option<&str>) {
        let only = if rcpt.is_none() { self.only_recipient() } else { None };
        self.note_verb("reject", after, reply, rcpt.or(only.as_deref()));
    }

    /// Notes what a check said, with what is known of the transaction.
    pub(super) fn note_verb(
        &mut self,
        verb: &'static str,
        after: &'static str,
        said: &str,
        rcpt: Option<&str>,
    ) {
        let mut text = format!("{said};");
        if let Some(sender) = self.sender() {
            text.push_str(&format!(" from=<{sender}>"));
        }
        if let Some(rcpt) = rcpt {
            text.push_str(&format!(" to=<{rcpt}>"));
        }
        text.push_str(&format!(" proto={}", self.protocol()));
        if let Some(helo) = self.helo() {
            text.push_str(&format!(" helo=<{helo}>"));
        }
        self.note(Event::Check { verb, queue_id: self.queue_id.clone(), after, text: text.into() });
    }
}

fn put_line(out: &mut Vec<u8>, head: &str, text: &str) {
    out.reserve(head.len() + text.len() + 2);
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
}
