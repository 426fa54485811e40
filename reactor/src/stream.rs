//! Connected stream sockets: multishot receives into shared buffers, sends that own their bytes.
//!
//! - **Receives** by one multishot operation per stream, begun by the first [`Stream::recv`].
//! - **Limits**: [`UNREAD_MAX`] chunks wait for the reader; then the receive is cancelled (a few more may be on their
//!   way) and begun again when the reader has taken them all. When three quarters of the buffers are leased, chunks that
//!   nobody waits for move to the heap and the receive is cancelled at once; when none is left, all unread chunks move.
//!   So streams that nobody reads hold some kilobytes each, and cannot stop the others.
//! - **On failure**: an error ends the receiving or the sending for good. A send whose future was dropped may have sent
//!   a part; the stream then refuses further sends.

mod receive;
mod send;

use self::{
    receive::{Multishot, Receive},
    send::{SendGuard, sent_some},
};
use crate::{
    chunk::Chunk,
    endpoint::{ConnectOptions, Endpoint},
    handle::Handle,
    reactor::{Core, Note, outcome},
    slot::{Cargo, Descriptor, IfDropped, Pieces},
    socket::{self, RawAddress},
    time::Elapsed,
    trace::Kind,
};
use bytes::Bytes;
use io_uring::{opcode, types};
use rustix::net::sockopt;
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    fmt,
    future::{Future, poll_fn},
    io,
    os::fd::{AsRawFd, OwnedFd},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

/// Received chunks that may wait for the reader before the stream stops receiving.
const UNREAD_MAX: usize = 16;

const SEND_FLAGS: i32 = libc::MSG_WAITALL | libc::MSG_NOSIGNAL;

/// The part of a stream that the ring refers to.
pub(crate) struct StreamCore {
    core: Rc<Core>,
    pub(crate) descriptor: Rc<Descriptor>,
    /// Its place among the reactor's streams.
    number: usize,
    receive: RefCell<Receive>,
    sending: Cell<Sending>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sending {
    Idle,
    Busy,
    /// A send was dropped halfway: nobody knows what the peer has got.
    Abandoned,
}

/// A connected TCP or Unix socket. Dropping it closes the connection.
///
/// One task may receive while another sends; but there is one receiver and one sender at a time.
pub struct Stream {
    shared: Rc<StreamCore>,
    peer: Endpoint,
}

/// A connection on its way to another shard; see [`Stream::pass`]. Dropping it closes the connection.
#[derive(Debug)]
pub struct PassedStream {
    socket: OwnedFd,
    peer: Endpoint,
    /// Bytes that were received and not read.
    unread: Vec<u8>,
}

impl Stream {
    pub(crate) fn new(core: &Rc<Core>, socket: OwnedFd, peer: Endpoint) -> Self {
        let receive = Receive {
            unread: VecDeque::new(),
            multishot: Multishot::Idle,
            ended: None,
            waker: None,
            dropped: false,
        };
        let mut streams = core.streams.borrow_mut();
        let entry = streams.vacant_entry();
        let shared = Rc::new(StreamCore {
            core: core.clone(),
            descriptor: Descriptor::new(core, socket),
            number: entry.key(),
            receive: RefCell::new(receive),
            sending: Cell::new(Sending::Idle),
        });
        entry.insert(Rc::downgrade(&shared));
        Self { shared, peer }
    }

    pub(crate) async fn connect(
        handle: &Handle,
        core: &Rc<Core>,
        endpoint: &Endpoint,
        options: &ConnectOptions,
    ) -> io::Result<Stream> {
        let socket = socket::stream_socket(endpoint)?;
        if let Endpoint::Inet(_) = endpoint {
            sockopt::set_tcp_nodelay(&socket, true)?;
            sockopt::set_socket_keepalive(&socket, options.keepalive)?;
            if let Some(bind) = options.bind {
                rustix::net::bind(&socket, &bind)?;
            }
        }
        let address = Box::new(RawAddress::of_endpoint(endpoint)?);
        let descriptor = Descriptor::new(core, socket);
        let fd = types::Fd(descriptor.as_raw_fd());
        let entry = opcode::Connect::new(fd, (&raw const address.storage).cast(), address.len).build();
        let note = Note { kind: Kind::Connect, offset: 0, bytes: 0 };
        // SAFETY: the pointer leads into the boxed address, which is the cargo; the descriptor is the file.
        let operation =
            unsafe { core.begin(entry, note, &descriptor, Cargo::Address(address), IfDropped::Cancel) };
        match handle.timeout(options.timeout, operation).await {
            Ok(([result, _], _)) => outcome(result)?,
            Err(Elapsed) => return Err(Elapsed.into()),
        };
        let socket = Descriptor::into_owned(descriptor).expect("the finished operation has left its slot");
        Ok(Stream::new(core, socket, endpoint.clone()))
    }

    /// Waits for bytes; an empty chunk is the end of the stream.
    ///
    /// If the future is dropped nothing is lost: what arrives later waits for the next call.
    pub fn recv(&self) -> Recv<'_> {
        Recv { shared: &self.shared }
    }

    /// What has arrived already, without waiting; `None` if that is nothing.
    pub fn try_recv(&self) -> Option<io::Result<Chunk>> {
        self.shared.receive.borrow_mut().take()
    }

    /// Sends all of `bytes`, or fails; gives the buffer back for reuse.
    ///
    /// A dropped future leaves the stream unfit for further sends (they fail with `BrokenPipe`).
    pub async fn send(&self, bytes: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        let sender = match SendGuard::begin(&self.shared.sending) {
            Ok(sender) => sender,
            Err(error) => return (Err(error), bytes),
        };
        let shared = &*self.shared;
        let fd = types::Fd(shared.descriptor.as_raw_fd());
        let (mut bytes, mut sent) = (bytes, 0);
        while sent < bytes.len() {
            let rest = &bytes[sent..];
            let len = u32::try_from(rest.len()).unwrap_or(u32::MAX >> 1);
            let entry = opcode::Send::new(fd, rest.as_ptr(), len).flags(SEND_FLAGS).build();
            let note = Note { kind: Kind::Send, offset: sent as u64, bytes: len as usize };
            // SAFETY: the pointer leads into the heap memory of `bytes`, which is the cargo.
            let operation = unsafe {
                shared.core.begin(entry, note, &shared.descriptor, Cargo::Bytes(bytes), IfDropped::Cancel)
            };
            let ([result, _], cargo) = operation.await;
            let Cargo::Bytes(back) = cargo else { unreachable!("the cargo comes back as it went") };
            bytes = back;
            match sent_some(result) {
                Ok(count) => sent += count,
                Err(error) => return (Err(error), bytes),
            }
        }
        sender.finish();
        (Ok(()), bytes)
    }

    /// Sends all pieces in order, or fails. Any number of pieces; the kernel gets 1024 at a time.
    ///
    /// A dropped future leaves the stream unfit for further sends (they fail with `BrokenPipe`).
    pub async fn send_vectored(&self, pieces: Vec<Bytes>) -> io::Result<()> {
        let sender = SendGuard::begin(&self.shared.sending)?;
        let shared = &*self.shared;
        let fd = types::Fd(shared.descriptor.as_raw_fd());
        let mut pieces = Box::new(Pieces::new(pieces));
        let (mut piece, mut offset) = (0, 0);
        loop {
            let len = pieces.describe(piece, offset);
            if len == 0 {
                break;
            }
            let entry = opcode::SendMsg::new(fd, &raw const pieces.header).flags(SEND_FLAGS as u32).build();
            let note = Note { kind: Kind::SendMsg, offset: 0, bytes: len };
            // SAFETY: the pointer leads into the boxed cargo, and from there to memory that it owns.
            let operation = unsafe {
                shared.core.begin(entry, note, &shared.descriptor, Cargo::Pieces(pieces), IfDropped::Cancel)
            };
            let ([result, _], cargo) = operation.await;
            let Cargo::Pieces(back) = cargo else { unreachable!("the cargo comes back as it went") };
            pieces = back;
            (piece, offset) = pieces.skip(piece, offset, sent_some(result)?);
        }
        sender.finish();
        Ok(())
    }

    /// Tells the peer that nothing more will be sent (it sees the end of the stream); receiving goes on.
    pub async fn shutdown_send(&self) -> io::Result<()> {
        let shared = &*self.shared;
        let entry = opcode::Shutdown::new(types::Fd(shared.descriptor.as_raw_fd()), libc::SHUT_WR).build();
        let note = Note { kind: Kind::Shutdown, offset: 0, bytes: 0 };
        // SAFETY: no pointers; the descriptor is the file.
        let operation =
            unsafe { shared.core.begin(entry, note, &shared.descriptor, Cargo::None, IfDropped::Finish) };
        let ([result, _], _) = operation.await;
        outcome(result).map(drop)
    }

    /// The other end's address; an empty path for an unnamed Unix socket.
    pub fn peer(&self) -> &Endpoint {
        &self.peer
    }

    /// Our end's address.
    pub fn local(&self) -> io::Result<Endpoint> {
        socket::local_endpoint(self.shared.descriptor.borrow())
    }

    /// Stops receiving, so that the stream can be [passed](Self::pass) on. What has arrived stays unread, and the next
    /// [`recv`](Self::recv) begins again.
    pub async fn rest(&self) {
        poll_fn(|context| self.shared.poll_rest(context)).await;
    }

    /// Takes the connection off this reactor, with what it has received and nobody has read, so that another shard's
    /// can [`adopt`](Handle::adopt) it.
    ///
    /// Panics if the stream receives (it does after a [`recv`](Self::recv) until it [rests](Self::rest)), or a send is
    /// under way or was given up: such a stream has operations in this reactor's ring.
    pub fn pass(self) -> PassedStream {
        let Self { shared, peer } = &self;
        let idle =
            shared.receive.borrow().multishot == Multishot::Idle && shared.sending.get() == Sending::Idle;
        assert!(idle, "a stream is passed on while it rests and between sends");
        let (shared, peer) = (shared.clone(), peer.clone());
        let chunks = std::mem::take(&mut shared.receive.borrow_mut().unread);
        let unread = chunks.iter().flat_map(|chunk| chunk.iter().copied()).collect();
        drop(chunks);
        drop(self);
        let shared = Rc::into_inner(shared).expect("an idle stream is in no slot");
        let socket = Descriptor::into_owned(shared.descriptor).expect("an idle stream is in no slot");
        PassedStream { socket, peer, unread }
    }

    pub(crate) fn adopt(core: &Rc<Core>, passed: PassedStream) -> Stream {
        let stream = Stream::new(core, passed.socket, passed.peer);
        if !passed.unread.is_empty() {
            stream.shared.receive.borrow_mut().unread.push_back(Chunk::heap(passed.unread));
        }
        stream
    }
}

/// The future of [`Stream::recv`].
#[must_use = "futures do nothing unless awaited"]
pub struct Recv<'a> {
    shared: &'a Rc<StreamCore>,
}

impl Future for Recv<'_> {
    type Output = io::Result<Chunk>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.shared.poll_recv(context)
    }
}

impl Drop for Recv<'_> {
    fn drop(&mut self) {
        // Nobody waits now: what arrives under pressure may go to the heap.
        self.shared.receive.borrow_mut().waker = None;
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let (unread, multishot) = {
            let mut receive = self.shared.receive.borrow_mut();
            receive.dropped = true;
            receive.waker = None;
            (std::mem::take(&mut receive.unread), receive.multishot)
        };
        drop(unread);
        self.shared.core.streams.borrow_mut().remove(self.shared.number);
        // The descriptor is closed when the last slot lets go of it.
        let core = &self.shared.core;
        match multishot {
            Multishot::Armed(index) => {
                self.shared.receive.borrow_mut().multishot = Multishot::Ending;
                core.cancel(index);
            }
            Multishot::Starved => {
                core.starved.borrow_mut().retain(|stream| !Rc::ptr_eq(stream, &self.shared))
            }
            Multishot::Idle | Multishot::Ending => {}
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({} to {})", self.shared.descriptor.id, self.peer)
    }
}
