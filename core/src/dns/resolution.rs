//! From a nexthop to a list of servers, one answer at a time.

use std::net::{IpAddr, SocketAddr};

use super::next_hop::fold_name;
use super::{ADDRESSES_PER_HOST_MAX, HopHost, MX_HOSTS_MAX, NextHop};
use crate::dsn::{Class, Status};

/// The status of mail that would come back here.
const LOOPS_BACK: Status = Status::permanent(4, 6);

/// The record types that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordType {
    /// Mail exchangers.
    Mx,
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// The name of an address.
    Ptr,
    /// Name servers.
    Ns,
    /// Texts.
    Txt,
}

impl RecordType {
    /// The mnemonic, as in texts.
    pub const fn name(self) -> &'static str {
        match self {
            RecordType::Mx => "MX",
            RecordType::A => "A",
            RecordType::Aaaa => "AAAA",
            RecordType::Ptr => "PTR",
            RecordType::Ns => "NS",
            RecordType::Txt => "TXT",
        }
    }
}

/// A question for the resolver.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Query {
    /// Name, lower case, without trailing dot.
    pub name: String,
    /// What about it.
    pub kind: RecordType,
}

/// What the resolver found. `ttl` is the smallest of the answer's, seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// MX records: preference and host; a null MX has the host `.` or an empty one.
    Exchangers {
        /// Preference and host name.
        records: Vec<(u16, String)>,
        /// Seconds.
        ttl: u32,
    },
    /// A or AAAA records, aliases followed.
    Addresses {
        /// The addresses.
        addresses: Vec<IpAddr>,
        /// Seconds.
        ttl: u32,
    },
    /// PTR or NS records.
    Names {
        /// Host names.
        names: Vec<String>,
        /// Seconds.
        ttl: u32,
    },
    /// TXT records, each with its strings in one piece; what is not UTF-8 is replaced.
    Texts {
        /// The texts.
        texts: Vec<String>,
        /// Seconds.
        ttl: u32,
    },
    /// The name exists, but has no such record.
    NoData,
    /// NXDOMAIN.
    NotFound,
    /// SERVFAIL, refused, no answer in time, an answer that cannot be read.
    Unavailable,
}

/// Which family is tried first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressPreference {
    /// Mixed, as the shuffling gives it.
    #[default]
    Any,
    /// IPv4 first.
    Ipv4,
    /// IPv6 first.
    Ipv6,
}

/// The parameters of a lookup.
#[derive(Clone, Debug)]
pub struct ResolveOptions {
    /// `smtp_mx_address_limit`; 0 = no limit of its own.
    pub address_limit: usize,
    /// `smtp_randomize_addresses`.
    pub randomize: bool,
    /// `smtp_address_preference`.
    pub preference: AddressPreference,
    /// `smtp_balance_inet_protocols`: when the limit cuts, keep some of each family.
    pub balance: bool,
    /// Exchangers are not asked for: a domain is a host (`disable_dns_lookups`, `smtp_dns_support_level`).
    pub ignores_mx: bool,
    /// `ignore_mx_lookup_error`: where the exchangers cannot be had, a domain is a host.
    pub forgives_mx_errors: bool,
    /// `smtp_defer_if_no_mx_address_found`: exchangers without an address may get one later.
    pub waits_for_addresses: bool,
    /// IPv4 is enabled.
    pub ipv4: bool,
    /// IPv6 is enabled.
    pub ipv6: bool,
    /// Our own names (`myhostname`, `mydestination`'s hosts); an MX host of that name is ourselves.
    pub own_names: Vec<String>,
    /// Our own addresses (`inet_interfaces`, `proxy_interfaces`).
    pub own_addresses: Vec<IpAddr>,
}

impl Default for ResolveOptions {
    fn default() -> ResolveOptions {
        ResolveOptions {
            address_limit: 5,
            randomize: true,
            preference: AddressPreference::Any,
            balance: true,
            ignores_mx: false,
            forgives_mx_errors: false,
            waits_for_addresses: false,
            ipv4: true,
            ipv6: true,
            own_names: Vec::new(),
            own_addresses: Vec::new(),
        }
    }
}

/// One server to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The name for logs: the MX host, the nexthop's host, or the literal address.
    pub host: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// MX preference; 0 without MX.
    pub preference: u16,
}

/// What a lookup found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// In the order in which they are to be tried; never empty.
    pub servers: Vec<Server>,
    /// How long that may be remembered, seconds; `u32::MAX` for a literal address.
    pub ttl: u32,
}

/// Why there is no server: the result for every recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupFailure {
    /// `5.x.x` bounces, `4.x.x` defers (and is trouble for the destination).
    pub status: Status,
    /// For log and notice.
    pub text: String,
}

impl LookupFailure {
    fn new(status: Status, text: String) -> LookupFailure {
        LookupFailure { status, text }
    }

    /// The mail would come back here: no other server may be tried for it.
    pub fn is_loop(&self) -> bool {
        self.status == LOOPS_BACK
    }

    /// Postfix's words for a name that does not resolve.
    fn name_service(query: &Query, detail: &str, status: Status) -> LookupFailure {
        let (name, kind) = (&query.name, query.kind.name());
        let text = format!(
            "Host or domain name not found. Name service error for name={name} type={kind}: {detail}"
        );
        LookupFailure::new(status, text)
    }

    /// True if the mail is to be tried again.
    pub fn is_temporary(&self) -> bool {
        self.status.class() == Class::Persistent
    }
}

/// Where a lookup stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask these, in any order or at once, and give every answer.
    Ask(Vec<Query>),
    /// Answers are still missing.
    Wait,
    /// The servers.
    Done(Resolved),
    /// There are none.
    Failed(LookupFailure),
}

/// A host whose addresses are wanted.
#[derive(Clone, Debug)]
struct Candidate {
    name: String,
    preference: u16,
    addresses: Vec<IpAddr>,
}

/// A lookup in progress: take [`Resolution::start`]'s step, ask, and give answers until a step is `Done`
/// or `Failed`.
#[derive(Clone, Debug)]
pub struct Resolution {
    next_hop: NextHop,
    options: ResolveOptions,
    random: u64,
    candidates: Vec<Candidate>,
    open: Vec<Query>,
    ttl: u32,
    from_mx: bool,
    /// The failure to report if no address is found; a temporary one wins over a permanent one.
    failure: Option<LookupFailure>,
}

impl Resolution {
    /// A lookup; `random` decides the shuffling, so the same number gives the same order.
    pub fn start(next_hop: NextHop, options: ResolveOptions, random: u64) -> (Resolution, Step) {
        let mut resolution = Resolution {
            next_hop,
            options,
            // Spreads small seeds over all bits (the golden ratio's); xorshift must not start at 0.
            random: random.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            candidates: Vec::new(),
            open: Vec::new(),
            ttl: u32::MAX,
            from_mx: false,
            failure: None,
        };
        let step = match resolution.next_hop.host.clone() {
            HopHost::Address(address) => {
                resolution.candidates.push(Candidate {
                    name: address.to_string(),
                    preference: 0,
                    addresses: vec![address],
                });
                resolution.conclude()
            }
            HopHost::Host(name) => resolution.look_up_hosts(vec![(0, name)]),
            HopHost::Domain(name) if resolution.options.ignores_mx => {
                resolution.look_up_hosts(vec![(0, name)])
            }
            HopHost::Domain(name) => resolution.ask(vec![Query { name, kind: RecordType::Mx }]),
        };
        (resolution, step)
    }

    /// Takes one answer. Answers to questions that are not open are passed over.
    pub fn answer(&mut self, query: &Query, answer: Answer) -> Step {
        let Some(place) = self.open.iter().position(|open| open == query) else { return Step::Wait };
        self.open.swap_remove(place);
        match query.kind {
            RecordType::Mx => self.exchangers(query, answer),
            _ => {
                self.addresses(query, answer);
                if self.open.is_empty() { self.conclude() } else { Step::Wait }
            }
        }
    }

    fn ask(&mut self, queries: Vec<Query>) -> Step {
        self.open.clone_from(&queries);
        Step::Ask(queries)
    }

    fn exchangers(&mut self, query: &Query, answer: Answer) -> Step {
        let (mut records, ttl) = match answer {
            Answer::Exchangers { records, ttl } if !records.is_empty() => (records, ttl),
            // RFC 5321 section 5.1: no MX record means that the domain is its own exchanger.
            Answer::NoData
            | Answer::Exchangers { .. }
            | Answer::Addresses { .. }
            | Answer::Names { .. }
            | Answer::Texts { .. } => {
                return self.look_up_hosts(vec![(0, query.name.clone())]);
            }
            Answer::NotFound => {
                let status = Status::permanent(4, 4);
                return Step::Failed(LookupFailure::name_service(query, "Host not found", status));
            }
            Answer::Unavailable if self.options.forgives_mx_errors => {
                return self.look_up_hosts(vec![(0, query.name.clone())]);
            }
            Answer::Unavailable => {
                let status = Status::persistent(4, 3);
                return Step::Failed(LookupFailure::name_service(query, "Host not found, try again", status));
            }
        };
        self.ttl = self.ttl.min(ttl);
        // RFC 7505 section 3: one record with the root as its host.
        if records.iter().all(|(_, host)| matches!(host.as_str(), "" | ".")) {
            let text = format!("Domain {} does not accept mail (nullMX)", query.name);
            return Step::Failed(LookupFailure::new(Status::permanent(1, 0), text));
        }
        self.from_mx = true;
        if self.options.randomize {
            shuffle(&mut records, &mut self.random);
        }
        records.sort_by_key(|&(preference, _)| preference);
        // Our own name among the exchangers: it and whatever is not better must not be used, or mail
        // would go in a circle (RFC 5321 section 5.1).
        let own = |host: &str| {
            let host = host.strip_suffix('.').unwrap_or(host);
            self.options.own_names.iter().any(|name| name.eq_ignore_ascii_case(host))
        };
        if let Some(own_preference) = records.iter().find(|(_, host)| own(host)).map(|&(found, _)| found) {
            records.retain(|&(preference, _)| preference < own_preference);
            if records.is_empty() {
                return Step::Failed(self.loops_back());
            }
        }
        records.truncate(MX_HOSTS_MAX);
        self.look_up_hosts(records)
    }

    /// Asks for the addresses of hosts, given in order of preference.
    fn look_up_hosts(&mut self, hosts: Vec<(u16, String)>) -> Step {
        let mut queries = Vec::new();
        for (preference, host) in hosts {
            let literal = host.parse::<IpAddr>().ok();
            let Some(name) = literal.map(|_| host.clone()).or_else(|| fold_name(&host)) else {
                let status = Status::permanent(4, 4);
                let text = format!(
                    "Host or domain name not found. Name service error for {host}: invalid host or domain name"
                );
                self.remember(LookupFailure::new(status, text));
                continue;
            };
            if self.candidates.iter().any(|known| known.name == name) {
                continue;
            }
            let addresses = literal.into_iter().collect();
            self.candidates.push(Candidate { name: name.clone(), preference, addresses });
            if literal.is_none() {
                // AAAA is asked last so that its failure is the one reported only if A did not fail.
                let kinds = [(self.options.ipv4, RecordType::A), (self.options.ipv6, RecordType::Aaaa)];
                for (_, kind) in kinds.into_iter().filter(|&(enabled, _)| enabled) {
                    queries.push(Query { name: name.clone(), kind });
                }
            }
        }
        if queries.is_empty() { self.conclude() } else { self.ask(queries) }
    }

    fn addresses(&mut self, query: &Query, answer: Answer) {
        match answer {
            Answer::Addresses { addresses, ttl } if !addresses.is_empty() => {
                self.ttl = self.ttl.min(ttl);
                let candidate = self.candidates.iter_mut().find(|known| known.name == query.name);
                let candidate = candidate.expect("questions are asked about candidates only");
                for address in addresses.into_iter().take(ADDRESSES_PER_HOST_MAX) {
                    let right_kind = address.is_ipv4() == (query.kind == RecordType::A);
                    if right_kind && !candidate.addresses.contains(&address) {
                        candidate.addresses.push(address);
                    }
                }
            }
            Answer::Addresses { .. }
            | Answer::Exchangers { .. }
            | Answer::Names { .. }
            | Answer::Texts { .. }
            | Answer::NoData => {
                let detail = "Host found but no data record of requested type";
                self.remember(LookupFailure::name_service(query, detail, Status::permanent(4, 4)));
            }
            Answer::NotFound => {
                let status = Status::permanent(4, 4);
                self.remember(LookupFailure::name_service(query, "Host not found", status));
            }
            Answer::Unavailable => {
                let status = Status::persistent(4, 3);
                self.remember(LookupFailure::name_service(query, "Host not found, try again", status));
            }
        }
    }

    fn remember(&mut self, failure: LookupFailure) {
        match &self.failure {
            Some(known) if known.is_temporary() || !failure.is_temporary() => {}
            _ => self.failure = Some(failure),
        }
    }

    fn loops_back(&self) -> LookupFailure {
        let text = format!("mail for {} loops back to myself", self.next_hop.host_text());
        LookupFailure::new(LOOPS_BACK, text)
    }

    /// All answers are in.
    fn conclude(&mut self) -> Step {
        let port = self.next_hop.port;
        let mut servers: Vec<Server> = Vec::new();
        for candidate in std::mem::take(&mut self.candidates) {
            for address in candidate.addresses {
                if if address.is_ipv4() { self.options.ipv4 } else { self.options.ipv6 } {
                    let address = SocketAddr::new(address, port);
                    servers.push(Server {
                        host: candidate.name.clone(),
                        address,
                        preference: candidate.preference,
                    });
                }
            }
        }
        if servers.is_empty() {
            let none = || {
                let text = format!("no usable address for {}", self.next_hop.host_text());
                LookupFailure::new(Status::permanent(4, 4), text)
            };
            let mut failure = self.failure.take().unwrap_or_else(none);
            if self.from_mx && self.options.waits_for_addresses {
                failure.status = failure.status.with_class(Class::Persistent);
            }
            return Step::Failed(failure);
        }
        if self.from_mx {
            let own = |server: &&Server| self.options.own_addresses.contains(&server.address.ip());
            if let Some(own_preference) = servers.iter().filter(own).map(|server| server.preference).min() {
                servers.retain(|server| server.preference < own_preference);
                if servers.is_empty() {
                    return Step::Failed(self.loops_back());
                }
            }
        }
        if self.options.randomize {
            shuffle(&mut servers, &mut self.random);
        }
        let preference = self.options.preference;
        servers.sort_by_key(|server| {
            let second_choice = match preference {
                AddressPreference::Any => false,
                AddressPreference::Ipv4 => server.address.is_ipv6(),
                AddressPreference::Ipv6 => server.address.is_ipv4(),
            };
            (server.preference, second_choice)
        });
        limit(&mut servers, self.options.address_limit, self.options.balance);
        Step::Done(Resolved { servers, ttl: self.ttl })
    }
}

/// Cuts the list, keeping the order; when `balance` is wanted, the family that would be crowded out
/// keeps up to half of the places.
fn limit(servers: &mut Vec<Server>, most: usize, balance: bool) {
    if most == 0 || servers.len() <= most {
        return;
    }
    if !balance {
        servers.truncate(most);
        return;
    }
    let ipv6_count = servers.iter().filter(|server| server.address.is_ipv6()).count();
    let ipv4_count = servers.len() - ipv6_count;
    let ipv6_kept = servers[..most].iter().filter(|server| server.address.is_ipv6()).count();
    let half = most / 2;
    // At least half of the places for a family that can fill them, at most what the other one leaves.
    let least = half.min(ipv6_count).max(most.saturating_sub(ipv4_count));
    let greatest = (most - half.min(ipv4_count)).min(ipv6_count);
    let mut ipv6_left = ipv6_kept.clamp(least, greatest.max(least));
    let mut ipv4_left = most - ipv6_left;
    servers.retain(|server| {
        let left = if server.address.is_ipv6() { &mut ipv6_left } else { &mut ipv4_left };
        let keep = *left > 0;
        *left -= usize::from(keep);
        keep
    });
}

/// Fisher and Yates, on a xorshift generator: good enough to spread load, repeatable in tests.
fn shuffle<T>(items: &mut [T], random: &mut u64) {
    for last in (1..items.len()).rev() {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        let other = (*random >> 11) as usize % (last + 1);
        items.swap(last, other);
    }
}
