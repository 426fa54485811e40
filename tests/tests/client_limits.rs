//! What one client may do is counted over all shards, and told in Postfix's words.

use std::net::Ipv4Addr;

use ringpost_tests::client::Reply;
use ringpost_tests::{Client, Engine, EngineSetup, wait};

const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const EXEMPT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// Two shards, and one client without limits.
fn setup(name: &str) -> EngineSetup {
    EngineSetup::new(name)
        .parameter("ringpost_shards", "2")
        .parameter("mynetworks", &EXEMPT.to_string())
        .parameter("relay_domains", "sink.test")
        .parameter("smtpd_soft_error_limit", "100000")
        .parameter("smtpd_hard_error_limit", "100000")
}

/// Connects from `source`; the client and its greeting.
fn connect(engine: &Engine, source: Ipv4Addr) -> (Client, Reply) {
    let mut client = Client::try_connect_from(source, engine.setup().address()).expect("the relay listens");
    let greeting = client.reply();
    (client, greeting)
}

fn service(engine: &Engine) -> String {
    engine.setup().address().to_string()
}

#[test]
fn the_connection_count_limit_holds_over_both_shards() {
    let engine = setup("connection-count").parameter("smtpd_client_connection_count_limit", "12").start();
    let open = |source| -> Vec<Client> {
        (0..12)
            .map(|number| {
                let (client, greeting) = connect(&engine, source);
                assert_eq!(greeting.code, 220, "connection {number} of {source}: {greeting:?}");
                client
            })
            .collect()
    };
    let mut clients = open(CLIENT);
    let refusal = "421 4.7.0 relay.test Error: too many connections from 127.0.0.1";
    for _ in 0..4 {
        let (mut client, greeting) = connect(&engine, CLIENT);
        assert!(greeting.is(refusal), "{greeting:?}");
        assert!(client.is_closed(), "a refused client is disconnected");
    }
    let warning = format!(" from localhost[{CLIENT}] for service {}", service(&engine));
    engine.wait_for_log("the limit", |line| {
        line.text.starts_with("warning: Connection concurrency limit exceeded: 13")
            && line.text.ends_with(&warning)
    });

    // Others are others, and who is exempt may have as many as it likes.
    let others = open(OTHER);
    let (exempt, more) = (open(EXEMPT), open(EXEMPT));

    // Each session that ends makes room for one, wherever it was.
    for _ in 0..4 {
        clients.remove(0).quit();
        let client = wait::until("a connection is free again", || {
            let (client, greeting) = connect(&engine, CLIENT);
            (greeting.code == 220).then_some(client)
        });
        clients.push(client);
    }
    drop((clients, others, exempt, more));
    let ended = |line: &ringpost_tests::maillog::LogLine| line.text.starts_with("disconnect from ");
    engine.wait_for_log_count("sessions end", 48, ended);
    // Nothing leaks: as many as before, once the last ends were told.
    let again = wait::until("all connections are free again", || {
        let clients: Vec<(Client, Reply)> = (0..12).map(|_| connect(&engine, CLIENT)).collect();
        clients.iter().all(|(_, greeting)| greeting.code == 220).then_some(clients)
    });
    drop(again);

    let mut engine = engine;
    assert!(engine.terminate().success());
    let statistics: Vec<String> = engine
        .log()
        .into_iter()
        .filter(|line| line.process == "anvil" && line.text.starts_with("statistics: max "))
        .map(|line| line.text)
        .collect();
    let one = |what: &str| {
        let found: Vec<&String> = statistics.iter().filter(|text| text.contains(what)).collect();
        assert_eq!(found.len(), 1, "one line for the system about {what}: {statistics:#?}");
        found[0].clone()
    };
    let count = one("max connection count ");
    let place = format!(" for ({}:{CLIENT}) at ", service(&engine));
    // The connection that is refused counts while it is being refused.
    let value =
        count.strip_prefix("statistics: max connection count ").and_then(|rest| rest.split(' ').next());
    let value: Option<u32> = value.and_then(|value| value.parse().ok());
    assert!(value.is_some_and(|value| value > 12) && count.contains(&place), "{count}");
    assert!(one("max connection rate ").contains(&format!("/60s{place}")));
    one("max cache size 2 at ");
    assert!(!statistics.iter().any(|text| text.contains(&EXEMPT.to_string())), "{statistics:#?}");
}

/// Gives `command` until it is refused, and asserts that this was not before `limit` were taken; then that it is
/// taken again when the unit of time is over.
fn trips(engine: &Engine, limit: usize, command: &str, before: &str, refusal: &str) {
    let (mut client, greeting) = connect(engine, CLIENT);
    assert_eq!(greeting.code, 220);
    client.expect("EHLO client.test", "250");
    if before.starts_with("MAIL") {
        client.expect(before, "250");
    }
    let mut give = move || {
        if before == "RSET" {
            client.expect(before, "250");
        }
        client.command(command)
    };
    let refused_at = (0..=limit).find(|_| give().is(refusal));
    assert_eq!(refused_at, Some(limit), "{command} is refused after {limit}");
    let taken = wait::until("the unit of time is over", || Some(give()).filter(|reply| !reply.is(refusal)));
    assert_ne!(taken.code, 421, "it is not taken but the session cut off: {taken:?}");
}

#[test]
fn rates_trip_beyond_their_limit_and_clear_after_the_unit_of_time() {
    let engine = setup("client-rates")
        // Long enough that a slow machine gives four commands in it.
        .parameter("anvil_rate_time_unit", "4s")
        .parameter("smtpd_client_message_rate_limit", "3")
        .parameter("smtpd_client_recipient_rate_limit", "3")
        .parameter("smtpd_client_auth_rate_limit", "3")
        .start();
    let mail = "MAIL FROM:<a@client.test>";
    trips(&engine, 3, mail, "RSET", "450 4.7.1 Error: too much mail from 127.0.0.1");
    let rcpt = "RCPT TO:<b@sink.test>";
    trips(&engine, 3, rcpt, mail, "450 4.7.1 Error: too many recipients from 127.0.0.1");
    trips(&engine, 3, "AUTH PLAIN AGEAYg==", "", "450 4.7.1 Error: too many AUTH commands from 127.0.0.1");
    for words in [
        "Message delivery request rate limit exceeded: 4",
        "Recipient address rate limit exceeded: 4",
        "AUTH command rate limit exceeded: 4",
    ] {
        let service = service(&engine);
        let warning = format!("warning: {words} from localhost[{CLIENT}] for service {service}");
        engine.wait_for_log(words, |line| line.text == warning);
    }
    engine.stop();
}

#[test]
fn the_connection_rate_limit_refuses_a_client_that_comes_too_often() {
    let engine = setup("connection-rate")
        .parameter("anvil_rate_time_unit", "4s")
        .parameter("smtpd_client_connection_count_limit", "0")
        .parameter("smtpd_client_connection_rate_limit", "5")
        .start();
    let refusal = "421 4.7.0 relay.test Error: too many connections from 127.0.0.1";
    for _ in 0..5 {
        let (client, greeting) = connect(&engine, CLIENT);
        assert_eq!(greeting.code, 220, "{greeting:?}");
        client.quit();
    }
    assert!(connect(&engine, CLIENT).1.is(refusal));
    assert_eq!(connect(&engine, OTHER).1.code, 220);
    wait::until("the unit of time is over", || (connect(&engine, CLIENT).1.code == 220).then_some(()));
    engine.wait_for_log("the limit", |line| {
        line.text.starts_with("warning: Connection rate limit exceeded: 6 from localhost[127.0.0.1]")
    });
    engine.stop();
}
