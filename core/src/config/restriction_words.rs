//! Restrictions as `main.cf` writes them.

use std::fmt;

use super::restriction::{AccessKey, Party, Restriction, ServerKind, Subject};
use crate::access::BlockList;

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Party::Sender => "sender",
            Party::Recipient => "recipient",
        })
    }
}

impl AccessKey {
    /// The item that looks it up.
    pub fn word(self) -> &'static str {
        match self {
            AccessKey::Client => "check_client_access",
            AccessKey::ReverseClient => "check_reverse_client_hostname_access",
            AccessKey::Helo => "check_helo_access",
            AccessKey::Sender => "check_sender_access",
            AccessKey::Recipient => "check_recipient_access",
            AccessKey::Etrn => "check_etrn_access",
            AccessKey::Certificate => "check_ccert_access",
            AccessKey::Login => "check_sasl_access",
        }
    }
}

impl Subject {
    /// As names of items have it.
    pub fn word(self) -> &'static str {
        match self {
            Subject::Client => "client",
            Subject::ReverseClient => "reverse_client_hostname",
            Subject::Helo => "helo",
            Subject::Sender => "sender",
            Subject::Recipient => "recipient",
        }
    }
}

impl ServerKind {
    /// As names of items have it.
    pub fn word(self) -> &'static str {
        match self {
            ServerKind::Address => "a",
            ServerKind::Exchanger => "mx",
            ServerKind::NameServer => "ns",
        }
    }
}

impl BlockList {
    fn word(&self) -> &'static str {
        match (self.permits, self.by_address, self.subject) {
            (true, true, _) => "permit_dnswl_client",
            (true, false, _) => "permit_rhswl_client",
            (false, true, _) => "reject_rbl_client",
            (false, false, Subject::Client) => "reject_rhsbl_client",
            (false, false, Subject::ReverseClient) => "reject_rhsbl_reverse_client",
            (false, false, Subject::Helo) => "reject_rhsbl_helo",
            (false, false, Subject::Sender) => "reject_rhsbl_sender",
            (false, false, Subject::Recipient) => "reject_rhsbl_recipient",
        }
    }
}

/// The item by its name of today, with its argument. A class is a number here: whoever has the list of classes names it.
impl fmt::Display for Restriction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Restriction::WarnIfReject => "warn_if_reject",
            Restriction::Permit => "permit",
            Restriction::Reject => "reject",
            Restriction::Defer => "defer",
            Restriction::DeferIfPermit => "defer_if_permit",
            Restriction::DeferIfReject => "defer_if_reject",
            Restriction::RejectUnauthPipelining => "reject_unauth_pipelining",
            Restriction::RejectPlaintextSession => "reject_plaintext_session",
            Restriction::PermitInetInterfaces => "permit_inet_interfaces",
            Restriction::PermitMynetworks => "permit_mynetworks",
            Restriction::PermitsNobody => "an item about logins or certificates",
            Restriction::RejectUnknownClient => "reject_unknown_client_hostname",
            Restriction::RejectUnknownForwardClient => "reject_unknown_forward_client_hostname",
            Restriction::RejectUnknownReverseClient => "reject_unknown_reverse_client_hostname",
            Restriction::RejectInvalidHelo => "reject_invalid_helo_hostname",
            Restriction::RejectNonFqdnHelo => "reject_non_fqdn_helo_hostname",
            Restriction::RejectUnknownHelo => "reject_unknown_helo_hostname",
            Restriction::PermitNakedAddress => "permit_naked_ip_address",
            Restriction::RejectMultiRecipientBounce => "reject_multi_recipient_bounce",
            Restriction::RejectUnauthDestination => "reject_unauth_destination",
            Restriction::DeferUnauthDestination => "defer_unauth_destination",
            Restriction::PermitAuthDestination => "permit_auth_destination",
            Restriction::PermitMxBackup => "permit_mx_backup",
            Restriction::RejectMapsRbl => "reject_maps_rbl",
            Restriction::Sleep(seconds) => return write!(f, "sleep {seconds}"),
            Restriction::RejectNonFqdn(party) => return write!(f, "reject_non_fqdn_{party}"),
            Restriction::RejectUnknownDomain(party) => return write!(f, "reject_unknown_{party}_domain"),
            Restriction::RejectUnverified(party) => return write!(f, "reject_unverified_{party}"),
            Restriction::RejectUnlisted(party) => return write!(f, "reject_unlisted_{party}"),
            Restriction::Check(key, table) => return write!(f, "{} {}", key.word(), table.name),
            Restriction::CheckServer(subject, kind, table) => {
                return write!(f, "check_{}_{}_access {}", subject.word(), kind.word(), table.name);
            }
            Restriction::BlockList(list) => return write!(f, "{} {}", list.word(), list.written),
            Restriction::Policy(service) => return write!(f, "check_policy_service {}", service.name),
            Restriction::Class(place) => return write!(f, "restriction class {place}"),
        })
    }
}
