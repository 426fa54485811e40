//! `ringpost why`: what a queued message, or the mail for an address or a domain, waits for.

use std::ffi::OsString;
use std::io::{self, Write};

use ringpost_core::control::{Answer, Queue, Queues, Request};
use ringpost_shards::control::client::{Connection, ControlError};
use ringpost_shards::failure::Failure;

use crate::EX_USAGE;
use crate::queue_command::{Options, failure, own_code, queue_id};

/// How it is called.
pub const USAGE: &str = "ringpost why [-c config_dir] queue_id | address | domain";

/// Messages for an address that are told one by one.
const MESSAGES_MAX: u64 = 50;

/// `ringpost why`.
pub fn run(words: Vec<OsString>) -> Result<(), Failure> {
    let usage = || Failure::new(EX_USAGE, format!("usage: {USAGE}"));
    let options = Options::read(words, "", "", "").map_err(|_| usage())?;
    let [subject] = &options.words[..] else { return Err(usage()) };
    let fail = |error: ControlError| {
        let code = own_code(&error);
        failure(error, code)
    };
    let mut connection = match options.connect()? {
        Ok(connection) => connection,
        Err(error) => return fail(error),
    };
    match queue_id(subject) {
        Some(id) => match connection.request(&Request::WhyMessage(id), print) {
            Ok(0) => Err(Failure::new(EX_USAGE, format!("no message {subject} is queued"))),
            Ok(_) => Ok(()),
            Err(error) => fail(error),
        },
        None => why_address(&mut connection, subject).or_else(fail),
    }
}

fn print(answer: Answer<'_>) -> io::Result<()> {
    match answer {
        Answer::Line(text) => writeln!(io::stdout(), "{text}"),
        _ => Ok(()),
    }
}

/// What the destination does on each shard, then the messages that wait for it.
fn why_address(connection: &mut Connection, subject: &str) -> Result<(), ControlError> {
    writeln!(io::stdout(), "{subject}:").map_err(ControlError::Output)?;
    connection.request(&Request::WhyAddress(subject.to_owned()), print)?;
    let (mut current, mut told, mut found) = (String::new(), false, 0_u64);
    connection.request(&Request::List { queues: Queues::of(&Queue::LISTED) }, |answer| {
        match answer {
            Answer::Message(message) => {
                current = format!("{} ({})", message.queue_id, message.queue.name());
                told = false;
            }
            Answer::Recipient { address, reason } if concerns(address, subject) && !told => {
                told = true;
                found += 1;
                if found <= MESSAGES_MAX {
                    let reason = if reason.is_empty() { "no attempt yet" } else { reason };
                    writeln!(io::stdout(), "  {current} to <{address}>: {reason}")?;
                }
            }
            _ => {}
        }
        Ok(())
    })?;
    let rest = found.saturating_sub(MESSAGES_MAX);
    let line = match (found, rest) {
        (0, _) => "  no message for it is queued".to_owned(),
        (_, 0) => return Ok(()),
        (_, rest) => format!("  and {rest} messages more"),
    };
    writeln!(io::stdout(), "{line}").map_err(ControlError::Output)
}

/// An address means itself, a domain its addresses.
fn concerns(address: &str, subject: &str) -> bool {
    if subject.contains('@') {
        return address.eq_ignore_ascii_case(subject);
    }
    address.rsplit_once('@').is_some_and(|(_, domain)| domain.eq_ignore_ascii_case(subject))
}
