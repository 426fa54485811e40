//! resolve: from a recipient address to the site that takes it.
//!
//! The part of Postfix's trivial-rewrite that a relay needs: `relayhost` or the recipient's domain by way of
//! `default_transport`; `relay_transport` for `relay_domains`. Tables and rewriting come with the tables.

use crate::domain_list::DomainList;

/// What the administrator decided about routes.
#[derive(Clone, Debug, Default)]
pub struct ResolveSettings {
    /// `default_transport` without its nexthop: the name of a `master.cf` service.
    pub default_transport: String,
    /// The nexthop of `default_transport`; wins over `relayhost`.
    pub default_nexthop: Option<String>,
    /// `relay_transport`, as above.
    pub relay_transport: String,
    /// The nexthop of `relay_transport`.
    pub relay_nexthop: Option<String>,
    /// `relayhost`; None when empty.
    pub relayhost: Option<String>,
    /// `mydestination`: delivered here, once there is a local delivery agent.
    pub my_destination: DomainList,
    /// `relay_domains`.
    pub relay_domains: DomainList,
}

/// Where a recipient's mail goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination<'a> {
    /// To this nexthop by this transport.
    Site {
        /// The transport's name.
        transport: &'a str,
        /// The nexthop, in the form that `ringpost_core::dns` reads.
        nexthop: &'a str,
    },
    /// Nothing here can deliver it (yet): a local address, or a transport that is not SMTP. Deferred as
    /// `mail transport unavailable`, as Postfix does when a transport's service is missing.
    Unavailable,
}

/// Transports that the SMTP client serves.
const SMTP_TRANSPORTS: [&str; 2] = ["smtp", "relay"];

impl ResolveSettings {
    /// Whether mail to `domain` is for this system or for one that it relays for.
    pub fn is_our_destination(&self, domain: &str) -> bool {
        self.my_destination.contains(domain.as_bytes()) || self.relay_domains.contains(domain.as_bytes())
    }

    /// The site for `address` (without angle brackets).
    pub fn destination<'a>(&'a self, address: &'a str) -> Destination<'a> {
        let Some((_, domain)) = address.rsplit_once('@') else { return Destination::Unavailable };
        if self.my_destination.contains(domain.as_bytes()) {
            return Destination::Unavailable;
        }
        let (transport, nexthop) = match self.relay_domains.contains(domain.as_bytes()) {
            true => (&self.relay_transport, &self.relay_nexthop),
            false => (&self.default_transport, &self.default_nexthop),
        };
        if !SMTP_TRANSPORTS.contains(&transport.as_str()) {
            return Destination::Unavailable;
        }
        let nexthop = nexthop.as_deref().or(self.relayhost.as_deref()).unwrap_or(domain);
        Destination::Site { transport, nexthop }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domains(text: &str) -> DomainList {
        DomainList::parse(text, false, &|_| Err("no files here".to_owned())).unwrap()
    }

    fn settings() -> ResolveSettings {
        ResolveSettings {
            default_transport: "smtp".to_owned(),
            relay_transport: "relay".to_owned(),
            my_destination: domains("here.example localhost"),
            relay_domains: domains("inner.example"),
            ..ResolveSettings::default()
        }
    }

    #[test]
    fn mail_goes_to_its_domain_unless_a_relayhost_takes_all() {
        let mut settings = settings();
        let site = |transport, nexthop| Destination::Site { transport, nexthop };
        assert_eq!(settings.destination("u@far.example"), site("smtp", "far.example"));
        assert_eq!(settings.destination("u@inner.example"), site("relay", "inner.example"));
        settings.relayhost = Some("[192.0.2.1]:2600".to_owned());
        assert_eq!(settings.destination("\"a@b\"@far.example"), site("smtp", "[192.0.2.1]:2600"));
        settings.relay_nexthop = Some("[inner]".to_owned());
        assert_eq!(settings.destination("u@inner.example"), site("relay", "[inner]"));
    }

    #[test]
    fn local_mail_waits_for_a_local_delivery_agent() {
        let mut settings = settings();
        assert_eq!(settings.destination("u@here.example"), Destination::Unavailable);
        assert_eq!(settings.destination("u"), Destination::Unavailable);
        settings.default_transport = "uucp".to_owned();
        assert_eq!(settings.destination("u@far.example"), Destination::Unavailable);
    }

    #[test]
    fn ours_is_what_we_are_and_what_we_relay_for() {
        let settings = settings();
        assert!(settings.is_our_destination("here.example") && settings.is_our_destination("inner.example"));
        assert!(!settings.is_our_destination("far.example"));
    }
}
