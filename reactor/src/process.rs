//! What the process needs of the system besides its reactors: limits, and who is at the other end of a Unix socket.

use std::io;
use std::os::unix::net::UnixStream;

use nix::unistd::{Gid, Group, Uid, User, setegid, seteuid, setgid, setgroups, setuid};
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

/// Who connected to a Unix socket, as the kernel noted it at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerCredentials {
    /// The process.
    pub pid: u32,
    /// Its effective user.
    pub uid: u32,
}

/// Who is at the other end (`SO_PEERCRED`).
///
/// # Errors
/// The system's refusal.
pub fn peer_credentials(stream: &UnixStream) -> io::Result<PeerCredentials> {
    let peer = rustix::net::sockopt::socket_peercred(stream)?;
    Ok(PeerCredentials { pid: peer.pid.as_raw_nonzero().get().unsigned_abs(), uid: peer.uid.as_raw() })
}

/// The effective user of this process.
pub fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The name of a user; `None` if the system knows none. **Blocks** for as long as the name service takes.
pub fn user_name(uid: u32) -> Option<String> {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name)
}

/// Gives up the superuser's rights for those of this user and group, for good; what is made from here on is theirs.
///
/// # Errors
/// The system's refusal; some of the rights may be gone by then.
pub fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    let gid = Gid::from_raw(gid);
    setgroups(&[gid])?;
    setgid(gid)?;
    setuid(Uid::from_raw(uid))?;
    Ok(())
}

/// The effective group of this process.
pub fn effective_gid() -> u32 {
    rustix::process::getegid().as_raw()
}

/// Takes the rights of a user and a group, and of no other group, until [`act_as`] is called again. For root only, in a
/// command of one thread.
///
/// # Errors
/// The system's refusal; the rights are then undefined, and the process should end.
pub fn act_as(uid: u32, gid: u32) -> io::Result<()> {
    seteuid(Uid::from_raw(0))?;
    setegid(Gid::from_raw(gid))?;
    setgroups(&[Gid::from_raw(gid)])?;
    seteuid(Uid::from_raw(uid)).map_err(io::Error::from)
}

/// The line of a user in the user database, `name:password:uid:gid:gecos:home:shell`. **Blocks** for as long as the name
/// service takes.
///
/// # Errors
/// The name service cannot be asked.
pub fn user_entry(name: &str) -> io::Result<Option<String>> {
    let user = User::from_name(name).map_err(io::Error::from)?;
    Ok(user.map(|user| {
        format!(
            "{}:{}:{}:{}:{}:{}:{}",
            user.name,
            user.passwd.to_string_lossy(),
            user.uid,
            user.gid,
            user.gecos.to_string_lossy(),
            user.dir.display(),
            user.shell.display()
        )
    }))
}

/// The line of a group, `name:password:gid:member,member`. **Blocks** as [`user_entry`].
///
/// # Errors
/// The name service cannot be asked.
pub fn group_entry(name: &str) -> io::Result<Option<String>> {
    let group = Group::from_name(name).map_err(io::Error::from)?;
    Ok(group.map(|group| {
        let password = group.passwd.to_string_lossy();
        format!("{}:{password}:{}:{}", group.name, group.gid, group.mem.join(","))
    }))
}
