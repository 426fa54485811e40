//! The access lists of smtpd, for one client, sender and recipient: each item that is asked, and what it says.

use std::rc::Rc;

use ringpost_core::access::{
    AccessFacts, AccessMemory, AccessRules, AccessWorld, Destination, Note, Outcome, Stage, Unlisted,
};
use ringpost_core::address::Address;
use ringpost_core::config::{Party, View};
use ringpost_core::dns::{Answer, RecordType};
use ringpost_core::lookup::{Found, LookupTrouble, TableId, Tables};
use ringpost_core::policy::{PolicyAnswer, PolicyFacts, PolicyService, PolicySettings};
use ringpost_core::resolve::ResolveSettings;
use ringpost_core::smtpd::Client;
use ringpost_core::verify::{AddressStatus, Verified};
use ringpost_shards::addresses::Addresses;
use ringpost_shards::failure::Failure;

use super::listening::{Listening, wait_for};

/// The session that is imagined.
pub struct Session<'a> {
    pub client: Client,
    pub helo: Option<&'a str>,
    pub sender: &'a str,
    pub recipient: &'a str,
}

/// Whether the session's recipient would be accepted: the lines of the explanation, and the refusal if there is one.
pub fn explain<T: Tables>(
    view: &View<'_>,
    resolve: &ResolveSettings,
    tables: &Listening<'_, T>,
    session: &Session<'_>,
) -> Result<(Vec<String>, Option<String>), Failure> {
    let rules = AccessRules::read(view).map_err(Failure::config)?;
    let address = |text: &str| match text {
        "" => Ok(Address::null()),
        text => Address::parse(text).map_err(|_| Failure::config(format!("<{text}> is no address"))),
    };
    let (sender, recipient) = (address(session.sender)?, address(session.recipient)?);
    let client_text = session.client.text(false);
    let world = World { addresses: Addresses { resolve, tables }, tables };
    let mut memory = AccessMemory::default();
    let mut lines = Vec::new();
    for stage in [Stage::Connect, Stage::Helo, Stage::Mail, Stage::Recipient, Stage::Data, Stage::EndOfData] {
        if rules.is_idle(stage) {
            continue;
        }
        let facts = AccessFacts {
            stage,
            client: &session.client,
            client_text: &client_text,
            helo: session.helo.filter(|_| stage != Stage::Connect),
            sender: (!matches!(stage, Stage::Connect | Stage::Helo)).then_some(&sender),
            recipient: matches!(stage, Stage::Recipient | Stage::Data | Stage::EndOfData)
                .then_some(&recipient),
            recipient_count: usize::from(matches!(stage, Stage::Data | Stage::EndOfData)),
            etrn_domain: None,
            pipelined_ahead: false,
            details: PolicyFacts::default(),
        };
        let Outcome { refusal, notes } = wait_for(rules.decide(&world, &facts, &mut memory));
        lines.append(&mut tables.take());
        lines.extend(notes.iter().map(|note| match note {
            Note::Check { verb, text } => format!("{verb}: {text}"),
            Note::Warning(text) => format!("warning: {text}"),
        }));
        if let Some(refusal) = refusal {
            return Ok((lines, Some(refusal.line().to_owned())));
        }
    }
    Ok((lines, None))
}

/// The world without a DNS.
struct World<'a, T: Tables> {
    addresses: Addresses<'a, Listening<'a, T>>,
    tables: &'a Listening<'a, T>,
}

impl<T: Tables> Tables for World<'_, T> {
    async fn lookup(&self, table: TableId, key: &str) -> Found {
        self.tables.lookup(table, key).await
    }

    fn note(&self, parameter: &str, decision: std::fmt::Arguments<'_>) {
        self.tables.note(parameter, decision);
    }
}

impl<T: Tables> AccessWorld for World<'_, T> {
    /// No name is asked for: exchangers are there, so that a domain exists; nothing else is, so that nobody is listed.
    async fn records(&self, name: &str, kind: RecordType) -> Rc<Answer> {
        let (answer, taken) = match kind {
            RecordType::Mx => {
                (Answer::Exchangers { records: vec![(0, name.to_owned())], ttl: 0 }, "as if it were there")
            }
            _ => (Answer::NotFound, "as if it were not there"),
        };
        self.tables.note("DNS", format_args!("{kind:?} of {name} is not asked, but taken {taken}"));
        Rc::new(answer)
    }

    async fn is_authorised(&self, sender: &str, address: &str) -> Result<bool, LookupTrouble> {
        self.addresses.is_authorised(sender, address).await
    }

    async fn destination<'a>(
        &'a self,
        sender: &str,
        address: &'a str,
    ) -> Result<Destination<'a>, LookupTrouble> {
        self.addresses.destination(sender, address).await
    }

    async fn unlisted(
        &self,
        party: Party,
        sender: &str,
        address: &str,
    ) -> Result<Option<Unlisted>, LookupTrouble> {
        self.addresses.unlisted(party, sender, address).await
    }

    /// No server is asked: it says nothing.
    async fn policy(
        &self,
        service: &PolicyService,
        _: &PolicySettings<'_>,
        _: &AccessFacts<'_>,
    ) -> PolicyAnswer {
        self.tables
            .note("check_policy_service", format_args!("{} is not asked, but taken as DUNNO", service.name));
        PolicyAnswer { action: Some("DUNNO".to_owned()), warnings: Vec::new() }
    }

    /// Nobody is probed: everybody is there.
    async fn verify(&self, address: &str) -> Result<Verified, String> {
        self.tables
            .note("verify", format_args!("{address} is not probed, but taken as if it were deliverable"));
        Ok(Verified { status: AddressStatus::Deliverable, text: String::new() })
    }

    async fn pause(&self, _: u32) {}
}
