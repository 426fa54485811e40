//! Files of aligned blocks, written at given offsets and made durable through the ring.
//!
//! - **Durable write**: a write and an fdatasync, linked in the ring: the second begins only after the first has
//!   written every byte. One system call for both, shared with everything else of the turn.
//! - Where the file system refuses `O_DIRECT` (tmpfs, some overlays) the same operations go through the page cache,
//!   with the same sync; [`LogFile::is_direct`] says so.
//! - **On failure**: a short write is an error. After a failed write or sync the state of the file's pages is unknown
//!   (the kernel may have dropped them): the caller must give the file up, not try again.

use crate::{
    aligned::{ALIGNMENT, AlignedBuffer},
    reactor::{Core, Note, outcome},
    slot::{Cargo, Descriptor, IfDropped, Operation},
    trace::Kind,
};
use io_uring::{opcode, squeue, types};
use rustix::fs::{self as sys, Mode, OFlags};
use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
    rc::Rc,
};

/// Zeros are written in pieces of this size: large enough for the disk, small enough to come in turn with others.
const ZERO_PIECE_BYTES: usize = 1 << 20;

/// Longest single read or write; below what the kernel takes at once (2 GiB less a page).
pub const TRANSFER_BYTES_MAX: usize = 1 << 30;

/// How a log file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogMode {
    /// Create the file, with mode 0600; fails with `AlreadyExists` if there is one. The name is durable only after
    /// [`fs::sync_dir`](crate::fs::sync_dir).
    pub create: bool,
    /// Go around the page cache (`O_DIRECT`) where the file system allows it.
    pub direct: bool,
}

/// A file that is read and written at given offsets, in multiples of 4 KiB where it is direct.
///
/// Operations that overlap in time are not ordered among each other, except by awaiting them.
pub struct LogFile {
    core: Rc<Core>,
    descriptor: Rc<Descriptor>,
    direct: bool,
}

impl LogFile {
    pub(crate) fn open(core: &Rc<Core>, path: &Path, mode: LogMode) -> io::Result<Self> {
        let (file, direct) = open(path, mode)?;
        let descriptor = Descriptor::new(core, file);
        core.trace_open(descriptor.id, path, direct);
        Ok(Self { core: core.clone(), descriptor, direct })
    }

    /// Whether the file goes around the page cache: then offsets and lengths must be multiples of 4 KiB.
    pub fn is_direct(&self) -> bool {
        self.direct
    }

    /// The length of the file in bytes.
    pub fn len(&self) -> io::Result<u64> {
        let length = sys::fstat(self.descriptor.borrow())?.st_size;
        u64::try_from(length).map_err(|_| io::ErrorKind::InvalidData.into())
    }

    /// Whether the file is empty.
    pub fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Writes the whole buffer at `offset` and makes it durable, or fails; gives the buffer back.
    ///
    /// Returns only after the completion of an fdatasync that the kernel began after the write. A dropped future does
    /// not stop the write.
    pub async fn write_durable(&self, offset: u64, buffer: AlignedBuffer) -> (io::Result<()>, AlignedBuffer) {
        let wanted = self.check(offset, buffer.len());
        let (write, write_note) = self.write_entry(offset, &buffer);
        let (sync, sync_note) = self.sync_entry();
        let entries = [(write, write_note), (sync, sync_note)];
        // SAFETY: the write's pointer leads into the buffer's heap memory, which is the cargo.
        let operation = unsafe {
            self.core.begin_linked(entries, &self.descriptor, Cargo::Aligned(buffer), IfDropped::Finish)
        };
        let ([written, synced], buffer) = finish(operation).await;
        (whole(written, wanted).and_then(|()| outcome(synced).map(drop)), buffer)
    }

    /// Writes the whole buffer at `offset`, or fails; gives the buffer back. Durable only after
    /// [`sync_data`](Self::sync_data).
    pub async fn write_at(&self, offset: u64, buffer: AlignedBuffer) -> (io::Result<()>, AlignedBuffer) {
        let wanted = self.check(offset, buffer.len());
        let (entry, note) = self.write_entry(offset, &buffer);
        // SAFETY: the pointer leads into the buffer's heap memory, which is the cargo.
        let operation = unsafe {
            self.core.begin(entry, note, &self.descriptor, Cargo::Aligned(buffer), IfDropped::Finish)
        };
        let ([written, _], buffer) = finish(operation).await;
        (whole(written, wanted), buffer)
    }

    /// Reads at `offset` until the buffer's capacity is full or the file ends; the buffer's length then says how much
    /// was read. What the buffer held before is lost.
    pub async fn read_at(&self, offset: u64, mut buffer: AlignedBuffer) -> (io::Result<()>, AlignedBuffer) {
        let wanted = self.check(offset, buffer.capacity());
        buffer.clear();
        let mut have = 0;
        while have < wanted {
            let len = (wanted - have) as u32;
            let fd = types::Fd(self.descriptor.as_raw_fd());
            // SAFETY: `have` is below the capacity.
            let start = unsafe { buffer.as_mut_ptr().add(have) };
            let position = offset + have as u64;
            let entry = opcode::Read::new(fd, start, len).offset(position).build();
            let note = Note { kind: Kind::Read, offset: position, bytes: len as usize };
            // SAFETY: the pointer leads into the buffer's heap memory, which is the cargo.
            let operation = unsafe {
                self.core.begin(entry, note, &self.descriptor, Cargo::Aligned(buffer), IfDropped::Cancel)
            };
            let ([result, _], back) = finish(operation).await;
            buffer = back;
            match outcome(result) {
                Err(error) => return (Err(error), buffer),
                Ok(count) => {
                    have += count;
                    buffer.set_len(have);
                    // A direct read that ends within a block has met the end of the file.
                    if count == 0 || (self.direct && !have.is_multiple_of(ALIGNMENT)) {
                        break;
                    }
                }
            }
        }
        (Ok(()), buffer)
    }

    /// Makes durable what has been written and awaited before.
    pub async fn sync_data(&self) -> io::Result<()> {
        let (entry, note) = self.sync_entry();
        // SAFETY: no pointers; the descriptor is the file.
        let operation =
            unsafe { self.core.begin(entry, note, &self.descriptor, Cargo::None, IfDropped::Finish) };
        let ([result, _], _) = operation.await;
        outcome(result).map(drop)
    }

    /// Writes zeros from the start of the file to `total_bytes` (a multiple of 4 KiB), and makes them durable.
    ///
    /// Blocks that have been written once are later overwritten in place, without the file system's journal.
    pub async fn zero_fill(&self, total_bytes: u64) -> io::Result<()> {
        assert!(total_bytes.is_multiple_of(ALIGNMENT as u64), "a segment is a number of whole blocks");
        let piece = usize::try_from(total_bytes).unwrap_or(usize::MAX).min(ZERO_PIECE_BYTES);
        let mut zeros = AlignedBuffer::zeroed(piece);
        let mut offset = 0;
        while offset < total_bytes {
            zeros.truncate(usize::try_from(total_bytes - offset).unwrap_or(usize::MAX));
            let bytes = zeros.len() as u64;
            let (result, back) = self.write_at(offset, zeros).await;
            result?;
            zeros = back;
            offset += bytes;
        }
        self.sync_data().await
    }

    fn check(&self, offset: u64, len: usize) -> usize {
        assert!(len <= TRANSFER_BYTES_MAX, "a transfer is at most 1 GiB");
        let aligned = len.is_multiple_of(ALIGNMENT) && offset.is_multiple_of(ALIGNMENT as u64);
        assert!(!self.direct || aligned, "a direct file is read and written in whole blocks");
        len
    }

    fn write_entry(&self, offset: u64, buffer: &AlignedBuffer) -> (squeue::Entry, Note) {
        let fd = types::Fd(self.descriptor.as_raw_fd());
        let entry = opcode::Write::new(fd, buffer.as_ptr(), buffer.len() as u32).offset(offset).build();
        (entry, Note { kind: Kind::Write, offset, bytes: buffer.len() })
    }

    fn sync_entry(&self) -> (squeue::Entry, Note) {
        let fd = types::Fd(self.descriptor.as_raw_fd());
        let entry = opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build();
        (entry, Note { kind: Kind::Fdatasync, offset: 0, bytes: 0 })
    }
}

async fn finish(operation: Operation<'_>) -> ([i32; 2], AlignedBuffer) {
    let (results, cargo) = operation.await;
    let Cargo::Aligned(buffer) = cargo else { unreachable!("the cargo comes back as it went") };
    (results, buffer)
}

/// A write that is short has failed: the next bytes would not go where the caller thinks.
fn whole(result: i32, wanted: usize) -> io::Result<()> {
    let written = outcome(result)?;
    if written == wanted {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::WriteZero, format!("short write: {written} of {wanted} bytes")))
}

fn open(path: &Path, mode: LogMode) -> io::Result<(OwnedFd, bool)> {
    let mut flags = OFlags::RDWR | OFlags::CLOEXEC;
    if mode.create {
        flags |= OFlags::CREATE | OFlags::EXCL;
    }
    let permissions = Mode::RUSR | Mode::WUSR;
    if !mode.direct {
        return Ok((sys::open(path, flags, permissions)?, false));
    }
    match sys::open(path, flags | OFlags::DIRECT, permissions) {
        Ok(file) => Ok((file, true)),
        // The kernel may have created the file before the file system refused.
        Err(rustix::io::Errno::INVAL) => {
            let flags = flags.difference(OFlags::EXCL);
            Ok((sys::open(path, flags, permissions)?, false))
        }
        Err(error) => Err(error.into()),
    }
}
