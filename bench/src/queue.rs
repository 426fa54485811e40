//! What a long queue for a destination that is dead costs: memory, and processor time once nothing is to be done.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::load::{Load, Work};
use crate::ports::free_port;
use crate::relay::{Kind, Relay};
use crate::reopening::{self, Reopening};
use crate::running::{PATIENCE, Running};

/// Over such a time the relay must have used no more than one tick of the kernel's clock to count as idle.
const QUIET: Duration = Duration::from_secs(1);
const TICK_US: u64 = 10_000;

/// What the queue cost.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct QueueCost {
    /// Messages in the queue.
    pub messages: u64,
    /// Messages accepted a second.
    pub accepted_per_s: f64,
    /// Processor time of the relay until it was idle again, µs a message.
    pub cpu_us: f64,
    /// Largest resident memory, MiB.
    pub resident_peak_mib: f64,
    /// Resident memory once it was idle, MiB.
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
    // Nobody will listen on the second.
    let (listen, dead) = (free_port()?, free_port()?);
    fs::create_dir_all(directory)?;
    let relay = Relay::start(kind, &directory.join("relay"), listen, dead, &[])?;
    let before = relay.usage();
    let start = Instant::now();
    let mut source = Running::start(load.source_command(work, listen), directory, "source")?;
    let accepted = source.wait_for_success()?;
    let mut last = relay.usage();
    loop {
        std::thread::sleep(QUIET);
        let now = relay.usage();
        if now.cpu_us - last.cpu_us <= TICK_US {
            break;
        }
        if accepted.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("{} does not come to rest", kind.name())));
        }
        last = now;
    }
    let settling = accepted.elapsed();
    let idle_before = relay.usage();
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
            Some(reopening::measure(binary, load, work.messages, directory, listen, dead)?)
        }
        _ => None,
    };
    Ok(QueueCost {
        messages: work.messages,
        accepted_per_s: work.messages as f64 / accepted.duration_since(start).as_secs_f64(),
        cpu_us: (idle_before.cpu_us - before.cpu_us) as f64 / work.messages as f64,
        resident_peak_mib: idle.resident_peak_bytes as f64 / f64::from(1 << 20),
        resident_idle_mib: idle.resident_bytes as f64 / f64::from(1 << 20),
        settling_s: settling.as_secs_f64(),
        idle_cpu_percent: (idle.cpu_us - idle_before.cpu_us) as f64 / idle_us * 100.0,
        reopening,
    })
}
