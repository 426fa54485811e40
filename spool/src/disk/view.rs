//! A directory that is looked at and never changed: reads come from its files, writes stay in memory.
//!
//! For tools that read the queue of an engine that does not run: recovery may write its headers and rename its spares
//! as it likes, nothing of that reaches the disk.
//!
//! Receives: reads and writes of a spool. Owns: what was written, in blocks, and the names as they would be by now.
//! Limits: every call blocks the thread; memory for what is written, which is a few blocks for each segment that
//! recovery changes (zeros are not kept). On failure: what the system says of a read.

use super::{AlignedBuffer, Disk, DiskFile};
use crate::segment::BLOCK_BYTES;
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, hash_map::RandomState},
    fs::{self, File},
    hash::BuildHasher,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    pin::pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

/// What is said to be free: whoever only looks needs no room.
const AVAILABLE_BYTES: u64 = 1 << 50;

/// A directory on a real file system, for looking at.
pub struct ViewDisk {
    names: RefCell<BTreeMap<String, Source>>,
    begun: Instant,
}

/// Where the bytes of a name come from.
#[derive(Clone)]
enum Source {
    /// A file that was not opened yet.
    Path(PathBuf),
    Open(Rc<Contents>),
}

struct Contents {
    /// None for a file that exists only here.
    below: Option<File>,
    bytes: Cell<u64>,
    /// Blocks that were written, by their number.
    written: RefCell<BTreeMap<u64, Box<[u8]>>>,
}

impl ViewDisk {
    /// The files in `directory`.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn new(directory: &Path) -> io::Result<Self> {
        let mut names = BTreeMap::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                names.insert(name, Source::Path(entry.path()));
            }
        }
        Ok(Self { names: RefCell::new(names), begun: Instant::now() })
    }
}

/// Runs what waits for nothing but a [`ViewDisk`]. `None` if it waits for something else: for a commit, say, that
/// nobody makes.
pub fn run_now<T>(future: impl Future<Output = T>) -> Option<T> {
    struct Woken(AtomicBool);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            // Relaxed: it is set and looked at by this thread.
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut future = pin!(future);
    while woken.0.swap(false, Ordering::Relaxed) {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(value);
        }
    }
    None
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk for ViewDisk {
    type File = ViewFile;

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names.borrow().keys().cloned().collect())
    }

    fn open(&self, name: &str, create: bool) -> io::Result<ViewFile> {
        let mut names = self.names.borrow_mut();
        let contents = match names.get(name) {
            Some(_) if create => return Err(io::ErrorKind::AlreadyExists.into()),
            Some(Source::Open(contents)) => Rc::clone(contents),
            Some(Source::Path(path)) => {
                let file = File::open(path)?;
                let bytes = Cell::new(file.metadata()?.len());
                Rc::new(Contents { below: Some(file), bytes, written: RefCell::default() })
            }
            None if create => {
                Rc::new(Contents { below: None, bytes: Cell::new(0), written: RefCell::default() })
            }
            None => return Err(not_found()),
        };
        names.insert(name.to_owned(), Source::Open(Rc::clone(&contents)));
        Ok(ViewFile { contents })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut names = self.names.borrow_mut();
        let source = names.remove(from).ok_or_else(not_found)?;
        names.insert(to.to_owned(), source);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.names.borrow_mut().remove(name).map(drop).ok_or_else(not_found)
    }

    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }

    fn available_bytes(&self) -> io::Result<u64> {
        Ok(AVAILABLE_BYTES)
    }

    fn now_ns(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }

    fn salt(&self) -> u64 {
        // The standard library's hasher is keyed by the system's random numbers.
        RandomState::new().hash_one(self.now_ns())
    }

    async fn turn(&self) {}

    async fn give_way(&self) {}

    async fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

/// A file of a [`ViewDisk`].
pub struct ViewFile {
    contents: Rc<Contents>,
}

impl Contents {
    fn write(&self, offset: u64, bytes: &[u8]) {
        let first = offset / BLOCK_BYTES;
        let mut written = self.written.borrow_mut();
        for (number, block) in (first..).zip(bytes.chunks(BLOCK_BYTES as usize)) {
            written.insert(number, block.into());
        }
        self.bytes.set(self.bytes.get().max(offset + bytes.len() as u64));
    }

    fn read(&self, offset: u64, buffer: &mut AlignedBuffer) -> io::Result<()> {
        let wanted = (buffer.capacity() as u64).min(self.bytes.get().saturating_sub(offset)) as usize;
        buffer.clear();
        buffer.resize(wanted, 0);
        if let Some(file) = &self.below {
            // What lies beyond the file's end was written here, or is zeros.
            let mut filled = 0;
            while filled < wanted {
                match file.read_at(&mut buffer[filled..], offset + filled as u64) {
                    Ok(0) => break,
                    Ok(count) => filled += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        let first = offset / BLOCK_BYTES;
        let end = (offset + wanted as u64).div_ceil(BLOCK_BYTES);
        for (number, block) in self.written.borrow().range(first..end) {
            let start = (number * BLOCK_BYTES - offset) as usize;
            let count = block.len().min(wanted - start);
            buffer[start..start + count].copy_from_slice(&block[..count]);
        }
        Ok(())
    }
}

impl DiskFile for ViewFile {
    async fn write_durable(&self, offset: u64, buffer: AlignedBuffer) -> (io::Result<()>, AlignedBuffer) {
        self.contents.write(offset, &buffer);
        (Ok(()), buffer)
    }

    async fn read_at(&self, offset: u64, mut buffer: AlignedBuffer) -> (io::Result<()>, AlignedBuffer) {
        (self.contents.read(offset, &mut buffer), buffer)
    }

    /// Only a new file is filled with zeros: nothing of one lies below.
    async fn zero_fill(&self, bytes: u64) -> io::Result<()> {
        assert!(self.contents.below.is_none(), "only new files are filled with zeros");
        self.contents.bytes.set(bytes);
        Ok(())
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.contents.bytes.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_the_directory_stays_as_it_was() {
        let directory = std::env::temp_dir().join(format!("ringpost-view-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("the temporary directory is writable");
        let block = BLOCK_BYTES as usize;
        fs::write(directory.join("a"), vec![b'a'; 3 * block]).expect("the temporary directory is writable");
        let look = async {
            let disk = ViewDisk::new(&directory)?;
            let file = disk.open("a", false)?;
            let mut middle = AlignedBuffer::with_capacity(block);
            middle.resize(block, b'm');
            file.write_durable(BLOCK_BYTES, middle).await.0?;
            disk.rename("a", "b")?;
            let (result, bytes) =
                disk.open("b", false)?.read_at(0, AlignedBuffer::with_capacity(8 * block)).await;
            result?;
            assert_eq!(bytes[..], [vec![b'a'; block], vec![b'm'; block], vec![b'a'; block]].concat());
            disk.open("c", true)?.zero_fill(BLOCK_BYTES).await?;
            assert_eq!(disk.list()?, ["b", "c"]);
            disk.remove("b")
        };
        run_now(look).expect("it never waits").expect("the files can be read");
        let names: Vec<_> = fs::read_dir(&directory).expect("it is there").collect();
        assert_eq!(names.len(), 1);
        assert_eq!(fs::read(directory.join("a")).expect("it is there"), vec![b'a'; 3 * block]);
        fs::remove_dir_all(&directory).expect("it is ours");
    }

    #[test]
    fn what_waits_for_somebody_else_is_given_up() {
        assert_eq!(run_now(std::future::pending::<()>()), None);
    }
}
