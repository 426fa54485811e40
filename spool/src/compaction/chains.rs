//! Moving what was said about messages: all notes of one are written again as one Retry.
//!
//! Receives: the chain records of a segment. Limits: a group of notes in memory. On failure: the notes stay where
//! they are.

use super::{CHANGES_MAX, GROUP_RECORDS_MAX, Moved, Stop};
use crate::{
    Disk, LoadError,
    frame::{FRAME_HEADER_BYTES, Kind},
    message::MessageId,
    record::CHAIN_HEAD_BYTES,
    segment::{Entry, Location},
    spool::Inner,
};
use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::HashSet;

/// The notes of one message.
struct Notes {
    /// The newest when they were read.
    newest: Location,
    texts: Vec<Bytes>,
}

impl Notes {
    fn payload_bytes(&self) -> usize {
        CHAIN_HEAD_BYTES + self.texts.iter().map(|text| text.len() + 4).sum::<usize>()
    }
}

impl<D: Disk> Inner<D> {
    /// Moves the notes of messages, read and appended in groups as messages are.
    pub(super) async fn move_chains(
        &self,
        number: u32,
        chains: &[Entry],
        kept: &mut Vec<u64>,
    ) -> Result<(), Stop> {
        let group_bytes_max = self.state.borrow().payload_bytes_max();
        let mut seen: HashSet<u64, FixedState> = HashSet::default();
        let mut ids = chains.iter().map(|entry| entry.id).filter(|&id| seen.insert(id)).peekable();
        while ids.peek().is_some() {
            if self.state.borrow().closing {
                return Err(Stop::Later);
            }
            let started_ns = self.disk.now_ns();
            let mut group = Vec::new();
            let mut bytes = 0;
            while bytes < group_bytes_max / 2
                && group.len() < GROUP_RECORDS_MAX
                && let Some(id) = ids.next()
            {
                match self.notes_to_move(MessageId::from_bits(id), number).await? {
                    Ok(notes) => {
                        bytes += notes.payload_bytes();
                        group.push((id, notes));
                    }
                    Err(moved) => {
                        self.count_moved(moved, id, kept);
                    }
                }
            }
            for (id, notes) in group {
                let moved = self.move_chain(MessageId::from_bits(id), number, notes).await?;
                self.count_moved(moved, id, kept);
            }
            self.pace(started_ns).await;
        }
        Ok(())
    }

    /// Reads a message's notes if any of them lies in the segment, or says why they are not moved.
    async fn notes_to_move(&self, id: MessageId, number: u32) -> Result<Result<Notes, Moved>, Stop> {
        for _ in 0..CHANGES_MAX {
            let newest = {
                let state = self.state.borrow();
                let Some(known) = state.index.find(id) else { return Ok(Err(Moved::Nothing)) };
                if !state.chain_touches(id, number) {
                    return Ok(Err(Moved::Nothing));
                }
                if known.corrupt() {
                    return Ok(Err(Moved::Stays));
                }
                known.note
            };
            if !self.settled(newest).await? {
                continue;
            }
            let texts = match self.read_chain(id, newest).await {
                Ok(Some(texts)) => texts,
                Ok(None) => continue,
                Err(LoadError::Corrupt(_)) => return Ok(Err(Moved::Stays)),
                Err(LoadError::Unknown(_)) => return Ok(Err(Moved::Nothing)),
                Err(LoadError::Failed(_)) => return Ok(Err(Moved::Stays)),
            };
            let notes = Notes { newest, texts };
            if notes.payload_bytes() > self.state.borrow().payload_bytes_max() {
                // Together they are too long for one record.
                return Ok(Err(Moved::Stays));
            }
            return Ok(Ok(notes));
        }
        Err(Stop::Later)
    }

    /// Writes a message's notes again as one Retry; reads them again if others were added meanwhile.
    async fn move_chain(&self, id: MessageId, number: u32, mut notes: Notes) -> Result<Moved, Stop> {
        for _ in 0..CHANGES_MAX {
            let payload = notes.payload_bytes();
            self.wait_for_place(payload).await?;
            {
                let mut state = self.copier();
                match state.index.find(id) {
                    None => return Ok(Moved::Nothing),
                    Some(known) if known.note != notes.newest => {}
                    Some(_) => {
                        state.append_chain(Kind::Retry, id, &notes.texts);
                        return Ok(Moved::Bytes((FRAME_HEADER_BYTES + payload) as u64));
                    }
                }
            }
            notes = match self.notes_to_move(id, number).await? {
                Ok(notes) => notes,
                Err(moved) => return Ok(moved),
            };
        }
        Err(Stop::Later)
    }
}
