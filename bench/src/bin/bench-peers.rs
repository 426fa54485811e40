//! Ringpost and Postfix on the same work, in turns: processor time a message, messages a second, and their ratios.
//! `scripts/bench-peers` builds what this needs and runs it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use ringpost_bench::load::{Load, Measured, Work, measure};
use ringpost_bench::relay::Kind;
use ringpost_bench::statistics::{half_spread, median};
use ringpost_bench::table::Table;
use serde_json::json;

/// Measure relays on the same work in turns and print medians.
#[derive(Debug, Parser)]
struct Options {
    /// This project's binary; without it only Postfix is measured.
    #[arg(long)]
    ringpost: Option<PathBuf>,
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

/// One relay in one way of connecting, with what its runs showed.
struct Series {
    kind: Kind,
    kept: bool,
    runs: Vec<Measured>,
}

impl Series {
    fn middle(&self, figure: impl Fn(&Measured) -> f64) -> f64 {
        median(&self.runs.iter().map(figure).collect::<Vec<_>>())
    }

    fn way(&self) -> &'static str {
        if self.kept { "kept" } else { "fresh" }
    }
}

fn compare(options: &Options) -> std::io::Result<()> {
    let load = match &options.loadgen {
        Some(binary) => Load::Loadgen(binary.clone()),
        None => Load::PostfixTools(options.peers.clone()),
    };
    let kinds =
        options.ringpost.iter().cloned().map(Kind::Ringpost).chain([Kind::Postfix(options.peers.clone())]);
    let kinds: Vec<Kind> = kinds.collect();
    let ways = [true, false];
    let mut all: Vec<Series> = ways
        .iter()
        .flat_map(|&kept| kinds.iter().map(move |kind| Series { kind: kind.clone(), kept, runs: Vec::new() }))
        .collect();
    for run in 1..=options.runs {
        for series in &mut all {
            let messages = match series.kind {
                Kind::Ringpost(_) => options.messages,
                Kind::Postfix(_) => options.peer_messages,
            };
            let work = Work { messages, bytes: options.size, sessions: options.sessions, kept: series.kept };
            let measured = measure(&series.kind, &load, work, &options.directory, &[])?;
            eprintln!(
                "run {run}/{}: {}, {} connections: {:.0} µs CPU a message, {:.0} messages/s end to end",
                options.runs,
                series.kind.name(),
                series.way(),
                measured.cpu_us,
                measured.delivered_per_s
            );
            series.runs.push(measured);
        }
    }
    println!("{} runs of each, in turns; messages of {} bytes; medians\n", options.runs, options.size);
    println!("{}", table(&all).render());
    for kept in ways {
        print_ratios(&all, kept);
    }
    if let Some(path) = &options.json {
        std::fs::write(path, format!("{:#}\n", figures(&all)))?;
    }
    Ok(())
}

fn table(all: &[Series]) -> Table {
    let mut table = Table::new(&[
        "relay, client connections",
        "µs CPU a message",
        "± %",
        "accepted/s",
        "end to end/s",
        "resident MiB",
        "250 p50 ms",
        "250 p99 ms",
    ]);
    for series in all {
        let reply = |pick: fn((f64, f64)) -> f64| {
            let known: Vec<f64> = series.runs.iter().filter_map(|run| run.reply_ms.map(pick)).collect();
            if known.is_empty() { "–".to_owned() } else { format!("{:.2}", median(&known)) }
        };
        let spread = half_spread(&series.runs.iter().map(|run| run.cpu_us).collect::<Vec<_>>());
        table.row(vec![
            format!("{}, {}", series.kind.name(), series.way()),
            format!("{:.0}", series.middle(|run| run.cpu_us)),
            format!("{:.0}", spread * 100.0),
            format!("{:.0}", series.middle(|run| run.accepted_per_s)),
            format!("{:.0}", series.middle(|run| run.delivered_per_s)),
            format!("{:.0}", series.middle(|run| run.resident_mib)),
            reply(|(p50, _)| p50),
            reply(|(_, p99)| p99),
        ]);
    }
    table
}

fn print_ratios(all: &[Series], kept: bool) {
    let find =
        |wanted: fn(&Kind) -> bool| all.iter().find(|series| series.kept == kept && wanted(&series.kind));
    let ours = find(|kind| matches!(kind, Kind::Ringpost(_)));
    let theirs = find(|kind| matches!(kind, Kind::Postfix(_)));
    if let (Some(ours), Some(theirs)) = (ours, theirs) {
        println!(
            "{} connections: {:.1} × less CPU a message, {:.1} × messages/s end to end",
            ours.way(),
            theirs.middle(|run| run.cpu_us) / ours.middle(|run| run.cpu_us),
            ours.middle(|run| run.delivered_per_s) / theirs.middle(|run| run.delivered_per_s)
        );
    }
}

fn figures(all: &[Series]) -> serde_json::Value {
    let series = all.iter().map(|series| {
        let runs: Vec<_> = series
            .runs
            .iter()
            .map(|run| {
                json!({
                    "cpu_us": run.cpu_us,
                    "accepted_per_s": run.accepted_per_s,
                    "delivered_per_s": run.delivered_per_s,
                    "resident_mib": run.resident_mib,
                    "reply_p50_ms": run.reply_ms.map(|(p50, _)| p50),
                    "reply_p99_ms": run.reply_ms.map(|(_, p99)| p99),
                })
            })
            .collect();
        json!({ "relay": series.kind.name(), "connections": series.way(), "runs": runs })
    });
    json!({ "series": series.collect::<Vec<_>>() })
}
