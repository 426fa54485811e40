//! `postkick`: wake the queue manager.

use std::ffi::OsString;

use ringpost_core::control::{Kick, Request};
use ringpost_shards::control::client::ControlError;
use ringpost_shards::failure::Failure;

use crate::queue_command::{FATAL, Options, failure};

/// How it is called.
pub const USAGE: &str = "postkick [-c config_dir] [-v] class service request";

/// `postkick`.
pub fn run(words: Vec<OsString>) -> Result<(), Failure> {
    let fatal = |failure: Failure| Failure::new(FATAL, failure.message);
    let options = Options::read(words, "", "", USAGE).map_err(fatal)?;
    let [class, service, request] = &options.words[..] else {
        return Err(Failure::new(FATAL, format!("usage: {USAGE}")));
    };
    let down = || {
        let text =
            format!("Cannot contact class {class} service {service} - perhaps the mail system is down");
        Failure::new(FATAL, text)
    };
    // The one service that can be woken; the others look for work by themselves.
    if class != "public" || service != "qmgr" {
        return Err(down());
    }
    let mut connection = match options.connect().map_err(fatal)? {
        Ok(connection) => connection,
        Err(ControlError::Down) => return Err(down()),
        Err(error) => return failure(error, FATAL),
    };
    let kick = Request::Kick(Kick::of_letters(request.as_bytes()));
    connection.request(&kick, |_| Ok(())).map(drop).or_else(|error| failure(error, FATAL))
}
