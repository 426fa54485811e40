//! The content of a message that arrives: its headers completed, and whatever is configured done to it while it passes.

use bytes::Bytes;
use ringpost_core::cleanup::{Cleaner, Facts, Inspection, Origin, clean_head, has_plain_addresses};
use ringpost_core::reply::Reply;
use ringpost_core::rewrite::Context;
use ringpost_core::smtpd::{Forwarded, Session};

use super::{Incoming, Pieces, assemble, date_text, piece_of, single};
use crate::settings::SmtpdService;
use crate::shard::Shard;

/// How the content of a message is cleaned.
#[derive(Debug, Default)]
pub(super) enum Cleaning {
    /// Nothing has come yet.
    #[default]
    Unknown,
    /// What follows is passed as it is.
    Passing,
    /// By this.
    Inspecting(Box<Cleaner>),
}

impl Incoming {
    /// What is to be stored of the content that has come, and how much of it was dealt with: the rest is to come again
    /// with what follows. All of it with `last`.
    pub(super) async fn clean(
        &mut self,
        shard: &Shard,
        service: &SmtpdService,
        session: &Session,
        content: &Bytes,
        last: bool,
    ) -> Result<(Pieces, usize), Reply> {
        if let Cleaning::Unknown = self.cleaning {
            if !self.needs_inspection(service, content, last)
                && let Some(pieces) = self.clean_plainly(shard, service, session, content, last)?
            {
                self.cleaning = Cleaning::Passing;
                return Ok((pieces, content.len()));
            }
            let checks = !service.overrides.no_header_body_checks;
            self.cleaning = Cleaning::Inspecting(Box::new(Cleaner::new(checks)));
        }
        let Cleaning::Inspecting(_) = self.cleaning else {
            return Ok((Pieces::from_iter([content.clone()]), content.len()));
        };
        Box::pin(self.inspect(shard, service, session, content, last)).await
    }

    /// How addresses in headers are completed; `None`: they are left alone.
    fn header_context(&self, service: &SmtpdService) -> Option<Context> {
        match self.is_local {
            true => Some(Context::Local),
            false => service.rewrites_remote_headers.then_some(Context::Remote),
        }
    }

    /// Whether there is more to do than to complete the header block.
    fn needs_inspection(&self, service: &SmtpdService, content: &[u8], last: bool) -> bool {
        let checks = service.content.checks_anything() && !service.overrides.no_header_body_checks;
        let context = self.header_context(service);
        let undisclosed = !service.content.undisclosed_recipients_header.is_empty();
        checks
            || !self.actions.prepend.is_empty()
            || (undisclosed && service.adds_missing_headers(self.is_local))
            || (context.is_some()
                && (service.mapping.changes_addresses() || !has_plain_addresses(content, last)))
    }

    /// The header block completed, and the content behind it as it is; `None` when that takes inspection.
    fn clean_plainly(
        &mut self,
        shard: &Shard,
        service: &SmtpdService,
        session: &Session,
        content: &Bytes,
        last: bool,
    ) -> Result<Option<Pieces>, Reply> {
        let known = Known::of(self, shard, service);
        let facts = known.facts(self, service, session);
        let Some(head) = clean_head(&service.cleanup, &facts, content, last)? else { return Ok(None) };
        self.message_id = head.message_id.clone();
        self.grown_bytes = head.grown_bytes;
        self.eight_bit = head.eight_bit;
        Ok(Some(assemble(head, content)))
    }

    async fn inspect(
        &mut self,
        shard: &Shard,
        service: &SmtpdService,
        session: &Session,
        content: &Bytes,
        last: bool,
    ) -> Result<(Pieces, usize), Reply> {
        let Cleaning::Inspecting(mut cleaner) = std::mem::take(&mut self.cleaning) else {
            return Ok((Pieces::new(), 0));
        };
        let known = Known::of(self, shard, service);
        let facts = known.facts(self, service, session);
        let mapped = self.mapped.as_deref();
        let last_recipient = session.recipients().last();
        // Who passed it on is not who it comes from.
        let forwarded = session.forwarded().filter(|told| told.tells_client);
        let forwarded_text = forwarded.map(Forwarded::client_text);
        let inspection = Inspection {
            head: &service.cleanup,
            content: &service.content,
            mapping: &service.mapping,
            resolve: &shard.settings.resolve,
            tables: &shard.tables,
            facts: &facts,
            origin: Origin {
                client: forwarded_text.as_deref().unwrap_or(session.client_text()),
                sender: facts.sender,
                recipient: match mapped {
                    Some(mapped) => &mapped.last_recipient,
                    None => last_recipient.map_or("", |recipient| recipient.address.as_str()),
                },
                protocol: forwarded
                    .map_or(session.protocol(), |told| told.protocol.as_deref().unwrap_or("unknown")),
                helo: forwarded.map_or(session.helo(), |told| told.helo.as_deref()).unwrap_or_default(),
            },
            prepend: &self.actions.prepend,
            context: self.header_context(service),
            by_tables: service.overrides.mapping_rules().by_tables,
            checks: !service.overrides.no_header_body_checks,
        };
        let fed = cleaner.feed(&inspection, content, last).await;
        let notes = cleaner.take_notes();
        self.log_notes(shard, &notes);
        if last || fed.passes {
            let cleaned = cleaner.finish(&service.cleanup);
            self.message_id = cleaned.message_id;
            self.grown_bytes = cleaned.grown_bytes;
            self.eight_bit = cleaned.eight_bit;
            self.actions.take(cleaned.actions);
            self.cleaning = Cleaning::Passing;
            if let Some(refusal) = cleaned.refusal {
                return Err(refusal);
            }
        } else {
            self.cleaning = Cleaning::Inspecting(cleaner);
        }
        let pieces = fed.pieces.into_iter().map(|piece| piece_of(piece, content)).collect();
        Ok((pieces, fed.consumed))
    }
}

/// Texts that facts borrow.
struct Known {
    date: String,
    message_id: String,
}

impl Known {
    fn of(incoming: &Incoming, shard: &Shard, service: &SmtpdService) -> Known {
        Known {
            date: date_text(shard, incoming.arrival_us),
            message_id: format!("{}@{}", incoming.queue_id.as_str(), service.cleanup.myhostname),
        }
    }

    fn facts<'a>(
        &'a self,
        incoming: &'a Incoming,
        service: &SmtpdService,
        session: &'a Session,
    ) -> Facts<'a> {
        let (mail, client) = (session.mail(), session.client());
        Facts {
            helo: session.helo(),
            client_name: client.name.as_deref(),
            client_address: client.address,
            protocol: session.protocol(),
            smtputf8: mail.smtputf8,
            body: mail.body,
            queue_id: incoming.queue_id.as_str(),
            date: &self.date,
            sender: incoming.mapped.as_ref().map_or(mail.sender.as_str(), |mapped| &mapped.sender),
            recipient: single(session),
            message_id: &self.message_id,
            add_missing_headers: service.adds_missing_headers(incoming.is_local),
        }
    }
}
