//! What happens to mail that does not go at once: it is kept over stops and kills, tried again, given up with a notice.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ringpost_tests::client::message_content;
use ringpost_tests::maillog::LogLine;
use ringpost_tests::notice::Notice;
use ringpost_tests::sink::{Answer, Stage};
use ringpost_tests::{EngineSetup, Ledger, Sink, wait};

fn deferred(line: &LogLine) -> bool {
    line.process == "smtp" && line.text.contains("status=deferred")
}

#[test]
fn a_queue_survives_a_stop_and_is_delivered_after_the_start() {
    // No sink listens: the relay accepts and defers.
    let setup = EngineSetup::new("restart")
        .parameter("minimal_backoff_time", "1s")
        .parameter("queue_run_delay", "1s");
    let engine = setup.start();
    let mut ledger = Ledger::default();
    let mut client = engine.client();
    for number in 0..50 {
        let track = format!("kept-{number}");
        client.message("a@client.test", &["b@sink.test"], &message_content(&track, 4096));
        ledger.acknowledge(track);
    }
    client.quit();
    engine.stop();
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    sink.wait_for(50);
    for message in sink.messages() {
        ledger.deliver(&message);
    }
    assert_eq!(ledger.lost(), [""; 0]);
    engine.stop();
}

#[test]
fn a_queue_survives_a_kill() {
    let setup =
        EngineSetup::new("killed").parameter("minimal_backoff_time", "1s").parameter("queue_run_delay", "1s");
    let engine = setup.start();
    let mut client = engine.client();
    for number in 0..50 {
        client.message("a@client.test", &["b@sink.test"], &message_content(&format!("k-{number}"), 4096));
    }
    engine.kill();
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut ledger = Ledger::default();
    for number in 0..50 {
        ledger.acknowledge(format!("k-{number}"));
    }
    for message in sink.wait_for(50) {
        ledger.deliver(&message);
    }
    assert_eq!(ledger.lost(), [""; 0]);
    engine.stop();
}

#[test]
fn a_4xx_defers_and_the_next_attempt_delivers() {
    let setup = EngineSetup::new("deferred")
        .parameter("minimal_backoff_time", "1s")
        .parameter("queue_run_delay", "1s");
    let refusals = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refusals);
    let sink = Sink::scripted(setup.sink_address(), move |stage| match stage {
        Stage::Rcpt(_) if count.fetch_add(1, Ordering::Relaxed) < 1 => {
            Answer::say("451 4.7.1 Come back later")
        }
        _ => Answer::Usual,
    });
    let engine = setup.start();
    let mut client = engine.client();
    client.message("a@client.test", &["b@sink.test"], &message_content("later", 500));
    client.quit();
    let line = engine.wait_for_log("deferred", deferred);
    assert!(line.text.contains("dsn=4.7.1"), "{line:?}");
    assert!(line.text.contains("said: 451 4.7.1 Come back later (in reply to RCPT TO command)"), "{line:?}");
    assert_eq!(sink.wait_for(1)[0].track().as_deref(), Some("later"));
    engine.wait_for_log("removed", |line| line.text == "removed");
    assert!(refusals.load(Ordering::Relaxed) >= 2);
    engine.stop();
}

#[test]
fn only_the_refused_recipients_are_tried_again() {
    let setup = EngineSetup::new("partial")
        .parameter("minimal_backoff_time", "1s")
        .parameter("queue_run_delay", "1s");
    let refusals = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refusals);
    let sink = Sink::scripted(setup.sink_address(), move |stage| match stage {
        Stage::Rcpt("slow@sink.test") if count.fetch_add(1, Ordering::Relaxed) < 1 => {
            Answer::say("450 4.2.0 busy")
        }
        _ => Answer::Usual,
    });
    let engine = setup.start();
    let mut client = engine.client();
    let both = ["fast@sink.test", "slow@sink.test"];
    client.message("a@client.test", &both, &message_content("partial", 500));
    client.quit();
    let taken = sink.wait_for(2);
    assert_eq!(taken[0].recipients, ["fast@sink.test"]);
    assert_eq!(taken[1].recipients, ["slow@sink.test"]);
    engine.wait_for_log("removed", |line| line.text == "removed");
    assert_eq!(sink.count(), 2);
    engine.stop();
}

#[test]
fn a_5xx_sends_a_notice_in_rfc_3464_form_to_the_sender() {
    let setup = EngineSetup::new("bounce");
    let sink = Sink::scripted(setup.sink_address(), |stage| match stage {
        Stage::Rcpt("nobody@sink.test") => Answer::say("550 5.1.1 <nobody@sink.test>: no such user"),
        _ => Answer::Usual,
    });
    let engine = setup.start();
    let mut client = engine.client();
    let both = ["nobody@sink.test", "somebody@sink.test"];
    let queue_id = client.message("author@client.test", &both, &message_content("bounced", 800));
    client.quit();
    let taken = sink.wait_for(2);
    let notice =
        taken.iter().find(|message| message.sender.is_empty()).expect("a notice has the null sender");
    assert_eq!(notice.recipients, ["author@client.test"]);
    assert_eq!(notice.header("Subject").as_deref(), Some("Undelivered Mail Returned to Sender"));
    assert_eq!(notice.header("Auto-Submitted").as_deref(), Some("auto-replied"));
    let report = Notice::parse(&notice.content);
    assert!(report.text.contains("<nobody@sink.test>"), "{}", report.text);
    assert!(!report.text.contains("somebody"), "{}", report.text);
    assert_eq!(report.of_message("Reporting-MTA"), "dns; relay.test");
    assert_eq!(report.of_message("X-Ringpost-Queue-ID"), queue_id);
    assert_eq!(report.recipients.len(), 1);
    assert_eq!(report.of_recipient(0, "Final-Recipient"), "rfc822; nobody@sink.test");
    assert_eq!(report.of_recipient(0, "Action"), "failed");
    assert_eq!(report.of_recipient(0, "Status"), "5.1.1");
    assert!(
        report
            .of_recipient(0, "Diagnostic-Code")
            .starts_with("smtp; 550 5.1.1 <nobody@sink.test>: no such user")
    );
    assert!(report.returned_type.starts_with("message/rfc822"));
    assert!(report.returned.contains("X-Track: bounced"));
    engine.wait_for_log("bounced", |line| {
        line.text.starts_with("to=<nobody@sink.test>")
            && line.text.contains("dsn=5.1.1, status=bounced (host ")
    });
    engine.wait_for_log("the notice", |line| {
        line.queue_id.as_deref() == Some(&queue_id)
            && line.text.starts_with("sender non-delivery notification: ")
    });
    engine.wait_for_log_count("removed", 2, |line| line.text == "removed");
    engine.stop();
}

#[test]
fn a_notice_that_fails_makes_no_further_notice() {
    let setup = EngineSetup::new("double-bounce");
    let sink = Sink::scripted(setup.sink_address(), |stage| match stage {
        Stage::Rcpt(_) => Answer::say("550 5.1.1 nobody here"),
        _ => Answer::Usual,
    });
    let engine = setup.start();
    let mut client = engine.client();
    client.message("author@client.test", &["nobody@sink.test"], &message_content("twice", 800));
    client.quit();
    // The message and its notice are both removed, and nothing is left.
    engine.wait_for_log_count("removed", 2, |line| line.text == "removed");
    engine.stop();
    assert_eq!(sink.count(), 0);
}

#[test]
fn mail_that_is_too_old_is_returned() {
    let setup = EngineSetup::new("expired")
        .parameter("maximal_queue_lifetime", "1s")
        .parameter("minimal_backoff_time", "1s")
        .parameter("queue_run_delay", "1s");
    let sink = Sink::scripted(setup.sink_address(), |stage| match stage {
        Stage::Rcpt("b@sink.test") => Answer::say("450 4.2.2 mailbox full"),
        _ => Answer::Usual,
    });
    let engine = setup.start();
    let mut client = engine.client();
    client.message("author@client.test", &["b@sink.test"], &message_content("old", 800));
    client.quit();
    let taken = sink.wait_for(1);
    assert_eq!(taken[0].sender, "");
    assert_eq!(Notice::parse(&taken[0].content).of_recipient(0, "Action"), "failed");
    engine.wait_for_log("expired", |line| line.text.contains("status=expired, returned to sender"));
    engine.stop();
}

#[test]
fn a_server_that_hangs_up_after_the_dot_may_get_a_second_copy_but_never_none() {
    let setup = EngineSetup::new("hang-up")
        .parameter("minimal_backoff_time", "1s")
        .parameter("queue_run_delay", "1s");
    let times = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&times);
    let sink = Sink::scripted(setup.sink_address(), move |stage| match stage {
        Stage::EndOfData(_) if count.fetch_add(1, Ordering::Relaxed) == 0 => Answer::TakeAndDrop,
        _ => Answer::Usual,
    });
    let engine = setup.start();
    let mut client = engine.client();
    client.message("a@client.test", &["b@sink.test"], &message_content("copy", 500));
    client.quit();
    let line = engine.wait_for_log("deferred", deferred);
    assert!(line.text.contains("lost connection with"), "{line:?}");
    sink.wait_for(2);
    engine.wait_for_log("removed", |line| line.text == "removed");
    engine.stop();
}

#[test]
fn a_refused_connection_defers_with_its_reason() {
    let setup = EngineSetup::new("refused");
    let engine = setup.start();
    let mut client = engine.client();
    client.message("a@client.test", &["b@sink.test"], &message_content("refused", 500));
    client.quit();
    let sink = setup.sink_address();
    let line = engine.wait_for_log("deferred", |line| line.text.contains("status=deferred"));
    let reason = format!("connect to {}[{}]:{}: Connection refused", sink.ip(), sink.ip(), sink.port());
    assert!(line.text.contains("relay=none") && line.text.contains("dsn=4.4.1"), "{line:?}");
    assert!(line.text.contains(&reason), "wanted {reason:?} in {line:?}");
    engine.stop();
}

#[test]
fn a_server_that_never_greets_is_given_up() {
    let setup = EngineSetup::new("no-greeting").parameter("smtp_helo_timeout", "1s");
    let _listener = TcpListener::bind(setup.sink_address()).expect("a fresh loopback address is free");
    let engine = setup.start();
    let mut client = engine.client();
    client.message("a@client.test", &["b@sink.test"], &message_content("silent", 500));
    client.quit();
    let line = engine.wait_for_log("deferred", |line| line.text.contains("status=deferred"));
    assert!(line.text.contains("timed out while receiving the initial server greeting"), "{line:?}");
    engine.stop();
}

#[test]
fn a_stop_under_load_finishes_what_runs_and_loses_nothing() {
    let setup = EngineSetup::new("stop-under-load");
    let sink = Sink::counting(setup.sink_address());
    let mut engine = setup.start();
    let address = setup.address();
    let senders: Vec<_> = (0..8)
        .map(|session| {
            std::thread::spawn(move || {
                let mut acknowledged = Vec::new();
                let Ok(mut client) = ringpost_tests::Client::try_greeted(address) else {
                    return acknowledged;
                };
                for number in 0.. {
                    let track = format!("s-{session}-{number}");
                    match client.try_message(
                        "a@client.test",
                        &["b@sink.test"],
                        &message_content(&track, 4096),
                    ) {
                        Ok(reply) if reply.code == 250 => acknowledged.push(track),
                        // 421, or the connection is gone: the relay stops.
                        _ => break,
                    }
                }
                acknowledged
            })
        })
        .collect();
    sink.wait_for(200);
    let status = engine.terminate();
    assert_eq!(status.code(), Some(0), "{}", engine.printed());
    let mut ledger = Ledger::default();
    for sender in senders {
        for track in sender.join().expect("a sender ends") {
            ledger.acknowledge(track);
        }
    }
    // What was not delivered before the stop is delivered after the next start.
    let engine = setup.start();
    let all_there = wait::holds_within(wait::PATIENCE, || sink.count() >= ledger.acknowledged());
    for message in sink.messages() {
        ledger.deliver(&message);
    }
    assert_eq!(ledger.lost(), [""; 0]);
    assert!(all_there);
    assert_eq!(ledger.repeated(), [], "a graceful stop records what it delivered");
    engine.stop();
}

#[test]
fn a_queue_is_delivered_by_fewer_shards_than_took_it() {
    let setup = EngineSetup::new("fewer-shards")
        .parameter("minimal_backoff_time", "1s")
        .parameter("queue_run_delay", "1s");
    let engine = setup.clone().word("-o").word("ringpost_shards=2").start();
    let mut ledger = Ledger::default();
    // Enough sessions that both shards get some.
    for number in 0..40 {
        let mut client = engine.client();
        let track = format!("fewer-{number}");
        client.message("a@client.test", &["b@sink.test"], &message_content(&track, 1000));
        ledger.acknowledge(track);
        client.quit();
    }
    engine.stop();
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.clone().word("-o").word("ringpost_shards=1").start();
    assert!(engine.printed().contains("holds the queues of 2 shards"), "{}", engine.printed());
    for message in sink.wait_for(40) {
        ledger.deliver(&message);
    }
    assert_eq!(ledger.lost(), [""; 0]);
    engine.stop();
}
