//! envelope: who a message is from, who it is for, and what has become of each of them.
//!
//! The spool keeps an envelope and the notes that follow it as opaque bytes; this room gives those
//! bytes their meaning.
//!
//! Receives: the fields of an accepted transaction; envelope and notes as loaded from the spool.
//! Sends: those bytes; [`Progress`], which recipients remain and why.
//! Owns: the formats below, version 1. All integers are LEB128 varints unless said otherwise.
//! Limits: [`RECIPIENTS_MAX`] recipients, [`TEXT_BYTES_MAX`] bytes in a text, [`REASON_BYTES_MAX`] in
//! reasons; decoding reads each byte a bounded number of times and allocates no more than its input's size (and a
//! few bytes a recipient).
//! On failure: bytes that no encoder of ours wrote give [`Damaged`]; nothing panics, nothing grows.
//!
//! ```text
//! envelope  = version:u8=1 flags:u8 arrival_us:u64le content_bytes
//!             sender envid client_name client_address client_port helo protocol
//!             [verp:u8*2] recipient_count recipient*                      text = length, UTF-8 bytes
//! flags     = bits 0-1 body kind, bit 2 SMTPUTF8, bits 3-4 RET (0 none, 1 FULL, 2 HDRS),
//!             bit 5 has verp
//! recipient = flags:u8 (bits 0-3 NOTIFY, bit 4 has orcpt, bit 5 has original) address [orcpt] [original]
//! outcome   = version:u8=1 group_count (kind:u8 indexes | report)*
//! report    = kind:u8 (16 failed, 18 delivered, 19 relayed, 20 expanded) reason indexes
//! indexes   = run_count (gap length)*                         gap from the end of the run before
//! retry     = version:u8=2 flags:u8 (bit 0 delay told) attempts due_at_s indexes(done)
//!             report_count report* group_count (reason indexes)*
//! reason    = status text reply mta
//! status    = class:u8 subject detail
//! ```

pub(crate) mod codec;
mod format;
mod note;
mod progress;
mod reasons;
mod reports;

pub use codec::Damaged;
pub(crate) use codec::floor_char_boundary;
pub use format::{BodyKind, Envelope, EnvelopeFields, EnvelopeWriter, Notify, Recipient, Ret};
pub use note::{OutcomeKind, Reason, write_outcome};
pub use progress::Progress;
pub use reasons::REASON_BYTES_MAX;
pub use reports::Reports;

/// Most recipients in one envelope. `smtpd_recipient_limit` is 1,000; injection and expansion bring
/// more; ten times the largest list we plan for keeps the index in 32 bits and its bitmap in 128 KiB.
pub const RECIPIENTS_MAX: u32 = 1_000_000;

/// Longest text in an envelope or a note, in bytes. Far above an address (RFC 5321 section 4.5.3.1.3:
/// 256) and above any reply that the client keeps.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;
