//! Log files, append files and the trace.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // Helpers of tests, too, fail by panicking.

use ringpost_reactor::{
    AlignedBuffer, ConnectOptions, Endpoint, Handle, ListenOptions, LogMode, Reactor, ReactorOptions, fs,
};
use std::{
    future::Future,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

fn with<T, F: Future<Output = T>>(trace: Option<PathBuf>, body: impl FnOnce(Handle) -> F) -> T {
    let options =
        ReactorOptions { ring_entries: 64, buffer_count: 16, buffer_bytes: 4096, trace, core: None };
    let reactor = Reactor::start(options).unwrap();
    let handle = reactor.handle();
    reactor.run(body(handle))
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(base: &Path, name: &str) -> Self {
        let path = base.join(format!("ringpost-reactor-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn blocks(count: usize, seed: u8) -> AlignedBuffer {
    let mut buffer = AlignedBuffer::new();
    for n in 0..count * 4096 {
        buffer.extend_from_slice(&[(n / 7) as u8 ^ seed]);
    }
    buffer
}

async fn write_and_read_back(handle: &Handle, path: &Path, direct: bool) {
    let log = handle.open_log(path, LogMode { create: true, direct }).unwrap();
    log.zero_fill(3 << 20).await.unwrap();
    assert_eq!(log.len().unwrap(), 3 << 20);

    let (one, two) = (blocks(1, 1), blocks(64, 2));
    let (result, one) = log.write_durable(8192, one).await;
    result.unwrap();
    let (result, two) = log.write_durable(1 << 20, two).await;
    result.unwrap();
    let (result, three) = log.write_at(3 << 20, blocks(1, 3)).await;
    result.unwrap();
    log.sync_data().await.unwrap();
    drop(log);

    let log = handle.open_log(path, LogMode { create: false, direct }).unwrap();
    let (result, read) = log.read_at(8192, AlignedBuffer::with_capacity(4096)).await;
    result.unwrap();
    assert!(*read == *one);
    let (result, read) = log.read_at(1 << 20, AlignedBuffer::with_capacity(two.len())).await;
    result.unwrap();
    assert!(*read == *two);
    let (result, read) = log.read_at(0, AlignedBuffer::with_capacity(8192)).await;
    result.unwrap();
    assert!(read.len() == 8192 && read.iter().all(|&byte| byte == 0));
    // Beyond the end of the file there is nothing.
    let (result, read) = log.read_at(3 << 20, AlignedBuffer::with_capacity(16384)).await;
    result.unwrap();
    assert!(*read == *three);
    let (result, read) = log.read_at(4 << 20, read).await;
    result.unwrap();
    assert!(read.is_empty());
    assert_eq!(std::fs::read(path).unwrap()[8192..12288], one[..]);
}

#[test]
fn what_is_written_durably_is_read_back() {
    let scratch = Scratch::new(&std::env::temp_dir(), "log");
    with(None, async |handle| {
        write_and_read_back(&handle, &scratch.0.join("direct"), true).await;
        write_and_read_back(&handle, &scratch.0.join("buffered"), false).await;
        let again = handle.open_log(&scratch.0.join("direct"), LogMode { create: true, direct: true });
        assert_eq!(again.err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        let missing = handle.open_log(&scratch.0.join("none"), LogMode { create: false, direct: true });
        assert_eq!(missing.err().unwrap().kind(), io::ErrorKind::NotFound);
    });
}

#[test]
fn a_memory_file_system_serves_as_well() {
    let shared_memory = Path::new("/dev/shm");
    if !shared_memory.is_dir() {
        eprintln!("no /dev/shm on this machine: nothing to test");
        return;
    }
    let scratch = Scratch::new(shared_memory, "log");
    with(None, async |handle| {
        write_and_read_back(&handle, &scratch.0.join("asked-direct"), true).await;
    });
}

#[test]
fn a_failed_write_is_not_synced_and_gives_the_buffer_back() {
    with(None, async |handle| {
        // Every write to this device fails with ENOSPC.
        let full = handle.open_log(Path::new("/dev/full"), LogMode { create: false, direct: false }).unwrap();
        let (result, buffer) = full.write_durable(0, blocks(2, 7)).await;
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(*buffer == *blocks(2, 7));
    });
}

#[test]
fn many_durable_writes_at_a_time_all_land() {
    let scratch = Scratch::new(&std::env::temp_dir(), "many");
    let path = scratch.0.join("log");
    with(None, async |handle| {
        let log = std::rc::Rc::new(handle.open_log(&path, LogMode { create: true, direct: true }).unwrap());
        let mut waits = Vec::new();
        // More than the submission queue holds, pair by pair.
        for n in 0..200u64 {
            let (sender, receiver) = ringpost_reactor::local::oneshot();
            let log = log.clone();
            handle.spawn(async move {
                let (result, _) = log.write_durable(n * 4096, blocks(1, n as u8)).await;
                sender.send(result).unwrap();
            });
            waits.push(receiver);
        }
        for wait in waits {
            wait.await.unwrap().unwrap();
        }
    });
    let written = std::fs::read(&path).unwrap();
    for n in 0..200 {
        assert!(written[n * 4096..][..4096] == *blocks(1, n as u8), "block {n}");
    }
}

#[test]
fn a_dropped_write_is_finished_and_leaves_nothing_behind() {
    let scratch = Scratch::new(&std::env::temp_dir(), "orphan");
    let path = scratch.0.join("log");
    with(None, async |handle| {
        let log = handle.open_log(&path, LogMode { create: true, direct: true }).unwrap();
        assert!(handle.timeout(Duration::ZERO, log.write_durable(0, blocks(4, 5))).await.is_err());
        for _ in 0..500 {
            if handle.figures().orphans == 0 {
                break;
            }
            handle.sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(handle.figures().orphans, 0);
    });
    assert!(std::fs::read(&path).unwrap() == *blocks(4, 5));
}

#[test]
fn lines_are_appended_also_by_two_writers() {
    let scratch = Scratch::new(&std::env::temp_dir(), "append");
    let path = scratch.0.join("mail.log");
    with(None, async |handle| {
        let (one, two) = (handle.open_append(&path).unwrap(), handle.open_append(&path).unwrap());
        for n in 0..50 {
            one.write(format!("one {n}\n").into_bytes()).await.0.unwrap();
            two.write(format!("two {n}\n").into_bytes()).await.0.unwrap();
        }
        one.sync_data().await.unwrap();
        let nothing = handle.open_append(Path::new("/dev/null")).unwrap();
        nothing.write(b"gone\n".to_vec()).await.0.unwrap();
        nothing.sync_data().await.unwrap();
        let full = handle.open_append(Path::new("/dev/full")).unwrap();
        assert_eq!(full.write(b"no\n".to_vec()).await.0.unwrap_err().kind(), io::ErrorKind::StorageFull);
    });
    let expected: String = (0..50).map(|n| format!("one {n}\ntwo {n}\n")).collect();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
}

#[test]
fn the_trace_shows_that_an_answer_follows_its_sync() {
    let scratch = Scratch::new(&std::env::temp_dir(), "trace");
    let (trace, path) = (scratch.0.join("trace"), scratch.0.join("log"));
    with(Some(trace.clone()), async |handle| {
        let log = handle.open_log(&path, LogMode { create: true, direct: true }).unwrap();
        let listening = Endpoint::Inet("127.0.0.1:0".parse().unwrap());
        let listener = handle.listen(&listening, &ListenOptions::default()).unwrap();
        let client = handle.connect(listener.local_endpoint(), &ConnectOptions::default()).await.unwrap();
        let server = listener.accept().await.unwrap();
        log.write_durable(4096, blocks(1, 9)).await.0.unwrap();
        server.send(b"250 2.0.0 Ok: queued as X\r\n".to_vec()).await.0.unwrap();
        assert_eq!(client.recv().await.unwrap().len(), 27);
    });
    let text = std::fs::read_to_string(&trace).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let at = |wanted: &str| {
        lines
            .iter()
            .position(|line| line.split_once(' ').unwrap().1.starts_with(wanted))
            .unwrap_or_else(|| panic!("no line with {wanted:?} in\n{text}"))
    };
    let open = at("open file=");
    assert!(lines[open].contains(&format!("path={path:?}")));
    let file = lines[open].split(' ').find(|word| word.starts_with("file=")).unwrap();
    let write = at("submit write ");
    assert!(lines[write].contains(file) && lines[write].ends_with("offset=4096 bytes=4096"));
    let slot = lines[write].split(' ').find(|word| word.starts_with("slot=")).unwrap();
    let synced = at(&format!("complete fdatasync {slot} {file} result=0"));
    assert!(at(&format!("submit fdatasync {slot} {file}")) == write + 1);
    assert!(at(&format!("complete write {slot} {file} result=4096")) < synced);
    let answer =
        lines.iter().position(|line| line.contains("text=\"250 2.0.0 Ok: queued as X\\r\\n\"")).unwrap();
    assert!(synced < answer);
    for (n, line) in lines.iter().enumerate() {
        assert_eq!(line.split(' ').next().unwrap().parse(), Ok(n), "lines are numbered without a gap");
    }
}
