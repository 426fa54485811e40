//! cleanup: makes a queued message of what smtpd receives and of what the system itself writes.
//!
//! Receives: content in wire form, piece by piece; the transaction.
//! Sends:    chunks of large messages to the spool while they arrive; the message record at the end; the committed
//!           message to the queue manager; the line `message-id=`.
//! Owns:     the identity of the message while it arrives, and its chunks.
//! Limits:   [`SPILL_BYTES`] of content in memory; recipients are bounded by smtpd.
//! On failure: the reply that the client gets; whatever was stored of the message is given up.
//! Standards: RFC 5321 section 4.4 (trace), 6.1 (a 250 means responsibility).

mod inspected;
mod mapped;
mod own_mail;

use std::rc::Rc;

use bytes::Bytes;
use ringpost_core::address::Address;
use ringpost_core::cleanup::{CleanedHead, MappedEnvelope, MappedRecipient, Piece};
use ringpost_core::date;
use ringpost_core::envelope::Envelope;
use ringpost_core::message_actions::MessageActions;
use ringpost_core::queue_id::QueueId;
use ringpost_core::reply::Reply;
use ringpost_core::smtpd::Session;
use ringpost_spool::{ChunkRef, Content, INLINE_CONTENT_BYTES_MAX, MessageId, NewMessage, StoreError};
use smallvec::SmallVec;

use self::inspected::Cleaning;
pub(crate) use self::mapped::stored_recipient;
pub use self::own_mail::{LocalMail, expands_to_many, store_local};
use crate::message::ActiveMessage;
use crate::qmgr;
use crate::settings::SmtpdService;
use crate::shard::Shard;
use crate::trace;

/// Content that a session holds before it goes to the spool as a chunk. The headers lie in the first chunk.
pub const SPILL_BYTES: usize = INLINE_CONTENT_BYTES_MAX;

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
    cleaning: Cleaning,
    /// The envelope has been looked at.
    begun: bool,
    /// The client is one of `local_header_rewrite_clients`.
    is_local: bool,
    /// The headers say that the content has 8-bit text, which the client did not declare.
    eight_bit: bool,
    /// Sender and recipients, unless mapping leaves them as they are.
    mapped: Option<Box<MappedEnvelope>>,
    /// Recipients that others have taken the place of, of which the sender wants to hear.
    expanded: Vec<MappedRecipient>,
    /// What is to be done with the message.
    actions: MessageActions,
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
            cleaning: Cleaning::Unknown,
            begun: false,
            is_local: false,
            eight_bit: false,
            mapped: None,
            expanded: Vec::new(),
            actions: MessageActions::default(),
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
        match self.store_chunk(shard, service, session, &bytes, false).await {
            // A line whose end has not come yet.
            Ok(consumed) => content.extend_from_slice(&bytes[consumed..]),
            Err(reply) => self.refusal = Some(reply),
        }
    }

    /// Makes the message durable and gives it to the queue manager. `Ok` is what a 250 may be answered to.
    pub async fn finish(
        mut self: Box<Self>,
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
    pub fn abandon(self: Box<Self>, shard: &Shard) {
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
        let access = &session.access().actions;
        if !access.is_empty() {
            // What the content's checks want comes later, and counts over this.
            let later = std::mem::replace(&mut self.actions, access.clone());
            self.actions.prepend.clear();
            self.actions.take(later);
        }
        if self.chunks.is_empty() {
            self.begin(shard, service, session).await?;
            let (pieces, _) = self.clean(shard, service, session, &bytes, true).await?;
            if self.actions.discard {
                self.log_message_id(shard);
                return Ok(());
            }
            let total: usize = pieces.iter().map(Bytes::len).sum();
            if total <= INLINE_CONTENT_BYTES_MAX {
                return self.store_inline(shard, service, session, pieces).await;
            }
            // What only large mail needs is boxed, so that no idle session has room for it.
            Box::pin(self.store_pieces(shard, &pieces)).await?;
        } else {
            Box::pin(self.store_chunk(shard, service, session, &bytes, true)).await?;
            if self.actions.discard {
                self.log_message_id(shard);
                return Ok(());
            }
        }
        Box::pin(self.store_chunked(shard, service, session)).await
    }

    async fn store_inline(
        &mut self,
        shard: &Rc<Shard>,
        service: &SmtpdService,
        session: &Session,
        pieces: Pieces,
    ) -> Result<(), Reply> {
        let envelope = self.envelope(shard, service, session).await?;
        let in_pieces = !self.envelope_chunks.is_empty();
        {
            let slices: SmallVec<[&[u8]; 4]> = pieces.iter().map(|piece| &piece[..]).collect();
            let record = self.record(&envelope, Content::Inline(&slices));
            shard.spool.store(record).await.map_err(store_reply)?;
        }
        self.log_message_id(shard);
        self.tell_expanded(shard).await;
        if self.actions.hold {
            qmgr::accepted_on_hold(shard, self.id);
            return Ok(());
        }
        if in_pieces {
            qmgr::accepted_in_spool(shard, self.id);
            return Ok(());
        }
        let envelope = Envelope::decode(envelope.into()).expect("an envelope that was just written");
        qmgr::accepted(shard, ActiveMessage::fresh(self.id, self.queue_id, envelope, pieces));
        Ok(())
    }

    async fn store_chunked(
        &mut self,
        shard: &Rc<Shard>,
        service: &SmtpdService,
        session: &Session,
    ) -> Result<(), Reply> {
        let envelope = self.envelope(shard, service, session).await?;
        // From here on the spool answers for the chunks, also when it fails.
        let content =
            Content::Chunked { chunks: std::mem::take(&mut self.chunks), total: self.chunked_bytes };
        shard.spool.store(self.record(&envelope, content)).await.map_err(store_reply)?;
        self.log_message_id(shard);
        self.tell_expanded(shard).await;
        match self.actions.hold {
            true => qmgr::accepted_on_hold(shard, self.id),
            false => qmgr::accepted_in_spool(shard, self.id),
        }
        Ok(())
    }

    /// The spool answers for the envelope's chunks from here on.
    fn record<'a>(&mut self, envelope: &'a [u8], content: Content<'a>) -> NewMessage<'a> {
        let due_at_s = (self.arrival_us / 1_000_000) as u32;
        let envelope_chunks = std::mem::take(&mut self.envelope_chunks);
        let (id, arrival_us) = (self.id, self.arrival_us);
        NewMessage { id, arrival_us, due_at_s, held: self.actions.hold, envelope, envelope_chunks, content }
    }

    /// Stores content that has come; answers how much of it.
    async fn store_chunk(
        &mut self,
        shard: &Shard,
        service: &SmtpdService,
        session: &Session,
        bytes: &Bytes,
        last: bool,
    ) -> Result<usize, Reply> {
        self.begin(shard, service, session).await?;
        let (pieces, consumed) = self.clean(shard, service, session, bytes, last).await?;
        if !self.actions.discard {
            self.store_pieces(shard, &pieces).await?;
        }
        Ok(consumed)
    }

    async fn store_pieces(&mut self, shard: &Shard, pieces: &Pieces) -> Result<(), Reply> {
        if pieces.iter().all(Bytes::is_empty) {
            return Ok(());
        }
        let slices: SmallVec<[&[u8]; 4]> = pieces.iter().map(|piece| &piece[..]).collect();
        let chunk = shard.spool.store_chunk(self.id, &slices).await.map_err(store_reply)?;
        self.chunked_bytes += u64::from(chunk.bytes());
        self.chunks.push(chunk);
        Ok(())
    }

    /// The sender hears of aliases before the client hears that the message is stored. Waits for nothing if there are none.
    async fn tell_expanded(&self, shard: &Rc<Shard>) {
        if !self.expanded.is_empty() {
            Box::pin(trace::tell_expanded(shard, self.id, &self.expanded)).await;
        }
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
    let mut pieces: Pieces = head.pieces.into_iter().map(|piece| piece_of(piece, content)).collect();
    // What is kept of the header block and the body behind it are one range, unless something stands between them.
    let rest = content.slice(head.rest_from..);
    if !rest.is_empty() {
        pieces.push(rest);
    }
    pieces
}

fn piece_of(piece: Piece, content: &Bytes) -> Bytes {
    match piece {
        Piece::Keep(range) => content.slice(range),
        Piece::Put(bytes) => Bytes::from(bytes),
    }
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
