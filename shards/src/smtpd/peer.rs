//! Who the client is: its name by the DNS, there and back, and the lists that it is in.
//!
//! Only the session of that client waits, [`NAME_SECONDS_MAX`] at most; answers are cached by the shard's resolver. A name
//! that cannot be found out now is `unknown`, and restrictions that want one refuse for now only.

use std::net::IpAddr;
use std::time::Duration;

use ringpost_core::access::is_hostname;
use ringpost_core::dns::{Answer, RecordType};
use ringpost_core::maps::Key;
use ringpost_core::network_list::NetworkList;
use ringpost_core::smtpd::{Client, Extension, NameStatus};

use crate::settings::SmtpdService;
use crate::shard::Shard;

/// How long a client's greeting may be held up by its name.
pub const NAME_SECONDS_MAX: u64 = 10;

/// A client with what is known of it.
pub struct Peer {
    /// Who it is and what it may do.
    pub client: Client,
    /// It has no limits (`smtpd_client_event_limit_exceptions`).
    pub has_no_limits: bool,
    /// What the log is to know.
    pub warnings: Vec<String>,
}

/// A client of the host itself, or one whose name is known or not wanted, where lists are plain: nothing has to be asked.
pub fn at_once(service: &SmtpdService, address: IpAddr, port: u16) -> Option<Peer> {
    let access = &service.access;
    let named = address.is_loopback() || !access.looks_names_up;
    if !named || !access.plain_clients || !access.ehlo_keyword_maps.is_empty() {
        return None;
    }
    let mut client = Client::stranger(address, port);
    if address.is_loopback() && access.looks_names_up {
        client = client.named("localhost");
    }
    let lists = &access.clients;
    client.in_mynetworks = lists.mynetworks.contains(address);
    client.may_ask_verp = lists.verp.contains(address);
    client.is_shown_xclient = lists.xclient.contains(address);
    client.may_xclient = client.is_shown_xclient;
    client.may_xforward = lists.xforward.contains(address);
    client.bare_newline_excluded = lists.bare_newline_exclusions.contains(address);
    Some(Peer { client, has_no_limits: lists.limit_exceptions.contains(address), warnings: Vec::new() })
}

/// Finds out who is at this address.
pub async fn find(shard: &Shard, service: &SmtpdService, address: IpAddr, port: u16) -> Peer {
    if let Some(peer) = at_once(service, address, port) {
        return peer;
    }
    Box::pin(async {
        let mut client = Client::stranger(address, port);
        let mut warnings = Vec::new();
        if !service.access.looks_names_up {
            // Everybody is unknown then, as with Postfix.
        } else if address.is_loopback() {
            client = client.named("localhost");
        } else {
            find_name(shard, &mut client, &mut warnings).await;
        }
        let mut peer = Peer { client, has_no_limits: false, warnings };
        grant(shard, service, &mut peer, true).await;
        peer
    })
    .await
}

/// Looks the client up in the lists. What XCLIENT may do is decided by who connected (`connected`), not by whom it says
/// that it is.
pub async fn grant(shard: &Shard, service: &SmtpdService, peer: &mut Peer, connected: bool) {
    let access = &service.access;
    let lists = &access.clients;
    let Peer { client, warnings, .. } = peer;
    let (name, address) = (client.name.clone(), client.address);
    let mut is_in = async |parameter: &str, list: &NetworkList| match list
        .matches_host(&shard.tables, name.as_deref(), address)
        .await
    {
        Ok(member) => member,
        // Nobody gets more rights because a table is away.
        Err(trouble) => {
            warnings.push(format!("{parameter}: {trouble}: table lookup problem"));
            false
        }
    };
    client.in_mynetworks = is_in("mynetworks", &lists.mynetworks).await;
    client.may_ask_verp = is_in("smtpd_authorized_verp_clients", &lists.verp).await;
    client.bare_newline_excluded =
        is_in("smtpd_forbid_bare_newline_exclusions", &lists.bare_newline_exclusions).await;
    peer.has_no_limits = is_in("smtpd_client_event_limit_exceptions", &lists.limit_exceptions).await;
    client.is_shown_xclient = is_in("smtpd_authorized_xclient_hosts", &lists.xclient).await;
    if connected {
        client.may_xclient = client.is_shown_xclient;
        client.may_xforward = is_in("smtpd_authorized_xforward_hosts", &lists.xforward).await;
    }
    if !access.ehlo_keyword_maps.is_empty() {
        let found = access.ehlo_keyword_maps.find(&shard.tables, &address.to_string(), Key::Whole).await;
        match found {
            Ok(keywords) => client.discard_ehlo_keywords = keywords.map(|keywords| extensions(&keywords)),
            Err(trouble) => {
                warnings.push(format!(
                    "smtpd_discard_ehlo_keyword_address_maps: {trouble}: table lookup problem"
                ));
            }
        }
    }
}

/// The extensions that a list of keywords names.
fn extensions(keywords: &str) -> Vec<Extension> {
    let words = ringpost_core::config::split_list(keywords).into_iter();
    words.filter_map(Extension::named).collect()
}

/// The name that the address leads to, if it leads back.
async fn find_name(shard: &Shard, client: &mut Client, warnings: &mut Vec<String>) {
    let known = shard.settings.hosts.iter().find(|(_, addresses)| addresses.contains(&client.address));
    if let Some((name, _)) = known {
        *client = Client::stranger(client.address, client.port).named(name);
        return;
    }
    let wait = Duration::from_secs(NAME_SECONDS_MAX);
    let search = search_name(shard, client, warnings);
    if shard.handle.timeout(wait, search).await.is_err() {
        client.name = None;
        client.name_status = NameStatus::Unavailable;
        if client.reverse_name.is_none() {
            client.reverse_status = NameStatus::Unavailable;
        }
    }
}

async fn search_name(shard: &Shard, client: &mut Client, warnings: &mut Vec<String>) {
    let name = match &*shard.resolver.lookup(&reverse_query(client.address), RecordType::Ptr).await {
        Answer::Names { names, .. } => names.iter().find(|name| is_hostname(name)).cloned(),
        Answer::Unavailable => {
            (client.name_status, client.reverse_status) = (NameStatus::Unavailable, NameStatus::Unavailable);
            return;
        }
        _ => None,
    };
    let Some(name) = name else { return };
    client.reverse_name = Some(name.clone());
    client.reverse_status = NameStatus::Known;
    let kind = if client.address.is_ipv4() { RecordType::A } else { RecordType::Aaaa };
    let (status, reason) = match &*shard.resolver.lookup(&name, kind).await {
        Answer::Addresses { addresses, .. } if addresses.contains(&client.address) => {
            client.name = Some(name);
            client.name_status = NameStatus::Known;
            return;
        }
        Answer::Addresses { .. } => (NameStatus::Forged, ""),
        Answer::Unavailable => (NameStatus::Unavailable, ": Temporary failure in name resolution"),
        Answer::NoData => (NameStatus::Unknown, ": No address associated with hostname"),
        _ => (NameStatus::Unknown, ": Name or service not known"),
    };
    client.name_status = status;
    warnings.push(format!("hostname {name} does not resolve to address {}{reason}", client.address));
}

/// The name under which the DNS keeps the name of an address (RFC 1035 §3.5, RFC 3596 §2.5).
fn reverse_query(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let octets = address.octets();
            let nibbles = octets.iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}.")).chain(["ip6.arpa".to_owned()]).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_names_in_the_dns() {
        assert_eq!(reverse_query("192.0.2.9".parse().unwrap()), "9.2.0.192.in-addr.arpa");
        let v6 = reverse_query("2001:db8::1".parse().unwrap());
        assert!(v6.starts_with("1.0.0.") && v6.ends_with("8.b.d.0.1.0.0.2.ip6.arpa"), "{v6}");
    }
}
