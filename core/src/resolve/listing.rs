//! Which addresses exist: the tables of valid recipients of each class, and what becomes of the others.

use std::borrow::Cow;

use super::{AddressClass, ERROR_TRANSPORT, RETRY_TRANSPORT, ResolveSettings, Route};
use crate::dsn::{Class, Status};
use crate::lookup::{LookupTrouble, Tables};
use crate::maps::Maps;

/// The tables that know addresses, and the codes of replies to those who name others.
#[derive(Clone, Debug, Default)]
pub struct RecipientMaps {
    /// `local_recipient_maps`; empty: every user of a local domain exists.
    pub local: Maps,
    /// `virtual_mailbox_maps`; empty: every user of a virtual mailbox domain exists.
    pub virtual_mailbox: Maps,
    /// `relay_recipient_maps`; empty: every user of a relay domain exists.
    pub relay: Maps,
    /// `virtual_alias_maps`: whoever is in them exists, whatever the class.
    pub virtual_alias: Maps,
    /// `canonical_maps`; likewise.
    pub canonical: Maps,
    /// `recipient_canonical_maps`; likewise.
    pub recipient_canonical: Maps,
    /// `sender_canonical_maps`; likewise, for senders.
    pub sender_canonical: Maps,
    /// `double_bounce_sender`, its local part.
    pub double_bounce: String,
    /// `unknown_local_recipient_reject_code`.
    pub unknown_local_code: u16,
    /// `unknown_virtual_alias_reject_code`.
    pub unknown_virtual_alias_code: u16,
    /// `unknown_virtual_mailbox_reject_code`.
    pub unknown_virtual_mailbox_code: u16,
    /// `unknown_relay_recipient_reject_code`.
    pub unknown_relay_code: u16,
}

/// Whether an address exists, as far as this system can know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listing {
    /// It does, or it is not for us to say.
    Listed,
    /// It does not, or mail to it goes nowhere.
    Unlisted(Unlisted),
}

/// The reply to who names an address that does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unlisted {
    /// The reply code.
    pub code: u16,
    /// The enhanced status code.
    pub status: Status,
    /// What follows `<address>: Recipient address rejected: `.
    pub text: String,
}

/// Whose address it is that may not exist.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Sender,
    Recipient,
}

/// Postfix gives these to every system of local addresses, tables or not: bounce writes in their name, and the postmaster
/// must be reachable (RFC 5321 §4.5.1).
const ALWAYS_LOCAL: [&str; 2] = ["postmaster", "mailer-daemon"];

impl ResolveSettings {
    /// Whether a recipient exists (`reject_unlisted_recipient`); `route` is its route.
    ///
    /// # Errors
    /// A table could not be asked.
    pub async fn is_listed_recipient(
        &self,
        tables: &impl Tables,
        recipient: &str,
        route: &Route<'_>,
    ) -> Result<Listing, LookupTrouble> {
        self.is_listed(tables, recipient, route, Role::Recipient).await
    }

    /// Whether a sender that is not null exists (`reject_unlisted_sender`); `route` is the route of mail to it.
    ///
    /// # Errors
    /// A table could not be asked.
    pub async fn is_listed_sender(
        &self,
        tables: &impl Tables,
        sender: &str,
        route: &Route<'_>,
    ) -> Result<Listing, LookupTrouble> {
        self.is_listed(tables, sender, route, Role::Sender).await
    }

    async fn is_listed(
        &self,
        tables: &impl Tables,
        address: &str,
        route: &Route<'_>,
        role: Role,
    ) -> Result<Listing, LookupTrouble> {
        let maps = &self.recipients;
        let rewritten = [
            ("recipient_canonical_maps", Some(&maps.recipient_canonical)),
            ("sender_canonical_maps", (role == Role::Sender).then_some(&maps.sender_canonical)),
            ("canonical_maps", Some(&maps.canonical)),
            ("virtual_alias_maps", Some(&maps.virtual_alias)),
        ];
        for (parameter, maps) in rewritten {
            if let Some(maps) = maps.filter(|maps| !maps.is_empty())
                && let Some(found) = self.mapping(maps).find(tables, address).await?
            {
                tables.note(parameter, format_args!("{} is listed", found.key));
                return Ok(Listing::Listed);
            }
        }
        if route.transport == ERROR_TRANSPORT {
            let code = match route.class {
                AddressClass::VirtualAlias => maps.unknown_virtual_alias_code,
                _ => 550,
            };
            return Ok(unlisted(code, Class::Permanent, &route.nexthop, role));
        }
        if route.transport == RETRY_TRANSPORT {
            return Ok(unlisted(450, Class::Persistent, &route.nexthop, role));
        }
        let (parameter, known, code, table) = match route.class {
            AddressClass::Local if self.is_always_local(&route.recipient) => return Ok(Listing::Listed),
            AddressClass::Local => {
                ("local_recipient_maps", &maps.local, maps.unknown_local_code, "local recipient")
            }
            AddressClass::VirtualMailbox => (
                "virtual_mailbox_maps",
                &maps.virtual_mailbox,
                maps.unknown_virtual_mailbox_code,
                "virtual mailbox",
            ),
            AddressClass::Relay => {
                ("relay_recipient_maps", &maps.relay, maps.unknown_relay_code, "relay recipient")
            }
            AddressClass::VirtualAlias | AddressClass::Default => return Ok(Listing::Listed),
        };
        if known.is_empty() {
            return Ok(Listing::Listed);
        }
        if let Some(found) = self.mapping(known).find(tables, &route.recipient).await? {
            tables.note(parameter, format_args!("{} is listed", found.key));
            return Ok(Listing::Listed);
        }
        tables.note(parameter, format_args!("{} is not listed", route.recipient));
        let text = match self.show_table_name {
            true => Cow::Owned(format!("User unknown in {table} table")),
            false => Cow::Borrowed("User unknown"),
        };
        Ok(unlisted(code, Class::Permanent, &text, role))
    }

    fn is_always_local(&self, recipient: &str) -> bool {
        let local = recipient.rsplit_once('@').map_or(recipient, |(local, _)| local);
        let double_bounce = self.recipients.double_bounce.as_str();
        ALWAYS_LOCAL.iter().chain([&double_bounce]).any(|known| local.eq_ignore_ascii_case(known))
    }
}

/// The reply for a reason that may begin with a status code.
fn unlisted(code: u16, class: Class, reason: &str, role: Role) -> Listing {
    let (status, text) = match Status::read(reason.as_bytes()) {
        Some((status, length)) => (status, reason[length..].trim_start()),
        None => (Status::new(class, 1, u16::from(role == Role::Recipient)), reason),
    };
    Listing::Unlisted(Unlisted { code, status: for_role(status, role), text: text.into() })
}

/// Status codes of RFC 3463 §3.2 that tell of a destination have others that tell of a sender, and the other way round.
fn for_role(status: Status, role: Role) -> Status {
    let detail = match (role, status.subject(), status.detail()) {
        (Role::Sender, 1, 5) => 0,
        (Role::Sender, 1, 2) => 8,
        (Role::Sender, 1, 1 | 3 | 4 | 6) => 7,
        (Role::Recipient, 1, 7) => 3,
        (Role::Recipient, 1, 8) => 2,
        (_, _, detail) => detail,
    };
    Status::new(status.class(), status.subject(), detail)
}
