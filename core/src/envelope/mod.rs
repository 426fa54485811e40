//! envelope: who a message is from, who it is for, and what has become of each of them.
//!
//! The spool keeps an envelope and the notes that follow it as opaque bytes; this room gives those
//! bytes their meaning.
//!
//! Receives: the fields of an accepted transaction; envelope and notes as loaded from the spool.
//! Sends: those bytes; [`Progress`], which recipients remain and why.
//! Owns: the formats below; bytes of another version are damage. All integers are LEB128 varints unless said otherwise.
//! Limits: [`RECIPIENTS_MAX`] recipients, [`PIECE_BYTES_MAX`] bytes of them in one record, [`TEXT_BYTES_MAX`] bytes in
//! a text, [`REASON_BYTES_MAX`] in reasons; a note is never longer than [`NOTE_BYTES_MAX`]; decoding reads each byte a bounded number of times and allocates no more than its input's size (and a
//! few bytes a recipient).
//! On failure: bytes that no encoder of ours wrote give [`Damaged`]; nothing panics, nothing grows.
//!
//! ```text
//! envelope  = version:u8=4 flags:u8 more:u8 arrival_us:u64le content_bytes
//!             sender envid client_name client_address client_port helo protocol filter
//!             [verp:u8*2] [forwarded] [ident] (recipient_count recipient* | piece_count member_count*)
//!                                                                         text = length, UTF-8 bytes
//! flags     = bits 0-1 body kind, bit 2 SMTPUTF8, bits 3-4 RET (0 none, 1 FULL, 2 HDRS),
//!             bit 5 has verp, bit 6 recipients in pieces, bit 7 (with 6) somebody's success is to be told
//! more      = bit 0 has forwarded, bit 1 has ident, bit 2 came from a local client, bit 3 is a probe
//! forwarded = client_name client_address client_port helo protocol       as XFORWARD told; empty where it did not
//! piece     = index of its first recipient, recipient*, as many as the table says; a record of its own
//! recipient = flags:u8 (bits 0-3 NOTIFY, bit 4 has orcpt, bit 5 has original) address [orcpt] [original]
//! outcome   = version:u8=2 group_count (kind:u8 indexes | report)*
//! report    = kind:u8 (16 failed, 18 delivered, 19 relayed, 20 expanded) reason indexes
//! indexes   = run_count*2 (gap length)* | byte_count*2+1 bitmap       gap from the end of the run before; the bitmap,
//!             lowest bit first, where runs would take more bytes
//! retry     = version:u8=3 flags:u8 (bit 0 delay told) attempts due_at_s indexes(done)
//!             report_count report* group_count (reason indexes)*
//! reason    = status text reply mta
//! status    = class:u8 subject detail
//! ```
//!
//! # Many recipients
//!
//! Recipients that take more than [`PIECE_BYTES_MAX`] bytes are stored in pieces: each is a record of its own beside the
//! content's (a Chunk of the spool, which has its own checksum and moves with the message), and the envelope keeps the
//! table of how many are in each. So nobody needs the whole list in memory: the queue manager reads piece after piece
//! as the scheduler asks for recipients, and a listing or a notice the pieces that it is about. Damage of a piece is
//! noticed when it is read, quarantines its message, and hides no other piece's recipients.

pub(crate) mod codec;
mod fields;
mod note;
mod piece;
mod progress;
mod reasons;
mod reports;
mod stored;
mod writer;

pub use codec::Damaged;
pub(crate) use codec::floor_char_boundary;
pub use fields::{BodyKind, EnvelopeFields, Notify, Origin, Recipient, Ret};
pub use note::{OutcomeKind, Reason, write_outcome};
pub use piece::{KeptRecipient, RecipientPiece};
pub use progress::Progress;
pub use reasons::REASON_BYTES_MAX;
pub use reports::Reports;
pub use stored::Envelope;
pub use writer::{EnvelopeWriter, WrittenEnvelope};

/// Most recipients in one envelope. `smtpd_recipient_limit` is 1,000; injection and expansion bring
/// more; ten times the largest list we plan for keeps the index in 32 bits and its bitmap in 128 KiB.
pub const RECIPIENTS_MAX: u32 = 1_000_000;

/// Bytes of recipients in one record, and so in memory at a time: some thousand addresses, and more than
/// `smtpd_recipient_limit` lets through by default. An envelope above it is stored in pieces.
pub const PIECE_BYTES_MAX: usize = 64 * 1024;

/// Most pieces of one envelope: [`RECIPIENTS_MAX`] recipients whose RCPT lines are as long as `line_length_limit` lets
/// them be by default (2,048 bytes); no piece wants more than one of them to be full. A message with so many fits into
/// the spool's record of it.
pub const PIECES_MAX: u32 = (RECIPIENTS_MAX as u64 * 2048).div_ceil(PIECE_BYTES_MAX as u64 - 2048) as u32;

/// Longest note, in bytes, when its reasons are left out: a bitmap of [`RECIPIENTS_MAX`] for the recipients that are done
/// and for each kind of report, and some numbers.
pub const NOTE_BYTES_MAX: usize = 5 * (RECIPIENTS_MAX as usize / 8 + 1024);

/// Longest text in an envelope or a note, in bytes. Far above an address (RFC 5321 section 4.5.3.1.3:
/// 256) and above any reply that the client keeps.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;
