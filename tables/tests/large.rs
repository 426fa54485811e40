//! A large table costs its file and next to nothing beside it. In a process of its own, so that its memory can be told.

use std::fs;

use ringpost_core::lookup::{TableId, TableSpec, TableType, Tables, at_once};
use ringpost_tables::indexed::{self, Entries, Form, Ownership, SourceFacts, Storing};
use ringpost_tables::{Catalogue, TableOptions};

const ENTRIES: u64 = 1_000_000;
/// What opening and asking may take of our own memory.
const MEMORY_KIB_MAX: u64 = 2048;

fn own_memory_kib() -> u64 {
    let text = fs::read_to_string("/proc/self/status").expect("the system tells of its processes");
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("the field is there");
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse().expect("it is a number")
}

#[test]
fn a_million_entries_cost_little_beside_their_file() {
    let path = std::env::temp_dir().join(format!("ringpost-large-{}", std::process::id()));
    let name = path.to_str().expect("the path is text").to_owned();
    let key = |number: u64| format!("user{number}@example{}.com", number % 1000);
    let mut entries = Entries::default();
    for number in 0..ENTRIES {
        entries.add(key(number).as_bytes(), format!("mailbox{number}").as_bytes());
    }
    let how = Storing { source: SourceFacts::default(), ownership: Ownership::Usual, terminated: true };
    indexed::store(Form::Hash, &name, &mut entries, &how).expect("the file can be written");
    drop(entries);

    let before = own_memory_kib();
    let catalogue =
        Catalogue::open(&[TableSpec { kind: TableType::Hash, name: name.clone() }], &TableOptions::default());
    let shelf = catalogue.shelf();
    for number in (0..ENTRIES).step_by(97) {
        let found = at_once(shelf.lookup(TableId(0), &key(number))).expect("it answers at once");
        assert_eq!(found.expect("the file is sound").as_deref(), Some(&*format!("mailbox{number}")));
        let absent = at_once(shelf.lookup(TableId(0), &key(number + ENTRIES))).expect("it answers at once");
        assert_eq!(absent, Ok(None));
    }
    let grown = own_memory_kib().saturating_sub(before);
    fs::remove_file(Form::Hash.path(&name)).expect("it is ours");
    assert!(grown < MEMORY_KIB_MAX, "{grown} KiB");
}
