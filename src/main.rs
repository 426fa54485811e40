//! `ringpost`: the multi-call binary. Dispatches on its first word; exit codes are those of sysexits.

mod check;
mod configuration;
mod host;
mod serve;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ringpost_shards::failure::Failure;

use crate::configuration::ConfigurationArguments;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// EX_USAGE: the command line.
const EX_USAGE: u8 = 64;

/// A mail transfer agent for those who send a great deal of mail
#[derive(Parser)]
#[command(name = "ringpost", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the relay in the foreground; SIGTERM stops it, SIGUSR1 writes figures.json to the queue directory
    Serve(ConfigurationArguments),
    /// Tell of each parameter that is set whether it is honoured, without effect, or refused
    Check(ConfigurationArguments),
}

fn main() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => {
            // --help and --version come here too, on standard output and with success.
            let _ = error.print();
            return if error.use_stderr() { EX_USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    let outcome = match line.command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure),
    }
}

fn report(failure: &Failure) -> ExitCode {
    let mut standard_error = std::io::stderr().lock();
    for line in failure.message.lines() {
        // Without standard error the exit code says it.
        let _ = writeln!(standard_error, "ringpost: fatal: {line}");
    }
    failure.code.into()
}
