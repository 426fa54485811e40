//! ringpost-tls: encrypted streams over the reactor's, and what a peer's certificate is worth.
//!
//! - Receives: a connected [`ringpost_reactor::Stream`], a configuration of rustls that all shards share.
//! - Sends: plain bytes to the owner of the stream; records to the peer; [`TlsFacts`] for log lines and `Received:`.
//! - Owns: the keys of a connection. They go to another shard with it ([`SecureStream::pass`]).
//! - Limits: one record under way; plain bytes of what one receive brought.
//! - On failure: the handshake's [`HandshakeError`]; afterwards an `io::Error` as of the stream itself. A peer that ends
//!   the connection without saying so is told apart from one that says so, as truncation would be an attack.
//! - Standards: RFC 8446, RFC 5246; RFC 7525 where a choice is left.
//!
//! Whether a certificate is trusted is not rustls' business here: mail is sent to servers that nobody can vouch for, and
//! policy decides after the handshake what it was worth ([`Certificates`]).

mod certificate;
mod client;
mod stream;

pub use certificate::{Certificates, TrustAnchors, Untrusted, fingerprint};
pub use client::{ClientIdentity, ClientTls, Protocols, SetupError, client};
pub use stream::{HandshakeError, PassedSecureStream, SecureStream, TlsFacts};
