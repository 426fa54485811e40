//! What each command does, and the shard's verdicts on them.

use std::mem;

use super::arguments::{BAD_RECIPIENT, BAD_SENDER, Wrong, malformed, parse_mail, parse_rcpt, words};
use super::command::Verb;
use super::event::Event;
use super::identity::blotted;
use super::session::{Answer, Bdat, Phase, Request, Session};
use super::settings::Extension;
use super::transaction::RcptCommand;
use crate::address::{Address, PathRules, is_domain};
use crate::content::Framing;
use crate::envelope::{Notify, floor_char_boundary};
use crate::flush::SiteFlush;
use crate::limits::LOGGED_TEXT_BYTES_MAX;

const SEND_HELO_FIRST: &str = "503 5.5.1 Error: send HELO/EHLO first";
const DECLARED_TOO_BIG: &str = "552 5.3.4 Message size exceeds fixed limit";
/// What a reply to EHLO has room in.
const EHLO_BYTES_USUAL: usize = 320;
const DOT_PROMPT: &str = "354 End data with <CR><LF>.<CR><LF>";

impl Session {
    /// Carries one known command out. The commands that the shard must decide end in a request.
    pub(super) fn carry_out(
        &mut self,
        verb: Verb,
        arguments: &str,
        replies: &mut Vec<u8>,
        content: &mut Vec<u8>,
    ) -> Option<Request> {
        match verb {
            Verb::Mail => return self.mail_command(arguments, replies),
            Verb::Rcpt => return self.rcpt_command(arguments, replies),
            Verb::Data => return self.data_command(arguments, replies),
            Verb::Bdat => return self.bdat_command(arguments, replies),
            Verb::Helo | Verb::Ehlo => return self.helo_command(verb, arguments, replies, content),
            Verb::Rset => {
                let well_formed = arguments.is_empty();
                if !well_formed {
                    self.say(replies, "501 5.5.4 Syntax: RSET");
                    self.done(verb, false);
                    return None;
                }
                self.transcript.checkpoint(self.settings.history_flush_threshold);
                let discard = self.drop_transaction(content);
                self.say(replies, "250 2.0.0 Ok");
                self.done(verb, true);
                return discard;
            }
            Verb::Noop => {
                self.say(replies, "250 2.0.0 Ok");
                self.done(verb, true);
            }
            Verb::Help => {
                let list = "BDAT DATA EHLO ETRN HELO HELP MAIL NOOP QUIT RCPT RSET VRFY";
                self.say(replies, &format!("214 2.0.0 Commands: {list}"));
                self.done(verb, true);
            }
            Verb::Quit => {
                self.say(replies, "221 2.0.0 Bye");
                self.done(verb, true);
            }
            Verb::Vrfy => return self.vrfy_command(arguments, replies),
            Verb::Etrn => return self.etrn_command(arguments, replies),
            Verb::Starttls => self.refuse(verb, replies, "502 5.5.1 Error: command not implemented"),
            // Whoever guesses passwords is counted before anything else is looked at.
            Verb::Auth => {
                self.phase = Phase::AwaitAuth;
                return Some(Request::Auth);
            }
            Verb::Xclient => return self.xclient_command(arguments, replies),
            Verb::Xforward => self.xforward_command(arguments, replies),
            Verb::Unknown => unreachable!("unknown words are answered before"),
        }
        None
    }

    pub(super) fn refuse(&mut self, verb: Verb, replies: &mut Vec<u8>, line: &str) {
        self.say(replies, line);
        self.done(verb, false);
    }

    fn refuse_wrong(&mut self, verb: Verb, replies: &mut Vec<u8>, wrong: Wrong) {
        if let Some(event) = wrong.event {
            self.note(event);
        }
        self.refuse(verb, replies, wrong.reply.line());
    }

    /// RFC 5321 §4.1.1.1: HELO and EHLO end a transaction as RSET does.
    fn helo_command(
        &mut self,
        verb: Verb,
        arguments: &str,
        replies: &mut Vec<u8>,
        content: &mut Vec<u8>,
    ) -> Option<Request> {
        if arguments.is_empty() {
            self.refuse(verb, replies, &format!("501 Syntax: {} hostname", verb.word()));
            return None;
        }
        // The name goes into Received: and into the log; what has a meaning there is blotted out.
        let name = blotted(arguments.trim_end_matches([' ', '\t']));
        if self.settings.asks_at_helo {
            self.phase = Phase::AwaitHelo(verb, name);
            return Some(Request::Helo);
        }
        self.transcript.checkpoint(self.settings.history_flush_threshold);
        let discard = self.drop_transaction(content);
        self.greeted(verb, name, replies);
        discard
    }

    /// HELO or EHLO is accepted; the transaction before it is forgotten.
    fn greeted(&mut self, verb: Verb, name: Box<str>, replies: &mut Vec<u8>) {
        self.esmtp = verb == Verb::Ehlo;
        self.helo = Some(name);
        let settings = self.settings.clone();
        if verb == Verb::Helo {
            self.say(replies, &format!("250 {}", settings.myhostname));
        } else {
            let mut text = String::with_capacity(EHLO_BYTES_USUAL);
            text.push_str("250-");
            text.push_str(&settings.myhostname);
            let mut last_line = 0;
            for extension in Extension::ALL.into_iter().filter(|extension| self.offers(*extension)) {
                text.push_str("\r\n");
                last_line = text.len();
                text.push_str("250-");
                text.push_str(extension.keyword());
                text.push_str(extension.attributes());
                if extension == Extension::Size && settings.message_size_limit > 0 {
                    text.push(' ');
                    text.push_str(itoa::Buffer::new().format(settings.message_size_limit));
                }
            }
            text.replace_range(last_line + 3..last_line + 4, " ");
            self.say(replies, &text);
        }
        self.done(verb, true);
    }

    fn mail_command(&mut self, arguments: &str, replies: &mut Vec<u8>) -> Option<Request> {
        if self.settings.helo_required && self.helo.is_none() {
            self.refuse(Verb::Mail, replies, SEND_HELO_FIRST);
            return None;
        }
        if self.mail.is_some() {
            self.refuse(Verb::Mail, replies, "503 5.5.1 Error: nested MAIL command");
            return None;
        }
        let parsed = parse_mail(arguments, self);
        match parsed {
            Ok(mail) => {
                let limit = self.settings.message_size_limit;
                let is_too_big = limit > 0 && mail.size_bytes > limit;
                self.phase = Phase::AwaitMail(mail);
                if is_too_big {
                    self.note_reject("MAIL", DECLARED_TOO_BIG, None);
                    self.phase = Phase::Command;
                    self.refuse(Verb::Mail, replies, DECLARED_TOO_BIG);
                    return None;
                }
                Some(Request::Mail)
            }
            Err(wrong) => {
                self.refuse_wrong(Verb::Mail, replies, wrong);
                None
            }
        }
    }

    fn rcpt_command(&mut self, arguments: &str, replies: &mut Vec<u8>) -> Option<Request> {
        let Some(mail) = &self.mail else {
            self.refuse(Verb::Rcpt, replies, "503 5.5.1 Error: need MAIL command");
            return None;
        };
        if self.bdat != Bdat::No {
            self.refuse(Verb::Rcpt, replies, "503 5.5.1 Error: RCPT after BDAT");
            return None;
        }
        match parse_rcpt(arguments, mail.smtputf8, self) {
            Ok(_) if self.recipients.len() >= self.settings.recipient_limit => {
                self.say(replies, "452 4.5.3 Error: too many recipients");
                // A list server that goes on is answered in peace for a while; RFC 5321 §4.5.3.1.10.
                self.overshoot = self.overshoot.saturating_add(1);
                self.done(Verb::Rcpt, self.overshoot <= self.settings.recipient_overshoot_limit);
                None
            }
            Ok(rcpt) => {
                self.phase = Phase::AwaitRecipient(rcpt);
                Some(Request::Recipient)
            }
            Err(wrong) => {
                self.refuse_wrong(Verb::Rcpt, replies, wrong);
                None
            }
        }
    }

    /// RFC 5321 §3.5.3: 252 says that nothing was verified, only that mail would be taken. As for RCPT, restrictions decide.
    fn vrfy_command(&mut self, arguments: &str, replies: &mut Vec<u8>) -> Option<Request> {
        let wrong = if self.settings.disable_vrfy {
            Some("502 5.5.1 VRFY command is disabled")
        } else if words(arguments).count() != 1 {
            Some("501 5.5.4 Syntax: VRFY address")
        } else {
            None
        };
        if let Some(line) = wrong {
            self.refuse(Verb::Vrfy, replies, line);
            return None;
        }
        let written = arguments.trim_end_matches([' ', '\t']);
        let rules = PathRules { strict: false, allow_null: false };
        match Address::parse_path(written.as_bytes(), rules) {
            Ok(address) => {
                let rcpt = RcptCommand { address, orcpt: None, notify: Notify::UNSET };
                self.phase = Phase::AwaitVerify(rcpt, written.into());
                Some(Request::Verify)
            }
            Err(_) => {
                self.refuse(Verb::Vrfy, replies, BAD_RECIPIENT);
                None
            }
        }
    }

    /// RFC 1985.
    fn etrn_command(&mut self, arguments: &str, replies: &mut Vec<u8>) -> Option<Request> {
        let mut arguments = words(arguments);
        let domain = arguments.next().filter(|_| arguments.next().is_none());
        let line = if self.settings.helo_required && self.helo.is_none() {
            "503 Error: send HELO/EHLO first".to_owned()
        } else if self.mail.is_some() {
            "503 Error: MAIL transaction in progress".to_owned()
        } else {
            match domain.map(|domain| domain.trim_start_matches(['@', '#'])) {
                None => "500 Syntax: ETRN domain".to_owned(),
                Some(domain) if !is_domain(domain) => "501 Error: invalid parameter syntax".to_owned(),
                Some(domain) => {
                    self.phase = Phase::AwaitEtrn(domain.into());
                    return Some(Request::Etrn);
                }
            }
        };
        self.refuse(Verb::Etrn, replies, &line);
        None
    }

    fn answer_etrn(&mut self, domain: &str, flush: SiteFlush, replies: &mut Vec<u8>) {
        let (verdict, line) = match flush {
            SiteFlush::Started => {
                self.say(replies, "250 Queuing started");
                self.done(Verb::Etrn, true);
                return;
            }
            SiteFlush::NotServed => ("reject", format!("459 <{domain}>: service unavailable")),
            SiteFlush::Failed => ("bad", "458 Unable to queue messages".to_owned()),
        };
        let shown = &domain[..floor_char_boundary(domain, LOGGED_TEXT_BYTES_MAX)];
        self.note(Event::EtrnRefused { verdict, domain: shown.into() });
        self.refuse(Verb::Etrn, replies, &line);
    }

    /// The verdict on the request that was made last.
    ///
    /// # Panics
    /// When no answer is due, or the answer does not fit the request.
    pub fn answer(&mut self, answer: Answer<'_>, replies: &mut Vec<u8>) {
        let phase = mem::replace(&mut self.phase, Phase::Command);
        match (phase, answer) {
            (Phase::AwaitHelo(verb, name), Answer::Accept) => {
                self.transcript.checkpoint(self.settings.history_flush_threshold);
                self.discard_due = self.reset();
                self.greeted(verb, name, replies);
            }
            (Phase::AwaitHelo(verb, name), Answer::Refuse(reply)) => {
                self.phase = Phase::AwaitHelo(verb, name);
                self.note_reject(verb.word(), reply.line(), None);
                self.phase = Phase::Command;
                self.refuse(verb, replies, reply.line());
            }
            (Phase::AwaitMail(mail), Answer::Accept) => {
                self.mail = Some(mail);
                self.say(replies, "250 2.1.0 Ok");
                self.done(Verb::Mail, true);
            }
            (Phase::AwaitMail(mail), Answer::Refuse(reply)) => {
                self.phase = Phase::AwaitMail(mail);
                self.note_reject("MAIL", reply.line(), None);
                self.phase = Phase::Command;
                self.access.forget_transaction();
                self.refuse(Verb::Mail, replies, reply.line());
            }
            (Phase::AwaitMail(mail), Answer::Malformed) => {
                self.refuse_wrong(Verb::Mail, replies, malformed("MAIL", &mail.sender, BAD_SENDER));
            }
            (Phase::AwaitRecipient(rcpt), Answer::Malformed) => {
                self.refuse_wrong(Verb::Rcpt, replies, malformed("RCPT", &rcpt.address, BAD_RECIPIENT));
            }
            (Phase::AwaitVerify(rcpt, _), Answer::Malformed) => {
                self.refuse_wrong(Verb::Vrfy, replies, malformed("VRFY", &rcpt.address, BAD_RECIPIENT));
            }
            (Phase::AwaitMail(_), Answer::Exceeded(exceeded)) => {
                let reply = self.note_exceeded(exceeded);
                self.refuse(Verb::Mail, replies, reply.line());
            }
            (Phase::AwaitRecipient(_), Answer::Exceeded(exceeded)) => {
                let reply = self.note_exceeded(exceeded);
                self.refuse(Verb::Rcpt, replies, reply.line());
            }
            (Phase::AwaitAuth, Answer::Exceeded(exceeded)) => {
                let reply = self.note_exceeded(exceeded);
                self.refuse(Verb::Auth, replies, reply.line());
            }
            (Phase::AwaitAuth, Answer::Accept) => {
                self.refuse(Verb::Auth, replies, "503 5.5.1 Error: authentication not enabled");
            }
            (Phase::AwaitEtrn(domain), Answer::Flush(flush)) => self.answer_etrn(&domain, flush, replies),
            (Phase::AwaitEtrn(_), Answer::Refuse(reply)) => {
                self.note_reject("ETRN", reply.line(), None);
                self.refuse(Verb::Etrn, replies, reply.line());
            }
            (Phase::AwaitRecipient(rcpt), Answer::Accept) => {
                self.recipients.push(rcpt);
                self.say(replies, "250 2.1.5 Ok");
                self.done(Verb::Rcpt, true);
            }
            (Phase::AwaitRecipient(rcpt), Answer::Refuse(reply)) => {
                self.note_reject("RCPT", reply.line(), Some(rcpt.address.as_str()));
                self.refuse(Verb::Rcpt, replies, reply.line());
            }
            (Phase::AwaitVerify(_, written), Answer::Accept) => {
                self.say(replies, &format!("252 2.0.0 {written}"));
                self.done(Verb::Vrfy, true);
            }
            (Phase::AwaitVerify(rcpt, _), Answer::Refuse(reply)) => {
                self.note_reject("VRFY", reply.line(), Some(rcpt.address.as_str()));
                self.refuse(Verb::Vrfy, replies, reply.line());
            }
            (Phase::AwaitData, Answer::Accept) => {
                self.begin_content(Framing::Dot);
                self.phase = Phase::Data;
                self.say(replies, DOT_PROMPT);
            }
            (phase @ Phase::AwaitData, Answer::Refuse(reply)) => {
                self.phase = phase;
                self.note_reject("DATA", reply.line(), None);
                self.phase = Phase::Command;
                self.refuse(Verb::Data, replies, reply.line());
            }
            (Phase::AwaitChunk(chunk), Answer::Accept) => {
                self.begin_content(Framing::Counted);
                self.bdat = Bdat::Receiving;
                self.phase = Phase::Chunk(chunk);
            }
            (phase @ Phase::AwaitChunk(chunk), Answer::Refuse(reply)) => {
                self.phase = phase;
                self.note_reject("BDAT", reply.line(), None);
                self.phase = Phase::Skip(chunk, reply);
            }
            (Phase::AwaitEnd, Answer::Queued(queue_id)) => {
                let (verb, line) = match self.bdat {
                    Bdat::No => (Verb::Data, format!("250 2.0.0 Ok: queued as {queue_id}")),
                    _ => (
                        Verb::Bdat,
                        format!("250 2.0.0 Ok: {} bytes queued as {queue_id}", self.content_bytes()),
                    ),
                };
                self.reset();
                self.say(replies, &line);
                self.forgive();
                self.done(verb, true);
                self.transcript.checkpoint(self.settings.history_flush_threshold);
            }
            (phase @ Phase::AwaitEnd, Answer::Refuse(reply)) => {
                self.phase = phase;
                self.note_reject("END-OF-MESSAGE", reply.line(), None);
                self.phase = Phase::Command;
                let verb = if self.bdat == Bdat::No { Verb::Data } else { Verb::Bdat };
                self.reset();
                self.refuse(verb, replies, reply.line());
                self.transcript.checkpoint(self.settings.history_flush_threshold);
            }
            (phase, answer) => panic!("the answer {answer:?} does not fit {phase:?}"),
        }
    }
}
