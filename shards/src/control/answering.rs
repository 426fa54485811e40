//! A shard's part: takes questions off its control ring and answers each with a bounded piece.

use std::rc::Rc;
use std::sync::mpsc::SyncSender;

use ringpost_core::control::{Answer, Kick, Operation, Queue, Queues, Refusal};
use ringpost_core::flush::SiteFlush;
use ringpost_core::logline::Severity;
use ringpost_core::queue_id::QueueId;
use ringpost_reactor::process::PeerCredentials;

use super::explaining;
use super::listing::{self, ListPlace};
use super::operating::{self, AllPlace};
use super::reading::{self, ReadPlace};
use crate::flush;
use crate::qmgr::operator;
use crate::shard::Shard;

/// A question and where its answer goes: a channel with room for the one reply.
pub struct Ask {
    /// What is asked.
    pub question: Question,
    /// Where the asker waits.
    pub answer: SyncSender<Reply>,
}

/// What a control session asks of one shard.
pub enum Question {
    /// The messages of a queue from a place on.
    List {
        /// The queue.
        queue: Queue,
        /// Where the piece before ended.
        from: ListPlace,
    },
    /// An operation on all messages of these queues, from a place on.
    OperateAll {
        /// What to do.
        operation: Operation,
        /// In which queues.
        queues: Queues,
        /// Where the piece before ended.
        from: AllPlace,
        /// Who asks, for the log.
        peer: PeerCredentials,
    },
    /// An operation on these messages, where they are in these queues.
    OperateSome {
        /// What to do.
        operation: Operation,
        /// In which queues.
        queues: Queues,
        /// The messages.
        ids: Vec<QueueId>,
        /// Who asks, for the log.
        peer: PeerCredentials,
    },
    /// Everything deferred is due.
    Flush,
    /// This message is due.
    FlushMessage(QueueId),
    /// What is deferred for this site is due, on all shards.
    FlushSite(String),
    /// What postkick asks.
    Kick(Kick),
    /// The envelope of a message, then its content piece by piece.
    Read {
        /// The message.
        id: QueueId,
        /// Where the piece before ended.
        from: ReadPlace,
    },
    /// What this message waits for.
    WhyMessage(QueueId),
    /// What the mail for this address or domain waits for here.
    WhyAddress(String),
    /// Log a line of postsuper.
    Log {
        /// The line.
        text: String,
        /// Who asks.
        peer: PeerCredentials,
    },
}

/// A piece of an answer.
#[derive(Default)]
pub struct Reply {
    /// Answers as frames.
    pub bytes: Vec<u8>,
    /// Messages that it concerns.
    pub count: u64,
    /// What to ask for the next piece; `None` at the end.
    pub next: Option<Question>,
    /// The question is not answered, and why.
    pub refused: Option<(Refusal, String)>,
}

impl Reply {
    /// Adds an answer.
    pub fn say(&mut self, answer: &Answer<'_>) {
        answer.encode(&mut self.bytes);
    }
}

/// Answers in a task of its own: the next message of the ring does not wait for it.
pub fn answer(shard: &Rc<Shard>, ask: Ask) {
    let task = {
        let shard = shard.clone();
        async move {
            let reply = reply_to(&shard, ask.question).await;
            // The asker may have given up waiting.
            let _ = ask.answer.send(reply);
        }
    };
    shard.handle.spawn(task);
}

async fn reply_to(shard: &Rc<Shard>, question: Question) -> Reply {
    let mut reply = Reply::default();
    match question {
        Question::List { queue, from } => return Box::pin(listing::list(shard, queue, from)).await,
        Question::OperateAll { operation, queues, from, peer } => {
            return Box::pin(operating::operate_all(shard, operation, queues, from, peer)).await;
        }
        Question::OperateSome { operation, queues, ids, peer } => {
            return Box::pin(operating::operate_some(shard, operation, queues, ids, peer)).await;
        }
        Question::Flush => operator::flush(shard),
        Question::FlushMessage(id) => {
            if let Some(id) = operator::message_named(id) {
                reply.count = u64::from(operator::flush_message(shard, id));
            }
        }
        Question::FlushSite(site) => reply.refused = flush_site(shard, &site),
        Question::Kick(kick) => operator::kick(shard, kick),
        Question::Read { id, from } => return Box::pin(reading::read(shard, id, from)).await,
        Question::WhyMessage(id) => return Box::pin(explaining::why_message(shard, id)).await,
        Question::WhyAddress(address) => return explaining::why_address(shard, &address),
        Question::Log { text, peer } => {
            shard.log.write(|lines, out, now_s| {
                lines.message(out, now_s, "postsuper", peer.pid.into(), Severity::Info, text.as_bytes());
            });
            // Whoever asks may look into the log when the answer is there.
            shard.log.write_out().await;
        }
    }
    reply
}

fn flush_site(shard: &Rc<Shard>, site: &str) -> Option<(Refusal, String)> {
    match flush::site(shard, site) {
        SiteFlush::Started => None,
        SiteFlush::NotServed => {
            let text = format!("Flush service is not configured for destination \"{site}\"");
            Some((Refusal::NotConfigured, text))
        }
        SiteFlush::Failed => {
            Some((Refusal::Busy, "Cannot flush mail queue - mail system is busy".to_owned()))
        }
    }
}
