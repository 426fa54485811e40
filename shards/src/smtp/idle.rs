//! idle: the connections of one shard that wait for more mail.
//!
//! Receives: connections, that is their tasks, when they have nothing to do; work for them.
//! Sends:    the work to the tasks; how many wait, to the [board](super::idle_board) that other shards read.
//! Owns:     the waiting places, by destination and by server.
//! Limits:   those of the connections, which hold no slot: each waits `smtp_connection_cache_time_limit` at most.
//! On failure: a task that is gone is passed over.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use ringpost_core::qmgr::{Delivery, SiteHandle};
use ringpost_reactor::Moment;
use ringpost_reactor::local::{OneshotReceiver, OneshotSender, oneshot};

use super::connection::Connection;
use super::endpoint::ServerEndpoint;
use super::idle_board::{Bucket, IdleBoard};

/// From this idle time on a connection is *at rest*. Before, it belongs to a shard that has mail for it all the time:
/// no other shard gets it, for it would be asked back at once.
pub const AT_REST: Duration = Duration::from_millis(100);

/// What an idle connection is to do.
pub enum Work {
    /// A delivery of its site.
    Deliver(Delivery),
    /// Serve a delivery of another site of this shard, which goes to the same server.
    Lend(OneshotSender<Connection>),
    /// Go to another shard.
    HandOver {
        /// Who asked.
        shard: usize,
        /// The number of its question.
        ticket: u32,
    },
}

/// The most sites, servers and connections that there were at once among what waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peaks {
    /// Destinations.
    pub sites: usize,
    /// Servers.
    pub endpoints: usize,
    /// Connections.
    pub connections: usize,
}

impl Peaks {
    fn at_least(self, other: Peaks) -> Peaks {
        Peaks {
            sites: self.sites.max(other.sites),
            endpoints: self.endpoints.max(other.endpoints),
            connections: self.connections.max(other.connections),
        }
    }
}

struct Place {
    work: OneshotSender<Work>,
    endpoint: Arc<ServerEndpoint>,
    since: Moment,
}

/// The idle connections of one shard.
pub struct Idle {
    shard: usize,
    board: Option<Arc<IdleBoard>>,
    /// Last come, last in the line; the most recently used connection is used first.
    sites: RefCell<HashMap<SiteHandle, Vec<Place>, RandomState>>,
    /// The sites of the connections that wait, one entry for each connection.
    endpoints: RefCell<HashMap<Arc<ServerEndpoint>, Vec<SiteHandle>, RandomState>>,
    connections: Cell<usize>,
    /// Since [`Idle::take_peaks`].
    peaks: Cell<Peaks>,
}

impl Idle {
    /// Of shard `shard`, with the board if there are others.
    pub fn new(shard: usize, board: Option<Arc<IdleBoard>>) -> Idle {
        let (sites, endpoints, connections, peaks) = Default::default();
        Idle { shard, board, sites, endpoints, connections, peaks }
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
        endpoint: Arc<ServerEndpoint>,
        now: Moment,
    ) -> (Waiting<'_>, OneshotReceiver<Work>) {
        let (sender, work) = oneshot();
        let place = Place { work: sender, endpoint: Arc::clone(&endpoint), since: now };
        self.sites.borrow_mut().entry(site).or_default().push(place);
        self.endpoints.borrow_mut().entry(Arc::clone(&endpoint)).or_default().push(site);
        self.connections.set(self.connections.get() + 1);
        self.peaks.set(self.peaks.get().at_least(self.levels()));
        let buckets = bucket.map(|of_site| [of_site, Bucket::of_endpoint(&endpoint)]);
        let waiting = Waiting { idle: self, site, endpoint, buckets };
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
            Work::Lend(_) | Work::HandOver { .. } => unreachable!("what is sent comes back as it was"),
        }
    }

    /// A connection to this server, of whichever site, of which its task is told to part with it.
    pub fn borrow(&self, endpoint: &ServerEndpoint) -> Option<OneshotReceiver<Connection>> {
        let place = self.take_to(endpoint, |_| true)?;
        let (sender, connection) = oneshot();
        place.work.send(Work::Lend(sender)).ok()?;
        Some(connection)
    }

    /// Sends away the connection of the site that has been at rest for longest; false if there is none.
    pub fn hand_over_of(
        &self,
        is_wanted: impl Fn(SiteHandle) -> bool,
        now: Moment,
        to: usize,
        ticket: u32,
    ) -> bool {
        let found = self.sites.borrow().keys().copied().find(|&site| is_wanted(site));
        let place = found.and_then(|site| self.take(site, |place| place.is_at_rest(now)));
        place.is_some_and(|place| place.work.send(Work::HandOver { shard: to, ticket }).is_ok())
    }

    /// Sends away a connection to this server that has been at rest; false if there is none.
    pub fn hand_over_to(&self, endpoint: &ServerEndpoint, now: Moment, to: usize, ticket: u32) -> bool {
        let place = self.take_to(endpoint, |place| place.is_at_rest(now));
        place.is_some_and(|place| place.work.send(Work::HandOver { shard: to, ticket }).is_ok())
    }

    fn take_to(&self, endpoint: &ServerEndpoint, fits: impl Fn(&Place) -> bool) -> Option<Place> {
        let endpoints = self.endpoints.borrow();
        // A connection that has got work already has its entry until its task runs.
        let sites = endpoints.get(endpoint)?.iter();
        sites.copied().find_map(|site| self.take(site, |place| *place.endpoint == *endpoint && fits(place)))
    }

    /// Takes the place that has waited longest out of a site's line.
    fn take(&self, site: SiteHandle, fits: impl Fn(&Place) -> bool) -> Option<Place> {
        let mut sites = self.sites.borrow_mut();
        let waiting = sites.get_mut(&site)?;
        let index = waiting.iter().position(|place| !place.work.is_closed() && fits(place))?;
        Some(waiting.remove(index))
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

    fn levels(&self) -> Peaks {
        Peaks {
            sites: self.sites.borrow().len(),
            endpoints: self.endpoints.borrow().len(),
            connections: self.connections.get(),
        }
    }

    /// Tells all that wait that nothing more comes: their tasks close the connections.
    pub fn let_all_go(&self) {
        self.sites.borrow_mut().clear();
    }

    /// The most that there was since this was asked last.
    pub fn take_peaks(&self) -> Peaks {
        self.peaks.replace(self.levels())
    }
}

impl Place {
    fn is_at_rest(&self, now: Moment) -> bool {
        now.since(self.since) >= AT_REST
    }
}

/// A connection's presence among the idle ones.
pub struct Waiting<'a> {
    idle: &'a Idle,
    site: SiteHandle,
    endpoint: Arc<ServerEndpoint>,
    /// Where other shards see it, if there are any.
    buckets: Option<[Bucket; 2]>,
}

impl Waiting<'_> {
    fn show(&self, change: i32) {
        if let (Some(board), Some(buckets)) = (&self.idle.board, self.buckets) {
            buckets.into_iter().for_each(|bucket| board.change(self.idle.shard, bucket, change));
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.idle.connections.set(self.idle.connections.get() - 1);
        let mut endpoints = self.idle.endpoints.borrow_mut();
        if let Some(sites) = endpoints.get_mut(&self.endpoint) {
            if let Some(index) = sites.iter().position(|&site| site == self.site) {
                sites.swap_remove(index);
            }
            if sites.is_empty() {
                endpoints.remove(&self.endpoint);
            }
        }
        drop(endpoints);
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

    fn server(bind: Option<&str>) -> Arc<ServerEndpoint> {
        Arc::new(ServerEndpoint::for_test("smtp", "192.0.2.1:25", bind))
    }

    fn told(work: &mut OneshotReceiver<Work>) -> Option<Work> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::future::Future::poll(std::pin::Pin::new(work), &mut context) {
            std::task::Poll::Ready(work) => work.ok(),
            std::task::Poll::Pending => None,
        }
    }

    #[test]
    fn a_connection_is_shown_to_the_others_while_it_waits() {
        let board = IdleBoard::new(3);
        let idle = Idle::new(1, Some(board.clone()));
        let site = Scheduler::new(QmgrSettings::default(), 0).site("smtp", "a.test");
        let bucket = Bucket::of_site("smtp", "a.test");
        let (waiting, _work) = idle.wait(site, Some(bucket), server(None), at(0));
        let seen = |here, bucket| board.others(here, bucket).collect::<Vec<_>>();
        for bucket in [bucket, Bucket::of_endpoint(&server(None))] {
            assert_eq!((seen(0, bucket), seen(2, bucket)), (vec![1], vec![1]));
            assert!(seen(1, bucket).is_empty(), "nobody asks itself");
        }
        let again = Idle::new(2, Some(board.clone()));
        let (_again, _work) = again.wait(site, Some(bucket), server(None), at(0));
        assert_eq!((seen(0, bucket), seen(1, bucket)), (vec![1, 2], vec![2]), "all are asked, in turn");
        drop(waiting);
        assert_eq!(seen(0, bucket), [2]);
        let one = Peaks { sites: 1, endpoints: 1, connections: 1 };
        assert_eq!((idle.take_peaks(), idle.take_peaks().connections), (one, 0));
    }

    #[test]
    fn only_what_is_at_rest_is_handed_over_and_that_first_which_rests_longest() {
        let idle = Idle::new(0, None);
        let site = Scheduler::new(QmgrSettings::default(), 0).site("smtp", "a.test");
        let (_first, mut first_work) = idle.wait(site, None, server(None), at(0));
        let (_second, mut second_work) = idle.wait(site, None, server(None), at(50));
        assert!(!idle.hand_over_of(|_| true, at(99), 1, 7));
        assert!(!idle.hand_over_to(&server(None), at(99), 1, 7));
        assert!(!idle.hand_over_of(|_| false, at(200), 1, 7), "another site");
        assert!(idle.hand_over_of(|known| known == site, at(100), 1, 7));
        assert!(!idle.hand_over_of(|_| true, at(149), 1, 8));
        assert!(matches!(told(&mut first_work), Some(Work::HandOver { shard: 1, ticket: 7 })));
        assert!(told(&mut second_work).is_none());
        assert!(idle.hand_over_to(&server(None), at(150), 1, 9), "another destination on another shard");
        assert!(matches!(told(&mut second_work), Some(Work::HandOver { shard: 1, ticket: 9 })));
    }

    #[test]
    fn a_connection_is_lent_only_to_the_same_server_under_the_same_label() {
        let idle = Idle::new(0, None);
        let site = Scheduler::new(QmgrSettings::default(), 0).site("smtp", "a.test");
        let (waiting, mut work) = idle.wait(site, None, server(None), at(0));
        for other in [
            ServerEndpoint::for_test("smtp", "192.0.2.1:26", None),
            ServerEndpoint::for_test("smtp", "192.0.2.2:25", None),
            ServerEndpoint::for_test("relay", "192.0.2.1:25", None),
            ServerEndpoint::for_test("smtp", "192.0.2.1:25", Some("192.0.2.9:0")),
        ] {
            assert!(idle.borrow(&other).is_none(), "{other:?}");
        }
        assert!(idle.borrow(&server(None)).is_some());
        assert!(matches!(told(&mut work), Some(Work::Lend(_))));
        assert!(idle.borrow(&server(None)).is_none(), "it has gone");
        drop(waiting);
        assert_eq!(idle.endpoints.borrow().len(), 0);
    }
}
