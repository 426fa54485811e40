//! Mail for a hundred thousand: what it costs in memory, and that no recipient is lost or served twice by a crash, by
//! damage, or by the queue commands.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek, SeekFrom};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use ringpost_tests::client::message_content;
use ringpost_tests::door::Door;
use ringpost_tests::engine::binary;
use ringpost_tests::maillog::LogLine;
use ringpost_tests::notice::Notice;
use ringpost_tests::sink::{Answer, Message, Stage};
use ringpost_tests::{Client, Engine, EngineSetup, Sink, wait};

/// How long the largest message may take in an unoptimised build on a busy machine.
const LARGE_PATIENCE: Duration = Duration::from_secs(150);

/// Addresses of about 30 bytes.
fn short(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("recipient-{number}@sink.test")).collect()
}

/// Sends one message, its RCPT commands pipelined.
fn send(client: &mut Client, sender: &str, recipients: &[String], content: &[u8]) -> String {
    send_with(client, sender, recipients, |_| String::new(), content)
}

/// As [`send`], with options of each RCPT command.
fn send_with(
    client: &mut Client,
    sender: &str,
    recipients: &[String],
    options: impl Fn(&str) -> String,
    content: &[u8],
) -> String {
    client.expect(&format!("MAIL FROM:<{sender}>"), "250");
    for some in recipients.chunks(500) {
        let line = |address: &String| format!("RCPT TO:<{address}>{}\r\n", options(address));
        let lines: String = some.iter().map(line).collect();
        client.send(lines.as_bytes());
        for address in some {
            let reply = client.reply();
            assert_eq!(reply.code, 250, "{address}: {reply:?}");
        }
    }
    client.expect("DATA", "354");
    client.send(content);
    client.send(b".\r\n");
    client.reply().queue_id().to_owned()
}

/// Whether the end of the mail log says this; its beginning may be long.
fn log_ends_with(setup: &EngineSetup, wanted: &str) -> bool {
    const TAIL_BYTES: u64 = 32 << 10;
    let tail = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(setup.home().join("maillog"))?;
        let from = file.metadata()?.len().saturating_sub(TAIL_BYTES);
        file.seek(SeekFrom::Start(from))?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail)?;
        Ok(tail)
    };
    tail().is_ok_and(|tail| String::from_utf8_lossy(&tail).contains(wanted))
}

fn wait_until_removed(setup: &EngineSetup, id: &str) {
    wait::until_within(LARGE_PATIENCE, &format!("{id} is removed"), || {
        log_ends_with(setup, &format!("{id}: removed")).then_some(())
    });
}

/// How often each recipient got the message of this track.
fn deliveries(sink: &Sink, track: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let of_track = |message: &&Arc<Message>| message.track().as_deref() == Some(track);
    for message in sink.messages().iter().filter(of_track) {
        for recipient in &message.recipients {
            *counts.entry(recipient.clone()).or_default() += 1;
        }
    }
    counts
}

fn assert_each_got_it_once(sink: &Sink, track: &str, recipients: &[String]) {
    let counts = deliveries(sink, track);
    assert_eq!(counts.len(), recipients.len(), "recipients that got it");
    let twice = counts.iter().find(|(_, count)| **count != 1);
    assert_eq!(twice, None);
    assert!(recipients.iter().all(|recipient| counts.contains_key(recipient)));
}

/// The output of a command that succeeds, without complaints.
fn succeeds(setup: &EngineSetup, words: &[&str]) -> String {
    let mut command = Command::new(binary());
    command.arg(words[0]).arg("-c").arg(setup.home()).args(&words[1..]).env_remove("MAIL_CONFIG");
    let output = command.stdin(Stdio::null()).output().expect("the binary was built");
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).expect("the commands print UTF-8")
}

fn large_setup(name: &str) -> EngineSetup {
    EngineSetup::new(name)
        .parameter("ringpost_shards", "1")
        .parameter("smtpd_recipient_limit", "100000")
        .parameter("smtp_destination_recipient_limit", "500")
        .parameter("qmgr_message_recipient_limit", "5000")
}

#[test]
fn mail_for_a_hundred_thousand_takes_less_memory_than_its_list_and_mail_for_one_overtakes_it() {
    const RECIPIENTS: usize = 100_000;
    // Long addresses, and as long original ones: the list is to be much more than what else a delivery takes, most of it
    // for the mail log.
    let domain = ["a", "b", "c", "d"].map(|label| label.repeat(56)).join(".");
    let recipients: Vec<String> = (0..RECIPIENTS).map(|number| format!("r{number:06}@{domain}")).collect();
    let list_bytes: u64 = recipients.iter().map(|address| 2 * address.len() as u64).sum();
    let setup = large_setup("hundred-thousand")
        .parameter("smtp_destination_concurrency_limit", "4")
        .parameter("smtp_initial_destination_concurrency", "4");
    let engine = setup.start();
    let original = |address: &str| format!(" ORCPT=rfc822;{address}");
    let content = message_content("large", 2000);
    let large = send_with(&mut engine.client(), "list@client.test", &recipients, original, &content);
    // Nobody listens where it is to go.
    wait::until("it is deferred", || {
        succeeds(&setup, &["why", &large]).contains("it is tried again in").then_some(())
    });
    succeeds(&setup, &["postsuper", "-h", &large]);
    // What taking it in has cost was the session's; a fresh process shows what delivering it costs.
    engine.stop();
    let door = Arc::new(Door::default());
    let at_the_sink = Arc::clone(&door);
    let sink = Sink::scripted(setup.sink_address(), move |stage| {
        if let Stage::EndOfData(_) = stage {
            at_the_sink.pass();
        }
        Answer::Usual
    });
    let engine = setup.start();
    let idle_bytes = engine.process().resident_bytes_peak();
    succeeds(&setup, &["postsuper", "-H", &large]);
    wait::until("it is active", || (sink.connections_open() >= 4).then_some(()));
    let small =
        engine.client().message("one@client.test", &["you@sink.test"], &message_content("small", 500));
    wait::until("the small message is active", || {
        log_ends_with(&setup, &format!("{small}: from=<one@client.test>")).then_some(())
    });
    door.open();
    wait_until_removed(&setup, &large);
    let before_small = sink.messages().iter().position(|message| message.track().as_deref() == Some("small"));
    assert!(before_small.is_some_and(|at| at < 30), "the small one came at {before_small:?}");
    let taken_bytes = engine.process().resident_bytes_peak() - idle_bytes;
    println!("a list of {} KiB took at most {} KiB", list_bytes >> 10, taken_bytes >> 10);
    assert!(taken_bytes < list_bytes, "{} KiB, with the buffers of 100,000 log lines", taken_bytes >> 10);
    assert_each_got_it_once(&sink, "large", &recipients);
    engine.stop();
}

#[test]
fn a_crash_in_the_middle_loses_no_recipient() {
    const RECIPIENTS: usize = 20_000;
    let recipients = short(RECIPIENTS);
    let setup = large_setup("large-crash").parameter("smtp_destination_recipient_limit", "20");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let large = send(&mut engine.client(), "list@client.test", &recipients, &message_content("large", 2000));
    // More deliveries than outcome notes are kept one by one.
    sink.wait_for(400);
    engine.kill();
    let engine = setup.start();
    wait_until_removed(&setup, &large);
    engine.stop();
    let counts = deliveries(&sink, "large");
    assert_eq!(counts.len(), RECIPIENTS, "somebody did not get it");
    let twice = counts.values().filter(|count| **count > 1).count();
    assert!(twice < RECIPIENTS / 4, "{twice} got it again, though their outcomes were recorded");
}

/// Damages a byte of this text in the queue's files; says how often it was there.
fn damage(setup: &EngineSetup, text: &str) -> usize {
    let mut hits = 0;
    for shard in std::fs::read_dir(setup.queue().join("spool")).expect("the queue has a spool").flatten() {
        for file in std::fs::read_dir(shard.path()).expect("a shard has a directory").flatten() {
            let mut bytes = std::fs::read(file.path()).expect("a segment can be read");
            let places: Vec<usize> = memchr_all(&bytes, text.as_bytes());
            for place in &places {
                bytes[place + 1] ^= 0x20;
            }
            if !places.is_empty() {
                std::fs::write(file.path(), &bytes).expect("a segment can be written");
            }
            hits += places.len();
        }
    }
    hits
}

fn memchr_all(bytes: &[u8], wanted: &[u8]) -> Vec<usize> {
    let first = wanted[0];
    let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == first).map(|(at, _)| at);
    starts.filter(|&at| bytes[at..].starts_with(wanted)).collect()
}

#[test]
fn damage_of_one_piece_of_the_list_is_told_and_costs_nobody_else() {
    const RECIPIENTS: usize = 10_000;
    let recipients = short(RECIPIENTS);
    let setup = large_setup("large-damage");
    // Nobody listens where it sends.
    let engine = setup.start();
    let mut client = engine.client();
    let other = client.message("a@client.test", &["other@sink.test"], &message_content("other", 500));
    let large = send(&mut client, "list@client.test", &recipients, &message_content("large", 2000));
    client.quit();
    wait::until("all is deferred", || {
        let listed = succeeds(&setup, &["postqueue", "-j"]);
        (listed.lines().filter(|line| line.contains("\"deferred\"")).count() == 2).then_some(())
    });
    engine.stop();
    assert_eq!(damage(&setup, "recipient-5000@sink.test"), 1);

    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    succeeds(&setup, &["postqueue", "-f"]);
    wait_until_removed_or_told(&engine, &other, &large);
    let counts = deliveries(&sink, "large");
    assert!(counts.values().all(|count| *count == 1));
    let lost = RECIPIENTS - counts.len();
    assert!((1..5000).contains(&lost), "{lost} recipients were lost with one piece");
    assert!(!counts.contains_key("recipient-5000@sink.test"));
    assert!(counts.contains_key("recipient-0@sink.test") && counts.contains_key("recipient-9999@sink.test"));
    assert_eq!(deliveries(&sink, "other").len(), 1);
    // It stays in the spool, and whoever starts it again is told again and sends nobody a second copy.
    let delivered = sink.count();
    engine.stop();
    let engine = setup.start();
    succeeds(&setup, &["postqueue", "-f"]);
    engine.wait_for_log_count("the damage again", 4, |line| line.text.contains("damaged on the disk"));
    assert_eq!(sink.count(), delivered);
    assert!(!log_ends_with(&setup, &format!("{large}: removed")));
    engine.stop();
}

fn wait_until_removed_or_told(engine: &Engine, other: &str, large: &str) {
    let removed = |line: &LogLine| line.text == "removed" && line.queue_id.as_deref() == Some(other);
    engine.wait_for_log("the other message is delivered", removed);
    // A warning's text begins with its severity.
    let told = format!("{large}: ");
    engine.wait_for_log("which message is damaged", |line| {
        line.text.contains(&told) && line.text.contains("recipients cannot be read")
    });
    engine.wait_for_log("that it is set aside", |line| line.text.contains("stays in the spool as corrupt"));
}

#[test]
fn the_queue_commands_show_and_requeue_a_large_list_whole() {
    const RECIPIENTS: usize = 12_000;
    let recipients = short(RECIPIENTS);
    let all: BTreeSet<&str> = recipients.iter().map(String::as_str).collect();
    let setup = large_setup("large-commands").parameter("fast_flush_domains", "sink.test");
    let engine = setup.start();
    let large = send(&mut engine.client(), "list@client.test", &recipients, &message_content("large", 2000));
    let deferred = |id: &str| {
        wait::until("it is deferred", || {
            let listed = succeeds(&setup, &["postqueue", "-j"]);
            listed.lines().any(|line| line.contains(id) && line.contains("\"deferred\"")).then_some(())
        });
    };
    deferred(&large);
    let assert_listed = |id: &str| {
        let json: serde_json::Value =
            serde_json::from_str(&succeeds(&setup, &["postqueue", "-j"])).expect("one message, one line");
        assert_eq!(json["queue_id"], id);
        let listed = json["recipients"].as_array().expect("recipients are a list");
        let addresses: BTreeSet<&str> =
            listed.iter().filter_map(|recipient| recipient["address"].as_str()).collect();
        assert_eq!((listed.len(), addresses), (RECIPIENTS, all.clone()));
        let text = succeeds(&setup, &["postqueue", "-p"]);
        assert_eq!(text.lines().filter(|line| line.trim().ends_with("@sink.test")).count(), RECIPIENTS);
        let shown = succeeds(&setup, &["postcat", "-eq", id]);
        assert_eq!(shown.lines().filter(|line| line.starts_with("recipient: ")).count(), RECIPIENTS);
    };
    assert_listed(&large);
    assert!(succeeds(&setup, &["why", &large]).contains("and 11900 recipients more"));
    succeeds(&setup, &["postsuper", "-r", &large]);
    let again = wait::until("it has a new name", || {
        let listed = succeeds(&setup, &["postqueue", "-j"]);
        let json: serde_json::Value = serde_json::from_str(listed.lines().next()?).ok()?;
        json["queue_id"].as_str().filter(|id| *id != large).map(str::to_owned)
    });
    deferred(&again);
    assert_listed(&again);
    // The same without an engine.
    engine.stop();
    assert_listed(&again);

    let engine = setup.start();
    let sink = Sink::willing(setup.sink_address());
    succeeds(&setup, &["postqueue", "-s", "sink.test"]);
    wait_until_removed(&setup, &again);
    assert_each_got_it_once(&sink, "large", &recipients);
    engine.stop();
}

#[test]
fn the_sender_hears_of_each_of_many_failures_once() {
    const RECIPIENTS: usize = 12_000;
    let recipients = short(RECIPIENTS);
    let setup = large_setup("large-bounce");
    let sink = Sink::scripted(setup.sink_address(), |stage| match stage {
        Stage::Rcpt(address) if address.starts_with("recipient-") => Answer::say("550 5.1.1 No such user"),
        _ => Answer::Usual,
    });
    let engine = setup.start();
    let large = send(&mut engine.client(), "list@client.test", &recipients, &message_content("large", 2000));
    wait_until_removed(&setup, &large);
    let notices = sink.wait_for(2);
    let mut told = BTreeSet::new();
    for notice in &notices {
        assert_eq!(
            (notice.sender.as_str(), notice.recipients.as_slice()),
            ("", &["list@client.test".to_owned()][..])
        );
        for fields in Notice::parse(&notice.content).recipients {
            let address =
                fields.iter().find(|(name, _)| name == "final-recipient").expect("RFC 3464 wants it");
            assert!(told.insert(address.1.clone()), "{} was told twice", address.1);
        }
    }
    assert_eq!(told.len(), RECIPIENTS);
    engine.stop();
}
