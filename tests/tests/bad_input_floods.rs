//! Floods: much more than anybody needs of one thing. Each is cut off in bounded memory, and others are served meanwhile.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use ringpost_tests::client::message_content;
use ringpost_tests::{Client, Engine, EngineSetup, Sink};

/// What the relay may grow by under one flood: receive buffers of its shards that were never touched before.
const GROWTH_BYTES_MAX: u64 = 40 << 20;

fn assert_others_are_served(engine: &Engine) {
    let mut client = engine.client();
    client.message("other@client.test", &["other@sink.test"], &message_content("other", 900));
    client.quit();
}

/// Sends `total` bytes of `piece`, then a line end, and gives everything that the relay answers until it closes.
///
/// A reader of its own takes the answers, so that neither side waits for the other.
fn flood(engine: &Engine, piece: &[u8], total: u64) -> String {
    let client = engine.client();
    let stream = client.stream();
    let reader = stream.try_clone().expect("a socket can be shared");
    let replies = thread::spawn(move || read_to_end(reader));
    let mut writer = stream;
    let mut sent = 0;
    while sent < total && writer.write_all(piece).is_ok() {
        sent += piece.len() as u64;
    }
    // The relay may have closed by now: what it said is in the replies.
    let _ = writer.write_all(b"\r\nQUIT\r\n");
    let _ = stream.shutdown(Shutdown::Write);
    replies.join().expect("the reader ends")
}

fn read_to_end(mut stream: TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket takes a timeout");
    let (mut bytes, mut buffer) = (Vec::new(), [0; 65536]);
    // A reset ends the stream, too.
    while let Ok(count) = stream.read(&mut buffer) {
        if count == 0 {
            break;
        }
        bytes.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn a_gibibyte_of_junk_without_a_line_end_is_one_error_in_constant_memory() {
    // One shard, so that the flood which is measured meets the buffers that the first one brought in.
    let setup =
        EngineSetup::new("junk").parameter("smtpd_error_sleep_time", "0s").parameter("ringpost_shards", "1");
    let _sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    // The first megabytes bring the receive buffers into memory, which stay.
    flood(&engine, &[b'x'; 65536], 64 << 20);
    let before = engine.process().anonymous_bytes();
    let replies = flood(&engine, &[b'x'; 65536], 1 << 30);
    assert_eq!(replies, "500 5.5.2 Error: command too long\r\n221 2.0.0 Bye\r\n");
    let grown = engine.process().anonymous_bytes().saturating_sub(before);
    assert!(grown < 8 << 20, "a gibibyte of junk cost {grown} bytes");
    assert_others_are_served(&engine);
    engine.stop();
}

#[test]
fn a_hundred_thousand_recipients_end_in_too_many_errors() {
    let setup = EngineSetup::new("rcpt-flood")
        .parameter("smtpd_error_sleep_time", "0s")
        .parameter("smtpd_recipient_overshoot_limit", "1000");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    assert_others_are_served(&engine);
    let before = engine.process().anonymous_bytes();
    let mut client = engine.client();
    client.expect("MAIL FROM:<a@client.test>", "250");
    let reader = client.stream().try_clone().expect("a socket can be shared");
    let replies = thread::spawn(move || read_to_end(reader));
    let mut stream = client.stream();
    for number in 0..100_000 {
        if stream.write_all(format!("RCPT TO:<user{number}@sink.test>\r\n").as_bytes()).is_err() {
            break;
        }
    }
    let replies = replies.join().expect("the reader ends");
    let count = |beginning: &str| replies.lines().filter(|line| line.starts_with(beginning)).count();
    // The relay closes with commands unread, so the kernel may drop what it had not yet delivered of the replies;
    // those that came are in order.
    assert_eq!(count("250 2.1.5 Ok"), 1000);
    let refused = count("452 4.5.3 Error: too many recipients");
    assert!((1000..=1020).contains(&refused) || !replies.contains("421"), "{refused} refusals");
    assert!(refused <= 1020, "{refused} refusals: errors must be limited");
    engine.wait_for_log("too many errors", |line| line.text.starts_with("too many errors after RCPT from"));
    let grown = engine.process().anonymous_bytes().saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "the flood cost {grown} bytes");
    assert_others_are_served(&engine);
    assert_eq!(sink.wait_for(2).len(), 2, "nothing of the flood is a message");
    engine.stop();
}

#[test]
fn pipelined_errors_without_end_are_cut_off() {
    let setup = EngineSetup::new("error-flood").parameter("smtpd_error_sleep_time", "0s");
    let _sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let replies = flood(&engine, &b"WHAT EVER\r\n".repeat(1000), 10 << 20);
    let errors = replies.lines().filter(|line| line.starts_with("500 5.5.2")).count();
    assert!(errors <= 20, "{errors} errors are answered");
    engine
        .wait_for_log("too many errors", |line| line.text.starts_with("too many errors after UNKNOWN from"));
    assert_others_are_served(&engine);
    engine.stop();
}

#[test]
fn a_thousand_sessions_that_send_half_a_message_cost_little_and_hinder_nobody() {
    let setup = EngineSetup::new("half-messages").parameter("ringpost_session_limit", "3000");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    assert_others_are_served(&engine);
    let before = engine.process().anonymous_bytes();
    let open: Vec<Client> = (0..1000)
        .map(|_| {
            let mut client = engine.client();
            client.send(b"MAIL FROM:<a@client.test>\r\nRCPT TO:<b@sink.test>\r\nDATA\r\n");
            for code in [250, 250, 354] {
                assert_eq!(client.reply().code, code);
            }
            client.send(&message_content("half", 2000));
            client
        })
        .collect();
    assert_others_are_served(&engine);
    let grown = engine.process().anonymous_bytes().saturating_sub(before);
    let allowed = GROWTH_BYTES_MAX + open.len() as u64 * (8 << 10);
    assert!(grown < allowed, "{} sessions cost {grown} bytes", open.len());
    drop(open);
    engine.wait_for_log_count("disconnect", 1002, |line| line.text.starts_with("disconnect from"));
    assert_eq!(sink.wait_for(2).len(), 2);
    engine.stop();
}

#[test]
fn every_listener_goes_on_when_there_is_room_again() {
    let setup = EngineSetup::new("two-listeners")
        .parameter("ringpost_session_limit", "1")
        .parameter("ringpost_shards", "1");
    let first = setup.address();
    let second = std::net::SocketAddrV4::new(*first.ip(), first.port() + 1);
    let setup = setup.master_cf(&format!("{first} inet n - n - - smtpd\n{second} inet n - n - - smtpd\n"));
    let engine = setup.start();
    for _ in 0..3 {
        // Each listener takes one client, finds no room for more, and rests.
        let sessions = [Client::greeted(first), Client::greeted(second)];
        sessions.into_iter().for_each(Client::quit);
        // With room again, both must have woken.
        let mut later =
            [first, second].map(|address| Client::try_connect(address).expect("the kernel accepts"));
        for client in &mut later {
            assert!(client.reply().is("220 "));
            client.expect("QUIT", "221");
        }
    }
    engine.stop();
}

#[test]
fn beyond_the_session_limit_clients_wait_and_are_served_when_there_is_room() {
    let setup = EngineSetup::new("session-limit").parameter("ringpost_session_limit", "20");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let address = setup.address();
    // More sessions than there is room for, each with a message: those that wait get their turn.
    let sessions: Vec<_> = (0..100)
        .map(|number| {
            thread::spawn(move || {
                let mut client = Client::greeted(address);
                let content = message_content(&format!("n-{number}"), 900);
                client.message("a@client.test", &["b@sink.test"], &content);
                client.quit();
            })
        })
        .collect();
    for session in sessions {
        session.join().expect("every session is served");
    }
    sink.wait_for(100);
    engine.stop();
}
