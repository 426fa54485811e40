//! What the server session's decisions cost: `cargo run --release -p ringpost-core --example smtpd_cost`.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a measurement asks the clock")]

use std::hint::black_box;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Instant;

use ringpost_core::access::{
    AccessFacts, AccessLists, AccessMemory, AccessRules, AccessWorld, Destination, Stage, Unlisted,
};
use ringpost_core::address::Address;
use ringpost_core::cleanup::{CleanupSettings, Facts, clean_head};
use ringpost_core::config::{Party, Restriction};
use ringpost_core::content::{BareNewline, ContentScanner, Framing};
use ringpost_core::dns::{self, RecordType};
use ringpost_core::envelope::BodyKind;
use ringpost_core::lookup::{Found, LookupTrouble, TableId, Tables, at_once};
use ringpost_core::smtpd::{Answer, Client, Request, Session, SmtpdSettings};

const ROUNDS: u32 = 200_000;

/// Where everybody is known and nobody is ours.
struct NoWorld;

impl Tables for NoWorld {
    async fn lookup(&self, _: TableId, _: &str) -> Found {
        Ok(None)
    }
}

impl AccessWorld for NoWorld {
    async fn records(&self, _: &str, _: RecordType) -> Rc<dns::Answer> {
        Rc::new(dns::Answer::NotFound)
    }

    async fn is_authorised(&self, _: &str, _: &str) -> Result<bool, LookupTrouble> {
        Ok(false)
    }

    async fn destination<'a>(&'a self, _: &str, address: &'a str) -> Result<Destination<'a>, LookupTrouble> {
        Ok(Destination { address: address.into(), is_final: false, is_relayed: false, routes_on: false })
    }

    async fn unlisted(&self, _: Party, _: &str, _: &str) -> Result<Option<Unlisted>, LookupTrouble> {
        Ok(None)
    }

    async fn pause(&self, _: u32) {}
}

fn measure(what: &str, mut work: impl FnMut()) {
    let mut best = f64::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            work();
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS));
    }
    println!("{what}: {best:.3} us (best of 5 x {ROUNDS})");
}

fn main() {
    let line = "0123456789".repeat(7) + "\r\n";
    let headers = "From: a@x.example\r\nTo: b@y.example\r\nSubject: hello\r\nDate: Sun, 22 Nov 2026 20:00:00 +0000\r\n\
                   Message-Id: <1@x.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n";
    let mut message = headers.to_owned();
    while message.len() < 4096 {
        message.push_str(&line);
    }
    message.truncate(4094);
    message.push_str("\r\n");
    let mut content = Vec::with_capacity(8192);

    measure("scan 4096 bytes of content", || {
        content.clear();
        let mut scanner = ContentScanner::new(Framing::Dot, BareNewline::Normalize, 10_240_000);
        black_box(scanner.scan(black_box(message.as_bytes()), &mut content));
    });

    measure("copy 4096 bytes, for comparison", || {
        content.clear();
        content.extend_from_slice(black_box(message.as_bytes()));
        black_box(&content);
    });

    let sender = Address::parse("a@x.example").expect("an address");
    let settings = CleanupSettings::new("mx.example");
    let facts = Facts {
        helo: Some("client.example"),
        client_name: Some("client.example"),
        client_address: IpAddr::from([192, 0, 2, 1]),
        protocol: "ESMTP",
        smtputf8: false,
        body: BodyKind::SevenBit,
        queue_id: "4SVLCh0sf8z7Qhl",
        date: "Sun, 22 Nov 2026 20:00:00 +0000 (UTC)",
        sender: sender.as_str(),
        recipient: Some(&sender),
        message_id: "4SVLCh0sf8z7Qhl@mx.example",
        add_missing_headers: true,
    };
    measure("clean the header block (7 headers)", || {
        black_box(clean_head(&settings, &facts, black_box(message.as_bytes()), true)).expect("accepted");
    });

    let mut client = Client::stranger(IpAddr::from([192, 0, 2, 1]), 1).named("client.example");
    client.in_mynetworks = true;
    let rules = AccessRules {
        lists: AccessLists {
            relay: vec![Restriction::PermitMynetworks, Restriction::RejectUnauthDestination],
            ..AccessLists::default()
        },
        relay_first: true,
        delay_reject: true,
        unlisted_recipients: true,
        ..AccessRules::default()
    };
    let facts = AccessFacts {
        stage: Stage::Recipient,
        client: &client,
        client_text: "client.example[192.0.2.1]",
        helo: Some("client.example"),
        sender: Some(&sender),
        recipient: Some(&sender),
        recipient_count: 0,
        etrn_domain: None,
        pipelined_ahead: false,
        details: Default::default(),
    };
    let mut memory = AccessMemory::default();
    measure("the default restrictions on one recipient", || {
        let outcome = at_once(rules.decide(&NoWorld, black_box(&facts), &mut memory));
        black_box(outcome).expect("nothing to wait for");
    });

    let mut session = Session::new(Rc::new(SmtpdSettings::new("mx.example")), client);
    let mut replies = Vec::with_capacity(4096);
    session.step(b"EHLO client.example\r\n", &mut replies, &mut content);
    let flight = b"MAIL FROM:<sender@x.example> SIZE=4096\r\nRCPT TO:<recipient@y.example>\r\nDATA\r\n";
    measure("MAIL, RCPT, DATA and the dot, content aside", || {
        replies.clear();
        content.clear();
        for mut input in [&flight[..], b"\r\n.\r\n"] {
            loop {
                let step = session.step(black_box(input), &mut replies, &mut content);
                input = &input[step.consumed..];
                match step.request {
                    Request::MoreInput | Request::Content => break,
                    Request::EndOfContent => session.answer(Answer::Queued("4SVLCh0sf8z7Qhl"), &mut replies),
                    Request::Mail | Request::Recipient | Request::Data => {
                        session.answer(Answer::Accept, &mut replies);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        black_box(&replies);
    });
}
