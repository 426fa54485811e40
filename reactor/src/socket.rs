//! Sockets as the kernel knows them: made here, blocking for an instant, before the ring uses them.

use crate::endpoint::Endpoint;
use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use std::{
    ffi::OsStr,
    io,
    mem::{MaybeUninit, offset_of},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::PathBuf,
};

/// Whether an operation failed because this process or host has no descriptors, socket buffers or memory left: it says
/// nothing about the peer, and will do so for others as well for a while.
pub fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// A socket address in the kernel's form.
pub(crate) struct RawAddress {
    pub(crate) storage: libc::sockaddr_storage,
    pub(crate) len: libc::socklen_t,
}

impl RawAddress {
    /// Room for an address that the kernel writes.
    pub(crate) fn empty() -> Self {
        // SAFETY: all zeros is a valid `sockaddr_storage`: no family, no address.
        let storage = unsafe { MaybeUninit::<libc::sockaddr_storage>::zeroed().assume_init() };
        Self { storage, len: size_of::<libc::sockaddr_storage>() as libc::socklen_t }
    }

    /// Fails with `InvalidInput` if a path is too long for a socket (107 bytes).
    pub(crate) fn of_endpoint(endpoint: &Endpoint) -> io::Result<Self> {
        match endpoint {
            Endpoint::Inet(address) => Ok(Self::of(*address)),
            Endpoint::Unix(path) => {
                let path = path.as_os_str().as_bytes();
                let mut raw = libc::sockaddr_un { sun_family: libc::AF_UNIX as _, sun_path: [0; 108] };
                if path.is_empty() || path.len() >= raw.sun_path.len() || path.contains(&0) {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidInput,
                        "a socket's path has 1 to 107 bytes",
                    ));
                }
                for (to, from) in raw.sun_path.iter_mut().zip(path) {
                    *to = *from as _;
                }
                Ok(Self::store(raw, offset_of!(libc::sockaddr_un, sun_path) + path.len() + 1))
            }
        }
    }

    pub(crate) fn of(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(address) => {
                let raw = libc::sockaddr_in {
                    sin_family: libc::AF_INET as _,
                    sin_port: address.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
                    sin_zero: [0; 8],
                };
                Self::store(raw, size_of::<libc::sockaddr_in>())
            }
            SocketAddr::V6(address) => {
                let raw = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as _,
                    sin6_port: address.port().to_be(),
                    sin6_flowinfo: address.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                    sin6_scope_id: address.scope_id(),
                };
                Self::store(raw, size_of::<libc::sockaddr_in6>())
            }
        }
    }

    fn store<T>(raw: T, len: usize) -> Self {
        assert!(size_of::<T>() <= size_of::<libc::sockaddr_storage>());
        let mut address = Self::empty();
        // SAFETY: the storage is large enough (asserted) and aligned for every kind of socket address.
        unsafe { (&raw mut address.storage).cast::<T>().write(raw) };
        address.len = len as libc::socklen_t;
        address
    }

    /// The Internet address that the kernel wrote, if it is one.
    pub(crate) fn inet(&self) -> Option<SocketAddr> {
        match i32::from(self.storage.ss_family) {
            libc::AF_INET => {
                // SAFETY: the family says what the storage holds; it is large enough and aligned.
                let raw = unsafe { &*(&raw const self.storage).cast::<libc::sockaddr_in>() };
                let ip = Ipv4Addr::from(raw.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddr::new(IpAddr::V4(ip), u16::from_be(raw.sin_port)))
            }
            libc::AF_INET6 => {
                // SAFETY: as above.
                let raw = unsafe { &*(&raw const self.storage).cast::<libc::sockaddr_in6>() };
                let ip = Ipv6Addr::from(raw.sin6_addr.s6_addr);
                let port = u16::from_be(raw.sin6_port);
                Some(SocketAddr::V6(SocketAddrV6::new(ip, port, raw.sin6_flowinfo, raw.sin6_scope_id)))
            }
            _ => None,
        }
    }
}

fn family(address: SocketAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
}

/// A stream socket of the endpoint's family. It stays in blocking mode: the ring waits for it by itself.
pub(crate) fn stream_socket(endpoint: &Endpoint) -> io::Result<OwnedFd> {
    let family = match endpoint {
        Endpoint::Inet(address) => family(*address),
        Endpoint::Unix(_) => AddressFamily::UNIX,
    };
    Ok(rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?)
}

pub(crate) fn datagram_socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(family(address), SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

/// Binds a stream socket to its endpoint.
pub(crate) fn bind(socket: &OwnedFd, endpoint: &Endpoint) -> io::Result<()> {
    match endpoint {
        Endpoint::Inet(address) => rustix::net::bind(socket, address)?,
        Endpoint::Unix(path) => rustix::net::bind(socket, &SocketAddrUnix::new(path.as_path())?)?,
    }
    Ok(())
}

pub(crate) fn local_endpoint(socket: BorrowedFd<'_>) -> io::Result<Endpoint> {
    endpoint_of(rustix::net::getsockname(socket)?)
}

/// Fails with `NotConnected` if the peer is gone already.
pub(crate) fn peer_endpoint(socket: BorrowedFd<'_>) -> io::Result<Endpoint> {
    match rustix::net::getpeername(socket)? {
        Some(address) => endpoint_of(address),
        None => Ok(Endpoint::Unix(PathBuf::new())),
    }
}

fn endpoint_of(address: SocketAddrAny) -> io::Result<Endpoint> {
    if let Ok(address) = SocketAddr::try_from(address.clone()) {
        return Ok(Endpoint::Inet(address));
    }
    let address = SocketAddrUnix::try_from(address)?;
    let path = address.path_bytes().map(|path| path.strip_suffix(b"\0").unwrap_or(path)).unwrap_or_default();
    Ok(Endpoint::Unix(PathBuf::from(OsStr::from_bytes(path))))
}
