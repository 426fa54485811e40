//! Access restrictions that the foundation knows.
//!
//! A list with any other item is refused, and the start stops: leaving a check out would let in what it keeps out.

use super::value::split_list;

/// One item of a `smtpd_*_restrictions` list, in order; the first that decides wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restriction {
    /// Permit if the client is in `mynetworks`.
    PermitMynetworks,
    /// Permit.
    Permit,
    /// Refuse with `reject_code`.
    Reject,
    /// Refuse unless we are the destination or relay for it.
    RejectUnauthDestination,
    /// The same, but to be tried again.
    DeferUnauthDestination,
    /// Permit if we are the destination or relay for it.
    PermitAuthDestination,
}

/// What a list says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reading {
    /// What is known, up to the first item that is not; there a `Reject` stands instead, so that a list can never
    /// let in more than was meant.
    pub known: Vec<Restriction>,
    /// The first item that is not known.
    pub unknown: Option<String>,
}

pub(super) fn read(text: &str) -> Reading {
    let mut known = Vec::new();
    for item in split_list(text) {
        known.push(match item.to_ascii_lowercase().as_str() {
            "permit_mynetworks" => Restriction::PermitMynetworks,
            "permit" => Restriction::Permit,
            "reject" => Restriction::Reject,
            "reject_unauth_destination" => Restriction::RejectUnauthDestination,
            "defer_unauth_destination" => Restriction::DeferUnauthDestination,
            "permit_auth_destination" => Restriction::PermitAuthDestination,
            // Nobody can authenticate here, so these match nobody; Postfix's own default list has the first.
            "permit_sasl_authenticated" | "permit_tls_clientcerts" | "permit_tls_all_clientcerts" => continue,
            _ => {
                known.push(Restriction::Reject);
                return Reading { known, unknown: Some(item.into()) };
            }
        });
    }
    Reading { known, unknown: None }
}

/// Whether a list keeps strangers from relaying.
pub(super) fn guards_relay(list: &[Restriction]) -> bool {
    list.iter().any(|item| {
        matches!(
            item,
            Restriction::Reject | Restriction::RejectUnauthDestination | Restriction::DeferUnauthDestination
        )
    })
}
