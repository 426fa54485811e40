//! Ports of 127.0.0.1 for one measurement each.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A port that nobody listens on now, outside the range of outgoing connections, so that nobody is given it before
/// its server asks for it. Never the same twice in a row: a listener may linger.
///
/// # Errors
/// When none is free.
pub fn free_port() -> io::Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let low: u16 = range.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(32_768);
    let (first, count) = (10_000, u32::from(low.max(11_000)) - 10_000);
    // A different place to begin for each process and call. Relaxed: only that two calls differ matters.
    let begin = std::process::id().wrapping_mul(7919).wrapping_add(NEXT.fetch_add(1, Relaxed) * 101);
    for step in 0..count {
        let offset = begin.wrapping_add(step) % count;
        let port = u16::try_from(first + offset).unwrap_or(first as u16);
        if TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::Error::other("no port of 127.0.0.1 is free"))
}
