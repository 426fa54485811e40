//! TLS of the SMTP client.

use std::fmt;
use std::path::Path;

use ringpost_core::config::{Name, View, names, types};
use ringpost_core::smtp::{TlsLevel, TlsSettings, TlsVersions};
use ringpost_tls::{ClientIdentity, ClientTls, Protocols, TrustAnchors};

use crate::failure::Failure;

/// What the SMTP client needs for encrypted connections.
pub struct SmtpTls {
    /// Which connections are to be encrypted, and how.
    pub policy: TlsSettings,
    /// Who is trusted: `smtp_tls_CAfile`, `smtp_tls_CApath`.
    pub anchors: TrustAnchors,
    /// `smtp_tls_fingerprint_digest`.
    pub digest: String,
    /// `smtp_tls_loglevel`.
    pub log_level: u64,
    /// `smtp_tls_note_starttls_offer`.
    pub notes_offer: bool,
    /// `smtp_tls_wrappermode`: TLS begins before SMTP does.
    pub wrapper: bool,
    /// What the administrator should know.
    pub warnings: Vec<String>,
    /// By the versions that are used: TLSv1.2, TLSv1.3, both.
    configurations: [Option<ClientTls>; 3],
}

impl fmt::Debug for SmtpTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpTls").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl SmtpTls {
    /// Reads it as the SMTP client sees it; nothing is opened while TLS is off.
    pub fn read(view: &View<'_>) -> Result<SmtpTls, Failure> {
        let policy = policy(view)?;
        let mut tls = SmtpTls {
            anchors: TrustAnchors::default(),
            digest: view.text(names::SMTP_TLS_FINGERPRINT_DIGEST),
            log_level: view.number(names::SMTP_TLS_LOGLEVEL),
            notes_offer: view.flag(names::SMTP_TLS_NOTE_STARTTLS_OFFER),
            wrapper: view.flag(names::SMTP_TLS_WRAPPERMODE),
            configurations: [None, None, None],
            warnings: Vec::new(),
            policy,
        };
        if tls.wrapper && !tls.policy.level.is_required() {
            return Err(Failure::config(
                "smtp_tls_wrappermode = yes needs smtp_tls_security_level = encrypt or stricter",
            ));
        }
        if tls.policy.is_off() {
            return Ok(tls);
        }
        if tls.policy.level >= TlsLevel::Fingerprint && ringpost_tls::fingerprint(&tls.digest, b"").is_none()
        {
            return Err(Failure::config(format!(
                "smtp_tls_fingerprint_digest: \"{}\" is not served; sha256, sha384 and sha512 are",
                tls.digest
            )));
        }
        for name in [names::SMTP_TLS_CAFILE, names::SMTP_TLS_CAPATH] {
            let path = view.text(name);
            if !path.is_empty() {
                let read = tls.anchors.read(Path::new(&path));
                let unreadable = |error| format!("{}: {path}: {error}", name.as_str());
                match read.map_err(unreadable) {
                    Err(text) if tls.policy.level.checks_certificate() => return Err(Failure::config(text)),
                    // Nothing depends on it: servers are untrusted.
                    Err(text) => tls.warnings.push(text),
                    Ok(()) => {}
                }
            }
        }
        let identity = identity(view)?;
        for (place, (tls12, tls13)) in [(true, false), (false, true), (true, true)].into_iter().enumerate() {
            let made = ringpost_tls::client(Protocols { tls12, tls13 }, identity.as_ref());
            let made = made.map_err(|error| Failure::config(format!("TLS of the SMTP client: {error}")))?;
            tls.configurations[place] = Some(made);
        }
        Ok(tls)
    }

    /// The configuration for these versions; `None` while TLS is off.
    pub fn configuration(&self, versions: TlsVersions) -> Option<ClientTls> {
        let place = match (versions.tls12, versions.tls13) {
            (true, false) => 0,
            (false, _) => 1,
            (true, true) => 2,
        };
        self.configurations[place].clone()
    }
}

fn policy(view: &View<'_>) -> Result<TlsSettings, Failure> {
    let versions = |name: Name<types::Text>| {
        TlsVersions::parse(&view.text(name))
            .map_err(|wrong| Failure::config(format!("{}: {wrong}", name.as_str())))
    };
    let word = view.text(names::SMTP_TLS_SECURITY_LEVEL);
    let level = match word.as_str() {
        "" if view.flag(names::SMTP_ENFORCE_TLS) => match view.flag(names::SMTP_TLS_ENFORCE_PEERNAME) {
            true => TlsLevel::Verify,
            false => TlsLevel::Encrypt,
        },
        "" if view.flag(names::SMTP_USE_TLS) => TlsLevel::May,
        "" => TlsLevel::None,
        word => TlsLevel::named(word).ok_or_else(|| {
            Failure::config(format!("smtp_tls_security_level: \"{word}\" is no level that is served"))
        })?,
    };
    Ok(TlsSettings {
        level,
        policies: view.maps(names::SMTP_TLS_POLICY_MAPS),
        versions: versions(names::SMTP_TLS_PROTOCOLS)?,
        mandatory_versions: versions(names::SMTP_TLS_MANDATORY_PROTOCOLS)?,
        verify_match: view.list(names::SMTP_TLS_VERIFY_CERT_MATCH),
        secure_match: view.list(names::SMTP_TLS_SECURE_CERT_MATCH),
        fingerprint_match: view.list(names::SMTP_TLS_FINGERPRINT_CERT_MATCH),
        servername: view.text(names::SMTP_TLS_SERVERNAME),
        reuse: view.flag(names::SMTP_TLS_CONNECTION_REUSE),
    })
}

/// Our own certificate: `smtp_tls_chain_files`, or the older pairs of which the ECDSA one comes first.
fn identity(view: &View<'_>) -> Result<Option<ClientIdentity>, Failure> {
    let chains = view.list(names::SMTP_TLS_CHAIN_FILES);
    let pairs = [
        (names::SMTP_TLS_ECCERT_FILE, names::SMTP_TLS_ECKEY_FILE),
        (names::SMTP_TLS_CERT_FILE, names::SMTP_TLS_KEY_FILE),
    ];
    let named = pairs.map(|(chain, key)| (chain, view.text(chain), view.text(key)));
    let (name, chain, key) = match chains.as_slice() {
        [] => match named.into_iter().find(|(_, chain, _)| !chain.is_empty()) {
            Some((name, chain, key)) => (name.as_str(), chain, key),
            None => return Ok(None),
        },
        [one] => (names::SMTP_TLS_CHAIN_FILES.as_str(), one.clone(), one.clone()),
        _ => return Err(Failure::config("smtp_tls_chain_files: only one file is served")),
    };
    ClientIdentity::read(Path::new(&chain), Path::new(&key))
        .map(Some)
        .map_err(|error| Failure::config(format!("{name}: {chain}, {key}: {error}")))
}
