//! Everything a server can do wrong, at every stage: each recipient still gets exactly one result.

mod smtp_support;

use proptest::prelude::*;
use ringpost_core::smtp::{ClientSettings, Event, MailRequest, Protocol, ResultKind, Session};
use smtp_support::{Dialogue, GREETING_PIPELINING, GREETING_PLAIN, peer, rcpt};

const HOST: &str = "mx.example.org[192.0.2.1]";

/// Where a dialogue is stopped: what the server has said so far, and Postfix's name of the stage.
struct Stage {
    replies: &'static [&'static str],
    name: &'static str,
    timeout_seconds: u32,
}

/// The stages of a mail to two recipients behind the greeting.
const STAGES: [Stage; 5] = [
    Stage { replies: &[], name: "sending MAIL FROM", timeout_seconds: 300 },
    Stage { replies: &["250 ok\r\n"], name: "sending RCPT TO", timeout_seconds: 300 },
    Stage {
        replies: &["250 ok\r\n", "250 ok\r\n", "250 ok\r\n"],
        name: "sending DATA command",
        timeout_seconds: 120,
    },
    Stage {
        replies: &["250 ok\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"],
        name: "sending message body",
        timeout_seconds: 180,
    },
    Stage {
        replies: &["250 ok\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "sent"],
        name: "sending end of data -- message may be sent more than once",
        timeout_seconds: 600,
    },
];

fn at(greeting: &str, stage: &Stage) -> Dialogue {
    let mut dialogue = Dialogue::ready(greeting);
    dialogue.begin("s@example.com", &["a@example.org", "b@example.org"]);
    for reply in stage.replies {
        match *reply {
            "sent" => dialogue.session.content_sent(),
            reply => drop(dialogue.server(reply)),
        }
    }
    dialogue
}

/// Both recipients share this result.
fn assert_all(dialogue: &Dialogue, kind: ResultKind, status: &str, text: &str, trouble: bool) {
    let results: Vec<_> = dialogue.session.results().collect();
    assert_eq!(results.len(), 2);
    for result in results {
        assert_eq!(result.kind, kind, "{text}");
        assert_eq!(result.status.to_string(), status, "{text}");
        assert_eq!(result.text, text);
        assert_eq!(result.trouble, trouble, "{text}");
    }
    assert_eq!(dialogue.session.failure().map(|failure| failure.text.as_str()), Some(text));
}

#[test]
fn a_connection_lost_at_any_stage_defers_everyone() {
    for greeting in [GREETING_PIPELINING, GREETING_PLAIN] {
        for stage in &STAGES {
            let mut dialogue = at(greeting, stage);
            assert_eq!(dialogue.session.timeout_seconds(), stage.timeout_seconds, "{}", stage.name);
            assert_eq!(dialogue.session.lost(), Event::Broken);
            let text = format!("lost connection with {HOST} while {}", stage.name);
            assert_all(&dialogue, ResultKind::Deferred, "4.4.2", &text, true);
        }
    }
}

#[test]
fn a_timeout_at_any_stage_defers_everyone() {
    for stage in &STAGES {
        let mut dialogue = at(GREETING_PIPELINING, stage);
        assert_eq!(dialogue.session.timed_out(), Event::Broken);
        let text = format!("conversation with {HOST} timed out while {}", stage.name);
        assert_all(&dialogue, ResultKind::Deferred, "4.4.2", &text, true);
    }
}

#[test]
fn trouble_in_the_handshake_names_its_stage() {
    let mut dialogue = Dialogue::new(ClientSettings::default());
    dialogue.session.lost();
    let text = format!("lost connection with {HOST} while receiving the initial server greeting");
    assert_eq!(dialogue.session.failure().map(|failure| failure.text.as_str()), Some(text.as_str()));

    let mut dialogue = Dialogue::new(ClientSettings::default());
    dialogue.server("220 hi\r\n");
    dialogue.session.timed_out();
    let text = format!("conversation with {HOST} timed out while performing the EHLO handshake");
    let failure = dialogue.session.failure().expect("a reason");
    assert_eq!((failure.text.as_str(), failure.trouble), (text.as_str(), true));
}

#[test]
fn a_server_that_shuts_down_at_any_stage_is_quoted_and_left() {
    let requests = [
        "MAIL FROM command",
        "RCPT TO command",
        "DATA command",
        "end of DATA command",
        "end of DATA command",
    ];
    for (stage, request) in STAGES.iter().zip(requests) {
        let mut dialogue = at(GREETING_PIPELINING, stage);
        assert_eq!(dialogue.server("421 4.3.2 shutting down\r\n"), Event::Broken);
        let text = format!("host {HOST} said: 421 4.3.2 shutting down (in reply to {request})");
        assert_all(&dialogue, ResultKind::Deferred, "4.3.2", &text, false);
    }
}

#[test]
fn garbage_at_any_stage_is_a_protocol_error() {
    for stage in &STAGES {
        for garbage in ["hello there\r\n", "\r\n", "25\r\n", "999 x\r\n"] {
            let mut dialogue = at(GREETING_PIPELINING, stage);
            assert_eq!(dialogue.server(garbage), Event::Broken);
            let text = format!("remote protocol error in reply from {HOST} while {}", stage.name);
            assert_all(&dialogue, ResultKind::Deferred, "4.5.0", &text, true);
        }
    }
}

#[test]
fn a_reply_that_cannot_answer_the_command_is_never_taken_for_success() {
    for (stage, reply, request) in [
        (&STAGES[0], "354 go", "MAIL FROM command"),
        (&STAGES[1], "354 go", "RCPT TO command"),
        (&STAGES[2], "250 fine", "DATA command"),
        (&STAGES[4], "354 more", "end of DATA command"),
    ] {
        let mut dialogue = at(GREETING_PIPELINING, stage);
        assert_eq!(dialogue.server(&format!("{reply}\r\n")), Event::Broken);
        let text = format!("Protocol error: host {HOST} said: {reply} (in reply to {request})");
        assert_all(&dialogue, ResultKind::Deferred, "4.5.0", &text, false);
    }
}

#[test]
fn success_that_comes_before_the_content_is_not_believed() {
    let mut dialogue = at(GREETING_PIPELINING, &STAGES[3]);
    assert_eq!(dialogue.server("250 2.0.0 queued\r\n"), Event::Broken);
    assert_eq!(dialogue.kinds(), [ResultKind::Deferred; 2]);

    // Also when only its beginning came early.
    let mut dialogue = at(GREETING_PIPELINING, &STAGES[3]);
    assert_eq!(dialogue.server("250 2.0."), Event::NeedInput);
    dialogue.session.content_sent();
    assert_eq!(dialogue.server("0 queued\r\n"), Event::Broken);
    assert_eq!(dialogue.kinds(), [ResultKind::Deferred; 2]);
}

#[test]
fn a_refusal_during_the_content_is_the_result() {
    let mut dialogue = at(GREETING_PIPELINING, &STAGES[3]);
    assert_eq!(dialogue.server("552 5.3.4 too big\r\n"), Event::Broken);
    let text = format!("host {HOST} said: 552 5.3.4 too big (in reply to end of DATA command)");
    assert_all(&dialogue, ResultKind::Bounced, "5.3.4", &text, false);
}

#[test]
fn replies_that_nobody_asked_for_end_the_connection_and_not_the_next_mail() {
    // Between mails.
    let mut dialogue = Dialogue::ready(GREETING_PIPELINING);
    assert_eq!(dialogue.server("250 ok\r\n"), Event::Broken);
    // Behind the last reply of a mail: its results stand, the connection does not.
    for surplus in ["250 ok\r\n", "25", "421 too long\r\n"] {
        let mut dialogue = at(GREETING_PIPELINING, &STAGES[4]);
        assert_eq!(dialogue.server(&format!("250 2.0.0 queued\r\n{surplus}")), Event::Broken, "{surplus}");
        assert_eq!(dialogue.kinds(), [ResultKind::Sent; 2]);
    }
    // Answers that were there before the commands.
    let mut dialogue = Dialogue::new(ClientSettings::default());
    assert_eq!(
        dialogue.server("220 hi\r\n250 hi\r\n250 ok\r\n250 ok\r\n354 go\r\n250 done\r\n"),
        Event::Broken
    );
    assert_eq!(dialogue.session.mails_begun(), 0);
}

#[test]
fn a_kept_connection_that_died_says_that_nothing_was_answered() {
    let mut dialogue = at(GREETING_PIPELINING, &STAGES[4]);
    dialogue.server("250 ok\r\n");
    dialogue.begin("s@example.com", &["a@example.org"]);
    dialogue.session.lost();
    assert!(dialogue.session.is_unanswered());
    let mut dialogue = at(GREETING_PIPELINING, &STAGES[1]);
    dialogue.session.lost();
    assert!(!dialogue.session.is_unanswered());
}

#[test]
fn a_refused_reset_never_bounces_the_mail_behind_it() {
    let mut dialogue = Dialogue::ready(GREETING_PIPELINING);
    dialogue.begin("s@x", &["a@b"]);
    dialogue.server("550 5.7.1 no\r\n503 no\r\n503 no\r\n");
    assert!(dialogue.begin("t@x", &["a@b", "c@d"]).starts_with("RSET\r\n"));
    assert_eq!(dialogue.server("502 5.5.1 unknown command\r\n"), Event::Broken);
    let text = format!("host {HOST} said: 502 5.5.1 unknown command (in reply to RSET command)");
    assert_all(&dialogue, ResultKind::Deferred, "4.5.0", &text, false);
}

#[test]
fn lmtp_recipients_that_have_their_reply_keep_it() {
    let settings = ClientSettings { protocol: Protocol::Lmtp, ..ClientSettings::default() };
    let mut dialogue = Dialogue::new(settings);
    dialogue.greet("220 x\r\n|250-x\r\n250 PIPELINING\r\n");
    dialogue.begin("s@x", &["a@b", "c@d"]);
    dialogue.server("250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n");
    dialogue.session.content_sent();
    dialogue.server("250 2.0.0 saved\r\n");
    dialogue.session.lost();
    assert_eq!(dialogue.kinds(), [ResultKind::Sent, ResultKind::Deferred]);
}

#[test]
fn a_flood_is_cut_off_and_its_text_is_kept_short() {
    let mut dialogue = at(GREETING_PIPELINING, &STAGES[0]);
    let mut event = Event::NeedInput;
    let mut fed = 0;
    while event == Event::NeedInput {
        event = dialogue.server(&"2".repeat(1_000));
        fed += 1_000;
    }
    assert_eq!(event, Event::Broken);
    assert!(fed <= 3_000, "{fed} bytes before the limit");

    let mut dialogue = at(GREETING_PIPELINING, &STAGES[0]);
    let reply = format!("{}550 end\r\n", format!("550-{}\r\n", "é".repeat(900)).repeat(90));
    dialogue.server(&reply);
    dialogue.server("503 no\r\n503 no\r\n503 no\r\n");
    assert!(dialogue.text(0).len() < 1_200);
}

/// Runs one mail against a server that says `replies`, in pieces that end where `cuts` say.
fn converse(settings: &ClientSettings, replies: &[u8], cuts: &[usize], recipients: usize) -> Vec<String> {
    let mut session = Session::new(std::rc::Rc::new(settings.clone()), peer());
    let mut out = Vec::new();
    let mut begun = false;
    let mut from = 0;
    let addresses: Vec<String> = (0..recipients).map(|number| format!("r{number}@example.org")).collect();
    let mut over = false;
    for to in cuts.iter().copied().chain([replies.len()]) {
        if to <= from || over {
            continue;
        }
        let mut event = session.input(&replies[from..to], &mut out);
        from = to;
        if event == Event::Ready && !begun {
            begun = true;
            let mail = MailRequest { sender: "s@example.com", size: 10, ..MailRequest::default() };
            event = session.begin(&mail, addresses.iter().map(|address| rcpt(address)), &mut out);
        }
        match event {
            Event::SendContent => session.content_sent(),
            Event::Finished | Event::Broken | Event::Closed => over = true,
            Event::NeedInput | Event::Ready | Event::StartTls => {}
        }
    }
    if !over {
        session.lost();
    }
    if begun {
        assert_eq!(session.results().count(), recipients, "one result for each recipient");
    } else {
        assert!(session.failure().is_some(), "a reason for having no session");
    }
    assert!(out.len() < 100_000);
    session.results().map(|result| format!("{:?} {} {}", result.kind, result.status, result.text)).collect()
}

/// Bytes of a server that mostly knows SMTP.
fn any_reply() -> impl Strategy<Value = Vec<u8>> {
    let code = prop_oneof![
        8 => Just("250 ok\r\n".as_bytes().to_vec()),
        3 => Just("354 go\r\n".as_bytes().to_vec()),
        2 => Just("220 hi\r\n".as_bytes().to_vec()),
        2 => Just("250-x\r\n250-PIPELINING\r\n250 SIZE 100\r\n".as_bytes().to_vec()),
        2 => Just("550 5.1.1 no\r\n".as_bytes().to_vec()),
        2 => Just("451-4.3.0 not\r\n451 4.3.0 now\r\n".as_bytes().to_vec()),
        1 => Just("421 bye\r\n".as_bytes().to_vec()),
        1 => Just("221 bye\n".as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ];
    code.boxed()
}

/// A whole dialogue, turn by turn, so that no reply can come before its command.
const WHOLE: [&str; 4] = [
    "220-mx.example.org ESMTP\r\n220 welcome\r\n",
    "250-mx.example.org\r\n250-PIPELINING\r\n250 SIZE 1000\r\n",
    "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n550-5.1.1 no\r\n550 5.1.1 body\r\n450 4.2.1 later\r\n354 go\r\n",
    "250 2.0.0 Ok: queued as 4SVLCh0sf8z7Qhl\r\n",
];

#[test]
fn split_at_every_byte_the_dialogue_is_the_same() {
    let replies = WHOLE.concat().into_bytes();
    // Pieces never reach beyond what was asked for; within that, every cut is tried.
    let turns: Vec<usize> = WHOLE
        .iter()
        .scan(0, |end, turn| {
            *end += turn.len();
            Some(*end)
        })
        .collect();
    let expected = converse(&ClientSettings::default(), &replies, &turns, 3);
    assert_eq!(expected.len(), 3);
    assert!(expected[0].starts_with("Sent 2.0.0 250 2.0.0 Ok: queued as"));
    assert!(
        expected[1].starts_with("Bounced 5.1.1 host mx.example.org[192.0.2.1] said: 550-5.1.1 no 550 5.1.1")
    );
    assert!(expected[2].starts_with("Deferred 4.2.1"));
    for at in 1..replies.len() {
        let mut cuts = turns.clone();
        cuts.push(at);
        cuts.sort_unstable();
        assert_eq!(converse(&ClientSettings::default(), &replies, &cuts, 3), expected, "cut at {at}");
    }
    let every: Vec<usize> = (1..=replies.len()).collect();
    assert_eq!(converse(&ClientSettings::default(), &replies, &every, 3), expected);
}

proptest! {
    #[test]
    fn whatever_the_server_sends_each_recipient_gets_one_result(
        replies in prop::collection::vec(any_reply(), 0..20),
        lmtp in any::<bool>(),
        pipelining in any::<bool>(),
        recipients in 1usize..8,
        shift in 0usize..9,
    ) {
        let settings = ClientSettings {
            protocol: if lmtp { Protocol::Lmtp } else { Protocol::Smtp },
            pipelining,
            ..ClientSettings::default()
        };
        let ends: Vec<usize> = replies
            .iter()
            .scan(0, |end, reply| {
                *end += reply.len();
                Some(*end + shift / 6)
            })
            .collect();
        let bytes = replies.concat();
        let cuts: Vec<usize> = ends.into_iter().map(|end| end.min(bytes.len())).collect();
        converse(&settings, &bytes, &cuts, recipients);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), step in 1usize..50) {
        let cuts: Vec<usize> = (0..bytes.len()).step_by(step).collect();
        converse(&ClientSettings::default(), &bytes, &cuts, 2);
    }

    /// Only `Sent` after a positive reply that came after the content.
    #[test]
    fn nothing_is_sent_without_a_final_reply(
        replies in prop::collection::vec(any_reply(), 0..12),
        recipients in 1usize..4,
    ) {
        let mut dialogue = Dialogue::ready(GREETING_PIPELINING);
        let addresses: Vec<String> = (0..recipients).map(|number| format!("r{number}@x")).collect();
        dialogue.begin("s@x", &addresses.iter().map(String::as_str).collect::<Vec<_>>());
        let mut content_sent = false;
        for reply in replies {
            let mut out = Vec::new();
            match dialogue.session.input(&reply, &mut out) {
                Event::SendContent => {
                    dialogue.session.content_sent();
                    content_sent = true;
                }
                Event::NeedInput => {}
                _ => break,
            }
        }
        dialogue.session.lost();
        let any_sent = dialogue.session.results().any(|result| result.kind == ResultKind::Sent);
        prop_assert!(content_sent || !any_sent);
    }
}
