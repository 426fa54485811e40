//! `ringpost-loadgen`: source, sink, run, torture. Reads the command line; the library does the work.

mod options;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use clap::Parser;
use clap::error::ErrorKind;
use ringpost_loadgen::Failure;
use ringpost_loadgen::sink::Sink;
use ringpost_loadgen::source::Source;

use crate::options::{Command, CommandLine, RunOptions, SinkOptions, SourceOptions, TortureOptions};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often the commands look whether they are done.
const LOOK: Duration = Duration::from_millis(50);

/// sysexits.h: the command line is wrong.
const EX_USAGE: u8 = 64;

fn main() -> ExitCode {
    let command_line = match CommandLine::try_parse() {
        Ok(command_line) => command_line,
        Err(error) => {
            // Nothing can be done about a closed terminal.
            let _ = error.print();
            let is_answer = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return if is_answer { ExitCode::SUCCESS } else { ExitCode::from(EX_USAGE) };
        }
    };
    let result = stop_signal().and_then(|stop| match command_line.command {
        Command::Source(options) => source(&options, &stop),
        Command::Sink(options) => sink(&options, &stop),
        Command::Run(options) => run(&options, &stop),
        Command::Torture(options) => torture(&options, &stop),
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("ringpost-loadgen: {failure}");
            ExitCode::from(failure.exit_status())
        }
    }
}

/// A flag that SIGINT and SIGTERM set. A second signal ends the process at once.
fn stop_signal() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .map_err(|error| Failure::Environment(format!("cannot watch for signals: {error}")))?;
    }
    Ok(stop)
}

fn source(options: &SourceOptions, stop: &AtomicBool) -> Result<bool, Failure> {
    let settings = options.settings()?;
    let messages = settings.messages;
    let source = Source::start(settings)?;
    let give_up = Duration::from_secs(options.give_up);
    let (mut answered, mut last_answer) = (0, Instant::now());
    while !source.is_finished() {
        let counters = source.counters();
        let now_answered = counters.acknowledged.load(Relaxed) + counters.refused.load(Relaxed);
        if now_answered != answered {
            (answered, last_answer) = (now_answered, Instant::now());
        }
        if stop.load(Relaxed) || last_answer.elapsed() >= give_up {
            source.stop();
        }
        std::thread::sleep(LOOK);
    }
    let figures = source.finish()?.figures();
    print(&figures, options.json)?;
    Ok(messages.is_none_or(|messages| figures.acknowledged == messages))
}

fn sink(options: &SinkOptions, stop: &AtomicBool) -> Result<bool, Failure> {
    let mut sink = Sink::start(options.settings()?)?;
    for address in sink.addresses() {
        eprintln!("ringpost-loadgen: sink listens on {address}");
    }
    let started = Instant::now();
    let is_done = || {
        let deliveries = sink.counters().deliveries.load(Relaxed);
        options.deliveries.is_some_and(|wanted| deliveries >= wanted)
            || options.for_seconds.is_some_and(|seconds| started.elapsed() >= Duration::from_secs(seconds))
    };
    while !stop.load(Relaxed) && !is_done() {
        std::thread::sleep(LOOK);
    }
    let report = sink.stop()?;
    print(&sink.figures(&report), options.json)?;
    Ok(true)
}

fn run(options: &RunOptions, stop: &AtomicBool) -> Result<bool, Failure> {
    let report = ringpost_loadgen::run::run(options.settings()?, stop)?;
    print(&report, options.json)?;
    Ok(report.ok)
}

fn torture(options: &TortureOptions, stop: &AtomicBool) -> Result<bool, Failure> {
    let settings = options.settings()?;
    // The seed is named even if the user did not.
    let mut words: Vec<String> = std::env::args().map(|word| quoted(&word)).collect();
    if !words.iter().any(|word| word == "--seed" || word.starts_with("--seed=")) {
        let at = words.iter().position(|word| word == "--").unwrap_or(words.len());
        words.splice(at..at, ["--seed".into(), settings.seed.to_string()]);
    }
    let report = ringpost_loadgen::torture::torture(settings, words.join(" "), stop)?;
    print(&report, options.json)?;
    Ok(report.ok)
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=./:,@+%".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Prints figures for people, or as JSON.
fn print<T: serde::Serialize + std::fmt::Display>(figures: &T, json: bool) -> Result<(), Failure> {
    if json {
        let text = serde_json::to_string_pretty(figures)
            .map_err(|error| Failure::File(format!("cannot write JSON: {error}")))?;
        println!("{text}");
    } else {
        println!("{figures}");
    }
    Ok(())
}
