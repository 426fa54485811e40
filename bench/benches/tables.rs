//! A lookup as a shard makes it: in a million entries of each form, and in a thousand patterns.
//!
//! `pread` reads what a lookup in our own form reads by two system calls, for comparison with the mapping.

use std::fmt::Write;
use std::fs;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use ringpost_core::lookup::{TableId, TableSpec, TableType, Tables, at_once};
use ringpost_tables::indexed::{self, Entries, Form, Ownership, SourceFacts, Storing};
use ringpost_tables::{Catalogue, Shelf, TableOptions};

const ENTRIES: u64 = 1_000_000;
const PATTERNS: u64 = 1000;

/// A directory that goes away with the measurement.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn scratch() -> Scratch {
    let path = std::env::temp_dir().join(format!("ringpost-bench-tables-{}", std::process::id()));
    fs::create_dir_all(&path).expect("the temporary directory is writable");
    Scratch(path)
}

fn key(number: u64) -> String {
    format!("user{number}@example{}.com", number % 1000)
}

fn shelf(kind: TableType, path: &Path) -> (Arc<Catalogue>, Shelf) {
    let spec = TableSpec { kind, name: path.to_str().expect("the path is text").into() };
    let catalogue = Catalogue::open(&[spec], &TableOptions::default());
    assert_eq!(catalogue.notes().take(), []);
    let shelf = catalogue.shelf();
    (catalogue, shelf)
}

/// Numbers that jump about, always the same ones.
fn numbers(below: u64) -> impl FnMut() -> u64 {
    let mut state = 1_u64;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

fn indexed_files(criterion: &mut Criterion) {
    let directory = scratch();
    let mut entries = Entries::default();
    for number in 0..ENTRIES {
        entries.add(key(number).as_bytes(), format!("mailbox{number}@store.example.net").as_bytes());
    }
    let how = Storing { source: SourceFacts::default(), ownership: Ownership::Usual, terminated: true };
    for (kind, form) in
        [(TableType::Hash, Form::Hash), (TableType::Cdb, Form::Cdb), (TableType::Lmdb, Form::Lmdb)]
    {
        let path = directory.0.join("table");
        let name = path.to_str().expect("the path is text");
        indexed::store(form, name, &mut entries, &how).expect("the file can be written");
        let (_catalogue, shelf) = shelf(kind, &path);
        let keys: Vec<String> = (0..ENTRIES).map(key).collect();
        for (what, suffix) in [("hit", ""), ("miss", "x")] {
            let mut next = numbers(ENTRIES);
            criterion.bench_function(&format!("tables/{} {what} among a million", kind.word()), |bencher| {
                bencher.iter_batched_ref(
                    || format!("{}{suffix}", keys[next() as usize]),
                    |key| {
                        let found = at_once(shelf.lookup(TableId(0), key)).expect("it answers at once");
                        assert_eq!(found.expect("the file is sound").is_some(), suffix.is_empty());
                    },
                    criterion::BatchSize::SmallInput,
                );
            });
        }
        if form == Form::Hash {
            let file = fs::File::open(form.path(name)).expect("it was just written");
            let length = file.metadata().expect("it is open").len();
            let mut next = numbers(length - 64);
            let mut bytes = [0; 64];
            criterion.bench_function("tables/two places by pread", |bencher| {
                bencher.iter(|| {
                    file.read_exact_at(&mut bytes[..8], next()).expect("it lies within");
                    file.read_exact_at(&mut bytes, next()).expect("it lies within");
                    black_box(&bytes);
                });
            });
        }
    }
}

fn patterns(criterion: &mut Criterion) {
    let directory = scratch();
    let path = directory.0.join("patterns");
    let mut text = String::new();
    for number in 0..PATTERNS {
        let _ = match number % 4 {
            0 => writeln!(text, "/^Subject: .*cheap offer {number}/ REJECT {number}"),
            1 => writeln!(text, "/^From: .*@spam{number}\\.example\\.com>?$/ REJECT {number}"),
            2 => writeln!(text, "/^X-Mailer: (bulk|mass)er{number}/ DISCARD $1"),
            _ => writeln!(text, "/name=\"?[^>]*\\.ex{number}\"?$/ REJECT {number}"),
        };
    }
    fs::write(&path, text).expect("the directory is writable");
    for kind in [TableType::Regexp, TableType::Pcre] {
        let (_catalogue, shelf) = shelf(kind, &path);
        let header =
            "Received: from mail.example.org (mail.example.org [192.0.2.7]) by mx.example.com with ESMTPS";
        for (what, key, hits) in [
            ("a header that none matches", header, false),
            ("one that matches", "Subject: a cheap offer 996", true),
        ] {
            criterion.bench_function(&format!("tables/{} of 1000, {what}", kind.word()), |bencher| {
                bencher.iter(|| {
                    let found =
                        at_once(shelf.lookup(TableId(0), black_box(key))).expect("it answers at once");
                    assert_eq!(found.expect("no bound is reached").is_some(), hits);
                });
            });
        }
    }
}

criterion_group!(benches, indexed_files, patterns);
criterion_main!(benches);
