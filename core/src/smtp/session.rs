//! The dialogue of one connection.

use std::rc::Rc;

use super::commands::{CommandKind, Commands, is_safe_path};
use super::reply::{Reply, ReplyReader};
use super::result::{NewVerdict, Results, VerdictId};
use super::{
    ClientSettings, EhloKeywords, FLIGHT_BYTES_MAX, Failure, MailRecipient, MailRequest, PeerName, Protocol,
    RecipientResult, ResultKind, ServerOffers,
};
use crate::dsn::{Class, Status};

/// What the caller does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Send what was appended to `out`, then read.
    NeedInput,
    /// The handshake (or a probe) is done: a mail may begin.
    Ready,
    /// The server wants the content: send it in wire form with `.` CRLF behind it, and call
    /// [`Session::content_sent`] when the last piece is submitted.
    SendContent,
    /// The mail is over: read the results. The connection may carry another one.
    Finished,
    /// Close the connection. If a mail was begun, every recipient has its result; [`Session::failure`]
    /// says why, also when none was begun.
    Broken,
    /// QUIT was answered: close. If a mail was running before, every recipient has its result.
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Greeting,
    Hello(Hello),
    Idle,
    Commands,
    /// 354 has come; the caller is sending the content.
    Content,
    /// Waiting for the reply, or for LMTP's replies, after the dot.
    Dot,
    /// Waiting for the reply after a dot without content, for which there is no recipient.
    EmptyDot,
    Probe,
    Quit,
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hello {
    Ehlo,
    Helo,
    Lhlo,
}

impl Hello {
    const fn name(self) -> &'static str {
        match self {
            Hello::Ehlo => "EHLO",
            Hello::Helo => "HELO",
            Hello::Lhlo => "LHLO",
        }
    }
}

/// What a session between two mails has learned, on its way to another thread.
#[derive(Debug)]
pub struct CarriedSession {
    peer: PeerName,
    offers: ServerOffers,
    reset_first: bool,
    mails_begun: u32,
}

/// A client's side of one connection, over any number of mails.
#[derive(Debug)]
pub struct Session {
    settings: Rc<ClientSettings>,
    peer: PeerName,
    /// `host[address]`, for texts.
    peer_text: String,
    state: State,
    offers: ServerOffers,
    reader: ReplyReader,
    commands: Commands,
    /// Commands of this mail that were written, and those that were answered.
    sent: usize,
    answered: usize,
    /// Replies that are still to come for anything that was written.
    outstanding: usize,
    /// The server may still hold an unfinished transaction: RSET goes before the next MAIL.
    reset_first: bool,
    mail_refused: bool,
    /// Recipients that the server accepted, in the order of RCPT; LMTP answers in that order.
    accepted: Vec<u32>,
    /// How many of them have their reply after the dot.
    dot_replies: usize,
    /// A reply began before the content was all sent: it cannot mean that the content was accepted.
    early_reply: bool,
    quit_sent: bool,
    results: Results,
    mails_begun: u32,
    failure: Option<Failure>,
    warning: Option<String>,
}

impl Session {
    /// A session on a connection that was just made; the server speaks first.
    pub fn new(settings: Rc<ClientSettings>, peer: PeerName) -> Session {
        Session {
            settings,
            peer_text: peer.name_and_address(),
            peer,
            state: State::Greeting,
            offers: ServerOffers::default(),
            reader: ReplyReader::default(),
            commands: Commands::default(),
            sent: 0,
            answered: 0,
            outstanding: 1,
            reset_first: false,
            mail_refused: false,
            accepted: Vec::new(),
            dot_replies: 0,
            early_reply: false,
            quit_sent: false,
            results: Results::default(),
            mails_begun: 0,
            failure: None,
            warning: None,
        }
    }

    /// What another session needs to go on with this connection; `None` if this one is not idle, or a reply that
    /// nobody asked for has begun: such a connection is of no use to anybody.
    pub fn carry(self) -> Option<CarriedSession> {
        let Session { peer, offers, reset_first, mails_begun, .. } = self;
        let is_between_mails = self.state == State::Idle && self.outstanding == 0 && !self.reader.is_inside();
        is_between_mails.then_some(CarriedSession { peer, offers, reset_first, mails_begun })
    }

    /// Goes on where a carried session has stopped: idle, with the same server and the same count of mails.
    pub fn resume(settings: Rc<ClientSettings>, carried: CarriedSession) -> Session {
        let CarriedSession { peer, offers, reset_first, mails_begun } = carried;
        let fresh = Session::new(settings, peer);
        Session { state: State::Idle, outstanding: 0, offers, reset_first, mails_begun, ..fresh }
    }

    /// The server.
    pub fn peer(&self) -> &PeerName {
        &self.peer
    }

    /// What the server offers, after the handshake.
    pub fn offers(&self) -> ServerOffers {
        self.offers
    }

    /// How many mails were begun here, this one included: `conn_use=`.
    pub fn mails_begun(&self) -> u32 {
        self.mails_begun
    }

    /// True if a mail may begin now.
    pub fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// True if the server has answered nothing to the present mail: when a kept connection breaks like
    /// this, the mail may be tried at once on a fresh one.
    pub fn is_unanswered(&self) -> bool {
        self.answered == 0
    }

    /// How many recipients the present or last mail has.
    pub fn result_count(&self) -> usize {
        self.results.len()
    }

    /// The result of a recipient by its place in the request; `None` while it is undecided.
    /// After `Finished`, `Broken` or `Closed` each has one.
    pub fn result(&self, recipient: usize) -> Option<RecipientResult<'_>> {
        self.results.result(recipient)
    }

    /// All results, in the request's order, after `Finished`, `Broken` or `Closed`.
    pub fn results(&self) -> impl Iterator<Item = RecipientResult<'_>> {
        (0..self.results.len()).filter_map(|recipient| self.results.result(recipient))
    }

    /// Why the connection is given up.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Something for the log (a server that calls itself by our name), once.
    pub fn take_warning(&mut self) -> Option<String> {
        self.warning.take()
    }

    /// How long the server may be silent in the present stage, seconds.
    pub fn timeout_seconds(&self) -> u32 {
        let timeouts = &self.settings.timeouts;
        match self.state {
            State::Greeting | State::Hello(_) => timeouts.helo,
            State::Commands => match self.commands.kind(self.answered) {
                Some(CommandKind::Reset) => timeouts.rset,
                Some(CommandKind::Mail) => timeouts.mail,
                Some(CommandKind::Rcpt(_)) => timeouts.rcpt,
                Some(CommandKind::Data) | None => timeouts.data_init,
            },
            State::Content => timeouts.data_transfer,
            State::Dot | State::EmptyDot => timeouts.data_done,
            State::Probe => timeouts.rset,
            State::Idle | State::Quit | State::Over => timeouts.quit,
        }
    }

    /// Begins a mail: its commands, or the first of them, go to `out`. Nothing is allocated once the
    /// session's buffers have grown to the size of its mails.
    ///
    /// Answers `NeedInput`; `Finished` if all recipients failed here already (too large, SMTPUTF8 not
    /// offered, unusable addresses, no recipients); `Broken` if the server had said something unasked.
    ///
    /// # Panics
    /// When the session is not idle.
    pub fn begin<'a>(
        &mut self,
        mail: &MailRequest<'_>,
        recipients: impl Iterator<Item = MailRecipient<'a>> + Clone,
        out: &mut Vec<u8>,
    ) -> Event {
        assert!(self.state == State::Idle, "a mail begins when the last one is over");
        self.results.clear();
        self.commands.clear();
        self.accepted.clear();
        (self.sent, self.answered, self.dot_replies) = (0, 0, 0);
        (self.mail_refused, self.early_reply) = (false, false);
        self.mails_begun = self.mails_begun.saturating_add(1);
        recipients.clone().for_each(|_| self.results.add_recipient());
        if self.reader.is_inside() {
            return self.protocol_error("waiting for the next message");
        }
        let utf8_offered = self.offers.has(EhloKeywords::SMTPUTF8);
        let utf8_here = mail.smtputf8 || !mail.sender.is_ascii();
        if utf8_here && !utf8_offered {
            let verdict = self.utf8_not_offered();
            self.results.decide_rest(verdict);
        } else if self.offers.size_limit > 0 && mail.size > self.offers.size_limit {
            let (size, limit) = (mail.size.to_string(), self.offers.size_limit.to_string());
            let before =
                ["message size ", &size, " exceeds size limit ", &limit, " of server ", &self.peer_text];
            let verdict = self.results.verdict(&NewVerdict::failed(Status::permanent(3, 4), &before));
            self.results.decide_rest(verdict);
        } else if !is_safe_path(mail.sender) {
            let text = ["bad sender address syntax"];
            let verdict = self.results.verdict(&NewVerdict::failed(Status::permanent(1, 7), &text));
            self.results.decide_rest(verdict);
        }
        if self.results.undecided() == 0 {
            return Event::Finished;
        }
        if self.reset_first {
            self.commands.reset();
        }
        let utf8 = utf8_offered && (utf8_here || recipients.clone().any(|rcpt| !rcpt.address.is_ascii()));
        self.commands.mail(mail, utf8, &self.offers);
        for (index, recipient) in recipients.enumerate() {
            if recipient.address.is_empty() || !is_safe_path(recipient.address) {
                let text = ["bad address syntax"];
                let verdict = self.results.verdict(&NewVerdict::failed(Status::permanent(1, 3), &text));
                self.results.decide(index, verdict);
            } else if !recipient.address.is_ascii() && !utf8_offered {
                let verdict = self.utf8_not_offered();
                self.results.decide(index, verdict);
            } else {
                self.commands.rcpt(index, &recipient, &self.offers);
            }
        }
        if self.results.undecided() == 0 {
            return Event::Finished;
        }
        self.commands.data();
        self.state = State::Commands;
        self.send_more(out);
        Event::NeedInput
    }

    /// Asks a kept connection whether it still lives (RSET, `smtp_rset_timeout`): `Ready` follows, or
    /// `Broken`, which only means that a fresh connection is needed.
    ///
    /// # Panics
    /// When the session is not idle.
    pub fn probe(&mut self, out: &mut Vec<u8>) {
        assert!(self.state == State::Idle, "only an idle connection is probed");
        out.extend_from_slice(b"RSET\r\n");
        self.outstanding += 1;
        self.state = State::Probe;
    }

    /// Says that the content and its dot are on their way; the reply after the dot is due now. Call it
    /// when the last piece is submitted, before any input that arrived later.
    ///
    /// # Panics
    /// When no content was asked for.
    pub fn content_sent(&mut self) {
        assert!(self.state == State::Content, "content is sent when it is asked for");
        self.early_reply = self.reader.is_inside();
        self.state = State::Dot;
        self.outstanding += match self.settings.protocol {
            Protocol::Smtp => 1,
            Protocol::Lmtp => self.accepted.len(),
        };
    }

    /// Says goodbye: between mails, or right behind the content of the last one if the server offers
    /// PIPELINING. Answers false, and writes nothing, when QUIT may not be sent now: then just close.
    pub fn quit(&mut self, out: &mut Vec<u8>) -> bool {
        match self.state {
            State::Idle => self.state = State::Quit,
            State::Dot if self.pipelines() && !self.quit_sent => {}
            _ => return false,
        }
        out.extend_from_slice(b"QUIT\r\n");
        self.quit_sent = true;
        self.outstanding += 1;
        true
    }

    /// Takes bytes from the server, in any pieces, and appends the next commands to `out`. All of
    /// `input` is used.
    pub fn input(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> Event {
        if self.state == State::Over {
            return Event::Broken;
        }
        // What is in hand now cannot answer commands that are written during this call.
        let mut due = self.outstanding;
        let mut event = Event::NeedInput;
        loop {
            let code = match self.reader.read(&mut input) {
                Ok(Some(code)) => code,
                Ok(None) => break,
                Err(_) => return self.protocol_error(self.stage()),
            };
            let asked = due > 0;
            if asked {
                due -= 1;
                self.outstanding -= 1;
            }
            let text = self.reader.lend();
            let next = self.take_reply(&Reply { code, text: &text }, asked, out);
            self.reader.give_back(text);
            match next {
                Event::NeedInput => {}
                Event::Broken | Event::Closed => return next,
                next => event = next,
            }
        }
        if due == 0 && self.reader.is_inside() && self.state != State::Content {
            return self.protocol_error(self.stage());
        }
        event
    }

    /// The connection ended, or writing to it failed. Every open recipient is deferred.
    pub fn lost(&mut self) -> Event {
        self.disturbed(&["lost connection with ", &self.peer_text.clone(), " while ", &self.stage()])
    }

    /// The present stage took longer than [`Session::timeout_seconds`]. Every open recipient is deferred.
    pub fn timed_out(&mut self) -> Event {
        self.disturbed(&["conversation with ", &self.peer_text.clone(), " timed out while ", &self.stage()])
    }

    fn disturbed(&mut self, text: &[&str]) -> Event {
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

    fn pipelines(&self) -> bool {
        self.settings.pipelining && self.offers.has(EhloKeywords::PIPELINING)
    }

    /// Writes commands as far as the server's offers, its answers and the flight limit allow.
    fn send_more(&mut self, out: &mut Vec<u8>) {
        let start = self.sent;
        while let Some(kind) = self.commands.kind(self.sent) {
            let in_flight = self.sent > self.answered;
            let waits = match kind {
                _ if self.mail_refused => true,
                CommandKind::Data if !in_flight && self.accepted.is_empty() => true,
                _ if !in_flight => false,
                _ => {
                    !self.pipelines()
                        || self.commands.bytes(self.answered, self.sent + 1).len() > FLIGHT_BYTES_MAX
                }
            };
            if waits {
                break;
            }
            self.sent += 1;
        }
        self.outstanding += self.sent - start;
        out.extend_from_slice(self.commands.bytes(start, self.sent));
    }

    /// One whole reply; `asked` if a command is waiting for it.
    fn take_reply(&mut self, reply: &Reply<'_>, asked: bool, out: &mut Vec<u8>) -> Event {
        match self.state {
            State::Content => return self.early_answer(reply),
            State::Quit => {
                self.state = State::Over;
                return Event::Closed;
            }
            _ => {}
        }
        if !asked && reply.code != 421 {
            return self.protocol_error(self.stage());
        }
        match self.state {
            State::Greeting => self.greeting(reply, out),
            State::Hello(hello) => self.hello(hello, reply, out),
            State::Commands => self.command_reply(reply, out),
            State::Dot => self.dot_reply(reply),
            State::EmptyDot if reply.code == 421 || reply.class() == 3 => self.refused_whole(reply, DOT),
            State::EmptyDot => self.finish(false),
            State::Probe if reply.class() == 2 => {
                self.state = State::Idle;
                self.reset_first = false;
                Event::Ready
            }
            State::Probe => self.reset_refused(reply),
            State::Idle => self.refused_to_talk(reply, true),
            State::Content | State::Quit | State::Over => unreachable!("handled above or closed"),
        }
    }

    fn greeting(&mut self, reply: &Reply<'_>, out: &mut Vec<u8>) -> Event {
        if reply.class() != 2 {
            return self.refused_to_talk(reply, self.settings.skip_5xx_greeting);
        }
        self.look_for_myself(reply, "greeted me");
        let hello = match self.settings.protocol {
            Protocol::Smtp => Hello::Ehlo,
            Protocol::Lmtp => Hello::Lhlo,
        };
        self.say_hello(hello, out)
    }

    fn say_hello(&mut self, hello: Hello, out: &mut Vec<u8>) -> Event {
        out.extend_from_slice(hello.name().as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.settings.helo_name.as_bytes());
        out.extend_from_slice(b"\r\n");
        self.outstanding += 1;
        self.state = State::Hello(hello);
        Event::NeedInput
    }

    fn hello(&mut self, hello: Hello, reply: &Reply<'_>, out: &mut Vec<u8>) -> Event {
        if reply.class() == 2 {
            self.look_for_myself(reply, "replied to HELO/EHLO");
            if hello != Hello::Helo {
                for line in reply.lines().skip(1) {
                    self.offers.add_line(line, self.settings.discard_ehlo_keywords);
                }
            }
            self.state = State::Idle;
            return Event::Ready;
        }
        if hello == Hello::Ehlo && reply.code != 421 {
            return self.say_hello(Hello::Helo, out);
        }
        self.refused_to_talk(reply, false)
    }

    /// Notes when the server's first word is our own name: mail may be going in a circle.
    fn look_for_myself(&mut self, reply: &Reply<'_>, how: &str) {
        let name = reply.lines().next().and_then(|line| line.split_ascii_whitespace().next()).unwrap_or("");
        if self.warning.is_none() && name.eq_ignore_ascii_case(&self.settings.my_hostname) {
            let name = &self.settings.my_hostname;
            self.warning = Some(format!("host {} {how} with my own hostname {name}", self.peer.with_port()));
        }
    }

    fn command_reply(&mut self, reply: &Reply<'_>, out: &mut Vec<u8>) -> Event {
        let kind = self.commands.kind(self.answered).expect("only commands that were sent are answered");
        if reply.code == 421 || !fits(kind, reply.class()) {
            return self.refused_whole(reply, request_text(kind));
        }
        self.answered += 1;
        let positive = reply.class() < 4;
        match kind {
            CommandKind::Reset if !positive => return self.reset_refused(reply),
            CommandKind::Reset => {}
            CommandKind::Mail if !positive => {
                self.mail_refused = true;
                let verdict = self.refusal(reply, request_text(kind));
                self.results.decide_rest(verdict);
            }
            CommandKind::Mail => {}
            CommandKind::Rcpt(_) | CommandKind::Data if self.mail_refused && !positive => {}
            CommandKind::Rcpt(recipient) if positive => self.accepted.push(recipient as u32),
            CommandKind::Rcpt(recipient) => {
                let verdict = self.refusal(reply, request_text(kind));
                self.results.decide(recipient, verdict);
            }
            CommandKind::Data if !positive => {
                if self.results.undecided() > 0 {
                    let verdict = self.refusal(reply, request_text(kind));
                    self.results.decide_rest(verdict);
                }
            }
            CommandKind::Data if self.results.undecided() > 0 => {
                self.state = State::Content;
                return Event::SendContent;
            }
            CommandKind::Data => return self.send_empty_dot(out),
        }
        self.send_more(out);
        if self.answered == self.sent {
            return self.finish(true);
        }
        Event::NeedInput
    }

    /// The server wants content for which no recipient is left. RFC 2920 section 3.1: "the client SMTP
    /// SHOULD then send a single dot."  The content itself is never sent.
    fn send_empty_dot(&mut self, out: &mut Vec<u8>) -> Event {
        if self.settings.protocol == Protocol::Lmtp {
            // LMTP would answer the dot once for each recipient that it thinks it has; we cannot know
            // how many those are.
            return self.protocol_error("sending DATA command");
        }
        out.extend_from_slice(b".\r\n");
        self.outstanding += 1;
        self.state = State::EmptyDot;
        Event::NeedInput
    }

    /// A reply while the content is still being sent: a refusal may come early, an acceptance cannot.
    fn early_answer(&mut self, reply: &Reply<'_>) -> Event {
        if reply.class() < 4 { self.protocol_error(self.stage()) } else { self.refused_whole(reply, DOT) }
    }

    fn dot_reply(&mut self, reply: &Reply<'_>) -> Event {
        if self.early_reply {
            self.early_reply = false;
            return self.early_answer(reply);
        }
        if reply.class() == 3 || reply.code == 421 {
            return self.refused_whole(reply, DOT);
        }
        let verdict = match reply.class() {
            2 => self.results.verdict(&NewVerdict {
                kind: ResultKind::Sent,
                status: reply.status().unwrap_or(Status::success(0, 0)),
                trouble: false,
                before: &[],
                reply: Some(reply.text),
                after: &[],
            }),
            _ => self.refusal(reply, DOT),
        };
        match self.settings.protocol {
            Protocol::Smtp => self.results.decide_rest(verdict),
            Protocol::Lmtp => {
                self.results.decide(self.accepted[self.dot_replies] as usize, verdict);
                self.dot_replies += 1;
                if self.dot_replies < self.accepted.len() {
                    return Event::NeedInput;
                }
            }
        }
        self.finish(false)
    }

    /// The mail is over and the connection still good.
    fn finish(&mut self, transaction_open: bool) -> Event {
        assert!(self.results.undecided() == 0, "a mail ends when every recipient has its result");
        self.reset_first = transaction_open;
        self.state = if self.quit_sent { State::Quit } else { State::Idle };
        Event::Finished
    }

    /// `host H[ip] said: … (in reply to …)`, by the class of the reply.
    fn refusal(&mut self, reply: &Reply<'_>, request: &str) -> VerdictId {
        let status = reply.status().unwrap_or(Status::persistent(5, 0));
        self.results.verdict(&NewVerdict {
            reply: Some(reply.text),
            after: &[" (in reply to ", request, ")"],
            ..NewVerdict::failed(status, &["host ", &self.peer_text, " said: "])
        })
    }

    /// A reply after which the connection is of no use: 421, or one that cannot answer what was asked.
    fn refused_whole(&mut self, reply: &Reply<'_>, request: &str) -> Event {
        let (status, prefix) = match reply.status() {
            Some(status) if status.class() != Class::Success => (status, ""),
            _ => (Status::persistent(5, 0), "Protocol error: "),
        };
        let peer = self.peer_text.clone();
        self.break_off(&NewVerdict {
            reply: Some(reply.text),
            after: &[" (in reply to ", request, ")"],
            ..NewVerdict::failed(status, &[prefix, "host ", &peer, " said: "])
        })
    }

    /// A server that refuses RSET says nothing about the mail: even a 5xx only defers it.
    fn reset_refused(&mut self, reply: &Reply<'_>) -> Event {
        let peer = self.peer_text.clone();
        self.break_off(&NewVerdict {
            reply: Some(reply.text),
            after: &[" (in reply to RSET command)"],
            ..NewVerdict::failed(Status::persistent(5, 0), &["host ", &peer, " said: "])
        })
    }

    /// The server does not want to deal with us at all.
    fn refused_to_talk(&mut self, reply: &Reply<'_>, soften: bool) -> Event {
        let status = match reply.status() {
            Some(status) if status.class() == Class::Permanent && soften => {
                status.with_class(Class::Persistent)
            }
            Some(status) if status.class() != Class::Success => status,
            _ => Status::persistent(5, 0),
        };
        let peer = self.peer_text.clone();
        self.break_off(&NewVerdict {
            reply: Some(reply.text),
            trouble: status.class() == Class::Persistent,
            ..NewVerdict::failed(status, &["host ", &peer, " refused to talk to me: "])
        })
    }

    fn protocol_error(&mut self, stage: impl Into<String>) -> Event {
        let (peer, stage) = (self.peer_text.clone(), stage.into());
        let text = ["remote protocol error in reply from ", &peer, " while ", &stage];
        self.break_off(&NewVerdict { trouble: true, ..NewVerdict::failed(Status::persistent(5, 0), &text) })
    }

    fn utf8_not_offered(&mut self) -> VerdictId {
        let text = ["SMTPUTF8 is required, but was not offered by host ", &self.peer_text];
        self.results.verdict(&NewVerdict::failed(Status::permanent(6, 7), &text))
    }

    /// Gives the connection up; whoever has no result gets this one.
    fn break_off(&mut self, verdict: &NewVerdict<'_>) -> Event {
        let verdict = self.results.verdict(verdict);
        self.failure = Some(self.results.failure(verdict));
        self.results.decide_rest(verdict);
        self.state = State::Over;
        Event::Broken
    }

    /// The present stage in Postfix's words.
    fn stage(&self) -> String {
        match self.state {
            State::Greeting => String::from("receiving the initial server greeting"),
            State::Hello(hello) => format!("performing the {} handshake", hello.name()),
            State::Commands => String::from(match self.commands.kind(self.answered) {
                Some(CommandKind::Reset) => "sending RSET",
                Some(CommandKind::Mail) => "sending MAIL FROM",
                Some(CommandKind::Rcpt(_)) => "sending RCPT TO",
                Some(CommandKind::Data) | None => "sending DATA command",
            }),
            State::Content => String::from("sending message body"),
            State::Dot => String::from("sending end of data -- message may be sent more than once"),
            State::EmptyDot => String::from("sending end of data"),
            State::Probe => String::from("sending RSET"),
            State::Idle => String::from("waiting for the next message"),
            State::Quit | State::Over => String::from("sending QUIT"),
        }
    }
}

const DOT: &str = "end of DATA command";

const fn request_text(kind: CommandKind) -> &'static str {
    match kind {
        CommandKind::Reset => "RSET command",
        CommandKind::Mail => "MAIL FROM command",
        CommandKind::Rcpt(_) => "RCPT TO command",
        CommandKind::Data => "DATA command",
    }
}

/// True if a reply of this class can answer the command at all (RFC 5321 section 4.3.2).
const fn fits(kind: CommandKind, class: u16) -> bool {
    match kind {
        CommandKind::Reset | CommandKind::Mail | CommandKind::Rcpt(_) => class != 3,
        CommandKind::Data => class != 2,
    }
}
