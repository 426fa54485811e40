//! idle: the connections of one shard that wait for more mail, and what other shards may know of them.
//!
//! Receives: connections, that is their tasks, when they have nothing to do; work for them.
//! Sends:    the work to the tasks.
//! Owns:     the waiting places by site; this shard's row of the board that all shards read.
//! Limits:   the row is [`BUCKETS`] counters; two sites in one bucket cost a question in vain.
//! On failure: a task that is gone is passed over.

use std::cell::{Cell, RefCell};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use hashbrown::HashMap;
use ringpost_core::qmgr::{Delivery, SiteHandle};
use ringpost_reactor::Moment;
use ringpost_reactor::local::{OneshotReceiver, OneshotSender, oneshot};

/// From this idle time on a connection is *at rest*. Before, it belongs to a shard that has mail for it all the time:
/// no other shard gets it, for it would be asked back at once, and the server's silence is no reason to doubt it.
pub const AT_REST: Duration = Duration::from_millis(100);

/// Counters of one shard's row: enough that the few hundred destinations which are busy at a time rarely meet.
const BUCKETS: usize = 256;

/// What an idle connection is to do.
pub enum Work {
    /// A delivery of its site.
    Deliver(Delivery),
    /// Go to another shard.
    HandOver {
        /// Who asked.
        shard: usize,
        /// The number of its question.
        ticket: u32,
    },
}

/// A site's place on the board, the same on all shards.
#[derive(Clone, Copy)]
pub struct Bucket(usize);

impl Bucket {
    /// Names come from outside and the hash is no secret: who aims at a bucket gains questions in vain, which are
    /// asked at most once for each connection that is opened.
    pub fn of(transport: &str, nexthop: &str) -> Bucket {
        let hash = foldhash::quality::FixedState::default().hash_one((transport, nexthop));
        Bucket(hash as usize % BUCKETS)
    }
}

/// Idle connections of all shards, counted by bucket: each row is written by its shard, and read by one that would
/// otherwise open a connection.
pub struct IdleBoard(Vec<CachePadded<[AtomicU32; BUCKETS]>>);

impl IdleBoard {
    /// An empty board for `shards` shards.
    pub fn new(shards: usize) -> Arc<IdleBoard> {
        Arc::new(IdleBoard(
            (0..shards).map(|_| CachePadded::new([const { AtomicU32::new(0) }; BUCKETS])).collect(),
        ))
    }

    fn change(&self, shard: usize, bucket: Bucket, change: i32) {
        let counter = &self.0[shard][bucket.0];
        // Relaxed, and no read-modify-write: only its own shard writes a row, and what others read is a hint.
        counter.store(counter.load(Ordering::Relaxed).wrapping_add_signed(change), Ordering::Relaxed);
    }

    /// A shard other than `here` that seems to have an idle connection, looking from the next one on.
    pub fn find(&self, here: usize, bucket: Bucket) -> Option<usize> {
        let shards = self.0.len();
        let others = (1..shards).map(|step| (here + step) % shards);
        others.into_iter().find(|&shard| self.0[shard][bucket.0].load(Ordering::Relaxed) > 0)
    }
}

struct Place {
    work: OneshotSender<Work>,
    since: Moment,
}

/// The idle connections of one shard.
pub struct Idle {
    shard: usize,
    board: Option<Arc<IdleBoard>>,
    /// Last come, last in the line; the most recently used connection is used first.
    sites: RefCell<HashMap<SiteHandle, Vec<Place>, foldhash::fast::RandomState>>,
    connections: Cell<usize>,
    /// Most sites and most connections at once since [`Idle::take_peaks`].
    peaks: Cell<(usize, usize)>,
}

impl Idle {
    /// Of shard `shard`, with the board if there are others.
    pub fn new(shard: usize, board: Option<Arc<IdleBoard>>) -> Idle {
        let (sites, connections, peaks) = Default::default();
        Idle { shard, board, sites, connections, peaks }
    }

    /// The board, if there are other shards.
    pub fn board(&self) -> Option<&IdleBoard> {
        self.board.as_deref()
    }

    /// A connection of the site waits for work from now on, until `Waiting` is dropped.
    pub fn wait(
        &self,
        site: SiteHandle,
        bucket: Option<Bucket>,
        now: Moment,
    ) -> (Waiting<'_>, OneshotReceiver<Work>) {
        let (sender, work) = oneshot();
        let mut sites = self.sites.borrow_mut();
        sites.entry(site).or_default().push(Place { work: sender, since: now });
        self.connections.set(self.connections.get() + 1);
        let (most_sites, most_connections) = self.peaks.get();
        self.peaks.set((most_sites.max(sites.len()), most_connections.max(self.connections.get())));
        let waiting = Waiting { idle: self, bucket };
        waiting.show(1);
        (waiting, work)
    }

    /// Gives the delivery to a connection of its site that waits; back if there is none.
    pub fn give(&self, delivery: Delivery) -> Result<(), Delivery> {
        let mut sites = self.sites.borrow_mut();
        let Some(waiting) = sites.get_mut(&delivery.site) else { return Err(delivery) };
        let mut work = Work::Deliver(delivery);
        while let Some(place) = waiting.pop() {
            match place.work.send(work) {
                Ok(()) => return Ok(()),
                Err(back) => work = back,
            }
        }
        match work {
            Work::Deliver(delivery) => Err(delivery),
            Work::HandOver { .. } => unreachable!("what is sent comes back as it was"),
        }
    }

    /// Sends away the connection of the site that has been at rest for longest; false if there is none.
    pub fn hand_over(
        &self,
        is_wanted: impl Fn(SiteHandle) -> bool,
        now: Moment,
        to: usize,
        ticket: u32,
    ) -> bool {
        let mut sites = self.sites.borrow_mut();
        let Some((_, waiting)) = sites.iter_mut().find(|(site, _)| is_wanted(**site)) else { return false };
        while waiting.first().is_some_and(|place| now.since(place.since) >= AT_REST) {
            if waiting.remove(0).work.send(Work::HandOver { shard: to, ticket }).is_ok() {
                return true;
            }
        }
        false
    }

    /// Forgets the places of connections that are gone.
    pub fn forget_closed(&self, site: SiteHandle) {
        let mut sites = self.sites.borrow_mut();
        if let Some(waiting) = sites.get_mut(&site) {
            waiting.retain(|place| !place.work.is_closed());
            if waiting.is_empty() {
                sites.remove(&site);
            }
        }
    }

    /// The most sites with kept connections, and the most idle connections, since this was asked last.
    pub fn take_peaks(&self) -> (usize, usize) {
        self.peaks.replace((self.sites.borrow().len(), self.connections.get()))
    }
}

/// A connection's presence among the idle ones.
pub struct Waiting<'a> {
    idle: &'a Idle,
    bucket: Option<Bucket>,
}

impl Waiting<'_> {
    fn show(&self, change: i32) {
        if let (Some(board), Some(bucket)) = (&self.idle.board, self.bucket) {
            board.change(self.idle.shard, bucket, change);
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.idle.connections.set(self.idle.connections.get() - 1);
        self.show(-1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringpost_core::qmgr::{QmgrSettings, Scheduler};

    fn at(milliseconds: u64) -> Moment {
        Moment::from_nanos(milliseconds * 1_000_000)
    }

    #[test]
    fn a_connection_is_shown_to_the_others_while_it_waits() {
        let board = IdleBoard::new(3);
        let idle = Idle::new(1, Some(board.clone()));
        let site = Scheduler::new(QmgrSettings::default(), 0).site("smtp", "a.test");
        let bucket = Bucket::of("smtp", "a.test");
        let (waiting, _work) = idle.wait(site, Some(bucket), at(0));
        assert_eq!((board.find(0, bucket), board.find(2, bucket)), (Some(1), Some(1)));
        assert_eq!(board.find(1, bucket), None, "nobody asks itself");
        drop(waiting);
        assert_eq!(board.find(0, bucket), None);
        assert_eq!((idle.take_peaks(), idle.take_peaks()), ((1, 1), (1, 0)));
    }

    #[test]
    fn only_what_is_at_rest_is_handed_over_and_that_first_which_rests_longest() {
        let idle = Idle::new(0, None);
        let site = Scheduler::new(QmgrSettings::default(), 0).site("smtp", "a.test");
        let (_first, mut first_work) = idle.wait(site, None, at(0));
        let (_second, mut second_work) = idle.wait(site, None, at(50));
        assert!(!idle.hand_over(|_| true, at(99), 1, 7));
        assert!(!idle.hand_over(|_| false, at(200), 1, 7), "another site");
        assert!(idle.hand_over(|known| known == site, at(100), 1, 7));
        assert!(!idle.hand_over(|_| true, at(149), 1, 8));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let mut got = |work: &mut OneshotReceiver<Work>| {
            matches!(
                std::future::Future::poll(std::pin::Pin::new(work), &mut context),
                std::task::Poll::Ready(Ok(Work::HandOver { shard: 1, ticket: 7 }))
            )
        };
        assert!(got(&mut first_work) && !got(&mut second_work));
    }
}
