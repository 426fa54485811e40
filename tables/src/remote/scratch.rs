//! scratch: files and scripted servers of the tests in this room.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ringpost_core::lookup::{TableSpec, TableType};

/// A file that is removed with its test.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn path(name: &str) -> Scratch {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Scratch(std::env::temp_dir().join(format!("ringpost-{}-{count}-{name}", std::process::id())))
    }

    pub fn named(path: &str) -> Scratch {
        Scratch(PathBuf::from(path))
    }

    pub fn file(name: &str, content: &str) -> Scratch {
        let file = Scratch::path(name);
        std::fs::write(&file.0, content).expect("a file of the test can be written");
        file
    }

    pub fn spec(&self, kind: TableType) -> TableSpec {
        TableSpec { kind, name: self.name().to_owned() }
    }

    pub fn name(&self) -> &str {
        self.0.to_str().expect("names of tests are text")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// One client of a scripted server, read line by line or byte by byte.
pub type Guest = BufReader<TcpStream>;

/// What a server does with one client.
pub type Script = Box<dyn FnOnce(&mut Guest) + Send>;

/// A server on loopback that plays one script with each client in turn, then goes away.
pub struct Fake {
    pub port: u16,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    pub fn new(scripts: Vec<Script>) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let thread = std::thread::spawn(move || {
            for script in scripts {
                let (stream, _) = listener.accept().expect("a client comes");
                stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit can be set");
                script(&mut BufReader::new(stream));
            }
        });
        Fake { port, thread: Some(thread) }
    }

    /// Plays one script with one client.
    pub fn once(script: impl FnOnce(&mut Guest) + Send + 'static) -> Fake {
        Fake::new(vec![Box::new(script)])
    }

    /// Waits until every script was played.
    pub fn end(mut self) {
        self.thread.take().expect("it runs").join().expect("the scripts were played");
    }
}

pub fn say(guest: &mut Guest, bytes: impl AsRef<[u8]>) {
    // Whoever has heard enough may be gone.
    let _ = guest.get_mut().write_all(bytes.as_ref());
}

pub fn hear_line(guest: &mut Guest) -> String {
    let mut line = String::new();
    guest.read_line(&mut line).expect("the client says a line");
    line
}

pub fn hear(guest: &mut Guest, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    guest.read_exact(&mut bytes).expect("the client says as much");
    bytes
}

/// Keeps the connection open, silent, until the client is gone.
pub fn wait_for_end(guest: &mut Guest) {
    let _ = std::io::copy(guest, &mut std::io::sink());
}

/// Says the same again and again until the client is gone.
pub fn say_without_end(guest: &mut Guest, bytes: &[u8]) {
    while guest.get_mut().write_all(bytes).is_ok() {}
}
