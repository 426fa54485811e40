//! Configurations for the client's side.

use std::path::Path;
use std::sync::Arc;
use std::{fmt, io};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme, SupportedProtocolVersion};

/// Servers whose sessions are remembered, over all shards.
const SESSIONS_MAX: usize = 4096;

/// Which versions of TLS are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Protocols {
    /// TLSv1.2.
    pub tls12: bool,
    /// TLSv1.3.
    pub tls13: bool,
}

/// Our certificate, for servers that ask.
#[derive(Debug)]
pub struct ClientIdentity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl ClientIdentity {
    /// Reads a chain and a key, which may be one file, in PEM form.
    ///
    /// # Errors
    /// The files cannot be read or lack what they must have.
    pub fn read(chain: &Path, key: &Path) -> io::Result<ClientIdentity> {
        let unreadable = |error: pem::Error| match error {
            pem::Error::Io(error) => error,
            other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
        };
        let certificates = CertificateDer::pem_file_iter(chain).map_err(unreadable)?;
        let chain = certificates.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(unreadable)?;
        Ok(ClientIdentity { chain, key })
    }
}

/// A configuration cannot be made.
#[derive(Debug)]
pub struct SetupError(String);

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A configuration for connections to servers, shared by all shards.
pub type ClientTls = Arc<ClientConfig>;

/// A configuration with these versions. Every certificate is accepted in the handshake, as long as the server has its
/// key: what it is worth is decided afterwards.
///
/// # Errors
/// No version is left, or the identity's key is of no use.
pub fn client(protocols: Protocols, identity: Option<&ClientIdentity>) -> Result<ClientTls, SetupError> {
    let provider = Arc::new(ring::default_provider());
    let mut versions: Vec<&'static SupportedProtocolVersion> = Vec::new();
    if protocols.tls13 {
        versions.push(&TLS13);
    }
    if protocols.tls12 {
        versions.push(&TLS12);
    }
    let wrong = |error: Error| SetupError(error.to_string());
    let verifier = Arc::new(AnyCertificate(provider.signature_verification_algorithms));
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(wrong)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            builder.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key()).map_err(wrong)?
        }
    };
    config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
    Ok(Arc::new(config))
}

/// Accepts every certificate whose key the server has.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _own: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
