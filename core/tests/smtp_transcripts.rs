//! Which mails of a client session are reported to the postmaster, and with what.

mod smtp_support;

use ringpost_core::smtp::{ClientSettings, Event};
use ringpost_core::transcript::{ErrorClass, ErrorClasses};
use smtp_support::{Dialogue, GREETING_PIPELINING, GREETING_PLAIN};

fn reporting(class: ErrorClass) -> Dialogue {
    let reported_errors = ErrorClasses::NONE.with(class);
    Dialogue::new(ClientSettings { reported_errors, ..ClientSettings::default() })
}

fn report(dialogue: &mut Dialogue) -> Option<String> {
    let excerpt = dialogue.session.take_report()?;
    Some(excerpt.lines().map(|(side, line)| format!("{}{line}\n", side.label())).collect())
}

#[test]
fn only_replies_about_syntax_are_protocol_errors() {
    for (reply, is_reported) in [
        ("500 what\r\n", true),
        ("503 5.5.1 bad sequence\r\n", true),
        ("555 5.5.4 no such parameter\r\n", true),
        ("354 go\r\n", true),
        ("550 5.7.1 go away\r\n", false),
        ("451 4.7.1 later\r\n", false),
        ("421 4.3.2 closing\r\n", false),
    ] {
        let mut dialogue = reporting(ErrorClass::Protocol);
        dialogue.greet(GREETING_PIPELINING);
        dialogue.begin("s@example.com", &["a@example.org"]);
        dialogue.server(reply);
        assert_eq!(report(&mut dialogue).is_some(), is_reported, "{reply}");
    }
}

#[test]
fn a_mail_is_reported_with_its_own_dialogue() {
    let mut dialogue = reporting(ErrorClass::Protocol);
    dialogue.greet(GREETING_PLAIN);
    let handshake = "In:  220 mx.example.org\nOut: EHLO localhost\nIn:  250 mx.example.org\n";
    // The second mail begins with the end of the first one's transaction.
    let mails = [("first@example.com", handshake), ("second@example.com", "Out: RSET\nIn:  250 ok\n")];
    for (sender, before) in mails {
        dialogue.begin(sender, &["a@example.org"]);
        if before != handshake {
            dialogue.server("250 ok\r\n");
        }
        dialogue.server("250 ok\r\n");
        dialogue.server("501 5.1.3 bad recipient\r\n");
        assert_eq!(dialogue.last, Event::Finished);
        let mail = format!("{before}Out: MAIL FROM:<{sender}>\nIn:  250 ok\n");
        let rcpt = "Out: RCPT TO:<a@example.org>\nIn:  501 5.1.3 bad recipient\n";
        assert_eq!(report(&mut dialogue), Some(mail + rcpt));
        assert_eq!(report(&mut dialogue), None, "once");
    }
}

#[test]
fn what_is_no_reply_is_shown() {
    let mut dialogue = reporting(ErrorClass::Protocol);
    assert_eq!(dialogue.server("SSH-2.0-OpenSSH\r\nmore\r\n"), Event::Broken);
    assert_eq!(report(&mut dialogue).as_deref(), Some("In:  SSH-2.0-OpenSSH\n"));
}

#[test]
fn content_that_cannot_be_read_is_an_error_of_its_own_class() {
    let mut dialogue = reporting(ErrorClass::Data);
    dialogue.greet(GREETING_PIPELINING);
    dialogue.begin("s@example.com", &["a@example.org"]);
    assert_eq!(dialogue.server("250 ok\r\n250 ok\r\n354 go\r\n"), Event::SendContent);
    dialogue.session.content_unreadable();
    let text = report(&mut dialogue).expect("reported");
    assert!(text.ends_with("Out: DATA\nIn:  250 ok\nIn:  250 ok\nIn:  354 go\n"), "{text}");
}

#[test]
fn nothing_is_kept_for_classes_that_no_client_meets() {
    let mut dialogue = reporting(ErrorClass::Resource);
    assert_eq!(dialogue.server("nonsense\r\n"), Event::Broken);
    assert_eq!(report(&mut dialogue), None);
}
