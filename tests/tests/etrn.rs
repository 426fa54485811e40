//! A site that was away asks for its mail, and gets its own at once, from every shard.

use ringpost_tests::client::message_content;
use ringpost_tests::{Client, EngineSetup, Sink};

#[test]
fn etrn_delivers_the_mail_of_one_site_from_all_shards() {
    // Nothing listens at first; the usual waiting time is 300 seconds, longer than any test.
    let setup = EngineSetup::new("etrn")
        .parameter("ringpost_shards", "2")
        .parameter("relay_domains", "site.test other.test");
    let engine = setup.start();
    // Sessions that are open together are spread over the shards.
    let mut clients: Vec<Client> = (0..6).map(|_| engine.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let content = message_content(&format!("site-{number}"), 500);
        client.message("a@client.test", &[&format!("user{number}@site.test")], &content);
        let content = message_content(&format!("other-{number}"), 500);
        client.message("a@client.test", &["user@other.test"], &content);
    }
    engine.wait_for_log_count("deferred", 12, |line| line.text.contains("status=deferred"));
    let sink = Sink::willing(setup.sink_address());
    let mut client = clients.remove(0);
    client.expect("ETRN far.test", "459 <far.test>: service unavailable");
    client.expect("ETRN Site.Test", "250 Queuing started");
    let taken = sink.wait_for(6);
    let mut tracks: Vec<String> = taken.iter().filter_map(|message| message.track()).collect();
    tracks.sort();
    assert_eq!(tracks, ["site-0", "site-1", "site-2", "site-3", "site-4", "site-5"]);

    // The rest is still there, and goes when it is asked for.
    engine.wait_for_log_count("removed", 6, |line| line.process == "qmgr" && line.text == "removed");
    assert_eq!(sink.count(), 6);
    client.expect("ETRN other.test", "250 Queuing started");
    assert!(sink.wait_for(12)[6..].iter().all(|message| message.recipients == ["user@other.test"]));
    engine.stop();
}

#[test]
fn mail_that_waited_before_a_restart_can_be_asked_for_after_it() {
    let setup = EngineSetup::new("etrn-restart")
        .parameter("ringpost_shards", "2")
        .parameter("relay_domains", "site.test other.test");
    let engine = setup.start();
    let mut clients: Vec<Client> = (0..4).map(|_| engine.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let content = message_content(&format!("waited-{number}"), 500);
        client.message("a@client.test", &["b@site.test"], &content);
        client.message("a@client.test", &["b@other.test"], &content);
    }
    engine.wait_for_log_count("deferred", 8, |line| line.text.contains("status=deferred"));
    drop(clients);
    engine.stop();
    let engine = setup.start();
    let sink = Sink::willing(setup.sink_address());
    let mut client = engine.client();
    client.expect("ETRN site.test", "250 Queuing started");
    assert!(sink.wait_for(4).iter().all(|message| message.recipients == ["b@site.test"]));
    engine.wait_for_log_count("removed", 4, |line| line.process == "qmgr" && line.text == "removed");
    assert_eq!(sink.count(), 4);
    client.expect("ETRN other.test", "250 Queuing started");
    sink.wait_for(8);
    engine.stop();
}
