//! The relays that are compared: each is started on its own queue directory, listens on one port of 127.0.0.1 and
//! sends everything to another.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ringpost_tests::postfix::PrivatePostfix;
use serde::{Deserialize, Serialize};

use crate::process_tree::{self, Usage};

/// How long a relay may take to listen, or to end: with ten million messages in its queue, too.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often a condition is looked at again.
const LOOK: Duration = Duration::from_millis(10);

/// Connections to the sink at a time. Everything goes to one relayhost, and an administrator who sends it this much
/// allows more than the 20 that are polite to a stranger: with 20 the queue grows while the source sends.
const OUTGOING_MAX: u32 = 40;

/// What the log line of a delivery holds, in Postfix's words.
const SENT: &[u8] = b"status=sent";

/// What is measured.
#[derive(Clone, Debug)]
pub enum Kind {
    /// This project's binary at that path.
    Ringpost(PathBuf),
    /// Debian's Postfix, unpacked below that directory by `scripts/install-test-needs`.
    Postfix(PathBuf),
    /// The reactor's example `bare_loop` at that path: receives and sends, with no queue, on one thread.
    BareLoop(PathBuf),
}

impl Kind {
    /// The name in tables.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Ringpost(_) => "Ringpost",
            Kind::Postfix(_) => "Postfix",
            Kind::BareLoop(_) => "bare loop",
        }
    }
}

/// A running relay; ended when dropped.
#[derive(Debug)]
pub struct Relay {
    child: Child,
    directory: PathBuf,
    /// It writes `ringpost: ready` and, at its end, `figures.json`.
    is_ringpost: bool,
}

/// What Ringpost says of its queue's disk, in `figures.json` at its end.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct SpoolFigures {
    /// Group commits.
    pub commits: f64,
    /// Messages that they stored.
    pub messages_stored: f64,
    /// Messages in the queue.
    pub queued: u64,
    /// From a commit's submission to its completion, µs, on average.
    pub commit_latency_us_mean: f64,
    /// The same, 99th percentile: the upper bound of a histogram bucket that is 19% wide.
    pub commit_latency_us_p99: f64,
}

impl SpoolFigures {
    /// Those that a Ringpost that lived in `directory` left at its end.
    ///
    /// # Errors
    /// When there are none.
    pub fn left_in(directory: &Path) -> io::Result<SpoolFigures> {
        Ok(serde_json::from_slice(&fs::read(directory.join("queue/figures.json"))?)?)
    }
}

impl Relay {
    /// Starts a relay of this kind in `directory`, which is emptied first, and waits until it listens on `listen`.
    ///
    /// `more` are further `main.cf` lines, such as a parameter under study.
    ///
    /// # Errors
    /// When its files cannot be written, or it does not listen in time.
    pub fn start(
        kind: &Kind,
        directory: &Path,
        listen: u16,
        sink: u16,
        more: &[String],
    ) -> io::Result<Relay> {
        match fs::remove_dir_all(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Relay::start_again(kind, directory, listen, sink, more)
    }

    /// As [`Relay::start`] on the queue that an earlier relay left in `directory`.
    ///
    /// # Errors
    /// As there.
    pub fn start_again(
        kind: &Kind,
        directory: &Path,
        listen: u16,
        sink: u16,
        more: &[String],
    ) -> io::Result<Relay> {
        fs::create_dir_all(directory)?;
        let mut command = match kind {
            Kind::Ringpost(binary) => ringpost(binary, directory, listen, sink, more)?,
            Kind::Postfix(peers) => postfix(peers, directory, listen, sink, more)?,
            Kind::BareLoop(binary) => bare_loop(binary, listen, sink),
        };
        let printed = fs::File::create(directory.join("printed"))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(printed);
        let child = command.spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("cannot run {}: {error}", command.get_program().display()))
        })?;
        let is_ringpost = matches!(kind, Kind::Ringpost(_));
        let mut relay = Relay { child, directory: directory.to_path_buf(), is_ringpost };
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, listen);
        let start = Instant::now();
        while !relay.is_ready(address) {
            let ended = relay.child.try_wait()?;
            if ended.is_some() || start.elapsed() > PATIENCE {
                let (name, printed) = (kind.name(), relay.printed());
                return Err(io::Error::other(format!("{name} does not listen on {address}: {printed}")));
            }
            std::thread::sleep(LOOK);
        }
        Ok(relay)
    }

    fn is_ready(&self, address: SocketAddrV4) -> bool {
        // The line is written once all shards listen; a connection could reach the first of them before.
        (!self.is_ringpost || self.printed().lines().any(|line| line == "ringpost: ready"))
            && TcpStream::connect(address).is_ok()
    }

    fn printed(&self) -> String {
        fs::read_to_string(self.directory.join("printed")).unwrap_or_default()
    }

    /// How many deliveries its mail log tells of.
    pub fn deliveries_logged(&self) -> usize {
        let log = fs::read(self.log()).unwrap_or_default();
        log.split(|&byte| byte == b'\n')
            .filter(|line| line.windows(SENT.len()).any(|word| word == SENT))
            .count()
    }

    /// What it and its children have used so far.
    pub fn usage(&self) -> Usage {
        process_tree::usage(self.child.id())
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its mail log.
    pub fn log(&self) -> PathBuf {
        self.directory.join("maillog")
    }

    /// Ends it as its administrator would, and reads what Ringpost leaves behind about its spool.
    ///
    /// # Errors
    /// When it does not end in time; it is killed then. When Ringpost ends with an error, or leaves no figures.
    pub fn stop(mut self) -> io::Result<Option<SpoolFigures>> {
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if start.elapsed() > PATIENCE {
                return Err(io::Error::other("the relay does not end on SIGTERM"));
            }
            std::thread::sleep(LOOK);
        };
        if !self.is_ringpost {
            return Ok(None);
        }
        if !status.success() {
            return Err(io::Error::other(format!("Ringpost ended with {status}: {}", self.printed())));
        }
        SpoolFigures::left_in(&self.directory).map(Some)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The `main.cf` lines that both relays understand: the same file is the point of the comparison.
fn common_main_cf(directory: &Path, queue: &Path, sink: u16, more: &[String]) -> String {
    let mut lines = vec![
        "compatibility_level = 3.6".to_owned(),
        format!("queue_directory = {}", queue.display()),
        format!("maillog_file = {}", directory.join("maillog").display()),
        format!("maillog_file_prefixes = {}", directory.display()),
        "myhostname = relay.test".to_owned(),
        "mydestination =".to_owned(),
        "inet_interfaces = 127.0.0.1".to_owned(),
        "inet_protocols = ipv4".to_owned(),
        "mynetworks = 127.0.0.0/8".to_owned(),
        "smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination".to_owned(),
        format!("relayhost = [127.0.0.1]:{sink}"),
        "smtpd_client_connection_count_limit = 0".to_owned(),
        format!("default_destination_concurrency_limit = {OUTGOING_MAX}"),
    ];
    lines.extend_from_slice(more);
    lines.join("\n") + "\n"
}

fn master_cf(listen: u16) -> String {
    let services = [
        "cleanup unix n - n - 0 cleanup",
        "qmgr unix n - n 300 1 qmgr",
        "rewrite unix - - n - - trivial-rewrite",
        "bounce unix - - n - 0 bounce",
        "defer unix - - n - 0 bounce",
        "trace unix - - n - 0 bounce",
        "proxymap unix - - n - - proxymap",
        "smtp unix - - n - - smtp",
        "relay unix - - n - - smtp",
        "error unix - - n - - error",
        "retry unix - - n - - error",
        "anvil unix - - n - 1 anvil",
        "scache unix - - n - 1 scache",
        "postlog unix-dgram n - n - 1 postlogd",
    ];
    format!("127.0.0.1:{listen} inet n - n - - smtpd\n{}\n", services.join("\n"))
}

fn ringpost(binary: &Path, directory: &Path, listen: u16, sink: u16, more: &[String]) -> io::Result<Command> {
    let queue = directory.join("queue");
    fs::create_dir_all(&queue)?;
    fs::write(directory.join("main.cf"), common_main_cf(directory, &queue, sink, more))?;
    fs::write(directory.join("master.cf"), master_cf(listen))?;
    let mut command = Command::new(binary);
    command.arg("serve").arg("-c").arg(directory);
    Ok(command)
}

/// Pinned to the core that a relay of one shard has.
fn bare_loop(binary: &Path, listen: u16, sink: u16) -> Command {
    let mut command = Command::new(binary);
    command.args([format!("127.0.0.1:{listen}"), format!("127.0.0.1:{sink}"), "0".to_owned()]);
    command
}

/// Debian's Postfix, with its log beside Ringpost's place for it.
fn postfix(peers: &Path, directory: &Path, listen: u16, sink: u16, more: &[String]) -> io::Result<Command> {
    let postfix = PrivatePostfix::new(peers, directory);
    let mut own = postfix.main_cf();
    own.extend(["alias_maps =", "alias_database =", "local_recipient_maps ="].map(str::to_owned));
    let main_cf = common_main_cf(directory, &postfix.queue(), sink, &[&own, more].concat());
    postfix.prepare(&main_cf, &master_cf(listen))?;
    Ok(postfix.master())
}
