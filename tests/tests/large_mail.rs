//! Mail for very many, and what holds for a whole transport: batches of recipients, small mail that overtakes, rate
//! delays, `defer_transports`, kept connections.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ringpost_tests::client::message_content;
use ringpost_tests::door::Door;
use ringpost_tests::maillog::LogLine;
use ringpost_tests::sink::{Answer, Stage};
use ringpost_tests::{EngineSetup, Sink, wait};

fn removed(line: &LogLine) -> bool {
    line.text == "removed"
}

#[test]
fn mail_for_one_overtakes_mail_for_five_thousand_which_all_of_them_get_once() {
    const RECIPIENTS: usize = 5000;
    let setup = EngineSetup::new("five-thousand")
        .parameter("ringpost_shards", "1")
        .parameter("smtpd_recipient_limit", "10000")
        .parameter("smtp_destination_concurrency_limit", "2")
        .parameter("smtp_initial_destination_concurrency", "2")
        .parameter("qmgr_message_recipient_limit", "400");
    let door = Arc::new(Door::default());
    let at_the_sink = Arc::clone(&door);
    // The large one gets nowhere before the small one is queued behind it.
    let sink = Sink::scripted(setup.sink_address(), move |stage| {
        if let Stage::EndOfData(_) = stage {
            at_the_sink.pass();
        }
        Answer::Usual
    });
    let engine = setup.start();
    let mut client = engine.client();
    let addresses: Vec<String> = (0..RECIPIENTS).map(|number| format!("r{number}@sink.test")).collect();
    let recipients: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let large = client.message("list@client.test", &recipients, &message_content("large", 2000));
    let active = format!("nrcpt={RECIPIENTS} (queue active)");
    engine.wait_for_log("the large message is active", |line| line.text.ends_with(&active));
    client.message("one@client.test", &["you@sink.test"], &message_content("small", 500));
    client.quit();
    engine.wait_for_log("the small one too", |line| line.text.ends_with("nrcpt=1 (queue active)"));
    door.open();

    engine.wait_for_log_count("both are removed", 2, removed);
    let taken = sink.messages();
    let small_at = taken.iter().position(|message| message.track().as_deref() == Some("small"));
    assert!(small_at.is_some_and(|at| at < 20), "the small one came at {small_at:?} of {}", taken.len());
    let of_large = taken.iter().filter(|message| message.track().as_deref() == Some("large"));
    let got: Vec<&str> = of_large.flat_map(|message| message.recipients.iter().map(String::as_str)).collect();
    assert_eq!(got.len(), RECIPIENTS, "somebody got it twice or not at all");
    assert_eq!(got.into_iter().collect::<BTreeSet<_>>().len(), RECIPIENTS);
    assert!(taken.len() <= 1 + RECIPIENTS / 50 + 20, "{} deliveries of 50 recipients at most", taken.len());
    let sent = |line: &LogLine| line.queue_id.as_deref() == Some(&large) && line.text.contains("status=sent");
    assert_eq!(engine.log().iter().filter(|line| sent(line)).count(), RECIPIENTS);
    engine.stop();
}

#[test]
fn recipients_that_a_server_puts_off_are_tried_again_batch_by_batch() {
    const RECIPIENTS: usize = 600;
    let setup = EngineSetup::new("put-off-by-batches")
        .parameter("minimal_backoff_time", "1s")
        .parameter("queue_run_delay", "1s")
        .parameter("qmgr_message_recipient_limit", "60")
        .parameter("default_extra_recipient_limit", "30");
    let met = Mutex::new(BTreeSet::new());
    let sink = Sink::scripted(setup.sink_address(), move |stage| match stage {
        Stage::Rcpt(address) if address.starts_with('7') => {
            let mut met = met.lock().unwrap_or_else(PoisonError::into_inner);
            if met.insert((*address).to_owned()) { Answer::say("450 4.2.0 Not yet") } else { Answer::Usual }
        }
        _ => Answer::Usual,
    });
    let engine = setup.start();
    let mut client = engine.client();
    let addresses: Vec<String> =
        (0..RECIPIENTS).map(|number| format!("{}-{number}@sink.test", number % 9)).collect();
    let recipients: Vec<&str> = addresses.iter().map(String::as_str).collect();
    client.message("list@client.test", &recipients, &message_content("large", 2000));
    client.quit();
    engine.wait_for_log("removed", removed);
    let taken = sink.messages();
    let got: Vec<&str> =
        taken.iter().flat_map(|message| message.recipients.iter().map(String::as_str)).collect();
    assert_eq!(got.len(), RECIPIENTS, "somebody got it twice or not at all");
    assert_eq!(got.into_iter().collect::<BTreeSet<_>>().len(), RECIPIENTS);
    let put_off = engine.log().iter().filter(|line| line.text.contains("status=deferred")).count();
    assert_eq!(put_off, (0..RECIPIENTS).filter(|number| number % 9 == 7).count());
    engine.stop();
}

#[test]
fn mail_of_a_deferred_transport_is_not_tried() {
    let setup = EngineSetup::new("defer-transports").parameter("defer_transports", "lmtp, smtp");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut client = engine.client();
    client.message("a@client.test", &["b@sink.test"], &message_content("parked", 500));
    client.quit();
    let line = engine.wait_for_log("deferred", |line| line.text.contains("status=deferred"));
    assert!(line.text.starts_with("to=<b@sink.test>, relay=none, "), "{line:?}");
    assert!(line.text.ends_with("dsn=4.3.2, status=deferred (deferred transport)"), "{line:?}");
    assert_eq!(sink.connections(), 0);
    engine.stop();
}

#[test]
fn a_transport_with_a_rate_delay_sends_one_mail_at_a_time_with_a_pause() {
    let setup = EngineSetup::new("transport-rate")
        .parameter("ringpost_shards", "1")
        .parameter("smtp_transport_rate_delay", "1s");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut client = engine.client();
    let start = Instant::now();
    for number in 0..3 {
        client.message("a@client.test", &["b@sink.test"], &message_content(&format!("rated-{number}"), 500));
    }
    client.quit();
    sink.wait_for(3);
    assert!(start.elapsed() >= Duration::from_secs(2), "two pauses of a second: {:?}", start.elapsed());
    assert_eq!(sink.connections_most(), 1);
    engine.stop();
}

#[test]
fn with_a_recipient_limit_of_one_each_recipient_is_a_destination() {
    let setup = EngineSetup::new("one-each")
        .parameter("smtp_destination_recipient_limit", "1")
        .parameter("smtp_destination_concurrency_limit", "1");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut client = engine.client();
    let three = ["a@sink.test", "b@sink.test", "c@sink.test"];
    client.message("a@client.test", &three, &message_content("each", 500));
    client.quit();
    let taken = sink.wait_for(3);
    let got: BTreeSet<&str> = taken.iter().map(|message| message.recipients[0].as_str()).collect();
    assert_eq!(got, BTreeSet::from(three));
    engine.wait_for_log("removed", removed);
    assert_eq!(sink.count(), 3);
    engine.stop();
}

#[test]
fn a_connection_is_not_kept_for_mail_that_does_not_follow() {
    let setup = EngineSetup::new("not-kept")
        .parameter("smtp_connection_cache_time_limit", "1000s")
        .parameter("connection_cache_ttl_limit", "1000s");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut client = engine.client();
    client.message("a@client.test", &["b@sink.test"], &message_content("alone", 500));
    sink.wait_for(1);
    wait::until("the only connection is closed", || (sink.connections_open() == 0).then_some(()));
    client.quit();
    engine.stop();
}

#[test]
fn connections_to_listed_destinations_are_always_kept() {
    let setup = EngineSetup::new("always-kept");
    let address = setup.sink_address();
    let setup = setup
        .parameter("ringpost_shards", "1")
        .parameter("smtp_connection_cache_time_limit", "1000s")
        .parameter("connection_cache_ttl_limit", "1000s")
        .parameter("smtp_connection_cache_destinations", &address.ip().to_string());
    let sink = Sink::willing(address);
    let engine = setup.start();
    let mut client = engine.client();
    for number in 0..3 {
        client.message("a@client.test", &["b@sink.test"], &message_content(&format!("kept-{number}"), 500));
        engine.wait_for_log_count("removed", number + 1, removed);
    }
    client.quit();
    assert_eq!((sink.count(), sink.connections()), (3, 1));
    engine.stop();
}
