//! Why the spool says no. All of these are the environment's doing, never a panic.

use crate::message::MessageId;
use std::{fmt, io};

/// Why a message or a chunk was not stored.
#[derive(Debug)]
pub enum StoreError {
    /// No room: answer `452 4.3.1`. Room comes back when messages leave.
    Full,
    /// The disk failed under this commit, or is failing: answer `451 4.3.0`. Nothing of the message is kept.
    Failed(io::Error),
    /// The record cannot fit in a commit: envelope too large, or inline content that should have been chunks.
    TooLarge,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the spool is full"),
            Self::Failed(error) => write!(f, "the spool's disk failed: {error}"),
            Self::TooLarge => f.write_str("the record is larger than a commit may be"),
        }
    }
}

impl std::error::Error for StoreError {}

/// Why a message or a chunk cannot be read.
#[derive(Debug)]
pub enum LoadError {
    /// Not queued here (removed, or never stored).
    Unknown(MessageId),
    /// A record of the message fails its checksum; the message is now quarantined.
    Corrupt(MessageId),
    /// The disk refused the read; trying again later is sensible.
    Failed(io::Error),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(id) => write!(f, "message {id} is not in the spool"),
            Self::Corrupt(id) => write!(f, "message {id} is damaged on the disk"),
            Self::Failed(error) => write!(f, "the spool's disk failed: {error}"),
        }
    }
}

impl std::error::Error for LoadError {}

/// Why a shard's spool cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The disk refused an operation.
    Disk {
        /// What was tried, for the log: "read segment-000012.log".
        what: String,
        /// What the system said.
        error: io::Error,
    },
    /// There is no room for the first segment.
    Full,
    /// Another version of this program has written the queue, in a format that this one does not read.
    Version {
        /// The file that says so.
        name: String,
        /// Its format.
        version: u32,
    },
    /// An option makes no sense, or the directory belongs to another shard.
    Options(String),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk { what, error } => write!(f, "cannot {what}: {error}"),
            Self::Full => f.write_str("no room for the spool's first segment"),
            Self::Version { name, version } => write!(
                f,
                "{name} is in format {version} of the queue, which this version of the program does not read; deliver \
                 what is queued with the version that wrote it, then empty the directory"
            ),
            Self::Options(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for OpenError {}
