//! One control session: requests of one command, in order, each answered to its end before the next is read.

use std::io::{self, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use ringpost_core::control::{
    Answer, FRAME_HEADER_BYTES, FrameHeader, Malformed, Operation, PREAMBLE, PREAMBLE_BYTES, Queue, Queues,
    Refusal, Request, UserList, Which, speaks_our_version,
};
use ringpost_core::queue_id::QueueId;
use ringpost_reactor::process::{self, PeerCredentials};
use ringpost_spool::MessageId;

use super::answering::{Ask, Question, Reply};
use super::listing::ListPlace;
use super::operating::AllPlace;
use super::reading::ReadPlace;
use super::server::is_superuser;
use super::switchboard::{NotTold, Switchboard};
use crate::failure::EX_CONFIG;
use crate::mesh::Control;
use crate::reload::Reloader;

/// How long a command may take to say or to read something (Postfix's `ipc_timeout`): somebody looks at a listing page
/// by page, or types queue ids.
pub const IDLE_LIMIT: Duration = Duration::from_secs(3600);
/// How long a shard may take for one piece of an answer; it has stopped turning when it needs longer.
const SHARD_PATIENCE: Duration = Duration::from_secs(60);
/// How often the wait for a shard looks whether the engine stops.
const STOP_LOOK: Duration = Duration::from_millis(100);

/// A connected command.
pub struct Session {
    reader: BufReader<UnixStream>,
    peer: PeerCredentials,
    reloader: Arc<Reloader>,
    switchboard: Arc<Switchboard>,
    /// What `postsuper` has done so far, for the last line of its log.
    totals: Vec<(Operation, u64)>,
}

/// Why a request or a session ends early.
enum Trouble {
    /// The request is refused; the session goes on.
    Refused(Refusal, String),
    /// The command is gone, or breaks the protocol.
    Lost,
}

impl From<io::Error> for Trouble {
    fn from(_: io::Error) -> Trouble {
        Trouble::Lost
    }
}

impl From<Malformed> for Trouble {
    fn from(_: Malformed) -> Trouble {
        Trouble::Lost
    }
}

fn refused<T>(refusal: Refusal, text: impl Into<String>) -> Result<T, Trouble> {
    Err(Trouble::Refused(refusal, text.into()))
}

impl Session {
    /// A session for whoever has connected.
    pub fn new(
        stream: UnixStream,
        peer: PeerCredentials,
        reloader: Arc<Reloader>,
        switchboard: Arc<Switchboard>,
    ) -> Session {
        Session { reader: BufReader::new(stream), peer, reloader, switchboard, totals: Vec::new() }
    }

    /// Serves requests until the command goes, or breaks the protocol.
    pub fn run(mut self) {
        let mut payload = Vec::new();
        if self.greet().is_ok() {
            while self.serve_next(&mut payload).is_ok() {}
        }
        self.log_totals();
    }

    fn greet(&mut self) -> Result<(), Trouble> {
        let stream = self.reader.get_ref();
        stream.set_read_timeout(Some(IDLE_LIMIT))?;
        stream.set_write_timeout(Some(IDLE_LIMIT))?;
        let mut preamble = [0; PREAMBLE_BYTES];
        self.reader.read_exact(&mut preamble)?;
        self.write(&PREAMBLE)?;
        if speaks_our_version(&preamble) { Ok(()) } else { Err(Trouble::Lost) }
    }

    fn serve_next(&mut self, payload: &mut Vec<u8>) -> Result<(), Trouble> {
        let mut header = [0; FRAME_HEADER_BYTES];
        self.reader.read_exact(&mut header)?;
        let header = FrameHeader::read(&header)?;
        payload.resize(header.payload_bytes, 0);
        self.reader.read_exact(payload)?;
        let last = match Request::decode(header.kind, payload) {
            Ok(request) => match self.serve(request) {
                Ok(count) => encoded(Answer::End(count)),
                Err(Trouble::Refused(refusal, text)) => encoded(Answer::Refused(refusal, &text)),
                Err(Trouble::Lost) => return Err(Trouble::Lost),
            },
            Err(Malformed) => {
                self.write(&encoded(Answer::Refused(Refusal::Invalid, "malformed request")))?;
                return Err(Trouble::Lost);
            }
        };
        self.write(&last)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        self.reader.get_mut().write_all(bytes).map_err(Trouble::from)
    }

    /// Answers with how many messages the request concerned.
    fn serve(&mut self, request: Request) -> Result<u64, Trouble> {
        match &request {
            Request::List { .. } | Request::WhyMessage(_) | Request::WhyAddress(_) => {
                self.require(&self.reloader.settings().mailq_users, "view the mail queue")?;
            }
            Request::Flush | Request::FlushMessage(_) | Request::FlushSite(_) => {
                self.require(&self.reloader.settings().flush_users, "flush the mail queue")?;
            }
            Request::Operate { .. }
            | Request::LogTotals
            | Request::Kick(_)
            | Request::Read(_)
            | Request::Reload => {
                if !is_superuser(self.peer) {
                    let text = "use of this command is reserved for the superuser";
                    return refused(Refusal::NotAllowed, text);
                }
            }
        }
        match request {
            Request::List { queues } => self.list(queues),
            Request::Operate { operation, queues, which } => self.operate(operation, queues, which),
            Request::LogTotals => {
                self.log_totals();
                Ok(0)
            }
            Request::Reload => self.reload(),
            Request::Flush => self.ask_everybody(|| Question::Flush),
            Request::FlushMessage(id) => self.ask_about(id, Question::FlushMessage),
            Request::FlushSite(site) => self.ask_to_the_end(0, Question::FlushSite(site)),
            Request::Kick(kick) => self.ask_everybody(|| Question::Kick(kick)),
            Request::Read(id) => self.ask_about(id, |id| Question::Read { id, from: ReadPlace::Envelope }),
            Request::WhyMessage(id) => self.ask_about(id, Question::WhyMessage),
            Request::WhyAddress(address) => self.ask_everybody(|| Question::WhyAddress(address.clone())),
        }
    }

    /// Answered when every shard has taken the new settings, or when nothing has changed.
    fn reload(&mut self) -> Result<u64, Trouble> {
        match self.reloader.reload() {
            Ok(warnings) => {
                for warning in &warnings {
                    self.write(&encoded(Answer::Warning(warning)))?;
                }
                Ok(0)
            }
            Err(failure) => {
                for line in failure.message.lines() {
                    self.write(&encoded(Answer::Line(line)))?;
                }
                let refusal =
                    if failure.code == EX_CONFIG { Refusal::NotConfigured } else { Refusal::Failed };
                refused(refusal, "nothing has changed: the mail system runs with its old configuration")
            }
        }
    }

    fn require(&self, users: &UserList, what: &str) -> Result<(), Trouble> {
        let mut user = None;
        if is_superuser(self.peer)
            || users.allows(|| {
                user = process::user_name(self.peer.uid);
                user.clone()
            })
        {
            return Ok(());
        }
        let name = user.or_else(|| process::user_name(self.peer.uid)).unwrap_or_else(|| "unknown".to_owned());
        refused(Refusal::NotAllowed, format!("User {name}({}) is not allowed to {what}", self.peer.uid))
    }

    /// Queue by queue, each shard by shard.
    fn list(&mut self, queues: Queues) -> Result<u64, Trouble> {
        let mut count = 0;
        for queue in Queue::LISTED.into_iter().filter(|queue| queues.has(*queue)) {
            for shard in 0..self.switchboard.shards() {
                let question = Question::List { queue, from: ListPlace::default() };
                count += self.ask_to_the_end(shard, question)?;
            }
        }
        Ok(count)
    }

    fn operate(&mut self, operation: Operation, queues: Queues, which: Which) -> Result<u64, Trouble> {
        let shards = self.switchboard.shards();
        let questions: Vec<(usize, Question)> = match which {
            Which::All => (0..shards)
                .map(|shard| {
                    let place = AllPlace::default();
                    (shard, Question::OperateAll { operation, queues, from: place, peer: self.peer })
                })
                .collect(),
            Which::Ids(ids) => {
                let mut of_shards: Vec<Vec<QueueId>> = vec![Vec::new(); shards];
                for id in ids {
                    if let Some(of_shard) = of_shards.get_mut(shard_of(id)) {
                        of_shard.push(id);
                    }
                }
                let named = of_shards.into_iter().enumerate().filter(|(_, ids)| !ids.is_empty());
                named
                    .map(|(shard, ids)| {
                        (shard, Question::OperateSome { operation, queues, ids, peer: self.peer })
                    })
                    .collect()
            }
        };
        if self.totals.iter().all(|(known, _)| *known != operation) {
            self.totals.push((operation, 0));
        }
        let mut total = 0;
        let outcome = self.ask_side_by_side(questions, &mut total);
        if let Some((_, count)) = self.totals.iter_mut().find(|(known, _)| *known == operation) {
            *count += total;
        }
        outcome.map(|()| total)
    }

    /// One shard after the other, for what is quick.
    fn ask_everybody(&mut self, question: impl Fn() -> Question) -> Result<u64, Trouble> {
        let mut count = 0;
        for shard in 0..self.switchboard.shards() {
            count += self.ask_to_the_end(shard, question())?;
        }
        Ok(count)
    }

    /// The shard that has the message.
    fn ask_about(&mut self, id: QueueId, question: impl FnOnce(QueueId) -> Question) -> Result<u64, Trouble> {
        match shard_of(id) {
            shard if shard < self.switchboard.shards() => self.ask_to_the_end(shard, question(id)),
            _ => Ok(0),
        }
    }

    /// Piece by piece. The shard makes the next one while this one is written, and no more: a slow reader has a piece in
    /// his hands and another on the table.
    fn ask_to_the_end(&mut self, shard: usize, question: Question) -> Result<u64, Trouble> {
        let mut count = 0;
        let mut coming = Some(self.ask(shard, question)?);
        while let Some(receiver) = coming.take() {
            let reply = self.hear(receiver)?;
            count += reply.count;
            let next = reply.next.map(|question| self.ask(shard, question)).transpose();
            self.write(&reply.bytes)?;
            coming = next?;
        }
        Ok(count)
    }

    /// All shards work at the same time, a round of pieces after the other. `total` counts also when it fails.
    fn ask_side_by_side(
        &mut self,
        mut questions: Vec<(usize, Question)>,
        total: &mut u64,
    ) -> Result<(), Trouble> {
        while !questions.is_empty() {
            let mut waiting = Vec::new();
            for (shard, question) in questions.drain(..) {
                waiting.push((shard, self.ask(shard, question)?));
            }
            for (shard, receiver) in waiting {
                let reply = self.hear(receiver)?;
                *total += reply.count;
                self.write(&reply.bytes)?;
                questions.extend(reply.next.map(|question| (shard, question)));
            }
        }
        Ok(())
    }

    fn ask(&self, shard: usize, question: Question) -> Result<Receiver<Reply>, Trouble> {
        if self.switchboard.is_stopping() {
            return refused(Refusal::Stopping, "the mail system is stopping");
        }
        let (answer, receiver) = sync_channel(1);
        let ask = Control::Ask(Box::new(Ask { question, answer }));
        match self.switchboard.tell(shard, ask, SHARD_PATIENCE) {
            Ok(()) => Ok(receiver),
            Err(NotTold::Gone) => refused(Refusal::Stopping, "the mail system is stopping"),
            Err(NotTold::Busy) => refused(Refusal::Busy, "the mail system does not answer"),
        }
    }

    fn hear(&self, receiver: Receiver<Reply>) -> Result<Reply, Trouble> {
        let begun = Instant::now();
        loop {
            match receiver.recv_timeout(STOP_LOOK) {
                Ok(Reply { refused: Some((refusal, text)), .. }) => return refused(refusal, text),
                Ok(reply) => return Ok(reply),
                Err(RecvTimeoutError::Timeout) if self.switchboard.is_stopping() => break,
                Err(RecvTimeoutError::Timeout) if begun.elapsed() < SHARD_PATIENCE => {}
                Err(RecvTimeoutError::Timeout) => {
                    return refused(Refusal::Busy, "the mail system does not answer");
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        refused(Refusal::Stopping, "the mail system is stopping")
    }

    /// `postsuper` ends its log with the counts: when it says that it is done, or when it is gone.
    fn log_totals(&mut self) {
        for (operation, count) in std::mem::take(&mut self.totals) {
            let plural = if count == 1 { "" } else { "s" };
            let text = format!("{}: {count} message{plural}", operation.total());
            let question = Question::Log { text, peer: self.peer };
            // At the stop the line is lost; those of the messages are not.
            if let Ok(receiver) = self.ask(0, question) {
                let _ = self.hear(receiver);
            }
        }
    }
}

/// The shard that a queue id names; perhaps none that runs.
fn shard_of(id: QueueId) -> usize {
    QueueId::parse(id.as_bytes())
        .map_or(usize::MAX, |(_, parts)| usize::from(MessageId::from_bits(parts.unique).shard()))
}

fn encoded(answer: Answer<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    answer.encode(&mut bytes);
    bytes
}
