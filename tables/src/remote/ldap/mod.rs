//! `ldap:/file.cf`: directories.
//!
//! Receives: keys. Gives: the values of `result_attribute`, and of the entries that `special_result_attribute` leads to.
//! Limits:   `timeout` for each search, the time limit of all lookups for all of them; `recursion_limit`; see
//!           [`client`] for what a server may say. On failure: see [`super::hosts`].
//! Standards: Postfix's ldap_table(5); RFC 4511.
//!
//! The protocol is spoken here: the client crates end the process over an entry that is no entry, which no server may.

mod ber;
mod client;
mod filter;

use std::sync::Arc;
use std::time::Duration;

use ringpost_core::lookup::{Found, TableSpec};

use self::client::{Client, Entry, Found as Finding, Manner, Scope, Search};
use self::filter::{encode, quote, quote_dn};
use super::hosts::{Failure, Held, Hosts};
use super::source::{Frame, Settings, Values, text_of};
use super::template::Template;
use super::wire::{Deadline, Endpoint};
use super::{Backend, Connector, SERVER_CONNECTIONS_MAX};
use crate::notes::Notes;
use crate::options::TableOptions;
use crate::table::trouble;

const SETTINGS: &[&str] = &[
    "server_host",
    "server_port",
    "timeout",
    "search_base",
    "query_filter",
    "result_attribute",
    "special_result_attribute",
    "terminal_result_attribute",
    "leaf_result_attribute",
    "scope",
    "bind",
    "bind_dn",
    "bind_pw",
    "recursion_limit",
    "size_limit",
    "dereference",
];
/// The protocol is version 3 always; what TLS would use says nothing while `start_tls` does not.
const WITHOUT_EFFECT: &[&str] = &[
    "version",
    "cache",
    "cache_expiry",
    "cache_size",
    "debuglevel",
    "tls_ca_cert_dir",
    "tls_ca_cert_file",
    "tls_cert",
    "tls_key",
    "tls_require_cert",
    "tls_random_file",
    "tls_cipher_suite",
];
const NOT_SERVED: &[&str] = &["start_tls", "chase_referrals", "sasl_mechs", "sasl_realm", "sasl_authz_id"];

struct Config {
    spec: TableSpec,
    hosts: Hosts<Endpoint>,
    bind: Option<(String, String)>,
    base: Template,
    filter: Template,
    scope: Scope,
    manner: Manner,
    attributes: Attributes,
    recursion_limit: usize,
    frame: Frame,
    limit: Duration,
    limit_in_all: Duration,
}

/// What the attributes of an entry are for.
#[derive(Debug)]
struct Attributes {
    /// Its values are results.
    result: Vec<String>,
    /// Its values are DNs or URLs of more entries.
    special: Vec<String>,
    /// An entry that has one gives nothing else.
    terminal: Vec<String>,
    /// Results of entries that lead to no others.
    leaf: Vec<String>,
}

struct Ldap {
    config: Arc<Config>,
    held: Held<Client>,
}

/// How to ask such a table.
pub(super) fn open(spec: &TableSpec, options: &TableOptions, notes: &Notes) -> Result<Connector, String> {
    let settings = Settings::read(spec, &[SETTINGS, NOT_SERVED, Frame::SETTINGS], WITHOUT_EFFECT, notes)?;
    settings.refuse(NOT_SERVED)?;
    let port = settings.number("server_port", 389, 1..=65_535)?;
    let port = u16::try_from(port).map_err(|error| error.to_string())?;
    let hosts = settings.list("server_host", "localhost");
    let hosts = hosts.iter().map(|host| server(host, port)).collect::<Result<Vec<_>, _>>()?;
    let bind = match &*settings.text_or("bind", "yes").to_ascii_lowercase() {
        "yes" | "simple" => {
            let (name, password) = (settings.text_or("bind_dn", ""), settings.text_or("bind_pw", ""));
            Some((name.to_owned(), password.to_owned()))
        }
        "no" | "none" => None,
        _ => return Err(settings.wrong("bind", "yes or no")),
    };
    let attributes = Attributes {
        result: settings.list("result_attribute", "maildrop"),
        special: settings.list("special_result_attribute", ""),
        terminal: settings.list("terminal_result_attribute", ""),
        leaf: settings.list("leaf_result_attribute", ""),
    };
    let number = |name, default, end| {
        let number = settings.number(name, default, 0..=end)?;
        u32::try_from(number).map_err(|error| error.to_string())
    };
    let expansion_limit = settings.number("expansion_limit", 0, 0..=u64::from(u32::MAX >> 1))?;
    let manner = Manner {
        attributes: attributes.all().cloned().collect(),
        dereference: number("dereference", 0, 3)?,
        size_limit: number("size_limit", expansion_limit, u64::from(u32::MAX >> 1))?,
    };
    let scope = match &*settings.text_or("scope", "sub").to_ascii_lowercase() {
        "sub" => Scope::Sub,
        "base" => Scope::Base,
        "one" => Scope::One,
        _ => return Err(settings.wrong("scope", "sub, base or one")),
    };
    let config = Arc::new(Config {
        spec: spec.clone(),
        hosts: Hosts::new(hosts, false),
        bind,
        base: settings.template("search_base", "")?,
        filter: settings.template("query_filter", "(mailacceptinggeneralid=%s)")?,
        scope,
        manner,
        attributes,
        recursion_limit: number("recursion_limit", 1000, 100_000)? as usize,
        frame: Frame::of(&settings, options)?,
        limit: settings.seconds("timeout", 10)?,
        limit_in_all: options.time_limit,
    });
    Ok(Connector::of(SERVER_CONNECTIONS_MAX, move || Ldap { config: config.clone(), held: Held::none() }))
}

/// One of `server_host`: a host, `host:port`, `ldap://host:port` or `ldapi://path` with `%2f` for each slash.
fn server(text: &str, port: u16) -> Result<Endpoint, String> {
    if text.starts_with("ldaps://") {
        return Err(format!("{text}: encrypted connections are not served"));
    }
    if let Some(path) = text.strip_prefix("ldapi://") {
        let path = percent_decoded(path).filter(|path| path.starts_with('/'));
        return path
            .map(|path| Endpoint::Unix(path.into()))
            .ok_or_else(|| format!("{text}: no path of a socket"));
    }
    let host = text.strip_prefix("ldap://").unwrap_or(text);
    Endpoint::parse(host.split('/').next().unwrap_or_default(), Some(port))
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(out).ok()
}

impl Attributes {
    fn all(&self) -> impl Iterator<Item = &String> {
        [&self.result, &self.special, &self.terminal, &self.leaf].into_iter().flatten()
    }
}

fn is_one_of(list: &[String], name: &str) -> bool {
    list.iter().any(|listed| listed.eq_ignore_ascii_case(name))
}

impl Backend for Ldap {
    fn lookup(&mut self, key: &str) -> Found {
        let config = self.config.clone();
        config.find(&mut self.held, key).map_err(|reason| trouble(&config.spec, reason))
    }
}

impl Config {
    fn find(&self, held: &mut Held<Client>, key: &str) -> Result<Option<Box<str>>, String> {
        let Some(key) = self.frame.key(key)? else { return Ok(None) };
        let Some(text) = self.filter.query(&key, quote) else { return Ok(None) };
        // A base that is empty is the root; one that wants a part of the key which is not there is no base.
        let Some(base) = self.base.query(&key, quote_dn) else { return Ok(None) };
        let mut filter = Vec::new();
        encode(&text, &mut filter)?;
        let search = Search { base, scope: self.scope, filter };
        let mut values = self.frame.values(&key);
        let in_all = Deadline::after(self.limit_in_all);
        // Searches that are left, each with how many entries led to it.
        let mut left = vec![(search, 0)];
        while let Some((search, depth)) = left.pop() {
            if depth > self.recursion_limit {
                return Err(format!(
                    "entries lead to entries more than {} deep (recursion_limit)",
                    self.recursion_limit
                ));
            }
            let deadline = Deadline::after(self.limit).or_earlier(in_all);
            let entries = match self.search(held, &search, deadline)? {
                Finding::Entries(entries) => entries,
                // A member that has left since.
                Finding::NoBase if depth > 0 => Vec::new(),
                Finding::NoBase => return Err("search_base is not in the directory".to_owned()),
            };
            // The first to be searched is put there last.
            let at = left.len();
            for entry in &entries {
                let more = self.take(entry, &mut values)?;
                for search in more {
                    left.insert(at, (search, depth + 1));
                }
            }
        }
        Ok(values.end())
    }

    fn search(
        &self,
        held: &mut Held<Client>,
        search: &Search,
        deadline: Deadline,
    ) -> Result<Finding, String> {
        let bind = self.bind.as_ref().map(|(name, password)| (name.as_str(), password.as_str()));
        self.hosts.ask(
            held,
            |endpoint| Client::open(endpoint, bind, deadline),
            |client| match client.is_quiet() {
                true => client.search(search, &self.manner, deadline),
                false => Err(Failure::Broken("the server closed the connection".to_owned())),
            },
        )
    }

    /// Takes the results of an entry; gives the searches that it leads to.
    fn take(&self, entry: &Entry, values: &mut Values<'_>) -> Result<Vec<Search>, String> {
        let has =
            |list: &[String]| entry.iter().any(|(name, found)| is_one_of(list, name) && !found.is_empty());
        let is_terminal = has(&self.attributes.terminal);
        let is_leaf = !is_terminal && !has(&self.attributes.special);
        let mut more = Vec::new();
        for (name, found) in entry {
            let counts = match is_terminal {
                true => is_one_of(&self.attributes.terminal, name),
                false => {
                    is_one_of(&self.attributes.result, name)
                        || is_leaf && is_one_of(&self.attributes.leaf, name)
                }
            };
            let leads = !is_terminal && is_one_of(&self.attributes.special, name);
            for value in found {
                let text = text_of(value.clone())?;
                if leads {
                    more.push(self.named(&text)?);
                } else if counts {
                    values.take(&text)?;
                }
            }
        }
        Ok(more)
    }

    /// The search for what a special attribute names: a DN, or a URL whose host is taken to be the one that is asked.
    fn named(&self, name: &str) -> Result<Search, String> {
        let every = "(objectclass=*)";
        let url = name.get(..5).filter(|start| start.eq_ignore_ascii_case("ldap:")).map(|_| &name[5..]);
        let (base, scope, text) = match url {
            None => (name.to_owned(), Scope::Base, every.to_owned()),
            Some(url) => {
                let wrong = || "an entry has a URL that cannot be read".to_owned();
                let path = url.strip_prefix("//").and_then(|rest| rest.split_once('/')).ok_or_else(wrong)?.1;
                let mut parts = path.split('?').map(percent_decoded);
                let mut part = || parts.next().unwrap_or(Some(String::new())).ok_or_else(wrong);
                let (base, _attributes, scope, filter) = (part()?, part()?, part()?, part()?);
                let scope = match &*scope {
                    "" | "base" => Scope::Base,
                    "one" => Scope::One,
                    "sub" => Scope::Sub,
                    _ => return Err(wrong()),
                };
                (base, scope, if filter.is_empty() { every.to_owned() } else { filter })
            }
        };
        let mut filter = Vec::new();
        encode(&text, &mut filter)?;
        Ok(Search { base, scope, filter })
    }
}

#[cfg(test)]
mod tests;
