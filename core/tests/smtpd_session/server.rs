//! A session in memory, and around it what a shard does.

use std::net::IpAddr;
use std::rc::Rc;

use ringpost_core::access::{AccessRules, Outcome, Stage};
use ringpost_core::address::Address;
use ringpost_core::cleanup::{CleanupSettings, Facts, clean_head};
use ringpost_core::content::{BareNewline, is_wire_form};
use ringpost_core::envelope::BodyKind;
use ringpost_core::flush::SiteFlush;
use ringpost_core::lookup::at_once;
use ringpost_core::reply::Reply;
use ringpost_core::smtpd::{Answer, Client, Extension, Request, Session, SmtpdSettings};

use crate::transcript::{Line, Record};
use crate::world::{self, World, relayed};

/// The session, and around it what a shard does.
pub struct Server {
    pub session: Session,
    answers: Vec<(String, Reply)>,
    rules: AccessRules,
    world: World,
    replies: Vec<u8>,
    content: Vec<u8>,
    spilled: Vec<u8>,
    sent: Vec<u8>,
    seen: Vec<Line>,
    closed: bool,
    pub messages: usize,
}

impl Server {
    pub fn new(config: &[(String, String)], answers: &[(String, String)], records: &[Record]) -> Server {
        let (mut settings, client) = settings(config);
        let (rules, world) = world::rules(config, records);
        settings.asks_at_helo = !rules.is_idle(Stage::Helo);
        let answers = answers
            .iter()
            .map(|(stage, reply)| {
                (stage.clone(), Reply::parse(reply).expect("a transcript answers by a reply"))
            })
            .collect();
        let session = Session::new(Rc::new(settings), client);
        let mut server = Server {
            session,
            answers,
            rules,
            world,
            replies: Vec::new(),
            content: Vec::new(),
            spilled: Vec::new(),
            sent: Vec::new(),
            seen: Vec::new(),
            closed: false,
            messages: 0,
        };
        server.welcome();
        server
    }

    fn welcome(&mut self) {
        if !self.rules.is_idle(Stage::Connect)
            && let Some(reply) = self.check(Stage::Connect)
        {
            self.session.deny(&reply, &mut self.replies);
            return;
        }
        self.session.greet(&mut self.replies);
    }

    /// What the restrictions of a stage say.
    fn check(&mut self, stage: Stage) -> Option<Reply> {
        let mut access = self.session.take_access();
        let facts = self.session.facts(stage);
        let decision = self.rules.decide(&self.world, &facts, &mut access);
        let Outcome { refusal, notes } = at_once(decision).expect("nothing waits in memory");
        self.session.put_access(access);
        self.session.note_checks(notes);
        refusal
    }

    fn decide_stage(&mut self, stage: Stage, name: &str) {
        match self.check(stage) {
            None => self.decide(name, Answer::Accept),
            Some(reply) => self.session.answer(Answer::Refuse(reply), &mut self.replies),
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
                Request::Filter => self.session.filtered(None),
                Request::Helo => self.decide_stage(Stage::Helo, "HELO"),
                Request::Xclient => {
                    // The networks of the base configuration are all that a transcript's client may be in.
                    let mut client = self.session.proposed_client().clone();
                    client.in_mynetworks = client.address.is_loopback();
                    client.is_shown_xclient = client.in_mynetworks;
                    self.session.become_client(client);
                    self.welcome();
                }
                Request::Mail if self.rules.is_idle(Stage::Mail) => self.decide("MAIL", Answer::Accept),
                Request::Mail => self.decide_stage(Stage::Mail, "MAIL"),
                Request::Recipient => self.decide_stage(Stage::Recipient, "RCPT"),
                Request::Verify => self.decide_stage(Stage::Recipient, "VRFY"),
                Request::Data => self.decide_stage(Stage::Data, "DATA"),
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

    /// The domain that the base configuration relays for is the one whose mail can be asked for.
    fn decide_etrn(&mut self) {
        let domain = self.session.etrn_domain().to_owned();
        if let Some(reply) = self.check(Stage::Etrn) {
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
        if let Some(reply) = self.check(Stage::EndOfData) {
            self.session.answer(Answer::Refuse(reply), &mut self.replies);
            return;
        }
        let sender = Address::null();
        let facts = Facts {
            helo: self.session.helo(),
            client_name: None,
            client_address: self.session.client().address,
            protocol: self.session.protocol(),
            smtputf8: self.session.mail().smtputf8,
            body: BodyKind::SevenBit,
            queue_id: "QID",
            date: "Sun, 22 Nov 2026 20:00:00 +0000 (UTC)",
            sender: sender.as_str(),
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
            self.seen.push(Line::Server(line.replace("localhost[127.0.0.1]", "CLIENT")));
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

/// The settings of a transcript: its base (see the README there) and what its `config:` lines change.
fn settings(config: &[(String, String)]) -> (SmtpdSettings, Client) {
    let mut s = SmtpdSettings::new("mx.example");
    s.error_sleep_ms = 0;
    let mut client = Client::stranger(IpAddr::from([127, 0, 0, 1]), 40_000).named("localhost");
    client.in_mynetworks = true;
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
            "smtpd_client_port_logging" => s.client_port_logging = yes,
            "smtpd_authorized_xclient_hosts" => {
                client.may_xclient = !value.is_empty();
                client.is_shown_xclient = client.may_xclient;
            }
            "smtpd_authorized_xforward_hosts" => {
                client.may_xforward = !value.is_empty();
            }
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
            "smtpd_noop_commands" => s.noop_commands = value.split_whitespace().map(str::to_owned).collect(),
            "smtpd_forbidden_commands" => {
                s.forbidden_commands = value.split_whitespace().map(str::to_owned).collect();
            }
            // What only restrictions read.
            _ if is_of_restrictions(key) => {}
            _ => panic!("unknown parameter {key}"),
        }
    }
    (s, client)
}

fn is_of_restrictions(key: &str) -> bool {
    key.ends_with("_restrictions")
        || key.ends_with("_code")
        || matches!(
            key,
            "smtpd_delay_reject"
                | "smtpd_restriction_classes"
                | "recipient_delimiter"
                | "parent_domain_matches_subdomains"
                | "rbl_reply_maps"
                | "default_rbl_reply"
        )
        || key.starts_with("class_")
}
