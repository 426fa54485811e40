//! Names of hosts and domains: are they well-formed, complete, known?

use super::evaluation::{Evaluation, Topic, rejected};
use super::outcome::{Fault, Said};
use super::world::AccessWorld;
use crate::address::are_labels;
use crate::config::{Party, Restriction};
use crate::dns::{Answer, RecordType};
use crate::limits::DOMAIN_BYTES_MAX;
use crate::smtpd::NameStatus;

pub(super) const CLIENT_HOST: &str = "Client host";
pub(super) const UNVERIFIED_CLIENT_HOST: &str = "Unverified Client host";
pub(super) const HELO_COMMAND: &str = "Helo command";
pub(super) const SENDER_ADDRESS: &str = "Sender address";
pub(super) const RECIPIENT_ADDRESS: &str = "Recipient address";
pub(super) const ETRN_COMMAND: &str = "Etrn command";

/// Whether a text can be the name of a host: labels of letters, digits, `-` and `_`, not all of them digits.
pub fn is_hostname(name: &str) -> bool {
    name.is_ascii() && is_hostname_utf8(name)
}

/// The same, with letters of other scripts.
pub fn is_hostname_utf8(name: &str) -> bool {
    name.len() <= DOMAIN_BYTES_MAX
        && are_labels(name)
        && name.bytes().any(|byte| !byte.is_ascii_digit() && byte != b'.')
}

/// A name without the dot that may end it.
fn without_final_dot(name: &str) -> &str {
    name.strip_suffix('.').filter(|name| !name.ends_with('.')).unwrap_or(name)
}

/// An address as it stands between brackets in mail: IPv6 addresses say so.
pub(super) fn literal_address(inside: &str) -> Option<std::net::IpAddr> {
    match inside.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => {
            inside[5..].parse::<std::net::Ipv6Addr>().ok().map(Into::into)
        }
        _ => inside.parse::<std::net::Ipv4Addr>().ok().map(Into::into),
    }
}

/// What the DNS says of a name.
enum Existence {
    Exists,
    /// It has no such records, or does not exist.
    Missing,
    /// Nobody takes mail there (RFC 7505).
    NullExchanger,
    /// It cannot be said now.
    Unavailable,
}

impl<W: AccessWorld> Evaluation<'_, W> {
    // -----------------------------------------------------------------------------------------------------------
    // the client

    pub(super) fn reject_unknown_client(&mut self) -> Said {
        let client = self.facts.client;
        let code = match client.name_status {
            NameStatus::Known => return Said::Dunno,
            NameStatus::Unavailable => 450,
            NameStatus::Forged | NameStatus::Unknown => self.rules.codes.unknown_client,
        };
        let text = format!("Client host rejected: cannot find your hostname, [{}]", client.address);
        // RFC 7372 section 3.3
        self.refuse(Fault::Policy, code, "4.7.25", &text)
    }

    /// Postfix describes this item and does not have it: a name that leads somewhere is enough.
    pub(super) fn reject_unknown_forward_client(&mut self) -> Said {
        match self.facts.client.name_status {
            NameStatus::Forged => Said::Dunno,
            NameStatus::Known | NameStatus::Unavailable | NameStatus::Unknown => self.reject_unknown_client(),
        }
    }

    pub(super) fn reject_unknown_reverse_client(&mut self) -> Said {
        let client = self.facts.client;
        let code = match client.reverse_status {
            NameStatus::Known => return Said::Dunno,
            NameStatus::Unavailable => 450,
            NameStatus::Forged | NameStatus::Unknown => self.rules.codes.unknown_client,
        };
        let text = format!("Client host rejected: cannot find your reverse hostname, [{}]", client.address);
        self.refuse(Fault::Policy, code, "4.7.1", &text)
    }

    // -----------------------------------------------------------------------------------------------------------
    // its greeting

    pub(super) async fn helo_item(&mut self, item: &Restriction) -> Said {
        let Some(helo) = self.facts.helo else { return Said::Dunno };
        let topic = Topic { name: helo, class: HELO_COMMAND };
        let codes = self.rules.codes;
        if *item == Restriction::PermitNakedAddress {
            let naked = helo.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b':');
            return match naked {
                true if helo.parse::<std::net::IpAddr>().is_ok() => {
                    self.permit("permit_naked_ip_address", topic)
                }
                true => self.reject(codes.invalid_hostname, "5.5.2", topic, "invalid ip address"),
                false => Said::Dunno,
            };
        }
        if let Some(rest) = helo.strip_prefix('[') {
            let valid = rest.strip_suffix(']').and_then(literal_address).is_some();
            return match valid {
                true => Said::Dunno,
                false => self.reject(codes.invalid_hostname, "5.5.2", topic, "invalid ip address"),
            };
        }
        let name = without_final_dot(helo);
        match item {
            Restriction::RejectInvalidHelo => {
                match is_hostname(name) || name.parse::<std::net::IpAddr>().is_ok() {
                    true => Said::Dunno,
                    false => self.reject(codes.invalid_hostname, "5.5.2", topic, "Invalid name"),
                }
            }
            Restriction::RejectNonFqdnHelo => match is_hostname(name) && name.contains('.') {
                true => Said::Dunno,
                false => self.reject(codes.non_fqdn, "5.5.2", topic, "need fully-qualified hostname"),
            },
            _ => {
                let kinds = [RecordType::A, RecordType::Aaaa, RecordType::Mx];
                let text = "Host not found";
                match self.existence(name, &kinds, false).await {
                    Existence::Exists => Said::Dunno,
                    Existence::Unavailable => {
                        let action = self.rules.unknown_helo_failure;
                        self.defer_if_permit(action, 450, "4.7.1", &rejected(topic, text))
                    }
                    Existence::Missing | Existence::NullExchanger => {
                        self.reject(codes.unknown_hostname, "4.7.1", topic, text)
                    }
                }
            }
        }
    }

    /// Whether the name has a record of any of these kinds, asked for in this order.
    async fn existence(&mut self, name: &str, kinds: &[RecordType], null_exchanger_ends: bool) -> Existence {
        let world = self.world;
        let mut unavailable = false;
        for kind in kinds {
            match &*world.records(name, *kind).await {
                Answer::Exchangers { records, .. }
                    if null_exchanger_ends && records.iter().all(|(_, host)| is_null_host(host)) =>
                {
                    return Existence::NullExchanger;
                }
                Answer::Exchangers { .. }
                | Answer::Addresses { .. }
                | Answer::Names { .. }
                | Answer::Texts { .. } => return Existence::Exists,
                Answer::NoData | Answer::NotFound => {}
                Answer::Unavailable => unavailable = true,
            }
        }
        if unavailable { Existence::Unavailable } else { Existence::Missing }
    }

    // -----------------------------------------------------------------------------------------------------------
    // addresses

    pub(super) fn reject_non_fqdn(&mut self, party: Party) -> Said {
        let Some((address, topic)) = self.party(party) else { return Said::Dunno };
        let domain = address.domain().unwrap_or_default();
        if domain.starts_with('[') {
            return Said::Dunno;
        }
        let name = without_final_dot(domain);
        match is_hostname_utf8(name) && name.contains('.') {
            true => Said::Dunno,
            false => self.reject(self.rules.codes.non_fqdn, "4.5.2", topic, "need fully-qualified address"),
        }
    }

    pub(super) async fn reject_unknown_domain(&mut self, party: Party) -> Said {
        let Some((address, topic)) = self.party(party) else { return Said::Dunno };
        let sender = self.facts.sender.map_or("", |address| address.as_str());
        let world = self.world;
        let there = match world.destination(sender, address.as_str()).await {
            Ok(there) => there,
            Err(trouble) => return self.lookup_failed(&trouble, address.unquoted()),
        };
        let Some((_, domain)) = there.address.rsplit_once('@') else { return Said::Dunno };
        if there.is_final || domain.starts_with('[') {
            return Said::Dunno;
        }
        let status = if party == Party::Sender { "4.1.8" } else { "4.1.2" };
        let text = "Domain not found";
        let kinds = [RecordType::Mx, RecordType::A, RecordType::Aaaa];
        match self.existence(domain, &kinds, true).await {
            Existence::Exists => Said::Dunno,
            Existence::NullExchanger => {
                // RFC 7505 section 4
                let (code, status) = match party {
                    Party::Sender => (550, "5.7.27"),
                    Party::Recipient => (556, "5.1.10"),
                };
                let text = format!("Domain {domain} does not accept mail (nullMX)");
                self.reject(code, status, topic, &text)
            }
            Existence::Missing => self.reject(self.rules.codes.unknown_address, status, topic, text),
            Existence::Unavailable => {
                let action = self.rules.unknown_address_failure;
                self.defer_if_permit(action, 450, status, &rejected(topic, text))
            }
        }
    }
}

impl<'a, W: AccessWorld> Evaluation<'a, W> {
    /// An address of the envelope, if there is one that is not null.
    pub(super) fn party(&self, party: Party) -> Option<(&'a crate::address::Address, Topic<'a>)> {
        let (address, class) = match party {
            Party::Sender => (self.facts.sender, SENDER_ADDRESS),
            Party::Recipient => (self.facts.recipient, RECIPIENT_ADDRESS),
        };
        let address = address.filter(|address| !address.is_null())?;
        Some((address, Topic { name: address.unquoted(), class }))
    }
}

/// The host of a null MX.
pub(super) fn is_null_host(host: &str) -> bool {
    host.is_empty() || host == "."
}
