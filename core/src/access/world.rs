//! What restrictions ask of the world: tables, the DNS, routes, time. A shard answers; tests do, too.

use std::borrow::Cow;
use std::future::Future;
use std::rc::Rc;

use super::AccessFacts;
use crate::config::Party;
use crate::dns::{Answer, RecordType};
use crate::lookup::{LookupTrouble, Tables};
use crate::policy::{PolicyAnswer, PolicyService, PolicySettings};
use crate::verify::Verified;

/// Where an address leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination<'a> {
    /// The address in full, as tables are asked for it: rewritten.
    pub address: Cow<'a, str>,
    /// Mail for it ends here: its domain is local, or one of virtual aliases or mailboxes.
    pub is_final: bool,
    /// We relay for its domain.
    pub is_relayed: bool,
    /// The address routes on from where it goes (`user%there@here.example`).
    pub routes_on: bool,
}

/// What is told to who names an address that does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlisted {
    /// The reply code.
    pub code: u16,
    /// The enhanced status code.
    pub status: String,
    /// What follows `<address>: Recipient address rejected: `.
    pub text: String,
}

/// What restrictions ask of the world.
pub trait AccessWorld: Tables {
    /// What the DNS has of this kind for this name.
    fn records(&self, name: &str, kind: RecordType) -> impl Future<Output = Rc<Answer>>;

    /// Whether mail of `sender` for `address` may come from strangers: it is ours, or one that we relay for, and does
    /// not route on. It fails where the route cannot be known, be the class as it may.
    fn is_authorised(&self, sender: &str, address: &str)
    -> impl Future<Output = Result<bool, LookupTrouble>>;

    /// Where mail of `sender` to `address` leads; both as their commands gave them.
    fn destination<'a>(
        &'a self,
        sender: &str,
        address: &'a str,
    ) -> impl Future<Output = Result<Destination<'a>, LookupTrouble>>;

    /// Whether an address of the envelope does not exist, as far as we can know.
    fn unlisted(
        &self,
        party: Party,
        sender: &str,
        address: &str,
    ) -> impl Future<Output = Result<Option<Unlisted>, LookupTrouble>>;

    /// Asks a policy server. A world without any answers nothing.
    fn policy(
        &self,
        _service: &PolicyService,
        _settings: &PolicySettings<'_>,
        _facts: &AccessFacts<'_>,
    ) -> impl Future<Output = PolicyAnswer> {
        std::future::ready(PolicyAnswer::default())
    }

    /// What is known of an address, after a probe if need be; an error says why that cannot be found out. A world without
    /// probes knows nothing.
    fn verify(&self, _address: &str) -> impl Future<Output = Result<Verified, String>> {
        std::future::ready(Err("addresses are not verified here".into()))
    }

    /// Lets this many seconds pass.
    fn pause(&self, seconds: u32) -> impl Future<Output = ()>;
}
