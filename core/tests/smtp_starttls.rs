//! STARTTLS as the client says it: when, and what follows on each answer (RFC 3207).

mod smtp_support;

use ringpost_core::smtp::{ClientSettings, EhloKeywords, Event, TlsLevel};
use smtp_support::Dialogue;

const OFFER: &str = "250-mx.example.org\r\n250-STARTTLS\r\n250 PIPELINING\r\n";

fn greeted(level: TlsLevel, ehlo: &str) -> Dialogue {
    let mut dialogue = Dialogue::new(ClientSettings::default());
    dialogue.session.want_tls(level);
    dialogue.server("220 mx.example.org ESMTP\r\n");
    assert_eq!(dialogue.sent(), "EHLO localhost\r\n");
    dialogue.server(ehlo);
    dialogue
}

fn failure(dialogue: &Dialogue) -> (String, String) {
    let failure = dialogue.session.failure().expect("it is broken off");
    assert!(failure.trouble, "{failure:?}");
    (failure.status.to_string(), failure.text.clone())
}

#[test]
fn nobody_asks_for_what_is_not_wanted() {
    let mut dialogue = greeted(TlsLevel::None, OFFER);
    assert_eq!((dialogue.last, dialogue.sent().as_str()), (Event::Ready, ""));
}

#[test]
fn the_greeting_begins_again_behind_the_handshake() {
    let mut dialogue = greeted(TlsLevel::May, OFFER);
    assert_eq!(dialogue.sent(), "STARTTLS\r\n");
    assert_eq!(dialogue.server("220 go ahead\r\n"), Event::StartTls);
    let mut out = Vec::new();
    assert_eq!(dialogue.session.secured(&mut out), Event::NeedInput);
    assert_eq!(out, b"EHLO localhost\r\n");
    assert!(!dialogue.session.offers().has(EhloKeywords::PIPELINING), "what was said before does not count");
    assert_eq!(dialogue.server("250-mx.example.org\r\n250-STARTTLS\r\n250 DSN\r\n"), Event::Ready);
    assert_eq!(dialogue.sent(), "", "STARTTLS is said once");
    assert!(dialogue.session.offers().has(EhloKeywords::DSN));
}

#[test]
fn only_what_is_required_waits_for_it() {
    assert_eq!(greeted(TlsLevel::May, "250 mx.example.org\r\n").last, Event::Ready);
    let dialogue = greeted(TlsLevel::Encrypt, "250 mx.example.org\r\n");
    let text = "TLS is required, but was not offered by host mx.example.org[192.0.2.1]";
    assert_eq!(failure(&dialogue), ("4.7.4".into(), text.into()));

    let mut may = greeted(TlsLevel::May, OFFER);
    assert_eq!(may.server("454 4.7.0 not now\r\n"), Event::Ready);
    let mut must = greeted(TlsLevel::Secure, OFFER);
    must.sent();
    assert_eq!(must.server("554 5.7.0 never\r\n"), Event::Broken);
    let text = "TLS is required, but host mx.example.org[192.0.2.1] refused to start TLS: 554 5.7.0 never";
    assert_eq!(failure(&must), ("4.7.0".into(), text.into()));
}

#[test]
fn nothing_that_came_before_the_handshake_is_heard_behind_it() {
    for early in ["220 go\r\n250 early\r\n", "220 go\r\n250-early"] {
        let mut dialogue = greeted(TlsLevel::May, OFFER);
        assert_eq!(dialogue.server(early), Event::Broken, "{early:?}");
    }
}

#[test]
fn where_tls_begins_before_smtp_nobody_asks_for_it() {
    let mut dialogue = Dialogue::new(ClientSettings::default());
    dialogue.session.want_tls(TlsLevel::Encrypt);
    dialogue.session.begins_secure();
    dialogue.server("220 mx.example.org ESMTP\r\n");
    dialogue.sent();
    assert_eq!(dialogue.server(OFFER), Event::Ready);
    assert_eq!(dialogue.sent(), "");
}
