//! Files that are read through the process's memory: large tables of which a lookup touches a page or two.
//!
//! Reading a page of a file that somebody has made shorter raises SIGBUS, which would end the process. A handler puts a
//! page of zeros there instead and notes the damage: whoever reads sees zeros, as from any damaged file, and asks
//! [`MappedFile::is_damaged`]. Measured against `pread` (`cargo bench --bench tables`): reading two places of a cached
//! file takes 1.5 µs, a whole lookup through the mapping, which reads two, 0.5.
//!
//! - **Receives** a path. **Sends** nothing; **owns** the mapping and one place in the table of mappings.
//! - **Limits**: [`MAPPINGS_MAX`] mappings at a time; one more is refused.
//! - **On failure**: an error when it is opened; zeros afterwards.

use std::{
    fmt, fs, io,
    mem::MaybeUninit,
    path::Path,
    ptr::NonNull,
    sync::{
        Mutex, Once,
        atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering},
    },
};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

/// Mappings at a time: tables of a configuration, and those that are being replaced. The handler looks through all.
pub const MAPPINGS_MAX: usize = 1024;

/// A file larger than this share of the memory is not brought in: it would push out everything else.
const RAM_SHARE: u64 = 4;

/// What one entry of the TLB covers at best.
const LARGE_PAGE_BYTES: usize = 2 << 20;

/// A mapping as the signal handler sees it. `end` is 0 while the place is free.
struct Range {
    start: AtomicUsize,
    end: AtomicUsize,
    damaged: AtomicBool,
}

static RANGES: [Range; MAPPINGS_MAX] = [const {
    Range { start: AtomicUsize::new(0), end: AtomicUsize::new(0), damaged: AtomicBool::new(false) }
}; MAPPINGS_MAX];
static TAKEN: Mutex<[bool; MAPPINGS_MAX]> = Mutex::new([false; MAPPINGS_MAX]);
static PAGE_BYTES: AtomicUsize = AtomicUsize::new(0);
/// Who handled SIGBUS before us; leaked, so that the handler may read it at any time.
static BEFORE: AtomicPtr<libc::sigaction> = AtomicPtr::new(std::ptr::null_mut());
static INSTALLED: Once = Once::new();

/// A file, mapped for reading.
pub struct MappedFile {
    start: NonNull<u8>,
    bytes: usize,
    /// `None` for an empty file, which has no mapping.
    place: Option<usize>,
}

// SAFETY: the mapping is read-only and lives until the drop; any thread may read it.
unsafe impl Send for MappedFile {}
// SAFETY: as above.
unsafe impl Sync for MappedFile {}

impl MappedFile {
    /// Maps all of the file at `path`. **Blocks** for the opening only.
    ///
    /// # Errors
    /// The system's refusal; too many mappings.
    pub fn open(path: &Path) -> io::Result<MappedFile> {
        let file = fs::File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let bytes = usize::try_from(metadata.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        if bytes == 0 {
            return Ok(MappedFile { start: NonNull::dangling(), bytes, place: None });
        }
        INSTALLED.call_once(install_handler);
        let place = take_place()?;
        // SAFETY: a new mapping at an address of the kernel's choice disturbs nothing of ours.
        let mapped =
            unsafe { mmap(std::ptr::null_mut(), bytes, ProtFlags::READ, MapFlags::SHARED, &file, 0) };
        let start = match mapped {
            Ok(start) => NonNull::new(start.cast::<u8>()).expect("the kernel maps nothing at address 0"),
            Err(error) => {
                release_place(place);
                return Err(error.into());
            }
        };
        let range = &RANGES[place];
        range.damaged.store(false, Ordering::Relaxed);
        range.start.store(start.as_ptr() as usize, Ordering::Relaxed);
        // Pairs with the acquire in the handler: who sees the end sees the start.
        range.end.store(start.as_ptr() as usize + bytes, Ordering::Release);
        Ok(MappedFile { start, bytes, place: Some(place) })
    }

    /// Has the file brought into memory, in large pages where the file system can, unless it is too large for that.
    /// Lookups are made by threads that must not wait for a disk, and each touches places far apart: in pages of 4 KiB
    /// most of their time goes into finding the page. A refusal costs speed only. **Blocks** until it is done.
    pub fn bring_in(&self) {
        // SAFETY: the range is mapped for as long as `self` lives; neither advice changes what is read from it.
        let advise = |advice| unsafe { madvise(self.start.as_ptr().cast(), self.bytes, advice) };
        if self.bytes as u64 > rustix::system::sysinfo().totalram / RAM_SHARE {
            let _ = advise(Advice::Random);
            return;
        }
        if self.bytes >= LARGE_PAGE_BYTES {
            let _ = advise(Advice::LinuxHugepage);
        }
        if self.bytes > 0 {
            let _ = advise(Advice::LinuxPopulateRead);
        }
    }

    /// The content. Other programs may change the file meanwhile, so nothing that is read here may be trusted twice:
    /// check, copy, and use the copy.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the range is mapped for as long as `self` lives, every byte value is valid, and pages that have gone
        // away are replaced by zeros by the handler. We never write it. That somebody else's write may show in the
        // middle of our read is why callers must not rely on reading the same twice.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }

    /// Whether pages were missing: the file was made shorter under us.
    pub fn is_damaged(&self) -> bool {
        self.place.is_some_and(|place| RANGES[place].damaged.load(Ordering::Relaxed))
    }
}

impl Drop for MappedFile {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        // First, or the handler might take the next mapping at this address for this one. Release: not after the call.
        RANGES[place].end.store(0, Ordering::Release);
        // SAFETY: the mapping is ours and nobody borrows it any more.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.bytes) };
        assert!(unmapped.is_ok(), "a mapping of ours can be taken away");
        release_place(place);
    }
}

impl fmt::Debug for MappedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MappedFile({} bytes)", self.bytes)
    }
}

fn take_place() -> io::Result<usize> {
    let mut taken = TAKEN.lock().expect("no holder of this lock panics");
    let free = taken.iter().position(|taken| !taken);
    let place = free.ok_or_else(|| io::Error::other("too many files are mapped"))?;
    taken[place] = true;
    Ok(place)
}

fn release_place(place: usize) {
    TAKEN.lock().expect("no holder of this lock panics")[place] = false;
}

fn install_handler() {
    PAGE_BYTES.store(rustix::param::page_size(), Ordering::Relaxed);
    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all zeros is a valid sigaction (no flags, empty mask); the handler has the signature that SA_SIGINFO asks
    // for and does only what a signal handler may. A refusal leaves things as they were before.
    unsafe {
        let mut ours = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        ours.sa_sigaction = on_bus_error as *const () as usize;
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        if libc::sigaction(libc::SIGBUS, std::ptr::null(), before.as_mut_ptr()) == 0 {
            BEFORE.store(Box::into_raw(Box::new(before.assume_init())), Ordering::Release);
        }
        libc::sigaction(libc::SIGBUS, &ours, std::ptr::null_mut());
    }
}

/// Runs in the middle of whatever read a page that is gone: no locks, no allocation.
extern "C" fn on_bus_error(signal: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel gives a valid siginfo of SIGBUS.
    let address = unsafe { (*info).si_addr() } as usize;
    let page_bytes = PAGE_BYTES.load(Ordering::Relaxed);
    let hit = RANGES.iter().find(|range| {
        // Pairs with the release in `open`.
        let end = range.end.load(Ordering::Acquire);
        address < end && address >= range.start.load(Ordering::Relaxed)
    });
    let Some(range) = hit else {
        // Not ours: whoever was asked before us is asked again when the read is repeated, now, at our return.
        let before = BEFORE.load(Ordering::Acquire);
        if !before.is_null() {
            // SAFETY: it was leaked for this purpose and is never changed.
            unsafe { libc::sigaction(signal, before, std::ptr::null_mut()) };
        }
        return;
    };
    range.damaged.store(true, Ordering::Relaxed);
    let page = (address & !(page_bytes - 1)) as *mut libc::c_void;
    // SAFETY: the page lies in a mapping of ours (its last page may reach beyond the file's end, but is part of it);
    // mmap is a plain system call here and may be made in a handler.
    let replaced = unsafe {
        libc::mmap(
            page,
            page_bytes,
            libc::PROT_READ,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
            -1,
            0,
        )
    };
    if replaced == libc::MAP_FAILED {
        // No page, no way on: returning would fault for ever.
        // SAFETY: ends the process.
        unsafe { libc::abort() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(name: &str, bytes: usize) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("ringpost-mapped-{name}-{}", std::process::id()));
        fs::File::create(&path).unwrap().write_all(&vec![7; bytes]).unwrap();
        path
    }

    #[test]
    fn a_file_is_read_and_an_empty_one_too() {
        let path = file("plain", 10_000);
        let mapped = MappedFile::open(&path).unwrap();
        assert_eq!(mapped.bytes(), vec![7; 10_000]);
        fs::File::create(&path).unwrap();
        assert_eq!(MappedFile::open(&path).unwrap().bytes(), b"");
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_file_that_shrinks_reads_as_zeros() {
        let path = file("shrinks", 3 * 4096 * 16);
        let mapped = MappedFile::open(&path).unwrap();
        let other = MappedFile::open(&path).unwrap();
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(4096 * 16).unwrap();
        assert!(!mapped.is_damaged());
        assert_eq!(mapped.bytes()[0], 7);
        assert!(mapped.bytes()[4096 * 16..].iter().all(|&byte| byte == 0));
        assert!(mapped.is_damaged() && !other.is_damaged());
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn places_are_used_again() {
        let path = file("again", 100);
        for _ in 0..2 * MAPPINGS_MAX {
            MappedFile::open(&path).unwrap();
        }
        fs::remove_file(path).unwrap();
    }
}
