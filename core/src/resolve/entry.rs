//! A transport and its nexthop, as parameters and transport(5) write them.

use std::borrow::Cow;
use std::fmt;

use super::{ERROR_TRANSPORT, RETRY_TRANSPORT, Route};

/// What a transport says that has no reason given, and bounces or defers.
const NO_REASON: &str = "Address is undeliverable";

/// `transport:nexthop`; either part may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransportEntry {
    /// The transport; empty where none is named.
    pub transport: String,
    /// The nexthop; empty where none is named.
    pub nexthop: String,
}

impl TransportEntry {
    /// Reads `transport:nexthop`, `transport`, `transport:`, `:nexthop` or `:`.
    pub fn parse(text: &str) -> TransportEntry {
        let (transport, nexthop) = text.split_once(':').unwrap_or((text, ""));
        TransportEntry { transport: transport.into(), nexthop: nexthop.into() }
    }

    /// Changes a route as an entry of `transport_maps` does: without a transport the one that there is stays, and its
    /// nexthop too if none is named; with a transport, a nexthop that is not named is the recipient's domain.
    pub(super) fn apply(self, domain: &str, route: &mut Route<'_>) {
        let TransportEntry { transport, nexthop } = self;
        if transport.is_empty() {
            if !nexthop.is_empty() {
                route.nexthop = Cow::Owned(nexthop);
            }
            return;
        }
        route.nexthop = match transport.as_str() {
            _ if !nexthop.is_empty() => Cow::Owned(nexthop),
            ERROR_TRANSPORT | RETRY_TRANSPORT => Cow::Borrowed(NO_REASON),
            _ => Cow::Owned(domain.to_owned()),
        };
        route.transport = Cow::Owned(transport);
    }
}

impl fmt::Display for TransportEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.transport.as_str(), self.nexthop.as_str()) {
            (transport, "") => f.write_str(transport),
            (transport, nexthop) => write!(f, "{transport}:{nexthop}"),
        }
    }
}
