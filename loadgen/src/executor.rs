//! Starting threads of the load generator, each with a glommio executor of its own.
//!
//! Limits: glommio refuses to start with less than 512 KiB of lockable memory per executor, so the limit is looked at
//! (and raised, where we may) before the first thread starts, and the message says what to set.

use std::future::Future;
use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use glommio::{LocalExecutorBuilder, Placement};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::Failure;

/// Lockable memory that one executor wants: glommio's own minimum.
const LOCKED_BYTES_PER_EXECUTOR: u64 = 512 * 1024;

/// Memory that glommio sets aside for file I/O on each executor. We use none of its files, so the least it accepts.
const FILE_IO_BYTES: usize = 64 * 1024;

/// Entries of each of glommio's three rings: enough that a few thousand sockets are polled without queueing in
/// userspace, and still small enough for one page of memory per ring.
const RING_ENTRIES: usize = 512;

/// Most threads that `source` or `sink` may be asked for.
pub const THREADS_MAX: usize = 64;

/// Makes room for `executors` glommio executors and for as many sockets as the system lets us have.
///
/// Raises the soft limits to the hard ones, and the hard limit of lockable memory where we are privileged.
///
/// # Errors
/// `Failure::Environment` if too little memory may be locked and the limit cannot be raised.
pub fn prepare_limits(executors: usize) -> Result<(), Failure> {
    let files = getrlimit(Resource::Nofile);
    if files.current != files.maximum {
        // Fewer sockets than asked for shows up as EMFILE when it matters, with its own message.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, maximum: files.maximum });
    }
    let wanted = LOCKED_BYTES_PER_EXECUTOR * executors.max(1) as u64;
    let locked = getrlimit(Resource::Memlock);
    let enough = |limit: Option<u64>| limit.is_none_or(|bytes| bytes >= wanted);
    if enough(locked.current) {
        return Ok(());
    }
    let raised = if enough(locked.maximum) {
        Rlimit { current: locked.maximum, maximum: locked.maximum }
    } else {
        Rlimit { current: Some(wanted), maximum: Some(wanted) }
    };
    setrlimit(Resource::Memlock, raised).map_err(|error| {
        Failure::Environment(format!(
            "{executors} executors need {} KiB of lockable memory, the limit is {} KiB and cannot be raised ({error}): \
             run `ulimit -l {}` as root first, or use fewer threads",
            wanted / 1024,
            locked.current.unwrap_or(0) / 1024,
            wanted / 1024,
        ))
    })
}

/// Starts a named thread with a glommio executor that runs what `make_future` makes, until it is done.
///
/// # Errors
/// If the thread cannot be started. A failure to start the executor itself is the thread's result.
pub fn spawn<F, M, T>(name: &str, make_future: M) -> io::Result<JoinHandle<Result<T, Failure>>>
where
    M: FnOnce() -> F + Send + 'static,
    F: Future<Output = T> + 'static,
    T: Send + 'static,
{
    let executor_name = name.to_owned();
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let executor = LocalExecutorBuilder::new(Placement::Unbound)
            .name(&executor_name)
            .io_memory(FILE_IO_BYTES)
            .ring_depth(RING_ENTRIES)
            .make()
            .map_err(|error| {
                Failure::Environment(format!(
                    "glommio's executor does not start: {error} (it needs io_uring, Linux 5.8 or newer, and 512 KiB of \
                     lockable memory)"
                ))
            })?;
        Ok(executor.run(make_future()))
    })
}

/// CPU time that the calling thread has used so far.
pub fn thread_cpu_time() -> Duration {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(spent.tv_sec.max(0).unsigned_abs(), u32::try_from(spent.tv_nsec).unwrap_or(0))
}
