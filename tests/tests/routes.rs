//! Mail goes where the tables of routes say, or is returned, kept or thrown away by them, and the log says so in
//! Postfix's words.

use ringpost_tests::client::message_content;
use ringpost_tests::maillog::LogLine;
use ringpost_tests::{Engine, EngineSetup, Sink};

/// Without the check at RCPT, which would refuse what goes nowhere.
fn setup(name: &str) -> EngineSetup {
    EngineSetup::new(name).parameter("smtpd_reject_unlisted_recipient", "no")
}

fn send(engine: &Engine, recipients: &[&str]) -> String {
    let mut client = engine.client();
    let queue_id = client.message("sender@client.test", recipients, &message_content("route", 500));
    client.quit();
    queue_id
}

/// The delivery line of a recipient, from its address on.
fn delivery(engine: &Engine, recipient: &str, process: &str, expect: &str) {
    let beginning = format!("to=<{recipient}>, ");
    let found = |line: &LogLine| {
        let fields = line.text.strip_prefix(&beginning).map(str::to_owned);
        // The delays differ from run to run.
        let shown = fields.map(|fields| {
            let (before, after) = fields.split_once("delay=").unwrap_or((&fields, ""));
            format!("{before}{}", after.split_once("dsn=").map_or("", |(_, rest)| rest))
        });
        line.process == process && shown.as_deref() == Some(expect)
    };
    engine.wait_for_log(&format!("{process}: {beginning}{expect}"), found);
}

#[test]
fn tables_return_defer_and_discard() {
    let setup = setup("routes-nowhere")
        .parameter(
            "transport_maps",
            "inline:{{back.test = error:5.7.1 no mail here}, {plain.test = error:}, {later.test = retry:4.7.0 come back}, \
             {gone.test = discard:thrown away}, {nobody.test = uucp:x}}",
        )
        .parameter("relocated_maps", "inline:{{old@sink.test = new@far.test}}");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let all = [
        "u@back.test",
        "u@plain.test",
        "u@later.test",
        "u@gone.test",
        "u@nobody.test",
        "old@sink.test",
        "you@sink.test",
    ];
    let queue_id = send(&engine, &all);
    let check = |recipient, process, expect| delivery(&engine, recipient, process, expect);
    check("u@back.test", "error", "relay=none, 5.7.1, status=bounced (no mail here)");
    check("u@plain.test", "error", "relay=none, 5.0.0, status=bounced (Address is undeliverable)");
    check("u@later.test", "error", "relay=none, 4.7.0, status=deferred (come back)");
    check("u@gone.test", "discard", "relay=none, 2.0.0, status=sent (thrown away)");
    check("u@nobody.test", "error", "relay=none, 4.3.0, status=deferred (mail transport unavailable)");
    check("old@sink.test", "error", "relay=none, 5.1.6, status=bounced (User has moved to new@far.test)");
    // The mail itself, and the notice of what was returned.
    let taken = sink.wait_for(2);
    assert!(taken.iter().any(|message| message.recipients == ["you@sink.test"]));
    let notice = taken.iter().find(|message| message.sender.is_empty()).expect("the sender is told");
    let text = String::from_utf8_lossy(notice.body()).into_owned();
    for line in ["Final-Recipient: rfc822; u@back.test", "Status: 5.7.1", "Status: 5.1.6"] {
        assert!(text.contains(line), "{line}:\n{text}");
    }
    assert!(!text.contains("u@later.test") && !text.contains("u@gone.test"), "{text}");
    engine.stop();
    let removed = |line: &LogLine| line.text == "removed" && line.queue_id.as_deref() == Some(&queue_id);
    assert!(!engine_log(&setup).iter().any(removed), "what is deferred stays queued");
}

fn engine_log(setup: &EngineSetup) -> Vec<LogLine> {
    let path = setup.home().join("maillog");
    ringpost_tests::maillog::parse(&std::fs::read_to_string(path).expect("the log is readable"))
}

#[test]
fn senders_and_domains_have_nexthops_of_their_own() {
    let setup = setup("routes-nexthop");
    let hub = Sink::willing(setup.sink_address());
    let other_address =
        std::net::SocketAddrV4::new(*setup.sink_address().ip(), setup.sink_address().port() + 1);
    let other = Sink::willing(other_address);
    let nexthop = format!("[{}]:{}", other_address.ip(), other_address.port());
    let setup = setup
        .parameter("transport_maps", &format!("inline:{{{{.by-domain.test = smtp:{nexthop}}}}}"))
        .parameter(
            "sender_dependent_relayhost_maps",
            &format!("inline:{{{{boss@client.test = {nexthop}}}}}"),
        );
    let engine = setup.start();
    let mut client = engine.client();
    for (sender, recipient) in [
        ("sender@client.test", "a@hub.test"),
        ("sender@client.test", "b@x.by-domain.test"),
        ("boss@client.test", "c@hub.test"),
    ] {
        client.message(sender, &[recipient], &message_content("route", 300));
    }
    client.quit();
    engine.wait_for_log_count("all are delivered", 3, |line| line.text == "removed");
    let recipients = |sink: &Sink| {
        let mut all: Vec<String> =
            sink.messages().iter().flat_map(|message| message.recipients.clone()).collect();
        all.sort();
        all
    };
    assert_eq!(recipients(&hub), ["a@hub.test"]);
    assert_eq!(recipients(&other), ["b@x.by-domain.test", "c@hub.test"]);
    engine.stop();
}

#[test]
fn an_address_that_routes_by_way_of_us_goes_on_without_our_part() {
    let setup = setup("routes-onward").parameter("mydestination", "relay.test");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    send(&engine, &["u%far.test@relay.test", "plain@far.test"]);
    let taken = sink.wait_for(1);
    assert_eq!(taken[0].recipients, ["u@far.test", "plain@far.test"]);
    engine.wait_for_log("the address as it came", |line| {
        line.text.starts_with("to=<u@far.test>, orig_to=<u%far.test@relay.test>, relay=")
    });
    engine.stop();
}

#[test]
fn a_notice_names_the_address_that_was_tried_and_the_one_that_was_asked_for() {
    let setup = setup("routes-notice")
        .parameter("mydestination", "relay.test")
        .parameter("transport_maps", "inline:{{back.test = error:5.7.1 no mail here}}");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    send(&engine, &["u%back.test@relay.test"]);
    let text = String::from_utf8_lossy(sink.wait_for(1)[0].body()).into_owned();
    for line in ["Final-Recipient: rfc822; u@back.test", "Original-Recipient: rfc822; u%back.test@relay.test"]
    {
        assert!(text.contains(line), "{line}:\n{text}");
    }
    engine.stop();
}

#[test]
fn a_table_that_fails_defers_and_loses_nothing() {
    let setup = setup("routes-trouble")
        .parameter("minimal_backoff_time", "1s")
        .parameter("queue_run_delay", "1s")
        .parameter("transport_maps", "fail:out");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    send(&engine, &["u@far.test"]);
    delivery(&engine, "u@far.test", "error", "relay=none, 4.3.0, status=deferred (address resolver failure)");
    engine.wait_for_log("why", |line| line.process == "trivial-rewrite" && line.text.contains("fail:out"));
    engine.stop();
    let mended = setup.parameter("transport_maps", "").start();
    assert_eq!(sink.wait_for(1)[0].recipients, ["u@far.test"]);
    mended.stop();
}

#[test]
fn who_is_in_no_table_of_the_class_is_refused() {
    let setup = EngineSetup::new("routes-unlisted")
        .parameter("mydestination", "relay.test")
        .parameter("myorigin", "relay.test")
        .parameter("relay_domains", "inner.test")
        .parameter("relay_recipient_maps", "inline:{{known@inner.test = x}}")
        .parameter("local_recipient_maps", "inline:{{joe = x}}")
        .parameter("unknown_relay_recipient_reject_code", "551")
        .parameter("relocated_maps", "inline:{{old@far.test = new@far.test}}");
    let _sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut client = engine.client();
    client.expect("MAIL FROM:<sender@client.test>", "250 ");
    let rejected = |address: &str, reply: &str, text: &str| {
        format!("{reply} <{address}>: Recipient address rejected: {text}")
    };
    let relay = rejected("other@inner.test", "551 5.1.1", "User unknown in relay recipient table");
    let local = rejected("ann@relay.test", "550 5.1.1", "User unknown in local recipient table");
    let moved = rejected("old@far.test", "550 5.1.6", "User has moved to new@far.test");
    for (address, beginning) in [
        ("known@inner.test", "250 "),
        ("other@inner.test", relay.as_str()),
        ("joe@relay.test", "250 "),
        ("ann@relay.test", local.as_str()),
        ("postmaster@relay.test", "250 "),
        ("old@far.test", moved.as_str()),
    ] {
        client.expect(&format!("RCPT TO:<{address}>"), beginning);
    }
    client.quit();
    engine.stop();
}
