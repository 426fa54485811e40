//! What the process needs of the system before its reactors start.

use std::io;

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the number of files that may be open to the hard limit: every connection is one.
///
/// # Errors
/// The system's refusal; the lower limit then stays in force.
pub fn raise_open_files() -> io::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).map_err(io::Error::from)
}
