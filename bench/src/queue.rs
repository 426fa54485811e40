//! What a long queue for a destination that is dead costs: memory, and processor time once nothing is to be done.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::load::{Load, Work};
use crate::names::{self, Names};
use crate::ports::free_port;
use crate::relay::{Kind, Relay};
use crate::reopening::{self, Place, Reopening};
use crate::running::Running;

/// Over such a time the relay must have used no more than one tick of the kernel's clock to count as idle.
const QUIET: Duration = Duration::from_secs(1);
const TICK_US: u64 = 10_000;
/// Nothing comes due again while the queue is filled and looked at.
const BACK_OFF: &str = "4h";
/// What a queue of ten million messages takes to fill, and more.
const FILL_PATIENCE: Duration = Duration::from_secs(3000);

/// What the queue cost.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct QueueCost {
    /// Messages in the queue.
    pub messages: u64,
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
    /// What is done with the queue then; only Ringpost's own.
    pub reopening: Option<Reopening>,
}

/// Fills the queue of a relay whose destination refuses connections, waits until the relay is idle, and then watches
/// it for `watch`; then opens the queue again, lists it, delivers from it and deletes it.
///
/// # Errors
/// When a program cannot be run, fails, or the relay does not come to rest.
pub fn measure(
    kind: &Kind,
    load: &Load,
    work: Work,
    directory: &Path,
    watch: Duration,
) -> io::Result<QueueCost> {
    let names = Names::start()?;
    // On the second, nobody listens at the addresses of dead destinations.
    let (listen, port) = (free_port()?, free_port()?);
    fs::create_dir_all(directory)?;
    let mut settings = names.main_cf(port);
    settings.extend(["minimal", "maximal"].map(|which| format!("{which}_backoff_time = {BACK_OFF}")));
    let relay = Relay::start(kind, &directory.join("relay"), listen, port, &settings)?;
    let before = relay.usage();
    let start = Instant::now();
    let source = names::source(load, work, listen, 1, names::DEAD);
    let accepted = Running::start(source, directory, "source")?.wait_so_long(FILL_PATIENCE)?;
    let rested = wait_for_rest(&relay, accepted)?;
    let settling = accepted.elapsed();
    let idle_start = Instant::now();
    std::thread::sleep(watch);
    let idle = relay.usage();
    let idle_us = idle_start.elapsed().as_micros() as f64;
    let queued = relay.stop()?.map(|figures| figures.queued);
    if queued.is_some_and(|queued| queued != work.messages) {
        return Err(io::Error::other(format!("{queued:?} messages are in the queue, not {}", work.messages)));
    }
    let reopening = match kind {
        Kind::Ringpost(binary) => {
            let place = Place { kind, binary, directory, listen, port, settings: &settings };
            Some(reopening::measure(place, load, work)?)
        }
        _ => None,
    };
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Ok(QueueCost {
        messages: work.messages,
        accepted_per_s: work.messages as f64 / accepted.duration_since(start).as_secs_f64(),
        cpu_us: (rested - before.cpu_us) as f64 / work.messages as f64,
        resident_empty_mib: mib(before.resident_bytes),
        resident_peak_mib: mib(idle.resident_peak_bytes),
        resident_idle_mib: mib(idle.resident_bytes),
        settling_s: settling.as_secs_f64(),
        idle_cpu_percent: (idle.cpu_us - rested) as f64 / idle_us * 100.0,
        reopening,
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
