//! open: from a table's name to something that can be asked.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use ringpost_core::lookup::{Found, TableSpec, TableType};

use crate::compound::{self, Answer, Compound, Joining, Random};
use crate::desk::Desk;
use crate::indexed::{self, Form};
use crate::notes::Notes;
use crate::options::TableOptions;
use crate::pattern::{self, Dialect};
use crate::remote::{self, Backend, Connector};
use crate::system::{self, Empty, Environment};
use crate::table::{Broken, Listing, Static, Table, Unlisted, trouble};
use crate::{cidr, inline, text};

/// A table that is open. Cheap to clone: what it holds is shared.
#[derive(Debug, Clone)]
pub enum Opened {
    /// It answers at once.
    Local(Arc<dyn Table>),
    /// It is asked by helper threads.
    Remote(Arc<Desk>),
    /// Several tables, some of which are asked by helper threads.
    Several(Arc<Several>),
}

/// Tables whose answers become one.
#[derive(Debug)]
pub struct Several {
    joining: Joining,
    tables: Vec<Opened>,
}

impl Opened {
    /// What the table holds for `key`.
    pub fn ask<'a>(&'a self, key: &'a str) -> Pin<Box<dyn Future<Output = Found> + 'a>> {
        match self {
            Opened::Local(table) => Box::pin(std::future::ready(table.find(key))),
            Opened::Remote(desk) => Box::pin(desk.ask(key)),
            Opened::Several(several) => Box::pin(async move {
                let mut answer = Answer::of(several.joining, key);
                for table in &several.tables {
                    let found = table.ask(answer.key()).await?;
                    if !answer.take(found) {
                        break;
                    }
                }
                Ok(answer.end())
            }),
        }
    }

    fn of(spec: &TableSpec, source: Source) -> Opened {
        match source {
            Source::Local(table) => Opened::Local(table),
            Source::Remote(connector) => Opened::Remote(Arc::new(Desk::new(&spec.to_string(), connector))),
            Source::Several(joining, members) => {
                let tables = members.into_iter().map(|(spec, member)| Opened::of(&spec, member)).collect();
                Opened::Several(Arc::new(Several { joining, tables }))
            }
        }
    }
}

/// A table as it is opened: what is behind it is not shared yet.
enum Source {
    Local(Arc<dyn Table>),
    Remote(Connector),
    Several(Joining, Vec<(TableSpec, Source)>),
}

/// Opens a table.
///
/// # Errors
/// Why it cannot be asked, in one sentence.
pub(crate) fn try_open(spec: &TableSpec, options: &TableOptions, notes: &Notes) -> Result<Opened, String> {
    source(spec, options, notes, 0).map(|source| Opened::of(spec, source))
}

/// Opens a table. One that cannot be opened answers every lookup with trouble; `notes` tells why.
pub fn open(spec: &TableSpec, options: &TableOptions, notes: &Notes) -> Opened {
    or_broken(spec, try_open(spec, options, notes), notes)
}

/// The table, or one that answers with trouble.
pub(crate) fn or_broken(spec: &TableSpec, opened: Result<Opened, String>, notes: &Notes) -> Opened {
    opened.unwrap_or_else(|reason| {
        if spec.kind != TableType::Fail {
            notes.warn(format!("{spec} is unavailable. {reason}"));
        }
        Opened::Local(Arc::new(Broken(trouble(spec, reason))))
    })
}

/// A table for a command: asked on the thread that opened it, waiting for the answer.
pub struct Direct(DirectSource);

enum DirectSource {
    Local(Arc<dyn Table>),
    Remote(Box<dyn Backend>),
    Several(Joining, Vec<Direct>),
}

impl Direct {
    /// Opens a table.
    ///
    /// # Errors
    /// Why it cannot be asked, in one sentence.
    pub fn open(spec: &TableSpec, options: &TableOptions, notes: &Notes) -> Result<Direct, String> {
        source(spec, options, notes, 0).map(Direct::of)
    }

    fn of(source: Source) -> Direct {
        Direct(match source {
            Source::Local(table) => DirectSource::Local(table),
            Source::Remote(connector) => DirectSource::Remote((connector.connect)()),
            Source::Several(joining, members) => DirectSource::Several(
                joining,
                members.into_iter().map(|(_, member)| Direct::of(member)).collect(),
            ),
        })
    }

    /// Every entry; see [`Table::list`].
    ///
    /// # Errors
    /// As there; tables behind servers cannot be listed.
    pub fn list(&self, each: Listing<'_>) -> Result<(), Unlisted> {
        match &self.0 {
            DirectSource::Local(table) => table.list(each),
            DirectSource::Remote(_) | DirectSource::Several(..) => Err(Unlisted::NotSupported),
        }
    }

    /// What the table holds for `key`.
    pub fn find(&mut self, key: &str) -> Found {
        match &mut self.0 {
            DirectSource::Local(table) => table.find(key),
            DirectSource::Remote(backend) => backend.lookup(key),
            DirectSource::Several(joining, tables) => {
                let mut answer = Answer::of(*joining, key);
                for table in tables {
                    if !answer.take(table.find(answer.key())?) {
                        break;
                    }
                }
                Ok(answer.end())
            }
        }
    }
}

fn source(spec: &TableSpec, options: &TableOptions, notes: &Notes, depth: usize) -> Result<Source, String> {
    if depth > compound::NESTING_MAX {
        return Err("too many tables within each other".to_owned());
    }
    let table: Arc<dyn Table> = match spec.kind {
        TableType::Hash | TableType::Btree | TableType::Cdb | TableType::Lmdb => {
            let form = Form::of(spec.kind).expect("these are kept in files of ours");
            Arc::new(indexed::open(spec, form, options, notes)?)
        }
        TableType::Static => Arc::new(Static(braces_off(&spec.name).into())),
        TableType::Inline => Arc::new(inline::open(spec, options)?),
        TableType::Texthash => Arc::new(text::open_texthash(spec, options, notes)?),
        TableType::Regexp => Arc::new(pattern::open(spec, Dialect::Posix, notes)?),
        TableType::Pcre => Arc::new(pattern::open(spec, Dialect::Perl, notes)?),
        TableType::Cidr => Arc::new(cidr::open(spec, notes)?),
        TableType::Randmap => Arc::new(Random::open(spec)?),
        TableType::Environ => Arc::new(Environment { fold: options.fold }),
        TableType::Internal => Arc::new(Empty),
        TableType::Nis => {
            notes.warn("dict_nis_init: NIS domain name not set - NIS lookups disabled");
            Arc::new(Empty)
        }
        TableType::Unionmap => return several(Joining::Union, spec, options, notes, depth),
        TableType::Pipemap => return several(Joining::Pipe, spec, options, notes, depth),
        TableType::Fail => return Err("Application error".to_owned()),
        TableType::Proxy => return source(&remote::proxied(spec, options)?, options, notes, depth + 1),
        TableType::Unix => return system::unix(spec, options).map(Source::Remote),
        TableType::Tcp
        | TableType::Socketmap
        | TableType::Memcache
        | TableType::Sqlite
        | TableType::Pgsql
        | TableType::Mysql
        | TableType::Ldap
        | TableType::Redis => return remote::open(spec, options, notes).map(Source::Remote),
    };
    Ok(Source::Local(table))
}

fn several(
    joining: Joining,
    spec: &TableSpec,
    options: &TableOptions,
    notes: &Notes,
    depth: usize,
) -> Result<Source, String> {
    let mut members = Vec::new();
    for member in compound::members(spec, options)? {
        let opened = source(&member, options, notes, depth + 1)?;
        members.push((member, opened));
    }
    let local = |(_, member): &(TableSpec, Source)| match member {
        Source::Local(table) => Some(table.clone()),
        _ => None,
    };
    match members.iter().map(local).collect::<Option<Vec<_>>>() {
        Some(tables) => Ok(Source::Local(Arc::new(Compound { joining, tables }))),
        None => Ok(Source::Several(joining, members)),
    }
}

/// `{text}` is text with white space in it.
fn braces_off(name: &str) -> &str {
    name.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).map_or(name, str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `postconf -m` lists all of them.
    #[test]
    fn every_kind_of_table_is_served() {
        for (word, kind) in TableType::ALL {
            let spec = TableSpec { kind, name: "/nowhere".into() };
            if let Err(reason) = try_open(&spec, &TableOptions::default(), &Notes::default()) {
                assert!(!reason.contains("not served"), "{word}: {reason}");
            }
        }
    }
}
