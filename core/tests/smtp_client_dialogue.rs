//! Whole dialogues of the SMTP client, as a server sees them.

mod smtp_support;

use std::rc::Rc;

use ringpost_core::smtp::{ClientSettings, EhloKeywords, Event, MailRequest, Protocol, ResultKind, Session};
use smtp_support::{Dialogue, GREETING_PIPELINING, GREETING_PLAIN, peer, rcpt};

#[test]
fn pipelined_mail_is_one_flight() {
    let mut dialogue = Dialogue::ready(GREETING_PIPELINING);
    let sent = dialogue.begin("s@example.com", &["a@example.org", "b@example.org"]);
    assert_eq!(
        sent,
        "MAIL FROM:<s@example.com> SIZE=4096\r\nRCPT TO:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n"
    );
    assert_eq!(
        dialogue.server("250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n250 2.1.5 Ok\r\n354 go\r\n"),
        Event::SendContent
    );
    dialogue.session.content_sent();
    assert_eq!(dialogue.server("250 2.0.0 Ok: queued as ABC\r\n"), Event::Finished);
    for result in dialogue.session.results() {
        assert_eq!(result.kind, ResultKind::Sent);
        assert_eq!(result.status.to_string(), "2.0.0");
        assert_eq!(result.text, "250 2.0.0 Ok: queued as ABC");
    }
    assert!(dialogue.begin("t@example.com", &["c@example.org"]).starts_with("MAIL FROM:<t@example.com>"));
    assert_eq!(dialogue.session.mails_begun(), 2);
}

#[test]
fn without_pipelining_each_command_waits() {
    let mut dialogue = Dialogue::ready(GREETING_PLAIN);
    assert_eq!(dialogue.begin("", &["a@b", "c@d"]), "MAIL FROM:<>\r\n");
    assert_eq!(dialogue.server("250 ok\r\n"), Event::NeedInput);
    assert_eq!(dialogue.sent(), "RCPT TO:<a@b>\r\n");
    dialogue.server("250 ok\r\n");
    assert_eq!(dialogue.sent(), "RCPT TO:<c@d>\r\n");
    dialogue.server("550 no\r\n");
    assert_eq!(dialogue.sent(), "DATA\r\n");
    assert_eq!(dialogue.server("354 go\r\n"), Event::SendContent);
    dialogue.session.content_sent();
    assert_eq!(dialogue.server("250 done\r\n"), Event::Finished);
    assert_eq!(dialogue.kinds(), [ResultKind::Sent, ResultKind::Bounced]);
    assert_eq!(dialogue.text(1), "host mx.example.org[192.0.2.1] said: 550 no (in reply to RCPT TO command)");
    assert_eq!(dialogue.session.result(1).and_then(|result| result.reply), Some("550 no"));
}

#[test]
fn a_refused_sender_ends_a_step_by_step_mail_at_once() {
    let mut dialogue = Dialogue::ready(GREETING_PLAIN);
    dialogue.begin("s@x", &["a@b", "c@d"]);
    assert_eq!(dialogue.server("550 5.7.1 not you\r\n"), Event::Finished);
    assert_eq!(dialogue.sent(), "");
    assert_eq!(dialogue.kinds(), [ResultKind::Bounced; 2]);
    let text = "host mx.example.org[192.0.2.1] said: 550 5.7.1 not you (in reply to MAIL FROM command)";
    assert_eq!(dialogue.text(0), text);
    // The next mail starts from a clean slate.
    assert_eq!(dialogue.begin("s@x", &["a@b"]), "RSET\r\n");
    dialogue.server("250 ok\r\n");
    assert_eq!(dialogue.sent(), "MAIL FROM:<s@x>\r\n");
}

#[test]
fn a_refused_sender_in_a_flight_decides_all_and_the_other_replies_are_passed_over() {
    let mut dialogue = Dialogue::ready(GREETING_PIPELINING);
    dialogue.begin("s@x", &["a@b"]);
    assert_eq!(dialogue.server("451 4.3.0 later\r\n503 5.5.1 need MAIL\r\n"), Event::NeedInput);
    assert_eq!(dialogue.server("503 5.5.1 need RCPT\r\n"), Event::Finished);
    assert_eq!(dialogue.kinds(), [ResultKind::Deferred]);
    assert!(dialogue.text(0).contains("451 4.3.0 later (in reply to MAIL FROM command)"));
    assert!(!dialogue.session.result(0).expect("decided").trouble);
    assert!(dialogue.begin("s@x", &["a@b"]).starts_with("RSET\r\nMAIL FROM:<s@x>"));
}

#[test]
fn content_is_never_sent_when_nobody_is_left_to_get_it() {
    let mut dialogue = Dialogue::ready(GREETING_PIPELINING);
    dialogue.begin("s@x", &["a@b", "c@d"]);
    let event = dialogue.server("250 ok\r\n550 5.1.1 a\r\n450 4.2.1 c\r\n354 go on\r\n");
    assert_eq!(event, Event::NeedInput);
    assert_eq!(dialogue.sent(), ".\r\n", "a lone dot, RFC 2920");
    assert_eq!(dialogue.server("250 2.0.0 queued an empty message\r\n"), Event::Finished);
    assert_eq!(dialogue.kinds(), [ResultKind::Bounced, ResultKind::Deferred]);
    assert!(dialogue.session.is_idle());
}

#[test]
fn a_refusal_after_the_dot_is_for_the_accepted_recipients() {
    let mut dialogue = Dialogue::ready(GREETING_PIPELINING);
    dialogue.begin("s@x", &["a@b", "c@d"]);
    dialogue.server("250 ok\r\n550 5.1.1 a\r\n250 ok\r\n354 go\r\n");
    dialogue.session.content_sent();
    assert_eq!(dialogue.server("554-5.7.1 spam\r\n554 5.7.2 really\r\n"), Event::Finished);
    assert!(dialogue.text(0).ends_with("550 5.1.1 a (in reply to RCPT TO command)"));
    assert_eq!(
        dialogue.text(1),
        "host mx.example.org[192.0.2.1] said: 554-5.7.1 spam 554 5.7.2 really (in reply to end of DATA command)"
    );
    assert_eq!(dialogue.session.result(1).map(|result| result.status.to_string()).as_deref(), Some("5.7.2"));
}

#[test]
fn data_refused_means_all_accepted_recipients_are_refused() {
    let mut dialogue = Dialogue::ready(GREETING_PIPELINING);
    dialogue.begin("s@x", &["a@b", "c@d"]);
    assert_eq!(dialogue.server("250 ok\r\n250 ok\r\n450 4.2.0 no\r\n451 4.3.0 disk\r\n"), Event::Finished);
    assert!(dialogue.text(0).ends_with("451 4.3.0 disk (in reply to DATA command)"));
    assert!(dialogue.text(1).ends_with("450 4.2.0 no (in reply to RCPT TO command)"));
}

#[test]
fn large_recipient_lists_leave_in_bounded_flights() {
    let mut dialogue = Dialogue::ready(GREETING_PIPELINING);
    let recipients: Vec<String> = (0..2_000).map(|number| format!("user{number}@example.org")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let first = dialogue.begin("s@x", &recipients);
    assert!(first.len() <= 16 * 1024);
    let mut all = first.clone();
    let mut open = first.matches("\r\n").count();
    while !all.ends_with("DATA\r\n") {
        open -= 1;
        dialogue.server("250 ok\r\n");
        let more = dialogue.sent();
        open += more.matches("\r\n").count();
        all.push_str(&more);
    }
    assert_eq!(all.matches("RCPT TO:").count(), 2_000);
    for _ in 1..open {
        assert_eq!(dialogue.server("250 ok\r\n"), Event::NeedInput);
    }
    assert_eq!(dialogue.server("354 go\r\n"), Event::SendContent);
}

#[test]
fn ehlo_refused_is_followed_by_helo() {
    let mut dialogue = Dialogue::new(ClientSettings::default());
    dialogue.server("220 old.example.org\r\n");
    assert_eq!(dialogue.sent(), "EHLO localhost\r\n");
    dialogue.server("502 5.5.1 what?\r\n");
    assert_eq!(dialogue.sent(), "HELO localhost\r\n");
    assert_eq!(dialogue.server("250 old.example.org\r\n"), Event::Ready);
    assert_eq!(dialogue.begin("s@x", &["a@b"]), "MAIL FROM:<s@x>\r\n", "no SIZE without EHLO");
}

#[test]
fn a_refused_connection_is_trouble_and_says_what_the_host_said() {
    for (greeting, status, kind) in [
        ("421 4.3.2 busy\r\n", "4.3.2", ResultKind::Deferred),
        ("450 later\r\n", "4.0.0", ResultKind::Deferred),
        ("554 5.7.1 go away\r\n", "4.7.1", ResultKind::Deferred),
    ] {
        let mut dialogue = Dialogue::new(ClientSettings::default());
        assert_eq!(dialogue.server(greeting), Event::Broken);
        let failure = dialogue.session.failure().expect("a reason");
        assert_eq!(
            (failure.kind, failure.status.to_string().as_str(), failure.trouble),
            (kind, status, true)
        );
        let said = greeting.trim_end();
        assert_eq!(failure.text, format!("host mx.example.org[192.0.2.1] refused to talk to me: {said}"));
        assert_eq!(failure.reply.as_deref(), Some(said));
    }
    let settings = ClientSettings { skip_5xx_greeting: false, ..ClientSettings::default() };
    let mut dialogue = Dialogue::new(settings);
    assert_eq!(dialogue.server("554 5.7.1 go away\r\n"), Event::Broken);
    let failure = dialogue.session.failure().expect("a reason");
    assert_eq!((failure.kind, failure.trouble), (ResultKind::Bounced, false));
}

#[test]
fn ehlo_answered_421_gives_the_server_up() {
    let mut dialogue = Dialogue::new(ClientSettings::default());
    dialogue.server("220 x\r\n");
    dialogue.sent();
    assert_eq!(dialogue.server("421 4.7.0 too many\r\n"), Event::Broken);
    assert_eq!(dialogue.sent(), "");
    assert!(dialogue.session.failure().expect("a reason").text.contains("refused to talk to me: 421 4.7.0"));
}

#[test]
fn meeting_ourselves_is_warned_about() {
    let settings =
        ClientSettings { my_hostname: String::from("Me.Example.Com"), ..ClientSettings::default() };
    let mut dialogue = Dialogue::new(settings);
    dialogue.server("220 me.example.com ESMTP\r\n");
    assert_eq!(
        dialogue.session.take_warning().as_deref(),
        Some("host mx.example.org[192.0.2.1]:25 greeted me with my own hostname Me.Example.Com")
    );
    assert_eq!(dialogue.session.take_warning(), None);
}

#[test]
fn mail_above_the_announced_size_bounces_here() {
    let mut dialogue = Dialogue::ready("220 x\r\n|250-x\r\n250 SIZE 1000\r\n");
    assert_eq!(dialogue.begin("s@x", &["a@b"]), "");
    assert_eq!(dialogue.last, Event::Finished);
    assert_eq!(dialogue.kinds(), [ResultKind::Bounced]);
    let text = "message size 4096 exceeds size limit 1000 of server mx.example.org[192.0.2.1]";
    assert_eq!(dialogue.text(0), text);
    assert_eq!(dialogue.session.result(0).map(|result| result.status.to_string()).as_deref(), Some("5.3.4"));
    assert!(dialogue.session.is_idle(), "the connection is still good");
}

#[test]
fn unicode_mail_needs_smtputf8() {
    let mut dialogue = Dialogue::ready(GREETING_PIPELINING);
    assert_eq!(dialogue.begin("jürgen@x", &["a@b"]), "");
    assert_eq!(dialogue.last, Event::Finished);
    let text = "SMTPUTF8 is required, but was not offered by host mx.example.org[192.0.2.1]";
    assert_eq!(dialogue.text(0), text);
    dialogue.begin("s@x", &["ü@b", "a@b"]);
    assert_eq!(dialogue.session.result(0).map(|result| result.status.to_string()).as_deref(), Some("5.6.7"));
    assert!(dialogue.session.result(1).is_none(), "the other one is on its way");

    let mut dialogue = Dialogue::ready("220 x\r\n|250-x\r\n250-PIPELINING\r\n250 SMTPUTF8\r\n");
    assert!(dialogue.begin("s@x", &["ü@b"]).starts_with("MAIL FROM:<s@x> SMTPUTF8\r\nRCPT TO:<ü@b>\r\n"));
}

#[test]
fn addresses_that_could_inject_commands_never_reach_the_wire() {
    let mut dialogue = Dialogue::ready(GREETING_PIPELINING);
    let sent = dialogue.begin("s@x", &["a@b>\r\nRCPT TO:<c@d", "e@f", "", "g@h> NOTIFY=NEVER"]);
    assert_eq!(sent, "MAIL FROM:<s@x> SIZE=4096\r\nRCPT TO:<e@f>\r\nDATA\r\n");
    let decided: Vec<_> =
        (0..4).map(|index| dialogue.session.result(index).map(|result| result.kind)).collect();
    let bounced = Some(ResultKind::Bounced);
    assert_eq!(decided, [bounced, None, bounced, bounced]);
    let mut dialogue = Dialogue::ready(GREETING_PIPELINING);
    assert_eq!(dialogue.begin("s@x>\r\nQUIT", &["e@f"]), "");
    assert_eq!(dialogue.last, Event::Finished);
}

#[test]
fn dsn_parameters_go_only_to_servers_that_offer_dsn() {
    use ringpost_core::envelope::{BodyKind, Notify, Ret};
    let request = MailRequest {
        sender: "s@x",
        size: 10,
        body: BodyKind::EightBitMime,
        ret: Some(Ret::Headers),
        envid: "a b+c",
        ..MailRequest::default()
    };
    let recipient = ringpost_core::smtp::MailRecipient {
        address: "a@b",
        orcpt: "rfc822;a+x@b",
        notify: Notify::SUCCESS.with(Notify::FAILURE),
    };
    let mut dialogue = Dialogue::ready("220 x\r\n|250-x\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 DSN\r\n");
    assert_eq!(
        dialogue.begin_with(&request, &[recipient]),
        "MAIL FROM:<s@x> BODY=8BITMIME RET=HDRS ENVID=a+20b+2Bc\r\n\
         RCPT TO:<a@b> ORCPT=rfc822;a+2Bx@b NOTIFY=SUCCESS,FAILURE\r\nDATA\r\n"
    );
    let mut dialogue = Dialogue::ready("220 x\r\n|250-x\r\n250 PIPELINING\r\n");
    assert_eq!(dialogue.begin_with(&request, &[recipient]), "MAIL FROM:<s@x>\r\nRCPT TO:<a@b>\r\nDATA\r\n");
}

#[test]
fn discarded_offers_are_not_used() {
    let settings = ClientSettings {
        discard_ehlo_keywords: EhloKeywords::from_list("pipelining, size"),
        ..ClientSettings::default()
    };
    let mut dialogue = Dialogue::new(settings);
    dialogue.greet(GREETING_PIPELINING);
    assert_eq!(dialogue.begin("s@x", &["a@b"]), "MAIL FROM:<s@x>\r\n");
    let mut dialogue = Dialogue::new(ClientSettings { pipelining: false, ..ClientSettings::default() });
    dialogue.greet(GREETING_PIPELINING);
    assert_eq!(dialogue.begin("s@x", &["a@b"]), "MAIL FROM:<s@x> SIZE=4096\r\n");
}

#[test]
fn lmtp_has_one_reply_for_each_accepted_recipient() {
    let settings = ClientSettings { protocol: Protocol::Lmtp, ..ClientSettings::default() };
    let mut dialogue = Dialogue::new(settings);
    dialogue.server("220 lmtp\r\n");
    assert_eq!(dialogue.sent(), "LHLO localhost\r\n");
    dialogue.server("250-lmtp\r\n250 PIPELINING\r\n");
    dialogue.begin("s@x", &["a@b", "c@d", "e@f"]);
    dialogue.server("250 ok\r\n250 ok\r\n550 5.1.1 no\r\n250 ok\r\n354 go\r\n");
    dialogue.session.content_sent();
    assert_eq!(dialogue.server("250 2.1.5 a saved\r\n"), Event::NeedInput);
    assert_eq!(dialogue.server("452 4.2.2 e full\r\n"), Event::Finished);
    assert_eq!(dialogue.kinds(), [ResultKind::Sent, ResultKind::Bounced, ResultKind::Deferred]);
    assert!(dialogue.text(2).ends_with("452 4.2.2 e full (in reply to end of DATA command)"));
}

#[test]
fn quit_may_follow_the_dot() {
    let mut dialogue = Dialogue::ready(GREETING_PIPELINING);
    dialogue.begin("s@x", &["a@b"]);
    dialogue.server("250 ok\r\n250 ok\r\n354 go\r\n");
    dialogue.session.content_sent();
    assert!(dialogue.quit());
    assert_eq!(dialogue.sent(), "QUIT\r\n");
    assert_eq!(dialogue.server("250 ok\r\n"), Event::Finished);
    assert_eq!(dialogue.server("221 bye\r\n"), Event::Closed);

    let mut dialogue = Dialogue::ready(GREETING_PLAIN);
    assert!(dialogue.quit());
    assert_eq!(dialogue.session.lost(), Event::Closed, "hanging up is an answer to QUIT");
}

#[test]
fn a_connection_that_has_rested_is_reset_in_one_flight_with_its_next_mail() {
    let mut dialogue = Dialogue::ready(GREETING_PIPELINING);
    dialogue.session.has_rested();
    let sent = dialogue.begin("s@x", &["a@b"]);
    assert!(sent.starts_with("RSET\r\nMAIL FROM:<s@x>") && sent.ends_with("DATA\r\n"), "{sent}");
    assert_eq!(dialogue.session.timeout_seconds(), 20);
    assert_eq!(dialogue.server("250 ok\r\n"), Event::NeedInput);
    assert_eq!(dialogue.session.timeout_seconds(), 300);
    assert_eq!(dialogue.server("250 ok\r\n250 ok\r\n354 go\r\n"), Event::SendContent);
    dialogue.session.content_sent();
    assert_eq!(dialogue.server("250 2.0.0 queued\r\n"), Event::Finished);
    assert!(dialogue.begin("s@x", &["a@b"]).starts_with("MAIL FROM"), "it has only rested once");
}

#[test]
fn without_pipelining_a_rested_connection_is_reset_first() {
    let mut dialogue = Dialogue::ready(GREETING_PLAIN);
    dialogue.session.has_rested();
    assert_eq!(dialogue.begin("s@x", &["a@b"]), "RSET\r\n");
    dialogue.server("250 ok\r\n");
    assert_eq!(dialogue.sent(), "MAIL FROM:<s@x>\r\n");
}

#[test]
fn a_rested_connection_that_fails_before_the_mail_is_answered_leaves_the_mail_to_a_fresh_one() {
    let failures: [(&str, &str); 4] = [
        ("RSET is refused", "502 5.5.1 no\r\n"),
        ("it has waited too long", "421 4.4.2 idle\r\n"),
        ("it has carried enough", "250 ok\r\n421 4.7.0 too many messages\r\n"),
        ("it talks nonsense", "354 what\r\n"),
    ];
    for (why, replies) in failures {
        let mut dialogue = Dialogue::ready(GREETING_PIPELINING);
        dialogue.session.has_rested();
        dialogue.begin("s@x", &["a@b"]);
        assert_eq!(dialogue.server(replies), Event::Broken, "{why}");
        assert!(dialogue.session.is_unanswered(), "{why}");
    }
    let mut dialogue = Dialogue::ready(GREETING_PIPELINING);
    dialogue.session.has_rested();
    dialogue.begin("s@x", &["a@b"]);
    dialogue.session.timed_out();
    assert!(dialogue.session.is_unanswered());
    // An answer to the mail itself counts.
    let mut dialogue = Dialogue::ready(GREETING_PIPELINING);
    dialogue.session.has_rested();
    dialogue.begin("s@x", &["a@b"]);
    dialogue.server("250 ok\r\n250 ok\r\n");
    dialogue.session.lost();
    assert!(!dialogue.session.is_unanswered());
}

#[test]
fn a_server_is_called_as_the_destination_at_hand_calls_it() {
    let mut dialogue = Dialogue::ready(GREETING_PIPELINING);
    dialogue.session.rename_peer("other.example.org");
    dialogue.begin("s@x", &["a@b"]);
    dialogue.server("550 no\r\n503 no\r\n503 no\r\n");
    assert!(dialogue.text(0).starts_with("host other.example.org[192.0.2.1] said"), "{}", dialogue.text(0));
}

#[test]
fn a_carried_session_goes_on_with_what_it_had_learned() {
    let mut dialogue = Dialogue::ready(GREETING_PIPELINING);
    dialogue.begin("s@example.com", &["a@example.org"]);
    assert_eq!(dialogue.server("250 ok\r\n550 no\r\n554 no recipients\r\n"), Event::Finished);
    let carried = dialogue.session.carry().expect("it is between mails");
    let session = Session::resume(Rc::new(ClientSettings::default()), carried);
    assert_eq!(session.peer().with_port(), peer().with_port());
    let mut dialogue = Dialogue::new(ClientSettings::default());
    dialogue.session = session;
    // The transaction that had no recipient is still open; the server's offers are known without another EHLO.
    let sent = dialogue.begin("t@example.com", &["c@example.org"]);
    assert!(sent.starts_with("RSET\r\nMAIL FROM:<t@example.com> SIZE=4096\r\nRCPT TO"), "{sent}");
    assert_eq!(dialogue.session.mails_begun(), 2);
}

#[test]
fn a_session_within_a_mail_or_a_reply_cannot_be_carried() {
    let mut dialogue = Dialogue::ready(GREETING_PIPELINING);
    dialogue.begin("s@example.com", &["a@example.org"]);
    assert!(dialogue.session.carry().is_none());
    assert!(Dialogue::new(ClientSettings::default()).session.carry().is_none(), "not greeted yet");
}

#[test]
fn orcpt_survives_the_envelope() {
    let recipient = ringpost_core::smtp::MailRecipient::from(ringpost_core::envelope::Recipient {
        address: "a@b",
        orcpt: "rfc822;a@b",
        ..Default::default()
    });
    assert_eq!((recipient.address, recipient.orcpt), (rcpt("a@b").address, "rfc822;a@b"));
}

#[test]
fn xforward_tells_what_the_server_wants_to_know() {
    use ringpost_core::envelope::Origin;
    let settings = || ClientSettings { forwards: true, ..ClientSettings::default() };
    let origin =
        Origin { name: "far.example", address: "2001:db8::1", port: 4711, helo: "a=b", protocol: "SMTP" };
    let request = MailRequest { sender: "s@x", origin, ident: "4ABC", ..MailRequest::default() };
    let greeting =
        "220 x\r\n|250-x\r\n250-PIPELINING\r\n250 XFORWARD name ADDR PORT PROTO HELO IDENT SOURCE\r\n";
    let mut dialogue = Dialogue::new(settings());
    dialogue.greet(greeting);
    let mail = "MAIL FROM:<s@x>\r\nRCPT TO:<a@b>\r\nDATA\r\n";
    let told = "XFORWARD NAME=far.example ADDR=IPV6:2001:db8::1 PORT=4711\r\n\
                XFORWARD PROTO=SMTP HELO=a+3Db IDENT=4ABC SOURCE=REMOTE\r\n";
    assert_eq!(dialogue.begin_with(&request, &[rcpt("a@b")]), format!("{told}{mail}"));
    // A server that does not like it gets the mail all the same.
    dialogue.server("250 ok\r\n550 no\r\n250 ok\r\n250 ok\r\n354 go\r\n");
    assert_eq!(dialogue.last, Event::SendContent);
    assert_eq!(
        dialogue.session.take_warning().as_deref(),
        Some("host mx.example.org[192.0.2.1] said: 550 no (in reply to XFORWARD command)")
    );
    // What is not known is not told, nor what nobody asked for.
    let nameless = MailRequest { origin: Origin { name: "unknown", ..origin }, ..request };
    let mut dialogue = Dialogue::new(settings());
    dialogue.greet("220 x\r\n|250-x\r\n250-PIPELINING\r\n250 XFORWARD NAME HELO\r\n");
    let sent = dialogue.begin_with(&nameless, &[rcpt("a@b")]);
    assert_eq!(sent, format!("XFORWARD HELO=a+3Db\r\n{mail}"));
    let mut dialogue = Dialogue::ready(greeting);
    assert_eq!(dialogue.begin_with(&request, &[rcpt("a@b")]), mail);
}

#[test]
fn a_probe_ends_with_its_recipients() {
    let request = MailRequest { sender: "s@x", is_probe: true, ..MailRequest::default() };
    let mut dialogue = Dialogue::ready(GREETING_PIPELINING);
    let sent = dialogue.begin_with(&request, &[rcpt("a@b"), rcpt("c@b")]);
    assert_eq!(sent, "MAIL FROM:<s@x>\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@b>\r\n");
    dialogue.server("250 ok\r\n250 2.1.5 fine\r\n550 5.1.1 nobody\r\n");
    assert_eq!(dialogue.last, Event::Finished);
    let results: Vec<_> = dialogue.session.results().map(|result| (result.kind, result.text)).collect();
    let refused = "host mx.example.org[192.0.2.1] said: 550 5.1.1 nobody (in reply to RCPT TO command)";
    assert_eq!(results, [(ResultKind::Sent, "250 2.1.5 fine"), (ResultKind::Bounced, refused)]);
    // The server still has the transaction that the probe began.
    let sent = dialogue.begin("t@x", &["e@f"]);
    assert!(sent.starts_with("RSET\r\nMAIL FROM:<t@x>"), "{sent}");
}
