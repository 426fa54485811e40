//! Where mail goes when the DNS says this or that, and what becomes of it when the DNS is wrong, silent or lies.

use std::net::Ipv4Addr;

use ringpost_tests::address::{SINK_PORT, unique_loopback};
use ringpost_tests::client::message_content;
use ringpost_tests::dns::{DnsAnswer, DnsServer, Kind, Zone};
use ringpost_tests::maillog::LogLine;
use ringpost_tests::notice::Notice;
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
    (ip, Sink::willing(std::net::SocketAddrV4::new(ip, SINK_PORT)))
}

fn result_of(engine: &Engine, recipient: &str) -> LogLine {
    let beginning = format!("to=<{recipient}>, ");
    engine.wait_for_log(&format!("a result of {recipient}"), |line| {
        line.text.starts_with(&beginning) && line.text.contains("status=")
    })
}

#[test]
fn exchangers_are_tried_by_preference_and_the_next_one_when_one_fails() {
    let dead = unique_loopback();
    let (first_ip, first) = sink();
    let (second_ip, second) = sink();
    let busy_ip = unique_loopback();
    let busy = Sink::scripted(std::net::SocketAddrV4::new(busy_ip, SINK_PORT), |stage| match stage {
        Stage::Connect => Answer::say("421 4.7.0 too busy"),
        _ => Answer::Usual,
    });
    let zone = Zone::default()
        .mx("order.test", &[(20, "second.test"), (10, "first.test")])
        .mx("dead.test", &[(10, "nobody.test"), (20, "second.test")])
        .mx("busy.test", &[(10, "busy-host.test"), (20, "second.test")])
        .mx("half-known.test", &[(10, "unknown-host.test"), (20, "second.test")])
        .mx("half-failed.test", &[(10, "failing-host.test"), (20, "second.test")])
        .answer("failing-host.test", Kind::A, DnsAnswer::Failure)
        .a("first.test", first_ip)
        .a("second.test", second_ip)
        .a("busy-host.test", busy_ip)
        .a("nobody.test", dead)
        // No exchanger: the domain itself is the server (RFC 5321 section 5.1).
        .a("plain.test", first_ip);
    let dns = DnsServer::start(zone);
    let engine = by_dns("mx-order", &dns).start();
    let mut client = engine.client();
    let domains = [
        ("order.test", "first.test"),
        ("dead.test", "second.test"),
        ("busy.test", "second.test"),
        ("half-known.test", "second.test"),
        ("half-failed.test", "second.test"),
        ("plain.test", "plain.test"),
    ];
    for (domain, _) in domains {
        client.message("a@client.test", &[&format!("you@{domain}")], &message_content(domain, 900));
    }
    client.quit();
    for (domain, host) in domains {
        let line = result_of(&engine, &format!("you@{domain}"));
        assert!(
            line.text.contains("status=sent") && line.text.contains(&format!("relay={host}[")),
            "{domain}: {line:?}"
        );
    }
    let tracks = |sink: &Sink| {
        let mut tracks: Vec<_> = sink.messages().iter().filter_map(|message| message.track()).collect();
        tracks.sort();
        tracks
    };
    assert_eq!(tracks(&first), ["order.test", "plain.test"]);
    assert_eq!(tracks(&second), ["busy.test", "dead.test", "half-failed.test", "half-known.test"]);
    assert_eq!(busy.count(), 0);
    assert!(!engine.log().iter().any(|line| line.text.contains("status=deferred")));
    engine.stop();
}

#[test]
fn what_the_dns_says_decides_between_bounce_and_deferral() {
    let (home_ip, home) = sink();
    let zone = Zone::default()
        .a("client.test", home_ip)
        .answer("failed.test", Kind::Mx, DnsAnswer::Failure)
        .answer("silent.test", Kind::Mx, DnsAnswer::Silence)
        .answer("garbage.test", Kind::Mx, DnsAnswer::Garbage)
        .mx("null-mx.test", &[(0, "")])
        .mx("lost-host.test", &[(10, "nowhere.lost-host.test")])
        .mx("failing-host.test", &[(10, "broken.test")])
        .answer("broken.test", Kind::A, DnsAnswer::Failure)
        .mx("circle.test", &[(10, "relay.test")])
        .answer("no-address.test", Kind::Mx, DnsAnswer::Exchangers(Vec::new()));
    let dns = DnsServer::start(zone);
    let mut engine = by_dns("dns-verdicts", &dns).start();
    let not_found = "Host or domain name not found. Name service error for name=";
    let cases = [
        (
            "nowhere.test",
            "dsn=5.4.4, status=bounced",
            format!("({not_found}nowhere.test type=MX: Host not found)"),
        ),
        (
            "failed.test",
            "dsn=4.4.3, status=deferred",
            format!("({not_found}failed.test type=MX: Host not found, try again)"),
        ),
        (
            "silent.test",
            "dsn=4.4.3, status=deferred",
            format!("({not_found}silent.test type=MX: Host not found, try again)"),
        ),
        (
            "garbage.test",
            "dsn=4.4.3, status=deferred",
            format!("({not_found}garbage.test type=MX: Host not found, try again)"),
        ),
        (
            "null-mx.test",
            "dsn=5.1.0, status=bounced",
            "(Domain null-mx.test does not accept mail (nullMX))".to_owned(),
        ),
        (
            "lost-host.test",
            "dsn=5.4.4, status=bounced",
            format!("({not_found}nowhere.lost-host.test type=A: Host not found)"),
        ),
        (
            "failing-host.test",
            "dsn=4.4.3, status=deferred",
            format!("({not_found}broken.test type=A: Host not found, try again)"),
        ),
        (
            "circle.test",
            "dsn=5.4.6, status=bounced",
            "(mail for circle.test loops back to myself)".to_owned(),
        ),
        (
            "no-address.test",
            "dsn=5.4.4, status=bounced",
            format!("({not_found}no-address.test type=A: Host found but no data record of requested type)"),
        ),
    ];
    let mut client = engine.client();
    for (domain, ..) in &cases {
        client.message("author@client.test", &[&format!("you@{domain}")], &message_content(domain, 900));
    }
    client.quit();
    let mut wrong = Vec::new();
    for (domain, status, text) in &cases {
        let line = result_of(&engine, &format!("you@{domain}"));
        let right =
            line.text.contains(status) && line.text.contains(text) && line.text.contains("relay=none, ");
        if !right {
            wrong.push(format!("{domain}: wanted {status} {text}, got {}", line.text));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let bounced = cases.iter().filter(|(_, status, _)| status.contains("bounced")).count();
    let notices: Vec<Notice> =
        home.wait_for(bounced).iter().map(|notice| Notice::parse(&notice.content)).collect();
    let about = |domain: &str| {
        let recipient = format!("rfc822; you@{domain}");
        let found = notices.iter().find(|notice| notice.of_recipient(0, "Final-Recipient") == recipient);
        found.unwrap_or_else(|| panic!("no notice about {domain}"))
    };
    assert_eq!(about("nowhere.test").of_recipient(0, "Status"), "5.4.4");
    // The text is folded to lines.
    let words: Vec<&str> = about("nowhere.test").text.split_whitespace().collect();
    assert!(words.join(" ").contains("Name service error for name=nowhere.test type=MX: Host not found"));
    assert_eq!(about("null-mx.test").of_recipient(0, "Status"), "5.1.0");
    assert!(engine.is_running());
    engine.stop();
}

#[test]
fn a_truncated_answer_is_asked_for_again_by_tcp() {
    let (ip, sink) = sink();
    let names: Vec<String> = (0..60).map(|number| format!("exchanger-number-{number}.big.test")).collect();
    let mut records: Vec<(u16, String)> = names.iter().map(|name| (20, name.clone())).collect();
    records.push((10, "best.big.test".to_owned()));
    let whole = DnsAnswer::Exchangers(records);
    let zone = Zone::default()
        .answer("big.test", Kind::Mx, DnsAnswer::ByTcpOnly(Box::new(whole)))
        .a("best.big.test", ip);
    let dns = DnsServer::start(zone);
    let engine = by_dns("dns-tcp", &dns).start();
    let mut client = engine.client();
    client.message("a@client.test", &["you@big.test"], &message_content("big", 900));
    client.quit();
    assert_eq!(sink.wait_for(1)[0].track().as_deref(), Some("big"));
    assert!(result_of(&engine, "you@big.test").text.contains("relay=best.big.test["));
    assert_eq!(dns.asked("big.test", Kind::Mx), 2, "once by UDP, once by TCP");
    engine.stop();
}

#[test]
fn many_messages_for_one_domain_ask_once_a_shard() {
    let (ip, sink) = sink();
    let dns =
        DnsServer::start(Zone::default().mx("many.test", &[(10, "mx.many.test")]).a("mx.many.test", ip));
    let engine = by_dns("dns-once", &dns).parameter("ringpost_shards", "1").start();
    let mut client = engine.client();
    for number in 0..50 {
        let track = format!("many-{number}");
        client.message("a@client.test", &["you@many.test"], &message_content(&track, 900));
    }
    client.quit();
    sink.wait_for(50);
    assert_eq!(dns.asked("many.test", Kind::Mx), 1);
    assert_eq!(dns.asked("mx.many.test", Kind::A), 1);
    engine.stop();
}

#[test]
fn the_second_name_server_answers_when_the_first_is_broken() {
    let (ip, sink) = sink();
    let broken = DnsServer::start(Zone::default().answer("two.test", Kind::Mx, DnsAnswer::Failure).answer(
        "two.test",
        Kind::A,
        DnsAnswer::Failure,
    ));
    let good = DnsServer::start(Zone::default().a("two.test", ip));
    let engine = by_dns("dns-second", &broken)
        .parameter("ringpost_dns_servers", &format!("{}, {}", broken.address(), good.address()))
        .start();
    let mut client = engine.client();
    client.message("a@client.test", &["you@two.test"], &message_content("two", 900));
    client.quit();
    assert_eq!(sink.wait_for(1)[0].track().as_deref(), Some("two"));
    engine.stop();
}
