//! `environ` and `unix`: what the process and the system know.

use ringpost_core::lookup::{Found, TableSpec};
use ringpost_reactor::process::{group_entry, user_entry};

use crate::fold::lower;
use crate::options::TableOptions;
use crate::remote::{Backend, Connector};
use crate::table::{Table, trouble};
use crate::text::reason_of;

/// `environ:`: variables of the environment.
#[derive(Debug)]
pub(crate) struct Environment {
    pub(crate) fold: bool,
}

impl Table for Environment {
    fn find(&self, key: &str) -> Found {
        let name = if self.fold { lower(key) } else { key.into() };
        // A name with these is none, and the system would not be asked for it.
        if name.is_empty() || name.contains(['=', '\0']) {
            return Ok(None);
        }
        Ok(std::env::var(&*name).ok().map(Into::into))
    }
}

/// `internal:` and `nis:`: nothing is in them.
#[derive(Debug)]
pub(crate) struct Empty;

impl Table for Empty {
    fn find(&self, _key: &str) -> Found {
        Ok(None)
    }
}

/// Lookups of users may go to a directory server: one waits for at most so many.
const LOOKUPS_AT_A_TIME: usize = 4;

/// `unix:passwd.byname` and `unix:group.byname`: lines of the user database. The name service may block.
struct UserDatabase {
    spec: TableSpec,
    ask: fn(&str) -> std::io::Result<Option<String>>,
    fold: bool,
}

/// How the user database is asked.
pub(crate) fn unix(spec: &TableSpec, options: &TableOptions) -> Result<Connector, String> {
    let ask: fn(&str) -> _ = match spec.name.as_str() {
        "passwd.byname" => user_entry,
        "group.byname" => group_entry,
        _ => return Err(format!("unknown table: {spec}")),
    };
    let (spec, fold) = (spec.clone(), options.fold);
    let connect =
        Box::new(move || Box::new(UserDatabase { spec: spec.clone(), ask, fold }) as Box<dyn Backend>);
    Ok(Connector { connections_max: LOOKUPS_AT_A_TIME, connect })
}

impl Backend for UserDatabase {
    fn lookup(&mut self, key: &str) -> Found {
        let name = if self.fold { lower(key) } else { key.into() };
        let entry = (self.ask)(&name).map_err(|error| trouble(&self.spec, reason_of(&error)))?;
        Ok(entry.map(Into::into))
    }
}
