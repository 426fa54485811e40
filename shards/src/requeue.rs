//! requeue: takes what remains of a queued message in again, as a new one (`postsuper -r`).
//!
//! As in Postfix its addresses are mapped by the tables as they are now, copies are added that are not among what remains,
//! and `content_filter` is that of new local mail. Its content is not checked or rewritten again.
//!
//! Receives: a message as it was read from the spool; what new local mail goes through ([`Intake`]).
//! Sends:    lookups; the copy to the spool, under a new identity, of the age of the old one; the line `uid=… orig_id=…`
//!           as Postfix's pickup writes it, and what cleanup says.
//! Owns:     nothing. The old message stays until the caller removes it, when the copy is durable: after a crash
//!           between the two there are both.
//! Limits:   those of the spool; one chunk of a large message is in memory at a time. So is one piece of its envelope,
//!           unless tables map its recipients: then they are all in memory, as they were when it came first.
//! On failure: what was stored of the copy is given up, and the reason told.
//! Standards: Postfix's postsuper(1), pickup(8); RFC 5321 section 4.4 (trace).

use bytes::Bytes;
use ringpost_core::cleanup::{
    AskedRecipient, CleanupNote, CleanupSettings, MappedEnvelope, MappedRecipient, Mapper, MappingRules,
    MappingSettings, Trouble, leaves_as_is,
};
use ringpost_core::date::{Zone, append_rfc5322};
use ringpost_core::envelope::{EnvelopeFields, EnvelopeWriter, Recipient, WrittenEnvelope};
use ringpost_core::logline::Severity;
use ringpost_core::lookup::Tables;
use ringpost_core::message_actions::MessageActions;
use ringpost_core::queue_id::QueueId;
use ringpost_core::resolve::ResolveSettings;
use ringpost_reactor::process;
use ringpost_spool::{ChunkRef, Content, Disk, INLINE_CONTENT_BYTES_MAX, MessageId, NewMessage, Spool};
use smallvec::SmallVec;

use crate::cleanup::stored_recipient;
use crate::log::Log;
use crate::message::{self, ActiveMessage};

/// All mapping, and copies, as Postfix's pickup asks for.
const RULES: MappingRules = MappingRules { by_tables: true, adds_copies: true };

/// What new local mail goes through.
#[derive(Debug)]
pub struct Intake<'a, T> {
    /// For the trace header.
    pub own_mail: &'a CleanupSettings,
    /// What addresses become.
    pub mapping: &'a MappingSettings,
    /// How addresses are completed.
    pub resolve: &'a ResolveSettings,
    /// The tables.
    pub tables: &'a T,
    /// `content_filter`; empty for none.
    pub content_filter: &'a str,
    /// When it comes in, microseconds since 1970.
    pub now_us: u64,
    /// The zone of dates in headers.
    pub zone: &'a Zone,
}

/// A message that has been taken in again.
pub struct Requeued {
    /// The new one.
    pub id: MessageId,
    /// Its printed name.
    pub queue_id: QueueId,
    /// Recipients whose place others have taken, of which the sender wants to hear.
    pub expanded: Vec<MappedRecipient>,
    /// What the log says of it.
    text: String,
    /// What cleanup says of it.
    notes: Vec<CleanupNote>,
}

impl Requeued {
    /// Logs where it comes from; `number` stands where Postfix's log has a process id.
    pub fn log(&self, log: &Log, number: u64) {
        log.write(|lines, out, now_s| {
            lines.about(out, now_s, "pickup", number, self.queue_id.as_str(), self.text.as_bytes());
        });
        for note in &self.notes {
            let severity = if note.is_warning { Severity::Warning } else { Severity::Info };
            let text = format!("{}: {}", self.queue_id.as_str(), note.text);
            log.write(|lines, out, now_s| {
                lines.message(out, now_s, "cleanup", number, severity, text.as_bytes());
            });
        }
    }
}

/// Stores what remains of a queued message as a new one, with a trace header more.
///
/// # Errors
/// The reason why that cannot be done now.
pub async fn store_again<D: Disk, T: Tables>(
    spool: &Spool<D>,
    message: &ActiveMessage,
    intake: &Intake<'_, T>,
) -> Result<Requeued, String> {
    let Intake { own_mail, now_us, zone, .. } = *intake;
    let id = spool.new_id();
    // The age of the message goes on: what is taken in again is not tried for longer.
    let arrival_us = message.envelope.arrival_us();
    let queue_id = QueueId::new(arrival_us, id.bits());
    let uid = process::effective_uid();
    let mut date = Vec::with_capacity(40);
    append_rfc5322(&mut date, (now_us / 1_000_000) as i64, zone);
    let trace = Bytes::from(format!(
        "Received: by {} ({}, from userid {uid})\r\n\tid {}; {}\r\n",
        own_mail.myhostname,
        own_mail.mail_name,
        queue_id.as_str(),
        String::from_utf8_lossy(&date)
    ));
    let mut fields = message.envelope.fields();
    fields.content_bytes += trace.len() as u64;
    fields.filter = intake.content_filter;
    if message.progress.borrow().remaining_count() == 0 {
        return Err("no recipient of it remains".to_owned());
    }
    let mut notes = Vec::new();
    let mapped = map_remaining(spool, message, intake, &mut notes).await?;
    if let Some(mapped) = &mapped {
        fields.sender = &mapped.sender;
    }
    let mut envelope_copy = Copy { spool, id, chunks: Vec::new() };
    let envelope = copy_remaining(&mut envelope_copy, message, mapped.as_ref(), &fields).await?;
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
    let due_at_s = (now_us / 1_000_000) as u32;
    // From here on the spool answers for the envelope's chunks, too.
    let (envelope, envelope_chunks) = (&envelope[..], envelope_copy.whole());
    let record = NewMessage { id, arrival_us, due_at_s, held: false, envelope, envelope_chunks, content };
    spool.store(record).await.map_err(|error| error.to_string())?;
    let text = format!("uid={uid} from=<{}> orig_id={}", fields.sender, message.queue_id.as_str());
    let expanded = mapped.map(|mapped| mapped.expanded).unwrap_or_default();
    Ok(Requeued { id, queue_id, expanded, text, notes })
}

/// Sender and remaining recipients as the tables have them now; `None` where nothing is mapped.
async fn map_remaining<D: Disk, T: Tables>(
    spool: &Spool<D>,
    message: &ActiveMessage,
    intake: &Intake<'_, T>,
    notes: &mut Vec<CleanupNote>,
) -> Result<Option<MappedEnvelope>, String> {
    let Intake { mapping, resolve, tables, .. } = *intake;
    let sender = message.envelope.sender();
    // What is stored is in standard form.
    if leaves_as_is(mapping, resolve, RULES, sender, std::iter::empty()) {
        return Ok(None);
    }
    let stored = message.stored_envelope();
    let mut parts = Vec::new();
    for number in 0..stored.part_count() {
        parts.push(stored.part(spool, number).await.map_err(|error| error.to_string())?);
    }
    let mut mapper = Mapper { settings: mapping, resolve, tables, notes };
    let mapping = async {
        let mut mapped = MappedEnvelope::begin(&mut mapper, RULES, sender).await?;
        for (index, recipient) in parts.iter().flat_map(|part| part.recipients()) {
            if message.progress.borrow().is_done(index) {
                continue;
            }
            let Recipient { address, original, orcpt, notify } = recipient;
            mapped.recipient(&mut mapper, AskedRecipient { address, original, orcpt, notify }).await?;
        }
        mapped.finish(&mut mapper, &MessageActions::default()).await?;
        Ok::<_, Trouble>(mapped)
    };
    let mapped = mapping.await;
    mapped.map(Some).map_err(|_| {
        let warnings: Vec<&str> =
            notes.iter().filter(|note| note.is_warning).map(|note| note.text.as_str()).collect();
        format!("its addresses cannot be mapped: {}", warnings.join("; "))
    })
}

/// An envelope with the recipients that remain, as they are or `mapped`; the first part of it, if it is in pieces, which
/// are in `copy` then.
async fn copy_remaining<D: Disk>(
    copy: &mut Copy<'_, D>,
    message: &ActiveMessage,
    mapped: Option<&MappedEnvelope>,
    fields: &EnvelopeFields<'_>,
) -> Result<Vec<u8>, String> {
    let mut writer = EnvelopeWriter::new(Vec::with_capacity(message.envelope.raw().len()), fields);
    if let Some(mapped) = mapped {
        for recipient in &mapped.recipients {
            if let Some(piece) = writer.recipient(&stored_recipient(recipient)) {
                copy.add(&piece).await?;
            }
        }
        return finish(copy, writer).await;
    }
    let stored = message.stored_envelope();
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
    finish(copy, writer).await
}

async fn finish<D: Disk>(copy: &mut Copy<'_, D>, writer: EnvelopeWriter) -> Result<Vec<u8>, String> {
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
