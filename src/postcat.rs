//! `postcat`: show a queued message, envelope and content, or list the records of a segment of the log.

use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use ringpost_core::control::{Answer, ListedMessage, PrintedContent, Queue, Request};
use ringpost_core::date::append_asctime;
use ringpost_core::queue_id::QueueId;
use ringpost_shards::control::client::ControlError;
use ringpost_shards::control::records::write_records;
use ringpost_shards::failure::Failure;
use ringpost_shards::zone::system_zone;

use crate::queue_command::{FATAL, Options, QueueDoor, failure, queue_id, say};

/// How it is called.
pub const USAGE: &str = "postcat [-b (body text)] [-c config_dir] [-d (decimal record type)] [-e (envelope records)] \
    [-h (header text)] [-q (access queue)] [-v] [file(s)...]";

/// What is to be shown.
#[derive(Clone, Copy)]
struct Parts {
    envelope: bool,
    header: bool,
    body: bool,
}

/// `postcat`.
pub fn run(words: Vec<OsString>) -> Result<(), Failure> {
    let fatal = |failure: Failure| Failure::new(FATAL, failure.message);
    let options = Options::read(words, "bdehnoqr", "s", USAGE).map_err(fatal)?;
    let mut parts = Parts { envelope: options.has('e'), header: options.has('h'), body: options.has('b') };
    if !(parts.envelope || parts.header || parts.body) {
        parts = Parts { envelope: true, header: true, body: true };
    }
    if options.words.is_empty() {
        let text = "name a message: -q queue_id, or queue_name/queue_id, or a segment file of the spool";
        return Err(Failure::new(FATAL, text));
    }
    let mut reader = None;
    for word in &options.words {
        let id = match named(word, options.has('q')) {
            Named::Message(id) => id,
            Named::File(path) => {
                show_file(path)?;
                continue;
            }
            Named::Nothing => return Err(not_there(word)),
        };
        let reader = match &mut reader {
            Some(reader) => reader,
            None => match options.reader(|| ()).map_err(fatal)? {
                Ok(opened) => reader.insert(opened),
                Err(error) => return failure(error, FATAL),
            },
        };
        match show(reader, id, parts) {
            Ok(0) => return Err(not_there(word)),
            Ok(_) => {}
            Err(error) => return failure(error, FATAL),
        }
    }
    Ok(())
}

/// What a word of the command line stands for.
enum Named<'a> {
    Message(QueueId),
    File(&'a Path),
    Nothing,
}

/// Messages have no files here, but the names that their files would have: `deferred/4SVLCh0sf8z7Qhl`, also below the
/// queue directory and with Postfix's hashed directories between. Wherever the message is, it is shown.
fn named(word: &str, is_id: bool) -> Named<'_> {
    let path = Path::new(word);
    if !is_id && path.exists() {
        return Named::File(path);
    }
    let name = if is_id { word } else { word.rsplit('/').next().unwrap_or(word) };
    let queue_is_known = is_id
        || path.parent().is_none_or(|parent| {
            parent.as_os_str().is_empty()
                || parent.iter().any(|name| name.to_str().and_then(Queue::named).is_some())
        });
    match queue_id(name) {
        Some(id) if queue_is_known => Named::Message(id),
        _ => Named::Nothing,
    }
}

/// A segment of the log holds the records of many messages: they are listed.
fn show_file(path: &Path) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    match write_records(path, &mut out).and_then(|is_segment| out.flush().map(|()| is_segment)) {
        Ok(true) => Ok(()),
        Ok(false) => {
            say("postcat", &format!("warning: {}: input is not a valid queue file", path.display()));
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::new(FATAL, format!("open {}: {error}", path.display()))),
    }
}

fn not_there(word: &str) -> Failure {
    Failure::new(FATAL, format!("open queue file {word}: No such file or directory"))
}

fn show(reader: &mut QueueDoor, id: QueueId, parts: Parts) -> Result<u64, ControlError> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut path = String::new();
    let mut content = PrintedContent::new(parts.header, parts.body);
    let mut content_begun = false;
    let mut text = Vec::new();
    let count = reader.request(&Request::Read(id), |answer| {
        match answer {
            Answer::Message(message) => {
                path = format!("{}/{}", message.queue.name(), message.queue_id);
                if parts.envelope {
                    envelope_begins(&mut out, &message, &path)?;
                }
            }
            Answer::Field { label, value } if parts.envelope => writeln!(out, "{label}: {value}")?,
            Answer::Content(bytes) => {
                if parts.envelope && !content_begun {
                    writeln!(out, "*** MESSAGE CONTENTS {path} ***")?;
                }
                content_begun = true;
                text.clear();
                content.push(bytes, &mut text);
                out.write_all(&text)?;
            }
            Answer::Warning(warning) => say("postcat", &format!("warning: {warning}")),
            _ => {}
        }
        Ok(())
    })?;
    let end = |out: &mut BufWriter<_>| {
        text.clear();
        content.end(&mut text);
        out.write_all(&text)?;
        if count > 0 && parts.envelope {
            if !content_begun {
                writeln!(out, "*** MESSAGE CONTENTS {path} ***")?;
            }
            writeln!(out, "*** HEADER EXTRACTED {path} ***")?;
            writeln!(out, "*** MESSAGE FILE END {path} ***")?;
        }
        out.flush()
    };
    let mut end = end;
    end(&mut out).map_err(ControlError::Output)?;
    Ok(count)
}

/// The size record's numbers are content, its offset in Postfix's file, recipients, flags, content again, SMTPUTF8; here
/// there is no file and the recipients follow.
fn envelope_begins(out: &mut impl Write, message: &ListedMessage<'_>, path: &str) -> io::Result<()> {
    let seconds = (message.arrival_us / 1_000_000) as i64;
    let mut time = Vec::new();
    append_asctime(&mut time, seconds, &system_zone(seconds));
    let time = String::from_utf8_lossy(&time);
    writeln!(out, "*** ENVELOPE RECORDS {path} ***")?;
    let (bytes, none) = (message.bytes, 0);
    writeln!(out, "message_size: {bytes:15} {none:15} {none:15} {none:15} {bytes:15} {none:15}")?;
    writeln!(out, "message_arrival_time: {time}")?;
    writeln!(out, "create_time: {time}")
}
