//! Moving the chunks of large messages, and then the Message record that names them.
//!
//! Receives: a message with chunks in the segment that is drained. Limits: one chunk in memory. On failure: the copies
//! are abandoned and the message stays where it is.

use super::{Moved, Stop};
use crate::{
    ChunkRef, Disk,
    append::blank_entry,
    frame::Kind,
    message::MessageId,
    record::MessageHead,
    segment::Location,
    spool::{Inner, Waiter},
};
use std::rc::Rc;

impl<D: Disk> Inner<D> {
    /// Moves all of a message's chunks that lie in the segment, and then its Message record, which names them.
    pub(super) async fn move_chunks(&self, id: MessageId, number: u32) -> Result<Moved, Stop> {
        let (from, length) = {
            let state = self.state.borrow();
            let Some(known) = state.index.find(id) else { return Ok(Moved::Nothing) };
            let here = state
                .index
                .sprawls
                .get(&id)
                .is_some_and(|sprawl| sprawl.chunks.iter().any(|extent| extent.segment == number));
            if !here {
                return Ok(Moved::Nothing);
            }
            if known.corrupt() {
                return Ok(Moved::Stays);
            }
            (known.message, known.length())
        };
        if !self.settled(from).await? {
            return Err(Stop::Later);
        }
        let Some(frame) = self.read_for_move(id, from, Some(length)).await? else { return Ok(Moved::Stays) };
        let chunks = MessageHead::read(frame.payload()).and_then(|head| head.chunks(id, frame.payload()));
        let Some(mut chunks) = chunks else {
            return Err(Stop::Later);
        };
        let mut bytes = 0;
        let mut copies: Vec<ChunkRef> = Vec::new();
        for chunk in chunks.iter_mut().filter(|chunk| chunk.location.segment == number) {
            match self.copy_chunk(chunk).await {
                Ok(Some(copy)) => {
                    bytes += crate::account::chunk_frame_bytes(&copy);
                    chunk.location = copy.location;
                    copies.push(copy);
                }
                Ok(None) => {
                    self.copier().abandon(&copies);
                    return Ok(Moved::Stays);
                }
                Err(stop) => {
                    self.copier().abandon(&copies);
                    return Err(stop);
                }
            }
        }
        // The copies must be durable before a record names them.
        if self.barrier(Waiter::Upkeep).await.is_err() {
            self.copier().abandon(&copies);
            return Err(Stop::Later);
        }
        let moved = match self.copy_message(id, from, &frame, Some(&chunks)).await {
            Ok(Moved::Bytes(more)) => more,
            Ok(other) => {
                self.copier().abandon(&copies);
                return Ok(other);
            }
            Err(stop) => {
                self.copier().abandon(&copies);
                return Err(stop);
            }
        };
        self.hand_over(id, from, &chunks, copies).await?;
        Ok(Moved::Bytes(bytes + moved))
    }

    /// The new Message record is in the open commit. Once it is durable the old chunks are dead; if it fails, the
    /// new ones are. Which of the two it was, the index says: another commit's failure proves nothing.
    async fn hand_over(
        &self,
        id: MessageId,
        from: Location,
        chunks: &[ChunkRef],
        copies: Vec<ChunkRef>,
    ) -> Result<(), Stop> {
        loop {
            let (progress, seen) = {
                let mut state = self.copier();
                match state.index.find(id).map(|known| known.message) {
                    None => {
                        state.abandon(&copies);
                        return Ok(());
                    }
                    Some(message) if message == from => {
                        state.abandon(&copies);
                        return Err(Stop::Later);
                    }
                    Some(message) if state.is_settled(message) == Some(true) => break,
                    Some(_) if state.commits_ended => return Err(Stop::Later),
                    Some(_) => {}
                }
                (Rc::clone(&state.progress), state.progress.seen())
            };
            progress.after(seen).await;
        }
        let mut state = self.copier();
        let Some(sprawl) = state.index.sprawls.get_mut(&id) else {
            state.abandon(&copies);
            return Ok(());
        };
        for extent in std::mem::take(&mut sprawl.chunks) {
            state.live_sub(extent.segment, extent.bytes);
        }
        // The chunks that stayed are counted again; the copies were counted when they were written.
        for chunk in chunks {
            if copies.iter().all(|copy| copy.location != chunk.location) {
                state.live_add(chunk.location.segment, crate::account::chunk_frame_bytes(chunk));
            }
        }
        for copy in &copies {
            if let Some(segment) = state.segments.get_mut(&copy.location.segment) {
                segment.unattached = segment.unattached.saturating_sub(1);
            }
        }
        state.set_chunk_extents(id, chunks.iter());
        Ok(())
    }

    /// Copies one chunk to the head. `None` if it is damaged.
    async fn copy_chunk(&self, chunk: &ChunkRef) -> Result<Option<ChunkRef>, Stop> {
        let Some(frame) = self.read_for_move(chunk.id, chunk.location, Some(chunk.bytes)).await? else {
            return Ok(None);
        };
        self.wait_for_place(frame.payload().len()).await?;
        let mut state = self.copier();
        let mut entry = blank_entry(Kind::Chunk, chunk.id.bits());
        let (location, _) = state.append(&mut entry, |out| out.extend_from_slice(frame.payload()));
        if let Some(segment) = state.segments.get_mut(&location.segment) {
            segment.unattached += 1;
        }
        state.live_add(location.segment, entry.frame_bytes());
        Ok(Some(ChunkRef { location, ..chunk.clone() }))
    }
}
