//! The load: a source and a sink around the relay, either this project's generator or Postfix's own test tools.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::relay::{Kind, Relay};

/// No measurement takes longer; a relay that hangs ends the comparison with an error.
const PATIENCE: Duration = Duration::from_secs(300);

/// How often the ends are looked at: a small share of the shortest run.
const LOOK: Duration = Duration::from_millis(2);

/// What sends and takes the mail.
#[derive(Clone, Debug)]
pub enum Load {
    /// `ringpost-loadgen` at that path.
    Loadgen(PathBuf),
    /// smtp-source and smtp-sink, unpacked below that directory.
    PostfixTools(PathBuf),
}

/// One measurement's work.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Messages, with one recipient each.
    pub messages: u64,
    /// Size of a message in bytes.
    pub bytes: u64,
    /// Sessions at once.
    pub sessions: u64,
    /// Many messages a connection, or a connection for each.
    pub kept: bool,
}

/// What one measurement showed.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Processor time of the relay with all its processes, µs a message.
    pub cpu_us: f64,
    /// Messages accepted a second.
    pub accepted_per_s: f64,
    /// Messages a second from the first connection to the last delivery.
    pub delivered_per_s: f64,
    /// Largest resident memory seen at the end, all processes, MiB.
    pub resident_mib: f64,
    /// From the dot to its 250, ms: the median and the 99th percentile, where the source tells.
    pub reply_ms: Option<(f64, f64)>,
}

/// Starts a relay in `directory`, sends the work through it, and measures.
///
/// # Errors
/// When a program cannot be run, fails, or takes longer than five minutes.
pub fn measure(
    kind: &Kind,
    load: &Load,
    work: Work,
    directory: &Path,
    more: &[String],
) -> io::Result<Measured> {
    let (listen, sink_port) = (free_port()?, free_port()?);
    fs::create_dir_all(directory)?;
    let mut sink = Running::start(load.sink_command(work, sink_port), &directory.join("sink"))?;
    let relay = Relay::start(kind, &directory.join("relay"), listen, sink_port, more)?;
    let before = relay.usage();
    let start = Instant::now();
    let mut source = Running::start(load.source_command(work, listen), &directory.join("source"))?;
    let accepted = source.wait_for_success("the source")?.duration_since(start);
    let delivered = sink.wait_for_success("the sink")?.duration_since(start);
    let after = relay.usage();
    relay.stop()?;
    let messages = work.messages as f64;
    Ok(Measured {
        cpu_us: (after.cpu_us - before.cpu_us) as f64 / messages,
        accepted_per_s: messages / accepted.as_secs_f64(),
        delivered_per_s: messages / delivered.as_secs_f64(),
        resident_mib: after.resident_bytes as f64 / f64::from(1 << 20),
        reply_ms: load.reply_ms(&directory.join("source")),
    })
}

impl Load {
    fn sink_command(&self, work: Work, port: u16) -> Command {
        let address = format!("127.0.0.1:{port}");
        match self {
            Load::Loadgen(binary) => {
                let mut command = Command::new(binary);
                command.args(["sink", "--listen", &address, "--json"]);
                command.args(["--deliveries", &work.messages.to_string()]);
                command
            }
            Load::PostfixTools(peers) => {
                let mut command = Command::new(peers.join("bin/smtp-sink"));
                if rustix::process::geteuid().is_root() {
                    // It does not run as root.
                    command.args(["-u", "nobody"]);
                }
                command.args(["-M", &work.messages.to_string(), &address, "1024"]);
                command
            }
        }
    }

    fn source_command(&self, work: Work, port: u16) -> Command {
        let address = format!("127.0.0.1:{port}");
        let [sessions, messages, bytes] =
            [work.sessions, work.messages, work.bytes].map(|number| number.to_string());
        match self {
            Load::Loadgen(binary) => {
                let mut command = Command::new(binary);
                command.args(["source", "--target", &address, "--json"]);
                command.args(["--sessions", &sessions, "--messages", &messages, "--size", &bytes]);
                if !work.kept {
                    command.arg("--fresh");
                }
                command
            }
            Load::PostfixTools(peers) => {
                let mut command = Command::new(peers.join("bin/smtp-source"));
                if work.kept {
                    command.arg("-d");
                }
                command.args(["-s", &sessions, "-m", &messages, "-l", &bytes]);
                command.args(["-f", "sender@client.test", "-t", "recipient@sink.test", &address]);
                command
            }
        }
    }

    /// The generator's own report, in JSON on its standard output.
    fn reply_ms(&self, output: &Path) -> Option<(f64, f64)> {
        let Load::Loadgen(_) = self else { return None };
        let report: Value = serde_json::from_slice(&fs::read(output).ok()?).ok()?;
        let latency = &report["reply_latency"];
        Some((latency["p50_us"].as_f64()? / 1000.0, latency["p99_us"].as_f64()? / 1000.0))
    }
}

/// A child that is ended when dropped.
struct Running {
    child: Child,
    output: PathBuf,
}

impl Running {
    fn start(mut command: Command, output: &Path) -> io::Result<Running> {
        let file = fs::File::create(output)?;
        let errors = fs::File::create(output.with_extension("errors"))?;
        let child = command.stdin(Stdio::null()).stdout(file).stderr(errors).spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("cannot run {}: {error}", command.get_program().display()))
        })?;
        Ok(Running { child, output: output.to_path_buf() })
    }

    /// When it ended, with status 0.
    fn wait_for_success(&mut self, name: &str) -> io::Result<Instant> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                let now = Instant::now();
                return if status.success() { Ok(now) } else { Err(self.failure(name, Some(status))) };
            }
            if start.elapsed() > PATIENCE {
                return Err(self.failure(name, None));
            }
            std::thread::sleep(LOOK);
        }
    }

    fn failure(&self, name: &str, status: Option<ExitStatus>) -> io::Error {
        let how = status.map_or_else(
            || format!("did not end within {PATIENCE:?}"),
            |status| format!("ended with {status}"),
        );
        let errors = fs::read_to_string(self.output.with_extension("errors")).unwrap_or_default();
        io::Error::other(format!("{name} {how}: {}", errors.trim()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port of 127.0.0.1 that nobody listens on now, outside the range of outgoing connections, so that nobody is
/// given it before its server asks for it.
fn free_port() -> io::Result<u16> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let low: u16 = range.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(32_768);
    // A different place to begin for each call and process.
    let begin = Instant::now().elapsed().subsec_nanos().wrapping_add(std::process::id().wrapping_mul(7919));
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    // Relaxed: only that two calls differ matters.
    let begin = begin.wrapping_add(NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed).wrapping_mul(101));
    let (first, count) = (10_000, u32::from(low.max(11_000)) - 10_000);
    for step in 0..count {
        let offset = (begin.wrapping_add(step)) % count;
        let port = u16::try_from(first + offset).unwrap_or(first as u16);
        if TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::Error::other("no port of 127.0.0.1 is free"))
}
