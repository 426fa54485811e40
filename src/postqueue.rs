//! `postqueue` and `mailq`: list the queue, or have it tried at once.

use std::ffi::OsString;
use std::io::{BufWriter, Write};

use ringpost_core::control::{Answer, JsonLines, Mailq, Queue, Queues, Request};
use ringpost_shards::control::client::ControlError;
use ringpost_shards::failure::Failure;
use ringpost_shards::zone::system_zone;

use crate::queue_command::{Options, QueueDoor, failure, queue_id, say};

/// How it is called.
pub const USAGE: &str =
    "postqueue -f | postqueue -i queueid | postqueue -j | postqueue -p | postqueue -s site";
/// How `mailq` is called.
pub const MAILQ_USAGE: &str = "mailq [-c config_dir] [-v]";
/// EX_UNAVAILABLE, for whatever is fatal.
const FATAL: u8 = 69;
const DOWN: &str = "mail system is down";

/// `postqueue`.
pub fn run(words: Vec<OsString>) -> Result<(), Failure> {
    let options = Options::read(words, "fjp", "is", USAGE).map_err(fatal)?;
    match (&options.letters[..], &options.words[..]) {
        ([(mode, value)], []) => perform(&options, *mode, value).map_err(fatal),
        _ => Err(Failure::new(FATAL, format!("usage: {USAGE}"))),
    }
}

/// `mailq`; sendmail's options mean nothing here.
pub fn run_mailq(words: Vec<OsString>) -> Result<(), Failure> {
    let options = Options::read(words, "", "", MAILQ_USAGE).map_err(fatal)?;
    perform(&options, 'p', "").map_err(fatal)
}

/// An exit hook of Postfix's gives every fatal error the same code.
fn fatal(failure: Failure) -> Failure {
    Failure::new(FATAL, failure.message)
}

fn perform(options: &Options, mode: char, value: &str) -> Result<(), Failure> {
    let (request, down) = match mode {
        'p' | 'j' => {
            let request = Request::List { queues: Queues::of(&Queue::LISTED) };
            (request, "Queue report unavailable")
        }
        'i' => {
            let invalid =
                || Failure::new(FATAL, format!("Cannot flush queue ID - invalid name: \"{value}\""));
            (Request::FlushMessage(queue_id(value).ok_or_else(invalid)?), "Cannot flush mail queue")
        }
        's' => (Request::FlushSite(value.to_owned()), "Cannot flush mail queue"),
        _ => (Request::Flush, "Cannot flush mail queue"),
    };
    let reader = match mode {
        'p' | 'j' => options.reader(|| warn("Mail system is down -- accessing queue directly"))?,
        _ => options.connect()?.map(QueueDoor::Engine),
    };
    let mut reader = match reader {
        Ok(reader) => reader,
        Err(ControlError::Down | ControlError::InUse(_)) => {
            return Err(Failure::new(FATAL, format!("{down} - {DOWN}")));
        }
        Err(error) => return failure(error, FATAL),
    };
    let outcome = match mode {
        'p' => list_for_people(&mut reader, &request),
        'j' => list_for_programs(&mut reader, &request),
        _ => reader.request(&request, |_| Ok(())).map(drop),
    };
    outcome.or_else(|error| failure(error, FATAL))
}

fn warn(text: &str) {
    say("postqueue", &format!("warning: {text}"));
}

fn list_for_people(reader: &mut QueueDoor, request: &Request) -> Result<(), ControlError> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut mailq = Mailq::default();
    reader.request(request, |answer| match answer {
        Answer::Message(message) => {
            mailq.message(&mut out, &message, &system_zone((message.arrival_us / 1_000_000) as i64))
        }
        Answer::Recipient { address, reason } => mailq.recipient(&mut out, address, reason),
        Answer::Warning(text) => {
            warn(text);
            Ok(())
        }
        _ => Ok(()),
    })?;
    mailq.end(&mut out).and_then(|()| out.flush()).map_err(ControlError::Output)
}

fn list_for_programs(reader: &mut QueueDoor, request: &Request) -> Result<(), ControlError> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut json = JsonLines::default();
    reader.request(request, |answer| match answer {
        Answer::Message(message) => json.message(&mut out, &message),
        Answer::Recipient { address, reason } => json.recipient(&mut out, address, reason),
        Answer::Warning(text) => {
            warn(text);
            Ok(())
        }
        _ => Ok(()),
    })?;
    json.end(&mut out).and_then(|()| out.flush()).map_err(ControlError::Output)
}
