//! The rules of one service, read from its configuration.

use super::{AccessLists, AccessRules, RejectCodes, ReplyCharacters, TemporaryFailure, UnverifiedRules};
use crate::config::{Name, Restriction, Subject, View, names, parse_block_list, types};
use crate::maps::LocalNames;
use crate::policy::PolicyDefaults;

impl AccessRules {
    /// Reads the rules; the configuration has been checked.
    ///
    /// # Errors
    /// What a value says that no check of its kind can find, in one sentence.
    pub fn read(view: &View<'_>) -> Result<AccessRules, String> {
        let maps_rbl = view.list(names::MAPS_RBL_DOMAINS);
        let maps_rbl = maps_rbl.iter().map(|domain| parse_block_list(domain, false, true, Subject::Client));
        Ok(AccessRules {
            lists: lists(view),
            codes: codes(view),
            relay_first: view.flag(names::SMTPD_RELAY_BEFORE_RECIPIENT_RESTRICTIONS),
            delay_reject: view.flag(names::SMTPD_DELAY_REJECT),
            unlisted_recipients: view.flag(names::SMTPD_REJECT_UNLISTED_RECIPIENT)
                && !view
                    .list(names::RECEIVE_OVERRIDE_OPTIONS)
                    .iter()
                    .any(|word| word.eq_ignore_ascii_case("no_unknown_recipient_checks")),
            unlisted_senders: view.flag(names::SMTPD_REJECT_UNLISTED_SENDER),
            unknown_address_failure: failure(view, names::UNKNOWN_ADDRESS_TEMPFAIL_ACTION)?,
            unknown_helo_failure: failure(view, names::UNKNOWN_HELO_HOSTNAME_TEMPFAIL_ACTION)?,
            names: LocalNames {
                recipient_delimiter: view.text(names::RECIPIENT_DELIMITER),
                ..LocalNames::default()
            },
            access_parents: view.parents_match_subdomains("smtpd_access_maps"),
            null_sender_key: view.text(names::SMTPD_NULL_ACCESS_LOOKUP_KEY),
            untrusted_routing: view.flag(names::ALLOW_UNTRUSTED_ROUTING),
            own_addresses: view.own_addresses(),
            mx_backup_networks: view.networks(names::PERMIT_MX_BACKUP_NETWORKS),
            maps_rbl: maps_rbl
                .collect::<Result<_, _>>()
                .map_err(|reason| format!("maps_rbl_domains: {reason}"))?,
            rbl_replies: view.maps(names::RBL_REPLY_MAPS),
            default_rbl_reply: view.text(names::DEFAULT_RBL_REPLY),
            reply_characters: ReplyCharacters::parse(&view.text(names::SMTPD_EXPANSION_FILTER)),
            logged_permits: view
                .list(names::SMTPD_LOG_ACCESS_PERMIT_ACTIONS)
                .iter()
                .map(|action| action.to_ascii_lowercase())
                .collect(),
            unverified_sender: UnverifiedRules {
                defer_code: code(view, names::UNVERIFIED_SENDER_DEFER_CODE),
                reject_code: code(view, names::UNVERIFIED_SENDER_REJECT_CODE),
                reason: view.text(names::UNVERIFIED_SENDER_REJECT_REASON),
                failure: failure(view, names::UNVERIFIED_SENDER_TEMPFAIL_ACTION)?,
            },
            unverified_recipient: UnverifiedRules {
                defer_code: code(view, names::UNVERIFIED_RECIPIENT_DEFER_CODE),
                reject_code: code(view, names::UNVERIFIED_RECIPIENT_REJECT_CODE),
                reason: view.text(names::UNVERIFIED_RECIPIENT_REJECT_REASON),
                failure: failure(view, names::UNVERIFIED_RECIPIENT_TEMPFAIL_ACTION)?,
            },
            policy: PolicyDefaults::read(view),
            soft_bounce: view.flag(names::SOFT_BOUNCE),
            probe_sender: probe_sender(view),
        })
    }
}

/// `address_verify_sender` in full; empty if it is the null address.
fn probe_sender(view: &View<'_>) -> String {
    let sender = view.text(names::ADDRESS_VERIFY_SENDER);
    match sender.as_str() {
        "" | "<>" => String::new(),
        sender if sender.contains('@') => sender.to_owned(),
        sender => format!("{sender}@{}", view.text(names::MYORIGIN)),
    }
}

fn lists(view: &View<'_>) -> AccessLists {
    let list = |name: Name<types::Restrictions>| -> Vec<Restriction> { view.restrictions(name) };
    AccessLists {
        client: list(names::SMTPD_CLIENT_RESTRICTIONS),
        helo: list(names::SMTPD_HELO_RESTRICTIONS),
        sender: list(names::SMTPD_SENDER_RESTRICTIONS),
        relay: view.relay_restrictions(),
        recipient: list(names::SMTPD_RECIPIENT_RESTRICTIONS),
        data: list(names::SMTPD_DATA_RESTRICTIONS),
        end_of_data: list(names::SMTPD_END_OF_DATA_RESTRICTIONS),
        etrn: list(names::SMTPD_ETRN_RESTRICTIONS),
        classes: view.restriction_classes(),
    }
}

fn code(view: &View<'_>, name: Name<types::Int>) -> u16 {
    u16::try_from(view.number(name)).unwrap_or(u16::MAX)
}

fn codes(view: &View<'_>) -> RejectCodes {
    let code = |name| code(view, name);
    RejectCodes {
        reject: code(names::REJECT_CODE),
        defer: code(names::DEFER_CODE),
        relay_domains_reject: code(names::RELAY_DOMAINS_REJECT_CODE),
        access_map_reject: code(names::ACCESS_MAP_REJECT_CODE),
        access_map_defer: code(names::ACCESS_MAP_DEFER_CODE),
        invalid_hostname: code(names::INVALID_HOSTNAME_REJECT_CODE),
        non_fqdn: code(names::NON_FQDN_REJECT_CODE),
        unknown_hostname: code(names::UNKNOWN_HOSTNAME_REJECT_CODE),
        unknown_address: code(names::UNKNOWN_ADDRESS_REJECT_CODE),
        unknown_client: code(names::UNKNOWN_CLIENT_REJECT_CODE),
        plaintext: code(names::PLAINTEXT_REJECT_CODE),
        multi_recipient_bounce: code(names::MULTI_RECIPIENT_BOUNCE_REJECT_CODE),
        maps_rbl: code(names::MAPS_RBL_REJECT_CODE),
    }
}

fn failure(view: &View<'_>, name: Name<types::Text>) -> Result<TemporaryFailure, String> {
    match view.text(name).to_ascii_lowercase().as_str() {
        "defer" => Ok(TemporaryFailure::Defer),
        "defer_if_permit" => Ok(TemporaryFailure::DeferIfPermit),
        other => Err(format!("{}: {other} is neither defer nor defer_if_permit", name.as_str())),
    }
}
