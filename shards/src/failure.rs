//! failure: why the engine cannot start or go on, with the sysexits code that says whose business it is.

use std::fmt;
use std::io;
use std::net::SocketAddr;

/// EX_UNAVAILABLE: an address that is taken, a kernel that lacks a feature.
pub const EX_UNAVAILABLE: u8 = 69;
/// EX_SOFTWARE: our own fault.
pub const EX_SOFTWARE: u8 = 70;
/// EX_OSERR: the system refuses something it usually gives.
pub const EX_OSERR: u8 = 71;
/// EX_CANTCREAT: the queue directory cannot be made or written.
pub const EX_CANTCREAT: u8 = 73;
/// EX_IOERR: the disk fails.
pub const EX_IOERR: u8 = 74;
/// EX_TEMPFAIL: another engine has the spool.
pub const EX_TEMPFAIL: u8 = 75;
/// EX_NOPERM: not allowed, a privileged port for example.
pub const EX_NOPERM: u8 = 77;
/// EX_CONFIG: the configuration.
pub const EX_CONFIG: u8 = 78;

/// A reason and its exit code.
#[derive(Debug)]
pub struct Failure {
    /// What an operator reads; may have several lines.
    pub message: String,
    /// A sysexits code.
    pub code: u8,
}

impl Failure {
    /// A failure with a code of its own.
    pub fn new(code: u8, message: impl Into<String>) -> Failure {
        Failure { message: message.into(), code }
    }

    /// The system refused `what`.
    pub fn os(what: &str, error: io::Error) -> Failure {
        Failure::new(EX_OSERR, format!("{what}: {error}"))
    }

    /// Our own fault.
    pub fn software(message: &str) -> Failure {
        Failure::new(EX_SOFTWARE, message)
    }

    /// The configuration is wrong.
    pub fn config(message: impl Into<String>) -> Failure {
        Failure::new(EX_CONFIG, message)
    }

    /// An address cannot be listened on.
    pub fn listen(address: SocketAddr, error: io::Error) -> Failure {
        let code = match error.kind() {
            io::ErrorKind::PermissionDenied => EX_NOPERM,
            _ => EX_UNAVAILABLE,
        };
        Failure::new(code, format!("cannot listen on {address}: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
