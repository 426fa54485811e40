//! What one smtpd line decides about who may do what: restrictions, lists of clients, names, footers.

use std::time::Duration;

use ringpost_core::access::AccessRules;
use ringpost_core::config::{Config, View, names};
use ringpost_core::lookup::TableType;
use ringpost_core::maps::Maps;
use ringpost_core::network_list::NetworkList;

use crate::failure::Failure;

/// Lists of clients.
#[derive(Debug)]
pub struct ClientLists {
    /// `mynetworks`.
    pub mynetworks: NetworkList,
    /// `smtpd_client_event_limit_exceptions`: who has no limits.
    pub limit_exceptions: NetworkList,
    /// `smtpd_authorized_verp_clients`.
    pub verp: NetworkList,
    /// `smtpd_authorized_xclient_hosts`.
    pub xclient: NetworkList,
    /// `smtpd_authorized_xforward_hosts`.
    pub xforward: NetworkList,
    /// `smtpd_forbid_bare_newline_exclusions`.
    pub bare_newline_exclusions: NetworkList,
}

impl ClientLists {
    fn read(view: &View<'_>) -> ClientLists {
        ClientLists {
            mynetworks: view.networks(names::MYNETWORKS),
            limit_exceptions: view.networks(names::SMTPD_CLIENT_EVENT_LIMIT_EXCEPTIONS),
            verp: view.networks(names::SMTPD_AUTHORIZED_VERP_CLIENTS),
            xclient: view.networks(names::SMTPD_AUTHORIZED_XCLIENT_HOSTS),
            xforward: view.networks(names::SMTPD_AUTHORIZED_XFORWARD_HOSTS),
            bare_newline_exclusions: view.networks(names::SMTPD_FORBID_BARE_NEWLINE_EXCLUSIONS),
        }
    }

    /// Whether addresses alone decide.
    pub fn are_plain(&self) -> bool {
        let lists = [
            &self.mynetworks,
            &self.limit_exceptions,
            &self.verp,
            &self.xclient,
            &self.xforward,
            &self.bare_newline_exclusions,
        ];
        lists.into_iter().all(NetworkList::is_plain)
    }
}

/// Footers of refusals.
#[derive(Debug)]
pub struct Footers {
    /// `smtpd_reject_footer`; empty for none.
    pub template: String,
    /// `smtpd_reject_footer_maps`: by the whole reply.
    pub maps: Maps,
}

/// Who may do what.
#[derive(Debug)]
pub struct AccessSettings {
    /// The restrictions.
    pub rules: AccessRules,
    /// They ask the DNS, wait, or name tables behind a socket: a session is likely to wait for their answer.
    pub likely_waits: bool,
    /// Lists of clients.
    pub clients: ClientLists,
    /// They are plain: nothing has to be asked about a client whose name is known.
    pub plain_clients: bool,
    /// `smtpd_peername_lookup`.
    pub looks_names_up: bool,
    /// `smtpd_upstream_proxy_timeout`, if a proxy stands in front that tells who the client is.
    pub proxy_timeout: Option<Duration>,
    /// `smtpd_discard_ehlo_keyword_address_maps`.
    pub ehlo_keyword_maps: Maps,
    /// `smtpd_command_filter`.
    pub command_filter: Maps,
    /// Footers, if there are any.
    pub footers: Option<Footers>,
}

impl AccessSettings {
    /// Reads them for one service.
    pub fn read(config: &Config, view: &View<'_>) -> Result<AccessSettings, Failure> {
        let rules = AccessRules::read(view).map_err(Failure::config)?;
        let in_memory = |kind| {
            !matches!(
                kind,
                TableType::Proxy
                    | TableType::Unix
                    | TableType::Tcp
                    | TableType::Socketmap
                    | TableType::Memcache
                    | TableType::Sqlite
                    | TableType::Pgsql
                    | TableType::Mysql
                    | TableType::Ldap
                    | TableType::Redis
            )
        };
        let remote = rules.tables().any(|table| {
            let spec = config.tables().get(table.id.0 as usize);
            spec.is_some_and(|spec| {
                !in_memory(spec.kind) || spec.members().iter().any(|member| !in_memory(member.kind))
            })
        });
        let clients = ClientLists::read(view);
        let footers = Footers {
            template: view.text(names::SMTPD_REJECT_FOOTER),
            maps: view.maps(names::SMTPD_REJECT_FOOTER_MAPS),
        };
        let has_proxy = view.text(names::SMTPD_UPSTREAM_PROXY_PROTOCOL) == "haproxy";
        Ok(AccessSettings {
            likely_waits: rules.may_wait() || remote,
            rules,
            plain_clients: clients.are_plain(),
            clients,
            looks_names_up: view.flag(names::SMTPD_PEERNAME_LOOKUP),
            proxy_timeout: has_proxy.then(|| view.time(names::SMTPD_UPSTREAM_PROXY_TIMEOUT)),
            ehlo_keyword_maps: view.maps(names::SMTPD_DISCARD_EHLO_KEYWORD_ADDRESS_MAPS),
            command_filter: view.maps(names::SMTPD_COMMAND_FILTER),
            footers: (!footers.template.is_empty() || !footers.maps.is_empty()).then_some(footers),
        })
    }
}
