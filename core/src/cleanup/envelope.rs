//! The envelope as it is stored: sender and recipients after all mapping, copies added, repetitions taken out.
//!
//! Recipients come one by one, in the order in which copies join them in Postfix: the sender's copy first, each recipient
//! with its own behind it, then `always_bcc` and what checks of the content want ([`MappedEnvelope::finish`]).
//!
//! Limits: [`crate::envelope::RECIPIENTS_MAX`] recipients. On failure: [`Trouble`].
//! Standards: RFC 3461 §5.2.7 (aliases and notifications, choice (b): members are not asked to report success).

use std::borrow::Cow;

use foldhash::fast::RandomState;
use hashbrown::HashSet;

use super::mapping::{Mapper, MappingSettings, Trouble, Use};
use crate::envelope::{Notify, RECIPIENTS_MAX};
use crate::lookup::Tables;
use crate::message_actions::MessageActions;
use crate::resolve::ResolveSettings;
use crate::rewrite::Context;

/// Mail for the user of this name at `myorigin` comes from nobody.
const MAILER_DAEMON: &str = "mailer-daemon";

/// A recipient as it was asked for.
#[derive(Debug, Clone, Copy)]
pub struct AskedRecipient<'a> {
    /// The address as the client wrote it.
    pub address: &'a str,
    /// The address before an earlier mapping; empty for none.
    pub original: &'a str,
    /// ORCPT, xtext decoded; empty for none.
    pub orcpt: &'a str,
    /// NOTIFY.
    pub notify: Notify,
}

/// A recipient as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedRecipient {
    /// The address.
    pub address: String,
    /// The address before all mapping; empty if it is the same but for case.
    pub original: String,
    /// ORCPT, xtext decoded; empty for none.
    pub orcpt: String,
    /// NOTIFY.
    pub notify: Notify,
}

/// Which mapping a message gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MappingRules {
    /// Tables change addresses: not with `receive_override_options = no_address_mappings`.
    pub by_tables: bool,
    /// Copies are added: not to mail of the system itself either.
    pub adds_copies: bool,
}

/// An envelope in the making.
#[derive(Debug)]
pub struct MappedEnvelope {
    rules: MappingRules,
    /// The sender; empty for the null sender.
    pub sender: String,
    /// The recipients so far.
    pub recipients: Vec<MappedRecipient>,
    /// The last recipient before alias expansion, as log lines name it.
    pub last_recipient: String,
    /// Recipients that became others, one or several, of whom the sender wanted to hear (`NOTIFY=SUCCESS`).
    pub expanded: Vec<MappedRecipient>,
    seen: HashSet<RecipientKey, RandomState>,
}

type RecipientKey = (String, String, u8, String);

impl MappedEnvelope {
    /// Maps the sender; its copy is the first recipient.
    ///
    /// # Errors
    /// What mapping runs into.
    pub async fn begin<T: Tables>(
        mapper: &mut Mapper<'_, T>,
        rules: MappingRules,
        sender: &str,
    ) -> Result<MappedEnvelope, Trouble> {
        let mut envelope = MappedEnvelope {
            rules,
            sender: mapped_sender(mapper, rules, sender).await?.into_owned(),
            recipients: Vec::new(),
            last_recipient: String::new(),
            expanded: Vec::new(),
            seen: HashSet::default(),
        };
        if rules.adds_copies {
            let maps = &mapper.settings.sender_bcc;
            if let Some(copy) = mapper.copy_for("sender_bcc_maps", maps, &envelope.sender).await? {
                envelope.copy(mapper, &copy).await?;
            }
        }
        Ok(envelope)
    }

    /// Maps a recipient; its copy follows.
    ///
    /// # Errors
    /// What mapping runs into.
    pub async fn recipient<T: Tables>(
        &mut self,
        mapper: &mut Mapper<'_, T>,
        asked: AskedRecipient<'_>,
    ) -> Result<(), Trouble> {
        let address = match asked.address {
            "" => &mapper.resolve.empty_address_recipient,
            address => address,
        };
        let (one, by_tables) = (Use::EnvelopeRecipient, self.rules.by_tables);
        let mapped = mapper.in_place(address, one, Context::Local, by_tables).await?;
        self.add(mapper, asked, &mapped).await?;
        let copy = match self.rules.adds_copies {
            true => mapper.copy_for("recipient_bcc_maps", &mapper.settings.recipient_bcc, &mapped).await?,
            false => None,
        };
        self.last_recipient = mapped.into_owned();
        if let Some(copy) = copy {
            self.copy(mapper, &copy).await?;
        }
        Ok(())
    }

    /// Adds a copy for this address; nobody hears what becomes of it.
    ///
    /// # Errors
    /// What mapping runs into.
    pub async fn copy<T: Tables>(
        &mut self,
        mapper: &mut Mapper<'_, T>,
        address: &str,
    ) -> Result<(), Trouble> {
        let asked = AskedRecipient { address, original: "", orcpt: "", notify: Notify::NEVER };
        let (one, by_tables) = (Use::EnvelopeRecipient, self.rules.by_tables);
        let mapped = mapper.in_place(address, one, Context::Local, by_tables).await?;
        self.add(mapper, asked, &mapped).await
    }

    /// Adds what comes when all recipients are known: `always_bcc`, and what access tables and checks of the content
    /// want. REDIRECT leaves one recipient: in place of that which Postfix has first, which sorts by domain.
    ///
    /// # Errors
    /// What mapping runs into.
    pub async fn finish<T: Tables>(
        &mut self,
        mapper: &mut Mapper<'_, T>,
        actions: &MessageActions,
    ) -> Result<(), Trouble> {
        if self.rules.adds_copies && !mapper.settings.always_bcc.is_empty() {
            self.copy(mapper, &mapper.settings.always_bcc).await?;
        }
        for address in &actions.bcc {
            self.copy(mapper, address).await?;
        }
        if let Some(target) = &actions.redirect {
            let place = |one: &MappedRecipient| {
                let (local, domain) = one.address.rsplit_once('@').unwrap_or((&one.address, ""));
                (domain.to_lowercase(), local.to_lowercase())
            };
            if let Some(first) =
                (0..self.recipients.len()).min_by_key(|&index| place(&self.recipients[index]))
            {
                self.recipients.swap(0, first);
            }
            self.recipients.truncate(1);
            if let Some(only) = self.recipients.first_mut() {
                if mapper.settings.keeps_original && only.original.is_empty() {
                    only.original = std::mem::take(&mut only.address);
                }
                only.address = mapper.resolve.rewrite.rewrite(target, Context::Local).into_owned();
            }
        }
        Ok(())
    }

    async fn add<T: Tables>(
        &mut self,
        mapper: &mut Mapper<'_, T>,
        asked: AskedRecipient<'_>,
        mapped: &str,
    ) -> Result<(), Trouble> {
        if !self.rules.by_tables || mapper.settings.virtual_aliases.is_empty() {
            return self.push(mapper, asked, asked.notify, mapped.to_owned());
        }
        let members = mapper.expand(mapped).await?;
        let mut notify = asked.notify;
        let stands_for_itself = matches!(&members[..], [only] if only == mapped);
        if !stands_for_itself && notify.wants_success() {
            self.expanded.push(recipient(asked, notify, mapped.to_owned(), mapper.settings.keeps_original));
            let others = Notify::from_bits(notify.bits() & !Notify::SUCCESS.bits());
            notify = if others.is_unset() { Notify::NEVER } else { others };
        }
        for member in members {
            self.push(mapper, asked, notify, member)?;
        }
        Ok(())
    }

    fn push<T: Tables>(
        &mut self,
        mapper: &Mapper<'_, T>,
        asked: AskedRecipient<'_>,
        notify: Notify,
        address: String,
    ) -> Result<(), Trouble> {
        let keeps_original = mapper.settings.keeps_original;
        let key = match keeps_original {
            true => (
                address.to_lowercase(),
                asked.orcpt.to_lowercase(),
                notify.bits(),
                first_address(asked).to_lowercase(),
            ),
            false => (address.to_lowercase(), String::new(), 0, String::new()),
        };
        if self.seen.contains(&key) {
            return Ok(());
        }
        if self.recipients.len() >= RECIPIENTS_MAX as usize {
            return Err(Trouble::Expansion);
        }
        if self.seen.len() < mapper.settings.duplicates_max {
            self.seen.insert(key);
        }
        self.recipients.push(recipient(asked, notify, address, keeps_original));
        Ok(())
    }
}

/// The address before all mapping, this one and earlier ones.
fn first_address(asked: AskedRecipient<'_>) -> &str {
    if asked.original.is_empty() { asked.address } else { asked.original }
}

fn recipient(
    asked: AskedRecipient<'_>,
    notify: Notify,
    address: String,
    keeps_original: bool,
) -> MappedRecipient {
    let first = first_address(asked);
    let same = first.eq_ignore_ascii_case(&address);
    MappedRecipient {
        original: if keeps_original && !same { first.into() } else { String::new() },
        orcpt: asked.orcpt.into(),
        notify,
        address,
    }
}

/// Whether mapping would leave sender and recipients as they are and add nobody: then it needs not be done. Costs no memory
/// for addresses of the usual form.
pub fn leaves_as_is<'a>(
    settings: &MappingSettings,
    resolve: &ResolveSettings,
    rules: MappingRules,
    sender: &str,
    mut recipients: impl Iterator<Item = &'a str>,
) -> bool {
    if settings.maps_anything() && (rules.by_tables || rules.adds_copies) {
        return false;
    }
    let standard =
        |address: &str| matches!(resolve.rewrite.rewrite(address, Context::Local), Cow::Borrowed(_));
    standard(sender)
        && !is_mailer_daemon(sender, resolve)
        && recipients.all(|recipient| !recipient.is_empty() && standard(recipient))
}

/// What becomes of a recipient of the envelope: its address in canonical form, and all that this one stands for.
///
/// # Errors
/// What mapping runs into.
pub async fn map_recipient<T: Tables>(
    mapper: &mut Mapper<'_, T>,
    address: &str,
) -> Result<(String, Vec<String>), Trouble> {
    let canonical = mapper.in_place(address, Use::EnvelopeRecipient, Context::Local, true).await?;
    let members = mapper.expand(&canonical).await?;
    Ok((canonical.into_owned(), members))
}

async fn mapped_sender<'a, T: Tables>(
    mapper: &mut Mapper<'_, T>,
    rules: MappingRules,
    sender: &'a str,
) -> Result<Cow<'a, str>, Trouble> {
    if is_mailer_daemon(&mapper.resolve.rewrite.rewrite(sender, Context::Local), mapper.resolve) {
        return Ok(Cow::Borrowed(""));
    }
    mapper.in_place(sender, Use::EnvelopeSender, Context::Local, rules.by_tables).await
}

fn is_mailer_daemon(sender: &str, resolve: &ResolveSettings) -> bool {
    sender.split_once('@').is_some_and(|(local, domain)| {
        local.eq_ignore_ascii_case(MAILER_DAEMON) && domain.eq_ignore_ascii_case(&resolve.rewrite.my_origin)
    })
}

#[cfg(test)]
#[path = "envelope/tests.rs"]
mod tests;
