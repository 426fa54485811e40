//! The dialogue of one connection: its state, a mail's commands, the bytes in and out. What replies mean is in
//! `replies.rs`, what becomes of a mail that fails in `trouble.rs`.

use std::rc::Rc;

use super::commands::{CommandKind, Commands, is_safe_path};
use super::reply::{Reply, ReplyReader};
use super::result::{NewVerdict, Results};
use super::{
    ClientSettings, EhloKeywords, FLIGHT_BYTES_MAX, Failure, MailRecipient, MailRequest, PeerName, Protocol,
    RecipientResult, ServerOffers, TlsLevel,
};
use crate::dsn::Status;
use crate::transcript::{ErrorClass, ErrorClasses, Excerpt, Side, Transcript};

/// What the caller does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Send what was appended to `out`, then read.
    NeedInput,
    /// The handshake is done: a mail may begin.
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
    /// The server is ready for a TLS handshake: make one, and call [`Session::secured`], or
    /// close the connection.
    StartTls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Greeting,
    Hello(Hello),
    /// STARTTLS is on its way.
    StartTls,
    /// The caller shakes hands.
    Handshake,
    Idle,
    Commands,
    /// 354 has come; the caller is sending the content.
    Content,
    /// Waiting for the reply, or for LMTP's replies, after the dot.
    Dot,
    /// Waiting for the reply after a dot without content, for which there is no recipient.
    EmptyDot,
    Quit,
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hello {
    Ehlo,
    Helo,
    Lhlo,
}

impl Hello {
    pub(super) const fn name(self) -> &'static str {
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
    mails_begun: u32,
    tls: TlsLevel,
}

/// A client's side of one connection, over any number of mails.
#[derive(Debug)]
pub struct Session {
    pub(super) settings: Rc<ClientSettings>,
    pub(super) peer: PeerName,
    /// `host[address]`, for texts.
    pub(super) peer_text: String,
    pub(super) state: State,
    pub(super) offers: ServerOffers,
    /// How much encryption is wanted.
    pub(super) tls: TlsLevel,
    pub(super) is_secure: bool,
    pub(super) reader: ReplyReader,
    pub(super) commands: Commands,
    /// Commands of this mail that were written, and those that were answered.
    pub(super) sent: usize,
    pub(super) answered: usize,
    /// Replies that are still to come for anything that was written.
    pub(super) outstanding: usize,
    /// The server may still hold an unfinished transaction, or the connection has rested: RSET goes before the next
    /// MAIL.
    pub(super) reset_first: bool,
    pub(super) mail_refused: bool,
    /// The mail is a probe: there is no DATA.
    pub(super) is_probe: bool,
    /// Recipients that the server accepted, in the order of RCPT; LMTP answers in that order.
    pub(super) accepted: Vec<u32>,
    /// How many of them have their reply after the dot.
    pub(super) dot_replies: usize,
    /// A reply began before the content was all sent: it cannot mean that the content was accepted.
    pub(super) early_reply: bool,
    pub(super) quit_sent: bool,
    pub(super) results: Results,
    pub(super) mails_begun: u32,
    pub(super) failure: Option<Failure>,
    pub(super) warning: Option<String>,
    pub(super) transcript: Transcript,
}

impl Session {
    /// A session on a connection that was just made; the server speaks first.
    pub fn new(settings: Rc<ClientSettings>, peer: PeerName) -> Session {
        let reported = settings.reported_errors.and(ErrorClasses::OF_CLIENTS);
        Session {
            transcript: Transcript::new(reported, Side::Ourselves),
            settings,
            peer_text: peer.name_and_address(),
            peer,
            state: State::Greeting,
            offers: ServerOffers::default(),
            tls: TlsLevel::None,
            is_secure: false,
            reader: ReplyReader::default(),
            commands: Commands::default(),
            sent: 0,
            answered: 0,
            outstanding: 1,
            reset_first: false,
            mail_refused: false,
            is_probe: false,
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

    /// Wants this much encryption; to be said before anything is heard. STARTTLS is sent where the server offers it. At
    /// level `none`, or where TLS has begun before SMTP, it never is.
    pub fn want_tls(&mut self, level: TlsLevel) {
        self.tls = level;
    }

    /// TLS has begun before SMTP does (`smtp_tls_wrappermode`).
    pub fn begins_secure(&mut self) {
        self.is_secure = true;
    }

    /// The handshake is done: what the server has said before does not count any more (RFC 3207 section 4.2).
    ///
    /// # Panics
    /// When no handshake was asked for.
    pub fn secured(&mut self, out: &mut Vec<u8>) -> Event {
        assert!(self.state == State::Handshake, "a handshake follows STARTTLS");
        self.is_secure = true;
        self.offers = ServerOffers::default();
        self.say_first_hello(out)
    }

    /// What another session needs to go on with this connection; `None` if this one is not idle, or a reply that
    /// nobody asked for has begun: such a connection is of no use to anybody.
    pub fn carry(self) -> Option<CarriedSession> {
        let Session { peer, offers, mails_begun, tls, .. } = self;
        let is_between_mails = self.state == State::Idle && self.outstanding == 0 && !self.reader.is_inside();
        is_between_mails.then_some(CarriedSession { peer, offers, mails_begun, tls })
    }

    /// Goes on where a carried session has stopped: idle, with the same server and the same count of mails. It counts
    /// as [rested](Self::has_rested).
    pub fn resume(settings: Rc<ClientSettings>, carried: CarriedSession) -> Session {
        let CarriedSession { peer, offers, mails_begun, tls } = carried;
        let fresh = Session::new(settings, peer);
        Session { state: State::Idle, outstanding: 0, offers, reset_first: true, mails_begun, tls, ..fresh }
    }

    /// The connection has waited for this mail, and the server may be gone or want no more: RSET goes before the next
    /// MAIL, with `smtp_rset_timeout` for its answer. It leaves in one flight with MAIL where the server takes
    /// PIPELINING, so it costs no round trip; see [`is_unanswered`](Self::is_unanswered) for a server that fails it.
    pub fn has_rested(&mut self) {
        self.reset_first = true;
    }

    /// The server is known by this name now: another destination, whose MX record names it so, uses the connection.
    pub fn rename_peer(&mut self, host: &str) {
        if self.peer.host != host {
            host.clone_into(&mut self.peer.host);
            self.peer_text = self.peer.name_and_address();
        }
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

    /// True if the server has answered nothing to the present mail, a RSET before it aside: when a kept connection
    /// breaks like this, the mail may be tried at once on a fresh one, for not a byte of its content has left. 421 is
    /// no answer to the mail either: so servers end a connection that has carried enough.
    pub fn is_unanswered(&self) -> bool {
        let resets = usize::from(self.commands.kind(0) == Some(CommandKind::Reset));
        self.answered <= resets
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

    /// The content could not be had from where it is kept: the session is given up, and the postmaster may want to hear.
    pub fn content_unreadable(&mut self) {
        self.transcript.blame(ErrorClass::Data);
    }

    /// What is to be reported to the postmaster of the present mail, or of the handshake (`notify_classes`).
    pub fn take_report(&mut self) -> Option<Box<Excerpt>> {
        self.transcript.cut()
    }

    /// How long the server may be silent in the present stage, seconds.
    pub fn timeout_seconds(&self) -> u32 {
        let timeouts = &self.settings.timeouts;
        match self.state {
            State::Greeting | State::Hello(_) => timeouts.helo,
            State::StartTls | State::Handshake => timeouts.starttls,
            State::Commands => match self.commands.kind(self.answered) {
                Some(CommandKind::Reset) => timeouts.rset,
                Some(CommandKind::Forward) => timeouts.forward,
                Some(CommandKind::Mail) => timeouts.mail,
                Some(CommandKind::Rcpt(_)) => timeouts.rcpt,
                Some(CommandKind::Data) | None => timeouts.data_init,
            },
            State::Content => timeouts.data_transfer,
            State::Dot | State::EmptyDot => timeouts.data_done,
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
        if self.mails_begun > 0 {
            self.transcript.forget();
        }
        self.results.clear();
        self.commands.clear();
        self.accepted.clear();
        (self.sent, self.answered, self.dot_replies) = (0, 0, 0);
        (self.mail_refused, self.early_reply) = (false, false);
        self.is_probe = mail.is_probe;
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
        if self.settings.forwards && self.offers.has(EhloKeywords::XFORWARD) {
            self.commands.forward(mail, &self.offers);
        }
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
        if !mail.is_probe {
            self.commands.data();
        }
        self.state = State::Commands;
        self.send_more(out);
        Event::NeedInput
    }

    /// Says that the content and its dot are on their way; the reply after the dot is due now. Call it
    /// when the last piece is submitted, before any input that arrived later.
    ///
    /// # Panics
    /// When no content was asked for.
    pub fn content_sent(&mut self) {
        assert!(self.state == State::Content, "content is sent when it is asked for");
        self.transcript.commands(b".\r\n");
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
        self.say(b"QUIT\r\n", out);
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
            let before = input;
            let code = match self.reader.read(&mut input) {
                Ok(Some(code)) => code,
                Ok(None) => break,
                Err(_) => {
                    self.transcript.no_reply(before);
                    return self.protocol_error(self.stage());
                }
            };
            let asked = due > 0;
            if asked {
                due -= 1;
                self.outstanding -= 1;
            }
            let text = self.reader.lend();
            self.transcript.reply(&text);
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

    /// Commands go out, and into the transcript.
    pub(super) fn say(&mut self, commands: &[u8], out: &mut Vec<u8>) {
        self.transcript.commands(commands);
        out.extend_from_slice(commands);
    }

    fn pipelines(&self) -> bool {
        self.settings.pipelining && self.offers.has(EhloKeywords::PIPELINING)
    }

    /// Writes commands as far as the server's offers, its answers and the flight limit allow.
    pub(super) fn send_more(&mut self, out: &mut Vec<u8>) {
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
        let commands = self.commands.bytes(start, self.sent);
        self.transcript.commands(commands);
        out.extend_from_slice(commands);
    }
}
