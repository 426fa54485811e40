//! A spool in trouble: a full disk, one that cannot be written, bytes that rot. Mail is refused for a while or reported as
//! damaged; what was acknowledged and is whole is delivered.

use std::collections::HashSet;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ringpost_spool::inspect::{self, Kind};
use ringpost_tests::client::message_content;
use ringpost_tests::evidence::{segments, spool_number};
use ringpost_tests::load::{Load, Plan};
use ringpost_tests::maillog::LogLine;
use ringpost_tests::mount::Mounted;
use ringpost_tests::sink::{Answer, Stage};
use ringpost_tests::{Client, EngineSetup, Ledger, Sink, skip, wait};

/// sysexits.h.
const EX_CANTCREAT: i32 = 73;
const EX_IOERR: i32 = 74;

const FULL: &str = "452 4.3.1 Insufficient system storage";

/// A relay whose queue lies on a small file system.
fn on_small_disk(name: &str, mebibytes: u64) -> Result<(Mounted, EngineSetup), String> {
    let mounted = Mounted::small(&format!("{name}-disk"), mebibytes)?;
    println!("on {}", mounted.kind());
    let queue = mounted.directory().join("queue");
    let setup = EngineSetup::new(name)
        .parameter("queue_directory", &queue.to_string_lossy())
        .parameter("ringpost_shards", "1")
        .parameter("ringpost_spool_segment_size", "4194304")
        .parameter("minimal_backoff_time", "1s")
        .parameter("queue_run_delay", "1s");
    Ok((mounted, setup))
}

#[test]
fn a_full_disk_refuses_mail_and_loses_none_of_it() {
    // 64 MiB stay free whatever comes, so about as much can be queued.
    let (_mounted, setup) = match on_small_disk("full", 128) {
        Ok(parts) => parts,
        Err(why) => skip!("{why}"),
    };
    let mut ledger = Ledger::default();
    let engine = setup.start();
    // The destination is dead: what comes stays, until no more fits.
    let plan = Plan { bytes: (50_000, 200_000), declared: true, ..Plan::new("fill", 8, usize::MAX) };
    let load = Load::start(setup.address(), &plan);
    wait::until("mail is refused", || (load.refusals().len() >= 50).then_some(()));
    let refusals: HashSet<String> = load.refusals().into_iter().collect();
    for message in load.stop() {
        ledger.acknowledge(message.track);
    }
    assert_eq!(refusals.into_iter().collect::<Vec<_>>(), [FULL]);
    assert!(ledger.acknowledged() > 100, "only {} messages fitted", ledger.acknowledged());
    // A full spool still answers everything else, and refuses what would be too much before it is sent.
    let mut client = engine.client();
    client.expect("NOOP", "250 2.0.0");
    client.expect("MAIL FROM:<a@client.test> SIZE=9000000", FULL);
    client.expect("MAIL FROM:<a@client.test>", FULL);
    client.quit();
    engine.wait_for_log("that it is full", |line| {
        line.text.contains("full: mail is refused until there is room")
    });
    let fitted = ledger.acknowledged();

    // The destination comes to life: mail leaves although the disk is full, and then there is room for more.
    let sink = Sink::counting(setup.sink_address());
    sink.wait_for(fitted);
    engine.wait_for_log("that it takes mail", |line| line.text.contains("takes mail again"));
    let track = wait::until("mail is accepted again", || {
        let mut client = Client::try_greeted(setup.address()).ok()?;
        let content = message_content("after", 4096);
        let reply = client.try_message("a@client.test", &["b@sink.test"], &content).ok()?;
        (reply.code == 250).then(|| "after".to_owned())
    });
    ledger.acknowledge(track);
    let load = Load::start(setup.address(), &Plan::new("again", 8, 20));
    for message in load.finish() {
        ledger.acknowledge(message.track);
    }
    assert_eq!(ledger.acknowledged(), fitted + 161);
    // Mail whose 250 the first load did not wait for arrives, too: the count alone does not say that all is there.
    let mut delivered = 0;
    wait::until("all that was acknowledged arrives", || {
        for message in sink.messages().iter().skip(delivered) {
            ledger.deliver(message);
            delivered += 1;
        }
        ledger.lost().is_empty().then_some(())
    });
    assert_eq!(ledger.lost(), [""; 0]);
    assert_eq!(ledger.repeated(), []);
    engine.stop();
}

#[test]
fn a_queue_on_a_full_disk_survives_a_kill() {
    let (_mounted, setup) = match on_small_disk("full-killed", 96) {
        Ok(parts) => parts,
        Err(why) => skip!("{why}"),
    };
    let mut ledger = Ledger::default();
    let engine = setup.start();
    let plan = Plan { bytes: (50_000, 200_000), ..Plan::new("fill", 4, usize::MAX) };
    let load = Load::start(setup.address(), &plan);
    wait::until("mail is refused", || (load.refusals().len() >= 20).then_some(()));
    for message in load.stop() {
        ledger.acknowledge(message.track);
    }
    engine.kill();
    let engine = setup.start();
    let sink = Sink::counting(setup.sink_address());
    for message in sink.wait_for(ledger.acknowledged()) {
        ledger.deliver(&message);
    }
    wait::until("every acknowledged message comes out", || {
        sink.messages().iter().for_each(|message| ledger.deliver(message));
        ledger.lost().is_empty().then_some(())
    });
    engine.stop();
}

#[test]
fn a_disk_that_somebody_else_filled_is_no_place_for_mail() {
    let (mounted, setup) = match on_small_disk("foreign", 160) {
        Ok(parts) => parts,
        Err(why) => skip!("{why}"),
    };
    let engine = setup.start();
    let mut client = engine.client();
    client.message("a@client.test", &["b@sink.test"], &message_content("before", 1000));
    // Another program takes all that is left.
    let ballast = mounted.directory().join("ballast");
    fill_up(&ballast);
    let load =
        Load::start(setup.address(), &Plan { bytes: (50_000, 200_000), ..Plan::new("fill", 4, usize::MAX) });
    wait::until("mail is refused", || (load.refusals().len() >= 20).then_some(()));
    let acknowledged = load.stop();
    assert!(acknowledged.len() < 1000);
    std::fs::remove_file(&ballast).expect("the ballast can be removed");
    wait::until("mail is accepted again", || {
        let content = message_content("after", 1000);
        let reply = client.try_message("a@client.test", &["b@sink.test"], &content).ok()?;
        if reply.code != 250 {
            client.expect("RSET", "250");
        }
        (reply.code == 250).then_some(())
    });
    client.quit();
    let sink = Sink::counting(setup.sink_address());
    sink.wait_for(acknowledged.len() + 2);
    engine.stop();
}

#[test]
fn a_notice_that_finds_no_room_is_sent_when_there_is_some() {
    let (_mounted, setup) = match on_small_disk("notice-full", 128) {
        Ok(parts) => parts,
        Err(why) => skip!("{why}"),
    };
    // What is returned takes more room than the other mail leaves.
    let setup = setup.parameter("bounce_size_limit", "4000000");
    let engine = setup.start();
    let mut client = engine.client();
    let queue_id =
        client.message("author@client.test", &["gone@sink.test"], &message_content("returned", 1_500_000));
    client.quit();
    let plan = Plan { bytes: (50_000, 200_000), declared: true, ..Plan::new("fill", 8, usize::MAX) };
    let load = Load::start(setup.address(), &plan);
    wait::until("mail is refused", || (load.refusals().len() >= 50).then_some(()));
    let stored = load.stop().len();

    // The destination comes to life, and refuses this one recipient for good; the others keep the disk full.
    let room = Arc::new(AtomicBool::new(false));
    let makes_room = Arc::clone(&room);
    let sink = Sink::scripted(setup.sink_address(), move |stage| match stage {
        Stage::Rcpt("gone@sink.test") => Answer::say("550 5.1.1 gone"),
        Stage::Rcpt(address) if *address != "author@client.test" && !makes_room.load(Ordering::Relaxed) => {
            Answer::say("450 4.2.0 later")
        }
        _ => Answer::Usual,
    });
    engine.wait_for_log("that the bounce failed", |line| {
        line.queue_id.as_deref() == Some(&queue_id) && line.text.ends_with("status=deferred (bounce failed)")
    });
    room.store(true, Ordering::Relaxed);
    sink.wait_for(stored);
    engine.wait_for_log("the notice", |line| {
        line.queue_id.as_deref() == Some(&queue_id)
            && line.text.starts_with("sender non-delivery notification: ")
    });
    sink.wait_for(stored + 1);
    let told = |line: &&LogLine| line.text.contains("said: 550 5.1.1 gone");
    assert_eq!(engine.log().iter().filter(told).count(), 1, "who failed is not tried again");
    engine.stop();
}

/// Writes until the disk has no more.
fn fill_up(path: &Path) {
    let file = std::fs::File::create(path).expect("the small disk is writable");
    let piece = vec![0x55; 1 << 20];
    let mut at = 0;
    while let Ok(written) = file.write_at(&piece, at) {
        at += written as u64;
        if written < piece.len() {
            break;
        }
    }
    // What it holds counts on the disk only when it is there.
    let _ = file.sync_all();
}

#[test]
fn a_start_on_a_full_disk_keeps_the_queue() {
    let (mounted, setup) = match on_small_disk("start-full", 160) {
        Ok(parts) => parts,
        Err(why) => skip!("{why}"),
    };
    let engine = setup.start();
    let load = Load::start(setup.address(), &Plan::new("before", 4, 25));
    let acknowledged = load.finish();
    engine.kill();
    let ballast = mounted.directory().join("ballast");
    fill_up(&ballast);
    // With a segment to spare it starts and delivers; without one it says why it cannot, and nothing is lost either way.
    let mut child = setup.command().spawn().expect("the binary can be run");
    let ended =
        wait::holds_within(Duration::from_secs(5), || child.try_wait().is_ok_and(|status| status.is_some()));
    if !ended {
        child.kill().expect("a child that was not waited for can be killed");
    }
    let status = child.wait().expect("a started child can be waited for");
    if ended {
        assert!(matches!(status.code(), Some(EX_CANTCREAT | EX_IOERR)), "{status}");
    }
    std::fs::remove_file(&ballast).expect("the ballast can be removed");
    let sink = Sink::counting(setup.sink_address());
    let engine = setup.start();
    let mut ledger = Ledger::default();
    acknowledged.into_iter().for_each(|message| ledger.acknowledge(message.track));
    wait::until("every acknowledged message comes out", || {
        sink.messages().iter().for_each(|message| ledger.deliver(message));
        ledger.lost().is_empty().then_some(())
    });
    engine.stop();
}

#[test]
fn a_read_only_disk_refuses_the_start() {
    let (mounted, setup) = match on_small_disk("read-only", 128) {
        Ok(parts) => parts,
        Err(why) => skip!("{why}"),
    };
    // Once with a queue that has been used, once without one.
    for used in [false, true] {
        if used {
            mounted.set_read_only(false);
            let engine = setup.start();
            let mut client = engine.client();
            client.message("a@client.test", &["b@sink.test"], &message_content("kept", 1000));
            client.quit();
            engine.stop();
        }
        mounted.set_read_only(true);
        let start = setup.start_refused();
        assert!(matches!(start.code, Some(EX_CANTCREAT | EX_IOERR)), "{:?}: {}", start.code, start.printed);
        let queue = setup.queue();
        assert!(start.printed.contains(&*queue.to_string_lossy()), "{}", start.printed);
        assert!(start.printed.contains("Read-only file system"), "{}", start.printed);
    }
    mounted.set_read_only(false);
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    assert_eq!(sink.wait_for(1)[0].track().as_deref(), Some("kept"));
    engine.stop();
}

#[test]
fn a_file_where_the_spool_should_be_refuses_the_start() {
    let setup = EngineSetup::new("in-the-way");
    std::fs::write(setup.queue().join("spool"), b"not a directory").expect("the queue directory is writable");
    let start = setup.start_refused();
    assert!(matches!(start.code, Some(EX_CANTCREAT | EX_IOERR)), "{:?}: {}", start.code, start.printed);
    assert!(start.printed.contains(&*setup.queue().join("spool").to_string_lossy()), "{}", start.printed);
}

/// Flips one bit in the middle of the record of `queue_id`.
fn damage(setup: &EngineSetup, queue_id: &str) {
    let number = spool_number(queue_id).expect("the relay's queue ids have the long shape");
    for path in segments(&setup.queue(), 0) {
        let bytes = std::fs::read(&path).expect("a segment can be read");
        let place = inspect::frames(&bytes)
            .find(|frame| frame.kind == Kind::Message && frame.id == number)
            .map(|frame| frame.offset + 24 + frame.payload.len() as u64 / 2);
        if let Some(place) = place {
            let file = std::fs::File::options().write(true).open(&path).expect("a segment can be written");
            let flipped = [bytes[place as usize] ^ 0x10];
            file.write_at(&flipped, place).expect("a segment can be written");
            return;
        }
    }
    panic!("{queue_id} has no record in the spool");
}

fn one_rotten_message(name: &str, kill: bool) {
    let setup = EngineSetup::new(name)
        .parameter("ringpost_shards", "1")
        .parameter("minimal_backoff_time", "1s")
        .parameter("queue_run_delay", "1s");
    let engine = setup.start();
    let mut client = engine.client();
    let mut ids = Vec::new();
    for number in 0..60 {
        let track = format!("rot-{number}");
        ids.push(client.message("a@client.test", &["b@sink.test"], &message_content(&track, 4096)));
    }
    drop(client);
    if kill {
        engine.kill()
    } else {
        engine.stop()
    }
    damage(&setup, &ids[30]);

    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let taken = sink.wait_for(59);
    let tracks: HashSet<String> = taken.iter().filter_map(|message| message.track()).collect();
    let wanted: HashSet<String> =
        (0..60).filter(|number| *number != 30).map(|number| format!("rot-{number}")).collect();
    assert_eq!(tracks, wanted, "every whole message is delivered, and nothing of the damaged one");
    let number = spool_number(&ids[30]).expect("the relay's queue ids have the long shape");
    // The spool prints a message as SHARD.SEQUENCE.
    let printed = format!("message {}.{}", number & 1023, number >> 10);
    let line = engine.wait_for_log("which message is damaged", |line| line.text.contains(&printed));
    assert!(line.text.contains("warning") && line.text.contains("damaged"), "{line:?}");
    // The relay goes on.
    let mut client = engine.client();
    client.message("a@client.test", &["b@sink.test"], &message_content("next", 4096));
    client.quit();
    sink.wait_for(60);
    engine.stop();
}

#[test]
fn rot_in_a_sealed_segment_costs_one_message_and_is_reported() {
    one_rotten_message("rot-sealed", false);
}

#[test]
fn rot_in_the_open_segment_of_a_killed_relay_costs_one_message_and_is_reported() {
    one_rotten_message("rot-open", true);
}
