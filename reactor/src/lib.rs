//! ringpost-reactor: the per-core runtime on io_uring. Knows nothing of mail.
//!
//! One [`Reactor`] runs on one thread and owns everything there: tasks, timers, sockets, files, one ring. Its tasks hold
//! a [`Handle`]; other threads hold a [`Remote`] or one end of a [`ring`]. Nothing of a handle may be sent elsewhere but
//! a [`PassedStream`].
//!
//! - **Receives** tasks, and completions of the kernel. **Sends** submissions, in one system call a turn.
//! - **Owns** every descriptor and all memory that the kernel works with, until the operation's last completion.
//! - **Limits**: see `stream.rs` (unread chunks), `buffers.rs` (receive buffers), `listener.rs` (unclaimed connections),
//!   `task.rs` (tasks, polls a turn), `timer.rs` (timers), `remote.rs` (reactors, wake-ups from outside).
//! - **On failure**: a peer or the environment gives an `io::Error` to the future that asked; a broken invariant of ours
//!   panics. A kernel that lacks something is told at the start ([`StartError`]).
//! - **Needs** Linux 6.1: multishot receive (6.0), provided-buffer rings (5.19), `DEFER_TASKRUN` (6.1).
//!
//! | file | owns |
//! |---|---|
//! | `start.rs` | options, the ring's features, what to tell the operator |
//! | `reactor.rs` | the loop: submit, wait, reap; start and end |
//! | `task.rs`, `wait.rs`, `handle.rs` | tasks and wakers; sleeping and yielding; what tasks may ask |
//! | `slot.rs` | operations in flight, their memory and descriptors |
//! | `timer.rs` | the timer wheel |
//! | `buffers.rs`, `chunk.rs` | receive buffers and their loans |
//! | `endpoint.rs`, `socket.rs`, `listener.rs`, `stream.rs`, `udp.rs` | sockets |
//! | `aligned.rs`, `log_file.rs`, `append_file.rs`, `fs.rs` | files |
//! | `mapped_file.rs` | tables in files, read through memory |
//! | `remote.rs`, `ring.rs`, `sync.rs` | other threads: wake-ups and rings |
//! | `local.rs` | signals between tasks of one thread |
//! | `trace.rs` | the ordered record of submissions and completions |
//!
//! No public signature shows a descriptor, an `Instant`, or a type of the ring, so that a simulated backend (virtual
//! time, network and disk under a seed) can stand behind the same face.
#![allow(unsafe_code)] // The one crate that speaks to the kernel's rings; each block says why it is sound.

mod aligned;
mod append_file;
mod buffers;
mod chunk;
mod endpoint;
pub mod fs;
mod handle;
mod listener;
pub mod local;
mod log_file;
mod mapped_file;
pub mod process;
mod reactor;
mod remote;
pub mod ring;
mod slot;
mod socket;
mod start;
mod stream;
mod sync;
mod task;
mod time;
mod timer;
mod trace;
mod udp;
mod wait;

pub use aligned::AlignedBuffer;
pub use append_file::AppendFile;
pub use chunk::Chunk;
pub use endpoint::{ConnectOptions, Endpoint, ListenOptions};
pub use handle::Handle;
pub use listener::Listener;
pub use log_file::{LogFile, LogMode, TRANSFER_BYTES_MAX};
pub use mapped_file::{MAPPINGS_MAX, MappedFile};
pub use reactor::{Figures, Reactor};
pub use remote::Remote;
pub use socket::is_shortage;
pub use start::{ReactorOptions, StartError};
pub use stream::{PassedStream, Recv, Stream};
pub use time::{Elapsed, Moment, WallTime};
pub use udp::{DATAGRAM_BYTES_MAX, UdpSocket};
pub use wait::{Sleep, Timeout, Turn};
