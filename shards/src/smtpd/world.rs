//! What restrictions ask of a shard: tables, the resolver, routes, time.

use std::rc::Rc;
use std::time::Duration;

use ringpost_core::access::{AccessWorld, Destination, Unlisted};
use ringpost_core::config::Party;
use ringpost_core::dns::{Answer, RecordType};
use ringpost_core::lookup::{Found, LookupTrouble, TableId, Tables};
use ringpost_tables::Shelf;

use crate::addresses::Addresses;
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
    fn addresses(&self) -> Addresses<'_, Shelf> {
        Addresses { resolve: &self.0.settings.resolve, tables: &self.0.tables }
    }
}

impl AccessWorld for World<'_> {
    async fn records(&self, name: &str, kind: RecordType) -> Rc<Answer> {
        self.0.resolver.lookup(name, kind).await
    }

    async fn is_authorised(&self, address: &str) -> Result<bool, LookupTrouble> {
        self.addresses().is_authorised(address).await
    }

    async fn destination<'a>(
        &'a self,
        sender: &str,
        address: &'a str,
    ) -> Result<Destination<'a>, LookupTrouble> {
        self.addresses().destination(sender, address).await
    }

    async fn unlisted(
        &self,
        party: Party,
        sender: &str,
        address: &str,
    ) -> Result<Option<Unlisted>, LookupTrouble> {
        self.addresses().unlisted(party, sender, address).await
    }

    async fn pause(&self, seconds: u32) {
        self.0.handle.sleep(Duration::from_secs(seconds.into())).await;
    }
}
