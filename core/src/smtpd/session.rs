//! The session: its state, and whose turn it is. Command lines are read in `line.rs`, what each command does is in
//! `commands.rs`, content comes in `receiving.rs`, and what is said goes out by `speech.rs`.

use std::mem;
use std::rc::Rc;

use super::client::Client;
use super::command::{Statistics, Verb};
use super::event::SessionLog;
use super::identity::{Forwarded, NewIdentity};
use super::settings::{Extension, SmtpdSettings};
use super::transaction::{MailTransaction, RcptCommand};
use crate::access::AccessMemory;
use crate::anvil::Exceeded;
use crate::content::{BareNewline, ContentScanner};
use crate::flush::SiteFlush;
use crate::limits::{LOG_EVENTS_MAX, REPLY_BYTES_MAX};
use crate::reply::Reply;
use crate::transcript::{Side, Transcript};

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
    /// The address has no meaning: its domain cannot be one. An answer to `Mail`, `Recipient` and `Verify`.
    Malformed,
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
    pub(super) client: Client,
    pub(super) client_text: Rc<str>,
    pub(super) phase: Phase,
    /// A command line of which the end has not come; at most `line_length_limit` + 1 bytes.
    pub(super) line: Vec<u8>,
    pub(super) line_too_long: bool,
    /// Replies that wait for the error sleep.
    pub(super) held: Vec<u8>,
    pub(super) pause_due: bool,
    pub(super) closing: bool,
    pub(super) helo: Option<Box<str>>,
    pub(super) esmtp: bool,
    pub(super) mail: Option<MailTransaction>,
    pub(super) recipients: Vec<RcptCommand>,
    pub(super) overshoot: usize,
    pub(super) bdat: Bdat,
    pub(super) scanner: Option<ContentScanner>,
    pub(super) queue_id: Option<Box<str>>,
    pub(super) errors: u32,
    pub(super) junk: u32,
    pub(super) pipelined_ahead: bool,
    pub(super) after: &'static str,
    pub(super) statistics: Statistics,
    pub(super) log: Vec<SessionLog>,
    pub(super) transcript: Transcript,
    pub(super) access: AccessMemory,
    pub(super) forwarded: Option<Box<Forwarded>>,
    /// The client was refused when it came, and may only leave.
    pub(super) denied: bool,
    /// The line that the filter gave.
    pub(super) filtered: Option<Vec<u8>>,
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

    /// The policy for this client.
    pub(super) fn bare_newline(&self) -> BareNewline {
        if self.client.bare_newline_excluded { BareNewline::No } else { self.settings.bare_newline }
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
            Extension::Xforward => self.client.may_xforward,
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
}
