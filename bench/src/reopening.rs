//! What is done with a long queue: it is opened again after a stop, listed, delivered from, deleted.

use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::Serialize;

use crate::load::{Latency, Load, Work, latency};
use crate::names;
use crate::queue::wait_for_rest;
use crate::relay::{Kind, Relay};
use crate::running::Running;

/// Mail for a destination that takes it, while the queue is listed or left alone: messages, and messages a second.
const PROBES: u64 = 2000;
const PROBES_PER_S: f64 = 200.0;
const PROBE_SESSIONS: u64 = 10;
/// Queues that take more are not copied to be deleted a second time.
const COPY_BYTES_MAX: u64 = 10 << 30;

/// The relay that left the queue.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// What it is.
    pub kind: &'a Kind,
    /// Its program.
    pub binary: &'a Path,
    /// It lives in `relay` below this; the rest is for what is measured.
    pub directory: &'a Path,
    /// Where it listens.
    pub listen: u16,
    /// The port of all destinations.
    pub port: u16,
    /// Its further `main.cf` lines.
    pub settings: &'a [String],
}

/// What can be done with the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Step {
    /// List it once, while nothing else is done.
    List,
    /// Send mail for a living destination, alone and beside listing after listing.
    Mail,
    /// Let its destination live, and wait for the first delivery.
    Deliver,
    /// Delete all of it: nothing is left for another measurement.
    Delete,
}

/// What was done with the queue, step by step.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Reopening {
    /// The listing.
    pub listing: Option<Listing>,
    /// The mail beside.
    pub mail: Option<Mail>,
    /// The first delivery.
    pub delivery: Option<FirstDelivery>,
    /// The deletion.
    pub deletion: Option<Deletion>,
}

/// `postqueue -p` of a relay that has just opened the queue.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Listing {
    /// Resident memory of the relay before, MiB.
    pub resident_mib: f64,
    /// Its largest until then, MiB.
    pub resident_peak_mib: f64,
    /// From the command's start to its end.
    pub seconds: f64,
    /// Messages listed a second.
    pub per_s: f64,
}

/// Mail for a living destination.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Mail {
    /// While the queue is left alone.
    pub alone: Probes,
    /// While it is listed again and again.
    pub beside_listing: Probes,
    /// Listings that ended meanwhile, the one that the last mail met included.
    pub listings: u64,
}

/// How soon the queue is delivered from.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct FirstDelivery {
    /// From the start of the relay's process until it takes mail, seconds.
    pub start_to_ready_s: f64,
    /// From the start of the relay's process until the destination, which now listens, has taken a message:
    /// `postqueue -f` comes as soon as the relay is ready. The sink is looked at every 50 ms.
    pub start_to_first_delivery_s: f64,
}

/// `postsuper -d ALL`, from its start to its end.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Deletion {
    /// After a start of the relay, seconds.
    pub seconds: f64,
    /// Messages that it deleted.
    pub deleted: u64,
    /// The same while no relay runs; none where the queue is too large to be kept twice.
    pub offline_s: Option<f64>,
}

/// How long mail took.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Probes {
    /// From the dot to its 250.
    pub reply: Latency,
    /// From sending to the sink's acceptance.
    pub end_to_end: Latency,
}

impl Place<'_> {
    /// The relay's own directory.
    pub fn home(&self) -> PathBuf {
        self.directory.join("relay")
    }

    fn start_again(&self) -> io::Result<(Relay, Instant)> {
        let start = Instant::now();
        Ok((Relay::start_again(self.kind, &self.home(), self.listen, self.port, self.settings)?, start))
    }

    fn command(&self, name: &str, home: &Path, words: &[&str]) -> Command {
        let mut command = Command::new(self.binary);
        command.args([name, "-c"]).arg(home).args(words).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    fn sink(&self, loadgen: &Path, number: u32, alive: bool, deliveries: u64) -> io::Result<Running> {
        let mut sink = Command::new(loadgen);
        let address = format!("{}:{}", names::address(number, alive), self.port);
        sink.args(["sink", "--listen", &address, "--json", "--deliveries", &deliveries.to_string()]);
        let name = match (alive, number) {
            (false, _) => "first-delivery",
            (true, 0) => "probed-alone",
            (true, _) => "probed-beside",
        };
        let mut sink = Running::start(sink, self.directory, name)?;
        sink.wait_for_address(&address)?;
        Ok(sink)
    }

    /// Messages that `postqueue -p` lists; each begins a line with its queue id.
    fn list(&self) -> io::Result<u64> {
        let mut listing = self.command("postqueue", &self.home(), &["-p"]).stdout(Stdio::piped()).spawn()?;
        let output =
            listing.stdout.take().ok_or_else(|| io::Error::other("the listing's output is a pipe"))?;
        let mut reader = BufReader::with_capacity(1 << 20, output);
        let (mut messages, mut line) = (0, Vec::new());
        while reader.read_until(b'\n', &mut line)? > 0 {
            messages += u64::from(line.first().is_some_and(u8::is_ascii_alphanumeric));
            line.clear();
        }
        let status = listing.wait()?;
        if status.success() {
            Ok(messages)
        } else {
            Err(io::Error::other(format!("postqueue -p ended with {status}")))
        }
    }

    /// Mail at a steady rate for the living destination of this number, to its sink.
    fn probe(&self, load: &Load, work: Work, number: u32, sink: &mut Running) -> io::Result<Probes> {
        let probes =
            Work { messages: PROBES, warm_up: 0, sessions: PROBE_SESSIONS, rate: Some(PROBES_PER_S), ..work };
        let source = names::source_to(load, probes, self.listen, number);
        let mut source = Running::start(source, self.directory, "probes")?;
        source.wait_for_success()?;
        sink.wait_for_success()?;
        let untold = || io::Error::other("the load generator tells nothing of the time that mail took");
        let (sent, taken) = (source.report()?, sink.report()?);
        Ok(Probes {
            reply: latency(&sent["reply_latency"]).ok_or_else(untold)?,
            end_to_end: latency(&taken["latency"]).ok_or_else(untold)?,
        })
    }

    /// `postsuper -d ALL`: its time, and how many messages it tells of.
    fn delete_all(&self, home: &Path) -> io::Result<(Duration, u64)> {
        let words = self.directory.join("deletion");
        let mut deletion = self.command("postsuper", home, &["-d", "ALL"]);
        deletion.stderr(fs::File::create(&words)?);
        let start = Instant::now();
        succeed(&mut deletion)?;
        let took = start.elapsed();
        let said = BufReader::new(fs::File::open(&words)?).lines();
        let deleted = said.map_while(Result::ok).filter(|line| line.ends_with(": removed")).count();
        fs::remove_file(&words)?;
        Ok((took, deleted as u64))
    }
}

/// Measures on the queue of `work.messages` messages for the first dead destination.
///
/// # Errors
/// When a program cannot be run or fails; when the listing lacks messages, or something is left after the deletion.
pub fn measure(place: Place<'_>, load: &Load, work: Work, steps: &[Step]) -> io::Result<Reopening> {
    let mut reopening = Reopening::default();
    let does = |step| steps.contains(&step);
    if does(Step::List) || does(Step::Mail) {
        // A sink's port may refuse a connection in its first moments, and what is refused waits for hours here.
        let sinks = match does(Step::Mail) {
            true => {
                let loadgen = loadgen(load)?;
                Some([place.sink(loadgen, 0, true, PROBES)?, place.sink(loadgen, 1, true, PROBES)?])
            }
            false => None,
        };
        // Nothing is due yet: the listing has the relay for itself.
        let (relay, start) = place.start_again()?;
        wait_for_rest(&relay, start)?;
        if does(Step::List) {
            reopening.listing = Some(list(place, &relay, work.messages)?);
        }
        if let Some(sinks) = sinks {
            reopening.mail = Some(send_mail(place, load, work, sinks)?);
        }
        relay.stop()?;
    }
    if does(Step::Deliver) {
        reopening.delivery = Some(deliver(place, load)?);
    }
    if does(Step::Delete) {
        reopening.deletion = Some(delete(place)?);
    }
    Ok(reopening)
}

fn list(place: Place<'_>, relay: &Relay, messages: u64) -> io::Result<Listing> {
    let opened = relay.usage();
    let start = Instant::now();
    let listed = place.list()?;
    let took = start.elapsed();
    if listed != messages {
        return Err(io::Error::other(format!("{listed} messages are listed, not {messages}")));
    }
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Ok(Listing {
        resident_mib: mib(opened.resident_bytes),
        resident_peak_mib: mib(opened.resident_peak_bytes),
        seconds: took.as_secs_f64(),
        per_s: messages as f64 / took.max(Duration::from_micros(1)).as_secs_f64(),
    })
}

fn send_mail(place: Place<'_>, load: &Load, work: Work, sinks: [Running; 2]) -> io::Result<Mail> {
    let [mut first, mut second] = sinks;
    let alone = place.probe(load, work, 0, &mut first)?;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let lister = scope.spawn(|| {
            let mut listings = 0;
            // Relaxed: nothing else is told by the flag.
            while !done.load(Ordering::Relaxed) {
                place.list()?;
                listings += 1;
            }
            io::Result::Ok(listings)
        });
        let beside_listing = place.probe(load, work, 1, &mut second);
        done.store(true, Ordering::Relaxed);
        let listings = lister.join().map_err(|_| io::Error::other("the lister has panicked"))??;
        Ok(Mail { alone, beside_listing: beside_listing?, listings })
    })
}

fn deliver(place: Place<'_>, load: &Load) -> io::Result<FirstDelivery> {
    let mut sink = place.sink(loadgen(load)?, 0, false, 1)?;
    let (relay, start) = place.start_again()?;
    let ready = start.elapsed();
    succeed(&mut place.command("postqueue", &place.home(), &["-f"]))?;
    let first_delivery = sink.wait_for_success()?.duration_since(start);
    drop(sink);
    relay.stop()?;
    Ok(FirstDelivery {
        start_to_ready_s: ready.as_secs_f64(),
        start_to_first_delivery_s: first_delivery.as_secs_f64(),
    })
}

fn delete(place: Place<'_>) -> io::Result<Deletion> {
    let copy = place.directory.join("copy");
    let copied = copy_of_queue(&place.home(), &copy)?;
    let (relay, start) = place.start_again()?;
    wait_for_rest(&relay, start)?;
    let (took, deleted) = place.delete_all(&place.home())?;
    let left = relay.stop()?.map(|figures| figures.queued);
    if left != Some(0) {
        return Err(io::Error::other(format!("{left:?} messages are left when all are deleted")));
    }
    let mut offline_s = None;
    if copied {
        let (took, deleted_offline) = place.delete_all(&copy)?;
        if deleted_offline != deleted {
            let text = format!("{deleted_offline} messages are deleted offline, not {deleted}");
            return Err(io::Error::other(text));
        }
        fs::remove_dir_all(&copy)?;
        offline_s = Some(took.as_secs_f64());
    }
    Ok(Deletion { seconds: took.as_secs_f64(), deleted, offline_s })
}

fn loadgen(load: &Load) -> io::Result<&Path> {
    match load {
        Load::Loadgen(path) => Ok(path),
        Load::PostfixTools(_) => Err(io::Error::other("only this project's sink ends after a delivery")),
    }
}

fn succeed(command: &mut Command) -> io::Result<()> {
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("{command:?} ended with {status}"))) }
}

/// Copies a relay's configuration and queue. False if that is too much.
fn copy_of_queue(home: &Path, copy: &Path) -> io::Result<bool> {
    if bytes_below(home)? > COPY_BYTES_MAX {
        return Ok(false);
    }
    copy_directory(home, copy)?;
    let main_cf = fs::read_to_string(home.join("main.cf"))?;
    fs::write(
        copy.join("main.cf"),
        main_cf.replace(&home.display().to_string(), &copy.display().to_string()),
    )?;
    // What was copied is still to be written; that is no part of what is measured.
    rustix::fs::sync();
    Ok(true)
}

fn bytes_below(directory: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { bytes_below(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// Files and directories; the control socket is none.
fn copy_directory(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_directory(&entry.path(), &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// A line for each step, each begun by the line's end.
impl fmt::Display for Reopening {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Listing { resident_mib, resident_peak_mib, seconds, per_s }) = self.listing {
            write!(
                formatter,
                "\nopened again: {resident_mib:.0} MiB, peak {resident_peak_mib:.0} MiB; listed (postqueue -p) in \
                 {seconds:.2} s ({per_s:.0} messages/s)"
            )?;
        }
        if let Some(Mail { alone, beside_listing, listings }) = self.mail {
            write!(
                formatter,
                "\nother mail, {PROBES_PER_S} messages/s, alone: {alone}\nbeside {listings} listings: {beside_listing}"
            )?;
        }
        if let Some(FirstDelivery { start_to_ready_s, start_to_first_delivery_s }) = self.delivery {
            write!(
                formatter,
                "\nstarted again: ready after {start_to_ready_s:.2} s, first delivery after \
                 {start_to_first_delivery_s:.2} s"
            )?;
        }
        if let Some(Deletion { seconds, deleted, offline_s }) = self.deletion {
            write!(formatter, "\n{deleted} deleted (postsuper -d ALL) in {seconds:.2} s")?;
            if let Some(seconds) = offline_s {
                write!(formatter, ", while no engine runs in {seconds:.2} s")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Probes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Probes { reply, end_to_end } = self;
        write!(
            formatter,
            "250 p50 {:.2} p99 {:.2} ms, sending to sink p50 {:.2} p99 {:.2} ms",
            reply.p50_ms, reply.p99_ms, end_to_end.p50_ms, end_to_end.p99_ms
        )
    }
}
