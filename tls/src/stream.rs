//! One encrypted connection: rustls decides about records, the reactor's stream carries them.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use ringpost_reactor::{Handle, PassedStream, Stream};
use rustls::ClientConfig;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};

use crate::certificate::Certificates;

/// Bytes of records that are not whole yet; a record has at most 16 KiB and some overhead.
const INCOMING_BYTES_MAX: usize = 64 << 10;

/// Bytes by which the outgoing buffer grows beyond what is asked for: a record's overhead, some times.
const ROOM_BYTES: usize = 512;

/// An encrypted stream. One task may receive while another sends.
pub struct SecureStream {
    stream: Stream,
    tls: RefCell<Tls>,
}

/// An encrypted stream on its way to another shard, keys and all. Dropping it closes the connection.
pub struct PassedSecureStream {
    stream: PassedStream,
    tls: Tls,
}

/// What was agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// `TLSv1.3`, `TLSv1.2`.
    pub protocol: &'static str,
    /// The cipher's name in OpenSSL's words.
    pub cipher: String,
    /// Bits of the cipher's key.
    pub bits: u16,
}

/// Why there is no encrypted stream.
#[derive(Debug)]
pub enum HandshakeError {
    /// The connection broke, or the peer closed it.
    Lost(io::Error),
    /// The two do not agree, in words for the log.
    Failed(String),
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandshakeError::Lost(error) => write!(f, "lost connection: {error}"),
            HandshakeError::Failed(text) => f.write_str(text),
        }
    }
}

struct Tls {
    connection: UnbufferedClientConnection,
    /// Records of the peer that have not been dealt with.
    incoming: Vec<u8>,
    /// Records for the peer.
    outgoing: Vec<u8>,
    /// What the peer said and nobody has read.
    plain: Vec<u8>,
    peer_closed: bool,
}

/// Where the connection stands once all that has come is dealt with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Handshaking,
    Open,
    Closed,
}

/// What one step of rustls came to.
enum Step {
    Again,
    Stop,
    Closed,
}

impl Tls {
    fn new(connection: UnbufferedClientConnection) -> Tls {
        Tls { connection, incoming: Vec::new(), outgoing: Vec::new(), plain: Vec::new(), peer_closed: false }
    }

    /// Deals with what has come; where the connection is open and there is something to `say`, encrypts it.
    fn advance(&mut self, mut say: &[u8]) -> Result<Standing, rustls::Error> {
        loop {
            let Tls { connection, incoming, outgoing, plain, .. } = self;
            let (discard, step) = step(connection.process_tls_records(incoming), outgoing, plain, &mut say);
            incoming.drain(..discard);
            match step? {
                Step::Again => {}
                Step::Closed => self.peer_closed = true,
                Step::Stop => break,
            }
        }
        Ok(match (self.peer_closed, self.connection.is_handshaking()) {
            (true, _) => Standing::Closed,
            (false, true) => Standing::Handshaking,
            (false, false) => Standing::Open,
        })
    }

    /// Puts the alert `close_notify` behind what is to be sent; where it cannot be, the end of the connection says it.
    fn say_goodbye(&mut self) {
        let status = self.connection.process_tls_records(&mut []);
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state {
            put(&mut self.outgoing, |room| match traffic.queue_close_notify(room) {
                Ok(bytes) => Ok(bytes),
                Err(EncryptError::InsufficientSize(size)) => Err(Some(size.required_size)),
                Err(_) => Err(None),
            });
        }
    }

    fn take_in(&mut self, received: &[u8]) -> Result<(), rustls::Error> {
        if self.incoming.len() + received.len() > INCOMING_BYTES_MAX {
            return Err(rustls::Error::General("a record without end".into()));
        }
        self.incoming.extend_from_slice(received);
        Ok(())
    }
}

/// One step, and how many bytes of the input it has used up.
fn step(
    status: UnbufferedStatus<'_, '_, ClientConnectionData>,
    outgoing: &mut Vec<u8>,
    plain: &mut Vec<u8>,
    say: &mut &[u8],
) -> (usize, Result<Step, rustls::Error>) {
    let UnbufferedStatus { mut discard, state } = status;
    let state = match state {
        Ok(state) => state,
        Err(error) => return (discard, Err(error)),
    };
    let step = match state {
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                match record {
                    Ok(record) => {
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                    Err(error) => return (discard, Err(error)),
                }
            }
            Step::Again
        }
        ConnectionState::EncodeTlsData(mut data) => {
            let written = put(outgoing, |room| match data.encode(room) {
                Ok(bytes) => Ok(bytes),
                Err(EncodeError::InsufficientSize(size)) => Err(Some(size.required_size)),
                Err(_) => Err(None),
            });
            match written {
                Some(()) => Step::Again,
                None => return (discard, Err(rustls::Error::General("a record cannot be encoded".into()))),
            }
        }
        // It lies in `outgoing`, and leaves before anything is waited for.
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            Step::Again
        }
        ConnectionState::WriteTraffic(mut traffic) if !say.is_empty() => {
            let text = std::mem::take(say);
            outgoing.reserve(text.len() + text.len() / 64 + ROOM_BYTES);
            let written = put(outgoing, |room| match traffic.encrypt(text, room) {
                Ok(bytes) => Ok(bytes),
                Err(EncryptError::InsufficientSize(size)) => Err(Some(size.required_size)),
                Err(_) => Err(None),
            });
            match written {
                Some(()) => Step::Again,
                None => return (discard, Err(rustls::Error::EncryptError)),
            }
        }
        ConnectionState::WriteTraffic(_) | ConnectionState::BlockedHandshake => Step::Stop,
        ConnectionState::PeerClosed => Step::Closed,
        _ => Step::Stop,
    };
    (discard, Ok(step))
}

/// Lets `write` append to `outgoing`; it answers with the bytes written, or with those that it needs.
fn put(
    outgoing: &mut Vec<u8>,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>,
) -> Option<()> {
    let start = outgoing.len();
    let mut room = (outgoing.capacity() - start).max(ROOM_BYTES);
    loop {
        outgoing.resize(start + room, 0);
        match write(&mut outgoing[start..]) {
            Ok(bytes) => {
                outgoing.truncate(start + bytes);
                return Some(());
            }
            Err(Some(needed)) if needed > room => room = needed,
            Err(_) => {
                outgoing.truncate(start);
                return None;
            }
        }
    }
}

fn broken(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl SecureStream {
    /// Shakes hands as a client.
    ///
    /// # Errors
    /// Any [`HandshakeError`].
    pub async fn connect(
        stream: Stream,
        config: Arc<ClientConfig>,
        server: ServerName<'static>,
    ) -> Result<SecureStream, HandshakeError> {
        let connection = UnbufferedClientConnection::new(config, server)
            .map_err(|error| HandshakeError::Failed(error.to_string()))?;
        let mut tls = Tls::new(connection);
        loop {
            let standing = tls.advance(&[]);
            // An alert tells the peer what is wrong; that it cannot be sent changes nothing.
            let outgoing = std::mem::take(&mut tls.outgoing);
            let sent = match outgoing.is_empty() {
                true => Ok(()),
                false => stream.send(outgoing).await.0,
            };
            match standing {
                Err(error) => return Err(HandshakeError::Failed(error.to_string())),
                Ok(Standing::Open) => {
                    sent.map_err(HandshakeError::Lost)?;
                    return Ok(SecureStream { stream, tls: RefCell::new(tls) });
                }
                Ok(Standing::Closed) => {
                    return Err(HandshakeError::Lost(io::ErrorKind::UnexpectedEof.into()));
                }
                Ok(Standing::Handshaking) => sent.map_err(HandshakeError::Lost)?,
            }
            let chunk = stream.recv().await.map_err(HandshakeError::Lost)?;
            if chunk.is_empty() {
                return Err(HandshakeError::Lost(io::ErrorKind::UnexpectedEof.into()));
            }
            tls.take_in(&chunk).map_err(|error| HandshakeError::Failed(error.to_string()))?;
        }
    }

    /// What the peer says next; empty when it has ended the connection and said so.
    ///
    /// # Errors
    /// Those of the stream; `UnexpectedEof` where the connection ends without a word; `InvalidData` for what is no TLS.
    pub async fn recv(&self) -> io::Result<Vec<u8>> {
        loop {
            {
                let mut tls = self.tls.borrow_mut();
                let standing = tls.advance(&[]).map_err(broken)?;
                if !tls.plain.is_empty() {
                    return Ok(std::mem::take(&mut tls.plain));
                }
                if standing == Standing::Closed {
                    return Ok(Vec::new());
                }
            }
            let chunk = self.stream.recv().await?;
            if chunk.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.tls.borrow_mut().take_in(&chunk).map_err(broken)?;
        }
    }

    /// Sends bytes, and gives their buffer back.
    ///
    /// # Errors
    /// Those of the stream.
    pub async fn send(&self, bytes: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        let sent = self.send_bytes(&bytes).await;
        (sent, bytes)
    }

    /// Sends pieces.
    ///
    /// # Errors
    /// Those of the stream.
    pub async fn send_vectored(&self, pieces: Vec<Bytes>) -> io::Result<()> {
        match pieces.as_slice() {
            [one] => self.send_bytes(one).await,
            pieces => self.send_bytes(&pieces.concat()).await,
        }
    }

    /// Sends bytes, and says that nothing follows.
    ///
    /// # Errors
    /// Those of the stream.
    pub async fn send_last(&self, bytes: &[u8]) -> io::Result<()> {
        {
            let mut tls = self.tls.borrow_mut();
            tls.advance(bytes).map_err(broken)?;
            tls.say_goodbye();
        }
        self.send_bytes(&[]).await
    }

    async fn send_bytes(&self, bytes: &[u8]) -> io::Result<()> {
        let outgoing = {
            let mut tls = self.tls.borrow_mut();
            tls.advance(bytes).map_err(broken)?;
            std::mem::take(&mut tls.outgoing)
        };
        let (sent, mut outgoing) = self.stream.send(outgoing).await;
        let mut tls = self.tls.borrow_mut();
        if tls.outgoing.is_empty() {
            outgoing.clear();
            tls.outgoing = outgoing;
        }
        sent
    }

    /// Waits until the stream below receives no more.
    pub async fn rest(&self) {
        self.stream.rest().await;
    }

    /// Takes the stream off this thread; it has [rested](SecureStream::rest) before.
    pub fn pass(self) -> PassedSecureStream {
        PassedSecureStream { stream: self.stream.pass(), tls: self.tls.into_inner() }
    }

    /// Takes up a stream of another thread.
    pub fn adopt(handle: &Handle, passed: PassedSecureStream) -> SecureStream {
        SecureStream { stream: handle.adopt(passed.stream), tls: RefCell::new(passed.tls) }
    }

    /// What was agreed on.
    pub fn facts(&self) -> TlsFacts {
        let tls = self.tls.borrow();
        let (protocol, suite) = (tls.connection.protocol_version(), tls.connection.negotiated_cipher_suite());
        let name = suite.map_or("unknown", |suite| suite.suite().as_str().unwrap_or("unknown"));
        TlsFacts {
            protocol: match protocol {
                Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
                _ => "TLSv1.2",
            },
            cipher: openssl_name(name),
            bits: if name.contains("128") { 128 } else { 256 },
        }
    }

    /// The peer's certificates; none if it has shown none.
    pub fn certificates(&self) -> Certificates {
        let tls = self.tls.borrow();
        let shown = tls.connection.peer_certificates();
        Certificates::new(shown.unwrap_or_default().iter().map(|one| one.clone().into_owned()).collect())
    }
}

/// The name that OpenSSL, and so Postfix's log, has for a cipher suite.
fn openssl_name(suite: &str) -> String {
    if let Some(thirteen) = suite.strip_prefix("TLS13_") {
        return format!("TLS_{thirteen}");
    }
    let Some((exchange, cipher)) = suite.strip_prefix("TLS_").and_then(|rest| rest.split_once("_WITH_"))
    else {
        return suite.to_owned();
    };
    let cipher = cipher.replace("AES_128", "AES128").replace("AES_256", "AES256");
    // ChaCha20's suites have no hash in their names there.
    let cipher = cipher.strip_suffix("_SHA256").filter(|name| name.contains("POLY1305")).unwrap_or(&cipher);
    format!("{}-{}", exchange.replace('_', "-"), cipher.replace('_', "-"))
}

impl fmt::Debug for SecureStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecureStream").finish_non_exhaustive()
    }
}

impl fmt::Debug for PassedSecureStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PassedSecureStream").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::openssl_name;

    #[test]
    fn ciphers_have_openssls_names() {
        assert_eq!(openssl_name("TLS13_AES_256_GCM_SHA384"), "TLS_AES_256_GCM_SHA384");
        let old = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
        assert_eq!(openssl_name(old), "ECDHE-RSA-AES128-GCM-SHA256");
        let chacha = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256";
        assert_eq!(openssl_name(chacha), "ECDHE-ECDSA-CHACHA20-POLY1305");
    }
}
