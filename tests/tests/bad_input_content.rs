//! Bad content over the wire: whatever stands in it, exactly one message comes out, whole, and nothing in it can end it
//! early for any reader of line ends.

use std::io::Write;

use ringpost_tests::client::message_content;
use ringpost_tests::sink::Message;
use ringpost_tests::{Client, Engine, EngineSetup, Sink, wait};

/// A relay for which this test is a stranger with respect to bare line feeds: `normalize`, no exclusions.
fn strict(name: &str) -> EngineSetup {
    EngineSetup::new(name).parameter("smtpd_forbid_bare_newline_exclusions", "")
}

/// A session that has got its 354.
fn in_data(engine: &Engine) -> Client {
    let mut client = engine.client();
    client.expect("MAIL FROM:<a@client.test>", "250");
    client.expect("RCPT TO:<b@sink.test>", "250");
    client.expect("DATA", "354");
    client
}

/// The content as a reader that takes CR, LF and CRLF each for a line end sees it: no line may be a lone dot.
///
/// The sink undoes dot-stuffing at CRLF only. A line that is a dot there was stuffed on the wire, as it must be; a dot
/// between other line ends would have gone out as it is.
fn assert_no_way_out(message: &Message) {
    let content = &message.content;
    for (at, byte) in content.iter().enumerate() {
        match byte {
            b'\r' => {
                assert_eq!(content.get(at + 1), Some(&b'\n'), "a bare CR at {at}: {}", content.escape_ascii())
            }
            b'\n' => {
                assert!(at > 0 && content[at - 1] == b'\r', "a bare LF at {at}: {}", content.escape_ascii())
            }
            _ => {}
        }
    }
}

/// What a client hopes to smuggle: a second message after a false end of the first.
fn smuggled(false_end: &[u8]) -> Vec<u8> {
    [
        b"Subject: first\r\n\r\nbody",
        false_end,
        b"MAIL FROM:<evil@client.test>\r\nRCPT TO:<victim@sink.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nx",
        b"\r\n.\r\n",
    ]
    .concat()
}

#[test]
fn no_false_end_makes_two_messages_of_one() {
    let setup = strict("smuggling");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let false_ends: [&[u8]; 16] = [
        b"\n.\n",
        b"\n.\r\n",
        b"\r\n.\n",
        b"\r.\r",
        b"\r.\r\n",
        b"\r\n.\r",
        b"\n.\r",
        b"\r.\n",
        b"\r\n.\r\r\n",
        b"\r\r\n.\r\r\n",
        b"\r\n\0.\r\n",
        b"\r\n.\0\r\n",
        b"\n\r.\r\n",
        b"\r\n..\r\n",
        b"\r\n .\r\n",
        b"\x0b.\x0b",
    ];
    for (sent, false_end) in false_ends.iter().enumerate() {
        let shown = false_end.escape_ascii();
        let mut client = in_data(&engine);
        client.send(&smuggled(false_end));
        assert!(client.reply().is("250 2.0.0 Ok: queued as "), "{shown}");
        // One reply for one message: the next one answers the next command.
        client.expect("NOOP", "250 2.0.0 Ok");
        client.quit();
        let messages = sink.wait_for(sent + 1);
        assert_eq!(messages.len(), sent + 1, "{shown}");
        let message = &messages[sent];
        assert_eq!(message.recipients, ["b@sink.test"], "{shown}");
        assert_no_way_out(message);
        let text = message.content.escape_ascii().to_string();
        assert!(text.contains("MAIL FROM:<evil@client.test>"), "{shown}: content is missing from {text}");
    }
    engine.wait_for_log_count("removed", false_ends.len(), |line| line.text == "removed");
    assert_eq!(sink.count(), false_ends.len());
    engine.stop();
}

#[test]
fn the_same_by_bdat_is_still_one_message() {
    let setup = strict("smuggling-bdat");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let ends: [&[u8]; 6] = [b"\n.\n", b"\r\n.\r\n", b"\r.\r", b"\r\n.\n", b"\n.\r\n", b"\r\n.\r"];
    for (sent, end) in ends.iter().enumerate() {
        let content = [b"Subject: first\r\n\r\nbody", *end, b"MAIL FROM:<evil@client.test>\r\n"].concat();
        let mut client = engine.client();
        client.expect("MAIL FROM:<a@client.test>", "250");
        client.expect("RCPT TO:<b@sink.test>", "250");
        client.send(format!("BDAT {} LAST\r\n", content.len()).as_bytes());
        client.send(&content);
        let reply = client.reply();
        assert!(reply.is("250 2.0.0 Ok: ") && reply.text().contains("bytes queued as"), "{reply:?}");
        client.quit();
        let messages = sink.wait_for(sent + 1);
        assert_no_way_out(&messages[sent]);
        assert!(messages[sent].content.escape_ascii().to_string().contains("MAIL FROM:<evil@client.test>"));
    }
    engine.wait_for_log_count("removed", ends.len(), |line| line.text == "removed");
    assert_eq!(sink.count(), ends.len());
    engine.stop();
}

#[test]
fn bare_line_feeds_are_refused_where_configured() {
    let setup = strict("reject-lf").parameter("smtpd_forbid_bare_newline", "reject");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut client = in_data(&engine);
    client.send(&smuggled(b"\n.\n"));
    assert!(client.reply().is("550 5.5.2 relay.test Error: bare <LF> received"));
    client.message("a@client.test", &["b@sink.test"], &message_content("clean", 900));
    client.send(b"NOOP\n");
    assert!(client.reply().is("550 5.5.2 relay.test Error: bare <LF> received"));
    assert!(client.is_closed());
    assert_eq!(sink.wait_for(1)[0].track().as_deref(), Some("clean"));
    engine.stop();
}

#[test]
fn the_end_may_be_cut_at_every_byte() {
    let setup = strict("cuts");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let content = b"X-Track: cut\r\n\r\n..\r\n...\r\n.x\r\nend\r\n.\r\n";
    let mut client = engine.client();
    for cut in 0..=content.len() {
        client.expect("MAIL FROM:<a@client.test>", "250");
        client.expect("RCPT TO:<b@sink.test>", "250");
        client.expect("DATA", "354");
        let (before, after) = content.split_at(cut);
        client.send(before);
        // The halves arrive apart: the relay has taken the first one off its socket before the second is sent.
        wait_until_read(&client);
        client.send(after);
        assert!(client.reply().is("250 2.0.0 Ok: queued as "), "cut at {cut}");
    }
    // And every byte in a packet of its own.
    client.expect("MAIL FROM:<a@client.test>", "250");
    client.expect("RCPT TO:<b@sink.test>", "250");
    client.expect("DATA", "354");
    for byte in content {
        client.send(&[*byte]);
        wait_until_read(&client);
    }
    assert!(client.reply().is("250 2.0.0 Ok: queued as "));
    client.quit();
    for message in sink.wait_for(content.len() + 2) {
        assert_eq!(message.body(), b".\r\n..\r\nx\r\nend\r\n", "{}", message.content.escape_ascii());
    }
    engine.stop();
}

/// Waits until the kernel has handed everything that this client sent to the relay: its receive queue is empty.
fn wait_until_read(client: &Client) {
    let address = |address: std::io::Result<std::net::SocketAddr>| match address {
        Ok(std::net::SocketAddr::V4(address)) => {
            // /proc/net/tcp prints the address as a number in the machine's byte order.
            let number = u32::from_ne_bytes(address.ip().octets());
            format!("{number:08X}:{:04X}", address.port())
        }
        other => panic!("no IPv4 address: {other:?}"),
    };
    let theirs =
        format!("{} {} ", address(client.stream().peer_addr()), address(client.stream().local_addr()));
    wait::until("the relay has read what was sent", || {
        let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
        let line = table.lines().find(|line| line.contains(&theirs))?;
        // After the two addresses and the state: tx_queue:rx_queue.
        let queues = line.split_ascii_whitespace().nth(4)?;
        queues.ends_with(":00000000").then_some(())
    });
}

#[test]
fn invalid_utf8_and_nul_in_content_come_out_as_they_went_in() {
    let setup = strict("odd-bytes");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let body: Vec<u8> = (0..=255).filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    let content = [
        b"Subject: \xff\xfe\0 odd\r\nX-Track: odd\r\n\r\n",
        &body[..],
        b"\r\n\0\0\0\r\n\xc0\x80\xed\xa0\x80\r\n",
    ]
    .concat();
    let mut client = engine.client();
    client.message("a@client.test", &["b@sink.test"], &content);
    client.quit();
    let message = &sink.wait_for(1)[0];
    assert_eq!(message.track().as_deref(), Some("odd"));
    let expected = [&body[..], b"\r\n\0\0\0\r\n\xc0\x80\xed\xa0\x80\r\n"].concat();
    assert_eq!(message.body().escape_ascii().to_string(), expected.escape_ascii().to_string());
    engine.stop();
}

#[test]
fn odd_bytes_in_commands_are_refused_and_do_not_break_the_log() {
    let setup = strict("odd-commands").parameter("smtpd_error_sleep_time", "0s");
    let engine = setup.start();
    for line in [
        &b"MAIL FROM:<a\0b@client.test>"[..],
        b"MAIL FROM:<a\xff@client.test>",
        b"MAIL FROM:<a\rb@client.test>",
        b"RCPT TO:<\x1b[2J@client.test>",
        b"\0\0\0\0",
        b"EHLO \xc3\x28",
        b"NOOP \x07",
    ] {
        let mut client = engine.client();
        client.send(&[line, b"\r\n"].concat());
        let reply = client.reply();
        assert_eq!(reply.code, 500, "{}: {reply:?}", line.escape_ascii());
        client.quit();
    }
    // A name with the characters that mean something in a log line or a trace header.
    let mut client = Client::try_connect(setup.address()).expect("the relay listens");
    client.reply();
    client.expect("EHLO evil]: NOQUEUE (x\\y\";<z>", "250");
    client.expect("MAIL FROM:<\"a\\\"b c\"@client.test>", "250");
    client.expect("RCPT TO:<unknown@[1.2.3>", "501 5.1.3");
    client.quit();
    engine.wait_for_log_count("disconnect", 8, |line| line.text.starts_with("disconnect from localhost["));
    engine.stop();
}

#[test]
fn bdat_errors_have_their_replies_and_their_payload_is_no_command() {
    let setup = strict("bdat-errors")
        .parameter("smtpd_error_sleep_time", "0s")
        .parameter("message_size_limit", "1000");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let begin = |client: &mut Client| {
        client.expect("MAIL FROM:<a@client.test>", "250");
        client.expect("RCPT TO:<b@sink.test>", "250");
    };
    // What looks like commands in a payload must never be carried out.
    let payload = b"RCPT TO:<victim@sink.test>\r\n".repeat(100);
    let bdat = |client: &mut Client, words: &str, payload: &[u8]| {
        client.send(format!("BDAT {words}\r\n").as_bytes());
        client.send(payload);
        client.reply()
    };

    let mut client = engine.client();
    let many = payload.len().to_string();
    assert!(bdat(&mut client, &many, &payload).is("503 5.5.1 Error: need RCPT command"));
    client.expect("NOOP", "250");
    client.expect("MAIL FROM:<a@client.test>", "250");
    assert!(bdat(&mut client, &many, &payload).is("554 5.5.1 Error: no valid recipients"));
    client.expect("RSET", "250");

    begin(&mut client);
    assert!(bdat(&mut client, "0", b"").is("551 5.7.1 Null BDAT request"));
    client.expect("RSET", "250");

    begin(&mut client);
    assert!(bdat(&mut client, "10", b"Subject: x").is("250 2.0.0 Ok: 10 bytes"));
    assert!(bdat(&mut client, &many, &payload).is("552 5.3.4 Chunk exceeds message size limit"));
    // Refused until LAST or RSET, with the payload taken off the wire each time.
    let reply = bdat(&mut client, "20", &payload[..20]);
    assert!(reply.code == 551 && reply.text().contains("Discarded 20 bytes"), "{reply:?}");
    client.expect("RCPT TO:<late@sink.test>", "503 5.5.1 Error: RCPT after BDAT");
    client.expect("DATA", "503 5.5.1 Error: DATA after BDAT");
    assert_eq!(bdat(&mut client, "0 LAST", b"").code, 551);
    client.expect("RCPT TO:<late@sink.test>", "503 5.5.1 Error: need MAIL command");

    // The session is as good as new.
    begin(&mut client);
    assert!(bdat(&mut client, "16", b"X-Track: good\r\n\r").is("250"));
    assert!(bdat(&mut client, "0 LAST", b"").is("250 2.0.0 Ok: "));
    client.quit();
    for wrong in ["", "x", "-1", "5 LAST LAST", "5 FIRST", "99999999999999999999999", "5 5", "0x10"] {
        let mut client = engine.client();
        begin(&mut client);
        client.expect(&format!("BDAT {wrong}"), "521 5.5.4 Syntax: BDAT count [LAST]");
        assert!(client.is_closed());
    }
    let messages = sink.wait_for(1);
    assert_eq!(messages[0].track().as_deref(), Some("good"));
    engine.wait_for_log("removed", |line| line.text == "removed");
    assert_eq!(sink.count(), 1);
    engine.stop();
}

#[test]
fn a_hundred_thousand_chunks_of_one_byte_are_one_message_in_little_memory() {
    let setup = strict("tiny-chunks").parameter("smtpd_timeout", "60s");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut client = engine.client();
    client.message("a@client.test", &["b@sink.test"], &message_content("warm", 900));
    let before = engine.process().anonymous_bytes();
    client.expect("MAIL FROM:<a@client.test>", "250");
    client.expect("RCPT TO:<b@sink.test>", "250");
    let content = message_content("tiny", 100_000);
    let mut writer = client.stream().try_clone().expect("a socket can be shared");
    let chunks: Vec<u8> = content.iter().flat_map(|byte| [b"BDAT 1\r\n", &[*byte][..]].concat()).collect();
    let count = content.len();
    let sender = std::thread::spawn(move || {
        writer.write_all(&chunks).and_then(|()| writer.write_all(b"BDAT 0 LAST\r\n"))
    });
    for number in 0..count {
        let reply = client.reply();
        assert!(reply.is("250 2.0.0 Ok: 1 bytes"), "{number}: {reply:?}");
    }
    sender.join().expect("the sender ends").expect("the relay takes every chunk");
    let grown = engine.process().anonymous_bytes().saturating_sub(before);
    assert!(client.reply().is(&format!("250 2.0.0 Ok: {count} bytes queued as ")));
    assert!(grown < 16 << 20, "{count} chunks cost {grown} bytes");
    let messages = sink.wait_for(2);
    let tiny = messages.iter().find(|message| message.track().as_deref() == Some("tiny"));
    let tiny = tiny.expect("the message of tiny chunks arrives");
    assert!(content.ends_with(tiny.body()), "the body came out different");
    engine.stop();
}

#[test]
fn a_message_over_the_limit_is_refused_in_constant_memory_declared_or_not() {
    let setup = strict("too-big").parameter("message_size_limit", "1000000");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut client = engine.client();
    client.message("a@client.test", &["b@sink.test"], &message_content("warm", 900_000));
    client.expect("MAIL FROM:<a@client.test> SIZE=1000001", "552 5.3.4 Message size exceeds fixed limit");
    client.expect("MAIL FROM:<a@client.test> SIZE=18446744073709551615", "552 5.3.4");
    let before = engine.process().anonymous_bytes();
    // Not declared, declared falsely, and all in one line.
    for (options, mebibytes, line) in [("", 64, 72), (" SIZE=1000", 64, 72), ("", 32, usize::MAX)] {
        client.expect(&format!("MAIL FROM:<a@client.test>{options}"), "250");
        client.expect("RCPT TO:<b@sink.test>", "250");
        client.expect("DATA", "354");
        let mut piece = vec![b'x'; 1 << 20];
        for line in piece.chunks_exact_mut(line) {
            let end = line.len() - 2;
            line[end..].copy_from_slice(b"\r\n");
        }
        for _ in 0..mebibytes {
            client.send(&piece);
        }
        let grown = engine.process().anonymous_bytes().saturating_sub(before);
        assert!(grown < 32 << 20, "{mebibytes} MiB cost {grown} bytes");
        client.send(b"\r\n.\r\n");
        assert!(client.reply().is("552 5.3.4 Error: message file too big"));
    }
    // The session goes on, and only what was accepted arrives.
    client.message("a@client.test", &["b@sink.test"], &message_content("after", 900));
    client.quit();
    engine.wait_for_log_count("removed", 2, |line| line.text == "removed");
    assert_eq!(sink.count(), 2);
    engine.stop();
}
