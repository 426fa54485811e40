//! What a client may do, and what it is told when it does more.

use core::fmt;
use std::net::IpAddr;

use super::{ClientCounts, ClientEvent};
use crate::reply::Reply;

/// The limits of one service; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientLimits {
    /// `smtpd_client_connection_count_limit`: sessions at a time.
    pub connection_count: u32,
    /// `smtpd_client_connection_rate_limit`, in a unit of time like all that follow.
    pub connection_rate: u32,
    /// `smtpd_client_message_rate_limit`.
    pub message_rate: u32,
    /// `smtpd_client_recipient_rate_limit`.
    pub recipient_rate: u32,
    /// `smtpd_client_new_tls_session_rate_limit`.
    pub new_tls_rate: u32,
    /// `smtpd_client_auth_rate_limit`.
    pub auth_rate: u32,
}

impl ClientLimits {
    /// Whether anything is limited. Where nothing is, nothing is counted.
    pub fn any(&self) -> bool {
        *self != ClientLimits::default()
    }

    /// Whether the counts decide about `event`, so that a session must wait for them.
    pub fn decide(&self, event: ClientEvent) -> bool {
        self.rate(event) > 0 || (event == ClientEvent::Connection && self.connection_count > 0)
    }

    /// Whether a client with these counts, `event` included, has gone too far.
    pub fn exceeded(&self, event: ClientEvent, counts: &ClientCounts) -> Option<Exceeded> {
        let beyond = |limit: u32, count: u32| limit > 0 && count > limit;
        if event == ClientEvent::Connection && beyond(self.connection_count, counts.open) {
            return Some(Exceeded { what: Limit::ConnectionCount, count: counts.open });
        }
        let count = counts.rates.of(event);
        beyond(self.rate(event), count).then_some(Exceeded { what: Limit::Rate(event), count })
    }

    fn rate(&self, event: ClientEvent) -> u32 {
        match event {
            ClientEvent::Connection => self.connection_rate,
            ClientEvent::Message => self.message_rate,
            ClientEvent::Recipient => self.recipient_rate,
            ClientEvent::NewTls => self.new_tls_rate,
            ClientEvent::Auth => self.auth_rate,
        }
    }
}

/// A client that went beyond a limit. Its `Display` is the beginning of the warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    what: Limit,
    count: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    ConnectionCount,
    Rate(ClientEvent),
}

impl Exceeded {
    /// What the client is told.
    pub fn reply(&self, myhostname: &str, address: IpAddr) -> Reply {
        let (code, enhanced, text) = match self.what {
            Limit::ConnectionCount | Limit::Rate(ClientEvent::Connection) => {
                let text = format_args!("{myhostname} Error: too many connections from {address}");
                return Reply::new(421, "4.7.0", text);
            }
            Limit::Rate(ClientEvent::Message) => (450, "4.7.1", "too much mail"),
            Limit::Rate(ClientEvent::Recipient) => (450, "4.7.1", "too many recipients"),
            Limit::Rate(ClientEvent::NewTls) => (454, "4.7.0", "too many new TLS sessions"),
            Limit::Rate(ClientEvent::Auth) => (450, "4.7.1", "too many AUTH commands"),
        };
        Reply::new(code, enhanced, format_args!("Error: {text} from {address}"))
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            Limit::ConnectionCount => "Connection concurrency",
            Limit::Rate(ClientEvent::Connection) => "Connection rate",
            Limit::Rate(ClientEvent::Message) => "Message delivery request rate",
            Limit::Rate(ClientEvent::Recipient) => "Recipient address rate",
            Limit::Rate(ClientEvent::NewTls) => "New TLS session rate",
            Limit::Rate(ClientEvent::Auth) => "AUTH command rate",
        };
        write!(f, "{what} limit exceeded: {}", self.count)
    }
}
