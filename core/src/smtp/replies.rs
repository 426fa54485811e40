//! What the server's replies mean to a session, stage by stage.

use super::commands::CommandKind;
use super::reply::Reply;
use super::result::NewVerdict;
use super::session::{Event, Hello, Session, State};
use super::{EhloKeywords, Protocol, ResultKind, TlsLevel};
use crate::dsn::Status;

/// How results call what the reply after the dot answers.
const DOT: &str = "end of DATA command";

impl Session {
    /// One whole reply; `asked` if a command is waiting for it.
    pub(super) fn take_reply(&mut self, reply: &Reply<'_>, asked: bool, out: &mut Vec<u8>) -> Event {
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
            State::StartTls => self.starttls_reply(reply),
            State::Commands => self.command_reply(reply, out),
            State::Dot => self.dot_reply(reply),
            State::EmptyDot if reply.code == 421 || reply.class() == 3 => self.refused_whole(reply, DOT),
            State::EmptyDot => self.finish(false),
            State::Idle => self.refused_to_talk(reply, true),
            // Nothing was asked: a reply here came before the handshake, and may be anybody's.
            State::Handshake => self.protocol_error(self.stage()),
            State::Content | State::Quit | State::Over => unreachable!("handled above or closed"),
        }
    }

    fn greeting(&mut self, reply: &Reply<'_>, out: &mut Vec<u8>) -> Event {
        if reply.class() != 2 {
            return self.refused_to_talk(reply, self.settings.skip_5xx_greeting);
        }
        self.look_for_myself(reply, "greeted me");
        self.say_first_hello(out)
    }

    pub(super) fn say_first_hello(&mut self, out: &mut Vec<u8>) -> Event {
        let hello = match self.settings.protocol {
            Protocol::Smtp => Hello::Ehlo,
            Protocol::Lmtp => Hello::Lhlo,
        };
        self.say_hello(hello, out)
    }

    fn say_hello(&mut self, hello: Hello, out: &mut Vec<u8>) -> Event {
        self.say(format!("{} {}\r\n", hello.name(), self.settings.helo_name).as_bytes(), out);
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
            return self.greeted(out);
        }
        if hello == Hello::Ehlo && reply.code != 421 {
            return self.say_hello(Hello::Helo, out);
        }
        self.refused_to_talk(reply, false)
    }

    /// Greetings are exchanged: encryption comes first, if it is wanted and not there.
    fn greeted(&mut self, out: &mut Vec<u8>) -> Event {
        if self.tls != TlsLevel::None && !self.is_secure {
            if self.offers.has(EhloKeywords::STARTTLS) {
                self.say(b"STARTTLS\r\n", out);
                self.outstanding += 1;
                self.state = State::StartTls;
                return Event::NeedInput;
            }
            if self.tls.is_required() {
                let text = ["TLS is required, but was not offered by host ", &self.peer_text.clone()];
                return self.break_off(&NewVerdict {
                    trouble: true,
                    ..NewVerdict::failed(Status::persistent(7, 4), &text)
                });
            }
        }
        self.state = State::Idle;
        Event::Ready
    }

    fn starttls_reply(&mut self, reply: &Reply<'_>) -> Event {
        if reply.class() == 2 {
            self.state = State::Handshake;
            return Event::StartTls;
        }
        if self.tls.is_required() || reply.code == 421 {
            return self.starttls_refused(reply);
        }
        self.state = State::Idle;
        Event::Ready
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
        let positive = reply.class() < 4;
        if kind == CommandKind::Reset && !positive {
            return self.reset_refused(reply);
        }
        self.answered += 1;
        match kind {
            CommandKind::Reset => {}
            CommandKind::Forward => {
                if !positive {
                    let said = reply.text.replace('\n', " ");
                    let host = &self.peer_text;
                    self.warning =
                        Some(format!("host {host} said: {said} (in reply to {})", request_text(kind)));
                }
            }
            CommandKind::Mail if !positive => {
                self.mail_refused = true;
                let verdict = self.refusal(reply, request_text(kind));
                self.results.decide_rest(verdict);
            }
            CommandKind::Mail => {}
            CommandKind::Rcpt(_) | CommandKind::Data if self.mail_refused && !positive => {}
            CommandKind::Rcpt(recipient) if positive && self.is_probe => {
                let verdict = self.results.verdict(&taken(reply));
                self.results.decide(recipient, verdict);
            }
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
        self.say(b".\r\n", out);
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
            2 => self.results.verdict(&taken(reply)),
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
}

/// The server has taken the mail, or the recipient of a probe.
fn taken<'r>(reply: &Reply<'r>) -> NewVerdict<'r> {
    NewVerdict {
        kind: ResultKind::Sent,
        status: reply.status().unwrap_or(Status::success(0, 0)),
        trouble: false,
        before: &[],
        reply: Some(reply.text),
        after: &[],
    }
}

const fn request_text(kind: CommandKind) -> &'static str {
    match kind {
        CommandKind::Reset => "RSET command",
        CommandKind::Forward => "XFORWARD command",
        CommandKind::Mail => "MAIL FROM command",
        CommandKind::Rcpt(_) => "RCPT TO command",
        CommandKind::Data => "DATA command",
    }
}

/// True if a reply of this class can answer the command at all (RFC 5321 section 4.3.2).
const fn fits(kind: CommandKind, class: u16) -> bool {
    match kind {
        CommandKind::Reset | CommandKind::Forward | CommandKind::Mail | CommandKind::Rcpt(_) => class != 3,
        CommandKind::Data => class != 2,
    }
}
