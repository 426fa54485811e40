//! Mail that goes in comes out: once, whole, to everybody, and the log tells its life in Postfix's words.

use std::thread;

use ringpost_tests::client::message_content;
use ringpost_tests::maillog::LogLine;
use ringpost_tests::{Client, EngineSetup, Ledger, Sink};

fn removed(line: &LogLine) -> bool {
    line.process == "qmgr" && line.text == "removed"
}

#[test]
fn one_message_arrives_whole() {
    let setup = EngineSetup::new("one-message");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut client = engine.client();
    let content = message_content("one", 4096);
    let queue_id = client.message("sender@client.test", &["you@sink.test"], &content);
    client.quit();

    let taken = sink.wait_for(1);
    assert_eq!(taken[0].sender, "sender@client.test");
    assert_eq!(taken[0].recipients, ["you@sink.test"]);
    let received = taken[0].header("Received").expect("a relay adds its trace header");
    assert!(received.starts_with("from client.test"), "{received}");
    let header = String::from_utf8_lossy(&taken[0].content);
    assert!(
        header.contains(&format!("id {queue_id}")),
        "the trace header names the queue id {queue_id}:\n{header}"
    );
    let sent_body = content.split(|&byte| byte == b'\n').skip_while(|line| line != b"\r").skip(1);
    let came_body = taken[0].body().split(|&byte| byte == b'\n');
    assert!(sent_body.eq(came_body), "the body must come out as it went in");
    engine.wait_for_log("removed", removed);
    engine.stop();
}

#[test]
fn sizes_from_100_bytes_to_9_mib_arrive_whole() {
    let setup = EngineSetup::new("sizes");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut client = engine.client();
    // 128 KiB is where messages begin to be stored in pieces.
    let sizes = [0, 100, 4096, 131_071, 131_072, 131_073, 1 << 20, 9 << 20];
    for size in sizes {
        let mut content = message_content(&format!("size-{size}"), size);
        if size == 0 {
            content = b"X-Track: size-0\r\n\r\n".to_vec();
        }
        client.message("sender@client.test", &["you@sink.test"], &content);
    }
    client.quit();
    let taken = sink.wait_for(sizes.len());
    for size in sizes.into_iter().filter(|&size| size > 0) {
        let track = format!("size-{size}");
        let message = taken.iter().find(|message| message.track().as_ref() == Some(&track));
        let message = message.unwrap_or_else(|| panic!("no message {track}"));
        let sent = message_content(&track, size);
        let body = sent.windows(4).position(|four| four == b"\r\n\r\n").expect("a message has a header") + 4;
        assert!(message.body() == &sent[body..], "the body of {track} came out different");
    }
    engine.stop();
}

#[test]
fn every_recipient_of_a_message_gets_it_once() {
    let setup = EngineSetup::new("recipients");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let names: Vec<String> =
        (0..120).map(|number| format!("user{number}@domain{}.test", number % 7)).collect();
    let recipients: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut client = engine.client();
    client.message("sender@client.test", &recipients, &message_content("many", 2000));
    client.quit();
    engine.wait_for_log("removed", removed);
    let mut got: Vec<String> =
        sink.messages().iter().flat_map(|message| message.recipients.clone()).collect();
    got.sort();
    let mut wanted = names.clone();
    wanted.sort();
    assert_eq!(got, wanted);
    // default_destination_recipient_limit: at most 50 recipients a delivery.
    assert!(sink.messages().iter().all(|message| message.recipients.len() <= 50));
    engine.stop();
}

#[test]
fn a_duplicate_recipient_gets_one_copy() {
    let setup = EngineSetup::new("duplicate");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut client = engine.client();
    let twice = ["you@sink.test", "you@sink.test"];
    client.message("sender@client.test", &twice, &message_content("twice", 500));
    client.quit();
    engine.wait_for_log("removed", removed);
    assert_eq!(sink.messages().iter().map(|message| message.recipients.len()).sum::<usize>(), 1);
    engine.stop();
}

#[test]
fn two_thousand_messages_over_twenty_sessions_arrive_exactly_once() {
    let setup = EngineSetup::new("two-thousand");
    let sink = Sink::counting(setup.sink_address());
    let engine = setup.start();
    let address = setup.address();
    let sessions: Vec<_> = (0..20)
        .map(|session| {
            thread::spawn(move || {
                let mut client = Client::greeted(address);
                let tracks: Vec<String> = (0..100).map(|number| format!("m-{session}-{number}")).collect();
                for track in &tracks {
                    client.message("sender@client.test", &["you@sink.test"], &message_content(track, 4096));
                }
                client.quit();
                tracks
            })
        })
        .collect();
    let mut ledger = Ledger::default();
    for session in sessions {
        for track in session.join().expect("a session ends well") {
            ledger.acknowledge(track);
        }
    }
    sink.wait_for(2000);
    engine.wait_for_log_count("removed", 2000, removed);
    for message in sink.messages() {
        ledger.deliver(&message);
    }
    assert_eq!(ledger.lost(), [""; 0]);
    assert_eq!(ledger.repeated(), []);
    assert!(sink.connections() < 200, "a busy destination's connections are kept: {}", sink.connections());
    engine.stop();
}

#[test]
fn pipelined_commands_are_answered_in_one_flight() {
    let setup = EngineSetup::new("pipelined");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut client = engine.client();
    client.send(b"MAIL FROM:<a@client.test>\r\nRCPT TO:<b@sink.test>\r\nRCPT TO:<c@sink.test>\r\nDATA\r\n");
    for wanted in ["250 2.1.0", "250 2.1.5", "250 2.1.5", "354 "] {
        let reply = client.reply();
        assert!(reply.is(wanted), "wanted {wanted}, got {reply:?}");
    }
    client.send(b"Subject: x\r\n\r\nbody\r\n.\r\nMAIL FROM:<a@client.test>\r\nRSET\r\nQUIT\r\n");
    client.reply().queue_id();
    for wanted in ["250 2.1.0", "250 2.0.0", "221 2.0.0"] {
        let reply = client.reply();
        assert!(reply.is(wanted), "wanted {wanted}, got {reply:?}");
    }
    assert_eq!(sink.wait_for(1)[0].recipients.len(), 2);
    engine.stop();
}

#[test]
fn dots_are_stuffed_on_the_way_out() {
    let setup = EngineSetup::new("dots");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut client = engine.client();
    // As it goes over the wire: the first dot of each line is the stuffing.
    let wire = b"Subject: dots\r\n\r\n..\r\n...\r\n..leading\r\nmid.dle\r\n..\r\n";
    client.message("a@client.test", &["b@sink.test"], wire);
    client.quit();
    let taken = sink.wait_for(1);
    assert_eq!(String::from_utf8_lossy(taken[0].body()), ".\r\n..\r\n.leading\r\nmid.dle\r\n.\r\n");
    engine.stop();
}

#[test]
fn the_log_tells_the_life_of_a_message_in_order() {
    let setup = EngineSetup::new("log");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut client = engine.client();
    let queue_id = client.message("a@client.test", &["b@sink.test"], &message_content("logged", 1000));
    client.quit();
    sink.wait_for(1);
    engine.wait_for_log("removed", removed);
    engine.wait_for_log("disconnect", |line| line.text.starts_with("disconnect from"));
    let log = engine.log();
    let of_message: Vec<&LogLine> =
        log.iter().filter(|line| line.queue_id.as_deref() == Some(queue_id.as_str())).collect();
    let beginnings = [
        ("smtpd", "client="),
        ("cleanup", "message-id=<logged@client.test>"),
        ("qmgr", "from=<a@client.test>, size="),
        ("smtp", "to=<b@sink.test>, relay="),
        ("qmgr", "removed"),
    ];
    assert_eq!(of_message.len(), beginnings.len(), "{of_message:#?}");
    for (line, (process, beginning)) in of_message.iter().zip(beginnings) {
        assert!(
            line.process == process && line.text.starts_with(beginning),
            "wanted {beginning}, got {line:?}"
        );
    }
    assert!(of_message[2].text.ends_with("nrcpt=1 (queue active)"), "{:?}", of_message[2]);
    let sent = &of_message[3].text;
    for field in [", delay=", ", delays=", ", dsn=2.0.0, status=sent (250 2.0.0 Ok: taken)"] {
        assert!(sent.contains(field), "no {field:?} in {sent}");
    }
    let position = |beginning: &str| log.iter().position(|line| line.text.starts_with(beginning));
    let (connect, disconnect) = (position("connect from"), position("disconnect from"));
    assert!(connect < disconnect && connect.is_some());
    let farewell = &log[disconnect.expect("it was waited for")].text;
    assert!(farewell.ends_with(" ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5"), "{farewell}");
    engine.stop();
}

#[test]
fn a_stranger_may_not_relay() {
    let setup = EngineSetup::new("stranger").parameter("mynetworks", "192.0.2.0/24");
    let engine = setup.start();
    let mut client = engine.client();
    client.expect("MAIL FROM:<a@client.test>", "250 2.1.0");
    client.expect("RCPT TO:<b@sink.test>", "554 5.7.1 <b@sink.test>: Relay access denied");
    client.expect("DATA", "554 5.5.1 Error: no valid recipients");
    client.quit();
    engine.wait_for_log("the refusal", |line| {
        line.text.contains("reject: RCPT from")
            && line.text.contains("554 5.7.1 <b@sink.test>: Relay access denied")
    });
    engine.stop();
}

#[test]
fn relay_domains_are_open_to_strangers() {
    let setup = EngineSetup::new("relay-domains")
        .parameter("mynetworks", "192.0.2.0/24")
        .parameter("relay_domains", "sink.test");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut client = engine.client();
    client.message("a@client.test", &["b@sink.test"], &message_content("open", 500));
    client.expect("MAIL FROM:<a@client.test>", "250");
    client.expect("RCPT TO:<b@other.test>", "554 5.7.1");
    client.quit();
    sink.wait_for(1);
    engine.stop();
}
