//! Named limits of what a peer may make us hold, each with its reason.
//!
//! Limits that an administrator sets are parameters ([`crate::smtpd::SmtpdSettings`]); the numbers here are the
//! ones that no configuration may lift.

/// Bytes of one address in canonical text. RFC 5321 §4.5.3.1.3 allows 256 for a path; senders of lists and
/// forwarders (VERP, SRS) exceed that in practice, and Postfix bounds expanded addresses at 1000.
pub const ADDRESS_BYTES_MAX: usize = 1000;

/// Bytes of a local part in strict mode (RFC 5321 §4.5.3.1.1).
pub const LOCAL_PART_BYTES_MAX_STRICT: usize = 64;

/// Bytes of a domain (RFC 5321 §4.5.3.1.2).
pub const DOMAIN_BYTES_MAX: usize = 255;

/// Bytes of one label of a domain (RFC 1035 §2.3.4).
pub const DOMAIN_LABEL_BYTES_MAX: usize = 63;

/// Bytes of an ENVID or ORCPT value as sent. RFC 3461 §4.2 and §5.4 give 100 for ENVID and 500 for ORCPT; the
/// larger serves both, and a command line is bounded anyway.
pub const DSN_VALUE_BYTES_MAX: usize = 500;

/// Replies that may gather before the session asks that they be sent. A client that pipelines cheap commands
/// (6 bytes of `RSET`, 150 bytes of answer to `EHLO`) must not make us hold more than this.
pub const REPLY_BYTES_MAX: usize = 16 * 1024;

/// Log events that may gather before the session hands control back to be drained.
pub const LOG_EVENTS_MAX: usize = 32;

/// Bytes of client text shown in one log line (Postfix cuts at 100 or 200).
pub const LOGGED_TEXT_BYTES_MAX: usize = 100;
