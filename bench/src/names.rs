//! The DNS of a measurement with many destinations: domain number N of a kind has one server, itself, at an address that
//! follows from N, so that a relay finds thousands of destinations with nothing kept for them here.
//!
//! Receives: queries by UDP. Sends: answers with a long life, so that a relay's cache asks once for each.
//! Limits: A and MX of `dN.alive.test` and `dN.dead.test`; everything else does not exist.
//! Standards: RFC 1035 section 4.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::load::{Load, Work};

/// How long the relay may keep an answer: longer than a measurement.
const LIFE_S: u32 = 3600;

/// How soon the thread notices that it is to stop.
const STOP_CHECK: Duration = Duration::from_millis(100);

/// Addresses of one second-to-last byte.
const HOSTS: u32 = 250;

const A: u16 = 1;
const MX: u16 = 15;

/// Recipient domains whose servers listen, for the source's template.
pub const ALIVE: &str = "alive.test";
/// Recipient domains whose servers do not.
pub const DEAD: &str = "dead.test";

/// The server of the domain with that number.
pub fn address(number: u32, alive: bool) -> Ipv4Addr {
    let [_, _, _, page] = (number / HOSTS).to_be_bytes();
    let [_, _, _, host] = (number % HOSTS + 1).to_be_bytes();
    Ipv4Addr::new(127, if alive { 8 } else { 9 }, page, host)
}

/// The source that does this work for the first `domains` destinations of a kind ([`ALIVE`] or [`DEAD`]).
pub fn source(load: &Load, work: Work, listen: u16, domains: u32, kind: &str) -> Command {
    let mut command = load.source_command(work, listen);
    command.args(["--domains", &domains.to_string()]);
    command.args(["--recipient-template", &format!("r{{n}}@d{{d}}.{kind}")]);
    command
}

/// The source that does this work for one living destination.
pub fn source_to(load: &Load, work: Work, listen: u16, number: u32) -> Command {
    let mut command = load.source_command(work, listen);
    command.args(["--domains", "1", "--recipient-template", &format!("r{{n}}@d{number}.{ALIVE}")]);
    command
}

/// A running DNS server; stops when dropped.
pub struct Names {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Names {
    /// Answers on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When there is none.
    pub fn start() -> io::Result<Names> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_read_timeout(Some(STOP_CHECK))?;
        let (address, stop) = (socket.local_addr()?, Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut query = [0; 512];
            // Relaxed: nothing else is told by the flag.
            while !stopped.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut query) else { continue };
                if let Some(response) = respond(&query[..length]) {
                    // A lost datagram is asked for again.
                    let _ = socket.send_to(&response, from);
                }
            }
        });
        Ok(Names { address, stop, thread: Some(thread) })
    }

    /// The `main.cf` lines by which a relay asks this server for all destinations and finds them on that port.
    pub fn main_cf(&self, port: u16) -> Vec<String> {
        vec![
            "relayhost =".to_owned(),
            format!("smtp_tcp_port = {port}"),
            format!("ringpost_dns_servers = {}", self.address),
        ]
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It can only have ended by a panic, which it has told by itself.
            let _ = thread.join();
        }
    }
}

/// The answer to a query; none to what is no query.
fn respond(query: &[u8]) -> Option<Vec<u8>> {
    const HEADER_BYTES: usize = 12;
    let mut labels = Vec::new();
    let mut at = HEADER_BYTES;
    loop {
        let length = usize::from(*query.get(at)?);
        labels.push(query.get(at + 1..at + 1 + length)?.to_ascii_lowercase());
        at += 1 + length;
        if length == 0 {
            break;
        }
    }
    let question = query.get(HEADER_BYTES..at + 4)?;
    let kind = u16::from_be_bytes([question[question.len() - 4], question[question.len() - 3]]);
    let data = known(&labels).and_then(|address| match kind {
        A => Some(address.octets().to_vec()),
        // Preference 0; the name of the question, at offset 12.
        MX => Some(vec![0, 0, 0xc0, 12]),
        _ => None,
    });
    let code = if known(&labels).is_some() { 0 } else { 3 };
    let mut response = query[..2].to_vec();
    // Response, recursion desired and available; one question, at most one answer.
    response.extend([0x81, 0x80 | code, 0, 1, 0, u8::from(data.is_some()), 0, 0, 0, 0]);
    response.extend(question);
    if let Some(data) = data {
        response.extend([0xc0, 12]);
        response.extend(kind.to_be_bytes());
        response.extend([0, 1]);
        response.extend(LIFE_S.to_be_bytes());
        response.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
        response.extend(data);
    }
    Some(response)
}

/// The address of `dN.alive.test` or `dN.dead.test`, given by labels with the root's empty one.
fn known(labels: &[Vec<u8>]) -> Option<Ipv4Addr> {
    let [first, kind, top, root] = labels else { return None };
    let alive = match &kind[..] {
        b"alive" => true,
        b"dead" => false,
        _ => return None,
    };
    let number = std::str::from_utf8(first.strip_prefix(b"d")?).ok()?.parse().ok()?;
    (top == b"test" && root.is_empty()).then(|| address(number, alive))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_its_own_server_and_others_do_not_exist() {
        let query = |name: &[u8], kind: u8| {
            respond(&[&[7, 8, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0], name, &[0, 0, kind, 0, 1]].concat())
                .expect("an answer")
        };
        let name = b"\x04d251\x04dead\x04test";
        assert!(query(name, 1).ends_with(&[0, 4, 127, 9, 1, 2]));
        assert!(query(name, 15).ends_with(&[0, 4, 0, 0, 0xc0, 12]));
        assert_eq!(query(b"\x02d0\x05other\x04test", 1)[3], 0x83);
        assert!(respond(b"short").is_none());
    }
}
