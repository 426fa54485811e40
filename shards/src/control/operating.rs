//! postsuper's part: operations on all messages of some queues, or on some messages, a piece at a time.

use std::rc::Rc;

use ringpost_core::control::{Answer, Operation, Queue, Queues};
use ringpost_core::qmgr::MessageId as QueuedId;
use ringpost_core::queue_id::QueueId;
use ringpost_reactor::process::PeerCredentials;
use ringpost_spool::{Disk, MessageId, Spool};

use super::answering::{Question, Reply};
use super::gather::gather;
use crate::qmgr::operator;
use crate::shard::Shard;

/// Messages in one piece: their log lines fit into the log's buffer many times, and one commit covers their records.
const MESSAGES_A_PIECE: usize = 4096;
/// Messages that are looked at or changed side by side: bounds reads in flight and the length of a turn.
const MESSAGES_AT_ONCE: usize = 128;
/// Entries of the table of messages that one turn looks at.
const ENTRIES_A_TURN: u32 = 4096;

/// Where an operation on all messages goes on.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllPlace {
    entry: u32,
    /// Messages from this one on came after the command: those that it requeued are not requeued again.
    before: Option<QueuedId>,
}

/// The next piece of an operation on everything in these queues.
pub async fn operate_all(
    shard: &Rc<Shard>,
    operation: Operation,
    queues: Queues,
    from: AllPlace,
    peer: PeerCredentials,
) -> Reply {
    let before = from.before.unwrap_or_else(|| QueuedId(shard.spool.new_id().bits()));
    let (mut found, mut at) = (Vec::new(), from.entry);
    let next = loop {
        let next = operator::walk(shard, at, ENTRIES_A_TURN, |_, id, state| {
            if id < before && queues.has(Queue::of(state)) {
                found.push(id);
            }
            found.len() < MESSAGES_A_PIECE
        });
        match next {
            Some(next) if found.len() < MESSAGES_A_PIECE => at = next,
            next => break next,
        }
        shard.handle.yield_now().await;
    };
    let mut reply = Reply::default();
    if from.before.is_none() && operation == Operation::Delete && queues.has(Queue::Corrupt) {
        delete_corrupt(shard, None, peer, &mut reply);
    }
    let wanted: Vec<(QueuedId, Option<QueueId>)> = found.into_iter().map(|id| (id, None)).collect();
    operate(shard, operation, &wanted, peer, &mut reply).await;
    reply.next = next.map(|entry| {
        let from = AllPlace { entry, before: Some(before) };
        Question::OperateAll { operation, queues, from, peer }
    });
    reply
}

/// An operation on these messages, where they are in these queues.
pub async fn operate_some(
    shard: &Rc<Shard>,
    operation: Operation,
    queues: Queues,
    ids: Vec<QueueId>,
    peer: PeerCredentials,
) -> Reply {
    let mut reply = Reply::default();
    if operation == Operation::Delete && queues.has(Queue::Corrupt) {
        delete_corrupt(shard, Some(&ids), peer, &mut reply);
    }
    let in_queues =
        |id: &QueuedId| operator::state(shard, *id).is_some_and(|state| queues.has(Queue::of(state)));
    let wanted: Vec<(QueuedId, Option<QueueId>)> = ids
        .into_iter()
        .filter_map(|name| operator::message_named(name).map(|id| (id, Some(name))))
        .filter(|(id, _)| in_queues(id))
        .collect();
    operate(shard, operation, &wanted, peer, &mut reply).await;
    reply
}

/// Carries out and records. The answer comes after the commit that covers the records: what a command has reported
/// done survives a crash.
async fn operate(
    shard: &Rc<Shard>,
    operation: Operation,
    wanted: &[(QueuedId, Option<QueueId>)],
    peer: PeerCredentials,
    reply: &mut Reply,
) {
    let mut rest = wanted;
    while !rest.is_empty() {
        let ids: Vec<QueuedId> = rest.iter().take(MESSAGES_AT_ONCE).map(|(id, _)| *id).collect();
        let summaries = operator::summaries(shard, &ids).await;
        let (part, later) = rest.split_at(summaries.len());
        rest = later;
        let named = part.iter().zip(summaries).filter_map(|((id, wanted), summary)| {
            let name = summary?.queue_id;
            wanted.is_none_or(|wanted| wanted == name).then_some((*id, name))
        });
        let named: Vec<(QueuedId, QueueId)> = named.collect();
        let done = match operation {
            Operation::Requeue => {
                let futures = named.into_iter().map(|(id, name)| requeue(shard.clone(), id, name));
                gather(&shard.handle, futures).await
            }
            operation => {
                named.into_iter().map(|(id, name)| one(shard, operation, id).then_some(name)).collect()
            }
        };
        operator::pump(shard);
        for name in done.into_iter().flatten() {
            tell(shard, operation, name, peer, reply);
        }
    }
    if reply.count > 0 {
        if let Err(error) = shard.spool.barrier().await {
            reply.say(&Answer::Warning(&format!("not all of this may survive a crash: {error}")));
        }
        shard.log.write_out().await;
    }
}

/// Says and logs that it is done.
fn tell(shard: &Shard, operation: Operation, name: QueueId, peer: PeerCredentials, reply: &mut Reply) {
    reply.count += 1;
    reply.say(&Answer::Operated(name));
    shard.log.write(|lines, out, now_s| {
        let text = operation.past().as_bytes();
        lines.about(out, now_s, "postsuper", peer.pid.into(), name.as_str(), text);
    });
}

fn delete_corrupt(shard: &Rc<Shard>, names: Option<&[QueueId]>, peer: PeerCredentials, reply: &mut Reply) {
    for (id, name) in corrupt_named(&shard.spool, names) {
        operator::delete_corrupt(shard, QueuedId(id.bits()));
        tell(shard, Operation::Delete, name, peer, reply);
    }
}

/// The damaged messages that are meant, all without `names`. Nobody can read when they came, so that what is not named
/// is called by a name without that time.
pub(super) fn corrupt_named<D: Disk>(
    spool: &Spool<D>,
    names: Option<&[QueueId]>,
) -> Vec<(MessageId, QueueId)> {
    let mut ids: Vec<MessageId> = spool.corrupt().iter().filter_map(|corrupt| corrupt.id).collect();
    ids.sort_unstable();
    ids.dedup();
    let named = |id: MessageId| match names {
        None => Some(QueueId::new(0, id.bits())),
        Some(names) => {
            let is_it = |name: &QueueId| operator::message_named(*name) == Some(QueuedId(id.bits()));
            names.iter().copied().find(is_it)
        }
    };
    ids.into_iter().filter_map(|id| Some((id, named(id)?))).collect()
}

/// False if it is in no state for it.
fn one(shard: &Rc<Shard>, operation: Operation, id: QueuedId) -> bool {
    match operation {
        Operation::Delete => operator::delete(shard, id),
        Operation::Hold => operator::hold(shard, id),
        Operation::Release => operator::release(shard, id),
        Operation::Expire => operator::expire(shard, id, false),
        Operation::ForceExpire => operator::expire(shard, id, true),
        Operation::Requeue => unreachable!("it takes its time and is asked for elsewhere"),
    }
}

async fn requeue(shard: Rc<Shard>, id: QueuedId, name: QueueId) -> Option<QueueId> {
    operator::requeue(&shard, id).await.then_some(name)
}
