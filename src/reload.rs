//! `ringpost reload`: the running relay reads its configuration again.

use ringpost_core::control::{Answer, Request};
use ringpost_shards::control::client::{Connection, ControlError};
use ringpost_shards::failure::Failure;

use crate::configuration::ConfigurationArguments;
use crate::queue_command::own_code;

/// Asks the engine, and prints what it says: a warning for what waits for a restart, or why it changes nothing. The
/// configuration is read by the engine, from where it was started with.
pub fn run(arguments: &ConfigurationArguments) -> Result<(), Failure> {
    let queue_directory = arguments.queue_directory()?;
    let mut errors: Vec<String> = Vec::new();
    let outcome = Connection::open(&queue_directory).and_then(|mut connection| {
        connection.request(&Request::Reload, |answer| {
            match answer {
                Answer::Warning(text) => eprintln!("ringpost: warning: {text}"),
                Answer::Line(text) => errors.push(text.to_owned()),
                _ => {}
            }
            Ok(())
        })
    });
    match outcome {
        Ok(_) => Ok(()),
        Err(ControlError::Down) => Err(Failure::new(
            own_code(&ControlError::Down),
            format!(
                "no mail system runs with the queue_directory {}; one that was started with another reloads when it \
                 is named (-o queue_directory=…), or by SIGHUP",
                queue_directory.display()
            ),
        )),
        Err(error) => {
            let code = own_code(&error);
            errors.push(error.to_string());
            Err(Failure::new(code, errors.join("\n")))
        }
    }
}
