//! outgoing: what `ringpost_core::outgoing` makes of a mail for one server, carried out.
//!
//! Receives: the mail's addresses, its content piece by piece. Sends: pieces for the socket; lines for the log; lookups in
//! this shard's tables. Owns: nothing beyond one mail. On failure: the reason that all its recipients share.

use bytes::Bytes;
use ringpost_core::cleanup::CleanupNote;
use ringpost_core::dsn::Status;
use ringpost_core::outgoing::{Converter, Fed, Outgoing, Unsent, generic_address};
use ringpost_core::smtp::{Failure, MailRecipient, MailRequest, PeerName, ResultKind};
use ringpost_tables::Shelf;

use crate::shard::Shard;

/// On which connection a message leaves: what log lines and failures name.
#[derive(Clone, Copy)]
pub struct Leaving<'a> {
    /// Who sends.
    pub shard: &'a Shard,
    /// The connection's number in the log.
    pub number: u32,
    /// The message.
    pub queue_id: &'a str,
    /// The server.
    pub peer: &'a PeerName,
}

impl<'a> Leaving<'a> {
    fn world(&self) -> Outgoing<'a, Shelf> {
        let Leaving { shard, .. } = self;
        Outgoing {
            settings: &shard.settings.smtp.outgoing,
            resolve: &shard.settings.resolve,
            tables: &shard.tables,
        }
    }

    fn log(&self, notes: &[CleanupNote]) {
        self.shard.log.notes("smtp", self.number, self.queue_id, notes);
    }

    fn failure(&self, unsent: Unsent) -> Failure {
        let (kind, status, text) = match unsent {
            Unsent::Table => {
                let text = format!("local data error while talking to {}", self.peer.name_and_address());
                (ResultKind::Deferred, Status::persistent(3, 0), text)
            }
            Unsent::Mime(text) => (ResultKind::Bounced, Status::permanent(6, 0), text.to_owned()),
        };
        Failure { kind, status, text, reply: None, trouble: false }
    }
}

/// The addresses that a mail gets from `smtp_generic_maps`; `None` where it keeps its own.
pub struct GenericAddresses {
    sender: Option<String>,
    recipients: Vec<Option<String>>,
}

impl GenericAddresses {
    /// Looks all addresses up.
    pub async fn find(
        leaving: &Leaving<'_>,
        mail: &MailRequest<'_>,
        recipients: &[MailRecipient<'_>],
    ) -> Result<GenericAddresses, Failure> {
        let world = leaving.world();
        let mut notes = Vec::new();
        let found = async {
            let sender = generic_address(&world, mail.sender, &mut notes).await?;
            let mut mapped = Vec::with_capacity(recipients.len());
            for recipient in recipients {
                mapped.push(generic_address(&world, recipient.address, &mut notes).await?);
            }
            Ok(GenericAddresses { sender, recipients: mapped })
        };
        let found = found.await;
        leaving.log(&notes);
        found.map_err(|unsent| leaving.failure(unsent))
    }

    /// The mail with these addresses.
    pub fn apply<'b>(
        &'b self,
        mail: &MailRequest<'b>,
        recipients: &[MailRecipient<'b>],
    ) -> (MailRequest<'b>, Vec<MailRecipient<'b>>) {
        let mail = MailRequest { sender: self.sender.as_deref().unwrap_or(mail.sender), ..*mail };
        let pairs = recipients.iter().zip(&self.recipients);
        let mapped = pairs.map(|(recipient, own)| MailRecipient {
            address: own.as_deref().unwrap_or(recipient.address),
            ..*recipient
        });
        (mail, mapped.collect())
    }
}

/// One mail's content on its way.
pub struct Conversion {
    converter: Converter,
    passes: bool,
}

impl Conversion {
    /// `to_seven_bit`: the server does not offer 8BITMIME.
    pub fn new(shard: &Shard, to_seven_bit: bool) -> Conversion {
        let converter = Converter::new(&shard.settings.smtp.outgoing, to_seven_bit);
        Conversion { converter, passes: false }
    }

    /// What is to be sent for a piece of content; with `last`, for the end of it. What does not change is not copied.
    pub async fn feed(
        &mut self,
        leaving: &Leaving<'_>,
        piece: &Bytes,
        last: bool,
        mut put: impl FnMut(Bytes),
    ) -> Result<(), Failure> {
        if self.passes {
            put(piece.clone());
            return Ok(());
        }
        let mut out = Vec::with_capacity(if last { 0 } else { piece.len() });
        let fed = self.converter.feed(&leaving.world(), piece, last, &mut out).await;
        leaving.log(&self.converter.take_notes());
        if !out.is_empty() {
            put(out.into());
        }
        match fed.map_err(|unsent| leaving.failure(unsent))? {
            Fed::All => {}
            Fed::PassesFrom(at) => {
                self.passes = true;
                if at < piece.len() {
                    put(piece.slice(at..));
                }
            }
        }
        Ok(())
    }
}
