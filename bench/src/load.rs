//! The load: a source and a sink around the relay, either this project's generator or Postfix's own test tools.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde::Serialize;
use serde_json::Value;

use crate::ports::free_port;
use crate::relay::{Kind, Relay, SpoolFigures};
use crate::running::{LOOK, PATIENCE, Running};

/// What sends and takes the mail.
#[derive(Clone, Debug)]
pub enum Load {
    /// `ringpost-loadgen` at that path.
    Loadgen(PathBuf),
    /// smtp-source and smtp-sink, unpacked below that directory.
    PostfixTools(PathBuf),
}

/// How the source uses connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Connections {
    /// Many messages a connection; a round trip for each of MAIL, RCPT, DATA and the content.
    KeptFourTrips,
    /// Many messages a connection; MAIL to DATA in one flight where the relay offers it.
    KeptPipelined,
    /// A connection for each message, pipelined.
    Fresh,
}

impl Connections {
    /// The words of tables.
    pub fn name(self) -> &'static str {
        match self {
            Connections::KeptFourTrips => "kept, 4 round trips",
            Connections::KeptPipelined => "kept, pipelined",
            Connections::Fresh => "one a message",
        }
    }
}

/// One measurement's work.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Work {
    /// Messages that are measured, with one recipient each.
    pub messages: u64,
    /// Messages sent and delivered before the measurement begins: a relay may start processes for them.
    pub warm_up: u64,
    /// Size of a message in bytes.
    pub bytes: u64,
    /// Sessions at once.
    pub sessions: u64,
    /// How the source uses them.
    pub connections: Connections,
    /// The recipients' addresses, as the generator's templates write them; none: its default.
    pub recipient: Option<&'static str>,
    /// Messages begun a second (open loop); none: as fast as the sessions go.
    pub rate: Option<f64>,
}

/// Times of one measurement, ms.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// Mean.
    pub mean_ms: f64,
    /// Median.
    pub p50_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// 99.9th percentile.
    pub p999_ms: f64,
}

/// What one measurement showed.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Measured {
    /// Processor time of the relay with all its processes, µs a message.
    pub cpu_us: f64,
    /// Messages accepted a second.
    pub accepted_per_s: f64,
    /// Messages a second from the first connection to the last delivery.
    pub delivered_per_s: f64,
    /// Largest resident memory, all processes, MiB.
    pub resident_peak_mib: f64,
    /// From the dot to its 250, where the source tells.
    pub reply: Option<Latency>,
    /// With a rate: from the time when the message was due to be sent to its 250.
    pub response: Option<Latency>,
    /// From sending to the sink's acceptance, where the sink tells.
    pub end_to_end: Option<Latency>,
    /// What Ringpost says of its disk.
    pub spool: Option<SpoolFigures>,
}

/// Starts a relay in `directory`, sends the work through it, and measures. `more` are further `main.cf` lines.
///
/// # Errors
/// When a program cannot be run, fails, or takes too long; when a message is lost, damaged or delivered twice.
pub fn measure(
    kind: &Kind,
    load: &Load,
    work: Work,
    directory: &Path,
    more: &[String],
) -> io::Result<Measured> {
    let (listen, sink_port) = (free_port()?, free_port()?);
    fs::create_dir_all(directory)?;
    let mut sink = Running::start(load.sink_command(work, sink_port), directory, "sink")?;
    sink.wait_for_port(sink_port)?;
    let relay = Relay::start(kind, &directory.join("relay"), listen, sink_port, more)?;
    if work.warm_up > 0 {
        let warm_up = load.source_command(Work { messages: work.warm_up, ..work }, listen);
        Running::start(warm_up, directory, "warm-up")?.wait_for_success()?;
        wait_for_deliveries(&relay, kind, work.warm_up)?;
    }
    let before = relay.usage();
    let start = Instant::now();
    let mut source = Running::start(load.source_command(work, listen), directory, "source")?;
    let accepted = source.wait_for_success()?.duration_since(start);
    let delivered = sink.wait_for_success()?.duration_since(start);
    let after = relay.usage();
    let spool = relay.stop()?;
    let (sent, taken) = match load {
        Load::Loadgen(_) => (source.report()?, sink.report()?),
        Load::PostfixTools(_) => (Value::Null, Value::Null),
    };
    check_account(load, work, &sent, &taken)?;
    let messages = work.messages as f64;
    Ok(Measured {
        cpu_us: (after.cpu_us - before.cpu_us) as f64 / messages,
        accepted_per_s: sent["messages_per_s"].as_f64().unwrap_or(messages / accepted.as_secs_f64()),
        delivered_per_s: messages / delivered.as_secs_f64(),
        resident_peak_mib: after.resident_peak_bytes as f64 / f64::from(1 << 20),
        reply: latency(&sent["reply_latency"]),
        response: work.rate.and_then(|_| latency(&sent["response_latency"])),
        end_to_end: latency(&taken["latency"]),
        spool,
    })
}

/// Waits until the relay's log tells of so many deliveries. The bare loop keeps no log, and nothing but the last
/// message of each session can be under way in it.
fn wait_for_deliveries(relay: &Relay, kind: &Kind, deliveries: u64) -> io::Result<()> {
    let start = Instant::now();
    while !matches!(kind, Kind::BareLoop(_)) && (relay.deliveries_logged() as u64) < deliveries {
        if start.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("{} does not deliver what it took", kind.name())));
        }
        std::thread::sleep(LOOK * 10);
    }
    Ok(())
}

/// The sink ends after as many deliveries as there are messages: if none came twice, each came once.
fn check_account(load: &Load, work: Work, sent: &Value, taken: &Value) -> io::Result<()> {
    let Load::Loadgen(_) = load else { return Ok(()) };
    let count = |report: &Value, name: &str| report[name].as_u64();
    let wrong = [
        ("acknowledged", count(sent, "acknowledged"), work.messages),
        ("refused", count(sent, "refused"), 0),
        ("delivered", count(taken, "deliveries"), work.messages + work.warm_up),
        ("delivered twice", count(taken, "duplicated"), 0),
        ("damaged", count(taken, "damaged"), 0),
        ("unidentified", count(taken, "unidentified"), 0),
    ];
    match wrong.iter().find(|(_, count, wanted)| *count != Some(*wanted)) {
        None => Ok(()),
        Some((what, count, wanted)) => Err(io::Error::other(format!("{what}: {count:?} and not {wanted}"))),
    }
}

/// A summary of the generator's report.
pub(crate) fn latency(summary: &Value) -> Option<Latency> {
    let ms = |name: &str| Some(summary[name].as_f64()? / 1000.0);
    Some(Latency {
        mean_ms: ms("mean_us")?,
        p50_ms: ms("p50_us")?,
        p99_ms: ms("p99_us")?,
        p999_ms: ms("p999_us")?,
    })
}

impl Load {
    fn sink_command(&self, work: Work, port: u16) -> Command {
        let address = format!("127.0.0.1:{port}");
        let deliveries = (work.messages + work.warm_up).to_string();
        match self {
            Load::Loadgen(binary) => {
                let mut command = Command::new(binary);
                command.args(["sink", "--listen", &address, "--json", "--deliveries", &deliveries]);
                command
            }
            Load::PostfixTools(peers) => {
                let mut command = Command::new(peers.join("bin/smtp-sink"));
                if rustix::process::geteuid().is_root() {
                    // It does not run as root.
                    command.args(["-u", "nobody"]);
                }
                command.args(["-M", &deliveries, &address, "1024"]);
                command
            }
        }
    }

    /// The source that does this work against a relay on that port.
    pub fn source_command(&self, work: Work, port: u16) -> Command {
        let address = format!("127.0.0.1:{port}");
        let [sessions, messages, bytes] =
            [work.sessions, work.messages, work.bytes].map(|number| number.to_string());
        match self {
            Load::Loadgen(binary) => {
                let mut command = Command::new(binary);
                command.args(["source", "--target", &address, "--json"]);
                command.args(["--sessions", &sessions, "--messages", &messages, "--size", &bytes]);
                match work.connections {
                    Connections::KeptFourTrips => drop(command.args(["--pipelining", "off"])),
                    Connections::KeptPipelined => {}
                    Connections::Fresh => drop(command.arg("--fresh")),
                }
                if let Some(template) = work.recipient {
                    command.args(["--recipient-template", template]);
                }
                if let Some(rate) = work.rate {
                    command.args(["--rate", &rate.to_string()]);
                }
                command
            }
            // It has no pipelining and no rate.
            Load::PostfixTools(peers) => {
                let mut command = Command::new(peers.join("bin/smtp-source"));
                if work.connections != Connections::Fresh {
                    command.arg("-d");
                }
                command.args(["-s", &sessions, "-m", &messages, "-l", &bytes]);
                command.args(["-f", "sender@client.test", "-t", "recipient@sink.test", &address]);
                command
            }
        }
    }
}
