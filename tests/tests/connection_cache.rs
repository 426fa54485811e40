//! Connections to servers are kept, shared by destinations with the same server, handed from shard to shard, and given
//! up within their limits; a server that is not to be had is passed by.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddrV4;
use std::thread;
use std::time::Duration;

use ringpost_tests::address::{SINK_PORT, unique_loopback};
use ringpost_tests::client::message_content;
use ringpost_tests::dns::{DnsServer, Zone};
use ringpost_tests::sink::{Answer, Stage};
use ringpost_tests::{Client, Engine, EngineSetup, Sink};
use serde_json::Value;

/// How long a connection must have been idle before another shard gets it, with a margin. Mail comes this far apart.
const PAUSE: Duration = Duration::from_millis(150);

/// Two shards that keep connections for far longer than the pauses last, and say so without waiting for back-to-back
/// mail.
fn setup(name: &str) -> EngineSetup {
    let setup = EngineSetup::new(name);
    let destination = setup.sink_address().ip().to_string();
    setup
        .parameter("ringpost_shards", "2")
        .parameter("smtp_connection_cache_destinations", &destination)
        .parameter("smtp_connection_cache_time_limit", "30s")
        .parameter("connection_cache_ttl_limit", "30s")
}

/// Sessions that live on both shards: a new one goes to the less busy shard.
fn sessions(engine: &Engine) -> Vec<Client> {
    (0..4).map(|_| engine.client()).collect()
}

/// One message after the other, from the sessions in turn; each is delivered, and its connection at rest, before the
/// next comes.
fn send_in_turn(engine: &Engine, sessions: &mut [Client], count: usize) {
    for number in 0..count {
        let content = message_content(&format!("m-{number}"), 300);
        let place = number % sessions.len();
        sessions[place].message("a@client.test", &["b@sink.test"], &content);
        engine.wait_for_log_count("removed", number + 1, |line| line.text == "removed");
        thread::sleep(PAUSE);
    }
}

fn stop_for_figures(engine: Engine, setup: &EngineSetup) -> Value {
    engine.stop();
    let text = std::fs::read(setup.queue().join("figures.json")).expect("a stop leaves figures");
    serde_json::from_slice(&text).expect("the figures are JSON")
}

fn both_shards_delivered(figures: &Value) -> bool {
    let shards = figures["shards"].as_array().expect("the figures are also told by shard");
    shards.iter().all(|shard| shard["recipients_sent"].as_u64() > Some(0))
}

#[test]
fn an_idle_connection_goes_to_the_shard_that_has_mail() {
    let setup = setup("hand-over");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    send_in_turn(&engine, &mut sessions(&engine), 12);
    assert_eq!(sink.connections(), 1, "without a hand-over each shard has its own");
    for conn_use in 2..=12 {
        engine.wait_for_log("a use of the connection", |line| {
            line.text.contains(&format!(", conn_use={conn_use},"))
        });
    }
    let numbers: HashSet<String> = engine
        .log()
        .into_iter()
        .filter(|line| line.text.contains("status=sent"))
        .map(|line| line.number)
        .collect();
    assert_eq!(numbers.len(), 1, "a connection keeps its number: {numbers:?}");
    let figures = stop_for_figures(engine, &setup);
    assert!(both_shards_delivered(&figures), "{figures}");
    assert!(figures["connections_handed_over"].as_u64() > Some(0), "{figures}");
}

#[test]
fn the_limit_of_uses_holds_over_the_shards() {
    let setup = setup("hand-over-limit").parameter("smtp_connection_reuse_count_limit", "3");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    send_in_turn(&engine, &mut sessions(&engine), 12);
    let mut uses: HashMap<usize, usize> = HashMap::new();
    sink.messages().iter().for_each(|message| *uses.entry(message.connection).or_default() += 1);
    assert_eq!(sink.connections(), 4, "{uses:?}");
    assert!(uses.values().all(|&uses| uses == 3), "{uses:?}");
    assert!(both_shards_delivered(&stop_for_figures(engine, &setup)));
}

#[test]
fn a_connection_that_died_at_rest_costs_a_new_one_and_no_mail() {
    let setup = setup("hand-over-dead");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut sessions = sessions(&engine);
    send_in_turn(&engine, &mut sessions, 2);
    // The server is restarted.
    drop(sink);
    let sink = Sink::willing(setup.sink_address());
    for (number, client) in sessions.iter_mut().enumerate() {
        client.message("a@client.test", &["b@sink.test"], &message_content(&format!("n-{number}"), 300));
        sink.wait_for(number + 1);
    }
    engine.wait_for_log_count("removed", 6, |line| line.text == "removed");
    assert!(engine.log().iter().all(|line| !line.text.contains("status=deferred")));
    engine.stop();
}

/// Two domains whose mail goes to the sink's address, under different names of the server.
fn two_domains(setup: &EngineSetup) -> DnsServer {
    let ip = *setup.sink_address().ip();
    let zone = Zone::default()
        .mx("one.test", &[(10, "mx.one.test")])
        .mx("two.test", &[(10, "mx.two.test")])
        .a("mx.one.test", ip)
        .a("mx.two.test", ip);
    DnsServer::start(zone)
}

fn with_domains(setup: EngineSetup, dns: &DnsServer, shards: &str) -> EngineSetup {
    setup
        .parameter("relayhost", "")
        .parameter("ringpost_shards", shards)
        .parameter("smtp_connection_cache_destinations", "one.test, two.test")
        .parameter("smtp_tcp_port", &SINK_PORT.to_string())
        .parameter("ringpost_dns_servers", &dns.address().to_string())
}

#[test]
fn destinations_with_the_same_server_share_its_connections() {
    let setup = setup("same-server");
    let dns = two_domains(&setup);
    let setup = with_domains(setup, &dns, "1");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut client = engine.client();
    for (number, domain) in ["one", "two", "two", "one"].into_iter().enumerate() {
        let recipient = format!("b@{domain}.test");
        client.message("a@client.test", &[&recipient], &message_content(&format!("m-{number}"), 300));
        engine.wait_for_log_count("removed", number + 1, |line| line.text == "removed");
        let line = engine.wait_for_log("the delivery", |line| {
            let conn_use = if number == 0 { String::new() } else { format!(", conn_use={}", number + 1) };
            let relay = format!(", relay=mx.{domain}.test[{}]:{SINK_PORT}{conn_use}, ", sink.address().ip());
            line.text.contains(&relay)
        });
        assert!(line.text.contains("status=sent"), "{line:?}");
    }
    assert_eq!(sink.connections(), 1);
    engine.stop();
    let told: Vec<String> = engine_log(&setup, "statistics: ");
    assert_eq!(
        told,
        [
            "statistics: domain lookup hits=1 miss=3 success=25%",
            "statistics: address lookup hits=2 miss=1 success=66%",
            "statistics: max simultaneous domains=1 addresses=1 connection=1",
        ]
    );
}

/// What scache has told in the log of an engine that has stopped.
fn engine_log(setup: &EngineSetup, beginning: &str) -> Vec<String> {
    let log = std::fs::read_to_string(setup.home().join("maillog")).expect("the engine has logged");
    let of_scache = log.lines().filter(|line| line.contains("/scache["));
    of_scache.filter_map(|line| line.find(beginning).map(|from| line[from..].to_owned())).collect()
}

#[test]
fn a_connection_to_the_same_server_comes_from_another_shard_too() {
    let setup = setup("same-server-shards");
    let dns = two_domains(&setup);
    let setup = with_domains(setup, &dns, "2");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut sessions = sessions(&engine);
    for number in 0..12 {
        let recipient = ["b@one.test", "b@two.test"][number / 4 % 2];
        let content = message_content(&format!("m-{number}"), 300);
        sessions[number % 4].message("a@client.test", &[recipient], &content);
        engine.wait_for_log_count("removed", number + 1, |line| line.text == "removed");
        thread::sleep(PAUSE);
    }
    assert_eq!(sink.connections(), 1);
    let figures = stop_for_figures(engine, &setup);
    assert!(both_shards_delivered(&figures), "{figures}");
    assert!(figures["connections_handed_over"].as_u64() > Some(0), "{figures}");
}

#[test]
fn a_server_that_fails_the_reset_of_an_idle_connection_gets_the_mail_over_a_new_one() {
    for failure in ["421 4.4.2 idle for too long", "502 5.5.1 what is RSET"] {
        let setup = setup("reset-fails").parameter("ringpost_shards", "1");
        let sink = Sink::scripted(setup.sink_address(), move |stage| match stage {
            Stage::Reset => Answer::say(failure),
            _ => Answer::Usual,
        });
        let engine = setup.start();
        let mut client = engine.client();
        for number in 0..3 {
            let content = message_content(&format!("m-{number}"), 300);
            client.message("a@client.test", &["b@sink.test"], &content);
            engine.wait_for_log_count("removed", number + 1, |line| line.text == "removed");
        }
        assert_eq!((sink.count(), sink.connections()), (3, 3), "each idle connection is tried, once");
        let mail = engine.log().into_iter().filter(|line| line.text.contains("status="));
        assert!(
            mail.into_iter().all(|line| line.text.contains("status=sent") && !line.text.contains("conn_use"))
        );
        engine.stop();
    }
}

#[test]
fn a_server_that_is_not_to_be_had_is_passed_by_while_another_one_is() {
    let (dead_ip, live_ip) = (unique_loopback(), unique_loopback());
    let dead = Sink::scripted(SocketAddrV4::new(dead_ip, SINK_PORT), |stage| match stage {
        Stage::Connect => Answer::Drop,
        _ => Answer::Usual,
    });
    let live = Sink::willing(SocketAddrV4::new(live_ip, SINK_PORT));
    let zone = Zone::default()
        .mx("two.test", &[(10, "dead.test"), (20, "live.test")])
        .mx("one.test", &[(10, "dead.test")])
        .a("dead.test", dead_ip)
        .a("live.test", live_ip);
    let dns = DnsServer::start(zone);
    let engine = EngineSetup::new("dead-server")
        .parameter("relayhost", "")
        .parameter("ringpost_shards", "1")
        .parameter("smtp_tcp_port", &SINK_PORT.to_string())
        .parameter("smtp_connection_cache_on_demand", "no")
        .parameter("ringpost_dns_servers", &dns.address().to_string())
        .start();
    let mut client = engine.client();
    for number in 1..=5 {
        client.message("a@client.test", &["b@two.test"], &message_content(&format!("t-{number}"), 300));
        live.wait_for(number);
        engine.wait_for_log_count("removed", number, |line| line.text == "removed");
    }
    assert_eq!(dead.connections(), 1, "only the first delivery waits for the dead server");
    client.message("a@client.test", &["b@one.test"], &message_content("only", 300));
    engine.wait_for_log("the deferral", |line| line.text.contains("status=deferred"));
    assert_eq!(dead.connections(), 2, "where there is no other server it is tried as ever");
    engine.stop();
}
