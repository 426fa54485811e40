//! addresses: what restrictions ask about the addresses of an envelope.
//!
//! Receives: addresses as their commands gave them. Sends: lookups. Owns: nothing. A session of a shard asks, and
//! `ringpost explain`.
//! On failure: a table that cannot be asked, never "no such address".

use std::borrow::Cow;

use ringpost_core::access::{Destination, Unlisted};
use ringpost_core::config::Party;
use ringpost_core::lookup::{LookupTrouble, Tables};
use ringpost_core::resolve::{AddressClass, Listing, ResolveSettings, Route};
use ringpost_core::rewrite::Context;

/// The routes of this system, and the tables that they are made of.
#[derive(Debug)]
pub struct Addresses<'a, T> {
    /// What is configured.
    pub resolve: &'a ResolveSettings,
    /// The tables.
    pub tables: &'a T,
}

impl<'a, T: Tables> Addresses<'a, T> {
    /// See [`ringpost_core::access::AccessWorld::is_authorised`].
    ///
    /// # Errors
    /// A table that cannot be asked.
    pub async fn is_authorised(&self, sender: &str, address: &str) -> Result<bool, LookupTrouble> {
        let standard = self.resolve.rewrite.rewrite(address, Context::Local);
        if self.resolve.asks_tables() {
            return Ok(self.resolve.is_authorised(&self.route(sender, &standard).await?.0));
        }
        self.resolve.is_authorised_recipient(self.tables, &standard).await
    }

    /// See [`ringpost_core::access::AccessWorld::destination`].
    ///
    /// # Errors
    /// A table that cannot be asked.
    pub async fn destination<'r>(
        &self,
        sender: &str,
        address: &'r str,
    ) -> Result<Destination<'r>, LookupTrouble>
    where
        'a: 'r,
    {
        match self.resolve.rewrite.rewrite(address, Context::Local) {
            Cow::Borrowed(standard) => Ok(self.route(sender, standard).await?.1),
            Cow::Owned(standard) => {
                let (_, there) = self.route(sender, &standard).await?;
                Ok(Destination { address: Cow::Owned(there.address.into_owned()), ..there })
            }
        }
    }

    /// See [`ringpost_core::access::AccessWorld::unlisted`].
    ///
    /// # Errors
    /// A table that cannot be asked.
    pub async fn unlisted(
        &self,
        party: Party,
        sender: &str,
        address: &str,
    ) -> Result<Option<Unlisted>, LookupTrouble> {
        let standard = self.resolve.rewrite.rewrite(address, Context::Local);
        let (route, _) = self.route(sender, &standard).await?;
        let listing = match party {
            Party::Sender => self.resolve.is_listed_sender(self.tables, &route.recipient, &route).await?,
            Party::Recipient => {
                self.resolve.is_listed_recipient(self.tables, &route.recipient, &route).await?
            }
        };
        Ok(match listing {
            Listing::Listed => None,
            Listing::Unlisted(unlisted) => Some(Unlisted {
                code: unlisted.code,
                status: unlisted.status.to_string(),
                text: unlisted.text,
            }),
        })
    }

    async fn route<'r>(
        &self,
        sender: &str,
        standard: &'r str,
    ) -> Result<(Route<'r>, Destination<'r>), LookupTrouble>
    where
        'a: 'r,
    {
        let route = self.resolve.resolve(self.tables, sender, standard).await?;
        let destination = Destination {
            address: route.recipient.clone(),
            is_final: route.class.is_final(),
            is_relayed: route.class == AddressClass::Relay,
            routes_on: route.routed,
        };
        Ok((route, destination))
    }
}
