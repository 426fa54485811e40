//! bounce: tells a sender what became of the mail: one notice for a message and attempt, itself a new message.
//!
//! Receives: the recipients that failed in an attempt.
//! Sends:    the notice to cleanup, which stores it like any message; the line `sender non-delivery notification`.
//! Owns:     nothing; the notice's text is `ringpost_core::dsn`'s.
//! Limits:   `bounce_size_limit`; content that lies in chunks is never returned whole.
//! On failure: the notice is not stored, and the caller keeps the recipients.
//! Standards: RFC 3464, RFC 3461 (NOTIFY, RET), RFC 5321 section 4.5.5 (the null reverse-path, no bounce of a bounce).

use std::rc::Rc;

use bytes::Bytes;
use ringpost_core::date;
use ringpost_core::dsn::{
    Notice, NoticeKind, NoticeOptions, Original, ReportedMail, ReportedRecipient, header_bytes,
};
use ringpost_core::envelope::{BodyKind, Recipient};
use ringpost_spool::{INLINE_CONTENT_BYTES_MAX, StoreError};

use crate::cleanup::{self, LocalMail};
use crate::message::{ActiveMessage, Content, FailedRecipient};
use crate::shard::Shard;

/// Sends the failure notice for these recipients. `Ok` when it is stored, and when none is due: for mail from the null
/// sender, and when the sender wanted none.
pub async fn notify_sender(
    shard: &Rc<Shard>,
    message: &ActiveMessage,
    failed: &[FailedRecipient],
) -> Result<(), StoreError> {
    let now_us = shard.handle.wall().as_micros();
    let Some(notice) = failure_notice(shard, message, failed, now_us) else { return Ok(()) };
    let original = original_part(shard, message, notice.original).await;
    let mut pieces = vec![Bytes::from(notice.head)];
    pieces.extend(original);
    pieces.push(Bytes::from(notice.tail));
    let mail = LocalMail {
        recipient: Recipient { address: &notice.recipient, ..Recipient::default() },
        content: pieces,
        body: if notice.eight_bit { BodyKind::EightBitMime } else { BodyKind::SevenBit },
        smtputf8: notice.smtputf8,
    };
    let notice_id = cleanup::store_local(shard, mail).await?;
    shard.counters.notices.one();
    shard.log.write(|lines, out, now_s| {
        lines.bounce_notification(
            out,
            now_s,
            shard.index as u64,
            message.queue_id.as_str(),
            notice_id.as_str(),
        );
    });
    Ok(())
}

fn failure_notice(
    shard: &Shard,
    message: &ActiveMessage,
    failed: &[FailedRecipient],
    now_us: u64,
) -> Option<Notice> {
    let settings = &shard.settings;
    let fields = message.envelope.fields();
    let limit = match message.content {
        Content::Memory(_) => settings.bounce_size_limit.min(INLINE_CONTENT_BYTES_MAX as u64 / 2),
        Content::Spool(_) => 0,
    };
    let options = NoticeOptions {
        my_hostname: &settings.myhostname,
        origin: &settings.myorigin,
        mail_name: &settings.mail_name,
        bounce_size_limit: limit,
    };
    let mut arrival_date = Vec::new();
    let arrival_s = (fields.arrival_us / 1_000_000) as i64;
    date::append_rfc5322(&mut arrival_date, arrival_s, &shard.log.zone());
    let mail = ReportedMail {
        queue_id: message.queue_id.as_str(),
        sender: fields.sender,
        envid: fields.envid,
        ret: fields.ret,
        arrival_date: &String::from_utf8_lossy(&arrival_date),
        retry_until: None,
        content_bytes: fields.content_bytes,
        smtputf8: fields.smtputf8,
        eight_bit: fields.body != BodyKind::SevenBit,
    };
    let envelope_recipients: Vec<Recipient<'_>> = message.envelope.recipients().collect();
    let recipients = failed.iter().filter_map(|failed| {
        let recipient = envelope_recipients.get(failed.recipient as usize)?;
        let reason = &failed.reason;
        Some(ReportedRecipient {
            address: recipient.address,
            original: recipient.original,
            orcpt: recipient.orcpt,
            notify: recipient.notify,
            status: reason.status,
            text: &reason.text,
            reply: (!reason.reply.is_empty()).then_some(reason.reply.as_str()),
            remote_mta: &reason.remote_mta,
            relayed: false,
        })
    });
    Notice::build(NoticeKind::Failure, &options, &mail, recipients, now_us)
}

/// The part of the original that is returned. Headers lie in the first chunk of a large message; when that cannot be
/// read now, the notice goes without them rather than not at all.
async fn original_part(shard: &Shard, message: &ActiveMessage, wanted: Original) -> Vec<Bytes> {
    let pieces: Vec<Bytes> = match &message.content {
        Content::Memory(pieces) => pieces.to_vec(),
        Content::Spool(chunks) => match chunks.first() {
            Some(first) => shard.spool.read_chunk(first).await.into_iter().collect(),
            None => Vec::new(),
        },
    };
    match wanted {
        Original::Full => pieces,
        Original::Headers => {
            let joined: Vec<u8> = pieces.concat();
            let headers = header_bytes(&joined).min(INLINE_CONTENT_BYTES_MAX / 2);
            vec![Bytes::from(joined).slice(..headers)]
        }
    }
}
