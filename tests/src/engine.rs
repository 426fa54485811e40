//! A relay under test: the real binary on a Postfix-style configuration directory of its own.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::address::{RELAY_PORT, SINK_PORT, unique_loopback};
use crate::maillog::{self, LogLine};
use crate::process::Process;
use crate::scratch::{Scratch, profile_directory};
use crate::{Client, wait};

/// What the engine prints when its listeners are up.
const READY: &str = "ringpost: ready";

/// How long a start may take: recovery of a large queue in an unoptimised build included.
const START_PATIENCE: Duration = Duration::from_secs(120);

/// The binary under test.
///
/// # Panics
/// When it was not built.
pub fn binary() -> PathBuf {
    let path =
        std::env::var_os("RINGPOST_BIN").map_or_else(|| profile_directory().join("ringpost"), PathBuf::from);
    assert!(path.exists(), "{} does not exist: cargo build --bin ringpost", path.display());
    path
}

/// A configuration and the directory that it lives in. Starting it twice is a restart on the same queue.
#[derive(Clone, Debug)]
pub struct EngineSetup {
    home: Arc<Scratch>,
    address: SocketAddrV4,
    sink: SocketAddrV4,
    parameters: Vec<(String, String)>,
    master_cf: Option<String>,
    words: Vec<String>,
}

impl EngineSetup {
    /// A loopback relay whose mail all goes to [`EngineSetup::sink_address`]; `name` names its directory.
    pub fn new(name: &str) -> EngineSetup {
        let ip = unique_loopback();
        let home = Arc::new(Scratch::new(name));
        let (address, sink) = (SocketAddrV4::new(ip, RELAY_PORT), SocketAddrV4::new(ip, SINK_PORT));
        let queue = home.join("queue");
        std::fs::create_dir_all(&queue).expect("the scratch directory is writable");
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let parameters = [
            ("compatibility_level", "3.6".to_owned()),
            ("queue_directory", text(queue)),
            ("maillog_file", text(home.join("maillog"))),
            ("maillog_file_prefixes", text(home.path().to_path_buf())),
            ("myhostname", "relay.test".to_owned()),
            ("mydestination", String::new()),
            ("inet_protocols", "ipv4".to_owned()),
            ("mynetworks", "127.0.0.0/8".to_owned()),
            ("smtpd_relay_restrictions", "permit_mynetworks, reject_unauth_destination".to_owned()),
            ("relayhost", format!("[{}]:{}", sink.ip(), sink.port())),
        ];
        let parameters = parameters.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        EngineSetup { home, address, sink, parameters, master_cf: None, words: Vec::new() }
    }

    /// Sets a parameter in `main.cf`; a later setting of the same name wins, as there.
    #[must_use]
    pub fn parameter(mut self, name: &str, value: &str) -> EngineSetup {
        self.parameters.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Uses this `master.cf` instead of the usual one.
    #[must_use]
    pub fn master_cf(mut self, text: &str) -> EngineSetup {
        self.master_cf = Some(text.to_owned());
        self
    }

    /// Adds a word to the command line after `serve -c DIR`.
    #[must_use]
    pub fn word(mut self, word: &str) -> EngineSetup {
        self.words.push(word.to_owned());
        self
    }

    /// Listens and relays on another setup's addresses: for a second engine that gets in the way of the first.
    #[must_use]
    pub fn on_addresses_of(mut self, other: &EngineSetup) -> EngineSetup {
        self.address = other.address;
        self
    }

    /// Where the relay listens.
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// Where the relay sends.
    pub fn sink_address(&self) -> SocketAddrV4 {
        self.sink
    }

    /// The directory with `main.cf`, `master.cf`, `queue` and `maillog`.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The value that `name` has in `main.cf`.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.parameters.iter().rev().find(|(parameter, _)| parameter == name).map(|(_, value)| value.as_str())
    }

    /// The queue directory.
    pub fn queue(&self) -> PathBuf {
        PathBuf::from(self.value("queue_directory").expect("every setup names its queue"))
    }

    /// Writes the configuration files and gives the command that would start the relay.
    pub fn command(&self) -> Command {
        let mut main_cf = String::new();
        for (name, value) in &self.parameters {
            writeln!(main_cf, "{name} = {value}").expect("a string takes what it is given");
        }
        let write = |name: &str, text: &str| {
            std::fs::write(self.home.join(name), text).expect("the scratch directory is writable");
        };
        write("main.cf", &main_cf);
        write("master.cf", self.master_cf.as_deref().unwrap_or(&postfix_master_cf(self.address)));
        self.raw_command()
    }

    /// As [`EngineSetup::command`] with the configuration files left as they are.
    pub fn raw_command(&self) -> Command {
        let mut command = Command::new(binary());
        command.arg("serve").arg("-c").arg(self.home.path()).args(&self.words);
        command.stdin(Stdio::null()).stdout(Stdio::null()).env_remove("MAIL_CONFIG");
        command
    }

    /// Starts the relay and waits until it listens.
    ///
    /// # Panics
    /// When it ends before, with what it printed.
    pub fn start(&self) -> Engine {
        self.start_command(self.command())
    }

    /// As [`EngineSetup::start`] for a command that the caller changed.
    pub fn start_command(&self, mut command: Command) -> Engine {
        let mut child = command
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let printed = Arc::new(Mutex::new(Vec::new()));
        let (tell_ready, ready) = mpsc::channel();
        let reader = BufReader::new(child.stderr.take().expect("its standard error is piped"));
        let for_reader = Arc::clone(&printed);
        thread::spawn(move || {
            for line in reader.lines() {
                let Ok(line) = line else { return };
                if line.starts_with(READY) {
                    // Nobody listens any more once the engine is known to be ready.
                    let _ = tell_ready.send(());
                }
                for_reader.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        let engine = Engine { child, setup: self.clone(), printed, ended: false };
        if ready.recv_timeout(START_PATIENCE).is_err() {
            panic!("the relay did not get ready; it printed:\n{}", engine.printed());
        }
        engine
    }

    /// Starts a relay that is meant to refuse, and gives its exit code and words.
    ///
    /// # Panics
    /// When it gets ready instead, or neither within [`wait::PATIENCE`].
    pub fn start_refused(&self) -> RefusedStart {
        refused(self.command())
    }
}

/// How a start ended that was meant to end.
#[derive(Debug)]
pub struct RefusedStart {
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// What it printed on standard error.
    pub printed: String,
}

/// Runs a start that is meant to be refused to its end.
///
/// # Panics
/// As [`EngineSetup::start_refused`].
pub fn refused(mut command: Command) -> RefusedStart {
    let mut child = command
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let mut printed = String::new();
    let mut lines = BufReader::new(child.stderr.take().expect("its standard error is piped")).lines();
    // A refusal ends the stream; a start that succeeds says so in it.
    while let Some(Ok(line)) = lines.next() {
        if line.starts_with(READY) {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the relay started, though it should have refused; it printed:\n{printed}");
        }
        printed.push_str(&line);
        printed.push('\n');
    }
    let status = child.wait().expect("a started child can be waited for");
    RefusedStart { code: status.code(), printed }
}

/// A running relay; killed when dropped.
#[derive(Debug)]
pub struct Engine {
    child: Child,
    setup: EngineSetup,
    printed: Arc<Mutex<Vec<String>>>,
    ended: bool,
}

impl Engine {
    /// What it was started with.
    pub fn setup(&self) -> &EngineSetup {
        &self.setup
    }

    /// What it has printed on standard error.
    pub fn printed(&self) -> String {
        self.printed.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// A greeted session with it.
    pub fn client(&self) -> Client {
        Client::greeted(self.setup.address)
    }

    /// What the kernel says of it.
    pub fn process(&self) -> Process {
        Process::new(self.child.id())
    }

    /// The whole lines of its mail log so far.
    pub fn log(&self) -> Vec<LogLine> {
        let text = std::fs::read(self.setup.home.join("maillog")).unwrap_or_default();
        maillog::parse(&String::from_utf8_lossy(&text))
    }

    /// Waits until the mail log has a line that `wanted` picks, and gives it.
    pub fn wait_for_log(&self, what: &str, wanted: impl Fn(&LogLine) -> bool) -> LogLine {
        wait::until(&format!("the mail log says {what}"), || self.log().into_iter().find(&wanted))
    }

    /// Waits until the mail log has `count` lines that `wanted` picks.
    pub fn wait_for_log_count(&self, what: &str, count: usize, wanted: impl Fn(&LogLine) -> bool) {
        wait::until(&format!("the mail log says {what} {count} times"), || {
            (self.log().iter().filter(|line| wanted(line)).count() >= count).then_some(())
        });
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a child has a number above zero");
        rustix::process::kill_process(pid, signal).expect("a child that was not waited for can be signalled");
    }

    /// Asks it to stop and waits for its end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Stops it as an administrator would, and asserts that it ends with status 0.
    pub fn stop(mut self) {
        let status = self.terminate();
        assert_eq!(status.code(), Some(0), "the relay ended with {status}; it printed:\n{}", self.printed());
    }

    /// Ends it as a power cut would: no handler runs.
    pub fn kill(mut self) {
        self.signal(Signal::KILL);
        self.wait();
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let status = wait::until("the relay ends", || self.child.try_wait().ok().flatten());
        self.ended = true;
        status
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if !self.ended {
            // It may have ended by itself; then there is nothing left to end.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if thread::panicking() {
            eprintln!("the relay printed:\n{}", self.printed());
        }
    }
}

/// A `master.cf` as Postfix wants it, with one SMTP listener on `address`: what works there must work here.
fn postfix_master_cf(address: SocketAddrV4) -> String {
    format!(
        "# service    type  private unpriv chroot wakeup maxproc command\n\
         {address} inet n - n - - smtpd\n\
         cleanup   unix n - n - 0 cleanup\n\
         qmgr      unix n - n 300 1 qmgr\n\
         rewrite   unix - - n - - trivial-rewrite\n\
         bounce    unix - - n - 0 bounce\n\
         defer     unix - - n - 0 bounce\n\
         trace     unix - - n - 0 bounce\n\
         smtp      unix - - n - - smtp\n\
         relay     unix - - n - - smtp\n\
         error     unix - - n - - error\n\
         retry     unix - - n - - error\n\
         scache    unix - - n - 1 scache\n\
         postlog   unix-dgram n - n - 1 postlogd\n"
    )
}
