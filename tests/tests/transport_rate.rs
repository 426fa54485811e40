//! A transport's rate delay holds over all its destinations and all shards: the sink counts and reads the clock.

use std::net::SocketAddrV4;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ringpost_tests::address::{SINK_PORT, unique_loopback};
use ringpost_tests::client::message_content;
use ringpost_tests::dns::{DnsServer, Zone};
use ringpost_tests::sink::{Answer, Stage};
use ringpost_tests::{Client, EngineSetup, Sink};
use serde_json::Value;

const DELAY: Duration = Duration::from_secs(1);
const MESSAGES: usize = 8;

/// Transactions over all sinks.
#[derive(Default)]
struct Watch {
    open: usize,
    most: usize,
    ended: Option<Instant>,
    /// From the end of each transaction to the beginning of the next.
    pauses: Vec<Duration>,
}

fn locked(watch: &Mutex<Watch>) -> MutexGuard<'_, Watch> {
    watch.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watched_sink(address: SocketAddrV4, watch: &Arc<Mutex<Watch>>) -> Sink {
    let watch = Arc::clone(watch);
    Sink::scripted(address, move |stage| {
        match stage {
            Stage::Mail(_) => {
                let mut watch = locked(&watch);
                watch.open += 1;
                watch.most = watch.most.max(watch.open);
                let pause = watch.ended.map(|ended| ended.elapsed());
                watch.pauses.extend(pause);
            }
            Stage::EndOfData(_) => {
                let mut watch = locked(&watch);
                watch.open -= 1;
                watch.ended = Some(Instant::now());
            }
            _ => {}
        }
        Answer::Usual
    })
}

#[test]
fn two_shards_send_one_mail_at_a_time_over_all_destinations_with_one_pause_after_each() {
    let watch = Arc::<Mutex<Watch>>::default();
    let addresses = [unique_loopback(), unique_loopback()];
    let sinks = addresses.map(|ip| watched_sink(SocketAddrV4::new(ip, SINK_PORT), &watch));
    let dns = DnsServer::start(Zone::default().a("one.test", addresses[0]).a("two.test", addresses[1]));
    let setup = EngineSetup::new("transport-rate-shards")
        .parameter("relayhost", "")
        .parameter("ringpost_shards", "2")
        .parameter("smtp_tcp_port", &SINK_PORT.to_string())
        .parameter("ringpost_dns_servers", &dns.address().to_string())
        .parameter("smtp_transport_rate_delay", "1s");
    let engine = setup.start();
    // A new session goes to the less busy shard: both get some.
    let mut sessions: Vec<Client> = (0..4).map(|_| engine.client()).collect();
    for number in 0..MESSAGES {
        let recipient = ["b@one.test", "b@two.test"][number / 4 % 2];
        let content = message_content(&format!("m-{number}"), 300);
        sessions[number % 4].message("a@client.test", &[recipient], &content);
    }
    engine.wait_for_log_count("removed", MESSAGES, |line| line.text == "removed");
    engine.stop();
    assert_eq!(sinks.each_ref().map(Sink::count), [MESSAGES / 2; 2]);
    let figures = std::fs::read(setup.queue().join("figures.json")).expect("a stop leaves figures");
    let figures: Value = serde_json::from_slice(&figures).expect("the figures are JSON");
    let sent = |shard: &Value| shard["recipients_sent"].as_u64().expect("a count");
    let shards: Vec<u64> = figures["shards"].as_array().expect("told by shard").iter().map(sent).collect();
    assert!(shards.iter().all(|&sent| sent > 0), "each shard had some to send: {shards:?}");

    let mut watch = locked(&watch);
    assert_eq!(watch.most, 1, "never two at once, on whichever shards");
    assert_eq!(watch.pauses.len(), MESSAGES - 1);
    watch.pauses.sort_unstable();
    assert!(watch.pauses[0] >= DELAY, "{:?}", watch.pauses);
    // Were the pause kept for each shard it would be two seconds, or nothing.
    assert!(watch.pauses[MESSAGES / 2] < DELAY * 3 / 2, "{:?}", watch.pauses);
}
