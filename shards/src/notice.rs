//! notice: what bounce, defer and trace have in common: from a message and what became of its recipients to a stored
//! notice.
//!
//! Receives: a message, its recipients' reports. Sends: the notice to cleanup, which stores it like any message; the
//! line `… notification: QID`. Owns: nothing; the notice's text is `ringpost_core::dsn`'s.
//! Limits: `bounce_size_limit`, and 4 MiB whatever that says; [`RECIPIENTS_MAX`] in one notice.
//! On failure: the notice is not stored, and the caller keeps the reports.
//! Standards: RFC 3464, RFC 3461 (NOTIFY, RET), RFC 5321 section 4.5.5 (the null reverse-path, no bounce of a bounce).

use std::io;
use std::rc::Rc;

use bytes::Bytes;
use ringpost_core::date;
use ringpost_core::dsn::{
    Action, Audience, Notice, NoticeKind, NoticeOptions, Original, ReportedMail, ReportedRecipient,
    header_bytes,
};
use ringpost_core::envelope::{BodyKind, Reason, Recipient};
use ringpost_spool::{INLINE_CONTENT_BYTES_MAX, StoreError};

use crate::cleanup::{self, LocalMail};
use crate::message::{ActiveMessage, Content};
use crate::recipients::Chosen;
use crate::shard::Shard;

/// Bytes of a message that a notice returns at most: it is put together in memory.
const RETURNED_BYTES_MAX: u64 = 4 << 20;

/// Recipients in one notice. Some hundred bytes each make a message of a few megabytes; more of them make several
/// notices.
pub const RECIPIENTS_MAX: usize = 10_000;

/// The recipients that a notice is about, from wherever they are.
///
/// # Errors
/// They cannot be read now, so that there can be no notice yet.
pub async fn recipients<'m>(
    shard: &Shard,
    message: &'m ActiveMessage,
    indexes: impl FnOnce() -> Vec<u32>,
) -> Result<Chosen<'m>, StoreError> {
    message.read(&shard.spool, indexes).await.map_err(|error| StoreError::Failed(io::Error::other(error)))
}

/// The notice about these recipients; None when there is nothing that its audience is to hear.
pub fn build<'r>(
    shard: &Shard,
    message: &ActiveMessage,
    chosen: &Chosen<'_>,
    kind: NoticeKind,
    audience: Audience<'_>,
    reports: impl Iterator<Item = (u32, Action, &'r Reason)> + Clone,
) -> Option<Notice> {
    let recipients = reports.filter_map(|(index, action, reason)| {
        let recipient = chosen.recipient(index)?;
        Some(ReportedRecipient {
            address: recipient.address,
            original: recipient.original,
            orcpt: recipient.orcpt,
            notify: recipient.notify,
            status: reason.status,
            text: &reason.text,
            reply: (!reason.reply.is_empty()).then_some(reason.reply.as_str()),
            remote_mta: &reason.remote_mta,
            action,
        })
    });
    build_about(shard, message, kind, audience, recipients)
}

/// As [`build`] about recipients that need not be the message's own.
pub fn build_about<'r>(
    shard: &Shard,
    message: &ActiveMessage,
    kind: NoticeKind,
    audience: Audience<'_>,
    recipients: impl Iterator<Item = ReportedRecipient<'r>> + Clone,
) -> Option<Notice> {
    let settings = &shard.settings;
    let fields = message.envelope.fields();
    let options = NoticeOptions {
        my_hostname: &settings.myhostname,
        origin: &settings.myorigin,
        mail_name: &settings.mail_name,
        bounce_size_limit: settings.notices.bounce_size_limit.min(RETURNED_BYTES_MAX),
        templates: &settings.notices.templates,
        double_bounce: &settings.notices.double_bounce,
    };
    let lifetime_ms = match fields.sender {
        "" => settings.qmgr.bounce_queue_lifetime_ms,
        _ => settings.qmgr.maximal_queue_lifetime_ms,
    };
    let retry_until = date_text(shard, fields.arrival_us / 1_000_000 + lifetime_ms / 1000);
    let mail = ReportedMail {
        queue_id: message.queue_id.as_str(),
        sender: fields.sender,
        envid: fields.envid,
        ret: fields.ret,
        arrival_date: &date_text(shard, fields.arrival_us / 1_000_000),
        retry_until: Some(&retry_until),
        content_bytes: fields.content_bytes,
        smtputf8: fields.smtputf8,
        eight_bit: fields.body != BodyKind::SevenBit,
    };
    Notice::build(kind, audience, &options, &mail, recipients, shard.handle.wall().as_micros())
}

/// Stores a notice, if there is one, and logs it: `text` is what the line calls it.
pub async fn send(
    shard: &Rc<Shard>,
    message: &ActiveMessage,
    notice: Option<Notice>,
    text: &str,
) -> Result<(), StoreError> {
    let Some(mut notice) = notice else { return Ok(()) };
    let original = original_part(shard, message, notice.original).await;
    if shard.settings.notices.threaded {
        let start: Vec<u8> = original.iter().flatten().copied().take(INLINE_CONTENT_BYTES_MAX).collect();
        notice.join_thread(&start);
    }
    let mut pieces = vec![Bytes::from(notice.head)];
    pieces.extend(original);
    pieces.push(Bytes::from(notice.tail));
    let mail = LocalMail {
        sender: &notice.sender,
        recipient: Recipient { address: &notice.recipient, ..Recipient::default() },
        content: pieces,
        body: if notice.eight_bit { BodyKind::EightBitMime } else { BodyKind::SevenBit },
        smtputf8: notice.smtputf8,
        is_probe: false,
    };
    let notice_id = cleanup::store_local(shard, mail).await?;
    shard.counters.notices.one();
    shard.log.write(|lines, out, now_s| {
        lines.notification(
            out,
            now_s,
            shard.index as u64,
            message.queue_id.as_str(),
            text,
            notice_id.as_str(),
        );
    });
    Ok(())
}

/// As [`send`] for a copy to the postmaster: the sender was told already, so a failure is only a line in the log.
pub async fn send_copy(shard: &Rc<Shard>, message: &ActiveMessage, notice: Option<Notice>, text: &str) {
    if let Err(error) = send(shard, message, notice, text).await {
        warn(shard, message, format_args!("a copy for the postmaster cannot be stored: {error}"));
    }
}

/// A warning about one message.
pub fn warn(shard: &Shard, message: &ActiveMessage, text: std::fmt::Arguments<'_>) {
    let queue_id = message.queue_id.as_str();
    shard.log.warning("bounce", shard.index as u32, format_args!("{queue_id}: {text}"));
}

fn date_text(shard: &Shard, at_s: u64) -> String {
    let mut date = Vec::with_capacity(40);
    date::append_rfc5322(&mut date, at_s as i64, &shard.log.zone());
    String::from_utf8_lossy(&date).into_owned()
}

/// The part of the original that is returned. When chunks cannot be read now, the notice goes without them rather
/// than not at all.
async fn original_part(shard: &Shard, message: &ActiveMessage, wanted: Original) -> Vec<Bytes> {
    let pieces: Vec<Bytes> = match &message.content {
        Content::Memory(pieces) => pieces.to_vec(),
        Content::Spool(chunks) => {
            // Headers lie in the first chunk.
            let count = if wanted == Original::Full { chunks.len() } else { 1 };
            let mut read = Vec::new();
            for chunk in chunks.iter().take(count) {
                match shard.spool.read_chunk(chunk).await {
                    Ok(piece) => read.push(piece),
                    Err(error) => {
                        warn(shard, message, format_args!("cannot be returned whole: {error}"));
                        break;
                    }
                }
            }
            read
        }
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
