//! Reports of sessions as the postmaster gets them.

use ringpost_core::dsn::{FromFormat, SessionKind, SessionReport};
use ringpost_core::transcript::{ErrorClass, ErrorClasses, Excerpt, Side, Transcript};

fn report(kind: SessionKind, peer: &str, excerpt: &Excerpt) -> String {
    let report = SessionReport {
        kind,
        peer,
        excerpt,
        mail_name: "Postfix",
        origin: "example.com",
        from_format: FromFormat::Standard,
        to: "postmaster@example.com",
    };
    let text = String::from_utf8(report.content()).expect("a report is text");
    assert!(text.is_ascii() && text.ends_with("\r\n"));
    for line in text.strip_suffix("\r\n").unwrap_or_default().split("\r\n") {
        assert!(!line.contains(['\r', '\n']) && !line.starts_with('.') && line.len() <= 998, "{line:?}");
    }
    text.replace("\r\n", "\n")
}

fn transcript(commands_from: Side) -> Transcript {
    Transcript::new(ErrorClasses::NONE.with(ErrorClass::Protocol), commands_from)
}

#[test]
fn a_clients_errors_are_reported() {
    let mut session = transcript(Side::Peer);
    session.reply("220 mx.example.com ESMTP Postfix");
    session.command(b"EHLO client.example.org", |_| true);
    session.reply("250-mx.example.com\r\n250-PIPELINING\r\n250 DSN");
    session.command("MAIL FROM:<j\u{fc}rgen@example.org>  BODY=8BITMIME".as_bytes(), |_| true);
    session.reply("501 5.1.7 Bad sender address syntax");
    session.command(b".", |_| false);
    session.reply("500 5.5.2 Error: bad syntax");
    let long =
        format!("RCPT TO:<{}@example.org> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;x", "y".repeat(40));
    session.command(long.as_bytes(), |_| true);
    session.command("x".repeat(400).as_bytes(), |_| true);
    session.blame(ErrorClass::Protocol);
    session.abort("lost connection");
    let excerpt = session.cut().expect("reported");
    insta::assert_snapshot!(report(SessionKind::Server, "unknown[192.0.2.1]", &excerpt));
}

#[test]
fn a_servers_errors_are_reported() {
    let mut session = transcript(Side::Ourselves);
    session.reply("220 mx.example.net");
    session.commands(b"EHLO mail.example.com\r\n");
    session.reply("250 mx.example.net");
    session.commands(b"MAIL FROM:<a@example.com>\r\n");
    session.reply("503 5.5.1 bad sequence of commands");
    session.blame(ErrorClass::Protocol);
    let excerpt = session.cut().expect("reported");
    insta::assert_snapshot!(report(SessionKind::Client, "mx.example.net[192.0.2.25]:25", &excerpt));
}

#[test]
fn nothing_that_a_peer_says_becomes_a_field_or_a_line_of_its_own() {
    let mut session = transcript(Side::Peer);
    for line in
        [&b"X\r\n.\r\nBcc: everyone@example.com"[..], b"\xff\xfe\x00\x1b[2J", &b"\xc3\xbc ".repeat(400)]
    {
        session.command(line, |_| false);
        session.reply(line);
    }
    session.blame(ErrorClass::Protocol);
    let excerpt = session.cut().expect("reported");
    let text = report(SessionKind::Server, "a\r\nBcc: b[192.0.2.1]", &excerpt);
    assert!(!text.contains("\nBcc:"), "{text}");
    assert!(text.lines().all(|line| line.len() <= 78), "{text}");
}

#[test]
fn what_was_left_out_is_told() {
    let mut session = transcript(Side::Peer);
    for number in 0..5000 {
        session.command(format!("NOOP {number}").as_bytes(), |_| true);
    }
    session.blame(ErrorClass::Protocol);
    let excerpt = session.cut().expect("reported");
    let text = report(SessionKind::Server, "unknown[192.0.2.1]", &excerpt);
    let lines = text.lines().filter(|line| line.starts_with(" In:  NOOP ")).count();
    assert!(text.contains(&format!(" ({} earlier lines are left out)\n In:  NOOP ", 5000 - lines)), "{text}");
}
