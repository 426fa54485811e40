//! What rewriting and resolving need to know, and which agent serves which transport.

use hashbrown::HashMap;
use ringpost_core::config::{Config, ServiceType, View, names};
use ringpost_core::maps::LocalNames;
use ringpost_core::resolve::{
    DISCARD_TRANSPORT, ERROR_TRANSPORT, RETRY_TRANSPORT, RecipientMaps, ResolveSettings, TransportEntry,
};
use ringpost_core::rewrite::RewriteSettings;

/// The least and the greatest code of a reply that refuses (RFC 5321 §4.2.1).
const REPLY_CODES: (u64, u64) = (400, 599);

/// Who delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agent {
    /// The SMTP client.
    Smtp,
    /// Nobody: the mail is returned, the nexthop is the reason.
    Error,
    /// Nobody: the mail is deferred, the nexthop is the reason.
    Retry,
    /// Nobody: the mail is thrown away, the nexthop is what the log says.
    Discard,
}

/// The transports that somebody serves, by name.
#[derive(Clone, Debug)]
pub struct Agents(HashMap<Box<str>, Agent, foldhash::fast::RandomState>);

impl Agents {
    /// The `unix` services of `master.cf` whose command is known; those that Postfix has of itself need no line.
    pub fn of(config: &Config) -> Agents {
        let own = [
            ("smtp", Agent::Smtp),
            ("relay", Agent::Smtp),
            (ERROR_TRANSPORT, Agent::Error),
            (RETRY_TRANSPORT, Agent::Retry),
            (DISCARD_TRANSPORT, Agent::Discard),
        ];
        let mut agents: HashMap<Box<str>, Agent, _> =
            own.into_iter().map(|(name, agent)| (name.into(), agent)).collect();
        for service in config.services().iter().filter(|service| service.kind == ServiceType::Unix) {
            let agent = match (service.command.as_str(), service.name.as_str()) {
                ("smtp", _) => Agent::Smtp,
                ("error", RETRY_TRANSPORT) => Agent::Retry,
                ("error", _) => Agent::Error,
                ("discard", _) => Agent::Discard,
                _ => {
                    agents.remove(service.name.as_str());
                    continue;
                }
            };
            agents.insert(service.name.as_str().into(), agent);
        }
        Agents(agents)
    }

    /// Who delivers by this transport; `None` when nobody here can.
    pub fn agent(&self, transport: &str) -> Option<Agent> {
        self.0.get(transport).copied()
    }
}

/// Reads the settings of rewriting.
pub fn rewrite(view: &View<'_>) -> RewriteSettings {
    RewriteSettings {
        swap_bangpath: view.flag(names::SWAP_BANGPATH),
        allow_percent_hack: view.flag(names::ALLOW_PERCENT_HACK),
        append_at_myorigin: view.flag(names::APPEND_AT_MYORIGIN),
        append_dot_mydomain: view.flag(names::APPEND_DOT_MYDOMAIN),
        my_origin: view.text(names::MYORIGIN),
        my_domain: view.text(names::MYDOMAIN),
        remote_header_domain: view.text(names::REMOTE_HEADER_REWRITE_DOMAIN),
    }
}

/// Reads the settings of resolving.
pub fn resolve(view: &View<'_>) -> ResolveSettings {
    let transport = |name| TransportEntry::parse(&view.text(name));
    let relayhost = view.text(names::RELAYHOST);
    ResolveSettings {
        names: LocalNames {
            my_origin: view.text(names::MYORIGIN),
            my_destination: view.domains(names::MYDESTINATION).of_whole_names(),
            own_addresses: view.own_addresses(),
            recipient_delimiter: view.text(names::RECIPIENT_DELIMITER),
        },
        my_hostname: view.text(names::MYHOSTNAME),
        rewrite: rewrite(view),
        empty_address_recipient: view.text(names::EMPTY_ADDRESS_RECIPIENT),
        resolve_dequoted_address: view.flag(names::RESOLVE_DEQUOTED_ADDRESS),
        resolve_null_domain: view.flag(names::RESOLVE_NULL_DOMAIN),
        resolve_numeric_domain: view.flag(names::RESOLVE_NUMERIC_DOMAIN),
        allow_untrusted_routing: view.flag(names::ALLOW_UNTRUSTED_ROUTING),
        virtual_alias_domains: view.domains(names::VIRTUAL_ALIAS_DOMAINS).of_whole_names(),
        virtual_mailbox_domains: view.domains(names::VIRTUAL_MAILBOX_DOMAINS).of_whole_names(),
        relay_domains: view.domains(names::RELAY_DOMAINS),
        local_transport: transport(names::LOCAL_TRANSPORT),
        virtual_transport: transport(names::VIRTUAL_TRANSPORT),
        relay_transport: transport(names::RELAY_TRANSPORT),
        default_transport: transport(names::DEFAULT_TRANSPORT),
        relayhost: (!relayhost.is_empty()).then_some(relayhost),
        sender_default_transports: view.maps(names::SENDER_DEPENDENT_DEFAULT_TRANSPORT_MAPS),
        null_sender_transport_key: view.text(names::EMPTY_ADDRESS_DEFAULT_TRANSPORT_MAPS_LOOKUP_KEY),
        sender_relayhosts: view.maps(names::SENDER_DEPENDENT_RELAYHOST_MAPS),
        null_sender_relayhost_key: view.text(names::EMPTY_ADDRESS_RELAYHOST_MAPS_LOOKUP_KEY),
        transports: view.maps(names::TRANSPORT_MAPS),
        transport_parents: view.parents_match_subdomains(names::TRANSPORT_MAPS.as_str()),
        relocated: view.maps(names::RELOCATED_MAPS),
        recipients: recipients(view),
        show_table_name: view.flag(names::SHOW_USER_UNKNOWN_TABLE_NAME),
    }
}

fn recipients(view: &View<'_>) -> RecipientMaps {
    let code = |name| view.number(name).clamp(REPLY_CODES.0, REPLY_CODES.1) as u16;
    let double_bounce = view.text(names::DOUBLE_BOUNCE_SENDER);
    RecipientMaps {
        local: view.maps(names::LOCAL_RECIPIENT_MAPS),
        virtual_mailbox: view.maps(names::VIRTUAL_MAILBOX_MAPS),
        relay: view.maps(names::RELAY_RECIPIENT_MAPS),
        virtual_alias: view.maps(names::VIRTUAL_ALIAS_MAPS),
        canonical: view.maps(names::CANONICAL_MAPS),
        recipient_canonical: view.maps(names::RECIPIENT_CANONICAL_MAPS),
        sender_canonical: view.maps(names::SENDER_CANONICAL_MAPS),
        double_bounce: double_bounce.split('@').next().unwrap_or_default().to_owned(),
        unknown_local_code: code(names::UNKNOWN_LOCAL_RECIPIENT_REJECT_CODE),
        unknown_virtual_alias_code: code(names::UNKNOWN_VIRTUAL_ALIAS_REJECT_CODE),
        unknown_virtual_mailbox_code: code(names::UNKNOWN_VIRTUAL_MAILBOX_REJECT_CODE),
        unknown_relay_code: code(names::UNKNOWN_RELAY_RECIPIENT_REJECT_CODE),
    }
}
