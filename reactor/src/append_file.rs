//! Files that lines are appended to: mail logs, also pipes and terminals.

use crate::{
    reactor::{Core, Note, outcome},
    slot::{Cargo, Descriptor, IfDropped},
    trace::Kind,
};
use io_uring::{opcode, types};
use rustix::fs::{self as sys, FileType, Mode, OFlags};
use std::{io, os::fd::AsRawFd, path::Path, rc::Rc};

/// The offset that means "where the file is": its end, for a file opened to append.
const AT_POSITION: u64 = u64::MAX;

/// A file that is only appended to.
pub struct AppendFile {
    core: Rc<Core>,
    descriptor: Rc<Descriptor>,
    /// Pipes and terminals have nothing to sync.
    is_regular: bool,
}

impl AppendFile {
    pub(crate) fn open(core: &Rc<Core>, path: &Path) -> io::Result<Self> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file = match sys::open(path, flags, Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH) {
            Ok(file) => file,
            // Where the standard output is a socket it has no name that could be opened.
            Err(rustix::io::Errno::NXIO) if path == Path::new("/dev/stdout") => {
                rustix::io::fcntl_dupfd_cloexec(io::stdout(), 3)?
            }
            Err(error) => return Err(error.into()),
        };
        let is_regular = FileType::from_raw_mode(sys::fstat(&file)?.st_mode) == FileType::RegularFile;
        Ok(Self { core: core.clone(), descriptor: Descriptor::new(core, file), is_regular })
    }

    /// Appends all bytes, or fails; gives the buffer back for reuse.
    ///
    /// Await one write before the next: two at a time may change places. A dropped future does not stop the write.
    pub async fn write(&self, mut bytes: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        let mut written = 0;
        while written < bytes.len() {
            let rest = &bytes[written..];
            let len = u32::try_from(rest.len()).unwrap_or(u32::MAX >> 1);
            let fd = types::Fd(self.descriptor.as_raw_fd());
            let entry = opcode::Write::new(fd, rest.as_ptr(), len).offset(AT_POSITION).build();
            let note = Note { kind: Kind::Append, offset: written as u64, bytes: len as usize };
            // SAFETY: the pointer leads into the heap memory of `bytes`, which is the cargo.
            let operation = unsafe {
                self.core.begin(entry, note, &self.descriptor, Cargo::Bytes(bytes), IfDropped::Finish)
            };
            let ([result, _], cargo) = operation.await;
            let Cargo::Bytes(back) = cargo else { unreachable!("the cargo comes back as it went") };
            bytes = back;
            match outcome(result) {
                Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), bytes),
                Ok(count) => written += count,
                Err(error) => return (Err(error), bytes),
            }
        }
        (Ok(()), bytes)
    }

    /// Makes durable what has been written and awaited before; no effect on pipes and terminals.
    pub async fn sync_data(&self) -> io::Result<()> {
        if !self.is_regular {
            return Ok(());
        }
        let fd = types::Fd(self.descriptor.as_raw_fd());
        let entry = opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build();
        let note = Note { kind: Kind::Fdatasync, offset: 0, bytes: 0 };
        // SAFETY: no pointers; the descriptor is the file.
        let operation =
            unsafe { self.core.begin(entry, note, &self.descriptor, Cargo::None, IfDropped::Finish) };
        let ([result, _], _) = operation.await;
        outcome(result).map(drop)
    }
}
