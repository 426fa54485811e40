//! The spool's doors. (The face; the rooms behind it follow.)
#![allow(clippy::unimplemented)]

use crate::*;
use bytes::Bytes;
use std::{marker::PhantomData, rc::Rc};

/// One shard's queue store; a cheap clone of the same store. `!Send`.
pub struct Spool<D: Disk> {
    inner: Rc<PhantomData<D>>,
}

impl<D: Disk> Clone for Spool<D> {
    fn clone(&self) -> Self {
        Self { inner: Rc::clone(&self.inner) }
    }
}

#[allow(unused_variables)]
impl<D: Disk> Spool<D> {
    /// Recovers the store in the disk's directory, or makes a new one.
    pub async fn open(disk: D, options: SpoolOptions) -> Result<Self, OpenError> {
        unimplemented!()
    }

    /// The commit and upkeep loop; spawn it once. Ends after [`Spool::close`].
    pub async fn run(&self) {
        unimplemented!()
    }

    /// A fresh identity.
    pub fn new_id(&self) -> MessageId {
        unimplemented!()
    }

    /// Stores a message. Resolves with `Ok` after the fdatasync that covers it: **then, and not before, 250 may be
    /// said**. Dropping the future before it resolves withdraws the message.
    pub async fn store(&self, message: NewMessage<'_>) -> Result<(), StoreError> {
        unimplemented!()
    }

    /// Stores a piece of a large message that is still arriving; at most [`CHUNK_BYTES_MAX`] bytes together.
    pub async fn store_chunk(&self, id: MessageId, pieces: &[&[u8]]) -> Result<ChunkRef, StoreError> {
        unimplemented!()
    }

    /// Forgets chunks that will not become a message.
    pub fn abandon_chunks(&self, chunks: Vec<ChunkRef>) {
        unimplemented!()
    }

    /// Records what became of a recipient. Not waited for: it rides on the next commit.
    pub fn outcome(&self, id: MessageId, note: &[u8]) {
        unimplemented!()
    }

    /// Records that an attempt is over and when the next is due. `note` replaces all earlier notes.
    pub fn retry(&self, id: MessageId, due_at_s: u32, note: &[u8]) {
        unimplemented!()
    }

    /// Puts on hold.
    pub fn hold(&self, id: MessageId) {
        unimplemented!()
    }

    /// Takes off hold.
    pub fn release(&self, id: MessageId) {
        unimplemented!()
    }

    /// Ends a message: all its recipients are done (or an operator said so). Also ends a quarantined one.
    pub fn remove(&self, id: MessageId) {
        unimplemented!()
    }

    /// Resolves when everything said so far is durable.
    pub async fn barrier(&self) -> Result<(), StoreError> {
        unimplemented!()
    }

    /// Reads a message back.
    pub async fn load(&self, id: MessageId) -> Result<Loaded, LoadError> {
        unimplemented!()
    }

    /// Reads a piece of a large message.
    pub async fn read_chunk(&self, chunk: &ChunkRef) -> Result<Bytes, LoadError> {
        unimplemented!()
    }

    /// Everything queued, in no order. For the queue manager after opening; takes memory in proportion.
    pub fn queued(&self) -> std::vec::IntoIter<Queued> {
        unimplemented!()
    }

    /// Whether a message of that many bytes would be taken now. `false`: answer `452 4.3.1` at MAIL.
    pub fn room_for(&self, bytes: u64) -> bool {
        unimplemented!()
    }

    /// Whether deliveries may start: `false` while the disk is in trouble and records pile up in memory.
    pub fn ready_for_notes(&self) -> bool {
        unimplemented!()
    }

    /// Counters.
    pub fn figures(&self) -> SpoolFigures {
        unimplemented!()
    }

    /// Messages and areas that failed their checksums and are kept out of the queue.
    pub fn corrupt(&self) -> Vec<Corrupt> {
        unimplemented!()
    }

    /// What happened since the last call, for the log. Bounded: the oldest are dropped beyond 1,024.
    pub fn take_events(&self) -> Vec<SpoolEvent> {
        unimplemented!()
    }

    /// Commits what is pending, seals the segment and ends [`Spool::run`].
    pub async fn close(&self) -> Result<(), StoreError> {
        unimplemented!()
    }
}
