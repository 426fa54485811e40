//! Which servers mail goes to when a nexthop names several, when its own cannot have it, and without the DNS's exchangers.

use std::net::{Ipv4Addr, SocketAddrV4};

use ringpost_tests::address::{SINK_PORT, unique_loopback};
use ringpost_tests::client::message_content;
use ringpost_tests::dns::{DnsAnswer, DnsServer, Kind, Zone};
use ringpost_tests::maillog::LogLine;
use ringpost_tests::sink::{Answer, Stage};
use ringpost_tests::{Engine, EngineSetup, Sink};

fn by_dns(name: &str, dns: &DnsServer) -> EngineSetup {
    EngineSetup::new(name)
        .parameter("relayhost", "")
        .parameter("smtp_tcp_port", &SINK_PORT.to_string())
        .parameter("ringpost_dns_servers", &dns.address().to_string())
}

fn sink() -> (Ipv4Addr, Sink) {
    let ip = unique_loopback();
    (ip, Sink::willing(SocketAddrV4::new(ip, SINK_PORT)))
}

fn busy() -> (Ipv4Addr, Sink) {
    let ip = unique_loopback();
    let sink = Sink::scripted(SocketAddrV4::new(ip, SINK_PORT), |stage| match stage {
        Stage::Rcpt(address) if address.starts_with("never@") => Answer::say("550 5.1.1 no such user"),
        Stage::Rcpt(_) => Answer::say("450 4.2.0 greylisted"),
        _ => Answer::Usual,
    });
    (ip, sink)
}

fn send(engine: &Engine, recipients: &[&str]) {
    let mut client = engine.client();
    client.message("sender@client.test", recipients, &message_content("choice", 500));
    client.quit();
}

fn result_of(engine: &Engine, recipient: &str) -> LogLine {
    let beginning = format!("to=<{recipient}>, ");
    engine.wait_for_log(&format!("a result of {recipient}"), |line| {
        line.text.starts_with(&beginning) && line.text.contains("status=")
    })
}

#[track_caller]
fn assert_result(engine: &Engine, recipient: &str, words: &[&str]) {
    let line = result_of(engine, recipient).text;
    for word in words {
        assert!(line.contains(word), "{word}: {line}");
    }
}

#[test]
fn a_nexthop_may_name_several_destinations() {
    let (busy_ip, busy) = busy();
    let (spare_ip, spare) = sink();
    let nexthop = format!("nowhere.test, [{busy_ip}] [{spare_ip}]");
    let dns = DnsServer::start(Zone::default());
    let engine = by_dns("choice-list", &dns).parameter("relayhost", &nexthop).start();
    send(&engine, &["a@one.test", "never@one.test"]);
    assert_result(&engine, "a@one.test", &[&format!("relay={spare_ip}["), "status=sent"]);
    assert_result(&engine, "never@one.test", &[&format!("relay={busy_ip}["), "status=bounced"]);
    let mail = |sink: &Sink| sink.messages().iter().filter(|one| !one.sender.is_empty()).count();
    assert_eq!((mail(&busy), mail(&spare)), (0, 1));
    engine.stop();
}

#[test]
fn the_last_destination_that_is_not_found_decides() {
    let dns = DnsServer::start(Zone::default());
    let engine = by_dns("choice-none", &dns).parameter("relayhost", "gone.test, lost.test").start();
    send(&engine, &["a@one.test"]);
    assert_result(&engine, "a@one.test", &["dsn=5.4.4", "status=bounced", "name=lost.test type=MX"]);
    engine.stop();
}

#[test]
fn fallback_relays_take_what_was_put_off_or_has_no_server() {
    let (busy_ip, _busy) = busy();
    let (spare_ip, spare) = sink();
    let zone = Zone::default().mx("busy.test", &[(10, "busy-host.test")]).a("busy-host.test", busy_ip);
    let dns = DnsServer::start(zone);
    let fallback = format!("[{spare_ip}]:{SINK_PORT}");
    let engine = by_dns("choice-fallback", &dns).parameter("smtp_fallback_relay", &fallback).start();
    send(&engine, &["a@busy.test", "b@unknown.test", "never@busy.test"]);
    for recipient in ["a@busy.test", "b@unknown.test"] {
        assert_result(&engine, recipient, &[&format!("relay={spare_ip}["), "status=sent"]);
    }
    assert_result(&engine, "never@busy.test", &["status=bounced"]);
    assert!(spare.wait_for(2).iter().all(|one| !one.recipients.contains(&"never@busy.test".to_owned())));
    engine.stop();
}

#[test]
fn mail_that_loops_goes_to_no_fallback() {
    let (spare_ip, spare) = sink();
    let zone = Zone::default().mx("loop.test", &[(10, "relay.test")]);
    let dns = DnsServer::start(zone);
    let engine = by_dns("choice-loop", &dns)
        .parameter("myhostname", "relay.test")
        .parameter("smtp_fallback_relay", &format!("[{spare_ip}]"))
        .start();
    send(&engine, &["a@loop.test"]);
    assert_result(&engine, "a@loop.test", &["dsn=5.4.6", "status=bounced", "loops back to myself"]);
    assert!(spare.messages().iter().all(|one| one.sender.is_empty()), "only the notice may go there");
    engine.stop();
}

#[test]
fn exchangers_can_be_passed_over_forgiven_or_waited_for() {
    let (ip, _sink) = sink();
    let zone = || {
        Zone::default()
            .mx("mx.test", &[(10, "elsewhere.test")])
            .a("mx.test", ip)
            .answer("failing.test", Kind::Mx, DnsAnswer::Failure)
            .a("failing.test", ip)
            .mx("homeless.test", &[(10, "without-address.test")])
    };
    let dns = DnsServer::start(zone());
    let engine = by_dns("choice-no-mx", &dns).parameter("smtp_dns_support_level", "disabled").start();
    send(&engine, &["a@mx.test"]);
    assert_result(&engine, "a@mx.test", &["relay=mx.test[", "status=sent"]);
    assert_eq!(dns.asked("mx.test", Kind::Mx), 0);
    engine.stop();

    let dns = DnsServer::start(zone());
    let engine = by_dns("choice-forgive", &dns)
        .parameter("ignore_mx_lookup_error", "yes")
        .parameter("smtp_defer_if_no_mx_address_found", "yes")
        .start();
    send(&engine, &["a@failing.test", "b@homeless.test"]);
    assert_result(&engine, "a@failing.test", &["relay=failing.test[", "status=sent"]);
    assert_result(&engine, "b@homeless.test", &["dsn=4.4.4", "status=deferred"]);
    engine.stop();
}
