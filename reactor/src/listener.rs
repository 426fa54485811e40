//! Listening sockets: one multishot accept each, paused on request and when nobody takes what has arrived.
//!
//! - **Limits**: [`UNCLAIMED_MAX`] accepted connections wait here; the rest waits in the kernel's backlog.
//! - **On failure**: an accept that fails for want of descriptors or memory is told to the caller of
//!   [`Listener::accept`], who should wait a moment; accepting begins anew with the next call.

use crate::{
    endpoint::{Endpoint, ListenOptions},
    reactor::Core,
    slot::{Descriptor, Slot},
    socket,
    stream::Stream,
    trace::Kind,
};
use io_uring::{opcode, types};
use rustix::net::sockopt;
use std::{
    cell::RefCell,
    collections::VecDeque,
    future::{Future, poll_fn},
    io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    path::Path,
    rc::Rc,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

/// Accepted connections that may wait for [`Listener::accept`] before accepting stops.
const UNCLAIMED_MAX: usize = 64;

/// How often, and how far apart, an address in use is tried again.
const IN_USE_TRIES: u32 = 50;
const IN_USE_WAIT: Duration = Duration::from_millis(10);

pub(crate) struct ListenerCore {
    core: Rc<Core>,
    pub(crate) descriptor: Rc<Descriptor>,
    state: RefCell<State>,
}

struct State {
    arrived: VecDeque<OwnedFd>,
    multishot: Multishot,
    paused: bool,
    dropped: bool,
    error: Option<i32>,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Multishot {
    Idle,
    Armed(usize),
    /// Cancelled; its last completion is still to come.
    Ending,
}

/// A listening TCP or Unix socket. Dropping it ends the listening; a Unix socket's path is removed.
pub struct Listener {
    shared: Rc<ListenerCore>,
    local: Endpoint,
}

impl Listener {
    pub(crate) fn bind(
        core: &Rc<Core>,
        endpoint: &Endpoint,
        options: &ListenOptions,
    ) -> io::Result<Listener> {
        let mut tries = 0;
        let socket = loop {
            match try_bind(endpoint, options) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < IN_USE_TRIES => {
                    tries += 1;
                    thread::sleep(IN_USE_WAIT);
                }
                result => break result?,
            }
        };
        let local = socket::local_endpoint(socket.as_fd())?;
        let state = State {
            arrived: VecDeque::new(),
            multishot: Multishot::Idle,
            paused: false,
            dropped: false,
            error: None,
            waker: None,
        };
        let descriptor = Descriptor::new(core, socket);
        let shared = Rc::new(ListenerCore { core: core.clone(), descriptor, state: RefCell::new(state) });
        Ok(Listener { shared, local })
    }

    /// Waits for the next connection.
    ///
    /// Fails for want of descriptors (EMFILE, ENFILE) or memory: wait a moment, then call again.
    pub async fn accept(&self) -> io::Result<Stream> {
        loop {
            let socket = self.arrived().await?;
            // A peer that has gone since has no name any more; nobody misses it.
            if let Ok(peer) = socket::peer_endpoint(socket.as_fd()) {
                return Ok(Stream::new(&self.shared.core, socket, peer));
            }
        }
    }

    fn arrived(&self) -> impl Future<Output = io::Result<OwnedFd>> + '_ {
        poll_fn(|context| self.shared.poll_arrived(context))
    }

    /// Stops accepting; new connections wait in the kernel's backlog. Those accepted already still come out.
    pub fn pause(&self) {
        self.shared.state.borrow_mut().paused = true;
        self.shared.disarm();
    }

    /// Accepts again after [`pause`](Self::pause).
    pub fn resume(&self) {
        let waker = {
            let mut state = self.shared.state.borrow_mut();
            state.paused = false;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Where we listen; with the port that the kernel chose.
    pub fn local_endpoint(&self) -> &Endpoint {
        &self.local
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let arrived = {
            let mut state = self.shared.state.borrow_mut();
            state.dropped = true;
            state.waker = None;
            std::mem::take(&mut state.arrived)
        };
        drop(arrived);
        self.shared.disarm();
        if let Endpoint::Unix(path) = &self.local {
            // Nothing depends on it: the next listener replaces a path that nobody listens on.
            let _ = std::fs::remove_file(path);
        }
    }
}

impl ListenerCore {
    fn poll_arrived(self: &Rc<Self>, context: &mut Context<'_>) -> Poll<io::Result<OwnedFd>> {
        let mut state = self.state.borrow_mut();
        if let Some(socket) = state.arrived.pop_front() {
            return Poll::Ready(Ok(socket));
        }
        if let Some(errno) = state.error.take() {
            return Poll::Ready(Err(io::Error::from_raw_os_error(errno)));
        }
        state.waker = Some(context.waker().clone());
        drop(state);
        self.arm();
        if !self.core.is_running() {
            return Poll::Ready(Err(io::Error::from_raw_os_error(libc::ECANCELED)));
        }
        Poll::Pending
    }

    fn arm(self: &Rc<Self>) {
        let mut state = self.state.borrow_mut();
        if state.multishot != Multishot::Idle || state.paused || state.dropped || !self.core.is_running() {
            return;
        }
        let fd = types::Fd(self.descriptor.as_raw_fd());
        let entry = opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC).build();
        // SAFETY: no pointers; the slot holds this listener and so its descriptor.
        let index = unsafe {
            self.core.begin_multishot(entry, Kind::Accept, self.descriptor.id, Slot::Accept(self.clone()))
        };
        state.multishot = Multishot::Armed(index);
    }

    fn disarm(&self) {
        let mut state = self.state.borrow_mut();
        if let Multishot::Armed(index) = state.multishot {
            state.multishot = Multishot::Ending;
            drop(state);
            self.core.cancel(index);
        }
    }

    /// A completion of the multishot accept.
    pub(crate) fn on_accept(self: &Rc<Self>, result: i32, more: bool) {
        let mut state = self.state.borrow_mut();
        if !more {
            state.multishot = Multishot::Idle;
        }
        if result >= 0 {
            // SAFETY: the kernel has just made this descriptor for us.
            let socket = unsafe { OwnedFd::from_raw_fd(result) };
            if state.dropped {
                drop(state);
                drop(socket);
                return;
            }
            state.arrived.push_back(socket);
        } else if !matches!(-result, libc::ECANCELED | libc::ECONNABORTED | libc::EINTR | libc::EAGAIN) {
            state.error = Some(-result);
        }
        let full = state.arrived.len() >= UNCLAIMED_MAX;
        let waker = state.waker.take();
        drop(state);
        if full {
            self.disarm();
        }
        // The task that waits takes what has come, or arms again.
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

fn try_bind(endpoint: &Endpoint, options: &ListenOptions) -> io::Result<OwnedFd> {
    let socket = socket::stream_socket(endpoint)?;
    match endpoint {
        Endpoint::Inet(address) => {
            sockopt::set_socket_reuseaddr(&socket, true)?;
            sockopt::set_socket_reuseport(&socket, options.reuse_port)?;
            if address.is_ipv6() {
                sockopt::set_ipv6_v6only(&socket, true)?;
            }
            // Accepted sockets inherit these two.
            sockopt::set_tcp_nodelay(&socket, true)?;
            sockopt::set_socket_keepalive(&socket, options.keepalive)?;
        }
        Endpoint::Unix(path) => remove_if_stale(path)?,
    }
    socket::bind(&socket, endpoint)?;
    rustix::net::listen(&socket, i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    Ok(socket)
}

/// Removes a socket's path that nobody listens on any more.
fn remove_if_stale(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {}
        // Free, or something that is not ours to remove: `bind` says so.
        _ => return Ok(()),
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        _ => Ok(()),
    }
}
