//! Address verification: probes go as far as RCPT, their results decide, are remembered, and reach nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ringpost_tests::client::message_content;
use ringpost_tests::commands::succeeds;
use ringpost_tests::maillog::LogLine;
use ringpost_tests::sink::{Answer, Stage};
use ringpost_tests::{Client, Engine, EngineSetup, Sink};

/// A relay that asks the next server about recipients.
fn asking(name: &str) -> EngineSetup {
    EngineSetup::new(name)
        .parameter("ringpost_shards", "2")
        .parameter("address_verify_map", "")
        .parameter("smtpd_recipient_restrictions", "reject_unverified_recipient")
}

/// A server that knows everybody but `nobody@…`, and cannot say anything about `later@…`; it counts the probes and the
/// messages' DATA.
fn knowing(setup: &EngineSetup) -> (Sink, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let (probes, data) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, content) = (probes.clone(), data.clone());
    let sink = Sink::scripted(setup.sink_address(), move |stage| {
        match stage {
            Stage::Mail(sender) if sender.starts_with("double-bounce") => {
                counted.fetch_add(1, Ordering::SeqCst);
            }
            Stage::Data => {
                content.fetch_add(1, Ordering::SeqCst);
            }
            _ => {}
        }
        match stage {
            Stage::Rcpt(to) if to.starts_with("nobody@") => Answer::say("550 5.1.1 no such user"),
            Stage::Rcpt(to) if to.starts_with("later@") => Answer::say("451 4.3.0 ask again"),
            _ => Answer::Usual,
        }
    });
    (sink, probes, data)
}

fn says(client: &mut Client, recipient: &str) -> String {
    let reply = client.command(&format!("RCPT TO:<{recipient}>"));
    format!("{} {}", reply.code, reply.text())
}

fn begin(engine: &Engine) -> Client {
    let mut client = engine.client();
    client.expect("MAIL FROM:<from@client.test>", "250 ");
    client
}

fn probed(recipient: &str, status: &str) -> impl Fn(&LogLine) -> bool {
    let (to, status) = (format!("to=<{recipient}>"), format!("status={status} ("));
    move |line| line.process == "smtp" && line.text.starts_with(&to) && line.text.contains(&status)
}

#[test]
fn recipients_are_probed_once_and_remembered() {
    let setup = asking("verify-recipients").parameter("unverified_recipient_reject_code", "550");
    let (sink, probes, data) = knowing(&setup);
    let engine = setup.start();
    for _ in 0..3 {
        // Each session may be on another shard.
        let mut client = begin(&engine);
        assert_eq!(says(&mut client, "known@there.test"), "250 2.1.5 Ok");
        let place = setup.sink_address().ip().to_string();
        assert_eq!(
            says(&mut client, "nobody@there.test"),
            format!(
                "550 5.1.1 <nobody@there.test>: Recipient address rejected: undeliverable address: host \
                 {place}[{place}] said: 550 5.1.1 no such user (in reply to RCPT TO command)"
            )
        );
        let later = says(&mut client, "later@there.test");
        let unverified =
            "450 4.1.1 <later@there.test>: Recipient address rejected: unverified address: host ";
        assert!(later.starts_with(unverified) && later.contains("451 4.3.0 ask again"), "{later}");
        client.quit();
    }
    assert_eq!(probes.load(Ordering::SeqCst), 3, "one probe an address");
    assert_eq!(data.load(Ordering::SeqCst), 0, "a probe has no content");
    engine.wait_for_log("the good address", probed("known@there.test", "deliverable"));
    engine.wait_for_log("the bad address", probed("nobody@there.test", "undeliverable"));
    engine.wait_for_log("the unknown address", probed("later@there.test", "undeliverable"));
    // Nothing is left in the queue, and nobody was told.
    engine.wait_for_log_count("the probes are gone", 3, |line| line.text == "removed");
    assert!(!engine.log().iter().any(|line| line.text.contains("notification")));

    let mut client = engine.client();
    client.message("from@client.test", &["known@there.test"], &message_content("verify", 200));
    client.quit();
    assert_eq!(sink.wait_for(1)[0].recipients, ["known@there.test"]);
    engine.stop();
}

#[test]
fn an_address_whose_server_says_nothing_is_in_progress() {
    let setup = asking("verify-progress")
        .parameter("address_verify_poll_count", "2")
        .parameter("address_verify_poll_delay", "1s")
        .parameter("unverified_recipient_defer_code", "451");
    let _sink = Sink::scripted(setup.sink_address(), |stage| match stage {
        Stage::Rcpt(to) if to.starts_with("silent@") => Answer::Silence,
        _ => Answer::Usual,
    });
    let engine = setup.start();
    let mut asking = begin(&engine);
    asking.send(b"RCPT TO:<silent@there.test>\r\n");
    // Others do not wait for it.
    let mut other = begin(&engine);
    assert_eq!(says(&mut other, "known@there.test"), "250 2.1.5 Ok");
    let reply = asking.reply();
    let in_progress = "451 4.1.1 <silent@there.test>: Recipient address rejected: unverified address: Address \
                       verification in progress";
    assert!(reply.is(in_progress), "{reply:?}");
    drop(engine);
}

#[test]
fn senders_are_probed_and_reasons_may_be_hidden() {
    let setup = EngineSetup::new("verify-senders")
        .parameter("address_verify_map", "")
        .parameter("address_verify_sender", "probe")
        .parameter("smtpd_sender_restrictions", "reject_unverified_sender")
        .parameter("unverified_sender_reject_reason", "we do not know you");
    let sink = Sink::scripted(setup.sink_address(), |stage| match stage {
        Stage::Rcpt("nobody@far.test") => Answer::say("550 5.1.1 no such user"),
        Stage::Mail(from) if !from.is_empty() && *from != "probe@relay.test" => Answer::say("550 5.7.1 who?"),
        _ => Answer::Usual,
    });
    let engine = setup.start();
    let mut client = engine.client();
    client.expect("MAIL FROM:<nobody@far.test>", "250 ");
    assert_eq!(
        says(&mut client, "any@there.test"),
        "450 4.1.7 <nobody@far.test>: Sender address rejected: undeliverable address: we do not know you"
    );
    client.expect("RSET", "250 ");
    client.expect("MAIL FROM:<known@far.test>", "250 ");
    assert_eq!(says(&mut client, "any@there.test"), "250 2.1.5 Ok");
    client.expect("RSET", "250 ");
    // Who has no address is not asked for it.
    client.expect("MAIL FROM:<>", "250 ");
    assert_eq!(says(&mut client, "any@there.test"), "250 2.1.5 Ok");
    client.quit();
    drop(sink);
    engine.stop();
}

#[test]
fn what_was_found_out_outlives_a_restart_and_probes_have_routes_of_their_own() {
    let setup = asking("verify-restart");
    let place = setup.sink_address();
    let map = setup.home().join("verify_cache");
    let map = map.to_str().expect("its name is text").to_owned();
    let setup = setup
        .parameter("address_verify_map", &format!("btree:{map}"))
        .parameter("relayhost", "[127.0.0.1]:1")
        .parameter("address_verify_relayhost", &format!("[{}]:{}", place.ip(), place.port()));
    let (sink, probes, _data) = knowing(&setup);
    let engine = setup.start();
    let mut client = begin(&engine);
    assert_eq!(says(&mut client, "known@there.test"), "250 2.1.5 Ok");
    assert!(says(&mut client, "nobody@there.test").starts_with("450 4.1.1 <nobody@there.test>"));
    client.quit();
    engine.stop();
    let engine = setup.start();
    let mut client = begin(&engine);
    assert_eq!(says(&mut client, "Known@there.test").split(' ').next(), Some("250"));
    assert_eq!(says(&mut client, "known@THERE.test"), "250 2.1.5 Ok");
    assert!(says(&mut client, "nobody@there.test").contains("undeliverable address: host "));
    client.quit();
    // The local part's case counts, the domain's does not.
    assert_eq!(probes.load(Ordering::SeqCst), 3);
    drop(sink);
    engine.stop();
}

#[test]
fn an_alias_for_many_is_deliverable_and_an_error_route_is_not() {
    let setup = asking("verify-routes")
        .parameter("virtual_alias_maps", "inline:{ { list@there.test = a@there.test, b@there.test } }")
        .parameter(
            "transport_maps",
            "inline:{ { closed.test = error:5.1.2 closed } { slow.test = retry:4.2.0 slow } }",
        );
    let (_sink, probes, _data) = knowing(&setup);
    let engine = setup.start();
    let mut client = begin(&engine);
    assert_eq!(says(&mut client, "list@there.test"), "250 2.1.5 Ok");
    assert_eq!(probes.load(Ordering::SeqCst), 0);
    let refused = |domain: &str, kind: &str, text: &str| {
        format!("450 4.1.1 <x@{domain}>: Recipient address rejected: {kind} address: {text}")
    };
    assert_eq!(says(&mut client, "x@closed.test"), refused("closed.test", "undeliverable", "closed"));
    assert_eq!(says(&mut client, "x@slow.test"), refused("slow.test", "unverified", "slow"));
    client.quit();
    engine.wait_for_log_count("the probes are gone", 2, |line| line.text == "removed");
    engine.stop();
}

/// Writes the configuration of `setup` over that of the engine, and reloads.
fn reload(setup: &EngineSetup) {
    setup.command();
    succeeds(setup, &["reload"]);
}

#[test]
fn a_reload_begins_with_probes_goes_on_with_what_they_found_out_and_ends_them() {
    let setup = EngineSetup::new("verify-reload").parameter("ringpost_shards", "2");
    let map = setup.home().join("verify_cache");
    let asking = setup
        .clone()
        .parameter("address_verify_map", &format!("btree:{}", map.display()))
        .parameter("smtpd_recipient_restrictions", "reject_unverified_recipient");
    let (sink, probes, _data) = knowing(&setup);
    let engine = setup.start();
    let asked = |client: &mut Client, recipient: &str| says(client, recipient)[..9].to_owned();
    let mut before = begin(&engine);
    assert_eq!(asked(&mut before, "nobody@there.test"), "250 2.1.5");
    reload(&asking);
    let mut first = begin(&engine);
    assert_eq!(asked(&mut first, "known@there.test"), "250 2.1.5");
    assert_eq!(asked(&mut first, "nobody@there.test"), "450 4.1.1");
    assert_eq!(asked(&mut before, "nobody@there.test"), "250 2.1.5", "it keeps its settings");
    // The older and the newer sessions share what is found out from now on, too.
    reload(&asking.clone().parameter("unverified_recipient_reject_code", "550"));
    let mut second = begin(&engine);
    assert_eq!(asked(&mut second, "nobody@there.test"), "550 5.1.1");
    assert_eq!(probes.load(Ordering::SeqCst), 2);
    assert_eq!(asked(&mut first, "later@there.test"), "450 4.1.1");
    assert_eq!(asked(&mut second, "later@there.test"), "450 4.1.1");
    assert_eq!(probes.load(Ordering::SeqCst), 3);
    for session in [before, first, second] {
        session.quit();
    }
    reload(&setup);
    let mut none = begin(&engine);
    assert_eq!(asked(&mut none, "nobody@there.test"), "250 2.1.5");
    none.quit();
    reload(&asking);
    let mut again = begin(&engine);
    assert_eq!(asked(&mut again, "nobody@there.test"), "450 4.1.1");
    again.quit();
    assert_eq!(probes.load(Ordering::SeqCst), 3, "the journal has it");
    drop(sink);
    engine.stop();
}
