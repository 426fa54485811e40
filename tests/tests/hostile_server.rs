//! Servers that misbehave: each recipient still gets one true result, nothing is lost, and others are not hindered.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddrV4, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use ringpost_tests::address::{SINK_PORT, unique_loopback};
use ringpost_tests::client::message_content;
use ringpost_tests::dns::{DnsServer, Zone};
use ringpost_tests::maillog::LogLine;
use ringpost_tests::notice::Notice;
use ringpost_tests::sink::{Answer, Stage};
use ringpost_tests::{Engine, EngineSetup, Sink};

/// A server written out by a test: one thread a connection, ended with the test's process.
fn raw_server(address: SocketAddrV4, behaviour: impl Fn(TcpStream) + Send + Sync + 'static) {
    let listener = TcpListener::bind(address).expect("a fresh loopback address is free");
    let behaviour = Arc::new(behaviour);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let behaviour = Arc::clone(&behaviour);
            thread::spawn(move || behaviour(stream));
        }
    });
}

fn fresh_address() -> SocketAddrV4 {
    SocketAddrV4::new(unique_loopback(), SINK_PORT)
}

/// A relay that finds its servers by DNS, with short time limits.
fn by_dns(name: &str, dns: &DnsServer) -> EngineSetup {
    let mut setup = EngineSetup::new(name)
        .parameter("relayhost", "")
        .parameter("smtp_tcp_port", &SINK_PORT.to_string())
        .parameter("ringpost_dns_servers", &dns.address().to_string());
    for stage in ["helo", "mail", "rcpt", "data_init", "data_xfer", "data_done", "rset"] {
        setup = setup.parameter(&format!("smtp_{stage}_timeout"), "2s");
    }
    setup
}

fn result_of(engine: &Engine, recipient: &str) -> LogLine {
    let beginning = format!("to=<{recipient}>, ");
    engine.wait_for_log(&format!("a result of {recipient}"), |line| {
        line.text.starts_with(&beginning) && line.text.contains("status=")
    })
}

/// How often the log has a result for this recipient.
fn results_of(engine: &Engine, recipient: &str) -> usize {
    let beginning = format!("to=<{recipient}>, ");
    engine.log().iter().filter(|line| line.text.starts_with(&beginning)).count()
}

/// One misbehaviour of a server, and what the log must say of its recipient.
struct Case {
    name: &'static str,
    script: fn(&Stage<'_>) -> Answer,
    /// Parts of the delivery line, all of them.
    says: &'static [&'static str],
}

fn at_connect(stage: &Stage<'_>, answer: Answer) -> Answer {
    if matches!(stage, Stage::Connect) { answer } else { Answer::Usual }
}

fn at_hello(stage: &Stage<'_>, answer: Answer) -> Answer {
    if matches!(stage, Stage::Hello(_)) { answer } else { Answer::Usual }
}

fn at_mail(stage: &Stage<'_>, answer: Answer) -> Answer {
    if matches!(stage, Stage::Mail(sender) if !sender.is_empty()) { answer } else { Answer::Usual }
}

fn at_rcpt(stage: &Stage<'_>, answer: Answer) -> Answer {
    if matches!(stage, Stage::Rcpt(_)) { answer } else { Answer::Usual }
}

fn at_data(stage: &Stage<'_>, answer: Answer) -> Answer {
    if matches!(stage, Stage::Data) { answer } else { Answer::Usual }
}

fn at_dot(stage: &Stage<'_>, answer: Answer) -> Answer {
    if matches!(stage, Stage::EndOfData(_)) { answer } else { Answer::Usual }
}

/// A reply line that is followed by replies nobody asked for.
const UNASKED: &str = "250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n250 2.0.0 Ok";

const CASES: &[Case] = &[
    // Garbage.
    Case {
        name: "connect-garbage",
        script: |stage| at_connect(stage, Answer::say("\u{1}\u{2} hello, who is there?")),
        says: &["dsn=4.5.0", "status=deferred (remote protocol error in reply from"],
    },
    Case {
        name: "dot-garbage",
        script: |stage| at_dot(stage, Answer::say("sure, why not")),
        says: &["dsn=4.5.0", "status=deferred (remote protocol error in reply from"],
    },
    Case {
        name: "rcpt-control",
        script: |stage| at_rcpt(stage, Answer::say("550 5.1.1 \u{1b}[2J\rto=<x@y>, status=sent \0\u{7f}")),
        says: &[
            "dsn=5.1.1",
            "status=bounced (host",
            "said: 550 5.1.1 ?[2J?to=<x@y>, status=sent ?? (in reply to",
        ],
    },
    // Replies without end, and before they are due.
    Case {
        name: "hello-many-lines",
        script: |stage| at_hello(stage, Answer::Say(format!("{}250 end", "250-X\r\n".repeat(5000)))),
        says: &["dsn=4.5.0", "status=deferred (remote protocol error in reply from"],
    },
    Case {
        name: "connect-unasked",
        script: |stage| at_connect(stage, Answer::Say(format!("220 hello\r\n{UNASKED}"))),
        says: &["dsn=4.5.0", "status=deferred (remote protocol error in reply from"],
    },
    Case {
        name: "data-unasked",
        script: |stage| at_data(stage, Answer::Say(format!("354 go on\r\n{UNASKED}"))),
        says: &["dsn=4.5.0", "status=deferred (remote protocol error in reply from"],
    },
    // Close at each stage.
    Case {
        name: "connect-close",
        script: |stage| at_connect(stage, Answer::Drop),
        says: &[
            "dsn=4.4.2",
            "status=deferred (lost connection with",
            "while receiving the initial server greeting)",
        ],
    },
    Case {
        name: "hello-close",
        script: |stage| at_hello(stage, Answer::Drop),
        says: &["dsn=4.4.2", "lost connection with", "while performing the EHLO handshake)"],
    },
    Case {
        name: "mail-close",
        script: |stage| at_mail(stage, Answer::Drop),
        says: &["dsn=4.4.2", "lost connection with", "while sending MAIL FROM)"],
    },
    Case {
        name: "rcpt-close",
        script: |stage| at_rcpt(stage, Answer::Drop),
        says: &["dsn=4.4.2", "lost connection with", "while sending RCPT TO)"],
    },
    Case {
        name: "data-close",
        script: |stage| at_data(stage, Answer::Drop),
        says: &["dsn=4.4.2", "lost connection with", "while sending DATA command)"],
    },
    Case {
        name: "dot-close",
        script: |stage| at_dot(stage, Answer::Drop),
        says: &[
            "dsn=4.4.2",
            "lost connection with",
            "while sending end of data -- message may be sent more than once)",
        ],
    },
    // Never answer.
    Case {
        name: "connect-silent",
        script: |stage| at_connect(stage, Answer::Silence),
        says: &["dsn=4.4.2", "timed out while receiving the initial server greeting)"],
    },
    Case {
        name: "hello-silent",
        script: |stage| at_hello(stage, Answer::Silence),
        says: &["dsn=4.4.2", "timed out while performing the EHLO handshake)"],
    },
    Case {
        name: "mail-silent",
        script: |stage| at_mail(stage, Answer::Silence),
        says: &["dsn=4.4.2", "timed out while sending MAIL FROM)"],
    },
    Case {
        name: "rcpt-silent",
        script: |stage| at_rcpt(stage, Answer::Silence),
        says: &["dsn=4.4.2", "timed out while sending RCPT TO)"],
    },
    Case {
        name: "data-silent",
        script: |stage| at_data(stage, Answer::Silence),
        says: &["dsn=4.4.2", "timed out while sending DATA command)"],
    },
    Case {
        name: "dot-silent",
        script: |stage| at_dot(stage, Answer::Silence),
        says: &["dsn=4.4.2", "timed out while sending end of data -- message may be sent more than once)"],
    },
    // 421 at each stage.
    Case {
        name: "connect-421",
        script: |stage| at_connect(stage, Answer::say("421 4.7.0 too busy")),
        says: &["dsn=4.7.0", "status=deferred (host", "refused to talk to me: 421 4.7.0 too busy)"],
    },
    Case {
        name: "hello-421",
        script: |stage| at_hello(stage, Answer::say("421 4.7.0 too busy")),
        says: &["dsn=4.7.0", "refused to talk to me: 421 4.7.0 too busy)"],
    },
    Case {
        name: "mail-421",
        script: |stage| at_mail(stage, Answer::say("421 4.3.2 bye")),
        says: &["dsn=4.3.2", "status=deferred", "said: 421 4.3.2 bye (in reply to MAIL FROM command)"],
    },
    Case {
        name: "rcpt-421",
        script: |stage| at_rcpt(stage, Answer::say("421 4.3.2 bye")),
        says: &["dsn=4.3.2", "said: 421 4.3.2 bye (in reply to RCPT TO command)"],
    },
    Case {
        name: "data-421",
        script: |stage| at_data(stage, Answer::say("421 4.3.2 bye")),
        says: &["dsn=4.3.2", "said: 421 4.3.2 bye (in reply to DATA command)"],
    },
    Case {
        name: "dot-421",
        script: |stage| at_dot(stage, Answer::say("421 4.3.2 bye")),
        says: &["dsn=4.3.2", "said: 421 4.3.2 bye (in reply to end of DATA command)"],
    },
    // 4xx and 5xx at each stage.
    Case {
        name: "connect-450",
        script: |stage| at_connect(stage, Answer::say("450 4.7.1 later")),
        says: &["dsn=4.7.1", "status=deferred", "refused to talk to me: 450 4.7.1 later)"],
    },
    Case {
        // smtp_skip_5xx_greeting = yes: another server may be kinder.
        name: "connect-554",
        script: |stage| at_connect(stage, Answer::say("554 5.7.1 no service")),
        says: &["dsn=4.7.1", "status=deferred", "refused to talk to me: 554 5.7.1 no service)"],
    },
    Case {
        name: "mail-450",
        script: |stage| at_mail(stage, Answer::say("450 4.7.1 later")),
        says: &["dsn=4.7.1", "status=deferred", "said: 450 4.7.1 later (in reply to MAIL FROM command)"],
    },
    Case {
        name: "mail-550",
        script: |stage| at_mail(stage, Answer::say("550 5.7.1 not you")),
        says: &["dsn=5.7.1", "status=bounced", "said: 550 5.7.1 not you (in reply to MAIL FROM command)"],
    },
    Case {
        name: "rcpt-450",
        script: |stage| at_rcpt(stage, Answer::say("450 4.2.1 later")),
        says: &["dsn=4.2.1", "status=deferred", "said: 450 4.2.1 later (in reply to RCPT TO command)"],
    },
    Case {
        name: "rcpt-550",
        script: |stage| at_rcpt(stage, Answer::say("550 no code of its own")),
        says: &["dsn=5.0.0", "status=bounced", "said: 550 no code of its own (in reply to RCPT TO command)"],
    },
    Case {
        name: "data-451",
        script: |stage| at_data(stage, Answer::say("451 4.3.0 later")),
        says: &["dsn=4.3.0", "status=deferred", "said: 451 4.3.0 later (in reply to DATA command)"],
    },
    Case {
        name: "data-554",
        script: |stage| at_data(stage, Answer::say("554 5.6.0 no")),
        says: &["dsn=5.6.0", "status=bounced", "said: 554 5.6.0 no (in reply to DATA command)"],
    },
    Case {
        name: "dot-451",
        script: |stage| at_dot(stage, Answer::say("451 4.3.0 later")),
        says: &["dsn=4.3.0", "status=deferred", "said: 451 4.3.0 later (in reply to end of DATA command)"],
    },
    Case {
        name: "dot-552",
        script: |stage| at_dot(stage, Answer::say("552 5.3.4 too big")),
        says: &["dsn=5.3.4", "status=bounced", "said: 552 5.3.4 too big (in reply to end of DATA command)"],
    },
];

#[test]
fn whatever_a_server_does_wrong_is_told_and_hinders_nobody() {
    let mut zone = Zone::default().a("healthy.test", unique_loopback());
    let mut sinks = Vec::new();
    let healthy = Sink::willing(fresh_address());
    zone = zone.a("healthy.test", *healthy.address().ip());
    // Notices to the sender have a server of their own.
    let home = Sink::willing(fresh_address());
    zone = zone.a("client.test", *home.address().ip());
    for case in CASES {
        let sink = Sink::scripted(fresh_address(), case.script);
        zone = zone.a(&format!("{}.test", case.name), *sink.address().ip());
        sinks.push(sink);
    }
    // A domain without MX records is its own exchanger: its name must be known, too.
    let dns = DnsServer::start(zone);
    let setup = by_dns("server-cases", &dns);
    let mut engine = setup.start();
    let mut client = engine.client();
    let mut queue_ids = Vec::new();
    for case in CASES {
        let recipient = format!("you@{}.test", case.name);
        queue_ids.push(client.message("author@client.test", &[&recipient], &message_content(case.name, 900)));
        client.message("author@client.test", &["you@healthy.test"], &message_content("healthy", 900));
    }
    // While the silent servers are still being waited for, the healthy one has everything.
    healthy.wait_for(CASES.len());
    let mut wrong = Vec::new();
    for case in CASES {
        let line = result_of(&engine, &format!("you@{}.test", case.name));
        if !case.says.iter().all(|part| line.text.contains(part)) {
            wrong.push(format!("{}: wanted {:?}, got {}", case.name, case.says, line.text));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // What failed for good came back; what was deferred is still there.
    let bounced: Vec<usize> = (0..CASES.len())
        .filter(|&index| CASES[index].says.iter().any(|part| part.contains("bounced")))
        .collect();
    let notices = home.wait_for(bounced.len());
    for index in bounced {
        let of_message = |notice: &Notice| notice.of_message("X-Ringpost-Queue-ID") == queue_ids[index];
        let parsed: Vec<Notice> = notices.iter().map(|notice| Notice::parse(&notice.content)).collect();
        assert!(parsed.iter().any(of_message), "no notice about {}", CASES[index].name);
    }
    assert!(engine.is_running());
    engine.stop();
}

#[test]
fn a_thousand_recipients_with_long_reasons_of_their_own_are_kept_and_then_returned() {
    let refusals = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refusals);
    let setup = EngineSetup::new("long-reasons")
        .parameter("minimal_backoff_time", "2s")
        .parameter("maximal_backoff_time", "2s")
        .parameter("queue_run_delay", "1s")
        .parameter("smtpd_recipient_limit", "1000");
    let sink = Sink::scripted(setup.sink_address(), move |stage| match stage {
        Stage::Rcpt(name) if name.ends_with("@sink.test") => {
            // Each text differs, and none is short: what a server says is what we have to keep.
            let code = if count.fetch_add(1, Ordering::Relaxed) < 1000 { "450 4.2.0" } else { "550 5.1.1" };
            Answer::Say(format!("{code} <{name}> {}", "no ".repeat(300)))
        }
        _ => Answer::Usual,
    });
    let mut engine = setup.start();
    let names: Vec<String> = (0..1000).map(|number| format!("user{number}@sink.test")).collect();
    let recipients: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut client = engine.client();
    client.message("author@client.test", &recipients, &message_content("long", 900));
    client.quit();
    let notice = &sink.wait_for(1)[0];
    assert_eq!(notice.recipients, ["author@client.test"]);
    assert_eq!(Notice::parse(&notice.content).recipients.len(), 1000);
    // The message and its notice: nothing is left, and nothing crashed on the way.
    engine.wait_for_log_count("removed", 2, |line| line.text == "removed");
    assert!(engine.is_running());
    engine.stop();
}

#[test]
fn replies_without_end_are_cut_off() {
    let setup = EngineSetup::new("endless");
    raw_server(setup.sink_address(), |mut stream| {
        let lines = b"220-hello\r\n".repeat(1000);
        while stream.write_all(&lines).is_ok() {}
    });
    let mut engine = setup.start();
    let mut client = engine.client();
    client.message("author@client.test", &["b@sink.test"], &message_content("endless", 900));
    client.quit();
    let line = result_of(&engine, "b@sink.test");
    assert!(line.text.contains("status=deferred (remote protocol error in reply from"), "{line:?}");
    assert!(engine.is_running());
    engine.stop();
}

#[test]
fn a_server_that_stops_reading_is_given_up_and_its_message_kept() {
    let setup = EngineSetup::new("stops-reading").parameter("smtp_data_xfer_timeout", "2s");
    raw_server(setup.sink_address(), |stream| {
        let mut writer = stream.try_clone().expect("a socket can be shared");
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        let mut say = |text: &str| writer.write_all(text.as_bytes()).is_ok();
        let mut open = say("220 deaf.test\r\n");
        while open && reader.read_line(&mut line).is_ok_and(|count| count > 0) {
            open = match line.get(..4) {
                Some("DATA") => {
                    say("354 go on\r\n");
                    // Not a byte of the content is read, and the connection stays.
                    loop {
                        thread::park();
                    }
                }
                _ => say("250 Ok\r\n"),
            };
            line.clear();
        }
    });
    let mut engine = setup.start();
    let mut client = engine.client();
    client.message("author@client.test", &["b@sink.test"], &message_content("deaf", 9 << 20));
    let line = result_of(&engine, "b@sink.test");
    assert!(line.text.contains("dsn=4.4.2, status=deferred (conversation with"), "{line:?}");
    assert!(line.text.contains("timed out while sending message body)"), "{line:?}");
    assert!(engine.is_running());
    engine.stop();
}

#[test]
fn a_refusal_in_the_middle_of_the_body_counts_at_once() {
    // The time limit for the body is long: only the refusal can end the wait within the test's patience.
    let setup = EngineSetup::new("early-refusal").parameter("smtp_data_xfer_timeout", "1000s");
    raw_server(setup.sink_address(), |stream| {
        let mut writer = stream.try_clone().expect("a socket can be shared");
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        let mut say = |text: &str| writer.write_all(text.as_bytes()).is_ok();
        let mut open = say("220 early.test\r\n");
        while open && reader.read_line(&mut line).is_ok_and(|count| count > 0) {
            open = match line.get(..4) {
                Some("DATA") => {
                    say("354 go on\r\n");
                    let mut some = vec![0; 100_000];
                    reader.read_exact(&mut some).expect("the relay sends content");
                    say("552 5.3.4 that is enough\r\n");
                    loop {
                        thread::park();
                    }
                }
                _ => say("250 Ok\r\n"),
            };
            line.clear();
        }
    });
    let engine = setup.start();
    let mut client = engine.client();
    client.message("", &["b@sink.test"], &message_content("early", 9 << 20));
    let line = result_of(&engine, "b@sink.test");
    assert!(
        line.text.contains("dsn=5.3.4, status=bounced")
            && line.text.contains("said: 552 5.3.4 that is enough (in reply to end of DATA command)"),
        "{line:?}"
    );
    engine.stop();
}

#[test]
fn some_recipients_sent_some_deferred_some_bounced_in_one_transaction() {
    // The sender hears of the failure at once, not when the deferred recipient is done as well.
    let setup = EngineSetup::new("mixed");
    let sink = Sink::scripted(setup.sink_address(), |stage| match stage {
        Stage::Rcpt("later@sink.test") => Answer::say("452 4.2.2 mailbox full"),
        Stage::Rcpt("never@sink.test") => Answer::say("550 5.1.1 unknown"),
        _ => Answer::Usual,
    });
    let engine = setup.start();
    let mut client = engine.client();
    let all = ["now@sink.test", "later@sink.test", "never@sink.test"];
    client.message("author@client.test", &all, &message_content("mixed", 900));
    client.quit();
    let taken = sink.wait_for(2);
    assert_eq!(taken[0].recipients, ["now@sink.test"]);
    assert_eq!(taken[1].recipients, ["author@client.test"]);
    let expected = [
        ("now@sink.test", "dsn=2.0.0, status=sent"),
        ("later@sink.test", "dsn=4.2.2, status=deferred"),
        ("never@sink.test", "dsn=5.1.1, status=bounced"),
    ];
    for (recipient, says) in expected {
        let line = result_of(&engine, recipient);
        assert!(line.text.contains(says), "wanted {says}, got {line:?}");
        assert_eq!(results_of(&engine, recipient), 1, "one attempt, one result");
    }
    let report = Notice::parse(&taken[1].content);
    assert_eq!(report.recipients.len(), 1);
    assert_eq!(report.of_recipient(0, "Final-Recipient"), "rfc822; never@sink.test");
    engine.stop();
}

#[test]
fn soft_bounce_keeps_what_a_server_refuses_for_good() {
    let setup = EngineSetup::new("soft-bounce").parameter("soft_bounce", "yes");
    let sink = Sink::scripted(setup.sink_address(), |stage| match stage {
        Stage::Rcpt("never@sink.test") => Answer::say("550 5.1.1 unknown"),
        _ => Answer::Usual,
    });
    let engine = setup.start();
    let mut client = engine.client();
    client.message("author@client.test", &["never@sink.test"], &message_content("soft", 900));
    client.expect("RCPT TO:<x@sink.test>", "403 4.5.1 Error: need MAIL command");
    client.quit();
    let line = result_of(&engine, "never@sink.test");
    assert!(line.text.contains("dsn=4.1.1, status=SOFTBOUNCE (host"), "{line:?}");
    assert!(line.text.contains("said: 550 5.1.1 unknown"), "{line:?}");
    engine.stop();
    assert_eq!(sink.count(), 0, "no notice is sent");
}

#[test]
fn a_kept_connection_that_the_server_closed_costs_no_deferral() {
    let setup = EngineSetup::new("closed-between").parameter("smtp_connection_cache_time_limit", "60s");
    let taken = Arc::new(AtomicUsize::new(0));
    let for_server = Arc::clone(&taken);
    // Every connection takes one message, and is closed right after its 250.
    raw_server(setup.sink_address(), move |stream| {
        let mut writer = stream.try_clone().expect("a socket can be shared");
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        let mut say = |text: &str| writer.write_all(text.as_bytes()).is_ok();
        let mut open = say("220 once.test\r\n");
        let mut in_content = false;
        while open && reader.read_line(&mut line).is_ok_and(|count| count > 0) {
            if in_content {
                if line == ".\r\n" {
                    for_server.fetch_add(1, Ordering::Relaxed);
                    say("250 2.0.0 Ok\r\n");
                    return;
                }
            } else if line.starts_with("DATA") {
                in_content = true;
                open = say("354 go on\r\n");
            } else {
                open = say("250 Ok\r\n");
            }
            line.clear();
        }
    });
    let engine = setup.start();
    let mut client = engine.client();
    for number in 0..30 {
        client.message("a@client.test", &["b@sink.test"], &message_content(&format!("n-{number}"), 900));
    }
    client.quit();
    engine.wait_for_log_count("sent", 30, |line| line.text.contains("status=sent"));
    assert_eq!(taken.load(Ordering::Relaxed), 30);
    assert!(!engine.log().iter().any(|line| line.text.contains("status=deferred")));
    engine.stop();
}
