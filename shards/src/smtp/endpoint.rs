//! endpoint: the far end of a connection, by which another destination may find it: two domains with the same server
//! share its connections (scache's second key; the first is the destination).
//!
//! Owns: nothing.

use std::net::SocketAddr;

use ringpost_core::smtp::TlsPolicy;

use super::route::Server;
use crate::settings::Settings;

/// A server as one transport reaches it. What is equal here may take the same connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerEndpoint {
    transport: Box<str>,
    address: SocketAddr,
    label: Label,
}

/// What a connection was made for beside its address: it is never used for anything else. Whatever is agreed upon
/// when a session begins (its TLS level, who has logged in) belongs here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Label {
    /// `smtp_bind_address`, `smtp_bind_address6`.
    bind: Option<SocketAddr>,
    /// How it is encrypted.
    tls: TlsPolicy,
    /// The server's name, where the certificate had to bear it.
    host: Option<String>,
}

impl ServerEndpoint {
    /// Where a connection of this transport to this server goes.
    pub fn of(settings: &Settings, transport: &str, server: &Server, tls: &TlsPolicy) -> ServerEndpoint {
        let label = Label {
            bind: settings.smtp.bind_address(server.address),
            tls: tls.clone(),
            host: tls.level.checks_certificate().then(|| server.host.clone()),
        };
        ServerEndpoint { transport: transport.into(), address: server.address, label }
    }

    /// The local address that it leaves from.
    pub fn bind(&self) -> Option<SocketAddr> {
        self.label.bind
    }

    /// How it is encrypted.
    pub fn tls(&self) -> &TlsPolicy {
        &self.label.tls
    }

    #[cfg(test)]
    pub fn for_test(transport: &str, address: &str, bind: Option<&str>) -> ServerEndpoint {
        let parse = |text: &str| text.parse().expect("a test writes addresses well");
        ServerEndpoint {
            transport: transport.into(),
            address: parse(address),
            label: Label { bind: bind.map(parse), tls: TlsPolicy::none(), host: None },
        }
    }
}
