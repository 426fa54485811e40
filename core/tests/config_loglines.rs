//! Log lines as parsers of Postfix's log expect them.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use ringpost_core::date::Zone;
use ringpost_core::logline::{
    AddressText, CommandCount, Delays, Delivery, LogLines, Peer, Rejection, Relay, Severity, Status,
};

const NOW: i64 = 1_700_000_000;
const CLIENT: Peer<'_> = Peer { name: b"mail.example.com", address: b"192.0.2.1", port: None };

fn lines() -> LogLines {
    LogLines::new("mx.example.org", "postfix", Zone::UTC, 2)
}

fn text(write: impl FnOnce(&mut LogLines, &mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut lines(), &mut out);
    String::from_utf8(out).unwrap()
}

fn delivery<'a>() -> Delivery<'a> {
    Delivery {
        process: "smtp",
        number: 4,
        queue_id: "4SVLCh0sf8z7Qhl",
        to: b"user@example.net",
        orig_to: None,
        relay: Relay::Server(Peer { name: b"mx.example.net", address: b"198.51.100.7", port: Some(25) }),
        conn_use: 1,
        delays: Delays {
            before_queue: Duration::from_millis(40),
            in_queue: Duration::from_millis(10),
            connection: Duration::from_millis(50),
            transmission: Duration::from_millis(118),
        },
        dsn: "2.0.0",
        status: Status::Sent,
        text: b"250 2.0.0 Ok: queued as 1E240F1206",
    }
}

/// The life of a message, in order.
fn life(lines: &mut LogLines, out: &mut Vec<u8>) {
    let id = "4SVLCh0sf8z7Qhl";
    lines.connect(out, NOW, 1, &CLIENT);
    lines.client(out, NOW, 1, id, &CLIENT);
    lines.message_id(out, NOW, 2, id, b"<1@example.com>");
    lines.queue_active(out, NOW, 3, id, b"me@example.com", 4321, 1);
    lines.delivery(out, NOW, &delivery());
    lines.removed(out, NOW, 3, id);
    let counts = ["ehlo", "mail", "rcpt", "data", "bdat", "quit"].map(|name| {
        let used = u32::from(name != "bdat");
        CommandCount { name, ok: used, total: used }
    });
    lines.disconnect(out, NOW, 1, &CLIENT, counts);
}

#[test]
fn the_life_of_a_message() {
    let expected = "\
Nov 14 22:13:20 mx postfix/smtpd[1]: connect from mail.example.com[192.0.2.1]
Nov 14 22:13:20 mx postfix/smtpd[1]: 4SVLCh0sf8z7Qhl: client=mail.example.com[192.0.2.1]
Nov 14 22:13:20 mx postfix/cleanup[2]: 4SVLCh0sf8z7Qhl: message-id=<1@example.com>
Nov 14 22:13:20 mx postfix/qmgr[3]: 4SVLCh0sf8z7Qhl: from=<me@example.com>, size=4321, nrcpt=1 (queue active)
Nov 14 22:13:20 mx postfix/smtp[4]: 4SVLCh0sf8z7Qhl: to=<user@example.net>, relay=mx.example.net[198.51.100.7]:25, \
delay=0.22, delays=0.04/0.01/0.05/0.12, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 1E240F1206)
Nov 14 22:13:20 mx postfix/qmgr[3]: 4SVLCh0sf8z7Qhl: removed
Nov 14 22:13:20 mx postfix/smtpd[1]: disconnect from mail.example.com[192.0.2.1] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5
";
    assert_eq!(text(life), expected);
}

#[test]
fn a_delivery_with_every_field() {
    let line = text(|lines, out| {
        let orig_to = Some(&b"alias@example.net"[..]);
        let delivery =
            Delivery { orig_to, conn_use: 3, relay: Relay::None, status: Status::Deferred, ..delivery() };
        lines.delivery(out, NOW, &delivery);
    });
    let fields =
        "to=<user@example.net>, orig_to=<alias@example.net>, relay=none, conn_use=3, delay=0.22, delays=";
    assert!(line.contains(fields), "{line}");
    assert!(line.contains(", dsn=2.0.0, status=deferred ("), "{line}");
    let same = text(|lines, out| {
        lines.delivery(out, NOW, &Delivery { orig_to: Some(b"User@Example.NET"), ..delivery() });
    });
    assert!(!same.contains("orig_to"), "{same}");
}

#[test]
fn a_rejection() {
    let line = text(|lines, out| {
        let rejection = Rejection {
            queue_id: None,
            verb: "reject",
            stage: "RCPT",
            client: Peer { name: b"", address: b"203.0.113.9", port: Some(4711) },
            reply: b"554 5.7.1 <r@d>: Relay access denied",
            from: Some(b"s"),
            to: Some(b"r@d"),
            protocol: Some("ESMTP"),
            helo: Some(b"h"),
        };
        lines.rejection(out, NOW, 9, &rejection);
    });
    let expected = "Nov 14 22:13:20 mx postfix/smtpd[9]: NOQUEUE: reject: RCPT from unknown[203.0.113.9]:4711: \
                    554 5.7.1 <r@d>: Relay access denied; from=<s> to=<r@d> proto=ESMTP helo=<h>\n";
    assert_eq!(line, expected);
}

#[test]
fn sessions_that_end_badly() {
    let line = text(|lines, out| lines.disconnect(out, NOW, 1, &CLIENT, []));
    assert!(line.ends_with("disconnect from mail.example.com[192.0.2.1] commands=0/0\n"), "{line}");
    let counts =
        [CommandCount { name: "ehlo", ok: 1, total: 1 }, CommandCount { name: "rcpt", ok: 0, total: 2 }];
    let line = text(|lines, out| lines.disconnect(out, NOW, 1, &CLIENT, counts));
    assert!(line.ends_with("[192.0.2.1] ehlo=1 rcpt=0/2 commands=1/3\n"), "{line}");
    let line = text(|lines, out| lines.broken_off(out, NOW, 1, "lost connection", "DATA", &CLIENT));
    assert!(line.ends_with(": lost connection after DATA from mail.example.com[192.0.2.1]\n"), "{line}");
}

#[test]
fn expiry_and_notices() {
    let line = text(|lines, out| lines.expired(out, NOW, 3, "Q", b"s@d", false));
    assert!(line.ends_with("postfix/qmgr[3]: Q: from=<s@d>, status=expired, returned to sender\n"), "{line}");
    let line =
        text(|lines, out| lines.notification(out, NOW, 5, "Q", "sender non-delivery notification", "Q2"));
    assert!(line.ends_with("postfix/bounce[5]: Q: sender non-delivery notification: Q2\n"), "{line}");
    let line = text(|lines, out| lines.message(out, NOW, "smtpd", 1, Severity::Warning, b"disk is slow"));
    assert!(line.ends_with("postfix/smtpd[1]: warning: disk is slow\n"), "{line}");
    let line = text(|lines, out| lines.message_id(out, NOW, 1, "Q", b""));
    assert!(line.ends_with("Q: message-id=<>\n"), "{line}");
}

#[test]
fn a_peer_cannot_forge_a_line() {
    let line = text(|lines, out| {
        lines.message_id(out, NOW, 1, "Q", "<x>\nNov 14 22:13:20 mx\r\x1b[31m\u{85}\u{2028}é".as_bytes());
    });
    assert_eq!(line.matches('\n').count(), 1);
    assert!(line.ends_with("message-id=<x>?Nov 14 22:13:20 mx??[31m??é\n"), "{line:?}");
    let line = text(|lines, out| lines.message_id(out, NOW, 1, "Q", b"<\xff\xfe>"));
    assert!(line.ends_with("message-id=<??>\n"), "{line:?}");
    let line = text(|lines, out| lines.message_id(out, NOW, 1, "Q", &[b'a'; 100_000]));
    assert!(line.len() < 5_000);
}

#[test]
fn addresses() {
    let shown = |address: &str| {
        String::from_utf8(AddressText::new(address.parse().unwrap()).as_bytes().to_vec()).unwrap()
    };
    assert_eq!(shown("192.0.2.1"), "192.0.2.1");
    assert_eq!(shown("2001:db8::1"), "2001:db8::1");
    assert_eq!(shown("::ffff:192.0.2.1"), "192.0.2.1");
    assert_eq!(shown("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff").len(), 39);
}

#[test]
fn a_buffer_that_is_large_enough_never_grows() {
    let mut lines = lines();
    let mut out = Vec::with_capacity(1024);
    let place = out.as_ptr();
    for _ in 0..3 {
        out.clear();
        life(&mut lines, &mut out);
    }
    assert_eq!((out.as_ptr(), out.capacity()), (place, 1024));
}
