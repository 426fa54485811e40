//! The envelope of a message that arrives: mapped by the tables that are configured, and written for the spool.

use ringpost_core::cleanup::{
    AskedRecipient, CleanupNote, MappedEnvelope, MappedRecipient, Mapper, MappingRules, MappingSettings,
    Trouble, first_occurrences, leaves_as_is,
};
use ringpost_core::dsn::decode_xtext;
use ringpost_core::envelope::{BodyKind, EnvelopeFields, EnvelopeWriter, Origin, Recipient, WrittenEnvelope};
use ringpost_core::logline::AddressText;
use ringpost_core::reply::Reply;
use ringpost_core::smtpd::Session;
use ringpost_spool::{ChunkRef, MessageId, StoreError};
use ringpost_tables::Shelf;

use super::{Incoming, store_reply};
use crate::settings::SmtpdService;
use crate::shard::Shard;

/// A table for `local_header_rewrite_clients` cannot be asked.
const LOOKUP_ERROR: Reply = Reply::fixed("451 4.3.0 Temporary lookup error");

impl Incoming {
    /// What must be known before the content is looked at: who it is from and for. Waits only for tables.
    pub(super) async fn begin(
        &mut self,
        shard: &Shard,
        service: &SmtpdService,
        session: &Session,
    ) -> Result<(), Reply> {
        if std::mem::replace(&mut self.begun, true) {
            return Ok(());
        }
        let client = session.client();
        self.is_local = match service.local_clients.has_at_once(client) {
            Some(known) => known,
            None => Box::pin(service.local_clients.has(&shard.tables, client)).await.map_err(|trouble| {
                let text = format!("{trouble}: local_header_rewrite_clients cannot be looked up");
                self.log_notes(shard, &[CleanupNote::warning(text)]);
                LOOKUP_ERROR
            })?,
        };
        let access = &session.access().actions;
        if !access.prepend.is_empty() {
            self.actions.prepend.clone_from(&access.prepend);
        }
        let rules = service.overrides.mapping_rules();
        let sender = session.mail().sender.as_str();
        let recipients = session.recipients().iter().map(|recipient| recipient.address.as_str());
        let resolve = &shard.settings.resolve;
        if leaves_as_is(&service.mapping, resolve, rules, sender, recipients) {
            return Ok(());
        }
        self.map(shard, service, session).await
    }

    async fn map(&mut self, shard: &Shard, service: &SmtpdService, session: &Session) -> Result<(), Reply> {
        let rules = service.overrides.mapping_rules();
        let mut notes = Vec::new();
        let mapped = Box::pin(map_session(shard, &service.mapping, rules, session, &mut notes)).await;
        self.log_notes(shard, &notes);
        self.mapped = Some(Box::new(mapped.map_err(Trouble::reply)?));
        Ok(())
    }

    /// The envelope, or the first part of one whose recipients are in pieces, which are stored by now. Does not wait for
    /// an envelope of usual size.
    pub(super) async fn envelope(
        &mut self,
        shard: &Shard,
        service: &SmtpdService,
        session: &Session,
    ) -> Result<Vec<u8>, Reply> {
        if self.mapped.is_none() && (self.actions.redirect.is_some() || !self.actions.bcc.is_empty()) {
            self.map(shard, service, session).await?;
        }
        if self.mapped.is_some() {
            Box::pin(self.finish_mapping(shard, service)).await?;
        }
        let mail = session.mail();
        let client = session.client();
        let address = AddressText::new(client.address);
        let envid = mail.envid.as_deref().map(decode_xtext).unwrap_or_default();
        let mut mapped = self.mapped.take();
        if let Some(mapped) = &mut mapped {
            self.expanded = std::mem::take(&mut mapped.expanded);
        }
        // REDIRECT goes before every filter.
        let filter = match self.actions.redirect.is_some() {
            true => String::new(),
            false => self.actions.filter.take().map_or_else(|| service.content_filter.clone(), String::from),
        };
        let forwarded = session.forwarded();
        let forwarded_address = forwarded.and_then(|told| told.address).map(AddressText::new);
        let told_client = forwarded.filter(|told| told.tells_client).map(|told| Origin {
            name: told.name.as_deref().unwrap_or("unknown"),
            address: forwarded_address
                .as_ref()
                .map_or("", |address| std::str::from_utf8(address.as_bytes()).unwrap_or_default()),
            port: told.port.unwrap_or(0),
            helo: told.helo.as_deref().unwrap_or_default(),
            protocol: told.protocol.as_deref().unwrap_or_default(),
        });
        let fields = EnvelopeFields {
            sender: mapped.as_ref().map_or(mail.sender.as_str(), |mapped| &mapped.sender),
            envid: &envid,
            ret: mail.ret,
            body: if self.eight_bit { BodyKind::EightBitMime } else { mail.body },
            smtputf8: mail.smtputf8,
            content_bytes: session.content_bytes().saturating_add_signed(self.grown_bytes),
            arrival_us: self.arrival_us,
            client_name: client.name.as_deref().unwrap_or("unknown"),
            client_address: std::str::from_utf8(address.as_bytes()).unwrap_or_default(),
            client_port: client.port,
            helo: session.helo().unwrap_or_default(),
            protocol: session.protocol(),
            filter: &filter,
            forwarded: told_client,
            ident: forwarded.and_then(|told| told.ident.as_deref()).unwrap_or_default(),
            is_local: forwarded.and_then(|told| told.is_local).unwrap_or(self.is_local),
            is_probe: false,
            verp: mail.verp,
        };
        let mut writer = Writer::new(shard, self.id, &fields, &mut self.envelope_chunks);
        match &mapped {
            Some(mapped) => {
                for recipient in &mapped.recipients {
                    writer.recipient(&stored_recipient(recipient)).await.map_err(store_reply)?;
                }
            }
            None => {
                let recipients = session.recipients();
                for index in first_occurrences(recipients, service.mapping.duplicates_max) {
                    let recipient = &recipients[index];
                    let orcpt = recipient.orcpt.as_deref().map(decode_xtext).unwrap_or_default();
                    let recipient = Recipient {
                        address: recipient.address.as_str(),
                        orcpt: &orcpt,
                        original: "",
                        notify: recipient.notify,
                    };
                    writer.recipient(&recipient).await.map_err(store_reply)?;
                }
            }
        }
        writer.finish().await.map_err(store_reply)
    }

    /// Adds the recipients that are known only when the content is.
    async fn finish_mapping(&mut self, shard: &Shard, service: &SmtpdService) -> Result<(), Reply> {
        let Some(mut mapped) = self.mapped.take() else { return Ok(()) };
        let mut notes = Vec::new();
        let finished = mapped.finish(&mut mapper(shard, &service.mapping, &mut notes), &self.actions).await;
        self.log_notes(shard, &notes);
        self.mapped = Some(mapped);
        finished.map_err(Trouble::reply)
    }

    pub(super) fn log_notes(&self, shard: &Shard, notes: &[CleanupNote]) {
        shard.log.notes("cleanup", self.number, self.queue_id.as_str(), notes);
    }
}

/// Maps by the tables of this shard.
pub(super) fn mapper<'a>(
    shard: &'a Shard,
    settings: &'a MappingSettings,
    notes: &'a mut Vec<CleanupNote>,
) -> Mapper<'a, Shelf> {
    Mapper { settings, resolve: &shard.settings.resolve, tables: &shard.tables, notes }
}

async fn map_session(
    shard: &Shard,
    settings: &MappingSettings,
    rules: MappingRules,
    session: &Session,
    notes: &mut Vec<CleanupNote>,
) -> Result<MappedEnvelope, Trouble> {
    let mut mapper = mapper(shard, settings, notes);
    let mut mapped = MappedEnvelope::begin(&mut mapper, rules, session.mail().sender.as_str()).await?;
    for recipient in session.recipients() {
        let orcpt = recipient.orcpt.as_deref().map(decode_xtext).unwrap_or_default();
        let address = recipient.address.as_str();
        let asked = AskedRecipient { address, original: "", orcpt: &orcpt, notify: recipient.notify };
        mapped.recipient(&mut mapper, asked).await?;
    }
    Ok(mapped)
}

/// A recipient as an envelope is given it.
pub(crate) fn stored_recipient(recipient: &MappedRecipient) -> Recipient<'_> {
    Recipient {
        address: &recipient.address,
        orcpt: &recipient.orcpt,
        original: &recipient.original,
        notify: recipient.notify,
    }
}

/// Writes an envelope, and stores the pieces of a large one, which are named in `chunks` also when that fails.
pub(super) struct Writer<'a> {
    shard: &'a Shard,
    id: MessageId,
    writer: EnvelopeWriter,
    chunks: &'a mut Vec<ChunkRef>,
}

impl<'a> Writer<'a> {
    /// Begins an envelope.
    pub(super) fn new(
        shard: &'a Shard,
        id: MessageId,
        fields: &EnvelopeFields<'_>,
        chunks: &'a mut Vec<ChunkRef>,
    ) -> Writer<'a> {
        Writer { shard, id, writer: EnvelopeWriter::new(Vec::with_capacity(256), fields), chunks }
    }

    /// Adds a recipient.
    pub(super) async fn recipient(&mut self, recipient: &Recipient<'_>) -> Result<(), StoreError> {
        match self.writer.recipient(recipient) {
            Some(piece) => Box::pin(self.store(piece)).await,
            None => Ok(()),
        }
    }

    /// What is to be stored with the message.
    pub(super) async fn finish(self) -> Result<Vec<u8>, StoreError> {
        let WrittenEnvelope { head, last_piece } = self.writer.finish();
        if let Some(piece) = last_piece {
            let chunk = Box::pin(self.shard.spool.store_chunk(self.id, &[&piece[..]])).await?;
            self.chunks.push(chunk);
        }
        Ok(head)
    }

    async fn store(&mut self, piece: Vec<u8>) -> Result<(), StoreError> {
        self.chunks.push(self.shard.spool.store_chunk(self.id, &[&piece[..]]).await?);
        Ok(())
    }
}
