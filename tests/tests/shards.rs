//! Several shards behave as one mail system towards a destination: its limit holds over all of them, all of them get
//! their share of it, and what one of them learns the others know.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use ringpost_tests::client::message_content;
use ringpost_tests::maillog::LogLine;
use ringpost_tests::sink::{Answer, Stage};
use ringpost_tests::{Engine, EngineSetup, Sink, wait};
use serde_json::Value;

/// Transactions open at a sink, and the most there have been.
#[derive(Default)]
struct Transactions {
    open: AtomicUsize,
    most: AtomicUsize,
}

/// A sink that needs a while for each message, so that deliveries meet, and counts the transactions.
fn slow_sink(setup: &EngineSetup, transactions: &Arc<Transactions>) -> Sink {
    let transactions = Arc::clone(transactions);
    Sink::scripted(setup.sink_address(), move |stage| {
        match stage {
            Stage::Mail(_) => {
                let open = transactions.open.fetch_add(1, Ordering::SeqCst) + 1;
                transactions.most.fetch_max(open, Ordering::SeqCst);
            }
            Stage::EndOfData(_) => {
                thread::sleep(Duration::from_millis(3));
                // Before the answer: when the relay has that, it may begin the next.
                transactions.open.fetch_sub(1, Ordering::SeqCst);
            }
            _ => {}
        }
        Answer::Usual
    })
}

fn setup(name: &str) -> EngineSetup {
    EngineSetup::new(name).parameter("ringpost_shards", "2")
}

/// Sends `count` messages from each of `clients` sessions at once. New sessions go to the less busy shard.
fn send(engine: &Engine, clients: usize, count: usize) {
    let sessions: Vec<_> = (0..clients).map(|_| engine.client()).collect();
    thread::scope(|scope| {
        for (number, mut client) in sessions.into_iter().enumerate() {
            scope.spawn(move || {
                for message in 0..count {
                    let content = message_content(&format!("m-{number}-{message}"), 500);
                    client.message("a@client.test", &["b@sink.test"], &content);
                }
                client.quit();
            });
        }
    });
}

/// Stops the engine; the figures of all shards together, with those of each as `shards`.
fn stop_for_figures(engine: Engine, setup: &EngineSetup) -> Value {
    engine.stop();
    let text = std::fs::read(setup.queue().join("figures.json")).expect("a stop leaves figures");
    serde_json::from_slice(&text).expect("the figures are JSON")
}

fn of_each_shard(figures: &Value, name: &str) -> Vec<u64> {
    let shards = figures["shards"].as_array().expect("the figures are also told by shard");
    shards.iter().map(|shard| shard[name].as_u64().expect("a count")).collect()
}

#[test]
fn a_destinations_limit_holds_over_all_shards_and_each_gets_its_share() {
    let setup = setup("shared").parameter("default_destination_concurrency_limit", "5");
    let transactions = Arc::default();
    let sink = slow_sink(&setup, &transactions);
    let engine = setup.start();
    send(&engine, 8, 60);
    sink.wait_for(480);
    engine.wait_for_log_count("removed", 480, |line| line.text == "removed");
    assert_eq!(transactions.most.load(Ordering::SeqCst), 5, "the limit is reached and never exceeded");
    let figures = stop_for_figures(engine, &setup);
    let sent = of_each_shard(&figures, "recipients_sent");
    assert_eq!(sent.iter().sum::<u64>(), 480);
    assert!(sent.iter().all(|&sent| sent >= 48), "every shard delivers: {sent:?}");
    assert_eq!(figures["slot_messages_refused"], 0);
    let said: u64 = of_each_shard(&figures, "slot_messages").iter().sum();
    assert!((1..480).contains(&said), "{said} messages between shards for 480 deliveries");
}

#[test]
fn a_destination_that_takes_one_at_a_time_serves_the_shards_in_turn() {
    let setup = setup("in-turn").parameter("default_destination_concurrency_limit", "1");
    let transactions = Arc::default();
    let sink = slow_sink(&setup, &transactions);
    let engine = setup.start();
    send(&engine, 4, 40);
    sink.wait_for(160);
    engine.wait_for_log_count("removed", 160, |line| line.text == "removed");
    assert_eq!(transactions.most.load(Ordering::SeqCst), 1);
    let figures = stop_for_figures(engine, &setup);
    let sent = of_each_shard(&figures, "recipients_sent");
    assert!(sent.iter().all(|&sent| sent >= 16), "every shard delivers: {sent:?}");
}

#[test]
fn a_destination_that_one_shard_finds_dead_is_left_alone_by_all() {
    // Nobody listens. The first run fills both shards' queues, so that in the second both have mail all the time: a
    // site without mail forgets its failures.
    let setup =
        setup("dead-for-all").parameter("minimal_backoff_time", "1s").parameter("queue_run_delay", "1s");
    let engine = setup.start();
    send(&engine, 4, 50);
    let accepted = of_each_shard(&stop_for_figures(engine, &setup), "messages_accepted");
    assert!(accepted.iter().all(|&accepted| accepted > 10), "both shards have mail: {accepted:?}");

    let setup = setup.parameter("minimal_backoff_time", "300s");
    let engine = setup.start();
    engine.wait_for_log_count("the second start", 2, |line| line.text.starts_with("daemon started"));
    let begun = |line: &LogLine| line.text.starts_with("daemon started");
    let second_run = || {
        let log = engine.log();
        let start = log.iter().rposition(begun).expect("the start is logged");
        log.into_iter().skip(start).filter(|line| line.text.contains("status=deferred")).collect::<Vec<_>>()
    };
    wait::until("all mail is deferred again", || (second_run().len() >= 200).then_some(()));
    let deferred = second_run();
    let count = |reason: &str| deferred.iter().filter(|line| line.text.contains(reason)).count();
    let (tried, suspended) = (count("(connect to "), count("(delivery temporarily suspended: connect to "));
    assert_eq!(tried + suspended, 200);
    assert!(tried <= 10, "{tried} attempts, though three failures make a site dead");
    engine.stop();
}
