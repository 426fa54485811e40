//! What a long queue for a destination that is dead costs: memory, and processor time once nothing is to be done.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::load::{Load, Work};
use crate::names::{self, Names};
use crate::ports::free_port;
use crate::relay::{Kind, Relay, SpoolFigures};
use crate::reopening::{self, Place, Reopening, Step};
use crate::running::Running;

/// Over such a time the relay must have used no more than one tick of the kernel's clock to count as idle.
const QUIET: Duration = Duration::from_secs(1);
const TICK_US: u64 = 10_000;
/// Nothing comes due again while the queue is filled and looked at.
const BACK_OFF: &str = "4h";
/// What a queue of ten million messages takes to fill, and more.
const FILL_PATIENCE: Duration = Duration::from_secs(3000);

/// Which queue is measured, and what is done with it.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// Where the queue is kept. One that is there already is not filled again: a large one serves many measurements.
    pub directory: &'a Path,
    /// What is done with it once it is filled.
    pub steps: &'a [Step],
    /// How long the relay is watched while it is idle.
    pub watch: Duration,
}

/// What the queue cost.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct QueueCost {
    /// Messages in the queue when it was filled or found.
    pub messages: u64,
    /// None for a queue that was there already.
    pub filling: Option<Filling>,
    /// What was done with the queue then.
    pub reopening: Reopening,
}

/// What it cost to fill the queue and to have it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Filling {
    /// Messages accepted a second.
    pub accepted_per_s: f64,
    /// Processor time of the relay until it was idle again, µs a message.
    pub cpu_us: f64,
    /// Resident memory of the relay that has just been started and has no mail, MiB.
    pub resident_empty_mib: f64,
    /// Largest resident memory, MiB.
    pub resident_peak_mib: f64,
    /// Resident memory once it was idle with its queue, MiB.
    pub resident_idle_mib: f64,
    /// From the last 250 until it was idle, seconds.
    pub settling_s: f64,
    /// Processor time while idle, as a percentage of one core.
    pub idle_cpu_percent: f64,
}

/// Fills the queue of Ringpost, whose program is `binary` and whose destination refuses connections, unless it is full
/// already; then opens the queue again and does what the plan says.
///
/// # Errors
/// When a program cannot be run, fails, or the relay does not come to rest.
pub fn measure(binary: &Path, load: &Load, mut work: Work, plan: Plan<'_>) -> io::Result<QueueCost> {
    let kind = Kind::Ringpost(binary.to_path_buf());
    let names = Names::start()?;
    // On the second, nobody listens at the addresses of dead destinations.
    let (listen, port) = (free_port()?, free_port()?);
    fs::create_dir_all(plan.directory)?;
    let mut settings = names.main_cf(port);
    settings.extend(["minimal", "maximal"].map(|which| format!("{which}_backoff_time = {BACK_OFF}")));
    let place = Place { kind: &kind, binary, directory: plan.directory, listen, port, settings: &settings };
    let found = SpoolFigures::left_in(&place.home()).map_or(0, |figures| figures.queued);
    let filling = if found > 0 {
        work.messages = found;
        None
    } else {
        Some(fill(place, load, work, plan.watch)?)
    };
    let reopening = reopening::measure(place, load, work, plan.steps)?;
    Ok(QueueCost { messages: work.messages, filling, reopening })
}

fn fill(place: Place<'_>, load: &Load, work: Work, watch: Duration) -> io::Result<Filling> {
    let relay = Relay::start(place.kind, &place.home(), place.listen, place.port, place.settings)?;
    let before = relay.usage();
    let start = Instant::now();
    let source = names::source(load, work, place.listen, 1, names::DEAD);
    let accepted = Running::start(source, place.directory, "source")?.wait_so_long(FILL_PATIENCE)?;
    let rested = wait_for_rest(&relay, accepted)?;
    let settling = accepted.elapsed();
    let idle_start = Instant::now();
    std::thread::sleep(watch);
    let idle = relay.usage();
    let idle_us = idle_start.elapsed().as_micros() as f64;
    let queued = relay.stop()?.map(|figures| figures.queued);
    if queued != Some(work.messages) {
        return Err(io::Error::other(format!("{queued:?} messages are in the queue, not {}", work.messages)));
    }
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Ok(Filling {
        accepted_per_s: work.messages as f64 / accepted.duration_since(start).as_secs_f64(),
        cpu_us: (rested - before.cpu_us) as f64 / work.messages as f64,
        resident_empty_mib: mib(before.resident_bytes),
        resident_peak_mib: mib(idle.resident_peak_bytes),
        resident_idle_mib: mib(idle.resident_bytes),
        settling_s: settling.as_secs_f64(),
        idle_cpu_percent: (idle.cpu_us - rested) as f64 / idle_us * 100.0,
    })
}

/// Waits until the relay has nothing to do, and answers how much processor time it has used by then, µs.
///
/// # Errors
/// When that does not come in time.
pub fn wait_for_rest(relay: &Relay, since: Instant) -> io::Result<u64> {
    let mut last = relay.usage();
    loop {
        std::thread::sleep(QUIET);
        let now = relay.usage();
        if now.cpu_us - last.cpu_us <= TICK_US {
            return Ok(now.cpu_us);
        }
        if since.elapsed() > FILL_PATIENCE {
            return Err(io::Error::other("the relay does not come to rest"));
        }
        last = now;
    }
}

impl fmt::Display for QueueCost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} messages queued for a dead destination", self.messages)?;
        match self.filling {
            None => write!(formatter, " before")?,
            Some(filling) => write!(
                formatter,
                ": accepted {:.0}/s, {:.1} µs CPU a message, {:.0} MiB before, peak {:.0} MiB; idle {:.1} s after the \
                 last 250: {:.0} MiB, {:.2}% of a core",
                filling.accepted_per_s,
                filling.cpu_us,
                filling.resident_empty_mib,
                filling.resident_peak_mib,
                filling.settling_s,
                filling.resident_idle_mib,
                filling.idle_cpu_percent
            )?,
        }
        write!(formatter, "{}", self.reopening)
    }
}
