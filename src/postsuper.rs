//! `postsuper`: delete, hold, release, requeue or expire queued messages, or check the queue, whether the system runs
//! or not.

use std::ffi::OsString;
use std::io::BufRead;

use ringpost_core::control::{Answer, IDS_MAX, Operation, Queue, Queues, Request, Which};
use ringpost_core::queue_id::QueueId;
use ringpost_shards::control::client::{Connection, ControlError};
use ringpost_shards::control::view::QueueView;
use ringpost_shards::failure::Failure;

use crate::queue_command::{FATAL, Options, QueueDoor, queue_id, say};

/// How it is called.
pub const USAGE: &str = "postsuper [-c config_dir] [-d queue_id (delete)] [-e queue_id (expire)] \
    [-f queue_id (force-expire)] [-h queue_id (hold)] [-H queue_id (un-hold)] [-p (purge temporary files)] \
    [-r queue_id (requeue)] [-s (structure fix)] [-S (redundant structure fix)] [-v (verbose)] [queue...]";

/// Where Postfix looks when no queue is named.
fn usual_queues(operation: Operation) -> Queues {
    use Queue::{Active, Deferred, Hold, Incoming};
    match operation {
        Operation::Delete | Operation::Requeue | Operation::Expire | Operation::ForceExpire => {
            Queues::of(&[Hold, Incoming, Active, Deferred])
        }
        Operation::Hold => Queues::of(&[Incoming, Active, Deferred]),
        Operation::Release => Queues::of(&[Hold]),
    }
}

fn operation(letter: char) -> Option<Operation> {
    Some(match letter {
        'd' => Operation::Delete,
        'h' => Operation::Hold,
        'H' => Operation::Release,
        'r' => Operation::Requeue,
        'e' => Operation::Expire,
        'f' => Operation::ForceExpire,
        _ => return None,
    })
}

/// `postsuper`.
pub fn run(words: Vec<OsString>) -> Result<(), Failure> {
    let fatal = |failure: Failure| Failure::new(FATAL, failure.message);
    let options = Options::read(words, "psS", "dhHref", USAGE).map_err(fatal)?;
    let queues = named_queues(&options.words)?;
    let wanted: Vec<(Operation, &str)> = options
        .letters
        .iter()
        .filter_map(|(letter, id)| operation(*letter).map(|operation| (operation, id.as_str())))
        .collect();
    let from_input = wanted.iter().filter(|(_, id)| *id == "-").count();
    if from_input > 1 {
        return Err(Failure::new(FATAL, "standard input can be read for one option only"));
    }
    let only_default = options.letters.is_empty();
    if only_default || options.has('s') || options.has('S') {
        check(&options)?;
    }
    if wanted.is_empty() {
        // As Postfix without options: check, then purge.
        return if only_default || options.has('p') { purge(&options) } else { Ok(()) };
    }
    let mut changer = options.changer().map_err(fatal)?.map_err(refused)?;
    let mut totals: Vec<(Operation, u64)> = Vec::new();
    for (operation, id) in wanted {
        let queues = queues.unwrap_or_else(|| usual_queues(operation));
        let mut work = Work { changer: &mut changer, operation, queues, done: 0 };
        let outcome = match id {
            "-" => work.ids_of(std::io::stdin().lock()),
            "ALL" => work.send(Which::All),
            id => match queue_id(id) {
                Some(id) => work.send(Which::Ids(vec![id])),
                None => {
                    say("postsuper", &format!("warning: invalid mail queue id: {id}"));
                    Ok(())
                }
            },
        };
        let done = work.done;
        match totals.iter_mut().find(|(known, _)| *known == operation) {
            Some((_, total)) => *total += done,
            None => totals.push((operation, done)),
        }
        outcome.map_err(refused)?;
    }
    for (operation, total) in totals {
        let plural = if total == 1 { "" } else { "s" };
        say("postsuper", &format!("{}: {total} message{plural}", operation.total()));
    }
    changer.request(&Request::LogTotals, |_| Ok(())).map_err(refused)?;
    changer.close().map_err(refused)
}

fn refused(error: ControlError) -> Failure {
    match error {
        // While none runs, the files are closed to others.
        ControlError::Denied(_) | ControlError::Down => {
            Failure::new(FATAL, "use of this command is reserved for the superuser")
        }
        error => Failure::new(FATAL, error.to_string()),
    }
}

/// `-s`, `-S`: reads all that is queued. An engine does by itself what there is to mend, at every start.
fn check(options: &Options) -> Result<(), Failure> {
    let directory = options.queue_directory().map_err(|failure| Failure::new(FATAL, failure.message))?;
    let warn = |text: &str| say("postsuper", &format!("warning: {text}"));
    match Connection::open(&directory) {
        Ok(_) => {
            warn("the mail system is running: its queue is not checked; stop it first");
            return Ok(());
        }
        Err(ControlError::Down) => {}
        Err(error) => return Err(refused(error)),
    }
    if !directory.join("spool").exists() {
        return Ok(());
    }
    let view = QueueView::open(&directory).map_err(refused)?;
    let found = view.check(warn).map_err(refused)?;
    let plural = if found.sound == 1 { "" } else { "s" };
    say(
        "postsuper",
        &format!("Checked: {} message{plural}, {} damaged", found.sound + found.damaged, found.damaged),
    );
    match found.damaged {
        0 => Ok(()),
        count => {
            Err(Failure::new(FATAL, format!("{count} damaged: kept in the corrupt queue, and not delivered")))
        }
    }
}

/// `-p`: what was left over by a crash goes when the logs are opened and closed.
fn purge(options: &Options) -> Result<(), Failure> {
    let changer = options.changer().map_err(|failure| Failure::new(FATAL, failure.message))?;
    changer.and_then(QueueDoor::close).map_err(refused)
}

/// The queues named on the command line; `None` if none is. Those of Postfix that do not exist here are empty.
fn named_queues(names: &[String]) -> Result<Option<Queues>, Failure> {
    const ELSEWHERE: [&str; 6] = ["maildrop", "bounce", "defer", "trace", "flush", "saved"];
    let mut queues = None;
    for name in names {
        let known = queues.unwrap_or(Queues::NONE);
        queues = match Queue::named(name) {
            Some(queue) => Some(known.with(queue)),
            None if ELSEWHERE.contains(&name.as_str()) => Some(known),
            None => return Err(Failure::new(FATAL, format!("unknown mail queue name: {name}"))),
        };
    }
    Ok(queues)
}

struct Work<'a> {
    changer: &'a mut QueueDoor,
    operation: Operation,
    queues: Queues,
    done: u64,
}

impl Work<'_> {
    /// One id a line; sent whenever there are many, and at the end.
    fn ids_of(&mut self, mut input: impl BufRead) -> Result<(), ControlError> {
        let mut ids: Vec<QueueId> = Vec::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            // A line that is far longer than any id is read in parts, none of which is one.
            let read = std::io::Read::take(&mut input, 4096).read_until(b'\n', &mut line);
            if read.map_err(ControlError::Output)? == 0 {
                break;
            }
            let text = String::from_utf8_lossy(&line);
            let text = text.strip_suffix('\n').unwrap_or(&text);
            match queue_id(text) {
                Some(id) => ids.push(id),
                None => say("postsuper", &format!("warning: invalid mail queue id: {}", text.escape_debug())),
            }
            if ids.len() == IDS_MAX {
                self.send(Which::Ids(std::mem::take(&mut ids)))?;
            }
        }
        if ids.is_empty() { Ok(()) } else { self.send(Which::Ids(ids)) }
    }

    fn send(&mut self, which: Which) -> Result<(), ControlError> {
        let (operation, queues) = (self.operation, self.queues);
        let done = &mut self.done;
        self.changer.request(&Request::Operate { operation, queues, which }, |answer| {
            match answer {
                Answer::Operated(id) => {
                    *done += 1;
                    say("postsuper", &format!("{id}: {}", operation.past()));
                }
                Answer::Warning(text) => say("postsuper", &format!("warning: {text}")),
                _ => {}
            }
            Ok(())
        })?;
        Ok(())
    }
}
