//! What clients say that they should not: every bad line is answered as Postfix answers it, and costs nobody else.

use std::io::{Read, Write};

use ringpost_tests::client::message_content;
use ringpost_tests::{Client, Engine, EngineSetup, Sink};

/// A relay whose error replies are not delayed.
fn quick(name: &str) -> EngineSetup {
    EngineSetup::new(name).parameter("smtpd_error_sleep_time", "0s")
}

/// A session of somebody else works from its greeting to its 250.
fn assert_others_are_served(engine: &Engine) {
    let mut client = engine.client();
    client.message("other@client.test", &["other@sink.test"], &message_content("other", 900));
    client.quit();
}

/// Sends `lines` each on a line of its own and asserts the reply to each.
fn assert_replies(client: &mut Client, exchanges: &[(&[u8], &str)]) {
    for (line, beginning) in exchanges {
        client.send(&[line, &b"\r\n"[..]].concat());
        let reply = client.reply();
        assert!(reply.is(beginning), "{}: wanted {beginning:?}, got {reply:?}", line.escape_ascii());
    }
}

#[test]
fn every_error_has_its_reply() {
    let setup = quick("error-replies")
        .parameter("smtpd_hard_error_limit", "1000")
        .parameter("message_size_limit", "100000")
        .parameter("smtpd_helo_required", "yes");
    let engine = setup.start();
    let mut client = Client::try_connect(setup.address()).expect("the relay listens");
    assert!(client.reply().is("220 relay.test ESMTP"));
    assert_replies(
        &mut client,
        &[
            (b"MAIL FROM:<a@b.test>", "503 5.5.1 Error: send HELO/EHLO first"),
            (b"EHLO", "501 Syntax: EHLO hostname"),
            (b"HELO c.test", "250 relay.test"),
            (b"RCPT TO:<a@b.test>", "503 5.5.1 Error: need MAIL command"),
            (b"DATA", "503 5.5.1 Error: need RCPT command"),
            (b"NONSENSE x", "500 5.5.2 Error: command not recognized"),
            (b"", "500 5.5.2 Error: bad syntax"),
            (b"NOOP \0", "500 5.5.2 Error: bad syntax"),
            (b"NOOP \xff\xfe", "500 5.5.2 Error: bad UTF-8 syntax"),
            (&[b'x'; 3000], "500 5.5.2 Error: command too long"),
            (b"STARTTLS", "502 5.5.1 Error: command not implemented"),
            (b"AUTH PLAIN AAAA", "503 5.5.1 Error: authentication not enabled"),
            (b"XCLIENT ADDR=1.2.3.4", "550 5.7.0 Error: insufficient authorization"),
            (b"VRFY", "501 5.5.4 Syntax: VRFY address"),
            (b"VRFY someone@b.test", "252 2.0.0 someone@b.test"),
            (b"RSET now", "501 5.5.4 Syntax: RSET"),
            (b"MAIL", "501 5.5.4 Syntax: MAIL FROM:<address>"),
            (b"MAIL FROM:<a@b.test> SIZE=100001", "552 5.3.4 Message size exceeds fixed limit"),
            (b"MAIL FROM:<a@b.test> SIZE=x", "501 5.5.4 Bad message size syntax"),
            (b"MAIL FROM:<a@b.test> WHAT=ever", "555 5.5.4 Unsupported option: WHAT=ever"),
            (b"MAIL FROM:<a b@b.test>", "501 5.1.7 Bad sender address syntax"),
            (
                "MAIL FROM:<\u{e4}@b.test>".as_bytes(),
                "553 5.6.7 Must declare SMTPUTF8 to send unicode address",
            ),
            (b"MAIL FROM:<a@b.test>", "250 2.1.0 Ok"),
            (b"MAIL FROM:<a@b.test>", "503 5.5.1 Error: nested MAIL command"),
            (b"DATA", "554 5.5.1 Error: no valid recipients"),
            (b"RCPT TO:<", "501 5.1.3 Bad recipient address syntax"),
            (b"RCPT TO:<c@d.test> NOTIFY=MAYBE", "501 5.5.4 Error: Bad NOTIFY parameter syntax"),
            (b"RCPT TO:<c@d.test> WHAT=ever", "555 5.5.4 Unsupported option: WHAT=ever"),
            (b"RCPT TO:<c@d.test>", "250 2.1.5 Ok"),
            (b"DATA now", "501 5.5.4 Syntax: DATA"),
            (b"RSET", "250 2.0.0 Ok"),
            (b"QUIT", "221 2.0.0 Bye"),
        ],
    );
    assert!(client.is_closed());
    engine.stop();
}

#[test]
fn vrfy_can_be_disabled_and_recipients_are_limited() {
    let setup =
        quick("disabled").parameter("disable_vrfy_command", "yes").parameter("smtpd_recipient_limit", "2");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut client = engine.client();
    assert_replies(
        &mut client,
        &[
            (b"VRFY a@b.test", "502 5.5.1 VRFY command is disabled"),
            (b"MAIL FROM:<a@b.test>", "250 2.1.0 Ok"),
            (b"RCPT TO:<one@d.test>", "250 2.1.5 Ok"),
            (b"RCPT TO:<two@d.test>", "250 2.1.5 Ok"),
            (b"RCPT TO:<three@d.test>", "452 4.5.3 Error: too many recipients"),
            (b"DATA", "354 "),
            (b"\r\n.", "250 2.0.0 Ok: queued as "),
        ],
    );
    // Those that were accepted get it.
    assert_eq!(sink.wait_for(1)[0].recipients, ["one@d.test", "two@d.test"]);
    client.quit();
    engine.stop();
}

#[test]
fn a_client_that_only_errs_is_sent_away() {
    let setup = quick("hard-errors").parameter("smtpd_hard_error_limit", "5");
    let engine = setup.start();
    let mut client = engine.client();
    for _ in 0..5 {
        client.expect("WHAT", "500 5.5.2 Error: command not recognized");
    }
    client.expect("NOOP", "421 4.7.0 relay.test Error: too many errors");
    assert!(client.is_closed());
    engine.wait_for_log("too many errors", |line| {
        line.text.starts_with("too many errors after UNKNOWN from localhost[")
    });
    assert_others_are_served(&engine);
    engine.stop();
}

#[test]
fn junk_commands_count_as_errors_beyond_their_limit() {
    let setup =
        quick("junk").parameter("smtpd_junk_command_limit", "10").parameter("smtpd_hard_error_limit", "5");
    let engine = setup.start();
    let mut client = engine.client();
    let mut accepted = 0;
    let farewell = loop {
        let reply = client.command("NOOP");
        if reply.code != 250 {
            break reply;
        }
        accepted += 1;
        assert!(accepted < 100, "NOOPs are answered without end");
    };
    assert!(farewell.is("421 4.7.0 relay.test Error: too many errors"), "{farewell:?}");
    assert!(client.is_closed());
    engine.stop();
}

#[test]
fn from_the_soft_limit_on_each_reply_is_delayed_and_others_are_not() {
    let setup = EngineSetup::new("soft-errors")
        .parameter("smtpd_soft_error_limit", "2")
        .parameter("smtpd_error_sleep_time", "1s");
    let engine = setup.start();
    let mut client = engine.client();
    client.expect("WHAT", "500");
    client.expect("WHAT", "500");
    let begun = std::time::Instant::now();
    client.send(b"WHAT\r\n");
    // Somebody else's whole session fits into the pause.
    assert_others_are_served(&engine);
    assert!(client.reply().is("500"));
    assert!(begun.elapsed().as_millis() >= 1000, "the reply came after {:?}", begun.elapsed());
    engine.stop();
}

#[test]
fn what_is_not_smtp_is_sent_away_and_logged() {
    let setup = quick("not-smtp");
    let engine = setup.start();
    for (said, logged) in [
        ("GET / HTTP/1.1", "warning: non-SMTP command from localhost["),
        ("CONNECT mx:25 HTTP/1.0", "CONNECT mx:25 HTTP/1.0"),
        ("Subject: buy now", "Subject: buy now"),
        ("\u{7b}\"json\": 1}", "{\"json\": 1}"),
    ] {
        let mut client = engine.client();
        client.expect(said, "221 2.7.0 Error: I can break rules, too. Goodbye.");
        assert!(client.is_closed());
        engine.wait_for_log(said, |line| {
            line.text.starts_with("warning: non-SMTP command from ") && line.text.contains(logged)
        });
    }
    engine.stop();
}

#[test]
fn sending_before_the_turn_ends_the_session() {
    let setup = quick("before-turn");
    let engine = setup.start();
    let mut client = Client::try_connect(setup.address()).expect("the relay listens");
    client.reply();
    client.send(b"EHLO client.test\r\nMAIL FROM:<a@b.test>\r\n");
    assert!(client.reply().is("554 5.5.0 Error: SMTP protocol synchronization"));
    assert!(client.is_closed());
    engine.wait_for_log("improper pipelining", |line| {
        line.text.starts_with("improper command pipelining after EHLO from localhost[")
            && line.text.ends_with("MAIL FROM:<a@b.test>\\r\\n")
    });
    engine.stop();
}

#[test]
fn a_silent_client_is_told_and_closed_and_many_of_them_hinder_nobody() {
    let setup = quick("half-open").parameter("smtpd_timeout", "2s");
    let _sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut silent: Vec<Client> = (0..300)
        .map(|number| {
            let mut client = Client::try_connect(setup.address()).expect("the relay listens");
            // Some never read, some stop in the middle of a transaction, of a command, of a message.
            match number % 4 {
                0 => {}
                1 => client.send(b"EHLO"),
                2 => {
                    client.reply();
                    client.expect("EHLO c.test", "250");
                    client.expect("MAIL FROM:<a@b.test>", "250");
                }
                _ => {
                    client.reply();
                    client.expect("EHLO c.test", "250");
                    client.expect("MAIL FROM:<a@b.test>", "250");
                    client.expect("RCPT TO:<c@sink.test>", "250");
                    client.expect("DATA", "354");
                    client.send(b"Subject: unfinished\r\n");
                }
            }
            client
        })
        .collect();
    assert_others_are_served(&engine);
    for (number, client) in silent.iter_mut().enumerate() {
        if number % 4 < 2 {
            assert!(client.reply().is("220 relay.test"));
        }
        let farewell = client.reply();
        assert!(farewell.is("421 4.4.2 relay.test Error: timeout exceeded"), "{number}: {farewell:?}");
        assert!(client.is_closed());
    }
    for after in
        ["timeout after CONNECT from", "timeout after MAIL from", "timeout after DATA (21 bytes) from"]
    {
        engine.wait_for_log(after, |line| line.text.starts_with(after));
    }
    engine.wait_for_log_count("disconnect", 301, |line| line.text.starts_with("disconnect from"));
    engine.stop();
}

#[test]
fn clients_that_vanish_in_the_middle_of_data_leave_nothing_behind() {
    let setup = quick("vanish");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    for number in 0..100 {
        let mut client = engine.client();
        client.expect("MAIL FROM:<a@b.test>", "250");
        client.expect("RCPT TO:<c@sink.test>", "250");
        client.expect("DATA", "354");
        // Some had sent so much that it is in the spool already; one had all but the final LF.
        match number % 3 {
            0 => client.send(b"Subject: gone\r\n\r\nhalf a line"),
            1 => client.send(&message_content("gone", 600_000)),
            _ => client.send(b"Subject: gone\r\n\r\nbody\r\n.\r"),
        }
    }
    engine.wait_for_log_count("lost", 100, |line| line.text.starts_with("lost connection after DATA ("));
    engine.wait_for_log_count("disconnect", 100, |line| line.text.starts_with("disconnect from"));
    assert_others_are_served(&engine);
    assert_eq!(sink.wait_for(1)[0].track().as_deref(), Some("other"));
    // A stop waits for sessions: that it ends at once with status 0 says that none was left.
    let begun = std::time::Instant::now();
    let home = setup.clone();
    engine.stop();
    assert!(begun.elapsed().as_secs() < 8, "the stop took {:?}: it waited for sessions", begun.elapsed());
    let engine = home.start();
    assert_others_are_served(&engine);
    assert!(sink.wait_for(2).iter().all(|message| message.track().as_deref() == Some("other")));
    engine.stop();
}

#[test]
fn a_second_transaction_has_a_queue_id_of_its_own_after_a_reset() {
    let setup = quick("reset-names");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut client = engine.client();
    client.expect("MAIL FROM:<first@client.test>", "250");
    client.expect("RCPT TO:<a@sink.test>", "250");
    client.expect("RSET", "250");
    client.message("second@client.test", &["b@sink.test"], &message_content("second", 900));
    client.quit();
    sink.wait_for(1);
    engine.wait_for_log_count("client=", 2, |line| line.text.starts_with("client="));
    let named: Vec<Option<String>> = engine
        .log()
        .into_iter()
        .filter(|line| line.text.starts_with("client="))
        .map(|line| line.queue_id)
        .collect();
    assert_eq!(named.len(), 2, "{named:?}");
    assert_ne!(named[0], named[1]);
    engine.stop();
}

#[test]
fn a_storm_of_connections_leaves_nothing_behind() {
    let setup = quick("storm");
    let _sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    assert_others_are_served(&engine);
    let files = engine.process().open_files();
    for round in 0..1000 {
        let mut client = Client::try_connect(setup.address()).expect("the relay listens");
        match round % 4 {
            // Dropped before the greeting is read: the kernel resets.
            0 => {}
            1 => drop(client.try_reply()),
            2 => drop(client.try_send(b"EHLO c.test\r\nQU")),
            _ => {
                let mut bytes = [0; 1];
                let got = client.stream().read(&mut bytes);
                drop(got);
            }
        }
    }
    assert_others_are_served(&engine);
    ringpost_tests::wait::until("all sockets of the storm are closed", || {
        (engine.process().open_files() <= files + 8).then_some(())
    });
    engine.wait_for_log_count("disconnect", 1002, |line| line.text.starts_with("disconnect from"));
    engine.stop();
}

#[test]
fn clients_that_do_not_read_their_replies_are_closed_and_hold_little_memory() {
    let setup = quick("deaf-clients")
        .parameter("smtpd_timeout", "3s")
        .parameter("smtpd_junk_command_limit", "1000000");
    let engine = setup.start();
    assert_others_are_served(&engine);
    let before = engine.process().anonymous_bytes();
    // 12 bytes of question get 150 bytes of answer; the senders stop when neither side's socket takes more.
    let address = setup.address();
    let deaf: Vec<_> = (0..20)
        .map(|_| {
            std::thread::spawn(move || {
                let mut client = Client::try_connect(address).expect("the relay listens");
                client.reply();
                client.expect("EHLO c.test", "250");
                let questions = b"RSET\r\n".repeat(10_000);
                let mut stream = client.stream();
                while stream.write_all(&questions).is_ok() {}
            })
        })
        .collect();
    assert_others_are_served(&engine);
    for client in deaf {
        client.join().expect("the relay closes a client that does not read");
    }
    engine.wait_for_log_count("disconnect", 22, |line| line.text.starts_with("disconnect from"));
    let grown = engine.process().anonymous_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "20 deaf clients cost {grown} bytes");
    assert_others_are_served(&engine);
    engine.stop();
}
