//! Restrictions through their public door: a configuration, a client, an envelope; what comes of it.

mod block_lists;
mod dns_checks;
mod lists;
mod policy;
mod tables;
mod unverified;

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;

use super::*;
use crate::address::Address;
use crate::config::{Config, HostFacts, Party, Source, Sources};
use crate::dns::{Answer, RecordType};
use crate::lookup::{Found, LookupTrouble, MemoryTables, TableId, Tables, at_once};
use crate::policy::{PolicyAnswer, PolicyService, PolicySettings};
use crate::smtpd::{Client, NameStatus};
use crate::verify::{AddressStatus, Verified};

fn trouble() -> LookupTrouble {
    LookupTrouble { table: "test:domains".into(), reason: "gone".into() }
}

/// A world of tables and DNS records. `ours.example` ends here, `relay.example` is relayed for; in both only `user` exists.
#[derive(Default)]
struct World {
    tables: MemoryTables,
    records: HashMap<(String, RecordType), Answer>,
    paused: std::cell::Cell<u32>,
    /// What is known of addresses; none if nothing can be found out.
    verified: Option<Verified>,
    /// What the policy server says; none if there is none.
    policy: Option<String>,
}

impl Tables for World {
    async fn lookup(&self, table: TableId, key: &str) -> Found {
        self.tables.lookup(table, key).await
    }
}

impl AccessWorld for World {
    async fn records(&self, name: &str, kind: RecordType) -> Rc<Answer> {
        Rc::new(self.records.get(&(name.to_owned(), kind)).cloned().unwrap_or(Answer::NotFound))
    }

    async fn is_authorised(&self, _: &str, address: &str) -> Result<bool, LookupTrouble> {
        let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
        match domain {
            "trouble.example" => Err(trouble()),
            _ if address.contains('%') => Ok(false),
            _ => Ok(matches!(domain, "ours.example" | "relay.example")),
        }
    }

    async fn destination<'a>(&'a self, _: &str, address: &'a str) -> Result<Destination<'a>, LookupTrouble> {
        let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain).to_ascii_lowercase();
        if domain == "trouble.example" {
            return Err(trouble());
        }
        Ok(Destination {
            address: Cow::Borrowed(address),
            is_final: domain == "ours.example",
            is_relayed: domain == "relay.example",
            routes_on: address.contains('%'),
        })
    }

    async fn unlisted(&self, _: Party, _: &str, address: &str) -> Result<Option<Unlisted>, LookupTrouble> {
        let (local, domain) = address.rsplit_once('@').unwrap_or((address, ""));
        let unknown = domain == "ours.example" && local != "user";
        Ok(unknown.then(|| Unlisted {
            code: 550,
            status: "5.1.1".into(),
            text: "User unknown in local recipient table".into(),
        }))
    }

    async fn policy(
        &self,
        service: &PolicyService,
        _: &PolicySettings<'_>,
        _: &AccessFacts<'_>,
    ) -> PolicyAnswer {
        let warnings = match self.policy {
            Some(_) => Vec::new(),
            None => vec![format!("connect to {}: Connection refused", service.place)],
        };
        PolicyAnswer { action: self.policy.clone(), warnings }
    }

    async fn verify(&self, _: &str) -> Result<Verified, String> {
        self.verified.clone().ok_or_else(|| "out of order".into())
    }

    async fn pause(&self, seconds: u32) {
        self.paused.set(self.paused.get() + seconds);
    }
}

/// A session of a stranger, `client.example[192.0.2.9]`, who writes from `from@sender.example` to `to@there.example`.
struct Case {
    rules: AccessRules,
    world: World,
    client: Client,
    helo: Option<String>,
    sender: Option<Address>,
    recipient: Address,
    recipient_count: usize,
    pipelined_ahead: bool,
    memory: AccessMemory,
    notes: Vec<String>,
}

impl Case {
    /// Under a configuration with these lines. Tables are `hash:` ones and filled with [`Case::entry`].
    fn new(main_cf: &str) -> Case {
        let host = HostFacts::loopback("host.example");
        let relay = "smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination";
        let main = format!("compatibility_level = 3.6\n{relay}\n{main_cf}\n");
        let config = Config::load(Sources {
            main: Some(Source { name: "main.cf", text: main.as_bytes() }),
            master: None,
            overrides: &[],
            host: &host,
            load: &|_| Err("no files".into()),
        });
        let config = config.unwrap_or_else(|errors| panic!("{errors:?}"));
        assert!(crate::config::refusals(&config).is_empty(), "{:?}", crate::config::refusals(&config));
        Case {
            rules: AccessRules::read(&config.view()).unwrap(),
            world: World::default(),
            client: Client::stranger("192.0.2.9".parse().unwrap(), 4000).named("client.example"),
            helo: Some("mail.client.example".into()),
            sender: Some(Address::parse("from@sender.example").unwrap()),
            recipient: Address::parse("to@relay.example").unwrap(),
            recipient_count: 0,
            pipelined_ahead: false,
            memory: AccessMemory::default(),
            notes: Vec::new(),
        }
    }

    /// The table with this number, in the order in which the configuration names them.
    fn entry(mut self, table: u32, key: &str, value: &str) -> Case {
        self.world.tables.put(TableId(table), key, value);
        self
    }

    fn record(mut self, name: &str, answer: Answer) -> Case {
        let kind = match &answer {
            Answer::Exchangers { .. } => RecordType::Mx,
            Answer::Names { .. } => RecordType::Ns,
            Answer::Texts { .. } => RecordType::Txt,
            _ => RecordType::A,
        };
        self.world.records.insert((name.into(), kind), answer);
        self
    }

    fn trouble(mut self, name: &str, kind: RecordType) -> Case {
        self.world.records.insert((name.into(), kind), Answer::Unavailable);
        self
    }

    fn helo(mut self, name: &str) -> Case {
        self.helo = Some(name.into());
        self
    }

    fn from(mut self, sender: &str) -> Case {
        self.sender = Some(if sender.is_empty() { Address::null() } else { Address::parse(sender).unwrap() });
        self
    }

    fn to(mut self, recipient: &str) -> Case {
        self.recipient = Address::parse(recipient).unwrap();
        self
    }

    /// `OK`, or the refusal.
    fn at(&mut self, stage: Stage) -> String {
        let named = stage != Stage::Connect;
        let mailed = !matches!(stage, Stage::Connect | Stage::Helo | Stage::Etrn);
        let text = self.client.text(false);
        let facts = AccessFacts {
            stage,
            client: &self.client,
            client_text: &text,
            helo: self.helo.as_deref().filter(|_| named),
            sender: self.sender.as_ref().filter(|_| mailed),
            recipient: Some(&self.recipient).filter(|_| stage == Stage::Recipient),
            recipient_count: self.recipient_count,
            etrn_domain: Some("relay.example").filter(|_| stage == Stage::Etrn),
            pipelined_ahead: self.pipelined_ahead,
            details: Default::default(),
        };
        let outcome =
            at_once(self.rules.decide(&self.world, &facts, &mut self.memory)).expect("nothing waits here");
        self.notes.extend(outcome.notes.into_iter().map(|note| match note {
            Note::Check { verb, text } => format!("{verb}: {text}"),
            Note::Warning(text) => format!("warning: {text}"),
        }));
        outcome.refusal.map_or("OK".to_owned(), |reply| reply.line().to_owned())
    }

    fn rcpt(&mut self) -> String {
        self.at(Stage::Recipient)
    }
}

/// The verdict on the recipient with these lines of configuration.
fn verdict(main_cf: &str) -> String {
    Case::new(main_cf).rcpt()
}

fn addresses(list: &[&str]) -> Answer {
    Answer::Addresses { addresses: list.iter().map(|address| address.parse().unwrap()).collect(), ttl: 60 }
}

fn exchangers(list: &[(u16, &str)]) -> Answer {
    Answer::Exchangers { records: list.iter().map(|(p, host)| (*p, (*host).to_owned())).collect(), ttl: 60 }
}

fn name_servers(list: &[&str]) -> Answer {
    Answer::Names { names: list.iter().map(|host| (*host).to_owned()).collect(), ttl: 60 }
}

fn texts(list: &[&str]) -> Answer {
    Answer::Texts { texts: list.iter().map(|text| (*text).to_owned()).collect(), ttl: 60 }
}

fn unnamed(status: NameStatus) -> Client {
    let mut client = Client::stranger("192.0.2.9".parse().unwrap(), 4000);
    (client.name_status, client.reverse_status) = (status, status);
    client
}
