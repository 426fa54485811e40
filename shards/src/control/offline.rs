//! postsuper's part while no engine runs: opens the logs of all shards, under the engine's lock, and changes what is
//! in them.
//!
//! Receives: [`Request::Operate`] and [`Request::LogTotals`], as the engine does.
//! Sends:    the same answers, each piece when the commit that covers it is durable; the same lines to the mail log.
//! Owns:     the lock of the queue directory, and a thread with a reactor and the spool of every shard, until
//!           [`OfflineQueue::close`]. No scheduler: the next engine makes one of what it finds.
//! Limits:   the spool's index (41 bytes for each queued message), `MESSAGES_A_PIECE` envelopes, `PIECES_MAX` answers
//!           that the command has not read yet.
//! On failure: what the log or the disk refuses ends the request with the reason; everything answered before is done.
//! Standards: Postfix's postsuper(1).

use std::cell::OnceCell;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use hashbrown::HashSet;
use ringpost_core::control::{Answer, Operation, Queue, Queues, Request, Which};
use ringpost_core::logline::Severity;
use ringpost_core::queue_id::QueueId;
use ringpost_reactor::{Handle, Reactor, ReactorOptions, process};
use ringpost_spool::disk::ReactorDisk;
use ringpost_spool::{EngineLock, LockError, MessageId, Queued, SHARDS_MAX, Spool, SpoolEvent, SpoolState};
use ringpost_tables::Catalogue;

use super::answering::Reply;
use super::client::{ControlError, pass_on};
use super::gather::gather;
use super::operating::corrupt_named;
use super::view::queue_of;
use crate::log::{Log, LogSettings};
use crate::message::ActiveMessage;
use crate::qmgr::operator::{Summary, message_named};
use crate::requeue::{self, Intake};
use crate::settings::{QueueSettings, spool_directory};
use crate::spool_disk::ShardSpool;

/// Messages whose envelopes are read together and whose records one commit covers.
const MESSAGES_A_PIECE: usize = 1000;
/// Messages that are requeued side by side: each is in memory meanwhile.
const REQUEUED_AT_ONCE: usize = 64;
/// Pieces of an answer that wait for the command to read them.
const PIECES_MAX: usize = 4;

/// The queue of an engine that does not run, taken by this process.
pub struct OfflineQueue {
    requests: Option<Sender<Request>>,
    pieces: Receiver<Piece>,
    thread: Option<JoinHandle<()>>,
}

/// Of an answer.
enum Piece {
    /// Answers as frames.
    Some(Reply),
    /// The end of a request, of the opening or of the closing.
    End(Result<u64, ControlError>),
}

impl OfflineQueue {
    /// Takes the queue. Whoever is the superuser becomes the directory's owner **for the rest of the process**, so that
    /// what is written is the engine's.
    ///
    /// # Errors
    /// [`ControlError::Denied`] for whoever is neither the superuser nor the owner, [`ControlError::InUse`] while a
    /// process has the queue, and what the system says of the files.
    pub fn open(settings: QueueSettings) -> Result<OfflineQueue, ControlError> {
        let lock = take(&settings.queue_directory)?;
        let (requests, asked) = channel();
        let (answer, pieces) = sync_channel(PIECES_MAX);
        let thread = std::thread::Builder::new()
            .name("offline-queue".to_owned())
            .spawn(move || {
                work(settings, &asked, &answer);
                drop(lock);
            })
            .map_err(|error| ControlError::Queue(format!("no thread: {error}")))?;
        let mut queue = OfflineQueue { requests: Some(requests), pieces, thread: Some(thread) };
        queue.hear(|_| Ok(()))?;
        Ok(queue)
    }

    /// As [`super::client::Connection::request`], for what changes messages; other requests find the mail system down.
    ///
    /// # Errors
    /// What the disk or the log refuses, or `each` fails.
    pub fn request(
        &mut self,
        request: &Request,
        each: impl FnMut(Answer<'_>) -> io::Result<()>,
    ) -> Result<u64, ControlError> {
        if !matches!(request, Request::Operate { .. } | Request::LogTotals) {
            return Err(ControlError::Down);
        }
        match &self.requests {
            Some(requests) if requests.send(request.clone()).is_ok() => self.hear(each),
            _ => Err(gone()),
        }
    }

    /// Writes what is left, gives segments back in which nothing is queued any more, and lets go of the queue.
    ///
    /// # Errors
    /// The logs did not close cleanly; what was answered is done.
    pub fn close(mut self) -> Result<(), ControlError> {
        self.requests = None;
        let closed = self.hear(|_| Ok(()));
        self.join();
        closed.map(drop)
    }

    fn hear(&mut self, mut each: impl FnMut(Answer<'_>) -> io::Result<()>) -> Result<u64, ControlError> {
        loop {
            match self.pieces.recv() {
                Ok(Piece::Some(mut reply)) => pass_on(&mut reply, &mut each)?,
                Ok(Piece::End(end)) => return end,
                Err(_) => return Err(gone()),
            }
        }
    }

    fn join(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // A panic has printed its words already.
            let _ = thread.join();
        }
    }
}

impl Drop for OfflineQueue {
    fn drop(&mut self) {
        self.requests = None;
        // Whoever waits for us to read has the rest for nothing.
        while self.thread.is_some() && self.pieces.recv().is_ok() {}
        self.join();
    }
}

fn gone() -> ControlError {
    ControlError::Queue("its thread has ended".to_owned())
}

/// The lock of the queue directory; none if there is no queue yet.
fn take(directory: &Path) -> Result<Option<EngineLock>, ControlError> {
    let about = |what: &str, error: io::Error| {
        ControlError::Queue(format!("{}: {what}: {error}", directory.display()))
    };
    let owner = match std::fs::metadata(directory.join("spool")) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(ControlError::Denied(error));
        }
        Err(error) => return Err(about("look at it", error)),
    };
    match process::effective_uid() {
        uid if uid == owner.uid() => {}
        0 => process::become_user(owner.uid(), owner.gid())
            .map_err(|error| about("become its owner", error))?,
        _ => return Err(ControlError::Denied(io::ErrorKind::PermissionDenied.into())),
    }
    EngineLock::take(directory).map(Some).map_err(|error| match error {
        LockError::Held { .. } => ControlError::InUse(error.to_string()),
        error @ LockError::Io { .. } => ControlError::Queue(error.to_string()),
    })
}

/// The thread: opens, serves request after request, and closes when the command is done.
fn work(settings: QueueSettings, requests: &Receiver<Request>, pieces: &SyncSender<Piece>) {
    // A command that is gone needs no word.
    let say = |piece| drop(pieces.send(piece));
    let reactor = match Reactor::start(ReactorOptions::default()) {
        Ok(reactor) => reactor,
        Err(error) => return say(Piece::End(Err(ControlError::Queue(error.to_string())))),
    };
    let handle = reactor.handle();
    reactor.run(async {
        let mut logs = match Logs::open(&handle, &settings).await {
            Ok(logs) => logs,
            Err(error) => return say(Piece::End(Err(error))),
        };
        say(Piece::End(Ok(0)));
        // It blocks: between two requests there is nothing to be done here.
        while let Ok(request) = requests.recv() {
            let end = match request {
                Request::Operate { operation, queues, which } => {
                    logs.operate(operation, queues, which, &say).await
                }
                Request::LogTotals => logs.log_totals().await,
                _ => Err(ControlError::Down),
            };
            say(Piece::End(end));
        }
        say(Piece::End(logs.close().await));
    });
}

/// The logs of all shards, and the mail log.
struct Logs<'a> {
    handle: Handle,
    settings: &'a QueueSettings,
    spools: Vec<ShardSpool>,
    /// None where the engine logs to its standard output: then the command's own words are all there is.
    log: Option<Log>,
    totals: Vec<(Operation, u64)>,
    catalogue: OnceCell<Arc<Catalogue>>,
}

/// A message that is to be changed.
#[derive(Clone, Copy)]
struct Wanted {
    id: MessageId,
    held: bool,
    name: QueueId,
}

impl<'a> Logs<'a> {
    async fn open(handle: &Handle, settings: &'a QueueSettings) -> Result<Logs<'a>, ControlError> {
        let log = match &settings.maillog_file {
            None => None,
            Some(file) => {
                let settings = LogSettings {
                    file,
                    hostname: &settings.myhostname,
                    syslog_name: &settings.syslog_name,
                    delay_decimals: 0,
                };
                let log = Log::open_file(handle, &settings);
                Some(log.map_err(|failure| ControlError::Queue(failure.message))?)
            }
        };
        let mut logs = Logs {
            handle: handle.clone(),
            settings,
            spools: Vec::new(),
            log,
            totals: Vec::new(),
            catalogue: OnceCell::new(),
        };
        for shard in 0..SHARDS_MAX {
            let directory = spool_directory(&settings.queue_directory, shard.into());
            if !directory.exists() {
                continue;
            }
            let about = |error: &dyn std::fmt::Display| {
                ControlError::Queue(format!("{}: {error}", directory.display()))
            };
            let disk = ReactorDisk::new(handle.clone(), &directory).map_err(|error| about(&error))?;
            let spool = Spool::open(disk, settings.spool_options(shard)).await;
            let spool = spool.map_err(|error| about(&error))?;
            let running = spool.clone();
            handle.spawn(async move { running.run().await });
            logs.spools.push(spool);
        }
        logs.tell_events();
        Ok(logs)
    }

    async fn close(self) -> Result<u64, ControlError> {
        self.tell_events();
        let mut failed = None;
        for spool in &self.spools {
            if let Err(error) = spool.close().await {
                failed = Some(ControlError::Queue(format!("it did not close cleanly: {error}")));
            }
        }
        if let Some(log) = &self.log {
            log.close().await;
        }
        failed.map_or(Ok(0), Err)
    }

    async fn operate(
        &mut self,
        operation: Operation,
        queues: Queues,
        which: Which,
        say: &impl Fn(Piece),
    ) -> Result<u64, ControlError> {
        if self.totals.iter().all(|(known, _)| *known != operation) {
            self.totals.push((operation, 0));
        }
        let mut total = 0;
        for spool in self.spools.clone() {
            match &which {
                Which::All => {
                    // What is requeued comes after this one, and is not requeued again.
                    let before = spool.new_id();
                    let mut walk = spool.queued().filter(|queued| queued.id < before);
                    loop {
                        let found: Vec<Queued> = walk.by_ref().take(MESSAGES_A_PIECE).collect();
                        if found.is_empty() {
                            break;
                        }
                        let ids: Vec<MessageId> = found.iter().map(|queued| queued.id).collect();
                        total += self.change(&spool, operation, queues, &ids, |_| true, say).await?;
                    }
                }
                Which::Ids(names) => {
                    let of_spool = |name: &QueueId| {
                        let id = MessageId::from_bits(message_named(*name)?.0);
                        spool.find(id).map(|queued| queued.id)
                    };
                    // An operator may name a message twice.
                    let mut met = HashSet::new();
                    let ids: Vec<MessageId> =
                        names.iter().filter_map(of_spool).filter(|id| met.insert(*id)).collect();
                    let named = |name: &QueueId| names.contains(name);
                    total += self.change(&spool, operation, queues, &ids, named, say).await?;
                }
            }
            if operation == Operation::Delete && queues.has(Queue::Corrupt) {
                total += self.delete_corrupt(&spool, &which, say).await?;
            }
        }
        if let Some((_, count)) = self.totals.iter_mut().find(|(known, _)| *known == operation) {
            *count += total;
        }
        Ok(total)
    }

    /// Carries out and records for those of `ids` that are in these queues and bear a name that is meant.
    async fn change(
        &self,
        spool: &ShardSpool,
        operation: Operation,
        queues: Queues,
        ids: &[MessageId],
        meant: impl Fn(&QueueId) -> bool,
        say: &impl Fn(Piece),
    ) -> Result<u64, ControlError> {
        let mut reply = Reply::default();
        let mut wanted = Vec::new();
        for (id, listed) in ids.iter().zip(spool.envelopes(ids, u64::MAX).await) {
            match Summary::read(*id, listed) {
                Ok((queued, summary)) => {
                    let queue = queue_of(queued.held, summary.progress.attempts());
                    if queues.has(queue) && meant(&summary.queue_id) {
                        wanted.push(Wanted { id: *id, held: queued.held, name: summary.queue_id });
                    }
                }
                Err(text) => reply.say(&Answer::Warning(&text)),
            }
        }
        let done = match operation {
            Operation::Requeue => self.requeue(spool, &wanted, &mut reply).await,
            operation => {
                wanted.retain(|message| one(spool, operation, message));
                wanted
            }
        };
        self.answer(spool, operation, done.iter().map(|message| message.name), reply, say).await
    }

    /// Damaged mail, which can only be deleted.
    async fn delete_corrupt(
        &self,
        spool: &ShardSpool,
        which: &Which,
        say: &impl Fn(Piece),
    ) -> Result<u64, ControlError> {
        let names = match which {
            Which::All => None,
            Which::Ids(names) => Some(&names[..]),
        };
        let named = corrupt_named(spool, names);
        named.iter().for_each(|(id, _)| spool.remove(*id));
        let done = named.into_iter().map(|(_, name)| name);
        self.answer(spool, Operation::Delete, done, Reply::default(), say).await
    }

    /// Logs and says what was done, when it is durable: what a command has reported done survives a crash.
    async fn answer(
        &self,
        spool: &ShardSpool,
        operation: Operation,
        done: impl Iterator<Item = QueueId>,
        mut reply: Reply,
        say: &impl Fn(Piece),
    ) -> Result<u64, ControlError> {
        for name in done {
            reply.count += 1;
            reply.say(&Answer::Operated(name));
            self.log(|log, number| {
                log.write(|lines, out, now_s| {
                    let text = operation.past().as_bytes();
                    lines.about(out, now_s, "postsuper", number, name.as_str(), text);
                });
            });
        }
        self.tell_events();
        let count = reply.count;
        let durable = if count > 0 { spool.barrier().await } else { Ok(()) };
        if let Some(log) = &self.log {
            log.write_out().await;
        }
        say(Piece::Some(reply));
        durable
            .map(|()| count)
            .map_err(|error| ControlError::Queue(format!("not all of this is done: {error}")))
    }

    async fn requeue(&self, spool: &ShardSpool, wanted: &[Wanted], reply: &mut Reply) -> Vec<Wanted> {
        let mut done = Vec::new();
        for part in wanted.chunks(REQUEUED_AT_ONCE) {
            let copies = part.iter().map(|message| self.requeue_one(spool.clone(), message.id));
            for (message, copied) in part.iter().zip(gather(&self.handle, copies).await) {
                match copied {
                    Ok(copy) => {
                        self.log(|log, number| copy.log(log, number));
                        for list in &copy.expanded {
                            // A notice takes an engine.
                            let text = format!(
                                "{}: nobody is told that <{}> was expanded",
                                copy.queue_id.as_str(),
                                list.address
                            );
                            reply.say(&Answer::Warning(&text));
                        }
                        spool.remove(message.id);
                        done.push(*message);
                    }
                    Err(reason) => {
                        let text = format!("{}: not requeued: {reason}", message.name);
                        reply.say(&Answer::Warning(&text));
                    }
                }
            }
        }
        done
    }

    /// A task's work: it may not borrow from here.
    fn requeue_one(
        &self,
        spool: ShardSpool,
        id: MessageId,
    ) -> impl Future<Output = Result<requeue::Requeued, String>> + use<> {
        // Few are requeued while the system is down, and nothing else needs the tables: they are opened now.
        let catalogue = self
            .catalogue
            .get_or_init(|| Catalogue::open(&self.settings.tables, &self.settings.table_options));
        let (settings, tables) = (self.settings.clone(), catalogue.shelf());
        let now_us = self.handle.wall().as_micros();
        let zone = crate::zone::system_zone((now_us / 1_000_000) as i64);
        async move {
            let loaded = spool.load(id).await.map_err(|error| error.to_string())?;
            let message = ActiveMessage::loaded(id, loaded).map_err(|_| "it is damaged".to_owned())?;
            let intake = Intake {
                own_mail: &settings.own_mail,
                mapping: settings.own_mapping.as_ref().map_err(Clone::clone)?,
                resolve: &settings.resolve,
                tables: &tables,
                content_filter: &settings.own_content_filter,
                now_us,
                zone: &zone,
            };
            requeue::store_again(&spool, &message, &intake).await
        }
    }

    async fn log_totals(&mut self) -> Result<u64, ControlError> {
        for (operation, count) in std::mem::take(&mut self.totals) {
            let plural = if count == 1 { "" } else { "s" };
            let text = format!("{}: {count} message{plural}", operation.total());
            self.log(|log, number| {
                log.write(|lines, out, now_s| {
                    lines.message(out, now_s, "postsuper", number, Severity::Info, text.as_bytes());
                });
            });
        }
        if let Some(log) = &self.log {
            log.write_out().await;
        }
        Ok(0)
    }

    /// What the spools have met with on their way.
    fn tell_events(&self) {
        for event in self.spools.iter().flat_map(Spool::take_events) {
            if !matches!(event, SpoolEvent::Recovered { .. } | SpoolEvent::State(SpoolState::Healthy)) {
                self.log(|log, number| {
                    log.warning("postsuper", number as u32, format_args!("spool: {event}"))
                });
            }
        }
    }

    fn log(&self, write: impl FnOnce(&Log, u64)) {
        if let Some(log) = &self.log {
            write(log, std::process::id().into());
        }
    }
}

/// False if it is in no state for it.
fn one(spool: &ShardSpool, operation: Operation, message: &Wanted) -> bool {
    let Wanted { id, held, .. } = *message;
    match operation {
        Operation::Delete => spool.remove(id),
        Operation::Hold if held => return false,
        Operation::Hold => spool.hold(id),
        Operation::Release if !held => return false,
        Operation::Release => spool.release(id),
        Operation::Expire => spool.force_expire(id),
        Operation::ForceExpire => {
            spool.force_expire(id);
            if held {
                spool.release(id);
            }
        }
        Operation::Requeue => unreachable!("it takes its time and is asked for elsewhere"),
    }
    true
}
