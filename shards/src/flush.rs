//! flush: keeps the lists of deferred mail for `fast_flush_domains`, and tries a site's mail at once when it asks.
//!
//! Receives: messages of this shard that were deferred or have ended; requests of smtpd (ETRN), of the queue commands,
//!           and of other shards. Mail from before the start is listed when the first request after it comes.
//! Sends:    messages that are due now to the queue manager; a site's request to every other shard.
//! Owns:     this shard's `ringpost_core::flush::FlushLists`.
//! Limits:   `ringpost_core::flush::LISTED_MAX`; `REQUESTS_MAX` requests under way; `BATCH` messages a turn.
//! On failure: a request that finds a ring full is said again until it is heard; a message without a place in the lists,
//!           or that cannot be read now, is tried at its own time.
//! Standards: RFC 1985; Postfix's flush(8).

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringpost_core::envelope::Progress;
use ringpost_core::flush::{FlushLists, LISTED_MAX, SiteFlush};
use ringpost_core::lookup::at_once;
use ringpost_core::qmgr::{MessageId as QueuedId, MessageState};
use ringpost_reactor::Moment;
use ringpost_spool::{Listed, MessageId};

use crate::mesh::MeshMessage;
use crate::message::{ActiveMessage, Damaged, stored};
use crate::qmgr;
use crate::recipients::StoredEnvelope;
use crate::shard::Shard;

/// Requests that one shard works on at a time. A client gets an answer before its request is carried out, so that only
/// this bounds what many of them ask for.
const REQUESTS_MAX: u32 = 64;
/// Messages that become due in one turn: a few hundred microseconds.
const BATCH: usize = 500;
/// How soon a full ring is tried again.
const RING_WAIT: Duration = Duration::from_millis(10);
/// How often full lists are searched for messages that are gone, which walks them all.
const PRUNE_WAIT: Duration = Duration::from_secs(60);

/// Envelopes of recovered mail that are read at a time.
const READ_BATCH: usize = 256;

/// Whether the lists know the mail that the start has found in the spool.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Recovered {
    /// They do, or there was none.
    #[default]
    Listed,
    /// Nobody has asked for mail yet, so nobody has looked.
    Unread,
    /// It is being read.
    Reading,
}

/// One shard's lists.
pub struct Flush {
    lists: RefCell<FlushLists>,
    requests: Cell<u32>,
    /// When the lists were last found full and searched.
    pruned_at: Cell<Option<Moment>>,
    recovered: Cell<Recovered>,
    /// Domains that asked while recovered mail is being read, at most [`REQUESTS_MAX`]: they get the rest after it.
    asked: RefCell<Vec<Arc<str>>>,
}

impl Default for Flush {
    fn default() -> Flush {
        Flush {
            lists: RefCell::new(FlushLists::new(LISTED_MAX)),
            requests: Cell::new(0),
            pruned_at: Cell::new(None),
            recovered: Cell::default(),
            asked: RefCell::default(),
        }
    }
}

/// The start: mail that is in the spool already is in no list yet.
pub fn recovered(shard: &Shard) {
    if !shard.settings.fast_flush_domains.is_empty() && shard.spool.figures().queued > 0 {
        shard.flush.recovered.set(Recovered::Unread);
    }
}

/// Mail for the recipients that remain of this message is deferred.
pub fn deferred(shard: &Rc<Shard>, message: &ActiveMessage) {
    if shard.settings.fast_flush_domains.is_empty() {
        return;
    }
    if let Some(stored) = message.in_pieces() {
        let (shard, stored) = (shard.clone(), stored.clone());
        let progress = message.progress.borrow().clone();
        shard.clone().handle.spawn(async move { list_parts(&shard, &stored, &progress).await });
        return;
    }
    let note = || {
        let progress = message.progress.borrow();
        let recipients = message.envelope.recipients().enumerate();
        let remaining = recipients.filter(|(index, _)| !progress.is_done(*index as u32));
        let addresses = remaining.map(|(_, recipient)| recipient.address);
        let serves = |domain: &str| may_be_served(shard, domain);
        shard.flush.lists.borrow_mut().deferred(serves, QueuedId(message.id.bits()), addresses)
    };
    if note().is_ok() {
        return;
    }
    let now = shard.handle.now();
    if shard.flush.pruned_at.get().is_none_or(|pruned_at| now.since(pruned_at) >= PRUNE_WAIT) {
        shard.flush.pruned_at.set(Some(now));
        shard.flush.lists.borrow_mut().retain(|id| qmgr::state(shard, id).is_some());
        if note().is_err() {
            let text = format_args!(
                "{LISTED_MAX} deferred messages are listed for fast_flush_domains; more wait for their own time"
            );
            shard.log.warning("flush", shard.index as u32, text);
        }
    }
}

/// This message has ended. Only one that was deferred can be in a list.
pub fn ended(shard: &Shard, message: &ActiveMessage) {
    if shard.flush.lists.borrow().listed() > 0 && message.progress.borrow().attempts() > 0 {
        let id = QueuedId(message.id.bits());
        if message.in_pieces().is_some() {
            return shard.flush.lists.borrow_mut().retain(|listed| listed != id);
        }
        let addresses = message.envelope.recipients().map(|recipient| recipient.address);
        shard.flush.lists.borrow_mut().ended(id, addresses);
    }
}

/// Whether `fast_flush_domains` has the domain. What a table cannot say at once has the benefit of the doubt: a list more
/// does no harm.
fn may_be_served(shard: &Shard, domain: &str) -> bool {
    at_once(shard.settings.fast_flush_domains.matches(&shard.tables, domain)) != Some(Ok(false))
}

/// A site asks for its mail, on all shards: ETRN, `postqueue -s`.
pub fn site(shard: &Rc<Shard>, domain: &str) -> SiteFlush {
    if !may_be_served(shard, domain) {
        return SiteFlush::NotServed;
    }
    if shard.drain.begun() || shard.flush.requests.get() >= REQUESTS_MAX {
        return SiteFlush::Failed;
    }
    let domain: Arc<str> = domain.to_ascii_lowercase().into();
    let others = (0..shard.shards).filter(|&other| other != shard.index);
    let unheard: Vec<usize> = others.filter(|&other| !tell(shard, other, &domain)).collect();
    if !unheard.is_empty() {
        begin(shard, tell_again(shard.clone(), domain.clone(), unheard));
    }
    site_here(shard, &domain);
    SiteFlush::Started
}

/// The same on this shard alone, for one whose request another shard has taken.
pub fn site_here(shard: &Rc<Shard>, domain: &Arc<str>) {
    flush_listed(shard, domain);
    let flush = &shard.flush;
    if flush.recovered.get() == Recovered::Listed {
        return;
    }
    let mut asked = flush.asked.borrow_mut();
    if asked.len() < REQUESTS_MAX as usize && !asked.contains(domain) {
        asked.push(domain.clone());
    }
    if flush.recovered.replace(Recovered::Reading) == Recovered::Unread {
        begin(shard, read_recovered(shard.clone()));
    }
}

fn flush_listed(shard: &Rc<Shard>, domain: &str) {
    let ids = shard.flush.lists.borrow_mut().take(domain);
    if !ids.is_empty() {
        begin(shard, make_due(shard.clone(), ids));
    }
}

/// Lists all mail that is deferred, once after a start, then serves those who asked for theirs meanwhile.
async fn read_recovered(shard: Rc<Shard>) {
    let mut walk = shard.spool.queued().peekable();
    while walk.peek().is_some() && !shard.drain.begun() {
        let next = walk.by_ref().take(READ_BATCH).filter(|queued| !queued.held);
        let ids: Vec<MessageId> = next.map(|queued| queued.id).collect();
        let listed = shard.spool.envelopes(&ids, u64::MAX).await;
        for (nth, listed) in listed.into_iter().flatten().enumerate() {
            qmgr::operator::give_way(&shard, nth).await;
            // What is damaged is told when its turn comes to be delivered.
            let _ = list_stored(&shard, listed).await;
        }
        shard.handle.yield_now().await;
    }
    shard.flush.recovered.set(Recovered::Listed);
    for domain in shard.flush.asked.take() {
        flush_listed(&shard, &domain);
    }
}

async fn list_stored(shard: &Shard, listed: Listed) -> Result<(), Damaged> {
    let (stored, progress) =
        stored(listed.queued.id, listed.envelope, listed.envelope_chunks, &listed.notes)?;
    list_parts(shard, &stored, &progress).await;
    Ok(())
}

/// Lists a deferred message part by part. A part that cannot be read is told of when its turn comes to be delivered.
async fn list_parts(shard: &Shard, stored: &StoredEnvelope, progress: &Progress) {
    let id = QueuedId(stored.id.bits());
    for number in 0..stored.part_count() {
        let Ok(part) = stored.part(&shard.spool, number).await else { continue };
        // What is active now is listed when it is deferred again, if it is.
        if qmgr::state(shard, id) != Some(MessageState::Deferred) {
            return;
        }
        let recipients = part.recipients();
        let remaining = recipients.iter().filter(|(index, _)| !progress.is_done(*index));
        let addresses = remaining.map(|(_, recipient)| recipient.address);
        // Full lists are told when small mail is deferred.
        let serves = |domain: &str| may_be_served(shard, domain);
        let _ = shard.flush.lists.borrow_mut().deferred(serves, id, addresses);
    }
}

fn begin(shard: &Rc<Shard>, work: impl Future<Output = ()> + 'static) {
    let requests = |shard: &Shard, change: i32| {
        shard.flush.requests.set(shard.flush.requests.get().saturating_add_signed(change));
    };
    requests(shard, 1);
    let shard = shard.clone();
    shard.clone().handle.spawn(async move {
        work.await;
        requests(&shard, -1);
    });
}

fn tell(shard: &Shard, other: usize, domain: &Arc<str>) -> bool {
    let message = MeshMessage::FlushSite { domain: domain.clone() };
    shard.mesh.borrow_mut().try_send(other, message).is_ok()
}

async fn tell_again(shard: Rc<Shard>, domain: Arc<str>, mut unheard: Vec<usize>) {
    while !unheard.is_empty() && !shard.drain.begun() {
        shard.handle.sleep(RING_WAIT).await;
        unheard.retain(|&other| !tell(&shard, other, &domain));
    }
}

/// As Postfix does, a site that asks also ends the waiting of dead ones: it is back, and may have been dead for us.
async fn make_due(shard: Rc<Shard>, ids: Vec<QueuedId>) {
    qmgr::forget_dead_sites(&shard);
    for batch in ids.chunks(BATCH) {
        qmgr::make_due(&shard, batch);
        shard.handle.yield_now().await;
    }
}
