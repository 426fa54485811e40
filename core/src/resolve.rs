//! resolve: from a recipient's address to its class, and to the transport and nexthop that take its mail.
//!
//! The half of Postfix's trivial-rewrite that decides routes. What it decides by is one order for all classes: the
//! class's transport; a relay host instead of the domain, for mail that leaves; the nexthop of the transport's own
//! parameter; the transport tables; and at last the table of users who have moved.
//!
//! Receives: a sender and a recipient in standard form (`core/src/rewrite.rs`). Sends: lookups. Owns: what the classes of
//! addresses are, and which addresses exist ([`listing`]).
//! On failure: [`LookupTrouble`], and nothing is decided: the mail is deferred, the client gets 451.
//! Standards: Postfix's trivial-rewrite(8), transport(5), relocated(5), ADDRESS_CLASS_README.

mod entry;
pub mod listing;
mod target;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::domain_list::DomainList;
use crate::lookup::{LookupTrouble, Tables};
use crate::maps::{AddressKeys, AddressLookup, Key, LocalNames, Maps};
use crate::rewrite::RewriteSettings;

pub use self::entry::TransportEntry;
pub use self::listing::{Listing, RecipientMaps, Unlisted};

/// The transport that bounces; its nexthop is the reason.
pub const ERROR_TRANSPORT: &str = "error";
/// The transport that defers; its nexthop is the reason.
pub const RETRY_TRANSPORT: &str = "retry";
/// The transport that throws mail away; its nexthop goes to the log.
pub const DISCARD_TRANSPORT: &str = "discard";

/// What becomes of an address that has no meaning.
const BAD_SYNTAX: &str = "5.1.3 bad address syntax";

/// What the administrator decided about addresses and routes.
#[derive(Clone, Debug, Default)]
pub struct ResolveSettings {
    /// `mydestination`, `myorigin`, own addresses, `recipient_delimiter`.
    pub names: LocalNames,
    /// `myhostname`: the domain of an address that has none.
    pub my_hostname: String,
    /// How addresses that route are turned into others.
    pub rewrite: RewriteSettings,
    /// `empty_address_recipient`: who gets mail for the null address.
    pub empty_address_recipient: String,
    /// `resolve_dequoted_address`: routing is looked for inside quotes, too.
    pub resolve_dequoted_address: bool,
    /// `resolve_null_domain`: `user@` is an address of ours.
    pub resolve_null_domain: bool,
    /// `resolve_numeric_domain`: `user@192.0.2.1` is `user@[192.0.2.1]`.
    pub resolve_numeric_domain: bool,
    /// `allow_untrusted_routing`: an address that routes on from another system may be relayed for strangers.
    pub allow_untrusted_routing: bool,
    /// `virtual_alias_domains`.
    pub virtual_alias_domains: DomainList,
    /// `virtual_mailbox_domains`.
    pub virtual_mailbox_domains: DomainList,
    /// `relay_domains`.
    pub relay_domains: DomainList,
    /// `local_transport`.
    pub local_transport: TransportEntry,
    /// `virtual_transport`.
    pub virtual_transport: TransportEntry,
    /// `relay_transport`.
    pub relay_transport: TransportEntry,
    /// `default_transport`.
    pub default_transport: TransportEntry,
    /// `relayhost`; None when empty.
    pub relayhost: Option<String>,
    /// `sender_dependent_default_transport_maps`.
    pub sender_default_transports: Maps,
    /// `empty_address_default_transport_maps_lookup_key`.
    pub null_sender_transport_key: String,
    /// `sender_dependent_relayhost_maps`.
    pub sender_relayhosts: Maps,
    /// `empty_address_relayhost_maps_lookup_key`.
    pub null_sender_relayhost_key: String,
    /// `transport_maps`.
    pub transports: Maps,
    /// `transport_maps` is in `parent_domain_matches_subdomains`.
    pub transport_parents: bool,
    /// `relocated_maps`.
    pub relocated: Maps,
    /// Which addresses exist, and what those are told who write to others.
    pub recipients: RecipientMaps,
    /// `show_user_unknown_table_name`: answers tell which table does not have the address.
    pub show_table_name: bool,
}

/// The class of an address: whose its domain is, and so who delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressClass {
    /// `mydestination`, or an address of this system in brackets.
    Local,
    /// `virtual_alias_domains`: every address is another name of some other one.
    VirtualAlias,
    /// `virtual_mailbox_domains`.
    VirtualMailbox,
    /// `relay_domains`.
    Relay,
    /// Everybody else's.
    Default,
}

impl AddressClass {
    /// As the documentation of Postfix calls it.
    pub fn word(self) -> &'static str {
        match self {
            AddressClass::Local => "local",
            AddressClass::VirtualAlias => "virtual alias",
            AddressClass::VirtualMailbox => "virtual mailbox",
            AddressClass::Relay => "relay",
            AddressClass::Default => "default",
        }
    }

    /// Mail of this class has arrived: it goes to no other system by its domain.
    pub fn is_final(self) -> bool {
        matches!(self, AddressClass::Local | AddressClass::VirtualAlias | AddressClass::VirtualMailbox)
    }
}

/// Where a recipient's mail goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route<'a> {
    /// The transport: a service of `master.cf`, or one of [`ERROR_TRANSPORT`], [`RETRY_TRANSPORT`],
    /// [`DISCARD_TRANSPORT`].
    pub transport: Cow<'a, str>,
    /// The nexthop, in the form that the transport reads. Never empty.
    pub nexthop: Cow<'a, str>,
    /// The address to deliver to: the one asked about, unless it routed by way of this system.
    pub recipient: Cow<'a, str>,
    /// The class.
    pub class: AddressClass,
    /// The address routes on from where it goes (`user%there@here.example`): whoever wrote it wants mail relayed.
    pub routed: bool,
    /// The address has no meaning; it bounces.
    pub malformed: bool,
}

/// Whether an address routes nowhere else and has a domain to which mail can be sent: most do.
pub fn is_plain(address: &str) -> bool {
    target::domain_of_plain(address).is_some()
}

impl ResolveSettings {
    /// The route of `recipient`, for mail of `sender` (empty for the null sender).
    ///
    /// # Errors
    /// A table could not be asked.
    pub async fn resolve<'a>(
        &'a self,
        tables: &impl Tables,
        sender: &str,
        recipient: &'a str,
    ) -> Result<Route<'a>, LookupTrouble> {
        let target = self.target(tables, recipient).await?;
        if target.malformed {
            tables.note("address", format_args!("<{}>: {BAD_SYNTAX}", target.recipient));
            return Ok(Route {
                transport: Cow::Borrowed(ERROR_TRANSPORT),
                nexthop: Cow::Borrowed(BAD_SYNTAX),
                recipient: target.recipient,
                class: AddressClass::Default,
                routed: false,
                malformed: true,
            });
        }
        let domain = target.domain();
        let class = match target.is_local {
            true => AddressClass::Local,
            false => self.class_beyond(tables, &domain).await?,
        };
        let (transport, nexthop) = self.by_class(tables, class, sender, domain.clone()).await?;
        let mut route = Route {
            transport,
            nexthop,
            recipient: target.recipient,
            class,
            routed: target.routed,
            malformed: false,
        };
        // Who is unknown in a virtual alias domain stays so.
        if !self.transports.is_empty() && class != AddressClass::VirtualAlias {
            self.by_transport_table(tables, &domain, &mut route).await?;
        }
        if !self.relocated.is_empty() {
            let lookup = self.mapping(&self.relocated);
            if let Some(moved) = lookup.find(tables, &route.recipient).await? {
                tables.note("relocated_maps", format_args!("{} has moved to {}", moved.key, moved.value));
                route.transport = Cow::Borrowed(ERROR_TRANSPORT);
                route.nexthop = format!("5.1.6 User has moved to {}", moved.value).into();
            }
        }
        Ok(route)
    }

    /// Whether resolving asks any table. Where it does not, it ends at once.
    pub fn asks_tables(&self) -> bool {
        let lists = [
            &self.names.my_destination,
            &self.virtual_alias_domains,
            &self.virtual_mailbox_domains,
            &self.relay_domains,
        ];
        let maps =
            [&self.transports, &self.sender_default_transports, &self.sender_relayhosts, &self.relocated];
        lists.iter().any(|list| list.has_tables()) || maps.iter().any(|maps| !maps.is_empty())
    }

    /// The class of the addresses of `domain` (without a trailing dot).
    ///
    /// # Errors
    /// A table could not be asked.
    pub async fn class_of(&self, tables: &impl Tables, domain: &str) -> Result<AddressClass, LookupTrouble> {
        match self.names.is_local(tables, domain).await? {
            true => Ok(AddressClass::Local),
            false => self.class_beyond(tables, domain).await,
        }
    }

    /// Whether an address in standard form leads nowhere: once this system's own part in it is taken off, no mail can be
    /// sent to its domain.
    ///
    /// # Errors
    /// A table could not be asked.
    pub async fn is_malformed(&self, tables: &impl Tables, address: &str) -> Result<bool, LookupTrouble> {
        Ok(!is_plain(address) && self.target(tables, address).await?.malformed)
    }

    /// Whether mail for `recipient` may come from strangers, by its class alone: see [`ResolveSettings::is_authorised`].
    ///
    /// # Errors
    /// A table could not be asked.
    pub async fn is_authorised_recipient(
        &self,
        tables: &impl Tables,
        recipient: &str,
    ) -> Result<bool, LookupTrouble> {
        let target = self.target(tables, recipient).await?;
        if target.malformed || (target.routed && !self.allow_untrusted_routing) {
            return Ok(false);
        }
        Ok(target.is_local || self.class_beyond(tables, &target.domain()).await? != AddressClass::Default)
    }

    /// Whether mail with this route may come from strangers: it is for us or for those that we relay for, and does not
    /// route on from there.
    pub fn is_authorised(&self, route: &Route<'_>) -> bool {
        let ours = route.class.is_final() || route.class == AddressClass::Relay;
        ours && (self.allow_untrusted_routing || !route.routed)
    }

    /// The class of a domain that is not local.
    async fn class_beyond(&self, tables: &impl Tables, domain: &str) -> Result<AddressClass, LookupTrouble> {
        let lists = [
            ("virtual_alias_domains", &self.virtual_alias_domains, AddressClass::VirtualAlias),
            ("virtual_mailbox_domains", &self.virtual_mailbox_domains, AddressClass::VirtualMailbox),
            ("relay_domains", &self.relay_domains, AddressClass::Relay),
        ];
        for (parameter, list, class) in lists {
            if !list.is_empty() && list.matches(tables, domain).await? {
                tables.note(parameter, format_args!("{domain} is listed"));
                return Ok(class);
            }
        }
        Ok(AddressClass::Default)
    }

    /// Transport and nexthop by the class alone.
    async fn by_class<'a>(
        &'a self,
        tables: &impl Tables,
        class: AddressClass,
        sender: &str,
        domain: Cow<'a, str>,
    ) -> Result<(Cow<'a, str>, Cow<'a, str>), LookupTrouble> {
        let (parameter, entry) = match class {
            AddressClass::VirtualAlias => {
                let table = if self.show_table_name { " in virtual alias table" } else { "" };
                return Ok((ERROR_TRANSPORT.into(), format!("5.1.1 User unknown{table}").into()));
            }
            AddressClass::Local => ("local_transport", Cow::Borrowed(&self.local_transport)),
            AddressClass::VirtualMailbox => ("virtual_transport", Cow::Borrowed(&self.virtual_transport)),
            AddressClass::Relay => ("relay_transport", Cow::Borrowed(&self.relay_transport)),
            AddressClass::Default => self.default_transport_of(tables, sender).await?,
        };
        let nexthop = match class {
            AddressClass::Relay | AddressClass::Default => self.relayhost_of(tables, sender, domain).await?,
            _ => domain,
        };
        if entry.transport.is_empty() {
            return Err(LookupTrouble {
                table: parameter.into(),
                reason: "a null transport is not allowed".into(),
            });
        }
        tables.note(parameter, format_args!("{entry}"));
        Ok(match entry {
            Cow::Borrowed(TransportEntry { transport, nexthop: own }) => {
                let nexthop = if own.is_empty() { nexthop } else { Cow::Borrowed(own.as_str()) };
                (Cow::Borrowed(transport.as_str()), nexthop)
            }
            Cow::Owned(TransportEntry { transport, nexthop: own }) => {
                (Cow::Owned(transport), if own.is_empty() { nexthop } else { Cow::Owned(own) })
            }
        })
    }

    /// `default_transport`, or what the sender has instead.
    async fn default_transport_of(
        &self,
        tables: &impl Tables,
        sender: &str,
    ) -> Result<(&'static str, Cow<'_, TransportEntry>), LookupTrouble> {
        let found = match self.sender_default_transports.is_empty() {
            true => None,
            false => {
                let key = if sender.is_empty() { &self.null_sender_transport_key } else { sender };
                self.mapping(&self.sender_default_transports).find(tables, key).await?
            }
        };
        Ok(match found.filter(|found| is_answer(&found.value)) {
            None => ("default_transport", Cow::Borrowed(&self.default_transport)),
            Some(found) => {
                ("sender_dependent_default_transport_maps", Cow::Owned(TransportEntry::parse(&found.value)))
            }
        })
    }

    /// The relay host of mail that leaves, or else its domain.
    async fn relayhost_of<'a>(
        &'a self,
        tables: &impl Tables,
        sender: &str,
        domain: Cow<'a, str>,
    ) -> Result<Cow<'a, str>, LookupTrouble> {
        if !self.sender_relayhosts.is_empty() {
            let key = if sender.is_empty() { &self.null_sender_relayhost_key } else { sender };
            if let Some(found) = self.mapping(&self.sender_relayhosts).find(tables, key).await?
                && is_answer(&found.value)
            {
                tables.note("sender_dependent_relayhost_maps", format_args!("{}", found.value));
                return Ok(Cow::Owned(found.value.into()));
            }
        }
        Ok(match &self.relayhost {
            Some(relayhost) => {
                tables.note("relayhost", format_args!("{relayhost}"));
                Cow::Borrowed(relayhost.as_str())
            }
            None => domain,
        })
    }

    /// What `transport_maps` change; `*` is asked for last.
    async fn by_transport_table(
        &self,
        tables: &impl Tables,
        domain: &str,
        route: &mut Route<'_>,
    ) -> Result<(), LookupTrouble> {
        let keys = AddressKeys::Transport { parent_matches_subdomains: self.transport_parents };
        let lookup = AddressLookup { maps: &self.transports, keys, names: &self.names };
        let (key, value) = match lookup.find(tables, &route.recipient).await? {
            Some(found) => (found.key, found.value),
            None => match self.transports.find(tables, "*", Key::Whole).await? {
                Some(value) => ("*".to_owned(), value),
                None => return Ok(()),
            },
        };
        tables.note("transport_maps", format_args!("{key} has {value}"));
        TransportEntry::parse(&value).apply(domain, route);
        Ok(())
    }

    /// A table by whole addresses, users of ours, and `@domain`.
    fn mapping<'a>(&'a self, maps: &'a Maps) -> AddressLookup<'a> {
        AddressLookup { maps, keys: AddressKeys::Mapping, names: &self.names }
    }
}

/// An empty value and `DUNNO` are found, and say nothing.
fn is_answer(value: &str) -> bool {
    !value.is_empty() && !value.eq_ignore_ascii_case("DUNNO")
}
