//! A DNS server that answers the way a test wants, by UDP and TCP on one loopback port. Written by hand from RFC 1035,
//! so that it shares no code with the resolver under test.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::address::unique_loopback;

/// The port that scripted DNS servers listen on.
const DNS_PORT: u16 = 2653;

/// Record types, with their numbers on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// IPv4 addresses.
    A = 1,
    /// Name servers.
    Ns = 2,
    /// The names of addresses.
    Ptr = 12,
    /// Mail exchangers.
    Mx = 15,
    /// Texts.
    Txt = 16,
}

/// What the server does about one question.
#[derive(Clone, Debug)]
pub enum DnsAnswer {
    /// MX records: preference and host.
    Exchangers(Vec<(u16, String)>),
    /// A records.
    Addresses(Vec<Ipv4Addr>),
    /// NS or PTR records.
    Names(Vec<String>),
    /// TXT records, each of one string.
    Texts(Vec<String>),
    /// SERVFAIL.
    Failure,
    /// Not a word.
    Silence,
    /// Bytes that are no DNS message, behind the id.
    Garbage,
    /// Truncated by UDP, this by TCP.
    ByTcpOnly(Box<DnsAnswer>),
}

/// Names and what is known of them. A name that nothing is known of does not exist (NXDOMAIN).
#[derive(Clone, Debug, Default)]
pub struct Zone {
    answers: HashMap<(String, u16), DnsAnswer>,
}

impl Zone {
    /// Exchangers of a domain, with their preferences.
    #[must_use]
    pub fn mx(self, name: &str, exchangers: &[(u16, &str)]) -> Zone {
        let records = exchangers.iter().map(|(preference, host)| (*preference, (*host).to_owned()));
        self.answer(name, Kind::Mx, DnsAnswer::Exchangers(records.collect()))
    }

    /// The address of a host.
    #[must_use]
    pub fn a(self, name: &str, address: Ipv4Addr) -> Zone {
        self.answer(name, Kind::A, DnsAnswer::Addresses(vec![address]))
    }

    /// Any answer.
    #[must_use]
    pub fn answer(mut self, name: &str, kind: Kind, answer: DnsAnswer) -> Zone {
        self.answers.insert((name.to_owned(), kind as u16), answer);
        self
    }
}

#[derive(Debug)]
struct Shared {
    zone: Zone,
    asked: Mutex<Vec<(String, u16)>>,
    stopping: AtomicBool,
}

/// A running server; stops when dropped.
#[derive(Debug)]
pub struct DnsServer {
    shared: Arc<Shared>,
    address: SocketAddrV4,
}

impl DnsServer {
    /// Answers from `zone` on a loopback address of its own.
    pub fn start(zone: Zone) -> DnsServer {
        DnsServer::start_on(SocketAddrV4::new(unique_loopback(), DNS_PORT), zone)
    }

    /// Answers from `zone` at `address`.
    ///
    /// # Panics
    /// When something else listens there, or the port is not this user's to take.
    pub fn start_on(address: SocketAddrV4, zone: Zone) -> DnsServer {
        let udp = UdpSocket::bind(address).unwrap_or_else(|error| panic!("no DNS on {address}: {error}"));
        let tcp = TcpListener::bind(address).unwrap_or_else(|error| panic!("no DNS on {address}: {error}"));
        // Only so that the thread looks now and then whether it shall stop.
        udp.set_read_timeout(Some(Duration::from_millis(100))).expect("a socket takes a timeout");
        let shared = Arc::new(Shared { zone, asked: Mutex::default(), stopping: AtomicBool::new(false) });
        let for_udp = Arc::clone(&shared);
        thread::spawn(move || answer_datagrams(&udp, &for_udp));
        let for_tcp = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in tcp.incoming().flatten() {
                if for_tcp.stopping.load(Ordering::Acquire) {
                    return;
                }
                // A resolver that hangs up early has had what it wanted.
                let _ = answer_stream(stream, &for_tcp);
            }
        });
        DnsServer { shared, address }
    }

    /// Where it listens, as `ringpost_dns_servers` wants it.
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// How often it was asked this.
    pub fn asked(&self, name: &str, kind: Kind) -> usize {
        let asked = self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().filter(|(known, number)| known == name && *number == kind as u16).count()
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        // Release pairs with the threads' Acquire.
        self.shared.stopping.store(true, Ordering::Release);
        // The acceptor sleeps in accept(): a connection wakes it.
        let _ = TcpStream::connect(self.address);
    }
}

fn answer_datagrams(socket: &UdpSocket, shared: &Shared) {
    let mut buffer = [0; 4096];
    while !shared.stopping.load(Ordering::Acquire) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        if let Some(response) = respond(&buffer[..length], shared, false) {
            send_to(socket, &response, from);
        }
    }
}

fn send_to(socket: &UdpSocket, response: &[u8], to: SocketAddr) {
    socket.send_to(response, to).expect("loopback takes a datagram");
}

fn answer_stream(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut query)?;
    if let Some(response) = respond(&query, shared, true) {
        let length = u16::try_from(response.len()).expect("a test's answer is short");
        stream.write_all(&length.to_be_bytes())?;
        stream.write_all(&response)?;
    }
    Ok(())
}

/// The response to a query; none when the zone says so, or for what is no query.
fn respond(query: &[u8], shared: &Shared, by_tcp: bool) -> Option<Vec<u8>> {
    let (name, name_end) = read_name(query, 12)?;
    let kind = u16::from_be_bytes([*query.get(name_end)?, *query.get(name_end + 1)?]);
    let question = &query[12..name_end + 4];
    shared.asked.lock().unwrap_or_else(PoisonError::into_inner).push((name.clone(), kind));
    let known = shared.zone.answers.keys().any(|(known, _)| *known == name);
    let mut answer = shared.zone.answers.get(&(name, kind));
    let mut truncated = false;
    if let Some(DnsAnswer::ByTcpOnly(inner)) = answer {
        truncated = !by_tcp;
        answer = by_tcp.then_some(inner);
    }
    // RFC 1035 section 4.1.1: 0 is no error, 2 a failure of the server, 3 a name that does not exist.
    let (code, records) = match answer {
        Some(DnsAnswer::Silence) => return None,
        Some(DnsAnswer::Garbage) => {
            return Some([&query[..2], b"this is no DNS message at all"].concat());
        }
        Some(DnsAnswer::Failure) => (2, Vec::new()),
        Some(DnsAnswer::Exchangers(records)) => (0, records.iter().map(mx_data).collect()),
        Some(DnsAnswer::Addresses(records)) => {
            (0, records.iter().map(|address| address.octets().to_vec()).collect())
        }
        Some(DnsAnswer::Names(names)) => (0, names.iter().map(|name| name_data(name)).collect()),
        Some(DnsAnswer::Texts(texts)) => (0, texts.iter().map(|text| text_data(text)).collect()),
        Some(DnsAnswer::ByTcpOnly(_)) => unreachable!("unpacked above, and not nested"),
        None if known => (0, Vec::new()),
        None => (3, Vec::new()),
    };
    let count = u16::try_from(records.len()).expect("a test's answer is short");
    let mut response = query[..2].to_vec();
    // Response, recursion desired and available; TC when the whole answer needs TCP.
    response.extend([0x81 | if truncated { 2 } else { 0 }, 0x80 | code]);
    response.extend([0, 1]);
    response.extend(count.to_be_bytes());
    response.extend([0, 0, 0, 0]);
    response.extend(question);
    for data in records {
        // The owner is the name of the question, at offset 12; class IN; a TTL of 60 seconds.
        response.extend([0xc0, 12]);
        response.extend(kind.to_be_bytes());
        response.extend([0, 1, 0, 0, 0, 60]);
        response.extend(u16::try_from(data.len()).expect("a name is short").to_be_bytes());
        response.extend(data);
    }
    Some(response)
}

fn mx_data((preference, host): &(u16, String)) -> Vec<u8> {
    [preference.to_be_bytes().to_vec(), name_data(host)].concat()
}

fn text_data(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).expect("a test's text is short")], text.as_bytes()].concat()
}

fn name_data(host: &str) -> Vec<u8> {
    let mut data = Vec::new();
    for label in host.split('.').filter(|label| !label.is_empty()) {
        data.push(u8::try_from(label.len()).expect("a label is short"));
        data.extend(label.as_bytes());
    }
    data.push(0);
    data
}

/// The name at `at`, in lower case, and the place behind it.
fn read_name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        let label = message.get(at + 1..at + 1 + length)?;
        at += 1 + length;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_read_and_answered() {
        let zone = Zone::default().mx("a.test", &[(10, "mx.a.test")]).answer(
            "big.test",
            Kind::A,
            DnsAnswer::ByTcpOnly(Box::new(DnsAnswer::Addresses(vec![Ipv4Addr::LOCALHOST]))),
        );
        let shared = Shared { zone, asked: Mutex::default(), stopping: AtomicBool::new(false) };
        let query = |name: &[u8], kind: u8| {
            [&[7, 8, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0], name, &[0, 0, kind, 0, 1]].concat()
        };
        let response = respond(&query(b"\x01a\x04test", 15), &shared, false).expect("an answer");
        assert_eq!(response[..8], [7, 8, 0x81, 0x80, 0, 1, 0, 1]);
        assert!(response.ends_with(b"\x02mx\x01a\x04test\0"));
        assert_eq!(respond(&query(b"\x01b\x04test", 1), &shared, false).expect("an answer")[3], 0x83);
        assert_eq!(respond(&query(b"\x01a\x04test", 1), &shared, false).expect("an answer")[3], 0x80);
        let cut = respond(&query(b"\x03big\x04test", 1), &shared, false).expect("an answer");
        assert_eq!((cut[2], cut[7]), (0x83, 0));
        let whole = respond(&query(b"\x03big\x04test", 1), &shared, true).expect("an answer");
        assert_eq!((whole[2], whole[7]), (0x81, 1));
        assert!(respond(b"short", &shared, false).is_none());
    }
}
