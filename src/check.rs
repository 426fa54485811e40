//! `ringpost check`: what becomes of each parameter that the configuration sets.

use std::io::Write;

use ringpost_core::config::{self, Config};
use ringpost_shards::failure::{EX_IOERR, Failure};
use ringpost_tables::open::Direct;
use ringpost_tables::{Note, Notes, TableOptions};

use crate::configuration::ConfigurationArguments;

/// Prints a line for each setting. Fails like the start would when something is refused that would weaken security.
pub fn run(arguments: &ConfigurationArguments) -> Result<(), Failure> {
    let config = arguments.load()?;
    let mut out = std::io::stdout().lock();
    let written = config::report(&config).iter().try_for_each(|line| writeln!(out, "{line}"));
    written.map_err(|error| Failure::new(EX_IOERR, format!("cannot write the report: {error}")))?;
    let written = tables(&config).iter().try_for_each(|line| writeln!(out, "{line}"));
    written.map_err(|error| Failure::new(EX_IOERR, format!("cannot write the report: {error}")))?;
    let refusals = config::refusals(&config);
    if refusals.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    Err(Failure::config(lines.join("\n")))
}

/// A line for each table: whether it can be opened, or why not and which command helps; and what is wrong within it.
fn tables(config: &Config) -> Vec<String> {
    let options = TableOptions::of(&config.view());
    let mut lines = Vec::new();
    for spec in config.tables() {
        let notes = Notes::default();
        lines.push(match Direct::open(spec, &options, &notes) {
            Ok(_) => format!("table {spec}: found"),
            Err(reason) => format!("table {spec}: {reason}"),
        });
        lines.extend(notes.take().into_iter().map(|note| match note {
            Note::Warning(text) | Note::Info(text) => format!("table {spec}: warning: {text}"),
        }));
    }
    lines
}
