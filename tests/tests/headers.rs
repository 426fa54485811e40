//! What is done with headers, wherever they stand and however long they are; whose headers are completed.

use std::fmt::Write as _;

use ringpost_tests::{EngineSetup, Sink};

const SENDER: &str = "author@client.test";

#[test]
fn headers_far_down_in_a_large_block_are_examined() {
    let setup = EngineSetup::new("large-block");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut client = engine.client();
    let mut content = String::from("Subject: large\r\n");
    for number in 0..20_000 {
        write!(content, "X-Filler-{number}: 0123456789\r\n").expect("a string takes what it is given");
    }
    content.push_str("Bcc: secret@client.test\r\nFrom: author@client.test\r\n\r\nBcc: body\r\n");
    client.message(SENDER, &["you@sink.test"], content.as_bytes());
    // Where the 49th Received header stands does not matter.
    let hops =
        format!("{}{}\r\nbody\r\n", "X-Filler: 0123456789\r\n".repeat(8000), "Received: x\r\n".repeat(49));
    let reply = client.try_message(SENDER, &["you@sink.test"], hops.as_bytes()).expect("the session goes on");
    assert!(reply.is("554 5.4.0 Error: too many hops"), "{}", reply.text());
    client.quit();
    let taken = sink.wait_for(1);
    engine.stop();
    assert_eq!(taken[0].header("Bcc"), None);
    assert_eq!(taken[0].body(), b"Bcc: body\r\n");
    assert_eq!(taken[0].header("X-Filler-19999").as_deref(), Some("0123456789"));
    assert!(
        taken[0].header("Message-Id").is_some() && taken[0].header("Date").is_some(),
        "what is missing is added"
    );
}

#[test]
fn a_header_beyond_its_limit_is_cut_and_nothing_else_is() {
    let setup = EngineSetup::new("long-header").parameter("header_size_limit", "20000");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut client = engine.client();
    let folded = format!("X-Long: begin{}\r\n", "\r\n 0123456789".repeat(20_000));
    let content =
        format!("Subject: x\r\n{folded}From: author@client.test\r\n\r\n{}", "text\r\n".repeat(40_000));
    client.message(SENDER, &["you@sink.test"], content.as_bytes());
    client.quit();
    let taken = sink.wait_for(1);
    engine.stop();
    let message = &taken[0];
    assert_eq!(message.header("X-Long").as_deref(), Some("begin"));
    assert_eq!(message.header("From").as_deref(), Some("author@client.test"));
    assert_eq!(message.body().len(), 6 * 40_000);
    let header_bytes = message.content.len() - message.body().len();
    assert!((20_000..30_000).contains(&header_bytes), "{header_bytes} bytes of header");
}

#[test]
fn a_message_whose_parts_are_eight_bit_is_sent_as_such() {
    let setup = EngineSetup::new("eight-bit");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut client = engine.client();
    let send = |client: &mut ringpost_tests::Client, track: &str, encoding: &str, filler: usize| {
        let content = format!(
            "X-Track: {track}\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\n{}--x\r\nContent-Transfer-Encoding: {encoding}\r\n\r\ntext\r\n--x--\r\n",
            "plain text\r\n".repeat(filler)
        );
        client.message(SENDER, &["you@sink.test"], content.as_bytes());
    };
    send(&mut client, "seven", "7bit", 10);
    send(&mut client, "eight", "8bit", 10);
    send(&mut client, "large", "8BIT", 30_000);
    client.quit();
    let taken = sink.wait_for(3);
    engine.stop();
    for message in taken {
        let track = message.track().unwrap_or_default();
        let is_eight_bit = message.sender_options.contains("BODY=8BITMIME");
        assert_eq!(is_eight_bit, track != "seven", "{track}: {}", message.sender_options);
    }
}

#[test]
fn a_table_says_whose_headers_are_completed() {
    let completed = |name: &str, clients: &str| {
        let setup = EngineSetup::new(name);
        let table = setup.home().join("clients");
        std::fs::write(&table, "127.0.0.0/8 yes\n").expect("the scratch directory is writable");
        let clients = clients.replace("TABLE", &table.to_string_lossy());
        let setup = setup.parameter("local_header_rewrite_clients", &clients);
        let sink = Sink::willing(setup.sink_address());
        let engine = setup.start();
        let mut client = engine.client();
        let content = b"From: author\r\n\r\nbody\r\n";
        let reply = client.try_message(SENDER, &["you@sink.test"], content).expect("the session goes on");
        client.quit();
        if !reply.is("250") {
            engine.stop();
            return reply.text().to_owned();
        }
        let taken = sink.wait_for(1);
        engine.stop();
        taken[0].header("From").unwrap_or_default()
    };
    assert_eq!(completed("listed-client", "check_address_map cidr:TABLE"), "author@relay.test");
    assert_eq!(completed("unlisted-client", "permit_sasl_authenticated, inline:{ 192.0.2.1=yes }"), "author");
    assert_eq!(completed("client-table-trouble", "fail:table"), "4.3.0 Temporary lookup error");
}
