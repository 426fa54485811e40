//! A host that has no sockets left is no fault of the destinations: the transport as a whole rests.

use ringpost_tests::client::message_content;
use ringpost_tests::commands::succeeds;
use ringpost_tests::{EngineSetup, Sink};

#[test]
fn without_sockets_the_transport_rests_and_a_flush_ends_that() {
    let setup = EngineSetup::new("no-sockets")
        .parameter("ringpost_shards", "1")
        .parameter("transport_retry_time", "1h");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut client = engine.client();
    let before = engine.process().limit_descriptors(None);
    client.message("a@client.test", &["b@sink.test"], &message_content("first", 300));
    let line = engine.wait_for_log("the deferral", |line| line.text.contains("status=deferred"));
    let deferred = "dsn=4.3.0, status=deferred (mail transport unavailable)";
    assert!(line.text.contains("relay=none, ") && line.text.ends_with(deferred), "{line:?}");
    engine.wait_for_log("the cause", |line| {
        line.text.starts_with("warning: cannot connect to ") && line.text.contains("Too many open files")
    });
    engine.wait_for_log("the rest", |line| line.text.starts_with("warning: transport smtp failure -- "));

    engine.process().limit_descriptors(Some(before));
    client.message("a@client.test", &["b@sink.test"], &message_content("second", 300));
    engine.wait_for_log("mail that comes meanwhile is not tried", |line| {
        let suspended = "status=deferred (delivery temporarily suspended: mail transport unavailable)";
        line.text.contains("dsn=4.3.0") && line.text.ends_with(suspended)
    });
    assert_eq!(sink.connections(), 0);

    succeeds(&setup, &["postqueue", "-f"]);
    sink.wait_for(2);
    engine.wait_for_log_count("removed", 2, |line| line.text == "removed");
    engine.stop();
}
