//! The control socket: listens, and starts a session for each command that connects.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ringpost_core::control::{Answer, PREAMBLE, Refusal};
use ringpost_reactor::process::{self, PeerCredentials};

use super::session::Session;
use super::switchboard::Switchboard;
use super::{SOCKET_DIRECTORY, socket_path, with_short_path};
use crate::reload::Reloader;

/// Sessions at a time; each is a thread that mostly waits.
pub const SESSIONS_MAX: usize = 64;
/// Of these one user may have so many, the superuser excepted: nobody keeps the others out.
pub const SESSIONS_A_USER_MAX: usize = 8;
/// A session recurses nowhere and keeps its buffers on the heap.
const SESSION_STACK_BYTES: usize = 256 << 10;
/// How long a refused connection may take to be told so.
const REFUSAL_TIME: Duration = Duration::from_millis(200);
/// When a socket that could not be made is tried again.
const BIND_AGAIN: Duration = Duration::from_secs(10);

/// Makes the socket and serves it until the process ends. Mail does not wait for it: a socket that cannot be made is
/// told on standard error and tried again.
///
/// # Errors
/// The system gives no thread.
pub fn start(reloader: Arc<Reloader>, switchboard: Arc<Switchboard>) -> io::Result<()> {
    let queue_directory = reloader.settings().queue_directory.clone();
    let listener = bind(&queue_directory);
    if let Err(error) = &listener {
        eprintln!(
            "ringpost: warning: no control socket {}: {error}; the queue commands do not work until there is one",
            socket_path(&queue_directory).display()
        );
    }
    let server = Server { reloader, switchboard, sessions: Arc::default() };
    std::thread::Builder::new().name("control".to_owned()).spawn(move || server.run(listener.ok()))?;
    Ok(())
}

struct Server {
    reloader: Arc<Reloader>,
    switchboard: Arc<Switchboard>,
    /// The users of the open sessions.
    sessions: Arc<Mutex<Vec<u32>>>,
}

impl Server {
    fn run(self, listener: Option<UnixListener>) {
        let listener = listener.unwrap_or_else(|| {
            loop {
                std::thread::sleep(BIND_AGAIN);
                if let Ok(listener) = bind(&self.reloader.settings().queue_directory) {
                    break listener;
                }
            }
        });
        loop {
            match listener.accept() {
                Ok((stream, _)) => self.begin(stream),
                // No descriptor is free, say.
                Err(_) => std::thread::sleep(Duration::from_secs(1)),
            }
        }
    }

    /// A peer whose user the kernel does not tell gets no session.
    fn begin(&self, stream: UnixStream) {
        let Ok(peer) = process::peer_credentials(&stream) else { return };
        let Some(place) = Place::take(&self.sessions, peer) else {
            refuse(stream, Refusal::Busy, "too many control sessions");
            return;
        };
        let session = Session::new(stream, peer, self.reloader.clone(), self.switchboard.clone());
        let thread = std::thread::Builder::new()
            .name("control-session".to_owned())
            .stack_size(SESSION_STACK_BYTES)
            .spawn(move || {
                session.run();
                drop(place);
            });
        if let Err(error) = thread {
            eprintln!("ringpost: warning: no thread for a control session: {error}");
        }
    }
}

/// Whether this user may do everything.
pub fn is_superuser(peer: PeerCredentials) -> bool {
    peer.uid == 0 || peer.uid == process::effective_uid()
}

/// One of the places for sessions; free again when dropped.
struct Place {
    sessions: Arc<Mutex<Vec<u32>>>,
    uid: u32,
}

impl Place {
    fn take(sessions: &Arc<Mutex<Vec<u32>>>, peer: PeerCredentials) -> Option<Place> {
        let mut taken = sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let of_user = taken.iter().filter(|uid| **uid == peer.uid).count();
        if taken.len() >= SESSIONS_MAX || (of_user >= SESSIONS_A_USER_MAX && !is_superuser(peer)) {
            return None;
        }
        taken.push(peer.uid);
        Some(Place { sessions: sessions.clone(), uid: peer.uid })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = taken.iter().position(|uid| *uid == self.uid) {
            taken.swap_remove(at);
        }
    }
}

fn refuse(mut stream: UnixStream, refusal: Refusal, text: &str) {
    let mut bytes = PREAMBLE.to_vec();
    Answer::Refused(refusal, text).encode(&mut bytes);
    // Somebody who does not even read the refusal misses nothing.
    let _ = stream.set_write_timeout(Some(REFUSAL_TIME)).and_then(|()| stream.write_all(&bytes));
}

/// The engine's lock says that whatever socket is there has no listener any more.
fn bind(queue_directory: &Path) -> io::Result<UnixListener> {
    let directory = queue_directory.join(SOCKET_DIRECTORY);
    ringpost_reactor::fs::create_open_dir(&directory)?;
    match fs::remove_file(socket_path(queue_directory)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = with_short_path(queue_directory, |path| UnixListener::bind(path))?;
    // Everybody may knock; who is there decides.
    fs::set_permissions(socket_path(queue_directory), fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}
