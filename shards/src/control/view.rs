//! The queue as it lies on the disk, read by a command while no engine runs.
//!
//! Receives: requests for a listing or a message. Sends: the same answers as the engine. Owns: a view of each shard's
//! log, whose recovery happens in memory alone. Limits: the spool's index (41 bytes for each queued message) and one
//! step of envelopes. On failure: what cannot be read is told; nothing in the queue directory is changed or locked. An
//! engine that starts meanwhile is not held up: the listing then ends with a warning.
//! Standards: Postfix's showq(8) as postqueue(1) runs it when the mail system is down.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ringpost_core::control::{Answer, Queue, Queues, Request};
use ringpost_core::queue_id::QueueId;
use ringpost_reactor::process;
use ringpost_spool::disk::{ViewDisk, run_now};
use ringpost_spool::{EngineLock, MessageId, OpenError, SHARDS_MAX, Spool, SpoolOptions};

use super::answering::Reply;
use super::client::{ControlError, pass_on};
use super::listing::{RecipientPlace, Said, say_message, say_recipients};
use super::reading::{say_content, say_envelope, say_part};
use crate::message::{ActiveMessage, Content};
use crate::qmgr::operator::Summary;
use crate::settings::spool_directory;

/// Messages whose envelopes are read at a time.
const LIST_STEP: usize = 1000;

/// The queue of an engine that does not run.
pub struct QueueView {
    pub(super) queue_directory: PathBuf,
}

impl QueueView {
    /// A view of the queue in this directory.
    ///
    /// # Errors
    /// [`ControlError::Down`] for whoever is neither the superuser nor the directory's owner, and
    /// [`ControlError::InUse`] while an engine has the queue.
    pub fn open(queue_directory: &Path) -> Result<QueueView, ControlError> {
        let Ok(metadata) = std::fs::metadata(queue_directory) else { return Err(ControlError::Down) };
        let uid = process::effective_uid();
        let may_read = uid == 0 || uid == metadata.uid();
        if !may_read {
            return Err(ControlError::Down);
        }
        if is_held(queue_directory)? {
            return Err(ControlError::InUse("another process has the queue".to_owned()));
        }
        Ok(QueueView { queue_directory: queue_directory.to_owned() })
    }

    /// As [`super::client::Connection::request`], for [`Request::List`] and [`Request::Read`]; other requests find the
    /// mail system down.
    ///
    /// # Errors
    /// The files cannot be read, or `each` fails.
    pub fn request(
        &mut self,
        request: &Request,
        mut each: impl FnMut(Answer<'_>) -> io::Result<()>,
    ) -> Result<u64, ControlError> {
        let count = match request {
            Request::List { queues } => self.list(*queues, &mut each)?,
            Request::Read(id) => self.read(*id, &mut each)?,
            _ => return Err(ControlError::Down),
        };
        if is_held(&self.queue_directory)? {
            let text = "the mail system has been started meanwhile, this is not the whole truth";
            each(Answer::Warning(text)).map_err(ControlError::Output)?;
        }
        Ok(count)
    }

    /// In the order of shards; what is on hold comes last.
    fn list(
        &self,
        queues: Queues,
        each: &mut impl FnMut(Answer<'_>) -> io::Result<()>,
    ) -> Result<u64, ControlError> {
        let mut spools = Vec::new();
        for shard in 0..SHARDS_MAX {
            spools.extend(self.spool(shard)?);
        }
        let mut count = 0;
        for held in [false, true] {
            if held && !queues.has(Queue::Hold) {
                break;
            }
            for spool in &spools {
                let mut walk = spool.queued().filter(|queued| queued.held == held).map(|queued| queued.id);
                loop {
                    let ids: Vec<MessageId> = walk.by_ref().take(LIST_STEP).collect();
                    if ids.is_empty() {
                        break;
                    }
                    count += list_some(spool, &ids, queues, each)?;
                }
            }
        }
        Ok(count)
    }

    fn read(
        &self,
        name: QueueId,
        each: &mut impl FnMut(Answer<'_>) -> io::Result<()>,
    ) -> Result<u64, ControlError> {
        let Some((_, parts)) = QueueId::parse(name.as_bytes()) else { return Ok(0) };
        let id = MessageId::from_bits(parts.unique);
        let Some(spool) = self.spool(id.shard())? else { return Ok(0) };
        let Some(queued) = spool.find(id) else { return Ok(0) };
        let loaded = now(spool.load(id))?.map_err(|error| ControlError::Queue(error.to_string()))?;
        let damaged = |_| ControlError::Queue(format!("message {} is damaged", name.as_str()));
        let message = ActiveMessage::loaded(id, loaded).map_err(damaged)?;
        if message.queue_id != name {
            return Ok(0);
        }
        let mut reply = Reply::default();
        let attempts = message.progress.borrow().attempts();
        say_envelope(&message, queue_of(queued.held, attempts), &mut reply);
        let stored = message.stored_envelope();
        for number in 0..stored.part_count() {
            now(say_part(&spool, &message, &stored, number, &mut reply))?;
            pass_on(&mut reply, each)?;
        }
        match &message.content {
            Content::Memory(pieces) => {
                for piece in pieces {
                    say_content(piece, &mut reply);
                    pass_on(&mut reply, each)?;
                }
            }
            Content::Spool(chunks) => {
                for chunk in chunks {
                    let bytes = now(spool.read_chunk(chunk))?;
                    let bytes = bytes.map_err(|error| ControlError::Queue(error.to_string()))?;
                    say_content(&bytes, &mut reply);
                    pass_on(&mut reply, each)?;
                }
            }
        }
        Ok(1)
    }

    /// The log of a shard; `None` if there is none.
    pub(super) fn spool(&self, shard: u16) -> Result<Option<Spool<ViewDisk>>, ControlError> {
        let directory = spool_directory(&self.queue_directory, shard.into());
        let fail = |error: OpenError| ControlError::Queue(format!("{}: {error}", directory.display()));
        let disk = match ViewDisk::new(&directory) {
            Ok(disk) => disk,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fail(OpenError::Disk { what: "open the directory".to_owned(), error })),
        };
        let mut options = SpoolOptions::new(shard);
        // Neither is asked of a disk that takes nothing.
        options.free_bytes_min = 0;
        now(Spool::open(disk, options))?.map(Some).map_err(fail)
    }
}

pub(super) fn is_held(queue_directory: &Path) -> Result<bool, ControlError> {
    EngineLock::is_held(queue_directory).map_err(|error| {
        ControlError::Queue(format!("{}: cannot look at the lock: {error}", queue_directory.display()))
    })
}

pub(super) fn now<T>(future: impl Future<Output = T>) -> Result<T, ControlError> {
    run_now(future).ok_or_else(|| ControlError::Queue("its log is not settled".to_owned()))
}

/// What was never tried has come in last; without an engine nothing is active.
pub(super) fn queue_of(held: bool, attempts: u32) -> Queue {
    match (held, attempts) {
        (true, _) => Queue::Hold,
        (false, 0) => Queue::Incoming,
        (false, _) => Queue::Deferred,
    }
}

fn list_some(
    spool: &Spool<ViewDisk>,
    ids: &[MessageId],
    queues: Queues,
    each: &mut impl FnMut(Answer<'_>) -> io::Result<()>,
) -> Result<u64, ControlError> {
    let (mut count, mut reply) = (0, Reply::default());
    for (id, listed) in ids.iter().zip(now(spool.envelopes(ids, u64::MAX))?) {
        match Summary::read(*id, listed) {
            Ok((queued, summary)) => {
                let queue = queue_of(queued.held, summary.progress.attempts());
                if !queues.has(queue) {
                    continue;
                }
                count += 1;
                say_message(&summary, queue, &mut reply);
                let mut place = RecipientPlace::default();
                while let Said::UpTo(more) = now(say_recipients(spool, &summary, place, &mut reply))? {
                    place = more;
                    pass_on(&mut reply, each)?;
                }
            }
            Err(text) => reply.say(&Answer::Warning(&text)),
        }
    }
    pass_on(&mut reply, each)?;
    Ok(count)
}
