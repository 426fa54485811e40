//! A 250 after the final dot means stable storage: proved from the reactor's own record of what it handed to the kernel
//! and what came back, against what the segment files hold.

use std::path::PathBuf;

use ringpost_tests::client::message_content;
use ringpost_tests::disk::Disk;
use ringpost_tests::evidence::Evidence;
use ringpost_tests::load::{Acknowledged, Load, Plan};
use ringpost_tests::trace::{Durable, Event, Records, check_replies_follow_commits, parse};
use ringpost_tests::{Engine, EngineSetup, Sink, skip};

/// A relay of one shard that records its operations.
fn traced(name: &str) -> (EngineSetup, PathBuf) {
    let setup = EngineSetup::new(name);
    let trace = setup.home().join("trace");
    let setup = setup
        .word("-o")
        .word(&format!("ringpost_reactor_trace={}", trace.display()))
        .parameter("ringpost_shards", "1");
    // Each shard's number is put behind the name.
    (setup, trace.with_extension("00"))
}

fn events(trace: &PathBuf) -> Vec<Event> {
    let bytes =
        std::fs::read(trace).unwrap_or_else(|error| panic!("no trace at {}: {error}", trace.display()));
    parse(&String::from_utf8_lossy(&bytes))
}

/// What 40 sessions were told and what the relay did about it. The segment files are read after the end, and nothing
/// has been recycled: there is less mail than one segment holds, or none of it leaves.
fn load_and_read(setup: &EngineSetup, trace: &PathBuf) -> (Vec<Acknowledged>, Vec<Event>, Evidence) {
    let engine = setup.start();
    let small = Plan { bytes: (200, 9000), ..Plan::new("small", 36, 40) };
    // From 128 KiB on, content goes to the spool in pieces, which lie in earlier commits than the message's record.
    let large = Plan { bytes: (100_000, 600_000), ..Plan::new("large", 4, 6) };
    let loads = [Load::start(setup.address(), &small), Load::start(setup.address(), &large)];
    let mut acknowledged = Vec::new();
    for load in loads {
        assert_eq!(load.refusals(), [""; 0]);
        acknowledged.extend(load.finish());
    }
    assert_eq!(acknowledged.len(), 36 * 40 + 4 * 6);
    engine.stop();
    (acknowledged, events(trace), Evidence::read(&setup.queue(), 0))
}

#[test]
fn no_250_leaves_before_the_commit_that_covers_its_message() {
    // Nobody takes the mail: every record stays where it was written.
    let (setup, trace) = traced("durable-dead");
    let (acknowledged, events, evidence) = load_and_read(&setup, &trace);
    assert_eq!(check_replies_follow_commits(&events, &evidence), Ok(acknowledged.len()));
    for message in &acknowledged {
        assert!(evidence.commit_of(&message.queue_id).is_some(), "{} has no record", message.queue_id);
    }
    assert!(
        evidence.commits().len() < acknowledged.len(),
        "sessions that end at the same time share commits: {} for {} messages",
        evidence.commits().len(),
        acknowledged.len()
    );
}

#[test]
fn so_it_is_while_mail_leaves_at_the_same_time() {
    let (setup, trace) = traced("durable-live");
    let _sink = Sink::counting(setup.sink_address());
    let (acknowledged, events, evidence) = load_and_read(&setup, &trace);
    assert_eq!(check_replies_follow_commits(&events, &evidence), Ok(acknowledged.len()));
}

/// The canary: traces of a relay that lies. If the check lets one of them pass, it proves nothing.
#[test]
fn the_check_finds_each_kind_of_lie() {
    let (setup, trace) = traced("canary");
    let engine = setup.start();
    let load = Load::start(setup.address(), &Plan::new("canary", 8, 10));
    let acknowledged = load.finish();
    engine.stop();
    let (events, evidence) = (events(&trace), Evidence::read(&setup.queue(), 0));
    assert_eq!(check_replies_follow_commits(&events, &evidence), Ok(acknowledged.len()));

    let is_sync = |event: &Event| matches!(event, Event::Complete { kind, .. } if kind == "fdatasync");
    let is_reply = |event: &Event| matches!(event, Event::Submit { text: Some(text), .. } if text.contains("queued as "));
    let mut lies = 0;
    for at in (0..events.len()).filter(|&at| is_reply(&events[at])) {
        // The reply is sent just before the completion of the last fdatasync above it.
        let sync = events[..at].iter().rposition(is_sync).expect("a 250 comes after some commit");
        let mut early = events.clone();
        let reply = early.remove(at);
        early.insert(sync, reply);
        if check_replies_follow_commits(&early, &evidence).is_err() {
            lies += 1;
        }
    }
    // Not every reply is the first after its commit: another commit may have completed in between.
    assert!(lies > 0, "a reply above its own commit passes");

    let without_syncs: Vec<Event> = events.iter().filter(|event| !is_sync(event)).cloned().collect();
    assert!(check_replies_follow_commits(&without_syncs, &evidence).is_err());
    let mut failing = events.clone();
    for event in &mut failing {
        if let Event::Complete { kind, result, .. } = event
            && kind == "fdatasync"
        {
            *result = -5;
        }
    }
    assert!(check_replies_follow_commits(&failing, &evidence).is_err());

    // One commit in the middle that never became durable, though all later ones did.
    let places: Vec<_> = evidence.commits().values().cloned().collect();
    let missing = &places[places.len() / 2];
    let hole: Vec<Event> = events
        .iter()
        .filter(|event| {
            !matches!(event, Event::Submit { kind, offset, bytes, .. }
                if kind == "write" && *offset == missing.offset && *bytes == missing.bytes)
        })
        .cloned()
        .collect();
    assert_eq!(hole.len() + 1, events.len(), "each commit is one write");
    assert!(check_replies_follow_commits(&hole, &evidence).is_err());
}

/// Sends one message after another over one session.
fn one_by_one(engine: &Engine, count: usize) {
    let mut client = engine.client();
    for number in 0..count {
        client.message("a@client.test", &["b@sink.test"], &message_content(&format!("one-{number}"), 1000));
    }
    client.quit();
}

#[test]
fn a_hundred_messages_one_after_another_cost_a_hundred_flushes() {
    let (setup, trace) = traced("flushes");
    let engine = setup.start();
    let disk = Disk::below(&setup.queue());
    let before = disk.as_ref().map(Disk::flushes);
    one_by_one(&engine, 100);
    let after = disk.as_ref().map(Disk::flushes);
    engine.stop();

    let mut durable = Durable::default();
    events(&trace).iter().for_each(|event| durable.take(event));
    assert!(durable.syncs() >= 100, "{} fdatasyncs for 100 messages", durable.syncs());
    match (&disk, before, after) {
        (Ok(disk), Ok(before), Ok(after)) if disk.has_write_cache() => {
            println!("the disk counted {} flushes, the trace {} fdatasyncs", after - before, durable.syncs());
            assert!(after - before >= 100, "the disk counted {} flushes for 100 messages", after - before);
        }
        (Ok(_), ..) => skip!("the disk has no write cache to flush, or hides it; only the trace was checked"),
        (Err(why), ..) => skip!("{why}; only the trace was checked"),
    }
}
