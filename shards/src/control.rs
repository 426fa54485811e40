//! control: the engine's side of the queue commands, off the shards' threads but for the questions themselves.
//!
//! Receives: connections on `$queue_directory/public/control`, one thread each; requests of `ringpost_core::control`.
//! Sends:    questions to shards over their control rings; their answers, piece by piece, to the command.
//! Owns:     the socket, the sessions, and with the main thread the sending ends of the control rings.
//! Limits:   64 sessions, 8 of one user that is not the superuser; a shard answers a bounded piece at a time and is asked for the next when that one is written: a slow reader holds up its own
//!           listing and nothing else, and a listing of a million messages holds a few hundred of them in memory.
//! On failure: whoever breaks the protocol loses its connection; a session that reads or says nothing for
//!           an hour too. Without the socket (a full disk, say) mail goes on, and it is tried again.
//! Standards: Postfix's postqueue(1), postsuper(1), postcat(1), showq(8).
//!
//! The socket's mode lets everybody connect; what each may ask is decided by the kernel's word on who is there
//! (`SO_PEERCRED`): the superuser and the engine's own user everything, others what `authorized_mailq_users` and
//! `authorized_flush_users` say.
//!
//! While no engine runs the commands do without this: `view` reads the queue, `checking` reads all of it, `offline`
//! takes the engine's lock and changes it.

mod answering;
mod checking;
pub mod client;
mod explaining;
mod gather;
mod listing;
pub mod offline;
mod operating;
mod reading;
pub mod records;
mod server;
mod session;
mod switchboard;
pub mod view;

use std::path::{Path, PathBuf};

pub use answering::{Ask, Question, Reply, answer};
pub use server::start;
pub use switchboard::Switchboard;

/// The directory of the socket, below the queue directory.
const SOCKET_DIRECTORY: &str = "public";
/// The socket's name in it.
const SOCKET_NAME: &str = "control";
/// Longest path that a Unix socket's address takes.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Where the control socket of the engine with this queue directory is.
pub fn socket_path(queue_directory: &Path) -> PathBuf {
    queue_directory.join(SOCKET_DIRECTORY).join(SOCKET_NAME)
}

/// Takes the socket away, at the stop: commands are then told that the mail system is down.
pub fn close(queue_directory: &Path) {
    // It may never have been made.
    let _ = std::fs::remove_file(socket_path(queue_directory));
}

/// Calls `with` with a path to the control socket that fits into a socket's address: where the plain one is too long,
/// one that leads over the open directory.
fn with_short_path<T>(
    queue_directory: &Path,
    with: impl FnOnce(&Path) -> std::io::Result<T>,
) -> std::io::Result<T> {
    use std::os::fd::AsRawFd;
    let path = socket_path(queue_directory);
    if path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
        return with(&path);
    }
    let directory = std::fs::File::open(queue_directory.join(SOCKET_DIRECTORY))?;
    with(&PathBuf::from(format!("/proc/self/fd/{}/{SOCKET_NAME}", directory.as_raw_fd())))
}
