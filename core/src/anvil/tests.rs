//! Any interleaving over shards whose rings overflow: what is open is known in the end, and nothing leaks.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

const PREFIXES: ClientPrefixes = ClientPrefixes { ipv4: 32, ipv6: 84 };

fn client(last: u8) -> ClientKey {
    ClientKey::new(0, IpAddr::from([192, 0, 2, last]), PREFIXES)
}

fn news(client: ClientKey, open: u32, events: &[ClientEvent]) -> ClientNews {
    let mut counts = EventCounts::default();
    events.iter().for_each(|event| counts.add(*event));
    ClientNews { client, open, events: counts }
}

fn connected(table: &mut AnvilTable, shard: u16, client: ClientKey, open: u32, now_ms: u64) -> (u32, u32) {
    let counts = table.hear(shard, &news(client, open, &[ClientEvent::Connection]), now_ms).expect("room");
    (counts.open, counts.rates.of(ClientEvent::Connection))
}

#[test]
fn addresses_of_one_network_are_one_client() {
    let key = |address: &str| ClientKey::new(3, address.parse().expect("an address"), PREFIXES);
    assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:ffff"));
    assert_ne!(key("2001:db8::1"), key("2001:db8:0:0:0:2000::1"));
    assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    assert_eq!(key("192.0.2.1").to_string(), "192.0.2.1");
    assert_eq!(key("2001:db8::1").to_string(), "2001:db8::/84");
    let wide = ClientPrefixes { ipv4: 0, ipv6: 0 };
    assert_eq!(ClientKey::new(0, IpAddr::from([10, 1, 2, 3]), wide).to_string(), "0.0.0.0/0");
    assert_ne!(ClientKey::new(1, IpAddr::from([10, 1, 2, 3]), PREFIXES), key("10.1.2.3"));
}

#[test]
fn homes_are_spread() {
    let at_home = |shard| (0..=255).filter(|&last| client(last).home(4) == shard).count();
    assert!((0..4).all(|shard| (40..90).contains(&at_home(shard))), "{:?}", [0, 1, 2, 3].map(at_home));
}

#[test]
fn connections_of_all_shards_add_up_and_rates_end_with_their_unit() {
    let mut table = AnvilTable::new(60_000, 10);
    assert_eq!(connected(&mut table, 0, client(1), 1, 0), (1, 1));
    assert_eq!(connected(&mut table, 1, client(1), 1, 10), (2, 2));
    assert_eq!(connected(&mut table, 0, client(1), 2, 59_999), (3, 3));
    assert_eq!(connected(&mut table, 0, client(2), 1, 59_999), (1, 1));
    // The unit began with the first event and is over; the sessions are still there.
    assert_eq!(connected(&mut table, 1, client(1), 2, 60_000), (4, 1));
    for (shard, open) in [(0, 0), (1, 0)] {
        assert!(table.hear(shard, &news(client(1), open, &[]), 60_001).is_some());
    }
    assert!(table.hear(0, &news(client(2), 0, &[]), 60_001).is_some());
    assert_eq!(connected(&mut table, 0, client(1), 1, 60_002), (1, 2));
    assert!(table.hear(0, &news(client(1), 0, &[]), 60_003).is_some());
    table.forget_idle(130_000);
    assert!(table.is_empty());
}

#[test]
fn a_full_table_forgets_rates_before_it_turns_clients_away() {
    let mut table = AnvilTable::new(60_000, 2);
    assert_eq!(connected(&mut table, 0, client(1), 1, 0), (1, 1));
    assert!(table.hear(0, &news(client(1), 0, &[]), 1).is_some());
    assert_eq!(connected(&mut table, 0, client(2), 1, 2), (1, 1));
    // Client 1 has no session: it makes room. Clients 2 and 3 have one each: client 4 goes uncounted.
    assert_eq!(connected(&mut table, 0, client(3), 1, 3), (1, 1));
    assert_eq!(table.hear(0, &news(client(4), 1, &[ClientEvent::Connection]), 4), None);
    assert!(table.hear(0, &news(client(2), 0, &[]), 5).is_some());
    assert_eq!(connected(&mut table, 0, client(4), 1, 6), (1, 1));
    assert_eq!(connected(&mut table, 0, client(3), 2, 7), (2, 2));
    assert_eq!(table.len(), 2);
}

#[test]
fn limits_trip_beyond_their_number_and_say_so_in_postfix_words() {
    let limits = ClientLimits {
        connection_count: 2,
        connection_rate: 5,
        message_rate: 1,
        recipient_rate: 1,
        new_tls_rate: 1,
        auth_rate: 1,
    };
    let counts = |open: u32, event: ClientEvent, times: usize| {
        let mut counts = ClientCounts { open, rates: EventCounts::default() };
        (0..times).for_each(|_| counts.rates.add(event));
        counts
    };
    let connection = ClientEvent::Connection;
    assert_eq!(limits.exceeded(connection, &counts(2, connection, 5)), None);
    let words = |event: ClientEvent, counts: ClientCounts| {
        let exceeded = limits.exceeded(event, &counts).expect("beyond the limit");
        let reply = exceeded.reply("mx.example", IpAddr::from([192, 0, 2, 1]));
        (exceeded.to_string(), reply.line().to_owned())
    };
    let expected = [
        (
            words(connection, counts(3, connection, 1)),
            "Connection concurrency limit exceeded: 3",
            "421 4.7.0 mx.example Error: too many connections from 192.0.2.1",
        ),
        (
            words(connection, counts(1, connection, 6)),
            "Connection rate limit exceeded: 6",
            "421 4.7.0 mx.example Error: too many connections from 192.0.2.1",
        ),
        (
            words(ClientEvent::Message, counts(1, ClientEvent::Message, 2)),
            "Message delivery request rate limit exceeded: 2",
            "450 4.7.1 Error: too much mail from 192.0.2.1",
        ),
        (
            words(ClientEvent::Recipient, counts(1, ClientEvent::Recipient, 2)),
            "Recipient address rate limit exceeded: 2",
            "450 4.7.1 Error: too many recipients from 192.0.2.1",
        ),
        (
            words(ClientEvent::NewTls, counts(1, ClientEvent::NewTls, 2)),
            "New TLS session rate limit exceeded: 2",
            "454 4.7.0 Error: too many new TLS sessions from 192.0.2.1",
        ),
        (
            words(ClientEvent::Auth, counts(1, ClientEvent::Auth, 2)),
            "AUTH command rate limit exceeded: 2",
            "450 4.7.1 Error: too many AUTH commands from 192.0.2.1",
        ),
    ];
    for ((warning, reply), wanted_warning, wanted_reply) in expected {
        assert_eq!((warning.as_str(), reply.as_str()), (wanted_warning, wanted_reply));
    }
    let none = ClientLimits::default();
    assert!(!none.any() && !none.decide(connection));
    assert_eq!(none.exceeded(connection, &counts(1000, connection, 1000)), None);
    let only_count = ClientLimits { connection_count: 50, ..none };
    assert!(only_count.any() && only_count.decide(connection) && !only_count.decide(ClientEvent::Message));
}

#[test]
fn peaks_of_two_homes_become_one_set_of_lines() {
    let (mut one, mut other) = (AnvilTable::new(60_000, 10), AnvilTable::new(60_000, 10));
    connected(&mut one, 0, client(1), 1, 1000);
    connected(&mut one, 0, client(1), 2, 2000);
    connected(&mut other, 0, client(2), 1, 3000);
    other.hear(0, &news(client(2), 1, &[ClientEvent::Message]), 4000);
    let mut merged = one.take_peaks();
    other.take_peaks().reports().for_each(|report| merged.merge(report));
    let lines = merged.lines(60, |_| "smtp", |at_ms| format!("second {}", at_ms / 1000));
    assert_eq!(
        lines,
        [
            "statistics: max connection rate 2/60s for (smtp:192.0.2.1) at second 2",
            "statistics: max connection count 2 for (smtp:192.0.2.1) at second 2",
            "statistics: max message rate 1/60s for (smtp:192.0.2.2) at second 4",
            "statistics: max cache size 2 at second 3",
        ]
    );
    assert!(one.take_peaks().is_empty());
}

/// What a test does to one client on one shard, or with time and rings.
#[derive(Clone, Debug)]
enum Step {
    Connect {
        shard: usize,
        client: u8,
    },
    Event {
        shard: usize,
        client: u8,
    },
    Disconnect {
        shard: usize,
        client: u8,
    },
    /// The shard's teller runs.
    Tell {
        shard: usize,
    },
    /// The homes hear some of what lies in the rings.
    Hear {
        messages: usize,
    },
    Wait {
        ms: u64,
    },
}

const SHARDS: usize = 3;
const CLIENTS: u8 = 5;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = (0..SHARDS, 0..CLIENTS);
    let step = prop_oneof![
        3 => place.clone().prop_map(|(shard, client)| Step::Connect { shard, client }),
        2 => place.clone().prop_map(|(shard, client)| Step::Event { shard, client }),
        3 => place.prop_map(|(shard, client)| Step::Disconnect { shard, client }),
        1 => (0..SHARDS).prop_map(|shard| Step::Tell { shard }),
        2 => (0..4usize).prop_map(|messages| Step::Hear { messages }),
        1 => (0..400u64).prop_map(|ms| Step::Wait { ms }),
    ];
    prop::collection::vec(step, 0..200)
}

/// Shards with rings of a few places between them.
struct System {
    here: Vec<AnvilHere>,
    tables: Vec<AnvilTable>,
    /// `rings[from][to]`.
    rings: Vec<Vec<VecDeque<ClientNews>>>,
    open: HashMap<(usize, u8), u32>,
    now_ms: u64,
}

impl System {
    const RING: usize = 2;
    const UNIT_MS: u64 = 1000;

    fn new() -> System {
        System {
            here: (0..SHARDS).map(|_| AnvilHere::new(CLIENTS.into())).collect(),
            tables: (0..SHARDS).map(|_| AnvilTable::new(Self::UNIT_MS, CLIENTS.into())).collect(),
            rings: vec![vec![VecDeque::new(); SHARDS]; SHARDS],
            open: HashMap::new(),
            now_ms: 0,
        }
    }

    /// What a shard does with news: at home it is heard at once, elsewhere it is told, or waits.
    fn tell(&mut self, shard: usize, news: ClientNews) {
        let home = news.client.home(SHARDS);
        if home == shard {
            self.tables[home].hear(shard as u16, &news, self.now_ms).expect("the table has room");
            self.here[shard].said(news.client);
        } else if self.rings[shard][home].len() < Self::RING {
            self.rings[shard][home].push_back(news);
            self.here[shard].said(news.client);
        } else {
            self.here[shard].file(news.client);
        }
    }

    fn tell_all(&mut self, shard: usize) {
        for _ in 0..self.here[shard].unsaid() {
            match self.here[shard].next_unsaid() {
                Some(news) => self.tell(shard, news),
                None => break,
            }
        }
    }

    fn hear(&mut self, messages: usize) {
        for (from, to) in (0..SHARDS * SHARDS).map(|pair| (pair / SHARDS, pair % SHARDS)) {
            for _ in 0..messages.min(System::RING) {
                if let Some(news) = self.rings[from][to].pop_front() {
                    self.tables[to].hear(from as u16, &news, self.now_ms).expect("the table has room");
                }
            }
        }
    }

    fn settle(&mut self) {
        while (0..SHARDS).any(|shard| self.here[shard].unsaid() > 0)
            || self.rings.iter().flatten().any(|ring| !ring.is_empty())
        {
            (0..SHARDS).for_each(|shard| self.tell_all(shard));
            self.hear(usize::MAX);
        }
    }

    fn take(&mut self, step: &Step) {
        let number = |client: u8| self::client(client);
        match *step {
            Step::Connect { shard, client } => {
                assert!(self.here[shard].connected(number(client)), "the shard has room");
                *self.open.entry((shard, client)).or_default() += 1;
                let news = self.here[shard].news(number(client)).expect("a connect is news");
                self.tell(shard, news);
            }
            Step::Event { shard, client } if self.open.contains_key(&(shard, client)) => {
                self.here[shard].happened(number(client), ClientEvent::Message);
                self.here[shard].file(number(client));
            }
            Step::Disconnect { shard, client } if self.open.contains_key(&(shard, client)) => {
                let open = self.open.get_mut(&(shard, client)).expect("it was found");
                *open -= 1;
                if *open == 0 {
                    self.open.remove(&(shard, client));
                }
                self.here[shard].disconnected(number(client));
                self.here[shard].file(number(client));
            }
            Step::Event { .. } | Step::Disconnect { .. } => {}
            Step::Tell { shard } => self.tell_all(shard),
            Step::Hear { messages } => self.hear(messages),
            Step::Wait { ms } => self.now_ms += ms,
        }
    }

    /// What the home says of a client when nothing happens.
    fn open_at_home(&mut self, last: u8) -> u32 {
        let key = client(last);
        let home = key.home(SHARDS);
        let own = self.open.get(&(home, last)).copied().unwrap_or(0);
        let counts = self.tables[home].hear(home as u16, &news(key, own, &[]), self.now_ms);
        counts.expect("a known client").open
    }
}

proptest! {
    #[test]
    fn homes_know_what_is_open_once_all_is_said_and_forget_what_is_closed(steps in steps()) {
        let mut system = System::new();
        for step in &steps {
            system.take(step);
        }
        system.settle();
        for last in 0..CLIENTS {
            let open: u32 = (0..SHARDS).filter_map(|shard| system.open.get(&(shard, last))).sum();
            prop_assert_eq!(system.open_at_home(last), open);
        }
        let open: Vec<(usize, u8, u32)> =
            system.open.iter().map(|(&(shard, client), &open)| (shard, client, open)).collect();
        for (shard, client, times) in open {
            for _ in 0..times {
                system.take(&Step::Disconnect { shard, client });
            }
        }
        system.settle();
        prop_assert!(system.here.iter().all(AnvilHere::is_empty));
        for last in 0..CLIENTS {
            prop_assert_eq!(system.open_at_home(last), 0);
        }
        system.now_ms += System::UNIT_MS;
        for table in &mut system.tables {
            table.forget_idle(system.now_ms);
            prop_assert!(table.is_empty());
        }
    }

    #[test]
    fn within_a_unit_no_event_is_lost_or_counted_twice(steps in steps()) {
        let mut system = System::new();
        let mut messages = [0u32; CLIENTS as usize];
        for step in steps.iter().filter(|step| !matches!(step, Step::Wait { .. })) {
            if let Step::Event { shard, client } = *step {
                messages[usize::from(client)] += u32::from(system.open.contains_key(&(shard, client)));
            }
            system.take(step);
        }
        system.settle();
        for last in 0..CLIENTS {
            let key = client(last);
            let home = key.home(SHARDS);
            let own = system.open.get(&(home, last)).copied().unwrap_or(0);
            let counts = system.tables[home].hear(home as u16, &news(key, own, &[]), 0).expect("known");
            prop_assert_eq!(counts.rates.of(ClientEvent::Message), messages[usize::from(last)]);
        }
    }
}
