//! What a message costs on this machine: processor time against the bare loop, latency against the disk, memory, and a
//! long queue. `scripts/bench` builds what this needs and runs it.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use ringpost_bench::destinations::{self, Pair};
use ringpost_bench::load::{Connections, Load, Work};
use ringpost_bench::machine::Machine;
use ringpost_bench::queue::{self, Plan};
use ringpost_bench::relay::Kind;
use ringpost_bench::reopening::Step;
use ringpost_bench::series::{self, Series, find, run_in_turns};
use ringpost_bench::statistics::median;
use ringpost_bench::table::Table;
use ringpost_bench::tables;
use serde_json::json;

/// Measure the relay on this machine and print medians.
#[derive(Debug, Parser)]
struct Options {
    /// The relay.
    #[arg(long)]
    ringpost: PathBuf,
    /// The load generator.
    #[arg(long)]
    loadgen: PathBuf,
    /// The reactor's example of that name.
    #[arg(long)]
    bare_loop: PathBuf,
    /// Where queues are kept: on the disk that counts.
    #[arg(long)]
    directory: PathBuf,
    /// Few and short runs, for a first look in under two minutes.
    #[arg(long)]
    quick: bool,
    /// Runs of each; the median counts [default: 5; quick: 2].
    #[arg(long)]
    runs: Option<usize>,
    /// Messages in a run [default: 50000; quick: 10000].
    #[arg(long)]
    messages: Option<u64>,
    /// Seconds of a run at half of the saturation rate [default: 10; quick: 3].
    #[arg(long)]
    rated_seconds: Option<u64>,
    /// Messages queued for a dead destination [default: 20000; quick: 5000].
    #[arg(long)]
    queue: Option<u64>,
    /// Keep that queue here: one that is there already is not filled again [default: below the directory].
    #[arg(long)]
    queue_directory: Option<PathBuf>,
    /// What is done with that queue.
    #[arg(long, value_delimiter = ',', default_value = "list,mail,deliver,delete")]
    queue_steps: Vec<Step>,
    /// Messages for dead destinations beside a healthy one [default: 100000; quick: 5000].
    #[arg(long)]
    dead_messages: Option<u64>,
    /// Seconds after which each of these is tried again, and over which they are queued [default: the run's length].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    dead_backoff: Option<u64>,
    /// Messages a second to the healthy one.
    #[arg(long, default_value_t = 1000.0)]
    healthy_rate: f64,
    /// Bytes of a message.
    #[arg(long, default_value_t = 4096)]
    size: u64,
    /// Sessions at once.
    #[arg(long, default_value_t = 100)]
    sessions: u64,
    /// Only these parts.
    #[arg(long, value_delimiter = ',', default_value = "speed,latency,queue")]
    only: Vec<Part>,
    /// The source's commit, for the report.
    #[arg(long, default_value = "unknown")]
    commit: String,
    /// Write the figures of every run here, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Processor time and messages a second, against the bare loop; memory.
    Speed,
    /// From the dot to its 250 at half of the saturation rate, against the disk.
    Latency,
    /// A long queue for a dead destination: filled, at rest, opened again, listed, delivered from, deleted.
    Queue,
    /// Two shards that share a destination, against the same work for two destinations.
    Coordination,
    /// Large lookup tables, against none.
    Tables,
    /// A healthy destination while a thousand dead ones hold mail, against alone.
    Dead,
}

/// Exit status when the measurement could not be made (sysexits: EX_UNAVAILABLE).
const EX_UNAVAILABLE: u8 = 69;

const ONE_SHARD: &str = "ringpost_shards = 1";

fn main() -> ExitCode {
    match bench(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::from(EX_UNAVAILABLE)
        }
    }
}

impl Options {
    /// What the user said, or what is usual for a quick or a whole bench.
    fn or_usual<T>(&self, said: Option<T>, quick: T, whole: T) -> T {
        said.unwrap_or(if self.quick { quick } else { whole })
    }

    fn work(&self, connections: Connections) -> Work {
        let messages = self.or_usual(self.messages, 10_000, 50_000);
        Work {
            messages,
            warm_up: self.sessions * 2,
            bytes: self.size,
            sessions: self.sessions,
            connections,
            recipient: None,
            rate: None,
        }
    }

    fn ringpost(&self, connections: Connections) -> Series {
        Series::new(Kind::Ringpost(self.ringpost.clone()), self.work(connections))
    }
}

fn bench(options: &Options) -> io::Result<()> {
    let load = Load::Loadgen(options.loadgen.clone());
    let runs = options.or_usual(options.runs, 2, 5);
    let machine = Machine::describe(&options.commit, &options.directory)?;
    println!("{}", machine.line());
    if let Some(warning) = machine.warning() {
        println!("{warning}");
    }
    println!(
        "messages of {} bytes, {} sessions; medians of {runs} runs in turns\n",
        options.size, options.sessions
    );

    let mut speed = Vec::new();
    if options.only.contains(&Part::Speed) {
        speed = speed_series(options);
        run_in_turns(&mut speed, runs, &load, &options.directory)?;
        println!("{}", series::table(&speed).render());
        for (what, ratio) in ratios_to_bare(&speed) {
            println!("processor time, {what}: {ratio:.2} × the bare loop's");
        }
        println!();
    }
    let mut rated = None;
    if options.only.contains(&Part::Latency) {
        let saturated = find(&speed, Connections::KeptPipelined, |_| true).cloned();
        let saturated = saturated.map_or_else(
            || {
                let mut alone = [options.ringpost(Connections::KeptPipelined)];
                run_in_turns(&mut alone, runs, &load, &options.directory)?;
                let [alone] = alone;
                io::Result::Ok(alone)
            },
            Ok,
        )?;
        let rate = (saturated.middle(|run| run.accepted_per_s.min(run.delivered_per_s)) / 2.0).round();
        let seconds = options.or_usual(options.rated_seconds, 3, 10);
        let mut half = options.ringpost(Connections::KeptPipelined);
        half.work.rate = Some(rate);
        half.work.messages = (rate as u64 * seconds).max(1);
        // Its commits would count among those of the run.
        half.work.warm_up = 0;
        let mut half = [half];
        run_in_turns(&mut half, runs, &load, &options.directory)?;
        let [half] = half;
        println!(
            "at half of the saturation rate ({rate:.0} messages/s, kept connections, pipelined, open loop):\n"
        );
        println!("{}", latency_table(&half).render());
        if let Some((p99, mean)) = latency_ratios(&half) {
            println!("dot to 250 against the disk's own commit: p99 / p99 {p99:.2}, mean / mean {mean:.2}\n");
        }
        rated = Some(half);
    }
    let mut queue = None;
    if options.only.contains(&Part::Queue) {
        let mut work = options.work(Connections::KeptPipelined);
        work.messages = options.or_usual(options.queue, 5_000, 20_000);
        let plan = Plan {
            directory: options.queue_directory.as_deref().unwrap_or(&options.directory),
            steps: &options.queue_steps,
            watch: Duration::from_secs(options.or_usual(None, 5, 20)),
        };
        let cost = queue::measure(&options.ringpost, &load, work, plan)?;
        println!("{cost}");
        queue = Some(cost);
    }
    let kind = Kind::Ringpost(options.ringpost.clone());
    let mut coordination = None;
    if options.only.contains(&Part::Coordination) {
        let work = options.work(Connections::KeptPipelined);
        let pair = destinations::shared(&kind, &load, work, runs, &options.directory)?;
        println!("{}", destinations::shared_text(&pair));
        coordination = Some(pair);
    }
    let mut with_tables = None;
    if options.only.contains(&Part::Tables) {
        let work = options.work(Connections::KeptPipelined);
        let both = tables::measure(&options.ringpost, &load, work, runs, &options.directory)?;
        println!("{}", tables::text(&both));
        with_tables = Some(both);
    }
    let mut dead = None;
    if options.only.contains(&Part::Dead) {
        dead = Some(beside_dead(options, &kind, &load, runs)?);
    }
    if let Some(path) = &options.json {
        let ratios: serde_json::Map<String, serde_json::Value> =
            ratios_to_bare(&speed).into_iter().map(|(what, ratio)| (what.to_owned(), json!(ratio))).collect();
        let latency = rated.as_ref().map(
            |half| json!({ "series": half, "p99_to_commit_p99": latency_ratios(half).map(|(p99, _)| p99) }),
        );
        let figures = json!({ "machine": machine, "speed": speed, "to_bare_loop": ratios, "latency": latency, "queue": queue,
            "coordination": coordination, "tables": with_tables, "dead": dead });
        std::fs::write(path, format!("{figures:#}\n"))?;
    }
    Ok(())
}

fn beside_dead(options: &Options, kind: &Kind, load: &Load, runs: usize) -> io::Result<Pair> {
    if options.healthy_rate <= 0.0 {
        return Err(io::Error::other("--healthy-rate: more than 0"));
    }
    let mut work = options.work(Connections::KeptPipelined);
    let seconds = options.or_usual(options.rated_seconds, 5, 20);
    work.messages = ((options.healthy_rate * seconds as f64) as u64).max(1);
    work.rate = Some(options.healthy_rate);
    let dead_messages = options.or_usual(options.dead_messages, 5_000, 100_000);
    let backoff_s = options.dead_backoff.unwrap_or(seconds).max(1);
    let pair =
        destinations::beside_dead(kind, load, work, dead_messages, backoff_s, runs, &options.directory)?;
    println!("{}", destinations::beside_dead_text(&pair, dead_messages));
    Ok(pair)
}

/// The bare loop offers no pipelining, so it stands beside the relay with four round trips.
fn speed_series(options: &Options) -> Vec<Series> {
    let four_trips = Connections::KeptFourTrips;
    vec![
        options.ringpost(four_trips).with("1 shard", ONE_SHARD),
        Series::new(Kind::BareLoop(options.bare_loop.clone()), options.work(four_trips)),
        options.ringpost(four_trips),
        options.ringpost(Connections::KeptPipelined),
        options.ringpost(Connections::Fresh),
    ]
}

/// How many times the bare loop's processor time the relay takes, with as many threads and with the default.
fn ratios_to_bare(speed: &[Series]) -> Vec<(&'static str, f64)> {
    let four_trips = |wanted: fn(&Series) -> bool| find(speed, Connections::KeptFourTrips, wanted);
    let Some(bare) = four_trips(|series| matches!(series.kind, Kind::BareLoop(_))) else { return Vec::new() };
    let is_ringpost = |series: &Series| matches!(series.kind, Kind::Ringpost(_));
    let one =
        find(speed, Connections::KeptFourTrips, |series| is_ringpost(series) && !series.settings.is_empty());
    let all =
        find(speed, Connections::KeptFourTrips, |series| is_ringpost(series) && series.settings.is_empty());
    let named = [("one shard", one), ("a shard on each core", all)];
    named
        .into_iter()
        .filter_map(|(name, series)| Some((name, series?.ratio(bare, |run| run.cpu_us))))
        .collect()
}

fn latency_table(half: &Series) -> Table {
    let mut table = Table::new(&["ms", "mean", "p50", "p99", "p99.9"]);
    type Pick = fn(&ringpost_bench::load::Measured) -> Option<ringpost_bench::load::Latency>;
    let rows: [(&str, Pick); 3] = [
        ("dot to 250", |run| run.reply),
        ("due time to 250", |run| run.response),
        ("sending to the sink", |run| run.end_to_end),
    ];
    let cell = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.2}"));
    for (name, pick) in rows {
        table.row(vec![
            name.to_owned(),
            cell(half.middle_known(|run| pick(run).map(|times| times.mean_ms))),
            cell(half.middle_known(|run| pick(run).map(|times| times.p50_ms))),
            cell(half.middle_known(|run| pick(run).map(|times| times.p99_ms))),
            cell(half.middle_known(|run| pick(run).map(|times| times.p999_ms))),
        ]);
    }
    table.row(vec![
        "the disk's commit".to_owned(),
        cell(half.middle_known(|run| run.spool.map(|spool| spool.commit_latency_us_mean / 1000.0))),
        cell(None),
        cell(half.middle_known(|run| run.spool.map(|spool| spool.commit_latency_us_p99 / 1000.0))),
        cell(None),
    ]);
    table
}

/// The 250's latency over the commit's in the same run: 99th percentiles, and means.
fn latency_ratios(half: &Series) -> Option<(f64, f64)> {
    let ratios: Vec<(f64, f64)> = half
        .runs
        .iter()
        .filter_map(|run| {
            let (reply, spool) = (run.reply?, run.spool?);
            let ratio = |milliseconds: f64, microseconds: f64| milliseconds * 1000.0 / microseconds;
            Some((
                ratio(reply.p99_ms, spool.commit_latency_us_p99),
                ratio(reply.mean_ms, spool.commit_latency_us_mean),
            ))
        })
        .collect();
    let (p99, mean): (Vec<f64>, Vec<f64>) = ratios.into_iter().unzip();
    (!p99.is_empty()).then(|| (median(&p99), median(&mean)))
}
