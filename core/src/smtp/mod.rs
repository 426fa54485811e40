//! smtp: what the SMTP (and LMTP) client decides on one connection.
//!
//! Receives: bytes from the server, mail requests, and the news that a connection was lost or timed out.
//! Sends: commands (appended to the caller's buffer), [`Event`]s, and one [`RecipientResult`] for every
//! recipient of every request.
//! Owns: the order of the dialogue, what the server offers, the texts of the results.
//! Limits: a reply line [`REPLY_LINE_BYTES_MAX`], a reply [`REPLY_LINES_MAX`] lines, a result's text
//! [`RESULT_TEXT_BYTES_MAX`]; commands in flight [`FLIGHT_BYTES_MAX`]; the rest is as large as the
//! request that the caller makes. Buffers are kept from one mail to the next.
//! On failure: whatever the server sends or fails to send, each recipient gets exactly one result, and
//! a connection whose replies no longer match our commands is given up, never guessed at.
//! Standards: RFC 5321, 2033 (LMTP), 2920 (PIPELINING), 1870 (SIZE), 6152 (8BITMIME), 2034 (enhanced
//! codes), 3461 (DSN), 6531 (SMTPUTF8).
//!
//! ```text
//! Greeting ─220─► Hello (EHLO, then HELO) ─250─► Idle ◄──────────────────────────┐
//!                   ▲         │ STARTTLS offered and wanted                     │
//!                   │         ▼                  │                              │
//!                   │      StartTls ─220─► Handshake (StartTls: the caller's)     │
//!                   └────────secured─────────────┘                               │
//!                                                 │ begin                        │ Finished
//!                                                 ▼                              │
//!                                    Commands: [RSET] MAIL RCPT… DATA ──none accepted──► (empty dot if 354)
//!                                                 │ 354: SendContent             │
//!                                                 ▼                              │
//!                                    Content ─content_sent─► Dot ─one reply──────┘ (LMTP: one a recipient)
//! ```

mod commands;
mod dead_servers;
mod extensions;
mod line_breaker;
mod replies;
mod reply;
mod result;
mod session;
mod settings;
mod tls_policy;
mod trouble;

pub use dead_servers::{DEAD_SERVER_MS, DEAD_SERVERS_MAX, DeadServers};
pub use extensions::{EhloKeywords, ForwardAttributes, ServerOffers};
pub use line_breaker::LineBreaker;
pub use result::{Failure, RecipientResult, ResultKind};
pub use session::{CarriedSession, Event, Session};
pub use settings::{ClientSettings, MailRecipient, MailRequest, PeerName, Protocol, StageTimeouts};
pub use tls_policy::{BadPolicy, NamePattern, TlsLevel, TlsPolicy, TlsSettings, TlsVersions};

/// Longest reply line, in bytes without its end. RFC 5321 section 4.5.3.1.5 says 512; servers exceed it,
/// so Postfix's `line_length_limit` is used. A longer one is a protocol error.
pub const REPLY_LINE_BYTES_MAX: usize = 2048;

/// Most lines in one reply. The longest EHLO answers known have about 30.
pub const REPLY_LINES_MAX: usize = 100;

/// What is kept of a reply for the log, the queue listing and the notice, in bytes. The long texts of
/// large providers fit; a hostile server cannot fill memory through many recipients.
pub const RESULT_TEXT_BYTES_MAX: usize = 1024;

/// Most bytes of unanswered commands. RFC 2920 section 3.1 wants the client to look at replies before
/// the windows on both sides are full; 300 recipients fit in one flight.
pub const FLIGHT_BYTES_MAX: usize = 16 * 1024;
