//! Mail that the system itself writes: notices, reports of sessions.
//!
//! Its addresses are mapped as those of other mail, so that a notice to an alias reaches somebody; copies are not made
//! of it, and its content is not checked.

use std::rc::Rc;

use bytes::Bytes;
use ringpost_core::cleanup::{
    AskedRecipient, MappedEnvelope, MappingRules, Trouble, leaves_as_is, local_headers,
};
use ringpost_core::envelope::{BodyKind, Envelope, EnvelopeFields, Recipient};
use ringpost_core::queue_id::QueueId;
use ringpost_spool::{ChunkRef, Content, INLINE_CONTENT_BYTES_MAX, MessageId, NewMessage, StoreError};

use super::mapped::{Writer, mapper, stored_recipient};
use super::{Pieces, date_text};
use crate::message::ActiveMessage;
use crate::qmgr;
use crate::shard::Shard;

const RULES: MappingRules = MappingRules { by_tables: true, adds_copies: false };

/// A message of our own to one recipient.
pub struct LocalMail<'a> {
    /// The sender; empty for the null sender.
    pub sender: &'a str,
    /// The recipient.
    pub recipient: Recipient<'a>,
    /// Content in wire form, without trace header, date and message-id.
    pub content: Vec<Bytes>,
    /// What the content is.
    pub body: BodyKind,
    /// It needs SMTPUTF8.
    pub smtputf8: bool,
    /// It only asks whether the recipient exists; see [`crate::verify`].
    pub is_probe: bool,
}

/// Whether mapping makes several recipients of the one.
///
/// # Errors
/// A table could not be asked.
pub async fn expands_to_many(shard: &Rc<Shard>, mail: &LocalMail<'_>) -> Result<bool, StoreError> {
    let queue_id = QueueId::new(shard.handle.wall().as_micros(), 0);
    let mapped = map(shard, mail, queue_id).await?;
    Ok(mapped.is_some_and(|mapped| mapped.recipients.len() > 1))
}

/// Stores a message of our own and gives it to the queue manager.
pub async fn store_local(shard: &Rc<Shard>, mail: LocalMail<'_>) -> Result<QueueId, StoreError> {
    let id = shard.spool.new_id();
    let arrival_us = shard.handle.wall().as_micros();
    let queue_id = QueueId::new(arrival_us, id.bits());
    let settings = &shard.settings.own_mail;
    let headers = local_headers(settings, queue_id.as_str(), &date_text(shard, arrival_us));
    let mut pieces = Pieces::from_iter([Bytes::from(headers)]);
    pieces.extend(mail.content.iter().cloned());
    let mapped = map(shard, &mail, queue_id).await?;
    let fields = EnvelopeFields {
        sender: mapped.as_ref().map_or(mail.sender, |mapped| &mapped.sender),
        body: mail.body,
        smtputf8: mail.smtputf8,
        content_bytes: pieces.iter().map(|piece| piece.len() as u64).sum(),
        arrival_us,
        client_name: "localhost",
        client_address: "127.0.0.1",
        // Under this address its result is kept, whatever mapping makes of it.
        ident: if mail.is_probe { mail.recipient.address } else { "" },
        is_local: true,
        is_probe: mail.is_probe,
        ..EnvelopeFields::default()
    };
    let mut envelope_chunks = Vec::new();
    let envelope = match write(shard, id, &fields, mapped.as_ref(), &mail, &mut envelope_chunks).await {
        Ok(envelope) => envelope,
        Err(error) => {
            shard.spool.abandon_chunks(envelope_chunks);
            return Err(error);
        }
    };
    let in_pieces = !envelope_chunks.is_empty();
    let due_at_s = (arrival_us / 1_000_000) as u32;
    let record = |content| {
        let envelope = &envelope;
        NewMessage { id, arrival_us, due_at_s, held: false, envelope, envelope_chunks, content }
    };
    let inline = fields.content_bytes <= INLINE_CONTENT_BYTES_MAX as u64;
    if inline {
        let slices: Vec<&[u8]> = pieces.iter().map(|piece| &piece[..]).collect();
        shard.spool.store(record(Content::Inline(&slices))).await?;
    } else {
        // From here on the spool answers for the chunks, also when it fails.
        let chunks = store_in_chunks(shard, id, &pieces).await?;
        shard.spool.store(record(Content::Chunked { chunks, total: fields.content_bytes })).await?;
    }
    shard.log.write(|lines, out, now_s| {
        let message_id = format!("<{}@{}>", queue_id.as_str(), settings.myhostname);
        lines.message_id(out, now_s, shard.index as u64, queue_id.as_str(), message_id.as_bytes());
    });
    if inline && !in_pieces {
        let envelope = Envelope::decode(envelope.into()).expect("an envelope that was just written");
        qmgr::accepted(shard, ActiveMessage::fresh(id, queue_id, envelope, pieces));
    } else {
        qmgr::accepted_in_spool(shard, id);
    }
    Ok(queue_id)
}

async fn write(
    shard: &Shard,
    id: MessageId,
    fields: &EnvelopeFields<'_>,
    mapped: Option<&MappedEnvelope>,
    mail: &LocalMail<'_>,
    chunks: &mut Vec<ChunkRef>,
) -> Result<Vec<u8>, StoreError> {
    let mut writer = Writer::new(shard, id, fields, chunks);
    match mapped {
        None => writer.recipient(&mail.recipient).await?,
        Some(mapped) => {
            for recipient in &mapped.recipients {
                writer.recipient(&stored_recipient(recipient)).await?;
            }
        }
    }
    writer.finish().await
}

/// Sender and recipients, unless mapping leaves them as they are. A table that cannot be asked is trouble as with the disk:
/// whoever writes the mail tries again.
async fn map(
    shard: &Shard,
    mail: &LocalMail<'_>,
    queue_id: QueueId,
) -> Result<Option<MappedEnvelope>, StoreError> {
    let settings = &shard.settings.own_mapping;
    let resolve = &shard.settings.resolve;
    if leaves_as_is(settings, resolve, RULES, mail.sender, std::iter::once(mail.recipient.address)) {
        return Ok(None);
    }
    let mut notes = Vec::new();
    let mapped = Box::pin(async {
        let mut mapper = mapper(shard, settings, &mut notes);
        let Recipient { address, orcpt, notify, .. } = mail.recipient;
        let mut mapped = MappedEnvelope::begin(&mut mapper, RULES, mail.sender).await?;
        mapped.recipient(&mut mapper, AskedRecipient { address, original: "", orcpt, notify }).await?;
        Ok::<_, Trouble>(mapped)
    })
    .await;
    shard.log.notes("cleanup", shard.index as u32, queue_id.as_str(), &notes);
    let failed = |_| StoreError::Failed(std::io::Error::other("its addresses cannot be looked up now"));
    mapped.map(Some).map_err(failed)
}

/// Stores content that is too large for a message record (a notice about a thousand recipients).
async fn store_in_chunks(shard: &Shard, id: MessageId, pieces: &Pieces) -> Result<Vec<ChunkRef>, StoreError> {
    let mut chunks = Vec::new();
    for part in pieces.concat().chunks(INLINE_CONTENT_BYTES_MAX) {
        match shard.spool.store_chunk(id, &[part]).await {
            Ok(chunk) => chunks.push(chunk),
            Err(error) => {
                shard.spool.abandon_chunks(chunks);
                return Err(error);
            }
        }
    }
    Ok(chunks)
}
