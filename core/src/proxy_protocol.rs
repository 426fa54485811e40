//! proxy_protocol: the line or header by which a proxy tells whom it connects (haproxy's PROXY protocol, versions 1 and 2).
//!
//! Receives: the first bytes of a connection, as many as have come. Sends: the client, or that there is none to tell
//! (the proxy's own health check). Limits: [`HEADER_BYTES_MAX`]. On failure: the connection is of no use, since nobody
//! knows who is there. Standards: the PROXY protocol, versions 1 and 2.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes of a header of version 2 that are read, additional fields included; version 1 has at most 107.
pub const HEADER_BYTES_MAX: usize = 4096;

const LINE_BYTES_MAX: usize = 107;
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What the first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// More bytes are needed.
    NeedMore,
    /// A header of this many bytes; without a client the connection is the proxy's own.
    Header {
        /// Bytes of the header.
        bytes: usize,
        /// Where the client is.
        client: Option<SocketAddr>,
    },
    /// No header; what is wrong.
    Wrong(&'static str),
}

/// Reads the header at the beginning of `bytes`.
pub fn parse(bytes: &[u8]) -> Parsed {
    let begun = bytes.len().min(SIGNATURE.len());
    if bytes[..begun] == SIGNATURE[..begun] {
        return if begun < SIGNATURE.len() { Parsed::NeedMore } else { parse_binary(bytes) };
    }
    let begun = bytes.len().min(6);
    if bytes[..begun] != b"PROXY "[..begun] {
        return Parsed::Wrong("bad or missing protocol header");
    }
    let Some(end) = memchr::memchr(b'\n', bytes) else {
        return match bytes.len() < LINE_BYTES_MAX {
            true => Parsed::NeedMore,
            false => Parsed::Wrong("missing protocol header terminator"),
        };
    };
    let line = bytes[..end].strip_suffix(b"\r").filter(|_| end < LINE_BYTES_MAX);
    match line.and_then(|line| core::str::from_utf8(line).ok()).and_then(parse_line) {
        Some(client) => Parsed::Header { bytes: end + 1, client },
        None => Parsed::Wrong("bad protocol header"),
    }
}

/// `PROXY TCP4 source destination source-port destination-port`; `PROXY UNKNOWN` names nobody.
fn parse_line(line: &str) -> Option<Option<SocketAddr>> {
    let mut words = line.split(' ');
    words.next()?;
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(None);
    }
    let (source, destination) = (words.next()?, words.next()?);
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(Into::into),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(Into::into),
            _ => None,
        }
    };
    let (source, _) = (address(source)?, address(destination)?);
    let port =
        |text: &str| text.parse::<u16>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    let (source_port, _) = (port(words.next()?)?, port(words.next()?)?);
    words.next().is_none().then_some(Some(SocketAddr::new(source, source_port)))
}

/// Signature, version and command, family and protocol, length; then addresses and ports, and fields that are passed by.
fn parse_binary(bytes: &[u8]) -> Parsed {
    let Some(&[version, family, high, low]) = bytes.get(12..16) else { return Parsed::NeedMore };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let end = 16 + length;
    if version >> 4 != 2 {
        return Parsed::Wrong("unrecognized protocol header");
    }
    if end > HEADER_BYTES_MAX {
        return Parsed::Wrong("the protocol header is too long");
    }
    let Some(addresses) = bytes.get(16..end) else { return Parsed::NeedMore };
    let client = match (version & 15, family) {
        // The proxy's own connection.
        (0, _) => None,
        (1, 0x11) => match addresses.first_chunk::<12>() {
            Some(&[a, b, c, d, _, _, _, _, high, low, _, _]) => {
                Some(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low])))
            }
            None => return Parsed::Wrong("short version 2 protocol header"),
        },
        (1, 0x21) => match (addresses.first_chunk::<16>(), addresses.get(32..36)) {
            (Some(source), Some(&[high, low, _, _])) => {
                Some(SocketAddr::new(Ipv6Addr::from(*source).into(), u16::from_be_bytes([high, low])))
            }
            _ => return Parsed::Wrong("short version 2 protocol header"),
        },
        (1, _) => return Parsed::Wrong("the protocol header is not about TCP"),
        _ => return Parsed::Wrong("bad command in proxy header"),
    };
    Parsed::Header { bytes: end, client }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn client(bytes: &[u8]) -> Option<String> {
        match parse(bytes) {
            Parsed::Header { bytes: taken, client } => {
                assert!(taken <= bytes.len());
                Some(client.map_or("none".into(), |client| client.to_string()))
            }
            Parsed::NeedMore | Parsed::Wrong(_) => None,
        }
    }

    fn binary(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[0x20 | command, family], &length, addresses].concat()
    }

    #[test]
    fn version_one_is_a_line() {
        let line = b"PROXY TCP4 192.0.2.9 198.51.100.1 56324 25\r\nEHLO";
        assert_eq!(
            parse(line),
            Parsed::Header { bytes: 44, client: Some("192.0.2.9:56324".parse().unwrap()) }
        );
        assert_eq!(
            client(b"PROXY TCP6 2001:db8::9 2001:db8::1 1 25\r\n").as_deref(),
            Some("[2001:db8::9]:1")
        );
        assert_eq!(client(b"PROXY UNKNOWN\r\n").as_deref(), Some("none"));
        assert_eq!(client(b"PROXY UNKNOWN whatever it says\r\n").as_deref(), Some("none"));
        for cut in 0..43 {
            assert_eq!(parse(&line[..cut]), Parsed::NeedMore, "{cut}");
        }
        for wrong in [
            "EHLO x\r\n",
            "PROXY TCP4 192.0.2.9 198.51.100.1 56324\r\n",
            "PROXY TCP4 192.0.2.9 198.51.100.1 65536 25\r\n",
            "PROXY TCP4 2001:db8::9 198.51.100.1 1 25\r\n",
            "PROXY UDP4 192.0.2.9 198.51.100.1 1 25\r\n",
            "PROXY TCP4 192.0.2.9 198.51.100.1 1 25\n",
        ] {
            assert!(matches!(parse(wrong.as_bytes()), Parsed::Wrong(_)), "{wrong}");
        }
        assert!(matches!(parse(&[b"PROXY ".as_slice(), &[b'x'; 200]].concat()), Parsed::Wrong(_)));
    }

    #[test]
    fn version_two_is_binary() {
        let v4 = [192, 0, 2, 9, 198, 51, 100, 1, 0xdc, 0x04, 0, 25];
        let header = binary(1, 0x11, &v4);
        assert_eq!(client(&header).as_deref(), Some("192.0.2.9:56324"));
        for cut in 0..header.len() {
            assert_eq!(parse(&header[..cut]), Parsed::NeedMore, "{cut}");
        }
        let mut v6 = [0; 40];
        v6[..2].copy_from_slice(&[0x20, 0x01]);
        v6[15] = 9;
        v6[33] = 7;
        assert_eq!(client(&binary(1, 0x21, &v6)).as_deref(), Some("[2001::9]:7"));
        assert_eq!(client(&binary(0, 0, &[])).as_deref(), Some("none"));
        for wrong in
            [binary(1, 0x11, &v4[..8]), binary(2, 0x11, &v4), binary(1, 0x12, &v4), binary(1, 0x31, &v6)]
        {
            assert!(matches!(parse(&wrong), Parsed::Wrong(_)), "{wrong:?}");
        }
        assert!(matches!(parse(&binary(0, 0, &[0; 5000])), Parsed::Wrong(_)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            parse(&bytes);
            parse(&[&SIGNATURE[..], &bytes].concat());
            parse(&[b"PROXY ".as_slice(), &bytes].concat());
        }
    }
}
