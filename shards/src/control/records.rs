//! The records of one segment of a shard's log, for people: what `postcat FILE` shows here, where queue files hold
//! many messages.
//!
//! Receives: a segment file. Sends: a line for each record. Owns: the names of the messages that begin in the segment.
//! Limits: [`SEGMENT_BYTES_MAX`] in memory. On failure: damaged records are shown as such; what is no segment is told.
//! Standards: Postfix's postcat(1), as far as it means records.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use hashbrown::HashMap;
use ringpost_core::date::append_asctime;
use ringpost_core::envelope::Envelope;
use ringpost_core::queue_id::QueueId;
use ringpost_spool::MessageId;
use ringpost_spool::inspect::{FrameView, Kind, MESSAGE_HEAD_BYTES, frames};

use crate::zone::system_zone;

/// The largest segment that is listed; `ringpost_spool_segment_size` is 64 MiB unless an administrator wants more.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// Writes the records of the segment at `path`. False if it is none.
///
/// # Errors
/// It cannot be read, is too large, or `out` fails.
pub fn write_records(path: &Path, out: &mut impl Write) -> io::Result<bool> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() > SEGMENT_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the segment is too large to be listed"));
    }
    let mut bytes = Vec::new();
    Read::by_ref(&mut file).take(SEGMENT_BYTES_MAX).read_to_end(&mut bytes)?;
    let mut names: HashMap<u64, QueueId> = HashMap::new();
    let mut begun = false;
    for frame in frames(&bytes) {
        if !std::mem::replace(&mut begun, true) {
            writeln!(out, "*** SEGMENT RECORDS {} ***", path.display())?;
        }
        if frame.kind == Kind::Message
            && frame.whole
            && let Some(arrival_us) = number_at::<8>(frame.payload, 8).map(u64::from_le_bytes)
        {
            names.insert(frame.id, QueueId::new(arrival_us, frame.id));
        }
        write_record(&frame, names.get(&frame.id), out)?;
    }
    if begun {
        writeln!(out, "*** SEGMENT END {} ***", path.display())?;
    }
    Ok(begun)
}

fn write_record(frame: &FrameView<'_>, name: Option<&QueueId>, out: &mut impl Write) -> io::Result<()> {
    let kind = match frame.kind {
        Kind::Message => "message",
        Kind::Chunk => "chunk",
        Kind::Outcome => "outcome",
        Kind::Retry => "retry",
        Kind::Hold => "hold",
        Kind::Release => "release",
        Kind::Remove => "remove",
        Kind::Commit => "commit",
        Kind::Cut => "cut",
        Kind::Seal => "seal",
    };
    let (offset, bytes) = (frame.offset, frame.payload.len());
    write!(out, "{offset:10} {kind:7} ")?;
    match (frame.kind, name) {
        (Kind::Commit | Kind::Cut | Kind::Seal, _) => write!(out, "{:<17}", frame.id)?,
        (_, Some(name)) => write!(out, "{name:<17}")?,
        // It begins in another segment, which knows its name.
        (_, None) => {
            let id = MessageId::from_bits(frame.id);
            write!(out, "{:<17}", format!("{}/{}", id.shard(), id.sequence()))?;
        }
    }
    write!(out, " {bytes:8} bytes")?;
    if !frame.whole {
        return writeln!(out, ", damaged");
    }
    if frame.kind == Kind::Message
        && let Some(envelope) = envelope_of(frame.payload)
    {
        let seconds = (envelope.arrival_us() / 1_000_000) as i64;
        let mut time = Vec::new();
        append_asctime(&mut time, seconds, &system_zone(seconds));
        let (time, sender) = (String::from_utf8_lossy(&time), envelope.sender());
        write!(out, ", {time}, from <{sender}>, {} recipients", envelope.recipient_count())?;
    }
    writeln!(out)
}

fn envelope_of(payload: &[u8]) -> Option<Envelope> {
    let bytes = number_at::<4>(payload, 28).map(u32::from_le_bytes)? as usize;
    let envelope = payload.get(MESSAGE_HEAD_BYTES..)?.get(..bytes)?;
    Envelope::decode(envelope.to_vec().into()).ok()
}

fn number_at<const BYTES: usize>(payload: &[u8], at: usize) -> Option<[u8; BYTES]> {
    payload.get(at..)?.first_chunk().copied()
}
