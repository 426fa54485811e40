//! Starting a reactor: its options, what it needs of the kernel, and a plain answer where that is missing.

use io_uring::{IoUring, Probe, opcode};
use std::{fmt, fs, io, path::PathBuf};

/// How a reactor is set up.
#[derive(Clone, Debug)]
pub struct ReactorOptions {
    /// Entries of the submission queue (1 to 8192, rounded up to a power of two); the completion queue has four times
    /// as many. More operations than that may be in flight; this bounds what one system call hands over.
    pub ring_entries: u32,
    /// Receive buffers shared by all streams; rounded up to a power of two, at most 32,768.
    pub buffer_count: u16,
    /// Bytes of each receive buffer, at least 256.
    pub buffer_bytes: u32,
    /// The core to pin the thread to. A pinned thread also asks the scheduler for short time slices, so that it runs
    /// soon after it is woken when others use the core too.
    pub core: Option<usize>,
    /// Write every submission and completion to this file, one line each (for tests and inquiries; slow).
    pub trace: Option<PathBuf>,
}

impl Default for ReactorOptions {
    /// 1024 entries; 512 buffers of 8 KiB (4 MiB); not pinned; no trace.
    fn default() -> Self {
        Self { ring_entries: 1024, buffer_count: 512, buffer_bytes: 8192, core: None, trace: None }
    }
}

/// Why a reactor cannot start. The text says what is missing and what to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The options contradict themselves.
    Options(&'static str),
    /// The thread cannot be pinned to the core.
    Pin(usize, io::Error),
    /// The kernel is too old, or was built without the feature.
    Feature {
        /// What is missing.
        feature: &'static str,
        /// The first kernel that has it.
        since: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// io_uring is forbidden to this process.
    Forbidden {
        /// The value of `kernel.io_uring_disabled`, if it can be read.
        sysctl: Option<u8>,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Not enough memory may be locked, or none is left.
    Memory(io::Error),
    /// As many reactors run in this process as it can hold.
    TooMany,
    /// The trace file cannot be created.
    Trace(PathBuf, io::Error),
    /// Anything else, such as too many open files.
    Other(&'static str, io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Options(what) => write!(f, "reactor options: {what}"),
            StartError::Pin(core, error) => {
                write!(
                    f,
                    "cannot pin a shard to core {core}: {error}; lower the number of shards or widen the CPU set"
                )
            }
            StartError::Feature { feature, since, source } => write!(
                f,
                "the kernel ({}) lacks {feature}, which Linux has since {since} ({source}); Linux 6.1 or newer is needed",
                kernel_release()
            ),
            StartError::Forbidden { sysctl: Some(2), source } => write!(
                f,
                "io_uring is switched off on this machine ({source}): set kernel.io_uring_disabled = 0 with sysctl"
            ),
            StartError::Forbidden { sysctl: Some(1), source } => write!(
                f,
                "io_uring is reserved for a group ({source}): set kernel.io_uring_disabled = 0 with sysctl, \
                 or put this process into the group that kernel.io_uring_group names"
            ),
            StartError::Forbidden { source, .. } => write!(
                f,
                "io_uring is forbidden to this process ({source}), most likely by a seccomp filter: allow the system \
                 calls io_uring_setup, io_uring_enter and io_uring_register (in containers: the seccomp profile; \
                 in systemd: SystemCallFilter)"
            ),
            StartError::Memory(source) => write!(
                f,
                "not enough memory for the rings ({source}): raise the limit of locked memory \
                 (ulimit -l, LimitMEMLOCK=) or lower the number of receive buffers"
            ),
            StartError::TooMany => f.write_str("this process runs as many reactors as it can hold"),
            StartError::Trace(path, error) => {
                write!(f, "cannot create the trace file {}: {error}", path.display())
            }
            StartError::Other(what, error) => write!(f, "cannot {what}: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Pin(_, error) | StartError::Trace(_, error) | StartError::Other(_, error) => {
                Some(error)
            }
            StartError::Feature { source, .. } | StartError::Forbidden { source, .. } => Some(source),
            StartError::Memory(error) => Some(error),
            StartError::Options(_) | StartError::TooMany => None,
        }
    }
}

fn kernel_release() -> String {
    match fs::read_to_string("/proc/sys/kernel/osrelease") {
        Ok(release) => release.trim().to_owned(),
        Err(_) => "of unknown version".to_owned(),
    }
}

fn disabled_sysctl() -> Option<u8> {
    fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?.trim().parse().ok()
}

/// Explains why the kernel refused to set the ring up; `disabled` is the value of `kernel.io_uring_disabled`.
fn explain_setup(source: io::Error, disabled: Option<u8>) -> StartError {
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => StartError::Forbidden { sysctl: disabled, source },
        // A seccomp filter may answer like a kernel without io_uring; a kernel that knows the sysctl (6.6) has it.
        Some(libc::ENOSYS) if disabled.is_some() => StartError::Forbidden { sysctl: disabled, source },
        Some(libc::ENOSYS) => StartError::Feature { feature: "io_uring", since: "5.1", source },
        Some(libc::EINVAL) => StartError::Feature {
            feature: "IORING_SETUP_SINGLE_ISSUER and _DEFER_TASKRUN",
            since: "6.1",
            source,
        },
        Some(libc::ENOMEM) => StartError::Memory(source),
        _ => StartError::Other("set up a ring", source),
    }
}

/// The operations that the reactor uses beyond those every ring has.
const OPERATIONS: [(u8, &str, &str); 13] = [
    (opcode::Accept::CODE, "IORING_OP_ACCEPT", "5.5"),
    (opcode::AsyncCancel::CODE, "IORING_OP_ASYNC_CANCEL", "5.5"),
    (opcode::Connect::CODE, "IORING_OP_CONNECT", "5.5"),
    (opcode::Close::CODE, "IORING_OP_CLOSE", "5.6"),
    (opcode::Read::CODE, "IORING_OP_READ", "5.6"),
    (opcode::Write::CODE, "IORING_OP_WRITE", "5.6"),
    (opcode::Send::CODE, "IORING_OP_SEND", "5.6"),
    (opcode::Recv::CODE, "IORING_OP_RECV", "5.6"),
    (opcode::SendMsg::CODE, "IORING_OP_SENDMSG", "5.3"),
    (opcode::RecvMsg::CODE, "IORING_OP_RECVMSG", "5.3"),
    (opcode::Fsync::CODE, "IORING_OP_FSYNC", "5.1"),
    (opcode::Shutdown::CODE, "IORING_OP_SHUTDOWN", "5.11"),
    // Not used itself: it came with 6.0 as multishot receive did, which has no flag of its own to ask for.
    (opcode::SendZc::CODE, "multishot receive (6.0, with IORING_OP_SEND_ZC)", "6.0"),
];

/// Checks and rounds the options.
pub(crate) fn checked(mut options: ReactorOptions) -> Result<ReactorOptions, StartError> {
    if !(1..=8192).contains(&options.ring_entries) {
        return Err(StartError::Options("ring_entries must be 1 to 8192"));
    }
    if !(1..=32_768).contains(&options.buffer_count) {
        return Err(StartError::Options("buffer_count must be 1 to 32768"));
    }
    if !(256..=1 << 24).contains(&options.buffer_bytes) {
        return Err(StartError::Options("buffer_bytes must be 256 to 16777216"));
    }
    options.buffer_count = options.buffer_count.next_power_of_two();
    Ok(options)
}

/// Pins this thread, so that its memory, its interrupts and its caches stay where they are.
pub(crate) fn pin(core: usize) -> Result<(), StartError> {
    let limit = rustix::thread::CpuSet::MAX_CPU;
    if core >= limit {
        return Err(StartError::Pin(core, io::Error::from(io::ErrorKind::InvalidInput)));
    }
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    rustix::thread::sched_setaffinity(None, &set).map_err(|error| StartError::Pin(core, error.into()))
}

/// The shortest time slice that the kernel grants. A thread that asks for shorter slices gets no more of the core, but
/// gets it sooner: without this a shard that shares its core waits up to 3 ms for its turn after each wake-up.
const SLICE_NS: u64 = 100_000;

/// Asks for short time slices, for this thread and for the workers that the kernel makes for its ring. Linux before 6.12
/// knows no such wish and ignores it; where it is refused, things are as they would be without it.
pub(crate) fn ask_for_short_slices() {
    // SAFETY: plain numbers, for which zeros are valid.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::sched_attr>() as libc::c_uint;
    // SAFETY: thread 0 is the caller; the kernel writes at most `size` bytes to the attributes.
    let known = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) } == 0;
    if known && attributes.sched_policy == libc::SCHED_OTHER as u32 {
        attributes.sched_runtime = SLICE_NS;
        // SAFETY: as above; the kernel only reads. The answer does not matter, as the function's head says.
        unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    }
}

/// Sets up the ring of this thread and asks for every operation that we use.
pub(crate) fn set_up_ring(options: &ReactorOptions) -> Result<IoUring, StartError> {
    let ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_coop_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_cqsize(options.ring_entries.next_power_of_two() * 4)
        .build(options.ring_entries)
        .map_err(|error| explain_setup(error, disabled_sysctl()))?;
    let lacking =
        |feature, since| StartError::Feature { feature, since, source: io::ErrorKind::Unsupported.into() };
    if !ring.params().is_feature_nodrop() {
        return Err(lacking("IORING_FEAT_NODROP", "5.5"));
    }
    if !ring.params().is_feature_ext_arg() {
        return Err(lacking("IORING_FEAT_EXT_ARG", "5.11"));
    }
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(|source| StartError::Feature {
        feature: "IORING_REGISTER_PROBE",
        since: "5.6",
        source,
    })?;
    match OPERATIONS.iter().find(|operation| !probe.is_supported(operation.0)) {
        Some(&(_, feature, since)) => Err(lacking(feature, since)),
        None => Ok(ring),
    }
}

/// Explains why the kernel refused the receive buffers.
pub(crate) fn explain_buffers(source: io::Error) -> StartError {
    match source.raw_os_error() {
        Some(libc::ENOMEM) => StartError::Memory(source),
        Some(libc::EINVAL) => {
            StartError::Feature { feature: "IORING_REGISTER_PBUF_RING", since: "5.19", source }
        }
        _ => StartError::Other("register the receive buffers", source),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn said(errno: i32, disabled: Option<u8>) -> String {
        explain_setup(io::Error::from_raw_os_error(errno), disabled).to_string()
    }

    #[test]
    fn a_refusal_says_what_to_set() {
        assert!(said(libc::EPERM, Some(2)).contains("kernel.io_uring_disabled = 0"));
        assert!(said(libc::EPERM, Some(1)).contains("kernel.io_uring_group"));
        assert!(said(libc::EPERM, Some(0)).contains("seccomp"));
        assert!(said(libc::EPERM, None).contains("seccomp"));
        assert!(said(libc::ENOSYS, Some(0)).contains("seccomp"));
        assert!(said(libc::ENOSYS, None).contains("5.1"));
        assert!(said(libc::EINVAL, None).contains("6.1"));
        assert!(said(libc::ENOMEM, None).contains("LimitMEMLOCK"));
    }

    #[test]
    fn options_are_bounded() {
        assert!(checked(ReactorOptions { ring_entries: 0, ..Default::default() }).is_err());
        assert!(checked(ReactorOptions { buffer_count: 40_000, ..Default::default() }).is_err());
        assert_eq!(
            checked(ReactorOptions { buffer_count: 300, ..Default::default() }).unwrap().buffer_count,
            512
        );
    }
}
