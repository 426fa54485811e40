//! What destinations cost each other: processor time when shards share one, and the latency of a healthy one beside
//! many that are dead.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde::Serialize;

use crate::load::{Latency, Load, Work, latency};
use crate::names::{self, Names};
use crate::ports::free_port;
use crate::relay::{Kind, Relay};
use crate::running::Running;
use crate::statistics::median;

/// Destinations that nobody serves.
pub const DEAD_DESTINATIONS: u32 = 1000;

/// Two shards: what is shared is shared between these.
const TWO_SHARDS: &str = "ringpost_shards = 2";

/// One run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Run {
    /// Processor time of the relay, µs a message; of dead destinations' mail only what fell into the run.
    pub cpu_us: f64,
    /// Messages a second from the first connection to the last delivery.
    pub delivered_per_s: f64,
    /// From sending to the sink's acceptance.
    pub end_to_end: Latency,
}

/// Runs of two cases in turns.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Pair {
    /// Without what is studied: destinations apart, or the healthy one alone.
    pub without: Vec<Run>,
    /// With it: one destination shared, or dead ones beside it.
    pub with: Vec<Run>,
}

impl Pair {
    fn figures(runs: &[Run], figure: impl Fn(&Run) -> f64) -> Vec<f64> {
        runs.iter().map(figure).collect()
    }

    /// Medians of a figure without and with, and the median of the runs' ratios, neighbours in time paired.
    pub fn compare(&self, figure: impl Fn(&Run) -> f64) -> (f64, f64, f64) {
        let (without, with) = (Pair::figures(&self.without, &figure), Pair::figures(&self.with, &figure));
        let ratios: Vec<f64> = with.iter().zip(&without).map(|(with, without)| with / without).collect();
        (median(&without), median(&with), median(&ratios))
    }
}

/// The case to measure.
#[derive(Clone, Copy, Debug)]
struct Case {
    /// Destinations that take mail.
    alive: u32,
    /// Messages that are queued before for destinations that do not.
    dead_messages: u64,
    /// The relay's back-off, seconds; none: its default. Mail for dead destinations is queued evenly over as long.
    backoff_s: Option<u64>,
}

/// Two shards that send everything to one destination, against the same work for two destinations.
///
/// # Errors
/// When a program cannot be run, fails, or a message is lost.
pub fn shared(kind: &Kind, load: &Load, work: Work, runs: usize, directory: &Path) -> io::Result<Pair> {
    let case = |alive| Case { alive, dead_messages: 0, backoff_s: None };
    in_turns(kind, load, work, runs, directory, [case(2), case(1)])
}

/// A destination with a steady rate, alone and while [`DEAD_DESTINATIONS`] others hold `dead_messages`. Each of these is
/// tried again every `backoff_s` seconds, at times that lie evenly in that time, so that the relay has to do with them.
///
/// # Errors
/// As [`shared`].
pub fn beside_dead(
    kind: &Kind,
    load: &Load,
    work: Work,
    dead_messages: u64,
    backoff_s: u64,
    runs: usize,
    directory: &Path,
) -> io::Result<Pair> {
    let case = |dead_messages| Case { alive: 1, dead_messages, backoff_s: Some(backoff_s) };
    in_turns(kind, load, work, runs, directory, [case(0), case(dead_messages)])
}

fn in_turns(
    kind: &Kind,
    load: &Load,
    work: Work,
    runs: usize,
    directory: &Path,
    [without, with]: [Case; 2],
) -> io::Result<Pair> {
    let mut pair = Pair::default();
    for run in 1..=runs {
        for (case, into) in [(without, &mut pair.without), (with, &mut pair.with)] {
            let measured = measure(kind, load, work, case, directory)?;
            eprintln!(
                "run {run}/{runs}: {} destinations, {} messages for dead ones: {:.1} µs CPU a message, {:.0} messages/s",
                case.alive, case.dead_messages, measured.cpu_us, measured.delivered_per_s
            );
            into.push(measured);
        }
    }
    Ok(pair)
}

fn measure(kind: &Kind, load: &Load, work: Work, case: Case, directory: &Path) -> io::Result<Run> {
    let Load::Loadgen(loadgen) = load else {
        return Err(io::Error::other("only this project's generator knows many destinations"));
    };
    fs::create_dir_all(directory)?;
    let names = Names::start()?;
    let (listen, port) = (free_port()?, free_port()?);
    let mut sink = Command::new(loadgen);
    sink.args(["sink", "--json", "--deliveries", &(work.messages + work.warm_up).to_string()]);
    for number in 0..case.alive {
        sink.args(["--listen", &format!("{}:{port}", names::address(number, true))]);
    }
    let mut sink = Running::start(sink, directory, "sink")?;
    let mut settings = names.main_cf(port);
    settings.push(TWO_SHARDS.to_owned());
    if let Some(seconds) = case.backoff_s {
        settings.extend(["minimal", "maximal"].map(|which| format!("{which}_backoff_time = {seconds}s")));
        settings.push("queue_run_delay = 1s".to_owned());
    }
    let relay = Relay::start(kind, &directory.join("relay"), listen, port, &settings)?;
    let source = |work: Work, domains: u32, domain: &str, name| {
        Running::start(names::source(load, work, listen, domains, domain), directory, name)
    };
    if work.warm_up > 0 {
        let warm_up = Work { messages: work.warm_up, rate: None, ..work };
        source(warm_up, case.alive, names::ALIVE, "warm-up")?.wait_for_success()?;
    }
    if case.dead_messages > 0 {
        let rate = case.backoff_s.map(|seconds| case.dead_messages as f64 / seconds.max(1) as f64);
        let dead = Work { messages: case.dead_messages, rate, ..work };
        source(dead, DEAD_DESTINATIONS, names::DEAD, "dead")?.wait_for_success()?;
    }
    let before = relay.usage();
    let start = Instant::now();
    let mut sending = source(work, case.alive, names::ALIVE, "source")?;
    sending.wait_for_success()?;
    let delivered = sink.wait_for_success()?.duration_since(start);
    let after = relay.usage();
    let figures = relay.stop()?;
    let taken = sink.report()?;
    let wrong = [
        ("delivered", taken["deliveries"].as_u64(), work.messages + work.warm_up),
        ("delivered twice", taken["duplicated"].as_u64(), 0),
        ("queued", figures.map(|figures| figures.queued), case.dead_messages),
    ];
    if let Some((what, count, wanted)) = wrong.iter().find(|(_, count, wanted)| *count != Some(*wanted)) {
        return Err(io::Error::other(format!("{what}: {count:?} and not {wanted}")));
    }
    let end_to_end = latency(&taken["latency"])
        .ok_or_else(|| io::Error::other("the sink tells nothing of the time that mail took"))?;
    let messages = work.messages as f64;
    Ok(Run {
        cpu_us: (after.cpu_us - before.cpu_us) as f64 / messages,
        delivered_per_s: messages / delivered.as_secs_f64(),
        end_to_end,
    })
}

/// Processor time of both cases, for people.
pub fn shared_text(pair: &Pair) -> String {
    let (apart, shared, ratio) = pair.compare(|run| run.cpu_us);
    format!(
        "two shards, processor time a message: two destinations {apart:.1} µs, one destination {shared:.1} µs: {ratio:.2} ×"
    )
}

/// Latencies of both cases, for people.
pub fn beside_dead_text(pair: &Pair, dead_messages: u64) -> String {
    let (alone, beside, ratio) = pair.compare(|run| run.end_to_end.p99_ms);
    format!(
        "sending to the sink of a healthy destination, p99: alone {alone:.2} ms, while {DEAD_DESTINATIONS} dead ones \
         hold {dead_messages} messages {beside:.2} ms: {ratio:.2} ×"
    )
}
