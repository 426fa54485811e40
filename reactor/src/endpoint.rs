//! Where a stream socket lives: an Internet address or a path, and what to ask for when listening or connecting.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

/// The address of a stream socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// TCP over IPv4 or IPv6.
    Inet(SocketAddr),
    /// A Unix stream socket; the path is empty for an unnamed peer.
    Unix(PathBuf),
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Endpoint::Inet(address)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Inet(address) => address.fmt(f),
            Endpoint::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What [`Handle::listen`](crate::Handle::listen) asks of the listening socket.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// Share the port with the other shards' listeners (`SO_REUSEPORT`; TCP only).
    pub reuse_port: bool,
    /// Connections that the kernel holds for us until they are accepted (bounded by `net.core.somaxconn`).
    pub backlog: u32,
    /// Turn on TCP keepalive for accepted connections, with the kernel's intervals.
    pub keepalive: bool,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self { reuse_port: true, backlog: 1024, keepalive: false }
    }
}

/// What [`Handle::connect`](crate::Handle::connect) asks of the new connection.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// Local address to connect from; port 0 lets the kernel choose one. TCP only.
    pub bind: Option<SocketAddr>,
    /// How long the handshake may take.
    pub timeout: Duration,
    /// Turn on TCP keepalive, with the kernel's intervals.
    pub keepalive: bool,
}

impl Default for ConnectOptions {
    /// No bind address, 30 s (Postfix's `smtp_connect_timeout`), no keepalive.
    fn default() -> Self {
        Self { bind: None, timeout: Duration::from_secs(30), keepalive: false }
    }
}
