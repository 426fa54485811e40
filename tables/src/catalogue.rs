//! catalogue: every table of a configuration, open, for all shards.
//!
//! Receives: the tables of a configuration. Sends: newer tables to the shelves, by generation; notes for the log.
//! Owns:     what is published of each table.
//! On failure: see [`crate::open::open`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ringpost_core::lookup::{TableId, TableSpec};

use crate::notes::{Note, Notes};
use crate::open::{self, Opened};
use crate::options::TableOptions;
use crate::shelf::Shelf;
use crate::watch::{self, Watched};

/// The open tables of one configuration.
#[derive(Debug)]
pub struct Catalogue {
    entries: Vec<Entry>,
    options: TableOptions,
    notes: Arc<Notes>,
}

/// One table as it stands now.
#[derive(Debug)]
struct Entry {
    spec: TableSpec,
    /// Counts what was published; moved after `opened`, see [`Entry::publish`].
    generation: AtomicU64,
    opened: Mutex<Opened>,
    /// Touched by whoever watches the files only.
    watched: Mutex<Watched>,
}

impl Entry {
    /// Gives every shelf this table from its next lookup on.
    fn publish(&self, opened: Opened) {
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
        let entry = |spec: &TableSpec| Entry {
            spec: spec.clone(),
            generation: AtomicU64::new(0),
            // Before the table: a change while it is read is noticed, too.
            watched: Mutex::new(Watched::of(spec, options)),
            opened: Mutex::new(open::open(spec, options, &notes)),
        };
        let entries = specs.iter().map(entry).collect();
        Arc::new(Catalogue { entries, options: options.clone(), notes })
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
