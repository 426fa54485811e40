//! Builds a table of ten million entries (or as many as the first word says) in each form, opens it, and tells the times
//! and the memory: `cargo run --release -p ringpost-tables --example large_table [entries] [directory]`.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use ringpost_core::lookup::{TableId, TableSpec, TableType, Tables, at_once};
use ringpost_tables::indexed::{self, Entries, Form, Ownership, SourceFacts, Storing};
use ringpost_tables::{Catalogue, TableOptions};

const LOOKUPS: u64 = 1_000_000;

/// A line of `/proc/self/status`, in KiB.
fn status(field: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").expect("the system tells of its processes");
    let line = text.lines().find_map(|line| line.strip_prefix(field)).expect("the field is there");
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse().expect("it is a number")
}

fn main() {
    let mut words = std::env::args().skip(1);
    let count: u64 = words.next().map_or(10_000_000, |word| word.parse().expect("a number of entries"));
    let directory = words.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let path = directory.join(format!("ringpost-large-table-{}", std::process::id()));
    let name = path.to_str().expect("the path is text").to_owned();
    let key = |number: u64| format!("user{number}@example{}.com", number % 1000);

    let begun = Instant::now();
    let mut entries = Entries::default();
    for number in 0..count {
        entries.add(key(number).as_bytes(), format!("mailbox{number}@store.example.net").as_bytes());
    }
    println!(
        "{count} entries gathered in {:.2} s, {} MiB",
        begun.elapsed().as_secs_f64(),
        status("RssAnon:") >> 10
    );
    for form in [Form::Hash, Form::Cdb, Form::Lmdb] {
        let begun = Instant::now();
        let how = Storing { source: SourceFacts::default(), ownership: Ownership::Usual, terminated: true };
        indexed::store(form, &name, &mut entries, &how).expect("the file can be written");
        let bytes = fs::metadata(form.path(&name)).expect("it was just written").len();
        println!("{form:?}: written in {:.2} s, {} MiB", begun.elapsed().as_secs_f64(), bytes >> 20);
    }
    drop(entries);
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % count
    };
    let keys: Vec<String> = (0..LOOKUPS).map(|_| key(next())).collect();
    for (kind, form) in
        [(TableType::Hash, Form::Hash), (TableType::Cdb, Form::Cdb), (TableType::Lmdb, Form::Lmdb)]
    {
        let before = status("RssAnon:");
        let begun = Instant::now();
        let catalogue = Catalogue::open(&[TableSpec { kind, name: name.clone() }], &TableOptions::default());
        let shelf = catalogue.shelf();
        let opened = begun.elapsed();
        let begun = Instant::now();
        for key in &keys {
            let found = at_once(shelf.lookup(TableId(0), key));
            assert!(found.expect("it answers at once").expect("the file is sound").is_some());
        }
        let each_us = begun.elapsed().as_secs_f64() * 1e6 / LOOKUPS as f64;
        println!(
            "{form:?}: open in {:.1} ms, {LOOKUPS} lookups at {:.2} µs, memory of our own {:+} KiB, mapped {} MiB",
            opened.as_secs_f64() * 1e3,
            each_us,
            status("RssAnon:") as i64 - before as i64,
            status("RssFile:") >> 10,
        );
        drop(shelf);
        drop(catalogue);
        fs::remove_file(form.path(&name)).expect("it is ours");
    }
}
