//! showq's part: the messages of one queue of this shard, a piece at a time.

use std::rc::Rc;

use hashbrown::HashMap;
use ringpost_core::control::{Answer, ListedMessage, Queue};
use ringpost_core::qmgr::MessageId as QueuedId;
use ringpost_spool::{Disk, Spool};

use super::answering::{Question, Reply};
use crate::qmgr::operator::{self, Summary};
use crate::recipients::Part;
use crate::shard::Shard;

/// Messages in one piece at most: neighbours on the disk are read together.
const MESSAGES_A_PIECE: usize = 256;
/// Entries of the table of messages that one turn looks at: some microseconds.
const ENTRIES_A_TURN: u32 = 4096;
/// A piece ends soon after it has grown to this.
const PIECE_BYTES: usize = 256 << 10;

/// Where a listing goes on.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListPlace {
    entry: u32,
    /// A message with many recipients whose first ones are listed already.
    inside: Option<(QueuedId, RecipientPlace)>,
}

/// Where the listing of a message's recipients goes on.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecipientPlace {
    /// The part of the envelope.
    part: u32,
    /// How many of the part's are listed.
    listed: usize,
}

/// The next piece of a queue's listing.
pub async fn list(shard: &Rc<Shard>, queue: Queue, from: ListPlace) -> Reply {
    let mut reply = Reply::default();
    let (found, mut next) = find(shard, queue, from.entry).await;
    let wanted: Vec<QueuedId> = found.iter().map(|(_, id)| *id).collect();
    // What is large is not read in vain: when the piece is full, the rest waits for the next one.
    let summaries = operator::summaries(shard, &wanted).await;
    if let Some((entry, _)) = found.get(summaries.len()) {
        next = Some(ListPlace { entry: *entry, inside: None });
    }
    for (nth, ((entry, id), summary)) in found.into_iter().zip(summaries).enumerate() {
        operator::give_way(shard, nth).await;
        // Gone meanwhile, or not to be read now: the queue manager tells of that.
        let Some(summary) = summary else { continue };
        let place = match from.inside {
            Some((inside, place)) if inside == id => place,
            _ => {
                reply.count += 1;
                say_message(&summary, queue, &mut reply);
                RecipientPlace::default()
            }
        };
        let said = say_recipients(&shard.spool, &summary, place, &mut reply).await;
        if reply.bytes.len() >= PIECE_BYTES {
            next = match said {
                Said::UpTo(place) => Some(ListPlace { entry, inside: Some((id, place)) }),
                Said::All => Some(ListPlace { entry: entry + 1, inside: None }),
            };
            break;
        }
    }
    reply.next = next.map(|from| Question::List { queue, from });
    reply
}

/// The next messages of a queue with their entries, and where to go on.
async fn find(shard: &Rc<Shard>, queue: Queue, from: u32) -> (Vec<(u32, QueuedId)>, Option<ListPlace>) {
    let (mut found, mut at) = (Vec::new(), from);
    loop {
        let next = operator::walk(shard, at, ENTRIES_A_TURN, |entry, id, state| {
            if Queue::of(state) == queue {
                found.push((entry, id));
            }
            found.len() < MESSAGES_A_PIECE
        });
        match next {
            Some(next) if found.len() < MESSAGES_A_PIECE => at = next,
            next => return (found, next.map(|entry| ListPlace { entry, inside: None })),
        }
        shard.handle.yield_now().await;
    }
}

/// How far a message's recipients have been listed.
pub(super) enum Said {
    All,
    UpTo(RecipientPlace),
}

pub(super) fn say_message(summary: &Summary, queue: Queue, reply: &mut Reply) {
    reply.say(&Answer::Message(ListedMessage {
        queue,
        queue_id: summary.queue_id,
        arrival_us: summary.stored.envelope.arrival_us(),
        bytes: summary.stored.envelope.content_bytes(),
        forced_expire: summary.force_expired,
        sender: summary.stored.envelope.sender(),
    }));
}

/// The recipients that remain, part by part of the envelope, until the reply is full. Within a part those that wait for the
/// same reason stand together, those without a reason last.
pub(super) async fn say_recipients<D: Disk>(
    spool: &Spool<D>,
    summary: &Summary,
    mut place: RecipientPlace,
    reply: &mut Reply,
) -> Said {
    while place.part < summary.stored.part_count() {
        if reply.bytes.len() >= PIECE_BYTES {
            return Said::UpTo(place);
        }
        match summary.stored.part(spool, place.part).await {
            Ok(part) => {
                if let Some(listed) = say_part(summary, &part, place.listed, reply) {
                    return Said::UpTo(RecipientPlace { listed, ..place });
                }
            }
            Err(error) => {
                let indexes = summary.stored.indexes(place.part);
                let id = summary.queue_id.as_str();
                let text = format!("{id}: {} recipients cannot be read: {error}", indexes.len());
                reply.say(&Answer::Warning(&text));
            }
        }
        place = RecipientPlace { part: place.part + 1, listed: 0 };
    }
    Said::All
}

/// Answers how many are listed, if the reply is full before all are.
fn say_part(summary: &Summary, part: &Part<'_>, listed: usize, reply: &mut Reply) -> Option<usize> {
    let mut ranks: HashMap<&str, usize> = HashMap::new();
    let mut waiting: Vec<(usize, &str, &str)> = Vec::new();
    let recipients = part.recipients();
    for (index, recipient) in &recipients {
        if summary.progress.is_done(*index) {
            continue;
        }
        let reason = summary.progress.reason(*index).map_or("", |reason| reason.text.as_str());
        let rank = match reason {
            "" => usize::MAX,
            reason => {
                let fresh = ranks.len();
                *ranks.entry(reason).or_insert(fresh)
            }
        };
        waiting.push((rank, recipient.address, reason));
    }
    waiting.sort_by_key(|(rank, _, _)| *rank);
    for (place, (_, address, reason)) in waiting.iter().enumerate().skip(listed) {
        if reply.bytes.len() >= PIECE_BYTES {
            return Some(place);
        }
        reply.say(&Answer::Recipient { address, reason });
    }
    None
}
