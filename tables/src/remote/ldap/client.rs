//! client: binding to an LDAP server, and searching.
//!
//! Owns:     one connection. Limits: [`MESSAGE_BYTES_MAX`], [`ENTRIES_MAX`], the caller's deadline.
//! On failure: [`Failure`]: the server says no, or the connection is of no use any more. Referrals are not followed.
//! Standards: RFC 4511, version 3 of the protocol, simple binding.

use std::io;

use super::ber::{BOOLEAN, ENUMERATED, INTEGER, OCTETS, Reader, SEQUENCE, SET, put, put_all, put_number};
use crate::remote::hosts::Failure;
use crate::remote::wire::{Deadline, Endpoint, Wire, nonsense, words};

/// One entry with all its members; a group of 50,000 has some megabytes.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Entries of one search.
const ENTRIES_MAX: usize = 100_000;

const BIND_RESPONSE: u8 = 0x61;
const SEARCH_ENTRY: u8 = 0x64;
const SEARCH_DONE: u8 = 0x65;
const SEARCH_REFERENCE: u8 = 0x73;

/// Result codes of RFC 4511 §4.1.9.
const SUCCESS: u32 = 0;
const SIZE_LIMIT_EXCEEDED: u32 = 4;
const NO_SUCH_OBJECT: u32 = 32;
const BUSY: u32 = 51;
const UNAVAILABLE: u32 = 52;

/// What is looked for.
#[derive(Debug, Clone)]
pub struct Search {
    pub base: String,
    pub scope: Scope,
    /// As it goes over the wire.
    pub filter: Vec<u8>,
}

/// How far below its base a search goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Base = 0,
    One = 1,
    Sub = 2,
}

/// What every search of a table has in common.
#[derive(Debug)]
pub struct Manner {
    pub attributes: Vec<String>,
    pub dereference: u32,
    pub size_limit: u32,
}

/// The attributes of an entry that were asked for, with their values.
pub type Entry = Vec<(String, Vec<Vec<u8>>)>;

/// What a search found.
#[derive(Debug)]
pub enum Found {
    Entries(Vec<Entry>),
    /// There is no such base.
    NoBase,
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    wire: Wire,
    last_id: u32,
}

impl Client {
    /// Connects, and binds by name and password if there are any to bind with.
    pub fn open(
        endpoint: &Endpoint,
        bind: Option<(&str, &str)>,
        deadline: Deadline,
    ) -> Result<Client, String> {
        let wire = Wire::open(endpoint, deadline).map_err(|error| words(&error))?;
        let mut client = Client { wire, last_id: 0 };
        let Some((name, password)) = bind else { return Ok(client) };
        let mut request = Vec::new();
        put_all(&mut request, 0x60, |out| {
            put_number(out, INTEGER, 3);
            put(out, OCTETS, name.as_bytes());
            put(out, 0x80, password.as_bytes());
        });
        let bound = client.ask(&request, deadline).and_then(|()| client.answer(deadline));
        let (tag, content) = bound.map_err(|error| words(&error))?;
        let (code, text) =
            result(&content).filter(|_| tag == BIND_RESPONSE).ok_or("the server binds by nonsense")?;
        match code {
            SUCCESS => Ok(client),
            _ => Err(format!("cannot bind: result {code}: {text}")),
        }
    }

    /// Whether the connection is as it was left. A server that ends it says so first.
    pub fn is_quiet(&self) -> bool {
        self.wire.is_quiet()
    }

    /// What is found.
    pub fn search(&mut self, search: &Search, manner: &Manner, deadline: Deadline) -> Result<Found, Failure> {
        let broken = |error: io::Error| Failure::Broken(words(&error));
        let mut request = Vec::new();
        put_all(&mut request, 0x63, |out| {
            put(out, OCTETS, search.base.as_bytes());
            put_number(out, ENUMERATED, search.scope as u32);
            put_number(out, ENUMERATED, manner.dereference);
            put_number(out, INTEGER, manner.size_limit);
            put_number(out, INTEGER, 0);
            put(out, BOOLEAN, &[0]);
            out.extend_from_slice(&search.filter);
            put_all(out, SEQUENCE, |out| {
                for attribute in &manner.attributes {
                    put(out, OCTETS, attribute.as_bytes());
                }
            });
        });
        self.ask(&request, deadline).map_err(broken)?;
        let mut entries = Vec::new();
        let mut bytes = 0;
        loop {
            let (tag, content) = self.answer(deadline).map_err(broken)?;
            bytes += content.len();
            if entries.len() >= ENTRIES_MAX || bytes > MESSAGE_BYTES_MAX {
                return Err(Failure::Broken("the search finds too much".to_owned()));
            }
            match tag {
                SEARCH_ENTRY => {
                    let entry = entry(&content).ok_or_else(|| broken(nonsense("an entry that is none")))?;
                    entries.push(entry);
                }
                SEARCH_REFERENCE => {}
                SEARCH_DONE => {
                    let result = result(&content).ok_or_else(|| broken(nonsense("an end that is none")))?;
                    return match result {
                        (SUCCESS, _) => Ok(Found::Entries(entries)),
                        (NO_SUCH_OBJECT, _) => Ok(Found::NoBase),
                        (SIZE_LIMIT_EXCEEDED, _) => {
                            Err(Failure::Refused("the search finds more than size_limit entries".to_owned()))
                        }
                        (code @ (BUSY | UNAVAILABLE), text) => {
                            Err(Failure::Broken(format!("result {code}: {text}")))
                        }
                        (code, text) => Err(Failure::Refused(format!("result {code}: {text}"))),
                    };
                }
                _ => return Err(broken(nonsense("an answer to something else"))),
            }
        }
    }

    fn ask(&mut self, request: &[u8], deadline: Deadline) -> io::Result<()> {
        self.last_id = self.last_id % 0x7fff_ffff + 1;
        let mut message = Vec::new();
        put_all(&mut message, SEQUENCE, |out| {
            put_number(out, INTEGER, self.last_id);
            out.extend_from_slice(request);
        });
        self.wire.send(&message, deadline)
    }

    /// The next message, which must answer the last request: its kind and content.
    fn answer(&mut self, deadline: Deadline) -> io::Result<(u8, Vec<u8>)> {
        let start = self.wire.exactly(2, deadline)?;
        let length = match start[1] {
            short @ ..=0x7f => usize::from(short),
            long @ 0x81..=0x84 => {
                let bytes = self.wire.exactly(usize::from(long & 0x7f), deadline)?;
                bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte))
            }
            _ => return Err(nonsense("no message of LDAP")),
        };
        if start[0] != SEQUENCE || length > MESSAGE_BYTES_MAX {
            return Err(nonsense("no message of LDAP, or one that is too long"));
        }
        let message = self.wire.exactly(length, deadline)?;
        let mut reader = Reader(&message);
        match (reader.number(INTEGER), reader.next()) {
            (Some(id), Some((tag, content))) if id == self.last_id => Ok((tag, content.to_vec())),
            (Some(0), Some(_)) => Err(nonsense("the server ends the connection")),
            _ => Err(nonsense("an answer to another question")),
        }
    }
}

/// Code and text of an LDAPResult.
fn result(content: &[u8]) -> Option<(u32, String)> {
    let mut reader = Reader(content);
    let code = reader.number(ENUMERATED)?;
    reader.expect(OCTETS)?;
    Some((code, reader.expect(OCTETS)?.escape_ascii().to_string()))
}

fn entry(content: &[u8]) -> Option<Entry> {
    let mut reader = Reader(content);
    reader.expect(OCTETS)?;
    let mut attributes = Reader(reader.expect(SEQUENCE)?);
    let mut entry = Entry::new();
    while !attributes.0.is_empty() {
        let mut attribute = Reader(attributes.expect(SEQUENCE)?);
        let name = String::from_utf8(attribute.expect(OCTETS)?.to_vec()).ok()?;
        let mut set = Reader(attribute.expect(SET)?);
        let mut values = Vec::new();
        while !set.0.is_empty() {
            values.push(set.expect(OCTETS)?.to_vec());
        }
        entry.push((name, values));
    }
    Some(entry)
}
