//! What restrictions ask of a shard: tables, the resolver, routes, time.

use std::rc::Rc;
use std::time::Duration;

use ringpost_core::access::{AccessFacts, AccessWorld, Destination, Unlisted};
use ringpost_core::address::Address;
use ringpost_core::config::Party;
use ringpost_core::dns::{Answer, RecordType};
use ringpost_core::lookup::{Found, LookupTrouble, TableId, Tables};
use ringpost_core::policy::{PolicyAnswer, PolicyContext, PolicyService, PolicySettings, request};
use ringpost_core::resolve::is_plain;
use ringpost_core::rewrite::Context;
use ringpost_core::verify::Verified;
use ringpost_reactor::{Endpoint, Stream};
use ringpost_tables::Shelf;

use crate::addresses::Addresses;
use crate::shard::Shard;
use crate::{policy, verify};

/// A shard as the restrictions of one session see it.
#[derive(Clone, Copy)]
pub struct World<'a> {
    /// The shard.
    pub shard: &'a Rc<Shard>,
    /// The session's connection.
    pub stream: &'a Stream,
    /// The session's number.
    pub number: u32,
    /// When the session began, in microseconds of the wall clock: with its number it is unlike all others.
    pub began_us: u64,
}

impl Tables for World<'_> {
    async fn lookup(&self, table: TableId, key: &str) -> Found {
        self.shard.tables.lookup(table, key).await
    }
}

impl World<'_> {
    fn addresses(&self) -> Addresses<'_, Shelf> {
        Addresses { resolve: &self.shard.settings.resolve, tables: &self.shard.tables }
    }
}

/// Whether an address of MAIL, RCPT or VRFY leads nowhere. Where that cannot be known now, restrictions will tell.
pub async fn is_malformed(shard: &Shard, address: &Address) -> bool {
    if address.is_null() || is_plain(address.as_str()) {
        return false;
    }
    let resolve = &shard.settings.resolve;
    let standard = resolve.rewrite.rewrite(address.as_str(), Context::Local);
    Box::pin(resolve.is_malformed(&shard.tables, &standard)).await.unwrap_or(false)
}

impl AccessWorld for World<'_> {
    async fn records(&self, name: &str, kind: RecordType) -> Rc<Answer> {
        self.shard.resolver.lookup(name, kind).await
    }

    async fn is_authorised(&self, sender: &str, address: &str) -> Result<bool, LookupTrouble> {
        self.addresses().is_authorised(sender, address).await
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

    async fn policy(
        &self,
        service: &PolicyService,
        settings: &PolicySettings<'_>,
        facts: &AccessFacts<'_>,
    ) -> PolicyAnswer {
        let local = || match self.stream.local() {
            Ok(Endpoint::Inet(address)) => Some(address),
            Ok(Endpoint::Unix(_)) | Err(_) => None,
        };
        let instance = format!("{:x}.{:x}.{:x}", self.number, self.began_us, facts.details.transaction);
        let context = PolicyContext {
            instance: &instance,
            server: facts.client.server.or_else(local),
            policy_context: settings.policy_context,
        };
        policy::ask(self.shard, self.number, service, settings, &request(facts, &context)).await
    }

    async fn verify(&self, address: &str) -> Result<Verified, String> {
        verify::status(self.shard, address).await
    }

    async fn pause(&self, seconds: u32) {
        self.shard.handle.sleep(Duration::from_secs(seconds.into())).await;
    }
}
