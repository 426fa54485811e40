//! smtpd: what the SMTP server answers.
//!
//! - What it is: one [`Session`] a client, a state machine of bytes; Postfix's smtpd(8) without sockets and clock.
//! - Receives: what the client sent ([`Session::step`]), the shard's verdicts ([`Session::answer`]), a timeout, a loss.
//! - Sends: reply bytes, content in wire form (see [`crate::content`]), [`Request`]s to the shard, [`SessionLog`]s.
//! - Owns: the transaction under way, error and junk counts, the command statistics. No history: a session of a
//!   million commands holds what a session of one does.
//! - Limits: [`SmtpdSettings`] and [`crate::limits`]; a command line beyond `line_length_limit` is dropped while it
//!   is read.
//! - On failure: the peer's faults become replies; a call out of turn is the shard's own fault and panics.
//! - Standards: RFC 5321, 1870, 1985, 2034, 2920, 3030, 3461, 6152, 6531; reply texts are Postfix's.
//!
//! Not offered yet: STARTTLS, AUTH. Their places are [`Extension`] and `commands.rs`.

mod arguments;
mod checks;
mod client;
mod command;
mod commands;
mod event;
mod identity;
mod line;
mod receiving;
mod session;
mod settings;
mod speech;
mod transaction;
mod trouble;

pub use client::{Client, NameStatus};
pub use event::{Event, SessionLog};
pub use identity::Forwarded;
pub use session::{Answer, Request, Session, Step};
pub use settings::{Extension, SmtpdSettings};
pub use transaction::{MailTransaction, RcptCommand};
