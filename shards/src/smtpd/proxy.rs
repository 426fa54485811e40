//! The header by which a proxy names the client (`smtpd_upstream_proxy_protocol`).

use std::net::SocketAddr;

use ringpost_core::proxy_protocol::{self, Parsed};
use ringpost_reactor::Stream;

/// The client that the proxy names, and what came behind its header.
pub async fn proxied(stream: &Stream) -> Result<(Option<SocketAddr>, Vec<u8>), &'static str> {
    let mut bytes = Vec::new();
    loop {
        let chunk = stream.recv().await.map_err(|_| "lost connection")?;
        if chunk.is_empty() {
            return Err("EOF");
        }
        bytes.extend_from_slice(&chunk);
        match proxy_protocol::parse(&bytes) {
            Parsed::NeedMore => {}
            Parsed::Header { bytes: taken, client } => return Ok((client, bytes.split_off(taken))),
            Parsed::Wrong(reason) => return Err(reason),
        }
    }
}
