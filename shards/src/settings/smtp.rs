//! What the SMTP client needs to know.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ringpost_core::config::{Config, View, names};
use ringpost_core::dns::AddressPreference;
use ringpost_core::domain_list::DomainList;
use ringpost_core::outgoing::OutgoingSettings;
use ringpost_core::smtp::{ClientSettings, EhloKeywords, Protocol, StageTimeouts};
use ringpost_core::transcript::ErrorClasses;

use super::tls::SmtpTls;
use super::{clamped, notices, outgoing};
use crate::failure::Failure;

/// The SMTP client's part.
#[derive(Debug)]
pub struct SmtpSettings {
    /// What the session itself needs.
    pub client: ClientSettings,
    /// `smtp_bind_address`.
    pub bind_v4: Option<IpAddr>,
    /// `smtp_bind_address6`.
    pub bind_v6: Option<IpAddr>,
    /// `smtp_tcp_port`, for nexthops without one.
    pub port: u16,
    /// `smtp_line_length_limit`, bytes.
    pub line_length_max: usize,
    /// What becomes of mail as it leaves.
    pub outgoing: OutgoingSettings,
    /// TLS.
    pub tls: SmtpTls,
    /// `smtp_mx_address_limit`; 0 for none.
    pub mx_address_limit: usize,
    /// `smtp_mx_session_limit`, at least 1.
    pub mx_session_limit: usize,
    /// Addresses of equal preference are shuffled.
    pub randomize_addresses: bool,
    /// `smtp_connection_cache_on_demand`.
    pub keep_connections: bool,
    /// `smtp_connection_cache_destinations`.
    pub cache_destinations: DomainList,
    /// `smtp_connection_cache_time_limit`, at most `connection_cache_ttl_limit`.
    pub cache_time: Duration,
    /// `smtp_connection_reuse_time_limit`.
    pub reuse_time: Duration,
    /// `smtp_connection_reuse_count_limit`; 0 for none.
    pub reuse_count: u32,
    /// `smtp_address_preference`.
    pub address_preference: AddressPreference,
    /// `smtp_balance_inet_protocols`.
    pub balance_families: bool,
    /// `smtp_fallback_relay`: destinations for mail whose own put it off.
    pub fallback_relays: Vec<String>,
    /// `disable_dns_lookups`, or `smtp_dns_support_level = disabled`: domains have no exchangers.
    pub ignores_mx: bool,
    /// `ignore_mx_lookup_error`.
    pub forgives_mx_errors: bool,
    /// `smtp_defer_if_no_mx_address_found`.
    pub waits_for_addresses: bool,
    /// Families that may be used: IPv4, IPv6.
    pub families: (bool, bool),
}

impl SmtpSettings {
    /// Whether connections to this nexthop are kept even when mail does not come back-to-back. The list names it with or
    /// without brackets, and without a port.
    pub fn always_keeps(&self, nexthop: &str) -> bool {
        let (host, bare) = match nexthop.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((inner, _port)) => (&nexthop[..inner.len() + 2], inner),
            None => {
                let host = nexthop.split_once(':').map_or(nexthop, |(host, _port)| host);
                (host, host)
            }
        };
        [host, bare].iter().any(|name| self.cache_destinations.contains(name.as_bytes()))
    }

    /// The local address for a connection to `server`.
    pub fn bind_address(&self, server: SocketAddr) -> Option<SocketAddr> {
        let bind = if server.is_ipv4() { self.bind_v4 } else { self.bind_v6 };
        bind.map(|address| SocketAddr::new(address, 0))
    }
}

fn ignores_mx(view: &View<'_>) -> Result<bool, Failure> {
    match view.text(names::SMTP_DNS_SUPPORT_LEVEL).as_str() {
        "" => Ok(view.flag(names::DISABLE_DNS_LOOKUPS)),
        "disabled" => Ok(true),
        "enabled" => Ok(false),
        level => Err(Failure::config(format!("smtp_dns_support_level: \"{level}\" is not served"))),
    }
}

/// Reads what the transport `smtp` decides.
pub(super) fn read(config: &Config) -> Result<SmtpSettings, Failure> {
    let view = match config.transport("smtp") {
        Some(service) => config.for_service(service),
        None => config.view(),
    };
    let seconds = |name| clamped(view.time(name).as_secs());
    let client = ClientSettings {
        protocol: Protocol::Smtp,
        helo_name: view.text(names::SMTP_HELO_NAME),
        my_hostname: view.text(names::MYHOSTNAME),
        pipelining: true,
        discard_ehlo_keywords: EhloKeywords::from_list(
            &view.list(names::SMTP_DISCARD_EHLO_KEYWORDS).join(" "),
        ),
        forwards: view.flag(names::SMTP_SEND_XFORWARD_COMMAND),
        skip_5xx_greeting: view.flag(names::SMTP_SKIP_5XX_GREETING),
        reported_errors: notices::classes(&view)?.and(ErrorClasses::OF_CLIENTS),
        timeouts: StageTimeouts {
            connect: seconds(names::SMTP_CONNECT_TIMEOUT),
            helo: seconds(names::SMTP_HELO_TIMEOUT),
            starttls: seconds(names::SMTP_STARTTLS_TIMEOUT),
            mail: seconds(names::SMTP_MAIL_TIMEOUT),
            rcpt: seconds(names::SMTP_RCPT_TIMEOUT),
            data_init: seconds(names::SMTP_DATA_INIT_TIMEOUT),
            data_transfer: seconds(names::SMTP_DATA_XFER_TIMEOUT),
            data_done: seconds(names::SMTP_DATA_DONE_TIMEOUT),
            quit: seconds(names::SMTP_QUIT_TIMEOUT),
            rset: seconds(names::SMTP_RSET_TIMEOUT),
            forward: seconds(names::SMTP_XFORWARD_TIMEOUT),
        },
    };
    let address = |name: ringpost_core::config::Name<_>| {
        let text: String = view.text(name);
        match text.is_empty() {
            true => Ok(None),
            false => text
                .parse::<IpAddr>()
                .map(Some)
                .map_err(|_| Failure::config(format!("{}: \"{text}\" is no address", name.as_str()))),
        }
    };
    let port = view.text(names::SMTP_TCP_PORT);
    Ok(SmtpSettings {
        client,
        bind_v4: address(names::SMTP_BIND_ADDRESS)?,
        bind_v6: address(names::SMTP_BIND_ADDRESS6)?,
        port: ringpost_core::config::port(&port)
            .ok_or_else(|| Failure::config(format!("smtp_tcp_port: \"{port}\" is no port")))?,
        line_length_max: view.count(names::SMTP_LINE_LENGTH_LIMIT),
        outgoing: outgoing::outgoing(&view),
        tls: SmtpTls::read(&view)?,
        mx_address_limit: view.count(names::SMTP_MX_ADDRESS_LIMIT),
        mx_session_limit: view.count(names::SMTP_MX_SESSION_LIMIT).max(1),
        randomize_addresses: view.flag(names::SMTP_RANDOMIZE_ADDRESSES),
        keep_connections: view.flag(names::SMTP_CONNECTION_CACHE_ON_DEMAND),
        cache_destinations: view.domains(names::SMTP_CONNECTION_CACHE_DESTINATIONS),
        cache_time: view
            .time(names::SMTP_CONNECTION_CACHE_TIME_LIMIT)
            .min(view.time(names::CONNECTION_CACHE_TTL_LIMIT)),
        reuse_time: view.time(names::SMTP_CONNECTION_REUSE_TIME_LIMIT),
        reuse_count: clamped(view.number(names::SMTP_CONNECTION_REUSE_COUNT_LIMIT)),
        address_preference: match view.text(names::SMTP_ADDRESS_PREFERENCE).as_str() {
            "ipv4" => AddressPreference::Ipv4,
            "ipv6" => AddressPreference::Ipv6,
            _ => AddressPreference::Any,
        },
        balance_families: view.flag(names::SMTP_BALANCE_INET_PROTOCOLS),
        fallback_relays: view.list(names::SMTP_FALLBACK_RELAY),
        ignores_mx: ignores_mx(&view)?,
        forgives_mx_errors: view.flag(names::IGNORE_MX_LOOKUP_ERROR),
        waits_for_addresses: view.flag(names::SMTP_DEFER_IF_NO_MX_ADDRESS_FOUND),
        families: (
            view.uses_protocol(IpAddr::from([127, 0, 0, 1])),
            view.uses_protocol(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])),
        ),
    })
}
