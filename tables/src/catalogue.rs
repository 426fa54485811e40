//! catalogue: every table of a configuration, open, for all shards.
//!
//! Receives: the tables of a configuration. Sends: newer tables to the shelves, by generation; notes for the log.
//! Owns:     what is published of each table.
//! On failure: see [`crate::open::open`].

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ringpost_core::lookup::{TableId, TableSpec, TableType};

use crate::notes::{Note, Notes};
use crate::open::{self, Opened};
use crate::options::TableOptions;
use crate::proxywrite::{Proxywrite, Writable};
use crate::shelf::Shelf;
use crate::watch::{self, Watched};

/// The open tables of one configuration.
#[derive(Debug)]
pub struct Catalogue {
    entries: Vec<Entry>,
    options: TableOptions,
    notes: Arc<Notes>,
    /// The tables that are written, through all configurations.
    proxywrite: Arc<Proxywrite>,
    /// Another catalogue has taken its place: nobody looks at the files for this one any more.
    replaced: AtomicBool,
}

/// A table that cannot be opened, and why.
pub type Unopened = (TableSpec, String);

/// One table as it stands now.
#[derive(Debug)]
struct Entry {
    spec: TableSpec,
    /// Counts what was published; moved after `opened`, see [`Entry::publish`].
    generation: AtomicU64,
    opened: Mutex<Opened>,
    /// It could not be opened, and answers with trouble.
    broken: AtomicBool,
    /// Touched by whoever watches the files only.
    watched: Mutex<Watched>,
}

impl Entry {
    fn new(spec: &TableSpec, watched: Watched, opened: Opened, broken: bool) -> Entry {
        Entry {
            spec: spec.clone(),
            generation: AtomicU64::new(0),
            opened: Mutex::new(opened),
            broken: AtomicBool::new(broken),
            watched: Mutex::new(watched),
        }
    }

    /// Gives every shelf this table from its next lookup on.
    fn publish(&self, opened: Opened) {
        // Relaxed: only whoever reloads reads it, and a table that it opens once too often does no harm.
        self.broken.store(false, Ordering::Relaxed);
        *self.opened.lock().expect("no holder of this lock panics") = opened;
        // Pairs with the acquire in `is_newer`: who sees the number finds the table.
        self.generation.fetch_add(1, Ordering::Release);
    }
}

impl Catalogue {
    /// Opens the tables of a configuration, in the order of their ids. Those that cannot be opened answer with trouble;
    /// [`Catalogue::notes`] tells of them.
    pub fn open(specs: &[TableSpec], options: &TableOptions) -> Arc<Catalogue> {
        let notes = Arc::new(Notes::default());
        let entry = |spec: &TableSpec| {
            // Before the table: a change while it is read is noticed, too.
            let watched = Watched::of(spec, options);
            let opened = open::try_open(spec, options, &notes);
            let broken = opened.is_err();
            Entry::new(spec, watched, open::or_broken(spec, opened, &notes), broken)
        };
        let entries = specs.iter().map(entry).collect();
        let proxywrite = Arc::new(Proxywrite::new(notes.clone()));
        Catalogue::of(entries, options, notes, proxywrite)
    }

    fn of(
        entries: Vec<Entry>,
        options: &TableOptions,
        notes: Arc<Notes>,
        proxywrite: Arc<Proxywrite>,
    ) -> Arc<Catalogue> {
        let (options, replaced) = (options.clone(), AtomicBool::new(false));
        Arc::new(Catalogue { entries, options, notes, proxywrite, replaced })
    }

    /// Opens the tables of the configuration that is to take this one's place. A table in memory whose files are as they
    /// were when it was read is shared with this catalogue; all others are opened anew. `may_be_missing` tells of which
    /// it is no error that they cannot be opened: these answer with trouble, like at the start. **Blocks.**
    ///
    /// # Errors
    /// Each of the others that cannot be opened; `fail:` is meant to fail and no error.
    pub fn next(
        &self,
        specs: &[TableSpec],
        options: &TableOptions,
        may_be_missing: impl Fn(&TableSpec) -> bool,
    ) -> Result<Arc<Catalogue>, Vec<Unopened>> {
        let mut entries = Vec::new();
        let mut unopened = Vec::new();
        for spec in specs {
            let watched = Watched::of(spec, options);
            if let Some(known) = self.unchanged(spec, options, &watched) {
                entries.push(Entry::new(spec, watched, known, false));
                continue;
            }
            let opened = open::try_open(spec, options, &self.notes);
            let broken = opened.is_err();
            match opened {
                Err(reason) if spec.kind != TableType::Fail && !may_be_missing(spec) => {
                    unopened.push((spec.clone(), reason));
                }
                opened => {
                    let opened = open::or_broken(spec, opened, &self.notes);
                    entries.push(Entry::new(spec, watched, opened, broken));
                }
            }
        }
        match unopened.is_empty() {
            true => Ok(Catalogue::of(entries, options, self.notes.clone(), self.proxywrite.clone())),
            false => Err(unopened),
        }
    }

    /// The table of this name, if nothing about it has changed. What asks servers and libraries is none of these: their
    /// own files are not known here.
    fn unchanged(&self, spec: &TableSpec, options: &TableOptions, now: &Watched) -> Option<Opened> {
        let entry = self.entries.iter().find(|entry| entry.spec == *spec)?;
        let is_same = *options == self.options
            && !entry.broken.load(Ordering::Relaxed)
            && entry.watched.lock().expect("no holder of this lock panics").was_read_as(now);
        let opened = entry.opened.lock().expect("no holder of this lock panics").clone();
        (is_same && matches!(opened, Opened::Local(_))).then_some(opened)
    }

    /// Another catalogue has taken this one's place: its files are watched no more. What still asks it is answered from
    /// what it holds.
    pub fn replaced(&self) {
        // Relaxed: the thread that watches sees it at one of its next looks.
        self.replaced.store(true, Ordering::Relaxed);
    }

    /// Whether that has happened.
    pub(crate) fn is_replaced(&self) -> bool {
        self.replaced.load(Ordering::Relaxed)
    }

    /// The tables for one shard.
    pub fn shelf(self: &Arc<Self>) -> Shelf {
        Shelf::new(self.clone())
    }

    /// Has the files of the tables watched for as long as the catalogue lives: a changed one is read and published within
    /// seconds.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn watch(self: &Arc<Self>) -> std::io::Result<()> {
        let has_files =
            |entry: &Entry| !entry.watched.lock().expect("no holder of this lock panics").is_empty();
        match self.entries.iter().any(has_files) {
            true => watch::start(self),
            false => Ok(()),
        }
    }

    /// Looks at all files once, and reads those that have changed and come to rest. **Blocks.**
    pub fn look(&self) {
        for entry in &self.entries {
            if entry.watched.lock().expect("no holder of this lock panics").has_changed() {
                let spec = &entry.spec;
                match open::try_open(spec, &self.options, &self.notes) {
                    Ok(opened) => {
                        entry.publish(opened);
                        let text =
                            format!("table {spec}(0,lock|fold_fix|utf8_request) has changed -- restarting");
                        self.notes.add(Note::Info(text));
                    }
                    Err(reason) => {
                        self.notes.warn(format!(
                            "table {spec} has changed and is unavailable, what it held stays: {reason}"
                        ));
                    }
                }
            }
        }
    }

    /// Opens a table that is written while the system runs, or gives the one that this configuration or an earlier one has
    /// open. **Blocks.**
    ///
    /// # Errors
    /// It may not be written, or cannot be read; in one sentence.
    pub fn open_writable(&self, spec: &TableSpec) -> Result<Writable, String> {
        self.proxywrite.open(spec, &self.options)
    }

    /// What is to be said in the log.
    pub fn notes(&self) -> &Arc<Notes> {
        &self.notes
    }

    /// How many tables there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The name of a table.
    pub fn spec(&self, id: TableId) -> Option<&TableSpec> {
        self.entries.get(id.0 as usize).map(|entry| &entry.spec)
    }

    /// The generation of a table, if it is not `known`.
    pub(crate) fn is_newer(&self, index: usize, known: u64) -> Option<u64> {
        let generation = self.entries[index].generation.load(Ordering::Acquire);
        (generation != known).then_some(generation)
    }

    /// The table as it stands now.
    pub(crate) fn opened(&self, index: usize) -> Opened {
        self.entries[index].opened.lock().expect("no holder of this lock panics").clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Static;
    use ringpost_core::lookup::{TableType, Tables, at_once};

    fn catalogue(names: &[&str]) -> Arc<Catalogue> {
        let specs: Vec<_> =
            names.iter().map(|name| TableSpec::parse(name, TableType::Hash).unwrap()).collect();
        Catalogue::open(&specs, &TableOptions::default())
    }

    #[test]
    fn a_shelf_answers_from_the_newest_table() {
        let catalogue = catalogue(&["static:old", "inline:{{a@b = 1 2}, c=d}"]);
        let shelf = catalogue.shelf();
        let find = |id, key| at_once(shelf.lookup(TableId(id), key)).unwrap().unwrap();
        assert_eq!(find(0, "any").as_deref(), Some("old"));
        assert_eq!(find(1, "A@B").as_deref(), Some("1 2"));
        assert_eq!(find(1, "x"), None);
        catalogue.entries[0].publish(Opened::Local(Arc::new(Static("new".into()))));
        assert_eq!(find(0, "any").as_deref(), Some("new"));
    }

    #[test]
    fn a_table_that_cannot_be_opened_is_trouble_and_told_once() {
        let catalogue = catalogue(&["texthash:/nowhere/at/all", "fail:x"]);
        let shelf = catalogue.shelf();
        for id in [0, 1, 0] {
            assert!(at_once(shelf.lookup(TableId(id), "any")).unwrap().is_err());
        }
        assert_eq!(catalogue.notes().take().len(), 1);
    }

    #[test]
    fn a_changed_file_is_read_and_a_broken_one_is_not() {
        let path = std::env::temp_dir().join(format!("ringpost-catalogue-{}", std::process::id()));
        let name = path.to_str().unwrap();
        let catalogue = catalogue(&[&format!("unionmap:{{texthash:{name}, static:x}}")]);
        let shelf = catalogue.shelf();
        let find = |key| at_once(shelf.lookup(TableId(0), key)).unwrap();
        assert!(find("a").is_err());
        std::fs::write(&path, "a 1\n").unwrap();
        catalogue.look();
        assert!(find("a").is_err(), "it is read when it has come to rest");
        catalogue.look();
        assert_eq!(find("a").unwrap().as_deref(), Some("1,x"));
        catalogue.notes().take();
        std::fs::remove_file(&path).unwrap();
        for _ in 0..3 {
            catalogue.look();
        }
        assert_eq!(find("a").unwrap().as_deref(), Some("1,x"));
        assert_eq!(catalogue.notes().take().len(), 1);
        std::fs::write(&path, "a 2\n").unwrap();
        catalogue.look();
        catalogue.look();
        assert_eq!(find("a").unwrap().as_deref(), Some("2,x"));
        std::fs::remove_file(&path).unwrap();
    }

    fn specs(names: &[&str]) -> Vec<TableSpec> {
        names.iter().map(|name| TableSpec::parse(name, TableType::Hash).unwrap()).collect()
    }

    #[test]
    fn the_next_catalogue_shares_what_has_not_changed_and_opens_the_rest() {
        let path = std::env::temp_dir().join(format!("ringpost-next-{}", std::process::id()));
        let name = format!("texthash:{}", path.display());
        std::fs::write(&path, "a 1\n").unwrap();
        let options = TableOptions::default();
        let first = catalogue(&["static:x", &name]);
        let local = |catalogue: &Catalogue, index| match catalogue.opened(index) {
            Opened::Local(table) => table,
            other => panic!("{other:?}"),
        };
        let second = first.next(&specs(&[&name, "static:y"]), &options, |_| false).unwrap();
        assert!(Arc::ptr_eq(&local(&first, 1), &local(&second, 0)));
        std::fs::write(&path, "a 22\n").unwrap();
        let third = second.next(&specs(&[&name]), &options, |_| false).unwrap();
        let find = |catalogue: &Arc<Catalogue>, id| {
            at_once(catalogue.shelf().lookup(TableId(id), "a")).unwrap().unwrap()
        };
        assert_eq!(find(&third, 0).as_deref(), Some("22"));
        assert_eq!(find(&second, 0).as_deref(), Some("1"), "whoever has the older one keeps it");
        std::fs::remove_file(&path).unwrap();
        let missing = third.next(&specs(&[&name, "fail:x", "static:z"]), &options, |_| false).unwrap_err();
        assert_eq!(missing.len(), 1);
        assert!(missing[0].0.to_string() == name && !missing[0].1.is_empty(), "{missing:?}");
        assert!(third.next(&specs(&[&name]), &options, |_| true).is_ok());
    }

    #[test]
    fn a_written_table_keeps_its_owner_in_the_next_catalogue() {
        let path = std::env::temp_dir().join(format!("ringpost-written-{}", std::process::id()));
        let spec = TableSpec::parse(&format!("btree:{}", path.display()), TableType::Hash).unwrap();
        let first = catalogue(&["static:x"]);
        // A second owner would be refused the journal.
        let held = first.open_writable(&spec).unwrap();
        let next = first.next(&specs(&["static:y"]), &TableOptions::default(), |_| false).unwrap();
        let shared = next.open_writable(&spec);
        assert!(shared.is_ok(), "{shared:?}");
        drop((held, shared));
        for _ in 0..100 {
            // Nor does it matter that the last has only just let go of it.
            let again = next.open_writable(&spec);
            assert!(again.is_ok(), "{again:?}");
        }
        std::fs::remove_file(path.with_extension("journal")).unwrap();
    }

    #[test]
    fn an_empty_value_is_told_once() {
        let catalogue = catalogue(&["inline:{x=}"]);
        let shelf = catalogue.shelf();
        for _ in 0..3 {
            assert_eq!(at_once(shelf.lookup(TableId(0), "x")).unwrap().unwrap().as_deref(), Some(""));
        }
        assert_eq!(catalogue.notes().take().len(), 2);
    }

    #[test]
    fn tables_are_made_of_tables() {
        let catalogue = catalogue(&[
            "unionmap:{static:a, inline:{x=z}, static:b}",
            "pipemap:{inline:{x=y}, inline:{y=z}}",
            "randmap:{p, q}",
            "unionmap:{unix:passwd.byname, static:a}",
            "internal:x",
        ]);
        let shelf = catalogue.shelf();
        let find = |id, key| at_once(shelf.lookup(TableId(id), key)).map(Result::unwrap);
        assert_eq!(find(0, "x").unwrap().as_deref(), Some("a,z,b"));
        assert_eq!(find(0, "q").unwrap().as_deref(), Some("a,b"));
        assert_eq!(find(1, "x").unwrap().as_deref(), Some("z"));
        assert_eq!(find(1, "y"), Some(None));
        assert!(matches!(find(2, "k").unwrap().as_deref(), Some("p" | "q")));
        assert_eq!(find(3, "root"), None, "the name service is asked by a thread");
        assert_eq!(find(4, "k"), Some(None));
    }
}
