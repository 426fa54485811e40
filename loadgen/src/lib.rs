//! Ringpost's load generator: an SMTP source, an SMTP/LMTP sink that can be told to misbehave, a measuring run of a
//! relay between the two, and torture (`kill -9`) of that relay with accounting of every message.
//!
//! It stands on glommio and on SMTP code of its own, and shares nothing with the server: a fault of ours must not
//! cancel out because both ends share it.
//!
//! ```text
//!   source (threads) ──SMTP──► relay under test ──SMTP/LMTP──► sink (threads)
//!      │ acknowledged numbers                                   │ ledger: id → recipient → times
//!      └──────────────────────► account ◄───────────────────────┘   lost, duplicated, bounced, damaged
//! ```
//!
//! Owns: nothing that outlives the process but the files that the user names.
//! Limits: bounded buffers per session, [`ledger::LEDGER_MESSAGES_MAX`] messages in a ledger.
//! On failure: sysexits by [`Failure`]; a relay that lost or doubled mail makes exit status 1.

pub mod account;
pub mod date;
pub mod executor;
pub mod id_file;
pub mod ledger;
pub mod message;
mod net;
pub mod queue_commands;
pub mod relay_process;
pub mod report;
pub mod run;
pub mod script;
pub mod sink;
pub mod size;
pub mod smtp;
pub mod source;
pub mod torture;

use std::fmt;

/// Why a command could not do its work.
#[derive(Debug)]
pub enum Failure {
    /// The command line or a file named on it is wrong.
    Usage(String),
    /// The machine does not give what is needed: limits, ports, io_uring.
    Environment(String),
    /// A file cannot be read or written.
    File(String),
    /// The relay under test did not start, or stopped by itself.
    Relay(String),
}

impl Failure {
    /// The exit status by sysexits.h.
    pub fn exit_status(&self) -> u8 {
        match self {
            Failure::Usage(_) => 64,
            Failure::Environment(_) => 71,
            Failure::File(_) => 74,
            Failure::Relay(_) => 69,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(text)
            | Failure::Environment(text)
            | Failure::File(text)
            | Failure::Relay(text) => formatter.write_str(text),
        }
    }
}

impl std::error::Error for Failure {}
