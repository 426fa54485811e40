//! requeue: takes what remains of a queued message in again, as a new one (`postsuper -r`).
//!
//! Receives: a message as it was read from the spool; the names and the time for its trace header.
//! Sends:    the copy to the spool, under a new identity; the line `uid=… orig_id=…` as Postfix's pickup writes it.
//! Owns:     nothing. The old message stays until the caller removes it, when the copy is durable: after a crash
//!           between the two there are both.
//! Limits:   those of the spool; one chunk of a large message, or piece of its envelope, is in memory at a time.
//! On failure: what was stored of the copy is given up, and the reason told.
//! Standards: Postfix's postsuper(1), pickup(8); RFC 5321 section 4.4 (trace).

use bytes::Bytes;
use ringpost_core::cleanup::CleanupSettings;
use ringpost_core::date::{Zone, append_rfc5322};
use ringpost_core::envelope::{EnvelopeFields, EnvelopeWriter, WrittenEnvelope};
use ringpost_core::queue_id::QueueId;
use ringpost_reactor::process;
use ringpost_spool::{ChunkRef, Content, Disk, INLINE_CONTENT_BYTES_MAX, MessageId, NewMessage, Spool};
use smallvec::SmallVec;

use crate::log::Log;
use crate::message::{self, ActiveMessage};

/// A message that has been taken in again.
pub struct Requeued {
    /// The new one.
    pub id: MessageId,
    /// Its printed name.
    pub queue_id: QueueId,
    /// What the log says of it.
    text: String,
}

impl Requeued {
    /// Logs where it comes from; `number` stands where Postfix's log has a process id.
    pub fn log(&self, log: &Log, number: u64) {
        log.write(|lines, out, now_s| {
            lines.about(out, now_s, "pickup", number, self.queue_id.as_str(), self.text.as_bytes());
        });
    }
}

/// Stores what remains of a queued message as a new one that arrived at `arrival_us` (µs after 1970), with a trace
/// header more.
///
/// # Errors
/// The reason why that cannot be done now.
pub async fn store_again<D: Disk>(
    spool: &Spool<D>,
    message: &ActiveMessage,
    own_mail: &CleanupSettings,
    arrival_us: u64,
    zone: &Zone,
) -> Result<Requeued, String> {
    let id = spool.new_id();
    let queue_id = QueueId::new(arrival_us, id.bits());
    let uid = process::effective_uid();
    let mut date = Vec::with_capacity(40);
    append_rfc5322(&mut date, (arrival_us / 1_000_000) as i64, zone);
    let trace = Bytes::from(format!(
        "Received: by {} ({}, from userid {uid})\r\n\tid {}; {}\r\n",
        own_mail.myhostname,
        own_mail.mail_name,
        queue_id.as_str(),
        String::from_utf8_lossy(&date)
    ));
    let mut fields = message.envelope.fields();
    fields.arrival_us = arrival_us;
    fields.content_bytes += trace.len() as u64;
    if message.progress.borrow().remaining_count() == 0 {
        return Err("no recipient of it remains".to_owned());
    }
    let mut envelope_copy = Copy { spool, id, chunks: Vec::new() };
    let envelope = copy_remaining(&mut envelope_copy, message, &fields).await?;
    let pieces: SmallVec<[&[u8]; 4]> = match &message.content {
        message::Content::Memory(pieces) => {
            std::iter::once(&trace[..]).chain(pieces.iter().map(|piece| &piece[..])).collect()
        }
        message::Content::Spool(_) => SmallVec::new(),
    };
    let content = match &message.content {
        message::Content::Memory(_)
            if pieces.iter().map(|piece| piece.len()).sum::<usize>() <= INLINE_CONTENT_BYTES_MAX =>
        {
            Content::Inline(&pieces)
        }
        // From the message record on the spool answers for the chunks, also when it fails.
        message::Content::Memory(_) => chunked(store_in_chunks(spool, id, &pieces.concat()).await?),
        message::Content::Spool(old) => chunked(copy_chunks(spool, id, &trace, old).await?),
    };
    let due_at_s = (arrival_us / 1_000_000) as u32;
    // From here on the spool answers for the envelope's chunks, too.
    let (envelope, envelope_chunks) = (&envelope[..], envelope_copy.whole());
    let record = NewMessage { id, arrival_us, due_at_s, held: false, envelope, envelope_chunks, content };
    spool.store(record).await.map_err(|error| error.to_string())?;
    let text = format!("uid={uid} from=<{}> orig_id={}", fields.sender, message.queue_id.as_str());
    Ok(Requeued { id, queue_id, text })
}

/// An envelope with the recipients that remain; the first part of it, if it is in pieces, which are in `copy` then.
async fn copy_remaining<D: Disk>(
    copy: &mut Copy<'_, D>,
    message: &ActiveMessage,
    fields: &EnvelopeFields<'_>,
) -> Result<Vec<u8>, String> {
    let stored = message.stored_envelope();
    let mut writer = EnvelopeWriter::new(Vec::with_capacity(message.envelope.raw().len()), fields);
    for number in 0..stored.part_count() {
        let part = stored.part(copy.spool, number).await.map_err(|error| error.to_string())?;
        for (index, recipient) in part.recipients() {
            if message.progress.borrow().is_done(index) {
                continue;
            }
            if let Some(piece) = writer.recipient(&recipient) {
                copy.add(&piece).await?;
            }
        }
    }
    let WrittenEnvelope { head, last_piece } = writer.finish();
    if let Some(piece) = last_piece {
        copy.add(&piece).await?;
    }
    Ok(head)
}

fn chunked(chunks: Vec<ChunkRef>) -> Content<'static> {
    let total = chunks.iter().map(|chunk| u64::from(chunk.bytes())).sum();
    Content::Chunked { chunks, total }
}

/// Stores content that has become too large for a message record.
async fn store_in_chunks<D: Disk>(
    spool: &Spool<D>,
    id: MessageId,
    content: &[u8],
) -> Result<Vec<ChunkRef>, String> {
    let mut copy = Copy { spool, id, chunks: Vec::new() };
    for part in content.chunks(INLINE_CONTENT_BYTES_MAX) {
        copy.add(part).await?;
    }
    Ok(copy.whole())
}

/// Copies a large message's chunks, `trace` before the first.
async fn copy_chunks<D: Disk>(
    spool: &Spool<D>,
    id: MessageId,
    trace: &[u8],
    old: &[ChunkRef],
) -> Result<Vec<ChunkRef>, String> {
    let mut copy = Copy { spool, id, chunks: Vec::new() };
    copy.add(trace).await?;
    for chunk in old {
        let bytes = spool.read_chunk(chunk).await.map_err(|error| error.to_string())?;
        copy.add(&bytes).await?;
    }
    Ok(copy.whole())
}

/// Chunks that go to waste unless the copy becomes whole.
struct Copy<'a, D: Disk> {
    spool: &'a Spool<D>,
    id: MessageId,
    chunks: Vec<ChunkRef>,
}

impl<D: Disk> Copy<'_, D> {
    async fn add(&mut self, bytes: &[u8]) -> Result<(), String> {
        let chunk = self.spool.store_chunk(self.id, &[bytes]).await.map_err(|error| error.to_string())?;
        self.chunks.push(chunk);
        Ok(())
    }

    fn whole(mut self) -> Vec<ChunkRef> {
        std::mem::take(&mut self.chunks)
    }
}

impl<D: Disk> Drop for Copy<'_, D> {
    fn drop(&mut self) {
        if !self.chunks.is_empty() {
            self.spool.abandon_chunks(std::mem::take(&mut self.chunks));
        }
    }
}
