//! watch: notices that the file of a table has changed, reads it away from the shards, and publishes it.
//!
//! Receives: the files' facts, once a second. Sends: newer tables to the catalogue, a line for each to the log.
//! Owns:     its thread.
//! Limits:   a file counts as changed when it has looked the same twice in a row, so one that is being written is read
//!           when the writer is done, a second later; one is read at a time.
//! On failure: a file that is gone or cannot be read leaves the table as it was, and that is told once. (Postfix's process
//!           restarts, and then every lookup fails: the older answers are worth more.)

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ringpost_core::lookup::{TableSpec, TableType};

use crate::catalogue::Catalogue;
use crate::indexed::Form;
use crate::options::TableOptions;
use crate::{compound, remote, text};

/// How often files are looked at; a `stat` of each costs about a microsecond.
const INTERVAL: Duration = Duration::from_secs(1);

/// What tells one state of a file from another; `None` while there is no file.
type Facts = Option<(u64, u64, i64, i64, u64)>;

/// The files of one table.
#[derive(Debug)]
pub(crate) struct Watched {
    paths: Vec<PathBuf>,
    /// As the table was read.
    read: Vec<Facts>,
    /// As they were at the last look.
    seen: Vec<Facts>,
}

impl Watched {
    /// What to watch for a table that is about to be opened: a change while it is read is noticed, too.
    pub(crate) fn of(spec: &TableSpec, options: &TableOptions) -> Watched {
        let mut paths = Vec::new();
        add_paths(spec, options, 0, &mut paths);
        let facts: Vec<Facts> = paths.iter().map(|path| facts(path)).collect();
        Watched { paths, read: facts.clone(), seen: facts }
    }

    /// Whether there is nothing to look at.
    pub(crate) fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Whether the table was read from files that are as `now` finds them.
    pub(crate) fn was_read_as(&self, now: &Watched) -> bool {
        self.paths == now.paths && self.read == now.read
    }

    /// Looks at the files: whether they have changed since they were read, and have come to rest.
    pub(crate) fn has_changed(&mut self) -> bool {
        let now: Vec<Facts> = self.paths.iter().map(|path| facts(path)).collect();
        let at_rest = now == self.seen;
        self.seen = now;
        if at_rest && self.seen != self.read {
            self.read.clone_from(&self.seen);
            return true;
        }
        false
    }
}

fn facts(path: &Path) -> Facts {
    let file = fs::metadata(path).ok()?;
    Some((file.dev(), file.ino(), file.mtime(), file.mtime_nsec(), file.len()))
}

/// The files that a table is read from.
fn add_paths(spec: &TableSpec, options: &TableOptions, depth: usize, paths: &mut Vec<PathBuf>) {
    if depth > compound::NESTING_MAX {
        return;
    }
    match spec.kind {
        TableType::Regexp | TableType::Pcre | TableType::Cidr if text::holds_rules(&spec.name) => {}
        TableType::Texthash | TableType::Regexp | TableType::Pcre | TableType::Cidr => {
            paths.push(PathBuf::from(&spec.name));
        }
        TableType::Unionmap | TableType::Pipemap => {
            for member in compound::members(spec, options).unwrap_or_default() {
                add_paths(&member, options, depth + 1, paths);
            }
        }
        // What the server is called and how it is asked.
        TableType::Mysql
        | TableType::Pgsql
        | TableType::Ldap
        | TableType::Sqlite
        | TableType::Memcache
        | TableType::Redis => paths.push(PathBuf::from(&spec.name)),
        TableType::Proxy => {
            if let Ok(inner) = remote::proxied(spec, options) {
                add_paths(&inner, options, depth + 1, paths);
            }
        }
        kind => paths.extend(Form::of(kind).map(|form| form.path(&spec.name))),
    }
}

/// Starts the thread that watches the files of a catalogue, and ends with it.
///
/// # Errors
/// The system has no thread to give.
pub(crate) fn start(catalogue: &Arc<Catalogue>) -> std::io::Result<()> {
    let catalogue = Arc::downgrade(catalogue);
    let watch = move || {
        loop {
            std::thread::sleep(INTERVAL);
            match catalogue.upgrade() {
                Some(catalogue) if !catalogue.is_replaced() => catalogue.look(),
                _ => return,
            }
        }
    };
    std::thread::Builder::new().name("table watch".into()).spawn(watch).map(|_| ())
}
