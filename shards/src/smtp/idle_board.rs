//! idle_board: what shards show each other of their idle connections.
//!
//! Receives: every coming and going of an idle connection, from its own shard.
//! Sends:    nothing; a shard that would otherwise open a connection reads it.
//! Owns:     two rows of counters for each shard, by destination and by server.
//! Limits:   [`BUCKETS`] counters a row; two names in one bucket cost a question in vain.
//! On failure: a figure that is out of date costs a question in vain, or a connection.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crossbeam_utils::CachePadded;

use super::endpoint::ServerEndpoint;

/// Counters of one row: enough that the few hundred destinations which are busy at a time rarely meet.
const BUCKETS: usize = 256;

/// A counter's place on the board, the same on all shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket(usize);

impl Bucket {
    /// Of a destination. Names come from outside and the hash is no secret: who aims at a bucket gains questions in
    /// vain, which are asked at most once for each connection that is opened.
    pub fn of_site(transport: &str, nexthop: &str) -> Bucket {
        Bucket(hash((transport, nexthop)))
    }

    /// Of a server.
    pub fn of_endpoint(endpoint: &ServerEndpoint) -> Bucket {
        Bucket(BUCKETS + hash(endpoint))
    }
}

fn hash(names: impl std::hash::Hash) -> usize {
    foldhash::quality::FixedState::default().hash_one(names) as usize % BUCKETS
}

/// Idle connections of all shards, counted by bucket: each row is written by its shard, and read by one that would
/// otherwise open a connection.
pub struct IdleBoard(Vec<CachePadded<[AtomicU32; 2 * BUCKETS]>>);

impl IdleBoard {
    /// An empty board for `shards` shards.
    pub fn new(shards: usize) -> Arc<IdleBoard> {
        Arc::new(IdleBoard(
            (0..shards).map(|_| CachePadded::new([const { AtomicU32::new(0) }; 2 * BUCKETS])).collect(),
        ))
    }

    /// So many idle connections more or less on `shard`, which is the caller.
    pub fn change(&self, shard: usize, bucket: Bucket, change: i32) {
        let counter = &self.0[shard][bucket.0];
        // Relaxed, and no read-modify-write: only its own shard writes a row, and what others read is a hint.
        counter.store(counter.load(Ordering::Relaxed).wrapping_add_signed(change), Ordering::Relaxed);
    }

    /// The shards other than `here` that seem to have an idle connection, from the next one on; each is looked at when
    /// its turn comes.
    pub fn others(&self, here: usize, bucket: Bucket) -> impl Iterator<Item = usize> {
        let shards = self.0.len();
        let others = (1..shards).map(move |step| (here + step) % shards);
        others.filter(move |&shard| self.0[shard][bucket.0].load(Ordering::Relaxed) > 0)
    }
}
