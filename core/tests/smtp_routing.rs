//! Finding servers: zones as tables, lookups as a mail server would do them.

use std::collections::HashMap;
use std::net::IpAddr;

use proptest::prelude::*;
use ringpost_core::dns::{
    AddressPreference, Answer, LookupFailure, NextHop, Query, RecordType, Resolution, ResolveOptions,
    Resolved, Step,
};

/// What a test's DNS knows; names that are missing do not exist.
#[derive(Default)]
struct Zone(HashMap<Query, Answer>);

impl Zone {
    fn put(mut self, name: &str, kind: RecordType, answer: Answer) -> Zone {
        self.0.insert(Query { name: name.to_owned(), kind }, answer);
        self
    }

    fn mx(self, name: &str, records: &[(u16, &str)]) -> Zone {
        let records = records.iter().map(|&(preference, host)| (preference, host.to_owned())).collect();
        self.put(name, RecordType::Mx, Answer::Exchangers { records, ttl: 3600 })
    }

    fn host(self, name: &str, addresses: &[&str]) -> Zone {
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().expect("address")).collect();
        let (ipv4, ipv6): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv4);
        let answer = |addresses: Vec<IpAddr>| match addresses.is_empty() {
            true => Answer::NoData,
            false => Answer::Addresses { addresses, ttl: 300 },
        };
        self.put(name, RecordType::A, answer(ipv4)).put(name, RecordType::Aaaa, answer(ipv6))
    }

    fn resolve(
        &self,
        next_hop: &str,
        options: &ResolveOptions,
        random: u64,
    ) -> Result<Resolved, LookupFailure> {
        let next_hop = NextHop::parse(next_hop, 25).expect("nexthop");
        let (mut resolution, mut step) = Resolution::start(next_hop, options.clone(), random);
        let mut open: Vec<Query> = Vec::new();
        loop {
            match step {
                Step::Ask(queries) => open = queries,
                Step::Wait => {}
                Step::Done(resolved) => return Ok(resolved),
                Step::Failed(failure) => return Err(failure),
            }
            let query = open.pop().expect("a lookup ends when all is answered");
            let answer = self.0.get(&query).cloned().unwrap_or(Answer::NotFound);
            step = resolution.answer(&query, answer);
        }
    }

    fn hosts(&self, next_hop: &str) -> Vec<String> {
        let resolved = self.resolve(next_hop, &ResolveOptions::default(), 7).expect("servers");
        resolved.servers.into_iter().map(|server| format!("{}={}", server.host, server.address)).collect()
    }

    fn failure(&self, next_hop: &str, options: &ResolveOptions) -> String {
        let failure = self.resolve(next_hop, options, 7).expect_err("no servers");
        format!("{} {}", failure.status, failure.text)
    }
}

#[test]
fn a_literal_address_needs_no_questions() {
    assert_eq!(Zone::default().hosts("[192.0.2.1]:2600"), ["192.0.2.1=192.0.2.1:2600"]);
    assert_eq!(Zone::default().hosts("[::1]:2600"), ["::1=[::1]:2600"]);
}

#[test]
fn brackets_ask_for_addresses_only() {
    let zone = Zone::default()
        .mx("mx.example.com", &[(10, "elsewhere.example")])
        .host("mx.example.com", &["192.0.2.1"]);
    assert_eq!(zone.hosts("[mx.example.com]"), ["mx.example.com=192.0.2.1:25"]);
}

#[test]
fn exchangers_are_tried_by_preference_and_the_shortest_ttl_counts() {
    let zone = Zone::default()
        .mx("example.com", &[(20, "b.example.com."), (10, "A.example.com"), (30, "c.example.com")])
        .host("a.example.com", &["192.0.2.1"])
        .host("b.example.com", &["192.0.2.2"])
        .host("c.example.com", &["192.0.2.3"]);
    let hosts = zone.hosts("example.com:26");
    assert_eq!(
        hosts,
        ["a.example.com=192.0.2.1:26", "b.example.com=192.0.2.2:26", "c.example.com=192.0.2.3:26"]
    );
    assert_eq!(zone.resolve("example.com", &ResolveOptions::default(), 1).expect("servers").ttl, 300);
}

#[test]
fn without_mx_the_domain_is_its_own_exchanger() {
    let zone = Zone::default()
        .put("example.com", RecordType::Mx, Answer::NoData)
        .host("example.com", &["192.0.2.9"]);
    assert_eq!(zone.hosts("example.com"), ["example.com=192.0.2.9:25"]);
}

#[test]
fn equal_preferences_share_the_load() {
    let zone = Zone::default()
        .mx("example.com", &[(10, "a.example.com"), (10, "b.example.com")])
        .host("a.example.com", &["192.0.2.1"])
        .host("b.example.com", &["192.0.2.2"]);
    let first = |random: u64| {
        zone.resolve("example.com", &ResolveOptions::default(), random).expect("servers").servers[0]
            .host
            .clone()
    };
    let a = (0..1_000).filter(|number| first(*number) == "a.example.com").count();
    assert!((400..600).contains(&a), "{a} of 1000");
    let options = ResolveOptions { randomize: false, ..ResolveOptions::default() };
    assert_eq!(zone.resolve("example.com", &options, 3).expect("servers").servers[0].host, "a.example.com");
}

#[test]
fn a_null_mx_means_no_mail() {
    let zone = Zone::default().mx("example.com", &[(0, ".")]);
    let failure = zone.failure("example.com", &ResolveOptions::default());
    assert_eq!(failure, "5.1.0 Domain example.com does not accept mail (nullMX)");
}

#[test]
fn names_that_do_not_exist_bounce_and_silence_defers() {
    let options = ResolveOptions::default();
    let zone = Zone::default()
        .put("broken.example", RecordType::Mx, Answer::Unavailable)
        .mx("dangling.example", &[(10, "gone.example")])
        .mx("half.example", &[(10, "gone.example"), (20, "silent.example")])
        .put("silent.example", RecordType::A, Answer::Unavailable)
        .put("silent.example", RecordType::Aaaa, Answer::NoData)
        .put("empty.example", RecordType::Mx, Answer::NoData)
        .host("empty.example", &[]);
    let text = "Host or domain name not found. Name service error for name";
    let failure = zone.failure("missing.example", &options);
    assert_eq!(failure, format!("5.4.4 {text}=missing.example type=MX: Host not found"));
    let failure = zone.failure("broken.example", &options);
    assert_eq!(failure, format!("4.4.3 {text}=broken.example type=MX: Host not found, try again"));
    assert!(
        zone.failure("dangling.example", &options).starts_with(&format!("5.4.4 {text}=gone.example type=A"))
    );
    let failure = zone.failure("half.example", &options);
    assert_eq!(failure, format!("4.4.3 {text}=silent.example type=A: Host not found, try again"));
    let failure = zone.failure("empty.example", &options);
    assert!(
        failure.starts_with("5.4.4") && failure.ends_with("no data record of requested type"),
        "{failure}"
    );
}

#[test]
fn a_working_exchanger_outweighs_a_broken_one() {
    let zone = Zone::default()
        .mx("example.com", &[(10, "silent.example"), (20, "b.example.com")])
        .put("silent.example", RecordType::A, Answer::Unavailable)
        .host("b.example.com", &["192.0.2.2"]);
    assert_eq!(zone.hosts("example.com"), ["b.example.com=192.0.2.2:25"]);
}

#[test]
fn our_own_place_in_the_list_ends_it() {
    let zone = Zone::default()
        .mx(
            "backup.example",
            &[(10, "a.example.com"), (20, "me.example.com"), (20, "c.example.com"), (30, "d.example.com")],
        )
        .mx("first.example", &[(10, "me.example.com"), (20, "a.example.com")])
        .host("a.example.com", &["192.0.2.1"])
        .host("me.example.com", &["192.0.2.99"])
        .host("c.example.com", &["192.0.2.3"])
        .host("d.example.com", &["192.0.2.4"]);
    let by_name =
        ResolveOptions { own_names: vec![String::from("Me.example.com")], ..ResolveOptions::default() };
    let own = "192.0.2.99".parse().expect("address");
    let by_address = ResolveOptions { own_addresses: vec![own], ..ResolveOptions::default() };
    for options in [by_name, by_address] {
        let resolved = zone.resolve("backup.example", &options, 1).expect("servers");
        assert_eq!(
            resolved.servers.iter().map(|server| server.host.as_str()).collect::<Vec<_>>(),
            ["a.example.com"]
        );
        assert_eq!(
            zone.failure("first.example", &options),
            "5.4.6 mail for first.example loops back to myself"
        );
        // A relayhost that was named on purpose is not an MX list.
        assert!(zone.resolve("[me.example.com]:2526", &options, 1).is_ok());
    }
}

#[test]
fn at_most_five_addresses_and_some_of_each_family() {
    let ipv6: Vec<String> = (1..=9).map(|number| format!("2001:db8::{number}")).collect();
    let mut addresses: Vec<&str> = ipv6.iter().map(String::as_str).collect();
    addresses.push("192.0.2.1");
    let zone = Zone::default().mx("example.com", &[(10, "a.example.com")]).host("a.example.com", &addresses);
    let options = ResolveOptions { preference: AddressPreference::Ipv6, ..ResolveOptions::default() };
    let resolved = zone.resolve("example.com", &options, 5).expect("servers");
    assert_eq!(resolved.servers.len(), 5);
    assert!(resolved.servers[0].address.is_ipv6());
    assert!(resolved.servers.iter().any(|server| server.address.is_ipv4()));
    let options = ResolveOptions { ipv6: false, ..ResolveOptions::default() };
    assert_eq!(zone.resolve("example.com", &options, 5).expect("servers").servers.len(), 1);
}

#[test]
fn a_long_list_asks_a_bounded_number_of_questions() {
    let records: Vec<(u16, String)> =
        (0..500).map(|number| (number, format!("mx{number}.example.com"))).collect();
    let next_hop = NextHop::parse("example.com", 25).expect("nexthop");
    let (mut resolution, step) = Resolution::start(next_hop, ResolveOptions::default(), 1);
    let Step::Ask(queries) = step else { panic!("MX is asked first") };
    match resolution.answer(&queries[0], Answer::Exchangers { records, ttl: 1 }) {
        Step::Ask(queries) => assert_eq!(queries.len(), 32),
        step => panic!("{step:?}"),
    }
}

fn any_answer() -> impl Strategy<Value = Answer> {
    let host = prop_oneof![
        Just(""),
        Just("."),
        Just("a.example"),
        Just("b.example"),
        Just("192.0.2.7"),
        Just("x y"),
        Just("me")
    ];
    prop_oneof![
        Just(Answer::NoData),
        Just(Answer::NotFound),
        Just(Answer::Unavailable),
        (prop::collection::vec((0u16..4, host.prop_map(str::to_owned)), 0..6), any::<u32>())
            .prop_map(|(records, ttl)| Answer::Exchangers { records, ttl }),
        (prop::collection::vec(any::<IpAddr>(), 0..40), any::<u32>())
            .prop_map(|(addresses, ttl)| Answer::Addresses { addresses, ttl }),
    ]
}

proptest! {
    #[test]
    fn every_lookup_ends(answers in prop::collection::vec(any_answer(), 1..40), random in any::<u64>(), limit in 0usize..8) {
        let options = ResolveOptions { own_names: vec![String::from("me")], address_limit: limit, ..ResolveOptions::default() };
        let next_hop = NextHop::parse("example.com", 25).expect("nexthop");
        let (mut resolution, mut step) = Resolution::start(next_hop, options, random);
        let mut open = Vec::new();
        let mut answers = answers.into_iter().cycle();
        loop {
            match step {
                Step::Ask(queries) => open = queries,
                Step::Wait => {}
                Step::Done(resolved) => {
                    prop_assert!(!resolved.servers.is_empty());
                    prop_assert!(limit == 0 || resolved.servers.len() <= limit);
                    prop_assert!(resolved.servers.is_sorted_by_key(|server| server.preference));
                    break;
                }
                Step::Failed(failure) => {
                    prop_assert!(!failure.text.is_empty());
                    break;
                }
            }
            let query: Query = open.pop().expect("a lookup ends when all is answered");
            step = resolution.answer(&query, answers.next().expect("a cycle"));
        }
    }
}
