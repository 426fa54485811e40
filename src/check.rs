//! `ringpost check`: what becomes of each parameter that the configuration sets.

use std::io::Write;

use ringpost_core::config;
use ringpost_shards::failure::{EX_IOERR, Failure};

use crate::configuration::ConfigurationArguments;

/// Prints a line for each setting. Fails like the start would when something is refused that would weaken security.
pub fn run(arguments: &ConfigurationArguments) -> Result<(), Failure> {
    let config = arguments.load()?;
    let mut out = std::io::stdout().lock();
    let written = config::report(&config).iter().try_for_each(|line| writeln!(out, "{line}"));
    written.map_err(|error| Failure::new(EX_IOERR, format!("cannot write the report: {error}")))?;
    let refusals = config::refusals(&config);
    if refusals.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    Err(Failure::config(lines.join("\n")))
}
