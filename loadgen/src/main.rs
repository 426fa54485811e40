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

use crate::options::{Command, CommandLine, SinkOptions, SourceOptions};

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
    while !source.is_finished() {
        if stop.load(Relaxed) {
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
