//! cleanup: makes a queued message of what smtpd receives and of what the system itself writes.
//!
//! Receives: content in wire form, piece by piece; the transaction.
//! Sends:    chunks of large messages to the spool while they arrive; the message record at the end; the committed
//!           message to the queue manager; the line `message-id=`.
//! Owns:     the identity of the message while it arrives, and its chunks.
//! Limits:   [`SPILL_BYTES`] of content in memory; recipients are bounded by smtpd.
//! On failure: the reply that the client gets; whatever was stored of the message is given up.
//! Standards: RFC 5321 section 4.4 (trace), 6.1 (a 250 means responsibility).

use std::rc::Rc;

use bytes::Bytes;
use ringpost_core::address::Address;
use ringpost_core::cleanup::{CleanedHead, Facts, Piece, clean_head, first_occurrences, local_headers};
use ringpost_core::date;
use ringpost_core::dsn::decode_xtext;
use ringpost_core::envelope::{
    BodyKind, Envelope, EnvelopeFields, EnvelopeWriter, Recipient, WrittenEnvelope,
};
use ringpost_core::logline::AddressText;
use ringpost_core::queue_id::QueueId;
use ringpost_core::reply::Reply;
use ringpost_core::smtpd::Session;
use ringpost_spool::{ChunkRef, Content, INLINE_CONTENT_BYTES_MAX, MessageId, NewMessage, StoreError};
use smallvec::SmallVec;

use crate::message::ActiveMessage;
use crate::qmgr;
use crate::settings::SmtpdService;
use crate::shard::Shard;

/// Content that a session holds before it goes to the spool as a chunk. The headers lie in the first chunk.
pub const SPILL_BYTES: usize = INLINE_CONTENT_BYTES_MAX;

/// `duplicate_filter_limit`: recipients among which repetitions are found.
const DUPLICATE_FILTER_MAX: usize = 1000;

/// Pieces of content; a plain message has its trace header and the rest.
type Pieces = SmallVec<[Bytes; 4]>;

/// A message while it arrives.
pub struct Incoming {
    id: MessageId,
    /// The printed name.
    pub queue_id: QueueId,
    number: u32,
    arrival_us: u64,
    chunks: Vec<ChunkRef>,
    chunked_bytes: u64,
    /// Pieces of an envelope that is too large for one record.
    envelope_chunks: Vec<ChunkRef>,
    message_id: String,
    /// What cleanup added to the content, less what it dropped.
    grown_bytes: i64,
    refusal: Option<Reply>,
}

impl Incoming {
    /// Names a message whose first recipient was accepted.
    pub fn open(shard: &Shard, number: u32) -> Incoming {
        let id = shard.spool.new_id();
        let arrival_us = shard.handle.wall().as_micros();
        Incoming {
            id,
            queue_id: QueueId::new(arrival_us, id.bits()),
            number,
            arrival_us,
            chunks: Vec::new(),
            chunked_bytes: 0,
            envelope_chunks: Vec::new(),
            message_id: String::new(),
            grown_bytes: 0,
            refusal: None,
        }
    }

    /// Takes what has arrived once it is much, and empties `content`. A failure is kept for the end: the client is
    /// still sending.
    pub async fn take_content(
        &mut self,
        shard: &Shard,
        service: &SmtpdService,
        session: &Session,
        content: &mut Vec<u8>,
    ) {
        if content.len() < SPILL_BYTES {
            return;
        }
        let bytes = Bytes::from(std::mem::take(content));
        if self.refusal.is_some() {
            return;
        }
        if let Err(reply) = self.store_chunk(shard, service, session, bytes, false).await {
            self.refusal = Some(reply);
        }
    }

    /// Makes the message durable and gives it to the queue manager. `Ok` is what a 250 may be answered to.
    pub async fn finish(
        mut self,
        shard: &Rc<Shard>,
        service: &SmtpdService,
        session: &Session,
        content: &mut Vec<u8>,
    ) -> Result<(), Reply> {
        let bytes = Bytes::from(std::mem::take(content));
        match self.store(shard, service, session, bytes).await {
            Ok(()) => Ok(()),
            Err(reply) => {
                self.abandon(shard);
                Err(reply)
            }
        }
    }

    /// Gives up what was stored of a message that will not be.
    pub fn abandon(self, shard: &Shard) {
        for chunks in [self.chunks, self.envelope_chunks].into_iter().filter(|chunks| !chunks.is_empty()) {
            shard.spool.abandon_chunks(chunks);
        }
    }

    async fn store(
        &mut self,
        shard: &Rc<Shard>,
        service: &SmtpdService,
        session: &Session,
        bytes: Bytes,
    ) -> Result<(), Reply> {
        if let Some(reply) = self.refusal.take() {
            return Err(reply);
        }
        if self.chunks.is_empty() {
            let pieces = self.clean(shard, service, session, &bytes, true)?;
            let total: usize = pieces.iter().map(Bytes::len).sum();
            if total <= INLINE_CONTENT_BYTES_MAX {
                return self.store_inline(shard, session, pieces).await;
            }
            self.store_pieces(shard, &pieces).await?;
        } else if !bytes.is_empty() {
            self.store_chunk(shard, service, session, bytes, true).await?;
        }
        self.store_chunked(shard, session).await
    }

    async fn store_inline(
        &mut self,
        shard: &Rc<Shard>,
        session: &Session,
        pieces: Pieces,
    ) -> Result<(), Reply> {
        let envelope = self.envelope(shard, session).await?;
        let in_pieces = !self.envelope_chunks.is_empty();
        {
            let slices: SmallVec<[&[u8]; 4]> = pieces.iter().map(|piece| &piece[..]).collect();
            let record = self.record(&envelope, Content::Inline(&slices));
            shard.spool.store(record).await.map_err(store_reply)?;
        }
        self.log_message_id(shard);
        if in_pieces {
            qmgr::accepted_in_spool(shard, self.id);
            return Ok(());
        }
        let envelope = Envelope::decode(envelope.into()).expect("an envelope that was just written");
        qmgr::accepted(shard, ActiveMessage::fresh(self.id, self.queue_id, envelope, pieces));
        Ok(())
    }

    async fn store_chunked(&mut self, shard: &Rc<Shard>, session: &Session) -> Result<(), Reply> {
        let envelope = self.envelope(shard, session).await?;
        // From here on the spool answers for the chunks, also when it fails.
        let content =
            Content::Chunked { chunks: std::mem::take(&mut self.chunks), total: self.chunked_bytes };
        shard.spool.store(self.record(&envelope, content)).await.map_err(store_reply)?;
        self.log_message_id(shard);
        qmgr::accepted_in_spool(shard, self.id);
        Ok(())
    }

    /// The spool answers for the envelope's chunks from here on.
    fn record<'a>(&mut self, envelope: &'a [u8], content: Content<'a>) -> NewMessage<'a> {
        let due_at_s = (self.arrival_us / 1_000_000) as u32;
        let envelope_chunks = std::mem::take(&mut self.envelope_chunks);
        let (id, arrival_us) = (self.id, self.arrival_us);
        NewMessage { id, arrival_us, due_at_s, held: false, envelope, envelope_chunks, content }
    }

    /// The first chunk carries the cleaned headers.
    async fn store_chunk(
        &mut self,
        shard: &Shard,
        service: &SmtpdService,
        session: &Session,
        bytes: Bytes,
        whole: bool,
    ) -> Result<(), Reply> {
        let pieces = match self.chunks.is_empty() {
            true => self.clean(shard, service, session, &bytes, whole)?,
            false => Pieces::from_iter([bytes]),
        };
        self.store_pieces(shard, &pieces).await
    }

    async fn store_pieces(&mut self, shard: &Shard, pieces: &Pieces) -> Result<(), Reply> {
        let slices: SmallVec<[&[u8]; 4]> = pieces.iter().map(|piece| &piece[..]).collect();
        let chunk = shard.spool.store_chunk(self.id, &slices).await.map_err(store_reply)?;
        self.chunked_bytes += u64::from(chunk.bytes());
        self.chunks.push(chunk);
        Ok(())
    }

    /// The header block as it is to be stored, and the content behind it.
    fn clean(
        &mut self,
        shard: &Shard,
        service: &SmtpdService,
        session: &Session,
        content: &Bytes,
        whole: bool,
    ) -> Result<Pieces, Reply> {
        let mail = session.mail();
        let client = session.client();
        let date = date_text(shard, self.arrival_us);
        let message_id = format!("{}@{}", self.queue_id.as_str(), service.cleanup.myhostname);
        let facts = Facts {
            helo: session.helo(),
            client_name: client.name.as_deref(),
            client_address: client.address,
            protocol: session.protocol(),
            smtputf8: mail.smtputf8,
            queue_id: self.queue_id.as_str(),
            date: &date,
            sender: &mail.sender,
            recipient: single(session),
            message_id: &message_id,
            add_missing_headers: service.adds_missing_headers(client),
        };
        let head = clean_head(&service.cleanup, &facts, content, whole)?;
        self.message_id = head.message_id.clone();
        self.grown_bytes = head.grown_bytes;
        Ok(assemble(head, content))
    }

    /// The envelope, or the first part of one whose recipients are in pieces, which are stored by now. Does not wait for
    /// an envelope of usual size.
    async fn envelope(&mut self, shard: &Shard, session: &Session) -> Result<Vec<u8>, Reply> {
        let mail = session.mail();
        let client = session.client();
        let address = AddressText::new(client.address);
        let envid = mail.envid.as_deref().map(decode_xtext).unwrap_or_default();
        let fields = EnvelopeFields {
            sender: mail.sender.as_str(),
            envid: &envid,
            ret: mail.ret,
            body: mail.body,
            smtputf8: mail.smtputf8,
            content_bytes: session.content_bytes().saturating_add_signed(self.grown_bytes),
            arrival_us: self.arrival_us,
            client_name: client.name.as_deref().unwrap_or("unknown"),
            client_address: std::str::from_utf8(address.as_bytes()).unwrap_or_default(),
            client_port: client.port,
            helo: session.helo().unwrap_or_default(),
            protocol: session.protocol(),
            verp: mail.verp,
        };
        let mut writer = EnvelopeWriter::new(Vec::with_capacity(256), &fields);
        let recipients = session.recipients();
        for index in first_occurrences(recipients, DUPLICATE_FILTER_MAX) {
            let recipient = &recipients[index];
            let orcpt = recipient.orcpt.as_deref().map(decode_xtext).unwrap_or_default();
            let full = writer.recipient(&Recipient {
                address: recipient.address.as_str(),
                orcpt: &orcpt,
                original: "",
                notify: recipient.notify,
            });
            if let Some(piece) = full {
                Box::pin(self.store_envelope_piece(shard, &piece)).await?;
            }
        }
        let WrittenEnvelope { head, last_piece } = writer.finish();
        if let Some(piece) = last_piece {
            Box::pin(self.store_envelope_piece(shard, &piece)).await?;
        }
        Ok(head)
    }

    async fn store_envelope_piece(&mut self, shard: &Shard, piece: &[u8]) -> Result<(), Reply> {
        let chunk = shard.spool.store_chunk(self.id, &[piece]).await.map_err(store_reply)?;
        self.envelope_chunks.push(chunk);
        Ok(())
    }

    fn log_message_id(&self, shard: &Shard) {
        shard.log.write(|lines, out, now_s| {
            lines.message_id(
                out,
                now_s,
                u64::from(self.number),
                self.queue_id.as_str(),
                self.message_id.as_bytes(),
            );
        });
    }
}

fn single(session: &Session) -> Option<&Address> {
    match session.recipients() {
        [only] => Some(&only.address),
        _ => None,
    }
}

fn assemble(head: CleanedHead, content: &Bytes) -> Pieces {
    let mut pieces: Pieces = head
        .pieces
        .into_iter()
        .map(|piece| match piece {
            Piece::Keep(range) => content.slice(range),
            Piece::Put(bytes) => Bytes::from(bytes),
        })
        .collect();
    // What is kept of the header block and the body behind it are one range, unless something stands between them.
    let rest = content.slice(head.rest_from..);
    if !rest.is_empty() {
        pieces.push(rest);
    }
    pieces
}

fn date_text(shard: &Shard, at_us: u64) -> String {
    let mut date = Vec::with_capacity(40);
    date::append_rfc5322(&mut date, (at_us / 1_000_000) as i64, &shard.log.zone());
    String::from_utf8(date).expect("a date is ASCII")
}

/// The reply for a message that could not be stored (spec: cleanup's status to the SMTP client).
fn store_reply(error: StoreError) -> Reply {
    match error {
        StoreError::Full => Reply::fixed("452 4.3.1 Insufficient system storage"),
        StoreError::Failed(_) => Reply::fixed("451 4.3.0 Error: queue file write error"),
        StoreError::TooLarge => Reply::fixed("552 5.3.4 Error: message envelope too big"),
    }
}

// ---------------------------------------------------------------------------------------------------------------
// mail that the system itself writes

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
}

/// Stores a message of our own and gives it to the queue manager.
pub async fn store_local(shard: &Rc<Shard>, mail: LocalMail<'_>) -> Result<QueueId, StoreError> {
    let id = shard.spool.new_id();
    let arrival_us = shard.handle.wall().as_micros();
    let queue_id = QueueId::new(arrival_us, id.bits());
    let settings = &shard.settings.own_mail;
    let headers = local_headers(settings, queue_id.as_str(), &date_text(shard, arrival_us));
    let mut pieces = Pieces::from_iter([Bytes::from(headers)]);
    pieces.extend(mail.content);
    let fields = EnvelopeFields {
        sender: mail.sender,
        body: mail.body,
        smtputf8: mail.smtputf8,
        content_bytes: pieces.iter().map(|piece| piece.len() as u64).sum(),
        arrival_us,
        client_name: "localhost",
        client_address: "127.0.0.1",
        ..EnvelopeFields::default()
    };
    let mut writer = EnvelopeWriter::new(Vec::with_capacity(256), &fields);
    let full = writer.recipient(&mail.recipient);
    assert!(full.is_none(), "one recipient is no large envelope");
    let envelope = writer.finish().head;
    let due_at_s = (arrival_us / 1_000_000) as u32;
    let envelope_chunks = Vec::new();
    let record = |content| {
        let envelope = &envelope;
        NewMessage { id, arrival_us, due_at_s, held: false, envelope, envelope_chunks, content }
    };
    let in_memory = fields.content_bytes <= INLINE_CONTENT_BYTES_MAX as u64;
    if in_memory {
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
    if in_memory {
        let envelope = Envelope::decode(envelope.into()).expect("an envelope that was just written");
        qmgr::accepted(shard, ActiveMessage::fresh(id, queue_id, envelope, pieces));
    } else {
        qmgr::accepted_in_spool(shard, id);
    }
    Ok(queue_id)
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
