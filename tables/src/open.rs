//! open: from a table's name to something that can be asked.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use ringpost_core::lookup::{Found, TableSpec, TableType};

use crate::desk::Desk;
use crate::indexed::{self, Form};
use crate::inline;
use crate::notes::Notes;
use crate::options::TableOptions;
use crate::remote::{self, Backend, Connector};
use crate::table::{Broken, Listing, Static, Table, Unlisted, trouble};
use crate::text;

/// A table that is open. Cheap to clone: what it holds is shared.
#[derive(Debug, Clone)]
pub enum Opened {
    /// It answers at once.
    Local(Arc<dyn Table>),
    /// It is asked by helper threads.
    Remote(Arc<Desk>),
}

impl Opened {
    /// What the table holds for `key`.
    pub fn ask<'a>(&'a self, key: &'a str) -> Pin<Box<dyn Future<Output = Found> + 'a>> {
        match self {
            Opened::Local(table) => Box::pin(std::future::ready(table.find(key))),
            Opened::Remote(desk) => Box::pin(desk.ask(key)),
        }
    }
}

/// A table as it is opened: what is behind it is not shared yet.
enum Source {
    Local(Arc<dyn Table>),
    Remote(Connector),
}

/// Opens a table. One that cannot be opened answers every lookup with trouble; `notes` tells why.
pub fn open(spec: &TableSpec, options: &TableOptions, notes: &Notes) -> Opened {
    match source(spec, options, notes) {
        Ok(Source::Local(table)) => Opened::Local(table),
        Ok(Source::Remote(connector)) => Opened::Remote(Arc::new(Desk::new(&spec.to_string(), connector))),
        Err(reason) => {
            notes.warn(format!("{spec} is unavailable. {reason}"));
            Opened::Local(Arc::new(Broken(trouble(spec, reason))))
        }
    }
}

/// A table for a command: asked on the thread that opened it, waiting for the answer.
pub struct Direct(DirectSource);

enum DirectSource {
    Local(Arc<dyn Table>),
    Remote(Box<dyn Backend>),
}

impl Direct {
    /// Opens a table.
    ///
    /// # Errors
    /// Why it cannot be asked, in one sentence.
    pub fn open(spec: &TableSpec, options: &TableOptions, notes: &Notes) -> Result<Direct, String> {
        Ok(Direct(match source(spec, options, notes)? {
            Source::Local(table) => DirectSource::Local(table),
            Source::Remote(connector) => DirectSource::Remote((connector.connect)()),
        }))
    }

    /// Every entry; see [`Table::list`].
    ///
    /// # Errors
    /// As there; tables behind servers cannot be listed.
    pub fn list(&self, each: Listing<'_>) -> Result<(), Unlisted> {
        match &self.0 {
            DirectSource::Local(table) => table.list(each),
            DirectSource::Remote(_) => Err(Unlisted::NotSupported),
        }
    }

    /// What the table holds for `key`.
    pub fn find(&mut self, key: &str) -> Found {
        match &mut self.0 {
            DirectSource::Local(table) => table.find(key),
            DirectSource::Remote(backend) => backend.lookup(key),
        }
    }
}

fn source(spec: &TableSpec, options: &TableOptions, notes: &Notes) -> Result<Source, String> {
    if let Some(form) = Form::of(spec.kind) {
        return indexed::open_shared(spec, form, options, notes).map(Source::Local);
    }
    let local = |table: Result<Arc<dyn Table>, String>| Ok(Source::Local(table?));
    match spec.kind {
        TableType::Static => local(Ok(Arc::new(Static(spec.name.as_str().into())))),
        TableType::Inline => local(inline::open(spec, options).map(|table| Arc::new(table) as _)),
        TableType::Texthash => {
            local(text::open_texthash(spec, options, notes).map(|table| Arc::new(table) as _))
        }
        TableType::Fail => Err("it fails always".to_owned()),
        TableType::Proxy => source(&remote::proxied(spec, options)?, options, notes),
        TableType::Tcp
        | TableType::Socketmap
        | TableType::Memcache
        | TableType::Sqlite
        | TableType::Pgsql
        | TableType::Mysql
        | TableType::Ldap
        | TableType::Redis => remote::open(spec, options).map(Source::Remote),
        kind => Err(format!("the {} table type is not served", kind.word())),
    }
}
