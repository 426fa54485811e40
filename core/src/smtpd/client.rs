//! Who is connected, as far as is known: by the connection, by the DNS, or by what a trusted proxy or test says.

use std::net::{IpAddr, SocketAddr};

use super::settings::Extension;
use crate::logline::AddressText;

/// How the search for a name of the client ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NameStatus {
    /// There is one.
    Known,
    /// There is one, but it does not lead back to the client's address.
    Forged,
    /// There is none.
    #[default]
    Unknown,
    /// The DNS could not be asked: there may be one.
    Unavailable,
}

/// The client of a session.
#[derive(Debug, Clone)]
pub struct Client {
    /// The verified host name: it leads to the address and back. `None` prints as `unknown`.
    pub name: Option<String>,
    /// How `name` was found, or why not.
    pub name_status: NameStatus,
    /// The name that the address leads to, verified or not.
    pub reverse_name: Option<String>,
    /// How `reverse_name` was found, or why not.
    pub reverse_status: NameStatus,
    /// The address.
    pub address: IpAddr,
    /// The address of the connection, or the one that a proxy's header gave: XCLIENT leaves it as it is.
    pub connected_from: IpAddr,
    /// The port.
    pub port: u16,
    /// Where a proxy says that it is connected to, if one does.
    pub server: Option<SocketAddr>,
    /// Matches `mynetworks`.
    pub in_mynetworks: bool,
    /// Matches `smtpd_authorized_verp_clients`.
    pub may_ask_verp: bool,
    /// Matched `smtpd_authorized_xclient_hosts` when it connected.
    pub may_xclient: bool,
    /// Matched `smtpd_authorized_xforward_hosts` when it connected: EHLO shows it XFORWARD, after XCLIENT too.
    pub may_xforward: bool,
    /// EHLO shows it XCLIENT: it matches `smtpd_authorized_xclient_hosts` now.
    pub is_shown_xclient: bool,
    /// Matches `smtpd_forbid_bare_newline_exclusions`: bare LF counts as a line end everywhere.
    pub bare_newline_excluded: bool,
    /// Keywords that EHLO does not show this client (`smtpd_discard_ehlo_keyword_address_maps`), instead of those that it
    /// shows nobody.
    pub discard_ehlo_keywords: Option<Vec<Extension>>,
}

impl Client {
    /// A client of which only the address is known, and which may do what anybody may.
    pub fn stranger(address: IpAddr, port: u16) -> Client {
        Client {
            name: None,
            name_status: NameStatus::Unknown,
            reverse_name: None,
            reverse_status: NameStatus::Unknown,
            address,
            connected_from: address,
            port,
            server: None,
            in_mynetworks: false,
            may_ask_verp: false,
            may_xclient: false,
            may_xforward: false,
            is_shown_xclient: false,
            bare_newline_excluded: false,
            discard_ehlo_keywords: None,
        }
    }

    /// With this name, verified.
    #[must_use]
    pub fn named(mut self, name: &str) -> Client {
        self.name = Some(name.to_owned());
        self.name_status = NameStatus::Known;
        self.reverse_name = Some(name.to_owned());
        self.reverse_status = NameStatus::Known;
        self
    }

    /// `name[address]`, with `:port` if wanted.
    pub fn text(&self, with_port: bool) -> String {
        let name = self.name_or_unknown();
        let address = AddressText::new(self.address);
        // XCLIENT may take the address away; it is then unspecified.
        let address = if self.address.is_unspecified() { "unknown" } else { address.as_str() };
        let mut text = String::with_capacity(name.len() + address.len() + 8);
        for part in [name, "[", address, "]"] {
            text.push_str(part);
        }
        if with_port {
            text.push(':');
            text.push_str(itoa::Buffer::new().format(self.port));
        }
        text
    }

    /// The verified name, or `unknown`.
    pub fn name_or_unknown(&self) -> &str {
        self.name.as_deref().unwrap_or("unknown")
    }

    /// The unverified name, or `unknown`.
    pub fn reverse_name_or_unknown(&self) -> &str {
        self.reverse_name.as_deref().unwrap_or("unknown")
    }
}
