//! The relay's own queue commands (`postqueue`, `postsuper`), fired at random messages while it is being tortured.
//!
//! Receives: what the commands print. Sends: the commands, as processes of the relay's program.
//! Owns: the books of what they did: which messages were deleted, and which may have been, since the relay died before
//! its answer came.
//! Limits: one command at a time and one more beside a kill; `LISTED_MAX` messages are known by name, `TARGETS_MAX`
//! named in a command; a command that takes longer than `COMMAND_TIMEOUT` is ended and held against the relay.
//! On failure: commands fail while the relay is dead, which is counted and no fault; one that crashes is.
//!
//! A message is known by the number in its recipients' addresses ([`TEMPLATE_PREFIX`]), whatever its queue id: requeuing
//! gives it another. A notice carries no such address: it is held, released, requeued and flushed, but neither deleted
//! nor expired, since the message that it tells of would count as lost.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::message::leading_number;

/// What a recipient template begins with, so that a listing tells which message it shows.
pub const TEMPLATE_PREFIX: &str = "m{i}.";

/// Most messages of a listing that are remembered as targets.
const LISTED_MAX: usize = 20_000;

/// Most messages that one command names.
const TARGETS_MAX: usize = 8;

/// No command may take longer: a listing of a full queue takes a second or two.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// Longest pause between two commands.
const PAUSE_MS_MAX: u64 = 40;

/// How often an end is looked for.
const LOOK: Duration = Duration::from_millis(1);

/// Exit status of a Rust program that panicked.
const PANICKED: i32 = 101;

/// What the commands did, for the report.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CommandFigures {
    /// Commands by name, each with how often it was fired.
    pub fired: BTreeMap<String, u64>,
    /// Of these, without success: most often because the relay was dead.
    pub without_success: u64,
    /// Messages that commands reported to have changed, by what happened to them.
    pub changed: BTreeMap<String, u64>,
    /// Commands that crashed or had to be ended.
    pub faults: Vec<String>,
}

impl fmt::Display for CommandFigures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |counts: &BTreeMap<String, u64>| {
            let counts: Vec<String> =
                counts.iter().map(|(name, count)| format!("{count} × {name}")).collect();
            counts.join(", ")
        };
        write!(
            formatter,
            "commands: {} fired, {} without success ({})\n          messages changed: {}",
            self.fired.values().sum::<u64>(),
            self.without_success,
            list(&self.fired),
            list(&self.changed)
        )
    }
}

/// A message as it was listed last.
#[derive(Clone, Debug)]
struct Listed {
    queue_id: String,
    /// Its number in the run; none for a notice.
    sequence: Option<u64>,
}

#[derive(Default)]
struct Books {
    listed: Vec<Listed>,
    deleted: HashSet<u64>,
    deletion_unanswered: HashSet<u64>,
    figures: CommandFigures,
}

/// What a command is to do.
#[derive(Debug)]
enum Order {
    List,
    ListForPeople,
    Flush,
    FlushMessage(Listed),
    FlushSite,
    Operate(char, Vec<Listed>),
    OperateAll(char),
}

/// A command that runs.
pub struct Fired {
    child: Child,
    order: Order,
    output: PathBuf,
    begun: Instant,
}

/// The commands of one relay.
pub struct QueueCommands {
    program: String,
    configuration: PathBuf,
    books: Mutex<Books>,
    stop: AtomicBool,
}

/// One line of `postqueue -j`.
#[derive(Deserialize)]
struct JsonLine {
    queue_id: String,
    recipients: Vec<JsonRecipient>,
}

#[derive(Deserialize)]
struct JsonRecipient {
    address: String,
}

impl QueueCommands {
    /// The commands of `program` for the relay whose queue is in `spool`. Their configuration and output are kept in
    /// `spool` with `-commands` added to its name.
    ///
    /// # Errors
    /// When that directory cannot be written.
    pub fn new(program: &str, spool: &Path) -> Result<QueueCommands, Failure> {
        let named = |error| Failure::File(format!("{}: {error}", spool.display()));
        let spool = std::path::absolute(spool).map_err(named)?;
        let mut configuration = spool.clone().into_os_string();
        configuration.push("-commands");
        let configuration = PathBuf::from(configuration);
        let main_cf = format!("queue_directory = {}\n", spool.display());
        fs::create_dir_all(&configuration)
            .and_then(|()| fs::write(configuration.join("main.cf"), main_cf))
            .map_err(|error| Failure::File(format!("{}: {error}", configuration.display())))?;
        Ok(QueueCommands {
            program: program.to_owned(),
            configuration,
            books: Mutex::default(),
            stop: AtomicBool::new(false),
        })
    }

    /// Whether the program has such commands and its relay, which must be up, answers them.
    pub fn are_answered(&self) -> bool {
        self.start(Order::List, "probe")
            .and_then(|fired| self.settle(fired))
            .is_ok_and(|status| status.success())
    }

    /// Fires commands, one after the other, until [`QueueCommands::stop`].
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn fire_until_stopped(
        self: &Arc<Self>,
        seed: u64,
    ) -> Result<JoinHandle<Result<(), Failure>>, Failure> {
        let commands = Arc::clone(self);
        let mut random = fastrand::Rng::with_seed(seed);
        let body = move || {
            while !commands.stop.load(Relaxed) {
                std::thread::sleep(Duration::from_millis(random.u64(..=PAUSE_MS_MAX)));
                let fired = commands.fire(&mut random, "running")?;
                commands.settle(fired)?;
            }
            Ok(())
        };
        let spawned = std::thread::Builder::new().name("queue-commands".into()).spawn(body);
        spawned.map_err(|error| Failure::Environment(format!("cannot start a thread: {error}")))
    }

    /// Fires no further command.
    pub fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    /// Starts a random command; `name` names the file of its output, which no other running command may have.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn fire(&self, random: &mut fastrand::Rng, name: &str) -> Result<Fired, Failure> {
        let order = self.choose(random);
        self.start(order, name)
    }

    fn choose(&self, random: &mut fastrand::Rng) -> Order {
        let books = self.books();
        let mut targets = |own_only: bool| -> Vec<Listed> {
            let count = random.usize(1..=TARGETS_MAX);
            let picked = (0..count).filter_map(|_| random.choice(&books.listed).cloned());
            picked.filter(|listed| !own_only || listed.sequence.is_some()).collect()
        };
        let operate = |letter, targets: Vec<Listed>| {
            if targets.is_empty() { Order::List } else { Order::Operate(letter, targets) }
        };
        let any = targets(false);
        let own = targets(true);
        match random.u32(..100) {
            0..18 => Order::List,
            18..21 => Order::ListForPeople,
            21..29 => Order::Flush,
            29..38 => any.into_iter().next().map_or(Order::List, Order::FlushMessage),
            38..42 => Order::FlushSite,
            42..56 => operate('h', any),
            56..66 => operate('H', any),
            66..72 => Order::OperateAll('H'),
            72..84 => operate('r', any),
            84..85 => Order::OperateAll('r'),
            85..94 => operate('d', own),
            94..97 => operate('e', own),
            _ => operate('f', own),
        }
    }

    fn start(&self, order: Order, name: &str) -> Result<Fired, Failure> {
        let mut words: Vec<String> = Vec::new();
        let command = match &order {
            Order::List | Order::ListForPeople | Order::Flush | Order::FlushMessage(_) | Order::FlushSite => {
                "postqueue"
            }
            Order::Operate(..) | Order::OperateAll(_) => "postsuper",
        };
        match &order {
            Order::List => words.push("-j".into()),
            Order::ListForPeople => words.push("-p".into()),
            Order::Flush => words.push("-f".into()),
            Order::FlushMessage(listed) => words.extend(["-i".into(), listed.queue_id.clone()]),
            Order::FlushSite => words.extend(["-s".into(), "d0.ringpost.invalid".into()]),
            Order::Operate(letter, targets) => {
                for listed in targets {
                    words.extend([format!("-{letter}"), listed.queue_id.clone()]);
                }
            }
            Order::OperateAll(letter) => words.extend([format!("-{letter}"), "ALL".into()]),
        }
        let output = self.configuration.join(name);
        let file = fs::File::create(&output)
            .and_then(|file| Ok((file.try_clone()?, file)))
            .map_err(|error| Failure::File(format!("{}: {error}", output.display())))?;
        let child = Command::new(&self.program)
            .arg(command)
            .arg("-c")
            .arg(&self.configuration)
            .args(&words)
            .stdin(Stdio::null())
            .stdout(file.0)
            .stderr(file.1)
            .spawn()
            .map_err(|error| Failure::Relay(format!("cannot run {} {command}: {error}", self.program)))?;
        let ending = if matches!(order, Order::OperateAll(_)) { " ALL" } else { "" };
        let fired = format!("{command} {}{ending}", words[0]);
        *self.books().figures.fired.entry(fired).or_default() += 1;
        Ok(Fired { child, order, output, begun: Instant::now() })
    }

    /// Waits for a command's end and books what it did.
    ///
    /// # Errors
    /// When the system does not let us wait for it or read its output.
    pub fn settle(&self, mut fired: Fired) -> Result<ExitStatus, Failure> {
        let cannot_wait = |error| Failure::Environment(format!("cannot wait for a queue command: {error}"));
        let status = loop {
            if let Some(status) = fired.child.try_wait().map_err(cannot_wait)? {
                break status;
            }
            if fired.begun.elapsed() > COMMAND_TIMEOUT {
                fired.child.kill().map_err(cannot_wait)?;
                break fired.child.wait().map_err(cannot_wait)?;
            }
            std::thread::sleep(LOOK);
        };
        let printed = fs::read(&fired.output)
            .map_err(|error| Failure::File(format!("{}: {error}", fired.output.display())))?;
        let printed = String::from_utf8_lossy(&printed);
        let mut books = self.books();
        books.figures.without_success += u64::from(!status.success());
        if status.code().is_none_or(|code| code == PANICKED) {
            let last = printed.lines().last().unwrap_or("");
            books.figures.faults.push(format!("{:?} ended with {status}: {last}", fired.order));
        }
        books.record(&fired.order, &printed, status.success());
        Ok(status)
    }

    /// Releases what is held and has all mail tried at once: so that a queue can empty itself.
    ///
    /// # Errors
    /// When a command cannot be run.
    pub fn let_go(&self) -> Result<(), Failure> {
        for order in [Order::OperateAll('H'), Order::Flush] {
            let fired = self.start(order, "ending")?;
            self.settle(fired)?;
        }
        Ok(())
    }

    /// The numbers of the run's messages that a listing shows now.
    ///
    /// # Errors
    /// When a command cannot be run.
    pub fn queued(&self) -> Result<HashSet<u64>, Failure> {
        self.books().listed.clear();
        let fired = self.start(Order::List, "ending")?;
        self.settle(fired)?;
        Ok(self.books().listed.iter().filter_map(|listed| listed.sequence).collect())
    }

    /// The numbers of messages that a command reported as deleted, and of those of which nobody knows whether they
    /// were: the relay died before its answer.
    pub fn deletions(&self) -> (HashSet<u64>, HashSet<u64>) {
        let books = self.books();
        (books.deleted.clone(), books.deletion_unanswered.clone())
    }

    /// What was done.
    pub fn figures(&self) -> CommandFigures {
        self.books().figures.clone()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // They are whole after every change, so those of a thread that panicked still count.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    fn record(&mut self, order: &Order, printed: &str, answered: bool) {
        match order {
            // A listing that was broken off still names messages.
            Order::List => {
                let lines = printed.lines().filter_map(|line| serde_json::from_str::<JsonLine>(line).ok());
                self.listed = lines.take(LISTED_MAX).map(Listed::from).collect();
            }
            Order::Operate(letter, targets) => {
                let done: HashSet<&str> = operated(printed).map(|(queue_id, _)| queue_id).collect();
                for listed in targets {
                    match listed.sequence {
                        Some(sequence) if *letter == 'd' && done.contains(&listed.queue_id[..]) => {
                            self.deleted.insert(sequence);
                        }
                        Some(sequence) if *letter == 'd' && !answered => {
                            self.deletion_unanswered.insert(sequence);
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        for (_, what) in operated(printed) {
            *self.figures.changed.entry(what.to_owned()).or_default() += 1;
        }
    }
}

impl From<JsonLine> for Listed {
    fn from(line: JsonLine) -> Listed {
        let first = line.recipients.first();
        let number =
            first.and_then(|recipient| leading_number(recipient.address.strip_prefix('m')?.as_bytes()));
        Listed { queue_id: line.queue_id, sequence: number }
    }
}

/// The messages that postsuper says it has changed, `postsuper: QUEUEID: what happened`, one a line.
fn operated(printed: &str) -> impl Iterator<Item = (&str, &str)> {
    printed.lines().filter_map(|line| {
        let (queue_id, what) = line.strip_prefix("postsuper: ")?.split_once(": ")?;
        let is_id = queue_id.len() >= 12 && queue_id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_id.then_some((queue_id, what))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(queue_id: &str, sequence: u64) -> Listed {
        Listed { queue_id: queue_id.into(), sequence: Some(sequence) }
    }

    #[test]
    fn a_listing_tells_which_message_of_the_run_it_shows() {
        let mut books = Books::default();
        let printed = r#"{"queue_name": "deferred", "queue_id": "4SVLCh0sf8z7Qhl", "arrival_time": 1, "sender": "s@x", "recipients": [{"address": "m17.r0@d0.x", "delay_reason": "no"}]}
{"queue_name": "hold", "queue_id": "4SVLCh0sf8z7Qhm", "arrival_time": 1, "sender": "", "recipients": [{"address": "sender@x"}]}
{"queue_name": "ac"#;
        books.record(&Order::List, printed, false);
        let known: Vec<Option<u64>> = books.listed.iter().map(|listed| listed.sequence).collect();
        assert_eq!(known, [Some(17), None]);
    }

    #[test]
    fn deletions_are_told_from_those_without_an_answer_and_from_refused_ones() {
        let order = || Order::Operate('d', vec![listed("4SVLCh0sf8z7Qhl", 1), listed("4SVLCh0sf8z7Qhm", 2)]);
        let printed = "postsuper: 4SVLCh0sf8z7Qhl: removed\npostsuper: fatal: mail system is down\n";
        let mut died = Books::default();
        died.record(&order(), printed, false);
        assert_eq!((died.deleted, died.deletion_unanswered), (HashSet::from([1]), HashSet::from([2])));
        let mut answered = Books::default();
        answered.record(
            &order(),
            "postsuper: 4SVLCh0sf8z7Qhl: removed\npostsuper: Deleted: 1 message\n",
            true,
        );
        assert_eq!((answered.deleted.len(), answered.deletion_unanswered.len()), (1, 0));
        assert_eq!(answered.figures.changed, BTreeMap::from([("removed".to_owned(), 1)]));
        let mut held = Books::default();
        held.record(&Order::Operate('h', vec![listed("4SVLCh0sf8z7Qhl", 1)]), "", false);
        assert!(held.deletion_unanswered.is_empty());
    }
}
