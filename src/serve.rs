//! `ringpost serve`: the relay in the foreground.

use ringpost_core::config::{self, Config};
use ringpost_shards::engine;
use ringpost_shards::failure::Failure;

use crate::configuration::ConfigurationArguments;

/// Runs until told to stop. A configuration that asks for a protection which is not there does not start.
pub fn run(arguments: &ConfigurationArguments) -> Result<(), Failure> {
    let config = load(arguments)?;
    let again = arguments.clone();
    engine::serve(&config, &arguments.origin(), Box::new(move || load(&again)))
}

fn load(arguments: &ConfigurationArguments) -> Result<Config, Failure> {
    let config = arguments.load()?;
    let refusals = config::refusals(&config);
    if !refusals.is_empty() {
        let lines: Vec<String> = refusals.iter().map(ToString::to_string).collect();
        return Err(Failure::config(lines.join("\n")));
    }
    Ok(config)
}
