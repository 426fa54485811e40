//! The check of a queue whose engine does not run: everything that is queued is read, and nothing is changed.
//!
//! Receives: nothing but the files. Sends: a line for each piece of damage. Owns: a view of one shard's log at a time.
//! Limits: the spool's index (41 bytes for each queued message of a shard), one message, one chunk of it. On failure:
//! a file that cannot be read ends the check with the system's words.
//! Standards: Postfix's postsuper(1), `-s`; what it would mend, the log's recovery mends at every start.

use ringpost_spool::disk::ViewDisk;
use ringpost_spool::{LoadError, MessageId, SHARDS_MAX, Spool, SpoolEvent};

use super::client::ControlError;
use super::view::{QueueView, is_held, now};
use crate::message::{ActiveMessage, Content};

/// What a check has found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Soundness {
    /// Messages that are queued and were read whole.
    pub sound: u64,
    /// Messages, and areas of the log, that are damaged: they stay on the disk and out of the queue.
    pub damaged: u64,
}

impl QueueView {
    /// Reads everything, and calls `tell` with what is wrong.
    ///
    /// # Errors
    /// The files cannot be read, or an engine has been started meanwhile.
    pub fn check(&self, mut tell: impl FnMut(&str)) -> Result<Soundness, ControlError> {
        let mut found = Soundness::default();
        for shard in 0..SHARDS_MAX {
            if let Some(spool) = self.spool(shard)? {
                check_log(&spool, &mut found, &mut |text| tell(&format!("shard {shard}: {text}")))?;
            }
        }
        if is_held(&self.queue_directory)? {
            return Err(ControlError::InUse(
                "it has been started meanwhile: the check tells nothing".to_owned(),
            ));
        }
        Ok(found)
    }
}

fn check_log(
    spool: &Spool<ViewDisk>,
    found: &mut Soundness,
    tell: &mut impl FnMut(&str),
) -> Result<(), ControlError> {
    for queued in spool.queued() {
        let id = queued.id;
        match check_message(spool, id)? {
            Ok(true) => found.sound += 1,
            Ok(false) => {
                found.damaged += 1;
                tell(&format!("message {id} is whole, but not one that this program writes"));
            }
            // The spool knows of it, and tells below.
            Err(LoadError::Corrupt(_) | LoadError::Unknown(_)) => {}
            Err(LoadError::Failed(error)) => {
                return Err(ControlError::Queue(format!("message {id}: {error}")));
            }
        }
    }
    for corrupt in spool.corrupt() {
        found.damaged += 1;
        tell(&SpoolEvent::Corrupt(corrupt).to_string());
    }
    Ok(())
}

/// Reads a message with all that belongs to it. False if it says nothing to this program.
fn check_message(spool: &Spool<ViewDisk>, id: MessageId) -> Result<Result<bool, LoadError>, ControlError> {
    let loaded = match now(spool.load(id))? {
        Ok(loaded) => loaded,
        Err(error) => return Ok(Err(error)),
    };
    let Ok(message) = ActiveMessage::loaded(id, loaded) else { return Ok(Ok(false)) };
    if let Content::Spool(chunks) = &message.content {
        for chunk in chunks {
            if let Err(error) = now(spool.read_chunk(chunk))? {
                return Ok(Err(error));
            }
        }
    }
    let stored = message.stored_envelope();
    for number in 0..stored.part_count() {
        match now(stored.part(spool, number))? {
            Ok(_) => {}
            // Its checksum is good: the spool sees nothing wrong.
            Err(LoadError::Corrupt(_)) if spool.find(id).is_some() => return Ok(Ok(false)),
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(true))
}
