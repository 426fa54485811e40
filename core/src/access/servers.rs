//! `check_…_{a,mx,ns}_access`: tables asked about the servers of a domain.

use std::net::IpAddr;

use super::evaluation::{Evaluation, Topic};
use super::names::{self, is_null_host, literal_address};
use super::outcome::Said;
use super::table::{Answered, Part};
use super::world::AccessWorld;
use crate::config::{AccessTable, ServerKind, Subject};
use crate::dns::{Answer, RecordType};

/// Servers of one domain that are looked at: enough for any honest domain, and a bound for what one command may ask of
/// the DNS.
pub const SERVERS_MAX: usize = 20;

/// What is known of a name's addresses.
pub(super) enum Addresses {
    Some(Vec<IpAddr>),
    /// There are none.
    None,
    /// It cannot be said now.
    Unavailable,
}

impl<'a, W: AccessWorld> Evaluation<'a, W> {
    /// The item's name, what it is asked about, and what a refusal names.
    fn server_subject(&self, subject: Subject) -> Option<(&'static str, &'a str, Topic<'a>)> {
        let client = self.facts.client;
        let address = |address: Option<&'a crate::address::Address>, class| {
            let text = address.filter(|address| !address.is_null())?.as_str();
            Some((text, Topic { name: address?.unquoted(), class }))
        };
        let (item, (name, topic)) = match subject {
            Subject::Client => {
                let topic = Topic { name: self.facts.client_text, class: names::CLIENT_HOST };
                ("check_client", (client.name.as_deref()?, topic))
            }
            Subject::ReverseClient => {
                let name = client.reverse_name.as_deref()?;
                (
                    "check_reverse_client_hostname",
                    (name, Topic { name, class: names::UNVERIFIED_CLIENT_HOST }),
                )
            }
            Subject::Helo => {
                let name = self.facts.helo?;
                ("check_helo", (name, Topic { name, class: names::HELO_COMMAND }))
            }
            Subject::Sender => ("check_sender", address(self.facts.sender, names::SENDER_ADDRESS)?),
            Subject::Recipient => {
                ("check_recipient", address(self.facts.recipient, names::RECIPIENT_ADDRESS)?)
            }
        };
        Some((item, name, topic))
    }

    pub(super) async fn check_servers(
        &mut self,
        subject: Subject,
        kind: ServerKind,
        table: &AccessTable,
    ) -> Said {
        let Some((item, name, topic)) = self.server_subject(subject) else { return Said::Dunno };
        let domain = name.rsplit_once('@').map_or(name, |(_, domain)| domain);
        let said = self.of_servers(domain, kind, table, topic).await.unwrap_or(Said::Dunno);
        let suffix = match kind {
            ServerKind::Address => "a",
            ServerKind::Exchanger => "mx",
            ServerKind::NameServer => "ns",
        };
        self.no_permission(said, &format!("{item}_{suffix}_access"), name)
    }

    async fn of_servers(
        &mut self,
        domain: &str,
        kind: ServerKind,
        table: &AccessTable,
        topic: Topic<'_>,
    ) -> Answered {
        // An address is its own server, like a name without exchangers; it has no name server.
        if let Some(literal) = domain.strip_prefix('[') {
            let address = literal.strip_suffix(']').and_then(literal_address)?;
            return match kind {
                ServerKind::NameServer => None,
                _ => self.of_network(table, &address.to_string(), topic).await,
            };
        }
        let servers = match kind {
            ServerKind::Address => vec![domain.to_owned()],
            ServerKind::Exchanger => self.exchangers(domain).await?,
            ServerKind::NameServer => self.name_servers(domain).await?,
        };
        for server in servers.iter().take(SERVERS_MAX) {
            if server.parse::<IpAddr>().is_ok() {
                let answered = self.of_network(table, server, topic).await;
                if answered.is_some() {
                    return answered;
                }
                continue;
            }
            if kind != ServerKind::Address {
                let answered = self.of_domain(table, server, Part::Whole, topic).await;
                if answered.is_some() {
                    return answered;
                }
            }
            match self.addresses(server).await {
                Addresses::Some(addresses) => {
                    for address in addresses {
                        let answered = self.of_network(table, &address.to_string(), topic).await;
                        if answered.is_some() {
                            return answered;
                        }
                    }
                }
                Addresses::None | Addresses::Unavailable if kind != ServerKind::Address => {
                    let word = if kind == ServerKind::Exchanger { "MX" } else { "NS" };
                    self.warn(format!(
                        "Unable to look up {word} host {server} for {} {}",
                        topic.class, topic.name
                    ));
                }
                Addresses::None | Addresses::Unavailable => {}
            }
        }
        None
    }

    /// The mail exchangers of a domain, itself if it has none; None if nothing can be said, which was logged.
    async fn exchangers(&mut self, domain: &str) -> Option<Vec<String>> {
        let world = self.world;
        match &*world.records(domain, RecordType::Mx).await {
            Answer::Exchangers { records, .. } if records.iter().all(|(_, host)| is_null_host(host)) => None,
            Answer::Exchangers { records, .. } => {
                Some(records.iter().map(|(_, host)| host.clone()).collect())
            }
            Answer::NoData | Answer::NotFound => Some(vec![domain.to_owned()]),
            _ => {
                self.warn(format!("Unable to look up MX host for {domain}: the name service cannot say now"));
                None
            }
        }
    }

    /// The name servers of a domain, or of the nearest parent that has some.
    async fn name_servers(&mut self, domain: &str) -> Option<Vec<String>> {
        let world = self.world;
        let mut name = domain;
        loop {
            match &*world.records(name, RecordType::Ns).await {
                Answer::Names { names, .. } => return Some(names.clone()),
                Answer::NoData | Answer::NotFound => match name.split_once('.') {
                    Some((_, parent)) if !parent.is_empty() => name = parent,
                    _ => {
                        self.warn(format!("Unable to look up NS host for {domain}: Host not found"));
                        return None;
                    }
                },
                _ => {
                    self.warn(format!(
                        "Unable to look up NS host for {name}: the name service cannot say now"
                    ));
                    return None;
                }
            }
        }
    }

    /// The addresses of a host, of both families.
    pub(super) async fn addresses(&mut self, host: &str) -> Addresses {
        let world = self.world;
        let mut found = Vec::new();
        let mut unavailable = false;
        for kind in [RecordType::A, RecordType::Aaaa] {
            match &*world.records(host, kind).await {
                Answer::Addresses { addresses, .. } => {
                    found.extend(addresses.iter().take(crate::dns::ADDRESSES_PER_HOST_MAX));
                }
                Answer::Unavailable => unavailable = true,
                _ => {}
            }
        }
        match (found.is_empty(), unavailable) {
            (false, _) => Addresses::Some(found),
            (true, true) => Addresses::Unavailable,
            (true, false) => Addresses::None,
        }
    }
}
