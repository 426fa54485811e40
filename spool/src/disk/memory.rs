//! A disk in memory for tests that crash: live bytes, durable bytes, and what lies between.
//!
//! A write is *live* (readable) at once and *durable* after a sync that was started when the write was complete. At a
//! crash each 512-byte sector of each write that is not durable is kept or lost by the seed: torn and reordered
//! writes both come out of that. Names are durable after `sync_names`; at a crash a random number of the later
//! changes of names is kept, in order.
//!
//! Operations complete when [`MemoryDisk::step`] says so, one stage a step (a durable write has two: the write and
//! the sync), so that a test can stop between any two.

use super::{AlignedBuffer, Disk, DiskFile};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    future::poll_fn,
    io,
    rc::Rc,
    task::{Poll, Waker},
    time::Duration,
};

const SECTOR: usize = 512;

/// A fault to be injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A write fails with an I/O error; any part of it may reach the medium.
    Write,
    /// A write succeeds but the sync after it fails.
    Sync,
    /// A write ends early and is reported as an error.
    Short,
    /// A read fails with an I/O error.
    Read,
    /// Filling a new file fails for want of space.
    Space,
}

#[derive(Default)]
struct FileBytes {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Writes that are not durable, oldest first: (operation, offset, bytes, whether complete).
    unsynced: Vec<Unsynced>,
}

struct Unsynced {
    operation: u64,
    offset: usize,
    bytes: Vec<u8>,
    complete: bool,
}

#[derive(Clone)]
enum NameChange {
    Create(String, u64),
    Rename(String, String),
    Remove(String),
}

enum Stage {
    Write { short: bool, fails: bool },
    Sync { fails: bool },
    Read { fails: bool },
    Timer { due_ns: u64 },
    Fill { bytes: usize, fails: bool },
}

struct Operation {
    number: u64,
    file: u64,
    stage: Stage,
    result: Option<io::Result<()>>,
    waker: Option<Waker>,
}

struct Inner {
    files: BTreeMap<u64, FileBytes>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    name_changes: Vec<NameChange>,
    operations: Vec<Operation>,
    next_file: u64,
    next_operation: u64,
    now_ns: u64,
    available: u64,
    random: u64,
    faults: Vec<(Fault, u32)>,
    fault_everything: Option<Fault>,
    steps: u64,
    skip_sync_wait: bool,
}

impl Inner {
    fn random(&mut self) -> u64 {
        // splitmix64: small, seeded, good enough to shuffle sectors.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn fault(&mut self, fault: Fault) -> bool {
        if self.fault_everything == Some(fault) {
            return true;
        }
        let mut hit = false;
        self.faults.retain_mut(|(kind, after)| {
            if *kind != fault {
                return true;
            }
            if *after == 0 {
                hit = true;
                return false;
            }
            *after -= 1;
            true
        });
        hit
    }

    fn begin(&mut self, file: u64, stage: Stage) -> u64 {
        let number = self.next_operation;
        self.next_operation += 1;
        self.operations.push(Operation { number, file, stage, result: None, waker: None });
        number
    }

    fn apply(&mut self, change: &NameChange) {
        apply_name(&mut self.names, change);
        self.name_changes.push(change.clone());
    }
}

fn apply_name(names: &mut BTreeMap<String, u64>, change: &NameChange) {
    match change {
        NameChange::Create(name, file) => {
            names.insert(name.clone(), *file);
        }
        NameChange::Rename(from, to) => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
        NameChange::Remove(name) => {
            names.remove(name);
        }
    }
}

/// The disk; clones are the same disk.
#[derive(Clone)]
pub struct MemoryDisk {
    inner: Rc<RefCell<Inner>>,
}

impl MemoryDisk {
    /// An empty disk. The seed decides the order of completions and what a crash keeps.
    pub fn new(seed: u64) -> Self {
        Self {
            inner: Rc::new(RefCell::new(Inner {
                files: BTreeMap::new(),
                names: BTreeMap::new(),
                durable_names: BTreeMap::new(),
                name_changes: Vec::new(),
                operations: Vec::new(),
                next_file: 1,
                next_operation: 1,
                now_ns: 1,
                available: u64::MAX >> 1,
                random: seed,
                faults: Vec::new(),
                fault_everything: None,
                steps: 0,
                skip_sync_wait: false,
            })),
        }
    }

    /// The disk as it is found after the power failed now: durable bytes, and any part of the rest. The old disk
    /// stays as it was.
    pub fn crash(&self, seed: u64) -> MemoryDisk {
        let old = self.inner.borrow();
        let fresh = MemoryDisk::new(seed);
        let mut inner = fresh.inner.borrow_mut();
        inner.available = old.available;
        inner.next_file = old.next_file;
        inner.now_ns = old.now_ns;
        for (&number, file) in &old.files {
            let mut durable = file.durable.clone();
            for write in &file.unsynced {
                for (nth, sector) in write.bytes.chunks(SECTOR).enumerate() {
                    if inner.random() & 1 == 0 {
                        let offset = write.offset + nth * SECTOR;
                        if durable.len() < offset + sector.len() {
                            durable.resize(offset + sector.len(), 0);
                        }
                        durable[offset..offset + sector.len()].copy_from_slice(sector);
                    }
                }
            }
            inner.files.insert(number, FileBytes { live: durable.clone(), durable, unsynced: Vec::new() });
        }
        let kept = inner.random() as usize % (old.name_changes.len() + 1);
        let mut names = old.durable_names.clone();
        for change in &old.name_changes[..kept] {
            apply_name(&mut names, change);
        }
        inner.names = names.clone();
        inner.durable_names = names;
        drop(inner);
        fresh
    }

    /// A copy with everything that was written, as after an orderly stop.
    pub fn copy(&self) -> MemoryDisk {
        let old = self.inner.borrow();
        let fresh = MemoryDisk::new(old.random);
        let mut inner = fresh.inner.borrow_mut();
        inner.available = old.available;
        inner.next_file = old.next_file;
        inner.now_ns = old.now_ns;
        for (&number, file) in &old.files {
            let bytes = file.live.clone();
            inner
                .files
                .insert(number, FileBytes { live: bytes.clone(), durable: bytes, unsynced: Vec::new() });
        }
        inner.names = old.names.clone();
        inner.durable_names = old.names.clone();
        drop(inner);
        fresh
    }

    /// Completes one stage of one operation (in an order that the seed chooses), or lets the next timer fire when
    /// nothing else is under way. `false` if nothing waits.
    pub fn step(&self) -> bool {
        let mut guard = self.inner.borrow_mut();
        let inner = &mut *guard;
        let ready: Vec<usize> = (0..inner.operations.len())
            .filter(|&at| {
                let operation = &inner.operations[at];
                operation.result.is_none() && !matches!(operation.stage, Stage::Timer { .. })
            })
            .collect();
        let at = if ready.is_empty() {
            let timers =
                inner.operations.iter().enumerate().filter_map(|(at, operation)| match operation.stage {
                    Stage::Timer { due_ns } if operation.result.is_none() => Some((due_ns, at)),
                    _ => None,
                });
            match timers.min() {
                Some((due_ns, at)) => {
                    inner.now_ns = inner.now_ns.max(due_ns);
                    at
                }
                None => return false,
            }
        } else {
            ready[inner.random() as usize % ready.len()]
        };
        inner.steps += 1;
        inner.now_ns += 50_000;
        let waker = Self::advance(inner, at);
        drop(guard);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    fn advance(inner: &mut Inner, at: usize) -> Option<Waker> {
        let sync_fails =
            matches!(inner.operations[at].stage, Stage::Write { .. }) && inner.fault(Fault::Sync);
        let operation = &mut inner.operations[at];
        let number = operation.number;
        let file = inner.files.entry(operation.file).or_default();
        let result = match operation.stage {
            Stage::Write { short, fails } => {
                if let Some(write) = file.unsynced.iter_mut().find(|write| write.operation == number) {
                    write.complete = true;
                    if short {
                        write.bytes.truncate(write.bytes.len() / 2);
                    }
                }
                if fails || short {
                    Err(io::Error::from(if short { io::ErrorKind::WriteZero } else { io::ErrorKind::Other }))
                } else {
                    operation.stage = Stage::Sync { fails: sync_fails };
                    return None;
                }
            }
            Stage::Sync { fails: true } => Err(io::Error::other("injected sync failure")),
            Stage::Sync { fails: false } => {
                let FileBytes { durable, unsynced, .. } = file;
                unsynced.retain(|write| {
                    if !write.complete {
                        return true;
                    }
                    let end = write.offset + write.bytes.len();
                    if durable.len() < end {
                        durable.resize(end, 0);
                    }
                    durable[write.offset..end].copy_from_slice(&write.bytes);
                    false
                });
                Ok(())
            }
            Stage::Read { fails: true } => Err(io::Error::other("injected read failure")),
            Stage::Read { fails: false } | Stage::Timer { .. } => Ok(()),
            Stage::Fill { fails: true, .. } => Err(io::Error::from(io::ErrorKind::StorageFull)),
            Stage::Fill { bytes, fails: false } => {
                let grown = bytes.saturating_sub(file.live.len()) as u64;
                if grown > inner.available {
                    Err(io::Error::from(io::ErrorKind::StorageFull))
                } else {
                    inner.available -= grown;
                    file.live = vec![0; bytes];
                    file.durable = vec![0; bytes];
                    Ok(())
                }
            }
        };
        let operation = &mut inner.operations[at];
        operation.result = Some(result);
        operation.waker.take()
    }

    /// Steps taken since the disk was made; a test chooses its crash among them.
    pub fn steps(&self) -> u64 {
        self.inner.borrow().steps
    }

    /// Injects a fault once, after `after` operations of its kind have passed.
    pub fn inject(&self, fault: Fault, after: u32) {
        self.inner.borrow_mut().faults.push((fault, after));
    }

    /// Injects a fault into every operation of its kind until told otherwise.
    pub fn inject_always(&self, fault: Option<Fault>) {
        self.inner.borrow_mut().fault_everything = fault;
    }

    /// Sets what the file system can still give.
    pub fn set_available(&self, bytes: u64) {
        self.inner.borrow_mut().available = bytes;
    }

    /// A canary's switch: durable writes are reported complete before their sync. Some crash test must then fail.
    pub fn lie_about_syncs(&self) {
        self.inner.borrow_mut().skip_sync_wait = true;
    }

    /// The live bytes of a file.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let inner = self.inner.borrow();
        let file = inner.names.get(name)?;
        Some(inner.files.get(file)?.live.clone())
    }

    /// Replaces the bytes of a file, live and durable.
    pub fn set_contents(&self, name: &str, bytes: Vec<u8>) {
        let mut inner = self.inner.borrow_mut();
        if let Some(&file) = inner.names.get(name) {
            inner.files.insert(file, FileBytes { live: bytes.clone(), durable: bytes, unsynced: Vec::new() });
        }
    }

    /// Bytes of all files that have a name.
    pub fn used_bytes(&self) -> u64 {
        let inner = self.inner.borrow();
        inner.names.values().filter_map(|file| inner.files.get(file)).map(|file| file.live.len() as u64).sum()
    }

    async fn finish(&self, number: u64) -> io::Result<()> {
        let pending = Pending { disk: self, number };
        let lies = self.inner.borrow().skip_sync_wait;
        poll_fn(move |cx| {
            let mut inner = pending.disk.inner.borrow_mut();
            let at = inner.operations.iter().position(|operation| operation.number == pending.number);
            let at = at.expect("an operation stays until its future has seen the result");
            if lies && matches!(inner.operations[at].stage, Stage::Write { .. } | Stage::Sync { .. }) {
                return Poll::Ready(Ok(()));
            }
            match inner.operations[at].result.take() {
                Some(result) => Poll::Ready(result),
                None => {
                    inner.operations[at].waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

/// Forgets an operation when its future is done or dropped.
struct Pending<'a> {
    disk: &'a MemoryDisk,
    number: u64,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.disk.inner.borrow_mut().operations.retain(|operation| operation.number != self.number);
    }
}

impl Disk for MemoryDisk {
    type File = MemoryFile;

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.inner.borrow().names.keys().cloned().collect())
    }

    fn open(&self, name: &str, create: bool) -> io::Result<MemoryFile> {
        let mut inner = self.inner.borrow_mut();
        let existing = inner.names.get(name).copied();
        let file = match (existing, create) {
            (Some(_), true) => return Err(io::ErrorKind::AlreadyExists.into()),
            (None, false) => return Err(io::ErrorKind::NotFound.into()),
            (Some(file), false) => file,
            (None, true) => {
                let file = inner.next_file;
                inner.next_file += 1;
                inner.files.insert(file, FileBytes::default());
                inner.apply(&NameChange::Create(name.to_owned(), file));
                file
            }
        };
        drop(inner);
        Ok(MemoryFile { disk: self.clone(), file })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.inner.borrow_mut();
        if !inner.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        inner.apply(&NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.inner.borrow_mut();
        let Some(file) = inner.names.get(name).copied() else { return Err(io::ErrorKind::NotFound.into()) };
        inner.apply(&NameChange::Remove(name.to_owned()));
        let freed = inner.files.get(&file).map_or(0, |bytes| bytes.live.len() as u64);
        inner.available = inner.available.saturating_add(freed);
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut inner = self.inner.borrow_mut();
        inner.durable_names = inner.names.clone();
        inner.name_changes.clear();
        Ok(())
    }

    fn available_bytes(&self) -> io::Result<u64> {
        Ok(self.inner.borrow().available)
    }

    fn now_ns(&self) -> u64 {
        self.inner.borrow().now_ns
    }

    fn salt(&self) -> u64 {
        self.inner.borrow_mut().random()
    }

    async fn turn(&self) {
        let mut yielded = false;
        poll_fn(|cx| {
            if yielded {
                return Poll::Ready(());
            }
            yielded = true;
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    async fn give_way(&self) {
        self.turn().await;
    }

    async fn sleep(&self, duration: Duration) {
        let due_ns = self.now_ns() + duration.as_nanos() as u64;
        let number = self.inner.borrow_mut().begin(0, Stage::Timer { due_ns });
        let fired = self.finish(number).await;
        debug_assert!(fired.is_ok(), "a timer cannot fail");
    }
}

/// An open file of a [`MemoryDisk`].
pub struct MemoryFile {
    disk: MemoryDisk,
    file: u64,
}

impl DiskFile for MemoryFile {
    async fn write_durable(&self, offset: u64, buffer: AlignedBuffer) -> (io::Result<()>, AlignedBuffer) {
        let number = {
            let mut inner = self.disk.inner.borrow_mut();
            let fails = inner.fault(Fault::Write);
            let short = inner.fault(Fault::Short);
            let number = inner.begin(self.file, Stage::Write { short, fails });
            let file = inner.files.entry(self.file).or_default();
            let (start, end) = (offset as usize, offset as usize + buffer.len());
            if file.live.len() < end {
                file.live.resize(end, 0);
            }
            file.live[start..end].copy_from_slice(&buffer);
            let bytes = buffer.to_vec();
            file.unsynced.push(Unsynced { operation: number, offset: start, bytes, complete: false });
            number
        };
        (self.disk.finish(number).await, buffer)
    }

    async fn read_at(&self, offset: u64, mut buffer: AlignedBuffer) -> (io::Result<()>, AlignedBuffer) {
        let number = {
            let mut inner = self.disk.inner.borrow_mut();
            let fails = inner.fault(Fault::Read);
            inner.begin(self.file, Stage::Read { fails })
        };
        let result = self.disk.finish(number).await;
        buffer.clear();
        if result.is_ok() {
            let inner = self.disk.inner.borrow();
            if let Some(file) = inner.files.get(&self.file) {
                let start = (offset as usize).min(file.live.len());
                let end = (start + buffer.capacity()).min(file.live.len());
                buffer.extend_from_slice(&file.live[start..end]);
            }
        }
        (result, buffer)
    }

    async fn zero_fill(&self, bytes: u64) -> io::Result<()> {
        let number = {
            let mut inner = self.disk.inner.borrow_mut();
            let fails = inner.fault(Fault::Space);
            inner.begin(self.file, Stage::Fill { bytes: bytes as usize, fails })
        };
        self.disk.finish(number).await
    }

    fn bytes(&self) -> io::Result<u64> {
        let inner = self.disk.inner.borrow();
        Ok(inner.files.get(&self.file).map_or(0, |file| file.live.len() as u64))
    }
}
