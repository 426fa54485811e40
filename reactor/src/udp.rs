//! UDP sockets, for questions to name servers.

use crate::{
    reactor::{Core, Note, outcome},
    slot::{Cargo, Datagram, Descriptor, IfDropped},
    socket::{self, RawAddress},
    trace::Kind,
};
use io_uring::{opcode, types};
use std::{
    io,
    mem::MaybeUninit,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd},
    ptr,
    rc::Rc,
};

/// Longest datagram that is received: the most that a resolver offers to take (RFC 6891, section 6.2.5, suggests 4096).
/// Longer ones are dropped.
pub const DATAGRAM_BYTES_MAX: usize = 4096;

/// A bound UDP socket.
pub struct UdpSocket {
    core: Rc<Core>,
    descriptor: Rc<Descriptor>,
    local: SocketAddr,
}

impl UdpSocket {
    pub(crate) fn bind(core: &Rc<Core>, address: SocketAddr) -> io::Result<Self> {
        let socket = socket::datagram_socket(address)?;
        let local = match socket::local_endpoint(socket.as_fd())? {
            crate::Endpoint::Inet(local) => local,
            crate::Endpoint::Unix(_) => unreachable!("a UDP socket has an Internet address"),
        };
        Ok(Self { core: core.clone(), descriptor: Descriptor::new(core, socket), local })
    }

    /// The address that the socket is bound to, with the port that the kernel chose.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Sends one datagram; gives the buffer back.
    pub async fn send_to(&self, bytes: Vec<u8>, to: SocketAddr) -> (io::Result<()>, Vec<u8>) {
        let mut datagram = Datagram::new(bytes, RawAddress::of(to));
        datagram.describe();
        let fd = types::Fd(self.descriptor.as_raw_fd());
        let entry =
            opcode::SendMsg::new(fd, &raw const datagram.header).flags(libc::MSG_NOSIGNAL as u32).build();
        let note = Note { kind: Kind::SendTo, offset: 0, bytes: datagram.bytes.len() };
        // SAFETY: the pointer leads into the boxed cargo, and from there to memory that it owns.
        let operation = unsafe {
            self.core.begin(entry, note, &self.descriptor, Cargo::Datagram(datagram), IfDropped::Cancel)
        };
        let ([result, _], cargo) = operation.await;
        let Cargo::Datagram(datagram) = cargo else { unreachable!("the cargo comes back as it went") };
        (outcome(result).map(drop), datagram.bytes)
    }

    /// Waits for a datagram of at most [`DATAGRAM_BYTES_MAX`] bytes, and says who sent it. Longer ones are dropped.
    ///
    /// If the future is dropped, a datagram that arrives at that moment may be lost, as datagrams may.
    pub async fn recv_from(&self) -> io::Result<(Vec<u8>, SocketAddr)> {
        loop {
            let mut datagram = Datagram::new(vec![0; DATAGRAM_BYTES_MAX], RawAddress::empty());
            datagram.describe();
            let fd = types::Fd(self.descriptor.as_raw_fd());
            let entry = opcode::RecvMsg::new(fd, &raw mut datagram.header).build();
            let note = Note { kind: Kind::RecvMsg, offset: 0, bytes: DATAGRAM_BYTES_MAX };
            // SAFETY: the pointer leads into the boxed cargo, and from there to memory that it owns.
            let operation = unsafe {
                self.core.begin(entry, note, &self.descriptor, Cargo::Datagram(datagram), IfDropped::Cancel)
            };
            let ([result, _], cargo) = operation.await;
            let count = outcome(result)?;
            let Cargo::Datagram(mut datagram) = cargo else {
                unreachable!("the cargo comes back as it went")
            };
            if datagram.header.msg_flags & libc::MSG_TRUNC == 0
                && let Some(from) = datagram.address.inet()
            {
                datagram.bytes.truncate(count);
                return Ok((datagram.bytes, from));
            }
        }
    }
}

impl Datagram {
    fn new(bytes: Vec<u8>, address: RawAddress) -> Box<Self> {
        // SAFETY: all zeros is a valid message header that describes nothing.
        let header = unsafe { MaybeUninit::<libc::msghdr>::zeroed().assume_init() };
        Box::new(Self {
            bytes,
            address,
            vector: libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 },
            header,
        })
    }

    /// Points the header at the bytes and the address; to be called in the box where they stay.
    fn describe(&mut self) {
        self.vector = libc::iovec { iov_base: self.bytes.as_mut_ptr().cast(), iov_len: self.bytes.len() };
        self.header.msg_name = (&raw mut self.address.storage).cast();
        self.header.msg_namelen = self.address.len;
        self.header.msg_iov = &raw mut self.vector;
        self.header.msg_iovlen = 1;
    }
}
