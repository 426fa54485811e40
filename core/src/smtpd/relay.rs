//! May this client send to this recipient: the default relay rule
//! (`permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination`).

use crate::address::Address;
use crate::reply::Reply;

/// Which of Postfix's two items ends the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RelayRefusal {
    /// `defer_unauth_destination`: 454, Postfix's default.
    #[default]
    Defer,
    /// `reject_unauth_destination`: 554.
    Reject,
}

/// What [`relay_verdict`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelayVerdict {
    /// The recipient is accepted.
    Permit,
    /// The reply to give.
    Refuse(Reply),
}

/// Permits a client of `mynetworks` (or an authenticated one) anything, everybody the destinations that are ours or
/// that we relay for, and nobody else. `is_our_destination` is asked with the recipient's domain in lower case; a
/// recipient without a domain is local.
pub fn relay_verdict(
    client_is_trusted: bool,
    recipient: &Address,
    is_our_destination: impl FnOnce(&str) -> bool,
    refusal: RelayRefusal,
) -> RelayVerdict {
    let permitted =
        client_is_trusted || recipient.domain_lowercase().is_none_or(|domain| is_our_destination(&domain));
    if permitted {
        return RelayVerdict::Permit;
    }
    let (code, enhanced) = match refusal {
        RelayRefusal::Defer => (454, "4.7.1"),
        RelayRefusal::Reject => (554, "5.7.1"),
    };
    RelayVerdict::Refuse(Reply::new(code, enhanced, format_args!("<{recipient}>: Relay access denied")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_reach_only_our_destinations() {
        let to = Address::parse("r@Elsewhere.example").expect("an address");
        let ours = |domain: &str| domain == "ours.example";
        assert_eq!(relay_verdict(true, &to, ours, RelayRefusal::Reject), RelayVerdict::Permit);
        let RelayVerdict::Refuse(reply) = relay_verdict(false, &to, ours, RelayRefusal::Reject) else {
            panic!()
        };
        assert_eq!(reply.line(), "554 5.7.1 <r@Elsewhere.example>: Relay access denied");
        let RelayVerdict::Refuse(reply) = relay_verdict(false, &to, ours, RelayRefusal::Defer) else {
            panic!()
        };
        assert_eq!(reply.line(), "454 4.7.1 <r@Elsewhere.example>: Relay access denied");
        let to = Address::parse("r@OURS.example").expect("an address");
        assert_eq!(relay_verdict(false, &to, ours, RelayRefusal::Reject), RelayVerdict::Permit);
    }
}
