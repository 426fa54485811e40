//! What the certificates that a peer has shown are worth.

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fmt, fs, io, path::Path};

use ring::digest::{SHA256, SHA384, SHA512, digest};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

/// Whose signatures are trusted.
#[derive(Clone, Debug, Default)]
pub struct TrustAnchors {
    anchors: Vec<TrustAnchor<'static>>,
}

impl TrustAnchors {
    /// Reads the certificates of a PEM file (`smtp_tls_CAfile`) or of all files of a directory (`smtp_tls_CApath`).
    /// Certificates that cannot be understood vouch for nobody.
    ///
    /// # Errors
    /// The file or directory cannot be read, or has no certificate.
    pub fn read(&mut self, path: &Path) -> io::Result<()> {
        let before = self.anchors.len();
        if path.is_dir() {
            // Links that lead nowhere, and what else lies there, vouch for nobody.
            for entry in fs::read_dir(path)? {
                if let Ok(pem) = fs::read(entry?.path()) {
                    self.add(&pem);
                }
            }
        } else {
            self.add(&fs::read(path)?);
        }
        match self.anchors.len() > before {
            true => Ok(()),
            false => Err(io::Error::new(io::ErrorKind::InvalidData, "no certificate in it")),
        }
    }

    fn add(&mut self, pem: &[u8]) {
        for certificate in CertificateDer::pem_slice_iter(pem).flatten() {
            if let Ok(anchor) = anchor_from_trusted_cert(&certificate) {
                self.anchors.push(anchor.to_owned());
            }
        }
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }
}

/// Why a chain of certificates is not trusted, in words for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untrusted(pub String);

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The certificates that a peer has shown, its own first.
#[derive(Clone, Debug, Default)]
pub struct Certificates {
    chain: Vec<CertificateDer<'static>>,
}

impl Certificates {
    pub(crate) fn new(chain: Vec<CertificateDer<'static>>) -> Certificates {
        Certificates { chain }
    }

    /// Whether the peer has shown none.
    pub fn is_empty(&self) -> bool {
        self.chain.is_empty()
    }

    /// The peer's own certificate, DER.
    pub fn own(&self) -> Option<&[u8]> {
        self.chain.first().map(|certificate| certificate.as_ref())
    }

    /// The key of the peer's own certificate as SubjectPublicKeyInfo, DER.
    pub fn own_key(&self) -> Option<Vec<u8>> {
        let certificate = EndEntityCert::try_from(self.chain.first()?).ok()?;
        Some(certificate.subject_public_key_info().as_ref().to_vec())
    }

    /// Whether somebody who is trusted vouches for the peer's certificate at this time, whatever its names.
    ///
    /// # Errors
    /// Why not.
    pub fn trusted_by(&self, anchors: &TrustAnchors, now: SystemTime) -> Result<(), Untrusted> {
        let untrusted = |error: webpki::Error| Untrusted(words(&error));
        let Some((own, others)) = self.chain.split_first() else {
            return Err(Untrusted("no certificate was shown".into()));
        };
        let certificate = EndEntityCert::try_from(own).map_err(untrusted)?;
        let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let algorithms = default_provider().signature_verification_algorithms;
        certificate
            .verify_for_usage(
                algorithms.all,
                &anchors.anchors,
                others,
                UnixTime::since_unix_epoch(since),
                KeyUsage::server_auth(),
                None,
                None,
            )
            .map(|_path| ())
            .map_err(untrusted)
    }

    /// Whether the peer's certificate is for this host name (RFC 6125: wildcards in the leftmost label only).
    pub fn is_for(&self, name: &str) -> bool {
        let Some(certificate) = self.chain.first().and_then(|own| EndEntityCert::try_from(own).ok()) else {
            return false;
        };
        ServerName::try_from(name)
            .is_ok_and(|name| certificate.verify_is_valid_for_subject_name(&name).is_ok())
    }

    /// Whether the peer's certificate is for some host below this domain, which begins with a dot.
    pub fn is_for_below(&self, domain: &str) -> bool {
        let Some(certificate) = self.chain.first().and_then(|own| EndEntityCert::try_from(own).ok()) else {
            return false;
        };
        let domain = domain.to_ascii_lowercase();
        certificate.valid_dns_names().any(|name| name.to_ascii_lowercase().ends_with(&domain))
    }
}

/// The digest of a certificate or key, as `smtp_tls_fingerprint_cert_match` writes it: bytes in hexadecimal, upper case,
/// with colons. `None` for a digest that is not served (`md5` and `sha1`, which can be forged, among them).
pub fn fingerprint(algorithm: &str, der: &[u8]) -> Option<String> {
    let algorithm = match algorithm.to_ascii_lowercase().as_str() {
        "sha256" => &SHA256,
        "sha384" => &SHA384,
        "sha512" => &SHA512,
        _ => return None,
    };
    let bytes = digest(algorithm, der);
    let hexadecimal: Vec<String> = bytes.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    Some(hexadecimal.join(":"))
}

/// An error in the words of administrators.
fn words(error: &webpki::Error) -> String {
    match error {
        webpki::Error::UnknownIssuer => {
            "self-signed certificate, or one of an issuer that is not trusted".into()
        }
        webpki::Error::CertExpired { .. } => "certificate has expired".into(),
        webpki::Error::CertNotValidYet { .. } => "certificate is not yet valid".into(),
        webpki::Error::CaUsedAsEndEntity => "the certificate is that of an authority".into(),
        other => format!("certificate verification failed: {other}"),
    }
}
