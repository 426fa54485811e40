//! tls: the handshake with a server, and whether its certificate is what the policy wants.
//!
//! Receives: a connection whose server is ready, its policy. Sends: the same connection, encrypted; log lines.
//! Owns: nothing. On failure: the words that recipients are told; never a connection whose server is not who it must be.

use ringpost_core::dsn::Status;
use ringpost_core::smtp::{Failure, NamePattern, PeerName, ResultKind, TlsLevel, TlsPolicy};
use ringpost_reactor::Stream;
use ringpost_tls::{Certificates, HandshakeError, SecureStream, TlsFacts, Untrusted, fingerprint};

use crate::shard::Shard;

/// What recipients are told when there is no encrypted connection.
const HANDSHAKE_FAILURE: &str = "Cannot start TLS: handshake failure";

/// Why a connection is not encrypted.
pub enum NotSecure {
    /// The two do not agree, or the connection broke. Where encryption is optional the server may be tried without.
    Handshake(&'static str),
    /// The server is not who it must be.
    Certificate(&'static str),
}

impl NotSecure {
    /// The handshake took too long.
    pub fn timed_out() -> NotSecure {
        NotSecure::Handshake(HANDSHAKE_FAILURE)
    }
}

/// Shakes hands, and decides whether the server is who it must be.
pub async fn secure(
    shard: &Shard,
    number: u32,
    stream: Stream,
    peer: &PeerName,
    policy: &TlsPolicy,
) -> Result<SecureStream, NotSecure> {
    let tls = &shard.settings.smtp.tls;
    let name = match policy.servername.as_str() {
        "" => peer.host.trim_end_matches('.'),
        name => name,
    };
    let warn = |text: std::fmt::Arguments<'_>| shard.log.warning("smtp", number, text);
    let log = |text: std::fmt::Arguments<'_>| shard.log.info("smtp", number, text);
    let place = peer.with_port();
    let (Some(configuration), Ok(name)) = (tls.configuration(policy.versions), name.to_owned().try_into())
    else {
        warn(format_args!("{place}: no TLS with a server of this name"));
        return Err(NotSecure::Handshake(HANDSHAKE_FAILURE));
    };
    let stream = match SecureStream::connect(stream, configuration, name).await {
        Ok(stream) => stream,
        Err(error) => {
            match &error {
                HandshakeError::Lost(_) => log(format_args!("SSL_connect error to {place}: {error}")),
                HandshakeError::Failed(text) => {
                    log(format_args!("SSL_connect error to {place}: -1"));
                    warn(format_args!("TLS library problem: {text}"));
                }
            }
            return Err(NotSecure::Handshake(HANDSHAKE_FAILURE));
        }
    };
    let tells = tls.log_level >= 1;
    if !tells && !policy.level.checks_certificate() {
        // Nobody asks what its certificates are worth.
        return Ok(stream);
    }
    let certificates = stream.certificates();
    let trust = certificates.trusted_by(&tls.anchors, shard.handle.wall().to_system_time());
    let found = judge(&certificates, &trust, policy, &peer.host, &tls.digest);
    if tells {
        let TlsFacts { protocol, cipher, bits } = stream.facts();
        let word = found.word(&trust, certificates.is_empty());
        log(format_args!(
            "{word} TLS connection established to {place}: {protocol} with cipher {cipher} ({bits}/{bits} bits)"
        ));
    }
    match found {
        Found::Matched | Found::Unchecked => Ok(stream),
        Found::NotTrusted => {
            if let Err(Untrusted(reason)) = &trust {
                log(format_args!("certificate verification failed for {place}: {reason}"));
            }
            Err(NotSecure::Certificate("Server certificate not trusted"))
        }
        Found::NotVerified => Err(NotSecure::Certificate("Server certificate not verified")),
    }
}

/// A connection that does not become one.
pub fn failure(text: &str) -> Failure {
    Failure {
        kind: ResultKind::Deferred,
        status: Status::persistent(7, 5),
        text: text.to_owned(),
        reply: None,
        trouble: true,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// The policy does not ask.
    Unchecked,
    Matched,
    NotTrusted,
    NotVerified,
}

impl Found {
    fn word(self, trust: &Result<(), Untrusted>, anonymous: bool) -> &'static str {
        match (self, trust) {
            (Found::Matched, _) => "Verified",
            _ if anonymous => "Anonymous",
            (_, Ok(())) => "Trusted",
            (_, Err(_)) => "Untrusted",
        }
    }
}

fn judge(
    certificates: &Certificates,
    trust: &Result<(), Untrusted>,
    policy: &TlsPolicy,
    host: &str,
    digest: &str,
) -> Found {
    match policy.level {
        TlsLevel::None | TlsLevel::May | TlsLevel::Encrypt => Found::Unchecked,
        TlsLevel::Fingerprint => {
            let certificate = certificates.own().and_then(|der| fingerprint(digest, der));
            let key = certificates.own_key().and_then(|der| fingerprint(digest, &der));
            let listed = |one: &String| policy.fingerprints.contains(one);
            match [certificate, key].iter().flatten().any(listed) {
                true => Found::Matched,
                false => Found::NotVerified,
            }
        }
        TlsLevel::Verify | TlsLevel::Secure if trust.is_err() => Found::NotTrusted,
        TlsLevel::Verify | TlsLevel::Secure => {
            let fits = |pattern: &NamePattern| match pattern {
                NamePattern::Hostname => certificates.is_for(host.trim_end_matches('.')),
                NamePattern::Exact(name) => certificates.is_for(name),
                NamePattern::Below(domain) => certificates.is_for_below(domain),
            };
            match policy.names.iter().any(fits) {
                true => Found::Matched,
                false => Found::NotVerified,
            }
        }
    }
}
