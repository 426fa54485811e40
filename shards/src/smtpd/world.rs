//! What restrictions ask of a shard: tables, the resolver, routes, time.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

use ringpost_core::access::{AccessWorld, Destination, Unlisted};
use ringpost_core::config::Party;
use ringpost_core::dns::{Answer, RecordType};
use ringpost_core::lookup::{Found, LookupTrouble, TableId, Tables};
use ringpost_core::resolve::{AddressClass, Listing, Route};
use ringpost_core::rewrite::Context;

use crate::shard::Shard;

/// A shard as restrictions see it.
#[derive(Clone, Copy)]
pub struct World<'a>(pub &'a Shard);

impl Tables for World<'_> {
    async fn lookup(&self, table: TableId, key: &str) -> Found {
        self.0.tables.lookup(table, key).await
    }
}

impl World<'_> {
    async fn route<'r>(
        &'r self,
        sender: &str,
        standard: &'r str,
    ) -> Result<(Route<'r>, Destination<'r>), LookupTrouble> {
        let route = self.0.settings.resolve.resolve(&self.0.tables, sender, standard).await?;
        let destination = Destination {
            address: route.recipient.clone(),
            is_final: route.class.is_final(),
            is_relayed: route.class == AddressClass::Relay,
            routes_on: route.routed,
        };
        Ok((route, destination))
    }
}

impl AccessWorld for World<'_> {
    async fn records(&self, name: &str, kind: RecordType) -> Rc<Answer> {
        self.0.resolver.lookup(name, kind).await
    }

    async fn is_authorised(&self, address: &str) -> Result<bool, LookupTrouble> {
        let resolve = &self.0.settings.resolve;
        let standard = resolve.rewrite.rewrite(address, Context::Local);
        resolve.is_authorised_recipient(&self.0.tables, &standard).await
    }

    async fn destination<'a>(
        &'a self,
        sender: &str,
        address: &'a str,
    ) -> Result<Destination<'a>, LookupTrouble> {
        match self.0.settings.resolve.rewrite.rewrite(address, Context::Local) {
            Cow::Borrowed(standard) => Ok(self.route(sender, standard).await?.1),
            Cow::Owned(standard) => {
                let (_, there) = self.route(sender, &standard).await?;
                Ok(Destination { address: Cow::Owned(there.address.into_owned()), ..there })
            }
        }
    }

    async fn unlisted(
        &self,
        party: Party,
        sender: &str,
        address: &str,
    ) -> Result<Option<Unlisted>, LookupTrouble> {
        let resolve = &self.0.settings.resolve;
        let standard = resolve.rewrite.rewrite(address, Context::Local);
        let (route, _) = self.route(sender, &standard).await?;
        let tables = &self.0.tables;
        let listing = match party {
            Party::Sender => resolve.is_listed_sender(tables, &route.recipient, &route).await?,
            Party::Recipient => resolve.is_listed_recipient(tables, &route.recipient, &route).await?,
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

    async fn pause(&self, seconds: u32) {
        self.0.handle.sleep(Duration::from_secs(seconds.into())).await;
    }
}
