//! Access restrictions: the lists `smtpd_*_restrictions`, parsed once.
//!
//! An item that is not known, or not served, or whose argument is wrong, refuses the start: leaving a check out would let
//! in what it keeps out. An access table may hold items, too; those are read by the same rules, but may name no tables
//! (restriction classes may).

use super::error::quoted;
use super::value::split_list;
use crate::access::{BlockList, OctetFilter};
use crate::lookup::{TableId, TableSpec, TableType};
use crate::policy::PolicyService;

/// A table that a restriction asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessTable {
    /// Which.
    pub id: TableId,
    /// It wants whole keys only.
    pub is_pattern: bool,
    /// `type:name`, for the log.
    pub name: Box<str>,
    /// What is done when it cannot be asked; None is 451.
    pub default_action: Option<Box<str>>,
}

/// What `check_…_access` looks up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccessKey {
    /// The client's verified name and its address.
    Client,
    /// The client's unverified name and its address.
    ReverseClient,
    /// The name of HELO or EHLO.
    Helo,
    /// The reverse-path.
    Sender,
    /// The forward-path.
    Recipient,
    /// The domain of ETRN.
    Etrn,
    /// The client's certificate: nobody has one yet.
    Certificate,
    /// The name with which the client authenticated: nobody has one yet.
    Login,
}

/// Whose name, or domain, a check is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The client's verified name.
    Client,
    /// The client's unverified name.
    ReverseClient,
    /// The name of HELO or EHLO.
    Helo,
    /// The sender's domain.
    Sender,
    /// The recipient's domain.
    Recipient,
}

/// Which servers of a domain are looked up in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServerKind {
    /// The hosts of that name.
    Address,
    /// Its mail exchangers.
    Exchanger,
    /// Its name servers.
    NameServer,
}

/// An address of the envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Party {
    /// The reverse-path.
    Sender,
    /// The forward-path.
    Recipient,
}

/// One item of a list, in order; the first that decides ends its list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restriction {
    /// `warn_if_reject`: what the next item would refuse is logged only.
    WarnIfReject,
    /// `permit`.
    Permit,
    /// `reject`, with `reject_code`.
    Reject,
    /// `defer`, with `defer_code`.
    Defer,
    /// `defer_if_permit`: what would be permitted is to be tried again.
    DeferIfPermit,
    /// `defer_if_reject`: what would be refused is to be tried again.
    DeferIfReject,
    /// `sleep N`, seconds.
    Sleep(u32),
    /// `reject_unauth_pipelining`.
    RejectUnauthPipelining,
    /// `reject_plaintext_session`: every session is one yet.
    RejectPlaintextSession,
    /// `permit_inet_interfaces`: one of our own addresses.
    PermitInetInterfaces,
    /// `permit_mynetworks`.
    PermitMynetworks,
    /// Permits those who authenticated or have a certificate: nobody yet.
    PermitsNobody,
    /// `reject_unknown_client_hostname`: no verified name.
    RejectUnknownClient,
    /// `reject_unknown_forward_client_hostname`: no name, or one that leads nowhere; it may lead elsewhere.
    RejectUnknownForwardClient,
    /// `reject_unknown_reverse_client_hostname`: no name at all.
    RejectUnknownReverseClient,
    /// `reject_invalid_helo_hostname`.
    RejectInvalidHelo,
    /// `reject_non_fqdn_helo_hostname`.
    RejectNonFqdnHelo,
    /// `reject_unknown_helo_hostname`: a name that the DNS does not have.
    RejectUnknownHelo,
    /// `permit_naked_ip_address`, of old.
    PermitNakedAddress,
    /// `reject_non_fqdn_sender`, `…_recipient`.
    RejectNonFqdn(Party),
    /// `reject_unknown_sender_domain`, `…_recipient_domain`: a domain that the DNS does not have.
    RejectUnknownDomain(Party),
    /// `reject_unlisted_sender`, `…_recipient`.
    RejectUnlisted(Party),
    /// `reject_unverified_sender`, `…_recipient`: a probe has not found anybody there.
    RejectUnverified(Party),
    /// `reject_multi_recipient_bounce`.
    RejectMultiRecipientBounce,
    /// `reject_unauth_destination`: we are neither the destination nor relay for it.
    RejectUnauthDestination,
    /// `defer_unauth_destination`: the same, to be tried again.
    DeferUnauthDestination,
    /// `permit_auth_destination`.
    PermitAuthDestination,
    /// `permit_mx_backup`.
    PermitMxBackup,
    /// `check_…_access`.
    Check(AccessKey, AccessTable),
    /// `check_…_{a,mx,ns}_access`.
    CheckServer(Subject, ServerKind, AccessTable),
    /// `reject_rbl_client`, `reject_rhsbl_…`, `permit_dnswl_client`, `permit_rhswl_client`.
    BlockList(BlockList),
    /// `check_policy_service`: a server says what is done, as an access table would.
    Policy(Box<PolicyService>),
    /// `reject_maps_rbl`, of old: the lists of `maps_rbl_domains`.
    RejectMapsRbl,
    /// A restriction class, by its place in `smtpd_restriction_classes`.
    Class(u16),
}

/// An item that ends the reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unread {
    /// As written.
    pub item: String,
    /// What is wrong, in a few words.
    pub reason: String,
}

/// What a list says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reading {
    /// What is known, up to the first item that is not; there a `Reject` stands instead, so that a list can never
    /// let in more than was meant.
    pub known: Vec<Restriction>,
    /// The first item that cannot be read.
    pub unread: Option<Unread>,
}

/// What is needed to read a list.
pub(crate) struct Grammar<'a> {
    /// `smtpd_restriction_classes`.
    pub classes: &'a [String],
    /// What a table without `check_…_access` before it means in this list.
    pub implied: Option<AccessKey>,
    /// `default_database_type`.
    pub default_type: TableType,
    /// `check_policy_service` may stand here: not in what a table or a policy server says.
    pub policy_services: bool,
    /// Gives a table its id.
    pub ids: &'a dyn Fn(TableSpec) -> Result<TableId, String>,
}

/// What a table without a word before it means in the list of this name.
pub(crate) fn implied_key(parameter: &str) -> Option<AccessKey> {
    match parameter {
        "smtpd_client_restrictions" => Some(AccessKey::Client),
        "smtpd_helo_restrictions" => Some(AccessKey::Helo),
        "smtpd_sender_restrictions" => Some(AccessKey::Sender),
        "smtpd_relay_restrictions" | "smtpd_recipient_restrictions" => Some(AccessKey::Recipient),
        "smtpd_etrn_restrictions" => Some(AccessKey::Etrn),
        _ => None,
    }
}

/// Reads a list.
pub(crate) fn read(text: &str, grammar: &Grammar<'_>) -> Reading {
    let mut known = Vec::new();
    let mut rest = split_list(text).into_iter();
    while let Some(word) = rest.next() {
        match item(word, &mut rest, grammar) {
            Ok(restriction) => known.push(restriction),
            Err(reason) => {
                known.push(Restriction::Reject);
                return Reading { known, unread: Some(Unread { item: word.into(), reason }) };
            }
        }
    }
    Reading { known, unread: None }
}

const NOT_SERVED: &str = "is not served";

fn item<'t>(
    word: &str,
    rest: &mut impl Iterator<Item = &'t str>,
    grammar: &Grammar<'_>,
) -> Result<Restriction, String> {
    let name = word.to_ascii_lowercase();
    if let Some(plain) = plain_item(&name) {
        return Ok(plain);
    }
    if let Some(key) = access_key(&name) {
        return Ok(Restriction::Check(key, table(rest.next(), grammar)?));
    }
    if let Some((subject, kind)) = server_check(&name) {
        return Ok(Restriction::CheckServer(subject, kind, table(rest.next(), grammar)?));
    }
    if let Some((permits, by_address, subject)) = block_list(&name) {
        let written = rest.next().ok_or_else(|| "requires a domain name".to_owned())?;
        return Ok(Restriction::BlockList(parse_block_list(written, permits, by_address, subject)?));
    }
    match name.as_str() {
        "sleep" => {
            let seconds = rest.next().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            let seconds = seconds.and_then(|text| text.parse().ok());
            return seconds.map(Restriction::Sleep).ok_or_else(|| "must be followed by a number".to_owned());
        }
        "check_policy_service" => {
            let argument =
                rest.next().ok_or_else(|| "must be followed by the place of a server".to_owned())?;
            if !grammar.policy_services {
                return Err("is not served inside access tables: use a restriction class".into());
            }
            return PolicyService::parse(argument).map(|service| Restriction::Policy(Box::new(service)));
        }
        _ => {}
    }
    if let Some(place) = grammar.classes.iter().position(|class| *class == word)
        && let Ok(place) = u16::try_from(place)
    {
        return Ok(Restriction::Class(place));
    }
    if word.contains(':') {
        let key = grammar.implied.ok_or_else(|| {
            "must follow one of check_client_access, check_helo_access, check_sender_access, \
             check_recipient_access, check_etrn_access"
                .to_owned()
        })?;
        return Ok(Restriction::Check(key, table(Some(word), grammar)?));
    }
    Err(NOT_SERVED.into())
}

/// Items of one word.
fn plain_item(name: &str) -> Option<Restriction> {
    Some(match name {
        "warn_if_reject" => Restriction::WarnIfReject,
        "permit" => Restriction::Permit,
        "reject" => Restriction::Reject,
        "defer" => Restriction::Defer,
        "defer_if_permit" => Restriction::DeferIfPermit,
        "defer_if_reject" => Restriction::DeferIfReject,
        "reject_unauth_pipelining" => Restriction::RejectUnauthPipelining,
        "reject_plaintext_session" => Restriction::RejectPlaintextSession,
        "permit_inet_interfaces" => Restriction::PermitInetInterfaces,
        "permit_mynetworks" => Restriction::PermitMynetworks,
        // Nobody can authenticate here, or has a certificate. Without authentication Postfix passes by what is about logins.
        "permit_sasl_authenticated"
        | "permit_tls_clientcerts"
        | "permit_tls_all_clientcerts"
        | "reject_sender_login_mismatch"
        | "reject_authenticated_sender_login_mismatch"
        | "reject_known_sender_login_mismatch"
        | "reject_unauthenticated_sender_login_mismatch" => Restriction::PermitsNobody,
        "reject_unknown_client_hostname" | "reject_unknown_client" => Restriction::RejectUnknownClient,
        "reject_unknown_forward_client_hostname" => Restriction::RejectUnknownForwardClient,
        "reject_unknown_reverse_client_hostname" => Restriction::RejectUnknownReverseClient,
        "reject_invalid_helo_hostname" | "reject_invalid_hostname" => Restriction::RejectInvalidHelo,
        "reject_non_fqdn_helo_hostname" | "reject_non_fqdn_hostname" => Restriction::RejectNonFqdnHelo,
        "reject_unknown_helo_hostname" | "reject_unknown_hostname" => Restriction::RejectUnknownHelo,
        "permit_naked_ip_address" => Restriction::PermitNakedAddress,
        "reject_non_fqdn_sender" => Restriction::RejectNonFqdn(Party::Sender),
        "reject_non_fqdn_recipient" => Restriction::RejectNonFqdn(Party::Recipient),
        "reject_unknown_sender_domain" | "reject_unknown_address" => {
            Restriction::RejectUnknownDomain(Party::Sender)
        }
        "reject_unknown_recipient_domain" => Restriction::RejectUnknownDomain(Party::Recipient),
        "reject_unlisted_sender" => Restriction::RejectUnlisted(Party::Sender),
        "reject_unlisted_recipient" | "check_recipient_maps" => Restriction::RejectUnlisted(Party::Recipient),
        "reject_unverified_sender" => Restriction::RejectUnverified(Party::Sender),
        "reject_unverified_recipient" => Restriction::RejectUnverified(Party::Recipient),
        "reject_multi_recipient_bounce" => Restriction::RejectMultiRecipientBounce,
        "reject_unauth_destination" => Restriction::RejectUnauthDestination,
        "defer_unauth_destination" => Restriction::DeferUnauthDestination,
        "permit_auth_destination" => Restriction::PermitAuthDestination,
        "permit_mx_backup" => Restriction::PermitMxBackup,
        "reject_maps_rbl" => Restriction::RejectMapsRbl,
        _ => return None,
    })
}

fn access_key(name: &str) -> Option<AccessKey> {
    Some(match name {
        "check_client_access" => AccessKey::Client,
        "check_reverse_client_hostname_access" => AccessKey::ReverseClient,
        "check_helo_access" => AccessKey::Helo,
        "check_sender_access" => AccessKey::Sender,
        "check_recipient_access" => AccessKey::Recipient,
        "check_etrn_access" => AccessKey::Etrn,
        "check_ccert_access" => AccessKey::Certificate,
        "check_sasl_access" => AccessKey::Login,
        _ => return None,
    })
}

fn server_check(name: &str) -> Option<(Subject, ServerKind)> {
    let inner = name.strip_prefix("check_")?.strip_suffix("_access")?;
    let (subject, kind) = inner.rsplit_once('_')?;
    let kind = match kind {
        "a" => ServerKind::Address,
        "mx" => ServerKind::Exchanger,
        "ns" => ServerKind::NameServer,
        _ => return None,
    };
    let subject = match subject {
        "client" => Subject::Client,
        "reverse_client_hostname" => Subject::ReverseClient,
        "helo" => Subject::Helo,
        "sender" => Subject::Sender,
        "recipient" => Subject::Recipient,
        _ => return None,
    };
    Some((subject, kind))
}

/// Whether it permits, whether it is about an address, and whose.
fn block_list(name: &str) -> Option<(bool, bool, Subject)> {
    Some(match name {
        "reject_rbl_client" | "reject_rbl" => (false, true, Subject::Client),
        "permit_dnswl_client" => (true, true, Subject::Client),
        "reject_rhsbl_client" => (false, false, Subject::Client),
        "permit_rhswl_client" => (true, false, Subject::Client),
        "reject_rhsbl_reverse_client" => (false, false, Subject::ReverseClient),
        "reject_rhsbl_helo" => (false, false, Subject::Helo),
        "reject_rhsbl_sender" => (false, false, Subject::Sender),
        "reject_rhsbl_recipient" => (false, false, Subject::Recipient),
        _ => return None,
    })
}

/// `domain` or `domain=filter`.
pub(crate) fn parse_block_list(
    written: &str,
    permits: bool,
    by_address: bool,
    subject: Subject,
) -> Result<BlockList, String> {
    let (domain, filter) = match written.split_once('=') {
        Some((domain, filter)) => (domain, Some(OctetFilter::parse(filter)?)),
        None => (written, None),
    };
    let domain = domain.trim_end_matches('.');
    if !crate::access::is_hostname(domain) {
        return Err(format!("{} is no domain", quoted(domain)));
    }
    Ok(BlockList { permits, by_address, subject, domain: domain.into(), filter, written: written.into() })
}

/// `type:name`, or `type:name, default_action=…` in braces.
fn table(argument: Option<&str>, grammar: &Grammar<'_>) -> Result<AccessTable, String> {
    let argument = argument.ok_or_else(|| "must be followed by a lookup table".to_owned())?;
    let mut parts = split_list(argument).into_iter();
    let first = parts.next().unwrap_or_default();
    if !first.contains(':') {
        return Err(format!("bad argument {}: need maptype:mapname", quoted(first)));
    }
    let mut default_action = None;
    for part in parts {
        match part.split_once('=') {
            Some((name, value)) if name.trim() == "default_action" => {
                default_action = Some(value.trim().into());
            }
            _ => return Err(format!("{} is no setting of a table here", quoted(part))),
        }
    }
    let spec = TableSpec::parse(first, grammar.default_type)?;
    let (is_pattern, name) = (spec.is_pattern(), spec.to_string().into());
    Ok(AccessTable { id: (grammar.ids)(spec)?, is_pattern, name, default_action })
}

/// Whether a list keeps strangers from relaying; what stands behind `permit` is never reached, and a warning keeps nobody
/// out.
pub(super) fn guards_relay(list: &[Restriction], classes: &[Vec<Restriction>]) -> bool {
    guards(list, classes, 0)
}

/// Classes within classes are followed no deeper than this; the evaluation stops earlier than a loop of classes, too.
pub(crate) const CLASS_DEPTH_MAX: u32 = 100;

fn guards(list: &[Restriction], classes: &[Vec<Restriction>], depth: u32) -> bool {
    let mut items = list.iter();
    while let Some(item) = items.next() {
        match item {
            Restriction::WarnIfReject => drop(items.next()),
            Restriction::Permit => return false,
            Restriction::Reject
            | Restriction::Defer
            | Restriction::DeferIfPermit
            | Restriction::RejectUnauthDestination
            | Restriction::DeferUnauthDestination => return true,
            Restriction::Class(place) if depth < CLASS_DEPTH_MAX => {
                let class = classes.get(usize::from(*place));
                if class.is_some_and(|class| guards(class, classes, depth + 1)) {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}
