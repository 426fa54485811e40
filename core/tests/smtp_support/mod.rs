//! A server's seat at the client's table.
#![allow(dead_code, reason = "each test file uses its part")]

use std::rc::Rc;

use ringpost_core::smtp::{ClientSettings, Event, MailRecipient, MailRequest, PeerName, ResultKind, Session};

/// Greeting and EHLO answer, separated by `|`.
pub const GREETING_PIPELINING: &str =
    "220 mx.example.org ESMTP\r\n|250-mx.example.org\r\n250-PIPELINING\r\n250 SIZE 10240000\r\n";

/// The same of a server that offers nothing.
pub const GREETING_PLAIN: &str = "220 mx.example.org\r\n|250 mx.example.org\r\n";

/// A session and what it wrote.
pub struct Dialogue {
    pub session: Session,
    pub last: Event,
    out: Vec<u8>,
}

/// The server that every test talks to.
pub fn peer() -> PeerName {
    PeerName { host: String::from("mx.example.org"), address: String::from("192.0.2.1"), port: 25 }
}

pub fn rcpt(address: &str) -> MailRecipient<'_> {
    MailRecipient { address, ..MailRecipient::default() }
}

impl Dialogue {
    pub fn new(settings: ClientSettings) -> Dialogue {
        Dialogue { session: Session::new(Rc::new(settings), peer()), last: Event::NeedInput, out: Vec::new() }
    }

    pub fn ready(greeting: &str) -> Dialogue {
        let mut dialogue = Dialogue::new(ClientSettings::default());
        dialogue.greet(greeting);
        dialogue
    }

    pub fn greet(&mut self, greeting: &str) {
        for reply in greeting.split('|') {
            self.server(reply);
        }
        assert_eq!(self.last, Event::Ready);
        self.sent();
    }

    pub fn server(&mut self, bytes: &str) -> Event {
        self.last = self.session.input(bytes.as_bytes(), &mut self.out);
        self.last
    }

    pub fn sent(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.out)).expect("commands are text")
    }

    pub fn begin(&mut self, sender: &str, recipients: &[&str]) -> String {
        let recipients: Vec<_> = recipients.iter().map(|address| rcpt(address)).collect();
        self.begin_with(&MailRequest { sender, size: 4096, ..MailRequest::default() }, &recipients)
    }

    pub fn begin_with(&mut self, mail: &MailRequest<'_>, recipients: &[MailRecipient<'_>]) -> String {
        self.last = self.session.begin(mail, recipients.iter().copied(), &mut self.out);
        self.sent()
    }

    pub fn quit(&mut self) -> bool {
        self.session.quit(&mut self.out)
    }

    pub fn kinds(&self) -> Vec<ResultKind> {
        self.session.results().map(|result| result.kind).collect()
    }

    pub fn text(&self, recipient: usize) -> &str {
        self.session.result(recipient).expect("decided").text
    }
}
