//! What the postmaster hears of sessions that had errors (`notify_classes`): a transcript, without secrets, once, and
//! not too often.

use std::sync::Arc;

use ringpost_tests::client::message_content;
use ringpost_tests::maillog::LogLine;
use ringpost_tests::notice::faults;
use ringpost_tests::peers::program;
use ringpost_tests::sink::{Answer, Message, Stage};
use ringpost_tests::{Engine, EngineSetup, Sink};

const POSTMASTER: &str = "duty@sink.test";

fn reporting(name: &str, classes: &str) -> EngineSetup {
    EngineSetup::new(name)
        .parameter("notify_classes", classes)
        .parameter("error_notice_recipient", POSTMASTER)
        .parameter("smtpd_error_sleep_time", "0")
}

/// The reports that the sink has taken so far.
fn reports(sink: &Sink) -> Vec<Arc<Message>> {
    let is_report = |message: &Arc<Message>| message.recipients == [POSTMASTER];
    let reports: Vec<_> = sink.messages().into_iter().filter(is_report).collect();
    for report in &reports {
        assert_eq!(report.sender, "double-bounce@relay.test");
        if let Ok(python) = program("python3") {
            let text = String::from_utf8_lossy(&report.content);
            assert_eq!(faults(&python, &report.content, &["--plain"]), "", "{text}");
        }
    }
    reports
}

fn body(message: &Message) -> String {
    String::from_utf8_lossy(message.body()).replace("\r\n", "\n")
}

fn from_double_bounce(line: &LogLine) -> bool {
    line.text.starts_with("from=<double-bounce@relay.test>")
}

fn delivered(engine: &Engine, count: usize) {
    engine.wait_for_log_count("delivered", count, |line| line.text.contains("status=sent"));
}

#[test]
fn a_clients_errors_are_reported_without_its_secrets() {
    let setup = reporting("client-errors", "protocol");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut client = engine.client();
    client.expect("AUTH PLAIN AGpvZQBzZWNyZXQ=", "503 5.5.1");
    client.expect("c2VjcmV0", "500 5.5.2");
    client.message("author@client.test", &["reader@sink.test"], &message_content("in-between", 800));
    client.expect("RCPT TO:<x@sink.test>", "503 5.5.1");
    let peer = client.stream().local_addr().expect("a connected socket has an address").ip();
    client.quit();
    delivered(&engine, 2);
    engine.stop();
    let told = reports(&sink);
    assert_eq!(told.len(), 1);
    assert_eq!(
        told[0].header("Subject"),
        Some(format!("Ringpost SMTP server: errors from localhost[{peer}]"))
    );
    assert_eq!(told[0].header("To").as_deref(), Some("Postmaster <duty@sink.test>"));
    let text = body(&told[0]);
    let (first, rest) = text.split_once(" In:  AUTH").expect("what was said");
    assert!(first.starts_with("Transcript of session follows.\n\n Out: 220 relay.test ESMTP"), "{text}");
    assert!(first.contains("\n In:  EHLO ") && first.ends_with(" Out: 250 CHUNKING\n"), "{text}");
    let (queued, rest) = rest.split_once("queued as ").expect("a message was accepted");
    assert_eq!(
        queued,
        " PLAIN\n Out: 503 5.5.1 Error: authentication not enabled\n In:  (hidden: it may hold a password)\n \
         Out: 500 5.5.2 Error: command not recognized\n In:  MAIL FROM:<author@client.test>\n Out: 250 2.1.0 Ok\n \
         In:  RCPT TO:<reader@sink.test>\n Out: 250 2.1.5 Ok\n In:  DATA\n Out: 354 End data with \
         <CR><LF>.<CR><LF>\n Out: 250 2.0.0 Ok: "
    );
    let (_, rest) = rest.split_once('\n').expect("a line ends");
    assert_eq!(
        rest,
        " In:  RCPT TO:<x@sink.test>\n Out: 503 5.5.1 Error: need MAIL command\n In:  QUIT\n Out: 221 2.0.0 \
         Bye\n\n\nFor other details, see the local mail logfile\n"
    );
}

#[test]
fn each_class_is_reported_when_it_is_asked_for() {
    let refused = "RCPT TO:<x@elsewhere.test> NOTIFY=MAYBE";
    let cases = [
        ("policy", "protocol", "ETRN nobody.test", "459"),
        ("protocol", "policy", refused, "503"),
        (
            "resource",
            "policy, protocol, data, software",
            "MAIL FROM:<a@b.test> SIZE=9000000000000000",
            "452 4.3.1",
        ),
    ];
    for (class, others, command, reply) in cases {
        for (classes, wanted) in [(class, 1), (others, 0)] {
            let setup = reporting("classes", classes).parameter("message_size_limit", "0");
            let sink = Sink::willing(setup.sink_address());
            let engine = setup.start();
            let mut client = engine.client();
            client.expect(command, reply);
            client.quit();
            if wanted > 0 {
                delivered(&engine, wanted);
            }
            engine.stop();
            assert_eq!(reports(&sink).len(), wanted, "{command} with notify_classes = {classes}");
        }
    }
}

#[test]
fn the_usual_classes_report_what_has_run_out_and_nothing_else() {
    let setup = EngineSetup::new("usual-classes")
        .parameter("error_notice_recipient", POSTMASTER)
        .parameter("message_size_limit", "0");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut client = engine.client();
    client.expect("FROB", "500 5.5.2");
    client.expect("ETRN nobody.test", "459");
    client.quit();
    let mut client = engine.client();
    client.expect("MAIL FROM:<a@b.test> SIZE=9000000000000000", "452 4.3.1");
    client.quit();
    delivered(&engine, 1);
    engine.stop();
    let told = reports(&sink);
    assert_eq!(told.len(), 1);
    assert!(body(&told[0]).contains(" Out: 452 4.3.1 Insufficient system storage\n"), "{}", body(&told[0]));
}

#[test]
fn a_session_that_ends_before_its_time_says_why() {
    let setup = reporting("aborted", "protocol");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut client = engine.client();
    client.expect("FROB", "500 5.5.2");
    drop(client);
    delivered(&engine, 1);
    engine.stop();
    let text = body(&reports(&sink)[0]);
    assert!(
        text.ends_with(
            "\n\nSession aborted, reason: lost connection\n\nFor other details, see the local mail logfile\n"
        ),
        "{text}"
    );
}

#[test]
fn a_long_session_is_reported_in_pieces() {
    let setup = reporting("pieces", "protocol").parameter("smtpd_history_flush_threshold", "40");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut client = engine.client();
    client.expect("FROB", "500 5.5.2");
    for number in 0..20 {
        client.message("a@client.test", &["b@sink.test"], &message_content(&format!("p-{number}"), 800));
    }
    delivered(&engine, 21);
    let early = reports(&sink);
    assert_eq!(early.len(), 1, "while the session goes on");
    client.expect("FROB", "500 5.5.2");
    client.quit();
    delivered(&engine, 22);
    engine.stop();
    let told = reports(&sink);
    assert_eq!(told.len(), 2);
    for report in told {
        let lines = body(&report)
            .lines()
            .filter(|line| line.starts_with(" In:") || line.starts_with(" Out:"))
            .count();
        assert!(lines < 55, "{lines}");
    }
}

#[test]
fn refused_mail_goes_to_the_recipient_of_bounces() {
    let setup = reporting("bounce-class", "bounce")
        .parameter("error_notice_recipient", "nobody@sink.test")
        .parameter("bounce_notice_recipient", POSTMASTER)
        .parameter("message_size_limit", "2000")
        .parameter("mailbox_size_limit", "2000");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut client = engine.client();
    let reply = client.try_message("a@client.test", &["b@sink.test"], &message_content("large", 4000));
    assert!(reply.expect("a reply").is("552 5.3.4"));
    client.quit();
    delivered(&engine, 1);
    engine.stop();
    assert_eq!(reports(&sink).len(), 1);
}

#[test]
fn a_servers_errors_are_reported_and_a_report_about_them_is_not() {
    let setup = reporting("server-errors", "protocol, bounce")
        .parameter("bounce_notice_recipient", "bounces@sink.test")
        .parameter("2bounce_notice_recipient", "bounces@sink.test");
    let sink = Sink::scripted(setup.sink_address(), |stage| match stage {
        Stage::Rcpt("odd@sink.test" | "author@client.test" | "bounces@sink.test") => {
            Answer::say("503 5.5.1 bad sequence of commands")
        }
        _ => Answer::Usual,
    });
    let engine = setup.start();
    let mut client = engine.client();
    let both = ["odd@sink.test", "fine@sink.test"];
    client.message("author@client.test", &both, &message_content("odd", 800));
    client.quit();
    // The message, its notice, the copy of that, the bounce that bounced, and one report.
    delivered(&engine, 2);
    engine.wait_for_log_count("discarded", 2, |line| line.text.contains("notification discarded"));
    engine.wait_for_log_count("removed", 5, |line| line.text == "removed");
    assert_eq!(engine.log().iter().filter(|line| from_double_bounce(line)).count(), 3);
    let peer = setup.sink_address();
    engine.stop();
    let told = reports(&sink);
    assert_eq!(told.len(), 1, "neither the notice nor what goes to the postmaster is reported");
    let name = format!("[{}]:{}", peer.ip(), peer.port());
    let subject = told[0].header("Subject").expect("a subject");
    assert!(
        subject.starts_with("Ringpost SMTP client: errors from ") && subject.ends_with(&name),
        "{subject}"
    );
    let text = body(&told[0]);
    assert!(text.starts_with("Unexpected response from "), "{text}");
    assert!(text.contains("\n Out: RCPT TO:<odd@sink.test>\n"), "{text}");
    assert!(text.contains("\n In:  503 5.5.1 bad sequence of commands\n"), "{text}");
    assert!(text.contains("\n Out: .\n In:  250 ") && !text.contains("quick brown fox"), "{text}");
}

#[test]
fn a_server_that_does_not_speak_smtp_is_shown() {
    let setup = reporting("no-smtp", "protocol");
    let other = Sink::scripted(setup.sink_address(), |stage| match stage {
        Stage::Connect => Answer::say("SSH-2.0-OpenSSH"),
        _ => Answer::Usual,
    });
    let engine = setup.start();
    let mut client = engine.client();
    client.message("author@client.test", &["x@sink.test"], &message_content("no-smtp", 800));
    client.quit();
    let line = engine.wait_for_log("the report", from_double_bounce);
    let id = line.queue_id.expect("a queue line has a queue id");
    engine.wait_for_log("its deferral", |line| {
        line.queue_id.as_deref() == Some(&id) && line.text.contains("status=")
    });
    let count = engine.log().iter().filter(|line| from_double_bounce(line)).count();
    engine.stop();
    drop(other);
    assert_eq!(count, 1, "the report meets the same server and is not reported");
}

#[test]
fn mail_that_is_a_report_starts_no_other() {
    let setup = reporting("no-circle", "protocol, policy");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut client = engine.client();
    client.expect("MAIL FROM:<double-bounce@relay.test>", "250 2.1.0");
    client.expect("RCPT TO:<x@sink.test> NOTIFY=MAYBE", "501 5.5.4");
    client.quit();
    client = engine.client();
    client.message("a@client.test", &["b@sink.test"], &message_content("other", 800));
    client.quit();
    delivered(&engine, 1);
    engine.stop();
    assert_eq!(reports(&sink).len(), 0);
}

#[test]
fn a_flood_of_errors_is_a_bounded_number_of_reports() {
    let setup = reporting("flood", "protocol").parameter("ringpost_shards", "1");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    for _ in 0..70 {
        let mut client = engine.client();
        client.expect("FROB", "500 5.5.2");
        client.quit();
    }
    let warned =
        engine.wait_for_log("the limit", |line| line.text.contains("postmaster notify: 50 transcripts"));
    assert!(warned.text.starts_with("warning: "), "{warned:?}");
    delivered(&engine, 50);
    engine.stop();
    let count = reports(&sink).len();
    assert!((50..60).contains(&count), "{count}");
}
