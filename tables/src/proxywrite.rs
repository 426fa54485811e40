//! proxywrite: tables that change while the system runs: caches of what was found out about addresses and clients.
//!
//! One [`Proxywrite`] serves the process through all its configurations, so that a table which the old and the new one name
//! keeps its one owner. Who uses a table opens it while a configuration is loaded, and gives each shard a clone:
//!
//! ```no_run
//! # use ringpost_core::lookup::{LookupTrouble, TableSpec, TableType};
//! # use ringpost_tables::{Notes, TableOptions, proxywrite::Proxywrite};
//! # async fn example(options: &TableOptions, notes: std::sync::Arc<Notes>) -> Result<(), LookupTrouble> {
//! let proxywrite = Proxywrite::new(notes);
//! let spec = TableSpec::parse("btree:/var/lib/ringpost/verify_cache", TableType::Hash).expect("a table");
//! let cache = proxywrite.open(&spec, options).expect("nobody else has it");
//! cache.update("user@example.com", "0:1700000000:0:250 2.1.5 Ok").await?;
//! assert!(cache.lookup("user@example.com").await?.is_some());
//! # Ok(())
//! # }
//! ```
//!
//! Receives: lookups, updates, deletions and steps of a walk, from tasks of any shard.
//! Sends:    answers, in the order in which they were asked for; [`Note`](crate::Note)s.
//! Owns:     each table once, whoever opened it and how often: a thread that does one thing after the other, the entries
//!           in memory, and the journal that outlives the process.
//! Limits:   [`WAITING_MAX`] requests wait; [`KEY_BYTES_MAX`], [`VALUE_BYTES_MAX`], [`LIVE_BYTES_MAX`].
//! On failure: a request that cannot be done is trouble. What the journal did not take is not in memory either.
//! Standards: Postfix's proxymap(8), `proxy_write_maps`. Postfix keeps such tables in Berkeley DB files; nobody else is to
//!           write them, so ours are of a form of our own, in `NAME.journal`.

mod journal;

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Poll, Waker};
use std::thread::JoinHandle;

use ringpost_core::lookup::{Found, LookupTrouble, TableSpec, TableType};

use self::journal::Journal;
use crate::notes::Notes;
use crate::options::TableOptions;
use crate::table::trouble;
use crate::text::reason_of;

/// Requests that may wait for one table; it does some hundred thousand a second.
pub const WAITING_MAX: usize = 10_000;
/// An address or a domain, with room.
pub const KEY_BYTES_MAX: usize = 4096;
/// The text of a reply, with room.
pub const VALUE_BYTES_MAX: usize = 64 << 10;
/// All keys and values of a table; some millions of clients.
pub const LIVE_BYTES_MAX: usize = 512 << 20;

/// The tables that may be written, each with one owner. One for the process.
#[derive(Debug)]
pub struct Proxywrite {
    notes: Arc<Notes>,
    open: Mutex<HashMap<TableSpec, Served>>,
}

/// A table's owner, as long as anybody has it, and its thread, which may end a moment later.
#[derive(Debug)]
struct Served {
    owner: Weak<Owner>,
    thread: JoinHandle<()>,
}

impl Served {
    fn is_over(&self) -> bool {
        self.owner.strong_count() == 0 && self.thread.is_finished()
    }
}

/// A table that may be written. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Writable(Arc<Owner>);

/// The way to the thread of a table, which ends with the last of those who have it.
#[derive(Debug)]
struct Owner {
    spec: TableSpec,
    requests: SyncSender<Request>,
}

struct Request {
    question: Question,
    reply: Arc<Reply>,
}

enum Question {
    Lookup(Box<str>),
    Update(Box<str>, Box<str>),
    Delete(Box<str>),
    After(Option<Box<str>>),
}

/// What comes back: a value, or whether there was an entry, or the next entry.
type Answer = Result<Option<Pair>, LookupTrouble>;

/// A key with its value.
pub type Pair = (Box<str>, Box<str>);

/// Where an answer is put.
#[derive(Default)]
struct Reply(Mutex<(Option<Answer>, Option<Waker>)>);

impl Reply {
    fn state(&self) -> MutexGuard<'_, (Option<Answer>, Option<Waker>)> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

impl Proxywrite {
    /// No table is open yet; what is to be said of them goes to `notes` ([`Catalogue::notes`](crate::Catalogue::notes)).
    pub fn new(notes: Arc<Notes>) -> Proxywrite {
        Proxywrite { notes, open: Mutex::default() }
    }

    /// Opens a table for writing, or gives the one that is open: of kind `btree`, `hash` or `lmdb`, kept in `NAME.journal`
    /// (one that is not there is made), or `internal`, kept in memory only. **Blocks** while its journal is read. `proxy:`
    /// may stand before those of `proxy_write_maps` only.
    ///
    /// # Errors
    /// It may not be written, or cannot be read; in one sentence.
    pub fn open(&self, spec: &TableSpec, options: &TableOptions) -> Result<Writable, String> {
        let spec = match spec.kind {
            TableType::Proxy if options.proxy_write.contains(&spec.name) => {
                TableSpec::parse(&spec.name, options.default_type)?
            }
            TableType::Proxy => {
                return Err(format!(
                    "proxywrite service is not configured for table \"{}\"; to approve it for writing, list {spec} in proxy_write_maps",
                    spec.name
                ));
            }
            _ => spec.clone(),
        };
        let mut open = self.open.lock().expect("no holder of this lock panics");
        if let Some(owner) = open.get(&spec).and_then(|served| served.owner.upgrade()) {
            return Ok(Writable(owner));
        }
        if let Some(served) = open.remove(&spec) {
            // Nobody has it any more: its thread gives the journal back now, whatever became of it.
            let _ = served.thread.join();
        }
        let content = match spec.kind {
            TableType::Internal => Content::in_memory(),
            TableType::Btree | TableType::Hash | TableType::Lmdb => {
                Content::of_file(PathBuf::from(format!("{}.journal", spec.name)), &self.notes)?
            }
            kind => return Err(format!("a {} table cannot be written", kind.word())),
        };
        let (requests, receiver) = sync_channel(WAITING_MAX);
        let owned = spec.clone();
        let thread = std::thread::Builder::new()
            .name("proxywrite".into())
            .spawn(move || content.serve(&owned, &receiver))
            .map_err(|error| format!("cannot start a thread: {}", reason_of(&error)))?;
        let owner = Arc::new(Owner { spec: spec.clone(), requests });
        open.retain(|_, served| !served.is_over());
        open.insert(spec, Served { owner: Arc::downgrade(&owner), thread });
        Ok(Writable(owner))
    }
}

impl Writable {
    /// The value of a key.
    pub async fn lookup(&self, key: &str) -> Found {
        Ok(self.ask(Question::Lookup(key.into())).await?.map(|(_, value)| value))
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// Key or value are too long, the table is full, or the journal does not take it.
    pub async fn update(&self, key: &str, value: &str) -> Result<(), LookupTrouble> {
        self.ask(Question::Update(key.into(), value.into())).await.map(drop)
    }

    /// Removes a key; tells whether it was there.
    ///
    /// # Errors
    /// The journal does not take it.
    pub async fn delete(&self, key: &str) -> Result<bool, LookupTrouble> {
        Ok(self.ask(Question::Delete(key.into())).await?.is_some())
    }

    /// The first entry after `key` in the order of bytes, or the first of all: a walk goes on whatever is written meanwhile.
    ///
    /// # Errors
    /// Too many requests wait.
    pub async fn after(&self, key: Option<&str>) -> Result<Option<Pair>, LookupTrouble> {
        self.ask(Question::After(key.map(Into::into))).await
    }

    async fn ask(&self, question: Question) -> Answer {
        let reply = Arc::new(Reply::default());
        if self.0.requests.try_send(Request { question, reply: reply.clone() }).is_err() {
            return Err(trouble(&self.0.spec, "too many requests wait for it"));
        }
        poll_fn(|context| {
            let mut state = reply.state();
            match state.0.take() {
                Some(answer) => Poll::Ready(answer),
                None => {
                    state.1 = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

/// The entries of a table, on its thread.
struct Content {
    entries: BTreeMap<Box<str>, Box<str>>,
    live_bytes: usize,
    journal: Option<(Journal, Arc<Notes>)>,
}

impl Content {
    fn in_memory() -> Content {
        Content { entries: BTreeMap::new(), live_bytes: 0, journal: None }
    }

    fn of_file(path: PathBuf, notes: &Arc<Notes>) -> Result<Content, String> {
        let mut content = Content::in_memory();
        let journal = Journal::open(&path, notes, |key, value| match value {
            Some(value) => content.insert(key.into(), value.into()),
            None => content.remove(key).map_or((), drop),
        });
        let journal = journal.map_err(|error| format!("{}: {}", path.display(), reason_of(&error)))?;
        content.journal = Some((journal, notes.clone()));
        Ok(content)
    }

    fn insert(&mut self, key: Box<str>, value: Box<str>) {
        self.live_bytes += key.len() + value.len();
        let key_bytes = key.len();
        if let Some(old) = self.entries.insert(key, value) {
            self.live_bytes -= key_bytes + old.len();
        }
    }

    fn remove(&mut self, key: &str) -> Option<Pair> {
        let (key, value) = self.entries.remove_entry(key)?;
        self.live_bytes -= key.len() + value.len();
        Some((key, value))
    }

    /// Does one thing after the other, until nobody has the table any more.
    fn serve(mut self, spec: &TableSpec, requests: &Receiver<Request>) {
        while let Ok(Request { question, reply }) = requests.recv() {
            let answer = self.answer(question).map_err(|reason| trouble(spec, reason));
            let mut state = reply.state();
            state.0 = Some(answer);
            let waker = state.1.take();
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    fn answer(&mut self, question: Question) -> Result<Option<Pair>, String> {
        match question {
            Question::Lookup(key) => Ok(self.entries.get_key_value(&key).map(copied)),
            Question::After(key) => {
                let from = key.map_or(Bound::Unbounded, Bound::Excluded);
                Ok(self.entries.range::<Box<str>, _>((from, Bound::Unbounded)).next().map(copied))
            }
            Question::Update(key, value) => {
                if key.len() > KEY_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
                    return Err("the entry is too long".to_owned());
                }
                if self.live_bytes + key.len() + value.len() > LIVE_BYTES_MAX {
                    return Err("the table is full".to_owned());
                }
                self.write(&key, Some(&value))?;
                self.insert(key, value);
                self.tidy();
                Ok(None)
            }
            Question::Delete(key) => {
                if !self.entries.contains_key(&key) {
                    return Ok(None);
                }
                self.write(&key, None)?;
                Ok(self.remove(&key))
            }
        }
    }

    fn write(&mut self, key: &str, value: Option<&str>) -> Result<(), String> {
        match &mut self.journal {
            Some((journal, _)) => journal.append(key, value).map_err(|error| reason_of(&error)),
            None => Ok(()),
        }
    }

    /// Writes the journal anew when most of it is of the past.
    fn tidy(&mut self) {
        if let Some((journal, notes)) = &mut self.journal
            && journal.is_mostly_past(self.live_bytes, self.entries.len())
        {
            journal.tidy(&self.entries, notes);
        }
    }
}

fn copied<T: Clone>((key, value): (&T, &T)) -> (T, T) {
    (key.clone(), value.clone())
}

#[cfg(test)]
mod tests;
