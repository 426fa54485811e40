//! What the tasks of a shard hold of their reactor.

use crate::{
    append_file::AppendFile,
    endpoint::{ConnectOptions, Endpoint, ListenOptions},
    listener::Listener,
    log_file::{LogFile, LogMode},
    reactor::{Core, Figures},
    remote::Remote,
    stream::{PassedStream, Stream},
    time::{Moment, WallTime},
    udp::UdpSocket,
    wait::{Sleep, Timeout, Turn, TurnPart},
};
use std::{future::Future, io, net::SocketAddr, path::Path, rc::Rc, time::Duration};

/// A handle to the reactor of this thread; cheap to clone, and not to be sent elsewhere.
#[derive(Clone)]
pub struct Handle {
    core: Rc<Core>,
}

impl Handle {
    pub(crate) fn new(core: Rc<Core>) -> Self {
        Self { core }
    }

    /// Starts a task; it runs in this turn or the next and is dropped at the end of the reactor.
    ///
    /// To learn its result, or that it ended, give it a [`local::oneshot`](crate::local::oneshot). Once the reactor is
    /// being stopped the task is dropped at once.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        if self.core.is_running() {
            self.core.tasks.spawn(Box::pin(future));
        }
    }

    /// The monotonic time, read once a turn.
    pub fn now(&self) -> Moment {
        self.core.now()
    }

    /// The wall-clock time, read at most once a turn.
    pub fn wall(&self) -> WallTime {
        self.core.wall()
    }

    /// Waits for `wait` from now; never less, at most about a millisecond more.
    pub fn sleep(&self, wait: Duration) -> Sleep {
        self.sleep_until(self.now().after(wait))
    }

    /// Waits until `moment`; resolves at once if it is past.
    pub fn sleep_until(&self, moment: Moment) -> Sleep {
        Sleep::new(self.core.clone(), moment)
    }

    /// Gives `future` at most `limit` from now. It is asked first, so a limit costs nothing where the result is ready.
    pub fn timeout<F: Future>(&self, limit: Duration, future: F) -> Timeout<F> {
        Timeout::new(future, self.sleep(limit))
    }

    /// Lets all other ready tasks run, and looks at the ring, before this task goes on.
    pub fn yield_now(&self) -> Turn {
        Turn::new(self.core.clone(), TurnPart::Next)
    }

    /// Resolves when all other tasks that are ready in this turn have run (but a busy turn is cut at 1024 polls): the
    /// point at which to send what they have gathered.
    pub fn end_of_turn(&self) -> Turn {
        Turn::new(self.core.clone(), TurnPart::End)
    }

    /// Resolves at the next [`Remote::wake`], at once if there was one that nobody waited for.
    pub async fn woken(&self) {
        self.core.woken.notified().await;
    }

    /// A handle for other threads.
    pub fn remote(&self) -> Remote {
        self.core.remote()
    }

    /// What the reactor has done so far.
    pub fn figures(&self) -> Figures {
        self.core.figures()
    }

    /// Listens on a TCP port or a Unix socket.
    ///
    /// **Blocks** for up to half a second if the address is in use, because a listener with a multishot accept holds
    /// its port some milliseconds beyond its end. A Unix socket that nobody listens on any more is replaced.
    pub fn listen(&self, endpoint: &Endpoint, options: &ListenOptions) -> io::Result<Listener> {
        Listener::bind(&self.core, endpoint, options)
    }

    /// Connects to a TCP port or a Unix socket.
    ///
    /// Fails with `TimedOut` when the time in the options has passed, and with the kernel's answer otherwise.
    pub async fn connect(&self, endpoint: &Endpoint, options: &ConnectOptions) -> io::Result<Stream> {
        Stream::connect(self, &self.core, endpoint, options).await
    }

    /// Takes over a connection that another shard has passed on.
    pub fn adopt(&self, passed: PassedStream) -> Stream {
        Stream::adopt(&self.core, passed)
    }

    /// A UDP socket bound to `address`; port 0 lets the kernel choose one.
    pub fn udp(&self, address: SocketAddr) -> io::Result<UdpSocket> {
        UdpSocket::bind(&self.core, address)
    }

    /// Opens a file for aligned writes at given offsets. Blocks for the opening.
    pub fn open_log(&self, path: &Path, mode: LogMode) -> io::Result<LogFile> {
        LogFile::open(&self.core, path, mode)
    }

    /// Opens a file, a pipe or a terminal (such as `/dev/stdout`) for appending; creates it with mode 0644 if it does
    /// not exist. Blocks for the opening.
    pub fn open_append(&self, path: &Path) -> io::Result<AppendFile> {
        AppendFile::open(&self.core, path)
    }
}
