//! A session in memory, and around it what a shard does.

use std::net::IpAddr;
use std::rc::Rc;

use ringpost_core::access::{AccessFacts, AccessLists};
use ringpost_core::address::Address;
use ringpost_core::cleanup::{CleanupSettings, Facts, clean_head};
use ringpost_core::config::Restriction;
use ringpost_core::content::{BareNewline, is_wire_form};
use ringpost_core::flush::SiteFlush;
use ringpost_core::reply::Reply;
use ringpost_core::smtpd::{Answer, Client, Extension, Request, Session, SmtpdSettings};

use crate::transcript::Line;

/// The session, and around it what a shard does.
pub struct Server {
    pub session: Session,
    answers: Vec<(String, Reply)>,
    etrn_restrictions: Vec<Restriction>,
    replies: Vec<u8>,
    content: Vec<u8>,
    spilled: Vec<u8>,
    sent: Vec<u8>,
    seen: Vec<Line>,
    closed: bool,
    pub messages: usize,
}

impl Server {
    pub fn new(config: &[(String, String)], answers: &[(String, String)]) -> Server {
        let (settings, client) = settings(config);
        let answers = answers
            .iter()
            .map(|(stage, reply)| {
                (stage.clone(), Reply::parse(reply).expect("a transcript answers by a reply"))
            })
            .collect();
        let mut session = Session::new(Rc::new(settings), client);
        let mut replies = Vec::new();
        session.greet(&mut replies);
        Server {
            session,
            answers,
            etrn_restrictions: etrn_restrictions(config),
            replies,
            content: Vec::new(),
            spilled: Vec::new(),
            sent: Vec::new(),
            seen: Vec::new(),
            closed: false,
            messages: 0,
        }
    }

    /// Shows the session some bytes, as far as it wants them.
    pub fn feed(&mut self, mut input: &[u8]) {
        while !self.closed {
            let step = self.session.step(input, &mut self.replies, &mut self.content);
            input = &input[step.consumed..];
            self.note_log();
            match step.request {
                Request::MoreInput => {
                    assert!(input.is_empty(), "input is left over");
                    break;
                }
                Request::Send => self.flush(),
                Request::Content => {
                    assert!(input.is_empty(), "input is left over");
                    self.spilled.append(&mut self.content);
                    break;
                }
                Request::Discard => {
                    assert!(self.content.is_empty());
                    self.spilled.clear();
                }
                Request::Pause { .. } => {
                    self.flush();
                    self.seen.push(Line::Pause);
                }
                Request::Close => self.closed = true,
                Request::Mail => self.decide("MAIL", Answer::Accept),
                Request::Recipient => self.decide_recipient(),
                Request::Data => self.decide("DATA", Answer::Accept),
                Request::EndOfContent => self.decide_end(),
                Request::Auth => self.decide("AUTH", Answer::Accept),
                Request::Etrn => self.decide_etrn(),
            }
            self.note_log();
        }
        self.flush();
    }

    fn decide(&mut self, stage: &str, otherwise: Answer<'_>) {
        let trouble = self.answers.iter().find(|(at, _)| at == stage).map(|(_, reply)| reply.clone());
        let answer = trouble.map_or(otherwise, Answer::Refuse);
        self.session.answer(answer, &mut self.replies);
    }

    fn decide_recipient(&mut self) {
        let trusted = self.session.client().in_mynetworks;
        let recipient = &self.session.last_recipient().address;
        let lists = AccessLists {
            relay: vec![Restriction::PermitMynetworks, Restriction::RejectUnauthDestination],
            relay_reject_code: 554,
            ..AccessLists::default()
        };
        let facts = AccessFacts {
            client_in_mynetworks: trusted,
            client: self.session.client_text(),
            recipient: Some(recipient),
            destination_is_ours: recipient.domain().is_none_or(|domain| domain == "relay.example"),
            etrn_domain: None,
        };
        match lists.at_recipient(&facts) {
            None => self.decide("RCPT", Answer::Accept),
            Some(reply) => self.session.answer(Answer::Refuse(reply), &mut self.replies),
        }
    }

    /// The domain that the base configuration relays for is the one whose mail can be asked for.
    fn decide_etrn(&mut self) {
        let domain = self.session.etrn_domain().to_owned();
        let facts = AccessFacts {
            client_in_mynetworks: self.session.client().in_mynetworks,
            client: self.session.client_text(),
            recipient: None,
            destination_is_ours: true,
            etrn_domain: Some(&domain),
        };
        let lists =
            AccessLists { etrn: self.etrn_restrictions.clone(), reject_code: 554, ..AccessLists::default() };
        if let Some(reply) = lists.at_etrn(&facts) {
            self.session.answer(Answer::Refuse(reply), &mut self.replies);
        } else if self.answers.iter().any(|(stage, _)| stage == "ETRN") {
            self.session.answer(Answer::Flush(SiteFlush::Failed), &mut self.replies);
        } else if relayed(&domain) {
            self.session.answer(Answer::Flush(SiteFlush::Started), &mut self.replies);
        } else {
            self.session.answer(Answer::Flush(SiteFlush::NotServed), &mut self.replies);
        }
    }

    fn decide_end(&mut self) {
        self.spilled.append(&mut self.content);
        let message = std::mem::take(&mut self.spilled);
        assert!(is_wire_form(&message), "content must be wire form");
        let sender = Address::null();
        let facts = Facts {
            helo: self.session.helo(),
            client_name: None,
            client_address: self.session.client().address,
            protocol: self.session.protocol(),
            smtputf8: self.session.mail().smtputf8,
            queue_id: "QID",
            date: "Sun, 22 Nov 2026 20:00:00 +0000 (UTC)",
            sender: &sender,
            recipient: None,
            message_id: "QID@mx.example",
            add_missing_headers: false,
        };
        match clean_head(&CleanupSettings::new("mx.example"), &facts, &message, true) {
            Err(reply) => self.session.answer(Answer::Refuse(reply), &mut self.replies),
            Ok(_) => {
                self.decide("END", Answer::Queued("QID"));
                self.flush();
                self.messages += 1;
                let lines = message.strip_suffix(b"\r\n").map(<[u8]>::to_vec);
                for line in lines.iter().flat_map(|text| split_crlf(text)) {
                    self.seen.push(Line::Message(line.to_vec()));
                }
            }
        }
    }

    fn note_log(&mut self) {
        for log in self.session.take_log() {
            let text = log.to_string().replace("localhost[127.0.0.1]", "CLIENT");
            self.flush();
            self.seen.push(Line::Log(text));
        }
    }

    /// Turns reply bytes into lines.
    fn flush(&mut self) {
        self.sent.append(&mut self.replies);
        let sent = std::mem::take(&mut self.sent);
        let text = String::from_utf8(sent).expect("replies are text");
        for line in text.split_inclusive("\r\n") {
            let line = line.strip_suffix("\r\n").expect("replies end in CRLF");
            self.seen.push(Line::Server(line.to_owned()));
        }
    }

    /// What happened since the last call.
    pub fn take_seen(&mut self) -> Vec<Line> {
        self.flush();
        if self.closed && !self.seen.contains(&Line::Close) {
            self.seen.push(Line::Close);
        }
        std::mem::take(&mut self.seen)
    }
}

fn split_crlf(text: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        lines.push(&rest[..end]);
        rest = &rest[end + 2..];
    }
    lines.push(rest);
    lines
}

/// `relay.example` or a sub-domain of it.
fn relayed(domain: &str) -> bool {
    format!(".{}", domain.to_ascii_lowercase()).ends_with(".relay.example")
}

/// What a transcript sets `smtpd_etrn_restrictions` to.
fn etrn_restrictions(config: &[(String, String)]) -> Vec<Restriction> {
    let set = config.iter().find(|(key, _)| key == "smtpd_etrn_restrictions");
    let words = set.map_or("", |(_, value)| value).split([',', ' ']).filter(|word| !word.is_empty());
    words
        .map(|word| match word {
            "permit_mynetworks" => Restriction::PermitMynetworks,
            "reject" => Restriction::Reject,
            _ => panic!("{word}"),
        })
        .collect()
}

/// The settings of a transcript: its base (see the README there) and what its `config:` lines change.
fn settings(config: &[(String, String)]) -> (SmtpdSettings, Client) {
    let mut s = SmtpdSettings::new("mx.example");
    s.error_sleep_ms = 0;
    let mut client = Client {
        name: Some("localhost".into()),
        address: IpAddr::from([127, 0, 0, 1]),
        port: 40_000,
        in_mynetworks: true,
        may_ask_verp: false,
        bare_newline_excluded: false,
    };
    for (key, value) in config {
        let yes = value == "yes";
        let number = || value.parse::<usize>().expect("a number");
        match key.as_str() {
            "message_size_limit" => s.message_size_limit = number() as u64,
            "smtpd_recipient_limit" => s.recipient_limit = number(),
            "smtpd_recipient_overshoot_limit" => s.recipient_overshoot_limit = number(),
            "smtpd_soft_error_limit" => s.soft_error_limit = number() as u32,
            "smtpd_hard_error_limit" => s.hard_error_limit = number() as u32,
            "smtpd_junk_command_limit" => s.junk_command_limit = number() as u32,
            "smtpd_error_sleep_time" => s.error_sleep_ms = number() as u64 * 1000,
            "line_length_limit" => s.line_length_limit = number(),
            "smtpd_forbid_unauth_pipelining" => s.forbid_unauth_pipelining = yes,
            "smtpd_helo_required" => s.helo_required = yes,
            "disable_vrfy_command" => s.disable_vrfy = yes,
            "strict_rfc821_envelopes" => s.strict_rfc821_envelopes = yes,
            "smtputf8_enable" => s.smtputf8_enable = yes,
            "strict_smtputf8" => s.strict_smtputf8 = yes,
            "soft_bounce" => s.soft_bounce = yes,
            "smtpd_banner" => s.banner = value.clone(),
            "smtpd_etrn_restrictions" => {}
            "smtpd_authorized_verp_clients" => client.may_ask_verp = !value.is_empty(),
            "mynetworks" => client.in_mynetworks = !value.is_empty(),
            "smtpd_forbid_bare_newline_exclusions" => client.bare_newline_excluded = value == "$mynetworks",
            "smtpd_forbid_bare_newline" => {
                s.bare_newline = match value.as_str() {
                    "normalize" => BareNewline::Normalize,
                    "reject" => BareNewline::Reject,
                    "no" => BareNewline::No,
                    _ => panic!("{value}"),
                }
            }
            "smtpd_discard_ehlo_keywords" => {
                s.discard_ehlo_keywords = value.split([' ', ',']).filter_map(Extension::named).collect();
            }
            "smtpd_forbidden_commands" => {
                s.forbidden_commands = value.split_whitespace().map(str::to_owned).collect();
            }
            _ => panic!("unknown parameter {key}"),
        }
    }
    (s, client)
}
