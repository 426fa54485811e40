//! Mapping of addresses: what an address becomes by the tables that the administrator wrote.
//!
//! The order is Postfix's: standard form, the tables for senders or recipients, `canonical_maps`, `masquerade_domains`;
//! for recipients of the envelope then `virtual_alias_maps`, again and again.
//!
//! Receives: an address, and what it is ([`Use`]). Sends: lookups; [`CleanupNote`]s for the log.
//! Limits: [`CANONICAL_STEPS_MAX`]; those of `virtual_alias_…_limit`; [`ADDRESS_BYTES_MAX`].
//! On failure: [`Trouble`]: the message is not accepted now; an error of a table is never "not found".
//! Standards: Postfix's canonical(5), virtual(5), ADDRESS_REWRITING_README.

use std::borrow::Cow;

use super::address_list::AddressList;
use super::note::CleanupNote;
use crate::address::{quote_where_needed, unquoted};
use crate::domain_list::DomainList;
use crate::lookup::{LookupTrouble, Tables};
use crate::maps::{AddressKeys, AddressLookup, Maps};
use crate::reply::Reply;
use crate::resolve::ResolveSettings;
use crate::rewrite::Context;

/// Times that a table of canonical addresses is asked about its own answers; more are a loop.
const CANONICAL_STEPS_MAX: u32 = 1000;

/// No address is longer, whatever a table says: an envelope keeps no longer text.
const ADDRESS_BYTES_MAX: usize = crate::envelope::TEXT_BYTES_MAX;

/// The most tokens of a table's answer that are looked at.
const ANSWER_TOKENS_MAX: usize = 1 << 20;

/// Where an address stands. A parameter such as `canonical_classes` names some of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// The sender of the envelope.
    EnvelopeSender,
    /// A recipient of the envelope.
    EnvelopeRecipient,
    /// A sender in a header.
    HeaderSender,
    /// A recipient in a header.
    HeaderRecipient,
}

impl Use {
    fn is_sender(self) -> bool {
        matches!(self, Use::EnvelopeSender | Use::HeaderSender)
    }
}

/// Some of the [`Use`]s.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Uses(u8);

impl Uses {
    /// Reads words such as `envelope_sender`; a word that is none of them is what is wrong.
    ///
    /// # Errors
    /// The word.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Uses, &'a str> {
        let mut uses = Uses(0);
        for word in words {
            let one = match word.to_ascii_lowercase().as_str() {
                "envelope_sender" => Use::EnvelopeSender,
                "envelope_recipient" => Use::EnvelopeRecipient,
                "header_sender" => Use::HeaderSender,
                "header_recipient" => Use::HeaderRecipient,
                _ => return Err(word),
            };
            uses.0 |= 1 << one as u8;
        }
        Ok(uses)
    }

    /// Whether this is one of them.
    pub fn has(self, one: Use) -> bool {
        self.0 & 1 << one as u8 != 0
    }
}

/// Tables, and which addresses they change.
#[derive(Debug, Clone, Default)]
pub struct CanonicalMaps {
    /// The tables.
    pub maps: Maps,
    /// The addresses.
    pub uses: Uses,
}

/// What the administrator decided about mapping.
#[derive(Debug, Clone, Default)]
pub struct MappingSettings {
    /// `sender_canonical_maps`, `sender_canonical_classes`.
    pub sender_canonical: CanonicalMaps,
    /// `recipient_canonical_maps`, `recipient_canonical_classes`.
    pub recipient_canonical: CanonicalMaps,
    /// `canonical_maps`, `canonical_classes`.
    pub canonical: CanonicalMaps,
    /// `masquerade_domains`, in order; what begins with `!` is not hidden.
    pub masquerade_domains: Vec<String>,
    /// `masquerade_exceptions`: local parts.
    pub masquerade_exceptions: DomainList,
    /// `masquerade_classes`.
    pub masquerade_uses: Uses,
    /// `virtual_alias_maps`.
    pub virtual_aliases: Maps,
    /// `virtual_alias_expansion_limit`: addresses that one may become.
    pub expansion_max: usize,
    /// `virtual_alias_recursion_limit`: aliases of aliases.
    pub recursion_max: usize,
    /// `virtual_alias_address_length_limit`, bytes.
    pub alias_bytes_max: usize,
    /// `propagate_unmatched_extensions` has `canonical`.
    pub extends_canonical: bool,
    /// `propagate_unmatched_extensions` has `virtual`.
    pub extends_virtual: bool,
    /// `always_bcc`; empty for none.
    pub always_bcc: String,
    /// `sender_bcc_maps`.
    pub sender_bcc: Maps,
    /// `recipient_bcc_maps`.
    pub recipient_bcc: Maps,
    /// `duplicate_filter_limit`: recipients among which repetitions are found.
    pub duplicates_max: usize,
    /// `enable_original_recipient`.
    pub keeps_original: bool,
}

impl MappingSettings {
    /// Whether any table or domain can change an address of the envelope, or add one.
    pub fn maps_anything(&self) -> bool {
        self.changes_addresses()
            || !self.virtual_aliases.is_empty()
            || !self.always_bcc.is_empty()
            || !self.sender_bcc.is_empty()
            || !self.recipient_bcc.is_empty()
    }

    /// Whether any table or domain can change an address where it stands.
    pub fn changes_addresses(&self) -> bool {
        !self.sender_canonical.maps.is_empty()
            || !self.recipient_canonical.maps.is_empty()
            || !self.canonical.maps.is_empty()
            || !self.masquerade_domains.is_empty()
    }
}

/// Why mapping failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// A table could not be asked, or makes no end: `451 4.3.0`.
    Table,
    /// Aliases make too many recipients, too long ones, or no end: `451 4.6.0`.
    Expansion,
}

impl Trouble {
    /// What the client hears at the end of the message.
    pub fn reply(self) -> Reply {
        Reply::fixed(match self {
            Trouble::Table => "451 4.3.0 Error: queue file write error",
            Trouble::Expansion => "451 4.6.0 Alias expansion error",
        })
    }
}

/// Maps the addresses of one message.
#[derive(Debug)]
pub struct Mapper<'a, T> {
    /// What is configured.
    pub settings: &'a MappingSettings,
    /// Names of this system, and how addresses are completed.
    pub resolve: &'a ResolveSettings,
    /// The tables.
    pub tables: &'a T,
    /// Lines for the log.
    pub notes: &'a mut Vec<CleanupNote>,
}

impl<T: Tables> Mapper<'_, T> {
    /// What an address becomes where it stands: standard form, then the canonical tables, then masquerading. `context` is
    /// [`Context::Local`] for the envelope; with `by_tables` false only standard form is made.
    ///
    /// # Errors
    /// [`Trouble::Table`].
    pub async fn in_place<'b>(
        &mut self,
        address: &'b str,
        one: Use,
        context: Context,
        by_tables: bool,
    ) -> Result<Cow<'b, str>, Trouble> {
        let tables = self.tables;
        let noting = |by: &'static str, to: &dyn std::fmt::Display| tables.note(by, format_args!("{to}"));
        let mut address = self.resolve.rewrite.rewrite_noting(address, context, noting);
        if !by_tables || !self.settings.changes_addresses() || address.is_empty() {
            return Ok(address);
        }
        let settings = self.settings;
        let own = match one.is_sender() {
            true => ("sender_canonical_maps", &settings.sender_canonical),
            false => ("recipient_canonical_maps", &settings.recipient_canonical),
        };
        for (parameter, canonical) in [own, ("canonical_maps", &settings.canonical)] {
            if !canonical.maps.is_empty() && canonical.uses.has(one) {
                self.by_canonical(parameter, &canonical.maps, &mut address).await?;
            }
        }
        if !settings.masquerade_domains.is_empty() && settings.masquerade_uses.has(one) {
            self.masquerade(&mut address).await?;
        }
        Ok(address)
    }

    /// All that a recipient of the envelope becomes by `virtual_alias_maps`: itself where no table has it.
    ///
    /// # Errors
    /// Either trouble.
    pub async fn expand(&mut self, recipient: &str) -> Result<Vec<String>, Trouble> {
        let mut expanded = vec![recipient.to_owned()];
        let maps = &self.settings.virtual_aliases;
        if maps.is_empty() {
            return Ok(expanded);
        }
        // Addresses that have been found to stand for themselves, in lower case.
        let mut settled: Vec<String> = Vec::new();
        let mut index = 0;
        while index < expanded.len() {
            if expanded.len() > self.settings.expansion_max {
                return Err(self.no_expansion(format!(
                    "unreasonable virtual_alias_maps map expansion size for {recipient}"
                )));
            }
            let mut steps = 0;
            loop {
                let lower = expanded[index].to_lowercase();
                // Postfix remembers every address that it has looked up and found to be itself, or was asked about before.
                if settled.contains(&lower) {
                    break;
                }
                if steps >= self.settings.recursion_max {
                    return Err(self.no_expansion(format!(
                        "unreasonable virtual_alias_maps map nesting for {recipient}"
                    )));
                }
                steps += 1;
                let extends = self.settings.extends_virtual;
                let found = self.lookup("virtual_alias_maps", maps, &expanded[index], extends).await?;
                let Some(targets) = found else { break };
                let mut is_itself = false;
                for (place, target) in targets.into_iter().enumerate() {
                    if target.len() > self.settings.alias_bytes_max {
                        let shown: String = target.chars().take(300).collect();
                        return Err(
                            self.no_expansion(format!("unreasonable virtual_alias_maps result {shown}..."))
                        );
                    }
                    is_itself |= target.to_lowercase() == lower;
                    match place {
                        0 => expanded[index] = target,
                        _ => expanded.push(target),
                    }
                }
                if is_itself {
                    settled.push(lower);
                }
            }
            index += 1;
        }
        Ok(expanded)
    }

    /// The address that a table of copies has for `address`.
    ///
    /// # Errors
    /// [`Trouble::Table`].
    pub async fn copy_for(
        &mut self,
        parameter: &'static str,
        maps: &Maps,
        address: &str,
    ) -> Result<Option<String>, Trouble> {
        if maps.is_empty() || address.is_empty() {
            return Ok(None);
        }
        let lookup = AddressLookup { maps, keys: AddressKeys::Mapping, names: &self.resolve.names };
        match lookup.find(self.tables, address).await {
            Ok(found) => Ok(found.map(|found| {
                self.tables.note(parameter, format_args!("{} has {}", found.key, found.value));
                found.value.into()
            })),
            Err(trouble) => Err(self.table_trouble(parameter, None, &trouble)),
        }
    }

    /// Asks a table about an address, then about the answer, until there is none or it is the same.
    async fn by_canonical(
        &mut self,
        parameter: &'static str,
        maps: &Maps,
        address: &mut Cow<'_, str>,
    ) -> Result<(), Trouble> {
        for _ in 0..CANONICAL_STEPS_MAX {
            let extends = self.settings.extends_canonical;
            let Some(mut found) = self.lookup(parameter, maps, address, extends).await? else {
                return Ok(());
            };
            if found.len() > 1 {
                self.warn(format!("multi-valued {parameter} entry for {address}"));
            }
            let new = found.swap_remove(0);
            let is_itself = new.to_lowercase() == address.to_lowercase();
            if new != **address {
                *address = Cow::Owned(new);
            }
            if is_itself {
                return Ok(());
            }
        }
        self.warn(format!(
            "unreasonable {parameter} map nesting for {address} -- message not accepted, try again later"
        ));
        Err(Trouble::Table)
    }

    /// The addresses that a table has for one, in standard form, never none of them.
    pub(crate) async fn lookup(
        &mut self,
        parameter: &'static str,
        maps: &Maps,
        address: &str,
        extends: bool,
    ) -> Result<Option<Vec<String>>, Trouble> {
        let lookup = AddressLookup { maps, keys: AddressKeys::Mapping, names: &self.resolve.names };
        let found = match lookup.find(self.tables, address).await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(trouble) => return Err(self.table_trouble(parameter, Some(address), &trouble)),
        };
        self.tables.note(parameter, format_args!("{} has {}", found.key, found.value));
        let extension = found.extension.as_deref().filter(|_| extends);
        // `@domain`: the user stays, and so does the extension if any goes over.
        let value = match found.value.starts_with('@') {
            false => Cow::Borrowed(&*found.value),
            true => {
                let local = unquoted(address.rsplit_once('@').map_or(address, |(local, _)| local));
                let bare = local.len() - found.extension.as_deref().map_or(0, str::len);
                let user = local.get(..bare).unwrap_or(&local).to_owned();
                Cow::Owned(format!("{}{}", quote_where_needed(Cow::Owned(user)), found.value))
            }
        };
        let list = AddressList::parse(value.as_bytes(), ANSWER_TOKENS_MAX);
        let addresses: Vec<String> =
            list.addresses().map(|address| self.completed(address, extension)).collect();
        let storable =
            |address: &String| address.len() <= ADDRESS_BYTES_MAX && !address.chars().any(char::is_control);
        if addresses.is_empty() || !addresses.iter().all(storable) {
            self.warn(format!(
                "{parameter} lookup of {address} returns non-address result \"{}\"",
                found.value.escape_debug()
            ));
            self.not_accepted(parameter, Some(address));
            return Err(Trouble::Table);
        }
        Ok(Some(addresses))
    }

    /// An address of a table in standard form, with an extension.
    fn completed(&self, address: &str, extension: Option<&str>) -> String {
        let standard = self.resolve.rewrite.rewrite(address, Context::Local);
        let Some(extension) = extension else { return standard.into_owned() };
        let (local, domain) = standard.split_at(standard.rfind('@').unwrap_or(standard.len()));
        let local = format!("{}{extension}", unquoted(local));
        format!("{}{domain}", quote_where_needed(Cow::Owned(local)))
    }

    /// Hides the sub-domains of the first domain listed that the address is in.
    async fn masquerade(&mut self, address: &mut Cow<'_, str>) -> Result<(), Trouble> {
        let Some((local, domain)) = address.rsplit_once('@') else { return Ok(()) };
        let exceptions = &self.settings.masquerade_exceptions;
        if !exceptions.is_empty() {
            match exceptions.matches(self.tables, &local.to_lowercase()).await {
                Ok(false) => {}
                Ok(true) => return Ok(()),
                Err(trouble) => return Err(self.table_trouble("masquerade_exceptions", None, &trouble)),
            }
        }
        let domain = domain.to_lowercase();
        for listed in &self.settings.masquerade_domains {
            let parent = listed.trim_start_matches('!');
            let hides = (listed.len() - parent.len()) % 2 == 0;
            let Some(rest) = domain.strip_suffix(parent.to_lowercase().as_str()) else { continue };
            if rest.is_empty() {
                return Ok(());
            }
            if rest.ends_with('.') && !parent.is_empty() {
                if hides {
                    self.tables.note("masquerade_domains", format_args!("{address} is of {parent}"));
                    *address = Cow::Owned(format!("{local}@{}", parent.to_lowercase()));
                }
                return Ok(());
            }
        }
        Ok(())
    }

    fn table_trouble(
        &mut self,
        parameter: &'static str,
        address: Option<&str>,
        trouble: &LookupTrouble,
    ) -> Trouble {
        self.warn(trouble.to_string());
        self.not_accepted(parameter, address);
        Trouble::Table
    }

    fn not_accepted(&mut self, parameter: &'static str, address: Option<&str>) {
        let about = address.map(|address| format!(" for {address}")).unwrap_or_default();
        self.warn(format!("{parameter} map lookup problem{about} -- message not accepted, try again later"));
    }

    fn no_expansion(&mut self, text: String) -> Trouble {
        self.warn(format!("{text} -- message not accepted, try again later"));
        Trouble::Expansion
    }

    fn warn(&mut self, text: String) {
        self.notes.push(CleanupNote::warning(text));
    }
}

#[cfg(test)]
#[path = "mapping/tests.rs"]
mod tests;
