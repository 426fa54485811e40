//! What restrictions ask of the world, as a transcript has it: tables written into the configuration, a scripted DNS, and
//! one domain that is relayed for.

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;

use ringpost_core::access::{AccessRules, AccessWorld, Destination, Unlisted};
use ringpost_core::config::{Config, HostFacts, Party, Source, Sources, split_list};
use ringpost_core::dns::{Answer, RecordType};
use ringpost_core::lookup::{Found, LookupTrouble, TableId, TableSpec, TableType, Tables};

use crate::transcript::Record;

/// What the transcripts' README calls the base configuration, as far as restrictions see it.
const BASE: &str = "compatibility_level = 3.6\nmyhostname = mx.example\nmynetworks = 127.0.0.0/8\n\
                    relay_domains = relay.example\nmydestination =\nlocal_recipient_maps =\n\
                    smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\n";

pub struct World {
    tables: Vec<TableSpec>,
    records: HashMap<(String, RecordType), Answer>,
}

/// The rules of a transcript, and the world that they see.
pub fn rules(settings: &[(String, String)], records: &[Record]) -> (AccessRules, World) {
    let own: String = settings.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
    let main = format!("{BASE}{own}");
    let host = HostFacts::loopback("mx.example");
    let config = Config::load(Sources {
        main: Some(Source { name: "transcript", text: main.as_bytes() }),
        master: None,
        overrides: &[],
        host: &host,
        load: &|_| Err("no files".into()),
    });
    let config = config.unwrap_or_else(|errors| panic!("{errors:?}"));
    let rules = AccessRules::read(&config.view()).expect("a transcript's rules can be read");
    let mut known: HashMap<(String, RecordType), Answer> = HashMap::new();
    for record in records {
        known.insert((record.name.clone(), kind(&record.kind)), answer(record));
    }
    (rules, World { tables: config.tables().to_vec(), records: known })
}

fn kind(word: &str) -> RecordType {
    match word {
        "A" => RecordType::A,
        "MX" => RecordType::Mx,
        "NS" => RecordType::Ns,
        "PTR" => RecordType::Ptr,
        "TXT" => RecordType::Txt,
        _ => panic!("no record type of a transcript: {word}"),
    }
}

fn answer(record: &Record) -> Answer {
    let (data, ttl) = (&record.data, 60);
    match record.kind.as_str() {
        _ if data == "SERVFAIL" => Answer::Unavailable,
        "A" => Answer::Addresses {
            addresses: data.split(' ').map(|address| address.parse().expect("an address")).collect(),
            ttl,
        },
        "MX" => {
            let (preference, host) = data.split_once(' ').expect("a preference and a host");
            let records = vec![(preference.parse().expect("a preference"), host.to_owned())];
            Answer::Exchangers { records, ttl }
        }
        "TXT" => Answer::Texts { texts: vec![data.clone()], ttl },
        _ => Answer::Names { names: data.split(' ').map(str::to_owned).collect(), ttl },
    }
}

impl Tables for World {
    async fn lookup(&self, table: TableId, key: &str) -> Found {
        let spec = &self.tables[table.0 as usize];
        match spec.kind {
            TableType::Static => Ok(Some(spec.name.as_str().into())),
            TableType::Inline => {
                let inside = spec.name.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
                let entries = split_list(inside.expect("inline:{…}"));
                let entry = entries.into_iter().find_map(|entry| {
                    let (name, value) = entry.split_once('=')?;
                    name.trim().eq_ignore_ascii_case(key).then(|| value.trim())
                });
                Ok(entry.map(Into::into))
            }
            TableType::Fail => {
                Err(LookupTrouble { table: spec.to_string().into(), reason: "it always fails".into() })
            }
            _ => panic!("no table of a transcript: {spec}"),
        }
    }
}

impl AccessWorld for World {
    async fn records(&self, name: &str, kind: RecordType) -> Rc<Answer> {
        let name = name.to_ascii_lowercase();
        let known = self.records.keys().any(|(known, _)| *known == name);
        let absent = if known { Answer::NoData } else { Answer::NotFound };
        Rc::new(self.records.get(&(name, kind)).cloned().unwrap_or(absent))
    }

    async fn is_authorised(&self, _: &str, address: &str) -> Result<bool, LookupTrouble> {
        Ok(address.rsplit_once('@').is_none_or(|(_, domain)| relayed(domain)))
    }

    async fn destination<'a>(&'a self, _: &str, address: &'a str) -> Result<Destination<'a>, LookupTrouble> {
        let domain = address.rsplit_once('@').map(|(_, domain)| domain);
        let is_relayed = domain.is_some_and(relayed);
        Ok(Destination {
            address: Cow::Borrowed(address),
            is_final: domain.is_none(),
            is_relayed,
            routes_on: false,
        })
    }

    async fn unlisted(&self, _: Party, _: &str, _: &str) -> Result<Option<Unlisted>, LookupTrouble> {
        Ok(None)
    }

    async fn pause(&self, _: u32) {}
}

/// `relay.example` or a sub-domain of it.
pub fn relayed(domain: &str) -> bool {
    format!(".{}", domain.to_ascii_lowercase()).ends_with(".relay.example")
}
