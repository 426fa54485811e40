//! Ringpost and Postfix on the same work, in turns: processor time a message, messages a second, and their ratios.
//! `scripts/bench-peers` builds what this needs and runs it.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use ringpost_bench::load::{Connections, Load, Work};
use ringpost_bench::machine::Machine;
use ringpost_bench::relay::Kind;
use ringpost_bench::series::{self, Series, find, run_in_turns};
use serde_json::json;

/// Measure relays on the same work in turns and print medians.
#[derive(Debug, Parser)]
struct Options {
    /// This project's binary.
    #[arg(long)]
    ringpost: PathBuf,
    /// The load generator; without it smtp-source and smtp-sink send and take.
    #[arg(long)]
    loadgen: Option<PathBuf>,
    /// Where scripts/install-test-needs unpacked Postfix.
    #[arg(long)]
    peers: PathBuf,
    /// Where queues are kept: on the disk that counts.
    #[arg(long)]
    directory: PathBuf,
    /// Runs of each; the median counts.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Messages in a run of Ringpost.
    #[arg(long, default_value_t = 50_000)]
    messages: u64,
    /// Messages in a run of Postfix.
    #[arg(long, default_value_t = 5_000)]
    peer_messages: u64,
    /// Bytes of a message.
    #[arg(long, default_value_t = 4096)]
    size: u64,
    /// Sessions at once.
    #[arg(long, default_value_t = 100)]
    sessions: u64,
    /// The source's commit, for the report.
    #[arg(long, default_value = "unknown")]
    commit: String,
    /// Write the figures of every run here, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Exit status when the comparison could not be made (sysexits: EX_UNAVAILABLE).
const EX_UNAVAILABLE: u8 = 69;

fn main() -> ExitCode {
    match compare(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-peers: {error}");
            ExitCode::from(EX_UNAVAILABLE)
        }
    }
}

fn compare(options: &Options) -> io::Result<()> {
    let load =
        options.loadgen.clone().map_or_else(|| Load::PostfixTools(options.peers.clone()), Load::Loadgen);
    // smtp-source does not pipeline.
    let kept = match load {
        Load::Loadgen(_) => Connections::KeptPipelined,
        Load::PostfixTools(_) => Connections::KeptFourTrips,
    };
    let ways = [kept, Connections::Fresh];
    let machine = Machine::describe(&options.commit, &options.directory)?;
    let mut all = Vec::new();
    for connections in ways {
        let work = |messages| Work {
            messages,
            // Postfix starts a process for each session; that is not the work to be measured.
            warm_up: options.sessions * 2,
            bytes: options.size,
            sessions: options.sessions,
            connections,
            recipient: None,
            rate: None,
        };
        all.push(Series::new(Kind::Ringpost(options.ringpost.clone()), work(options.messages)));
        all.push(Series::new(Kind::Postfix(options.peers.clone()), work(options.peer_messages)));
    }
    println!("{}", machine.line());
    if let Some(warning) = machine.warning() {
        println!("{warning}");
    }
    println!(
        "{} runs of each, in turns, {} messages of {} bytes for Ringpost and {} for Postfix, {} sessions, the same \
         source and sink, main.cf lines and disk; each relay had {} messages before, to start its processes; medians\n",
        options.runs,
        options.messages,
        options.size,
        options.peer_messages,
        options.sessions,
        options.sessions * 2
    );
    run_in_turns(&mut all, options.runs, &load, &options.directory)?;
    println!("{}", series::table(&all).render());
    let ratios: Vec<Ratio> = ways.iter().filter_map(|&connections| Ratio::of(&all, connections)).collect();
    for ratio in &ratios {
        println!(
            "connections {}: {:.1} × less CPU a message, {:.1} × messages/s end to end (medians of the ratios, pair by \
             pair)",
            ratio.connections.name(),
            ratio.less_cpu,
            ratio.more_messages
        );
    }
    if let Some(path) = &options.json {
        let figures = json!({ "machine": machine, "series": all, "ratios": ratios });
        std::fs::write(path, format!("{figures:#}\n"))?;
    }
    Ok(())
}

/// Ringpost against Postfix with one way of connecting.
#[derive(serde::Serialize)]
struct Ratio {
    connections: Connections,
    less_cpu: f64,
    more_messages: f64,
}

impl Ratio {
    fn of(all: &[Series], connections: Connections) -> Option<Ratio> {
        let ours = find(all, connections, |series| matches!(series.kind, Kind::Ringpost(_)))?;
        let theirs = find(all, connections, |series| matches!(series.kind, Kind::Postfix(_)))?;
        Some(Ratio {
            connections,
            less_cpu: theirs.ratio(ours, |run| run.cpu_us),
            more_messages: ours.ratio(theirs, |run| run.delivered_per_s),
        })
    }
}
