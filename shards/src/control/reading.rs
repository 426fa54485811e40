//! postcat's part: a message's envelope as labelled fields, and its content.

use std::rc::Rc;

use ringpost_core::control::{Answer, ListedMessage, Queue};
use ringpost_core::envelope::BodyKind;
use ringpost_core::queue_id::QueueId;
use ringpost_spool::{Disk, Spool};

use super::answering::{Question, Reply};
use crate::message::{ActiveMessage, Content};
use crate::qmgr::operator;
use crate::recipients::StoredEnvelope;
use crate::shard::Shard;

/// Where the reading of a message goes on.
#[derive(Clone, Copy, Debug)]
pub enum ReadPlace {
    /// At its beginning.
    Envelope,
    /// At this part of its recipients.
    Recipients(u32),
    /// At its content's chunk of this number; content in memory is one chunk.
    Content(usize),
}

/// The next piece of a message. Nothing, and a count of 0, if it is not queued.
pub async fn read(shard: &Rc<Shard>, name: QueueId, from: ReadPlace) -> Reply {
    let mut reply = Reply::default();
    let Some(id) = operator::message_named(name) else { return reply };
    let Some(state) = operator::state(shard, id) else { return reply };
    let found = operator::find_message(shard, id).await;
    let Some(message) = found.filter(|message| message.queue_id == name) else { return reply };
    let part = match from {
        ReadPlace::Envelope => {
            reply.count = 1;
            say_envelope(&message, Queue::of(state), &mut reply);
            Some(0)
        }
        ReadPlace::Recipients(part) => Some(part),
        ReadPlace::Content(_) => None,
    };
    if let Some(part) = part {
        let stored = message.stored_envelope();
        say_part(&shard.spool, &message, &stored, part, &mut reply).await;
        if part + 1 < stored.part_count() {
            reply.next = Some(Question::Read { id: name, from: ReadPlace::Recipients(part + 1) });
            return reply;
        }
    }
    let chunk = if let ReadPlace::Content(chunk) = from { chunk } else { 0 };
    let more = match &message.content {
        Content::Memory(pieces) => {
            pieces.iter().for_each(|piece| say_content(piece, &mut reply));
            false
        }
        Content::Spool(chunks) => {
            if let Some(wanted) = chunks.get(chunk) {
                match shard.spool.read_chunk(wanted).await {
                    Ok(bytes) => say_content(&bytes, &mut reply),
                    Err(error) => reply.say(&Answer::Warning(&format!("{}: {error}", name.as_str()))),
                }
            }
            chunk + 1 < chunks.len()
        }
    };
    reply.next = more.then(|| Question::Read { id: name, from: ReadPlace::Content(chunk + 1) });
    reply
}

pub(super) fn say_content(bytes: &[u8], reply: &mut Reply) {
    for part in bytes.chunks(Answer::CONTENT_BYTES_MAX) {
        reply.say(&Answer::Content(part));
    }
}

pub(super) fn say_envelope(message: &ActiveMessage, queue: Queue, reply: &mut Reply) {
    let envelope = &message.envelope;
    let fields = envelope.fields();
    reply.say(&Answer::Message(ListedMessage {
        queue,
        queue_id: message.queue_id,
        arrival_us: fields.arrival_us,
        bytes: fields.content_bytes,
        forced_expire: message.force_expired.get(),
        sender: fields.sender,
    }));
    let mut say = |label: &str, value: &str| reply.say(&Answer::Field { label, value });
    let mut attribute = |name: &str, value: &str| {
        if !value.is_empty() {
            say("named_attribute", &format!("{name}={value}"));
        }
    };
    attribute("log_ident", message.queue_id.as_str());
    match fields.body {
        BodyKind::SevenBit => {}
        BodyKind::EightBitMime => attribute("encoding", "8bit"),
        BodyKind::BinaryMime => attribute("encoding", "binary"),
    }
    if fields.smtputf8 {
        attribute("smtputf8", "1");
    }
    attribute("envelope_id", fields.envid);
    if let Some(ret) = fields.ret {
        attribute("ret_flags", if ret == ringpost_core::envelope::Ret::Full { "1" } else { "2" });
    }
    say("sender", fields.sender);
    let mut attribute = |name: &str, value: &str| {
        if !value.is_empty() {
            say("named_attribute", &format!("{name}={value}"));
        }
    };
    let origin = fields.origin();
    let origin_port = if origin.port > 0 { origin.port.to_string() } else { String::new() };
    let port = if fields.client_port > 0 { fields.client_port.to_string() } else { String::new() };
    for (name, value) in [
        ("log_client_name", origin.name),
        ("log_client_address", origin.address),
        ("log_client_port", &origin_port),
        ("log_helo_name", origin.helo),
        ("log_protocol_name", origin.protocol),
        ("log_ident", fields.ident),
        ("client_name", fields.client_name),
        ("client_address", fields.client_address),
        ("client_port", &port),
        ("helo_name", fields.helo),
        ("protocol_name", fields.protocol),
    ] {
        attribute(name, value);
    }
}

/// A part of the recipients.
pub(super) async fn say_part<D: Disk>(
    spool: &Spool<D>,
    message: &ActiveMessage,
    stored: &StoredEnvelope,
    number: u32,
    reply: &mut Reply,
) {
    let part = match stored.part(spool, number).await {
        Ok(part) => part,
        Err(error) => {
            return reply.say(&Answer::Warning(&format!("{}: {error}", message.queue_id.as_str())));
        }
    };
    let mut say = |label: &str, value: &str| reply.say(&Answer::Field { label, value });
    let progress = message.progress.borrow();
    part.for_each(|index, recipient| {
        if !recipient.orcpt.is_empty() {
            say("named_attribute", &format!("dsn_orig_rcpt={}", recipient.orcpt));
        }
        if !recipient.notify.is_unset() {
            say("named_attribute", &format!("notify_flags={}", recipient.notify.bits()));
        }
        let original = if recipient.original.is_empty() { recipient.address } else { recipient.original };
        say("original_recipient", original);
        let label = if progress.is_done(index) { "done_recipient" } else { "recipient" };
        say(label, recipient.address);
    });
}
