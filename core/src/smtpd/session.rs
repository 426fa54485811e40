//! The session: reading, turn taking, replies. What each command does is in `commands.rs`.

use std::borrow::Cow;
use std::mem;
use std::rc::Rc;

use memchr::memchr;

use super::client::Client;
use super::command::{Statistics, Verb};
use super::event::{Event, SessionLog, escaped};
use super::identity::{Forwarded, NewIdentity};
use super::settings::{Extension, SmtpdSettings};
use super::transaction::{MailTransaction, RcptCommand};
use super::trouble::error_class;
use crate::access::AccessMemory;
use crate::anvil::Exceeded;
use crate::content::{BareNewline, ContentScanner};
use crate::flush::SiteFlush;
use crate::limits::{LOG_EVENTS_MAX, REPLY_BYTES_MAX};
use crate::reply::Reply;
use crate::transcript::{ErrorClass, Excerpt, Side, Transcript};

/// What the session wants next. Whatever it is, replies gathered so far may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// All input is used up: send the replies, then read.
    MoreInput,
    /// Replies or log events have gathered to their limit, or there is something to report: send and drain them and
    /// [`Session::take_report`], then step on with the rest.
    Send,
    /// A command has come, and commands are filtered ([`Session::command_line`]): give what is to be read instead
    /// ([`Session::filtered`]). No answer.
    Filter,
    /// HELO or EHLO was given ([`Session::facts`]): answer it. Asked only if `smtpd_delay_reject` is off.
    Helo,
    /// XCLIENT was understood ([`Session::proposed_client`]): make the session that client's
    /// ([`Session::become_client`]) and greet it. No answer.
    Xclient,
    /// MAIL was understood ([`Session::mail`]): answer it.
    Mail,
    /// RCPT was understood ([`Session::last_recipient`]): answer it.
    Recipient,
    /// VRFY was understood ([`Session::last_recipient`]): answer whether mail to the address would be taken.
    Verify,
    /// DATA, or the first BDAT: answer whether content may come.
    Data,
    /// Content grew and all input is used up: the content may be spilled or passed on, and the buffer emptied.
    Content,
    /// The message is whole ([`Session::content_bytes`]): answer it.
    EndOfContent,
    /// AUTH was given: answer whether the client has not done so too often.
    Auth,
    /// ETRN was understood ([`Session::etrn_domain`]): answer it.
    Etrn,
    /// The message will not be: throw away what came of it. The session has replied, or will. No answer.
    Discard,
    /// Send the replies, let this time pass, then step on: the next reply is a delayed one.
    Pause {
        /// How long, in milliseconds.
        milliseconds: u64,
    },
    /// Send the replies and close. A message under way is thrown away.
    Close,
}

/// What one [`Session::step`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Bytes of input taken; the rest is shown again with the next step.
    pub consumed: usize,
    /// What is wanted.
    pub request: Request,
}

/// The shard's verdict on the request before: [`Request::Mail`], [`Request::Recipient`], [`Request::Data`],
/// [`Request::EndOfContent`], [`Request::Auth`] or [`Request::Etrn`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<'a> {
    /// Go on. Not an answer to `EndOfContent` and `Etrn`.
    Accept,
    /// Refuse with this reply, which is logged as a reject. 421 and 521 close the session.
    Refuse(Reply),
    /// The client does this too often: refuse with the limit's own reply, which is logged as a warning. An answer to
    /// `Mail`, `Recipient` and `Auth`.
    Exceeded(Exceeded),
    /// The message is durable under this queue id. Only an answer to `EndOfContent`.
    Queued(&'a str),
    /// What became of the site's mail. Only an answer to `Etrn`.
    Flush(SiteFlush),
}

/// What the session is in the middle of.
#[derive(Debug, Clone)]
pub(super) enum Phase {
    Command,
    /// A command line that is to be filtered.
    AwaitFilter(Vec<u8>),
    /// HELO or EHLO with its name.
    AwaitHelo(Verb, Box<str>),
    AwaitXclient(Box<NewIdentity>),
    AwaitMail(MailTransaction),
    AwaitRecipient(RcptCommand),
    /// VRFY: the address, and as it was written.
    AwaitVerify(RcptCommand, Box<str>),
    AwaitData,
    /// The first BDAT of a message waits for the shard's verdict.
    AwaitChunk(Chunk),
    Data,
    Chunk(Chunk),
    /// The payload of a refused BDAT is read and dropped; then comes the reply.
    Skip(Chunk, Reply),
    AwaitEnd,
    AwaitAuth,
    /// The domain whose mail the client asks for.
    AwaitEtrn(Box<str>),
}

/// One BDAT.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk {
    pub(super) count: u64,
    pub(super) left: u64,
    pub(super) last: bool,
}

/// How far a message's content has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bdat {
    /// No BDAT in this transaction.
    No,
    Receiving,
    /// RFC 3030 §2: after an error, chunks are refused until LAST or RSET.
    Failed,
}

/// One SMTP server session.
#[derive(Debug)]
pub struct Session {
    pub(super) settings: Rc<SmtpdSettings>,
    client: Client,
    client_text: Rc<str>,
    pub(super) phase: Phase,
    /// A command line of which the end has not come; at most `line_length_limit` + 1 bytes.
    line: Vec<u8>,
    line_too_long: bool,
    /// Replies that wait for the error sleep.
    held: Vec<u8>,
    pause_due: bool,
    closing: bool,
    pub(super) helo: Option<Box<str>>,
    pub(super) esmtp: bool,
    pub(super) mail: Option<MailTransaction>,
    pub(super) recipients: Vec<RcptCommand>,
    pub(super) overshoot: usize,
    pub(super) bdat: Bdat,
    pub(super) scanner: Option<ContentScanner>,
    queue_id: Option<Box<str>>,
    pub(super) errors: u32,
    junk: u32,
    pub(super) pipelined_ahead: bool,
    pub(super) after: &'static str,
    statistics: Statistics,
    log: Vec<SessionLog>,
    pub(super) transcript: Transcript,
    pub(super) access: AccessMemory,
    pub(super) forwarded: Option<Box<Forwarded>>,
    /// The client was refused when it came, and may only leave.
    pub(super) denied: bool,
    /// The line that the filter gave.
    filtered: Option<Vec<u8>>,
    /// Content was dropped by an answer.
    pub(super) discard_due: bool,
    /// Transactions that are over.
    pub(super) transactions: u32,
}

/// What one turn of the loop in [`Session::step`] did.
pub(super) struct Turn {
    pub(super) consumed: usize,
    pub(super) request: Option<Request>,
}

impl Session {
    /// A session that has said nothing yet.
    pub fn new(settings: Rc<SmtpdSettings>, client: Client) -> Session {
        let client_text = client.text(settings.client_port_logging);
        Session {
            transcript: Transcript::new(settings.reported_errors, Side::Peer),
            settings,
            client,
            client_text: client_text.into(),
            phase: Phase::Command,
            line: Vec::new(),
            line_too_long: false,
            held: Vec::new(),
            pause_due: false,
            closing: false,
            helo: None,
            esmtp: false,
            mail: None,
            recipients: Vec::new(),
            overshoot: 0,
            bdat: Bdat::No,
            scanner: None,
            queue_id: None,
            errors: 0,
            junk: 0,
            pipelined_ahead: false,
            after: "CONNECT",
            statistics: Statistics::default(),
            log: Vec::new(),
            access: AccessMemory::default(),
            forwarded: None,
            denied: false,
            filtered: None,
            discard_due: false,
            transactions: 0,
        }
    }

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

    /// Takes input and goes on until something is wanted. Content in wire form is appended to `content`.
    ///
    /// # Panics
    /// When an answer is due.
    pub fn step(&mut self, input: &[u8], replies: &mut Vec<u8>, content: &mut Vec<u8>) -> Step {
        let mut consumed = 0;
        if !self.pause_due {
            replies.append(&mut self.held);
        }
        loop {
            if mem::take(&mut self.pause_due) {
                return Step {
                    consumed,
                    request: Request::Pause { milliseconds: self.settings.error_sleep_ms },
                };
            }
            if self.closing {
                return Step { consumed, request: Request::Close };
            }
            if mem::take(&mut self.discard_due) {
                return Step { consumed, request: Request::Discard };
            }
            let log_waits = self.log.len() >= LOG_EVENTS_MAX || self.transcript.is_due();
            if replies.len() >= REPLY_BYTES_MAX || log_waits {
                return Step { consumed, request: Request::Send };
            }
            let rest = &input[consumed..];
            let turn = match &self.phase {
                Phase::Command => self.take_command(rest, replies, content),
                Phase::Data => self.take_data(rest, replies, content),
                Phase::Chunk(chunk) => {
                    let chunk = *chunk;
                    self.take_chunk(chunk, rest, replies, content)
                }
                Phase::Skip(..) => self.take_skipped(rest, replies, content),
                phase => panic!("a step while an answer is due: {phase:?}"),
            };
            consumed += turn.consumed;
            if let Some(request) = turn.request {
                return Step { consumed, request };
            }
        }
    }

    /// Reads one command line and carries it out.
    fn take_command(&mut self, rest: &[u8], replies: &mut Vec<u8>, content: &mut Vec<u8>) -> Turn {
        if self.errors >= self.settings.hard_error_limit {
            self.note(Event::TooManyErrors { after: self.after });
            let line = format!("421 4.7.0 {} Error: too many errors", self.settings.myhostname);
            self.say_as(Some(ErrorClass::Protocol), replies, &line);
            return Turn { consumed: 0, request: None };
        }
        if let Some(line) = self.filtered.take() {
            let request = self.take_line(&line, rest, replies, content);
            return Turn { consumed: 0, request };
        }
        let limit = self.settings.line_length_limit + 1; // a CR may stand before the line's end
        let Some(end) = memchr(b'\n', rest) else {
            let room = limit.saturating_sub(self.line.len());
            self.line_too_long |= rest.len() > room;
            self.line.extend_from_slice(&rest[..rest.len().min(room)]);
            return Turn { consumed: rest.len(), request: Some(Request::MoreInput) };
        };
        let after = &rest[end + 1..];
        let request = if self.line.is_empty() && !self.line_too_long {
            self.take_or_filter(&rest[..end], after, replies, content)
        } else {
            let mut line = mem::take(&mut self.line);
            let room = limit.saturating_sub(line.len());
            self.line_too_long |= end > room;
            line.extend_from_slice(&rest[..end.min(room)]);
            let request = self.take_or_filter(&line, after, replies, content);
            line.clear();
            self.line = line;
            request
        };
        Turn { consumed: end + 1, request }
    }

    /// Commands are shown to the filter first, if there is one; what is no text, or too long, is none.
    fn take_or_filter(
        &mut self,
        line: &[u8],
        after: &[u8],
        replies: &mut Vec<u8>,
        content: &mut Vec<u8>,
    ) -> Option<Request> {
        if self.settings.filters_commands && !self.line_too_long && std::str::from_utf8(line).is_ok() {
            self.phase = Phase::AwaitFilter(line.to_vec());
            return Some(Request::Filter);
        }
        self.take_line(line, after, replies, content)
    }

    /// The command line that [`Request::Filter`] is about, without its line end.
    ///
    /// # Panics
    /// When none waits.
    pub fn command_line(&self) -> &str {
        match &self.phase {
            Phase::AwaitFilter(line) => {
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                std::str::from_utf8(line).expect("only text is shown to the filter")
            }
            phase => panic!("no command waits for the filter: {phase:?}"),
        }
    }

    /// What is to be read instead of the command that waits; None for the command itself.
    ///
    /// # Panics
    /// When none waits.
    pub fn filtered(&mut self, instead: Option<&str>) {
        match mem::replace(&mut self.phase, Phase::Command) {
            Phase::AwaitFilter(line) => {
                self.filtered = Some(instead.map_or(line, |instead| format!("{instead}\r").into_bytes()));
            }
            phase => panic!("no command waits for the filter: {phase:?}"),
        }
    }

    /// The filter could not be asked about the command that waits: the session ends; the next step asks to close.
    pub fn refuse_local_error(&mut self, replies: &mut Vec<u8>) {
        self.phase = Phase::Command;
        let line = format!("421 4.3.0 {} Server local data error", self.settings.myhostname);
        self.note_reject(self.after, &line, None);
        self.end_now(replies, &line);
    }

    /// One line without its LF; `after` is what has already arrived behind it.
    fn take_line(
        &mut self,
        line: &[u8],
        after: &[u8],
        replies: &mut Vec<u8>,
        content: &mut Vec<u8>,
    ) -> Option<Request> {
        let (line, bare_lf) = match line.strip_suffix(b"\r") {
            Some(line) => (line, false),
            None => (line, true),
        };
        self.transcript.command(line, |word| Verb::of(word) != Verb::Unknown);
        if mem::take(&mut self.line_too_long) || line.len() > self.settings.line_length_limit {
            return self.fault(replies, "500 5.5.2 Error: command too long");
        }
        if bare_lf && self.bare_newline() == BareNewline::Reject {
            let text = format!("550 5.5.2 {} Error: bare <LF> received", self.settings.myhostname);
            self.note_reject(self.after, &text, None);
            self.say(replies, &text);
            self.closing = true;
            return None;
        }
        let Ok(line) = std::str::from_utf8(line) else {
            return self.fault(replies, "500 5.5.2 Error: bad UTF-8 syntax");
        };
        // A NUL or a stray CR has no place in any command; nothing after this test sees one. All bytes are looked at,
        // which is quicker than to stop at the first.
        let is_bad = |byte: u8| (byte < b' ') & (byte != b'\t') | (byte == 0x7f);
        let is_plain = !line.bytes().fold(false, |bad, byte| bad | is_bad(byte));
        let line = line.trim_ascii();
        if line.is_empty() || !is_plain {
            return self.fault(replies, "500 5.5.2 Error: bad syntax");
        }
        let word_end = line.bytes().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(line.len());
        let (word, arguments) = line.split_at(word_end);
        let verb = Verb::of(word);
        self.statistics.count(verb);
        self.after = verb.word();
        if self.denied && verb != Verb::Quit {
            let text = format!("503 5.7.0 Error: access denied for {}", self.client_text);
            return self.fault(replies, &text);
        }
        if verb == Verb::Unknown {
            if self.is_forbidden(word) {
                self.note(Event::NonSmtpCommand(escaped(line.as_bytes())));
                self.say(replies, "221 2.7.0 Error: I can break rules, too. Goodbye.");
                self.closing = true;
                return None;
            }
            return self.fault(replies, "500 5.5.2 Error: command not recognized");
        }
        let must_wait = verb.ends_a_group() || (!self.esmtp && verb != Verb::Bdat);
        if must_wait && !after.is_empty() && !self.pipelined_ahead {
            self.pipelined_ahead = true;
            self.note(Event::ImproperPipelining { after: verb.word(), input: escaped(after) });
            if self.settings.forbid_unauth_pipelining {
                self.say(replies, "554 5.5.0 Error: SMTP protocol synchronization");
                self.closing = true;
                return None;
            }
        }
        self.carry_out(verb, arguments.trim_ascii_start(), replies, content)
    }

    /// `smtpd_forbidden_commands`, and what looks like a header or begins with no letter: a web browser, or a client
    /// that sends content without having been asked.
    fn is_forbidden(&self, word: &str) -> bool {
        let header_like = word
            .split_once(':')
            .is_some_and(|(name, _)| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()));
        header_like
            || !word.as_bytes()[0].is_ascii_alphabetic()
            || self.settings.forbidden_commands.iter().any(|forbidden| forbidden.eq_ignore_ascii_case(word))
    }

    /// The policy for this client.
    pub(super) fn bare_newline(&self) -> BareNewline {
        if self.client.bare_newline_excluded { BareNewline::No } else { self.settings.bare_newline }
    }

    /// A line that is not even a command of ours: reply, and one error more.
    fn fault(&mut self, replies: &mut Vec<u8>, line: &str) -> Option<Request> {
        self.say(replies, line);
        self.errors += 1;
        None
    }

    /// Counts a command as done or failed.
    pub(super) fn done(&mut self, verb: Verb, succeeded: bool) {
        if succeeded {
            self.statistics.succeeded(verb);
        } else {
            self.errors += 1;
        }
        if verb.is_junk() {
            if self.junk > self.settings.junk_command_limit {
                self.errors += 1;
            }
            self.junk = self.junk.saturating_add(1);
        }
    }

    /// A message was accepted: earlier faults are forgiven, as Postfix does.
    pub(super) fn forgive(&mut self) {
        self.errors = 0;
        self.junk = 0;
    }

    /// Says one reply line; from `smtpd_soft_error_limit` errors on it is held for the error sleep.
    pub(super) fn say(&mut self, replies: &mut Vec<u8>, line: &str) {
        let class = self.transcript.is_kept().then(|| error_class(line, self.after)).flatten();
        self.say_as(class, replies, line);
    }

    /// As [`say`](Self::say), for an error of this class.
    fn say_as(&mut self, class: Option<ErrorClass>, replies: &mut Vec<u8>, line: &str) {
        let soft;
        let mut line = line;
        if self.settings.soft_bounce && line.starts_with('5') {
            soft = Reply::parse(line).expect("replies begin with a code").softened();
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

    fn end_now(&mut self, replies: &mut Vec<u8>, line: &str) {
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

    fn after_with_bytes(&self) -> Cow<'static, str> {
        match &self.phase {
            Phase::Data | Phase::Chunk(_) | Phase::Skip(..) => {
                let bytes = self.scanner.as_ref().map_or(0, ContentScanner::size_bytes);
                Cow::Owned(format!("{} ({bytes} bytes)", self.after))
            }
            _ => Cow::Borrowed(self.after),
        }
    }

    pub(super) fn set_after(&mut self, after: &'static str) {
        self.after = after;
    }

    /// The session is over: the next step asks to close.
    pub fn is_closing(&self) -> bool {
        self.closing
    }

    /// No transaction is under way and nothing of a command has come: the session may be closed without loss.
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Command) && self.mail.is_none() && self.line.is_empty()
    }

    /// Who is connected.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// `name[address]`, with `:port` if the port is logged.
    pub fn client_text(&self) -> &Rc<str> {
        &self.client_text
    }

    pub(super) fn set_client(&mut self, client: Client) {
        self.client_text = client.text(self.settings.client_port_logging).into();
        self.client = client;
    }

    /// Whether EHLO shows this client the extension, and it may be used.
    pub(super) fn offers(&self, extension: Extension) -> bool {
        let allowed = match extension {
            Extension::Xverp => self.client.may_ask_verp,
            Extension::Xclient => self.client.is_shown_xclient,
            Extension::Xforward => self.client.is_shown_xforward,
            _ => true,
        };
        let discarded = match &self.client.discard_ehlo_keywords {
            Some(keywords) => keywords,
            None => &self.settings.discard_ehlo_keywords,
        };
        allowed && !discarded.contains(&extension) && self.settings.has(extension)
    }

    /// The name the client gave with HELO or EHLO, also the one that waits for its answer.
    pub fn helo(&self) -> Option<&str> {
        match &self.phase {
            Phase::AwaitHelo(_, name) => Some(name),
            _ => self.helo.as_deref(),
        }
    }

    /// `ESMTP` after EHLO, else `SMTP`.
    pub fn protocol(&self) -> &'static str {
        if self.esmtp { "ESMTP" } else { "SMTP" }
    }

    /// The transaction: from [`Request::Mail`] until its end.
    ///
    /// # Panics
    /// When there is none.
    pub fn mail(&self) -> &MailTransaction {
        match &self.phase {
            Phase::AwaitMail(mail) => mail,
            _ => self.mail.as_ref().expect("mail() is for a transaction under way"),
        }
    }

    /// The recipient that [`Request::Recipient`] is about, or the one accepted last.
    ///
    /// # Panics
    /// When there is neither.
    pub fn last_recipient(&self) -> &RcptCommand {
        match &self.phase {
            Phase::AwaitRecipient(rcpt) | Phase::AwaitVerify(rcpt, _) => rcpt,
            _ => self.recipients.last().expect("last_recipient() is for a transaction with recipients"),
        }
    }

    /// The domain that [`Request::Etrn`] is about, as the client wrote it.
    ///
    /// # Panics
    /// When there is none.
    pub fn etrn_domain(&self) -> &str {
        match &self.phase {
            Phase::AwaitEtrn(domain) => domain,
            phase => panic!("no ETRN waits for its answer: {phase:?}"),
        }
    }

    /// The recipients accepted so far.
    pub fn recipients(&self) -> &[RcptCommand] {
        &self.recipients
    }

    /// Bytes of content, unstuffed, each line end counted as two.
    pub fn content_bytes(&self) -> u64 {
        self.scanner.as_ref().map_or(0, ContentScanner::size_bytes)
    }

    /// Gives the transaction its queue id for later log lines. Forgotten with the transaction.
    pub fn name_transaction(&mut self, queue_id: &str) {
        self.queue_id = Some(queue_id.into());
    }

    /// The queue id of the transaction, once it has one; else empty.
    pub(super) fn queue_id(&self) -> &str {
        self.queue_id.as_deref().unwrap_or_default()
    }

    /// Forgets the transaction. True when content had begun, so that the shard must drop some.
    pub(super) fn reset(&mut self) -> bool {
        self.transactions = self.transactions.wrapping_add(1);
        self.mail = None;
        self.recipients.clear();
        self.overshoot = 0;
        self.queue_id = None;
        self.bdat = Bdat::No;
        self.access.forget_transaction();
        self.forwarded = None;
        self.scanner.take().is_some()
    }

    /// ` ehlo=1 mail=1 …` of the disconnect line, without the leading space.
    pub fn disconnect_statistics(&self) -> String {
        self.statistics.text()
    }

    /// Log lines since the last call.
    pub fn take_log(&mut self) -> Vec<SessionLog> {
        mem::take(&mut self.log)
    }

    fn write_down(&mut self, reply: &str, class: Option<ErrorClass>) {
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
