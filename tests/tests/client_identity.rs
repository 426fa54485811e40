//! Who the client is: by the DNS, by what a proxy in front says, by what a trusted client passes on; and what refusals
//! say at their end.

use std::net::SocketAddrV4;

use ringpost_tests::dns::{DnsAnswer, DnsServer, Kind, Zone};
use ringpost_tests::{Client, Engine, EngineSetup, Sink};

const NAMED: &str = "PROXY TCP4 192.0.2.9 198.51.100.1 4711 25\r\n";
const FORGED: &str = "PROXY TCP4 192.0.2.10 198.51.100.1 4712 25\r\n";
const UNSURE: &str = "PROXY TCP4 192.0.2.11 198.51.100.1 4713 25\r\n";

fn zone() -> Zone {
    let names = |name: &str| DnsAnswer::Names(vec![name.to_owned()]);
    Zone::default()
        .answer("9.2.0.192.in-addr.arpa", Kind::Ptr, names("mx.far.example"))
        .a("mx.far.example", "192.0.2.9".parse().expect("an address"))
        .answer("10.2.0.192.in-addr.arpa", Kind::Ptr, names("www.other.example"))
        .a("www.other.example", "198.51.100.7".parse().expect("an address"))
        .answer("11.2.0.192.in-addr.arpa", Kind::Ptr, DnsAnswer::Failure)
}

/// A relay behind a proxy, with more settings for its smtpd line.
fn behind_a_proxy(name: &str, options: &[&str]) -> (Engine, DnsServer) {
    let dns = DnsServer::start(zone());
    let setup = EngineSetup::new(name)
        .parameter("ringpost_dns_servers", &dns.address().to_string())
        // Each shard has a memory of its own.
        .parameter("ringpost_shards", "1");
    let own: String = options.iter().map(|option| format!("  -o {{ {option} }}\n")).collect();
    let master_cf = format!(
        "{} inet n - n - - smtpd\n  -o smtpd_upstream_proxy_protocol=haproxy\n{own}smtp unix - - n - - smtp\n",
        setup.address()
    );
    (setup.parameter("relay_domains", "relay.test").master_cf(&master_cf).start(), dns)
}

/// A session after the proxy's header.
fn proxied(address: SocketAddrV4, header: &[u8]) -> Client {
    let mut client = Client::try_connect(address).expect("the relay listens");
    client.send(header);
    assert_eq!(client.try_reply().expect("a greeting").code, 220);
    client
}

#[test]
fn names_are_looked_up_there_and_back() {
    let (engine, dns) =
        behind_a_proxy("names", &["smtpd_client_restrictions=reject_unknown_client_hostname"]);
    let address = engine.setup().address();
    let refusal = |header: &str| {
        let mut client = proxied(address, header.as_bytes());
        client.command("HELO client.test");
        client.command("MAIL FROM:<a@x.test>");
        let reply = client.command("RCPT TO:<b@relay.test>");
        format!("{} {}", reply.code, reply.text())
    };
    assert_eq!(refusal(NAMED), "250 2.1.5 Ok");
    let unnamed =
        |address| format!("450 4.7.25 Client host rejected: cannot find your hostname, [{address}]");
    assert_eq!(refusal(FORGED), unnamed("192.0.2.10"));
    assert_eq!(refusal(UNSURE), unnamed("192.0.2.11"));
    engine.wait_for_log("the name", |line| line.text == "connect from mx.far.example[192.0.2.9]");
    engine.wait_for_log("the forged name", |line| {
        line.text == "warning: hostname www.other.example does not resolve to address 192.0.2.10"
    });
    engine.wait_for_log("no name", |line| line.text == "connect from unknown[192.0.2.10]");
    assert_eq!(refusal(NAMED), "250 2.1.5 Ok");
    assert_eq!(dns.asked("9.2.0.192.in-addr.arpa", Kind::Ptr), 1, "answers are remembered");
    engine.stop();
}

#[test]
fn a_name_that_nobody_wants_is_not_looked_up() {
    let (engine, dns) = behind_a_proxy("no-names", &["smtpd_peername_lookup=no"]);
    drop(proxied(engine.setup().address(), NAMED.as_bytes()));
    engine.wait_for_log("the client", |line| line.text == "connect from unknown[192.0.2.9]");
    assert_eq!(dns.asked("9.2.0.192.in-addr.arpa", Kind::Ptr), 0);
    engine.stop();
}

#[test]
fn a_proxy_tells_who_the_client_is_in_either_version() {
    let (engine, _dns) = behind_a_proxy("proxy", &["smtpd_upstream_proxy_timeout=1s"]);
    let address = engine.setup().address();
    let signature = b"\r\n\r\n\0\r\nQUIT\n";
    let binary =
        [&signature[..], &[0x21, 0x11, 0, 12, 192, 0, 2, 9, 198, 51, 100, 1, 0x12, 0x67, 0, 25]].concat();
    drop(proxied(address, &binary));
    engine.wait_for_log("version 2", |line| line.text == "connect from mx.far.example[192.0.2.9]");
    // The proxy's own health check is the proxy's.
    let local = [&signature[..], &[0x20, 0, 0, 0]].concat();
    drop(proxied(address, &local));
    engine.wait_for_log("the proxy", |line| line.text.starts_with("connect from localhost[127."));
    for (wrong, reason) in [
        (&b"EHLO client.test\r\n"[..], "bad or missing protocol header"),
        (&b"PROXY TCP4 192.0.2.9\r\n"[..], "bad protocol header"),
        (&b"PROXY "[..], "timeout error"),
    ] {
        let mut client = Client::try_connect(address).expect("the relay listens");
        client.send(wrong);
        assert!(client.try_reply().is_err(), "{reason}");
        engine.wait_for_log(reason, |line| line.text == format!("warning: haproxy read: {reason}"));
    }
    engine.stop();
}

#[test]
fn what_xforward_tells_is_logged_with_the_message() {
    let setup = EngineSetup::new("xforward").parameter("smtpd_authorized_xforward_hosts", "127.0.0.0/8");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut client = engine.client();
    assert_eq!(client.command("XFORWARD NAME=mx.far.example ADDR=192.0.2.9 IDENT=ABC").code, 250);
    client.command("MAIL FROM:<a@x.test>");
    assert_eq!(client.command("RCPT TO:<b@y.test>").code, 250);
    let line = engine.wait_for_log("the message", |line| line.text.starts_with("client=localhost["));
    assert!(
        line.text.ends_with(", orig_queue_id=ABC, orig_client=mx.far.example[192.0.2.9]"),
        "{}",
        line.text
    );
    // It is about one message only.
    client.command("RSET");
    client.command("MAIL FROM:<a@x.test>");
    client.command("RCPT TO:<b@y.test>");
    engine.wait_for_log_count("two messages", 2, |line| line.text.starts_with("client=localhost["));
    let log = engine.log();
    let last =
        log.iter().rev().find(|line| line.text.starts_with("client=localhost[")).expect("it was there");
    assert!(!last.text.contains("orig_"), "{}", last.text);
    drop(sink);
    engine.stop();
}

#[test]
fn what_xforward_told_goes_on_to_the_next_server() {
    let next = EngineSetup::new("xforward-next").parameter("smtpd_authorized_xforward_hosts", "127.0.0.0/8");
    let sink = Sink::willing(next.sink_address());
    let place = next.address();
    let setup = EngineSetup::new("xforward-first")
        .parameter("smtpd_authorized_xforward_hosts", "127.0.0.0/8")
        .parameter("smtp_send_xforward_command", "yes")
        .parameter("relayhost", &format!("[{}]:{}", place.ip(), place.port()));
    let (next, first) = (next.start(), setup.start());
    let mut client = first.client();
    let told = "XFORWARD NAME=mx.far.example ADDR=192.0.2.9 PORT=4711 HELO=far PROTO=ESMTP";
    assert_eq!(client.command(told).code, 250);
    let content = ringpost_tests::client::message_content("xforward", 200);
    let queue_id = client.message("a@x.test", &["b@y.test"], &content);
    client.quit();
    let line = next.wait_for_log("the message", |line| line.text.starts_with("client=localhost["));
    let expected = format!(", orig_queue_id={queue_id}, orig_client=mx.far.example[192.0.2.9]");
    assert!(line.text.ends_with(&expected), "{}", line.text);
    // Without XFORWARD it is the client itself that is told of.
    let mut client = first.client();
    client.message("a@x.test", &["c@y.test"], &content);
    client.quit();
    next.wait_for_log("the second message", |line| {
        line.text.starts_with("client=localhost[") && line.text.contains("orig_client=localhost[127.")
    });
    sink.wait_for(2);
    first.stop();
    next.stop();
}

#[test]
fn a_refusal_is_logged_while_its_session_is_open() {
    let setup = EngineSetup::new("refusal-logged")
        .parameter("smtpd_authorized_xclient_hosts", "127.0.0.0/8")
        .parameter("smtpd_sender_restrictions", "check_sender_access inline:{ { bad@x.test = REJECT } }")
        .parameter("message_size_limit", "2000");
    let engine = setup.start();
    let mut client = engine.client();
    client.expect("XCLIENT NAME=mx.far.example ADDR=192.0.2.9", "220");
    client.expect("MAIL FROM:<a@x.test> SIZE=2001", "552 5.3.4");
    let line = engine.wait_for_log("the refused size", |line| line.text.starts_with("NOQUEUE: reject: MAIL"));
    let about = "552 5.3.4 Message size exceeds fixed limit; from=<a@x.test> proto=SMTP";
    assert!(line.text.ends_with(about), "{}", line.text);
    client.expect("MAIL FROM:<bad@x.test>", "250");
    client.expect("RCPT TO:<b@y.test>", "554 5.7.1");
    engine.wait_for_log("the refused sender", |line| line.text.starts_with("NOQUEUE: reject: RCPT"));
    client.quit();
    // The session that said XCLIENT was over before it could count that it succeeded.
    let counts = "ehlo=1 xclient=0/1 mail=1/2 rcpt=0/1 quit=1 commands=3/6";
    engine.wait_for_log("its counts", |line| line.text.ends_with(counts));
    engine.stop();
}

#[test]
fn refusals_have_footers_and_commands_are_filtered() {
    let setup = EngineSetup::new("footers")
        .parameter("smtpd_reject_footer", "\\c. Ask $server_name about [$client_address]")
        .parameter("smtpd_reject_footer_maps", "inline:{ { 554 5.5.1 Error: no valid recipients = nobody } }")
        .parameter("smtpd_command_filter", "inline:{ { HELLO there = NOOP } }")
        .parameter("relay_domains", "relay.test");
    let engine = setup.start();
    let mut client = engine.client();
    assert!(client.command("HELLO there").is("250 2.0.0 Ok"));
    let refused = client.command("BOGUS");
    let text = "5.5.2 Error: command not recognized. Ask relay.test about [127.";
    assert!(refused.text().starts_with(text), "{refused:?}");
    client.command("MAIL FROM:<a@x.test>");
    assert_eq!(client.command("DATA").lines, ["5.5.1 Error: no valid recipients", "5.5.1 nobody"]);
    engine.stop();
}

#[test]
fn a_list_of_clients_may_be_a_table() {
    let setup = EngineSetup::new("client-tables")
        .parameter("mynetworks", "inline:{ { localhost = yes } }")
        .parameter("smtpd_discard_ehlo_keyword_address_maps", "static:PIPELINING");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut client = Client::try_connect(engine.setup().address()).expect("the relay listens");
    client.try_reply().expect("a greeting");
    let hello = client.command("EHLO client.test");
    assert!(!hello.lines.iter().any(|line| line == "PIPELINING"), "{hello:?}");
    client.command("MAIL FROM:<a@x.test>");
    assert_eq!(client.command("RCPT TO:<b@y.test>").code, 250);
    drop(sink);
    engine.stop();
}
