//! Tables that are written, closed, torn and opened again.

use super::*;
use crate::remote::scratch::Scratch;
use std::sync::Arc;
use std::task::{Context, Wake};

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn wait<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

fn service() -> (Proxywrite, Arc<Notes>) {
    let notes = Arc::new(Notes::default());
    (Proxywrite::new(notes.clone()), notes)
}

/// A table that is in a file of the test; the file goes away with it.
struct OnDisk(Scratch, Scratch);

impl OnDisk {
    fn new() -> OnDisk {
        let table = Scratch::path("cache");
        let journal = Scratch::named(&format!("{}.journal", table.name()));
        OnDisk(table, journal)
    }

    fn spec(&self) -> TableSpec {
        self.0.spec(TableType::Btree)
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.1.name()).unwrap()
    }

    /// Opens it as soon as the thread that had it is gone.
    fn open(&self) -> (Writable, Arc<Notes>) {
        loop {
            let (service, notes) = service();
            match service.open(&self.spec(), &TableOptions::default()) {
                Ok(table) => return (table, notes),
                Err(reason) => assert!(reason.contains("another process"), "{reason}"),
            }
            std::thread::yield_now();
        }
    }
}

#[test]
fn what_is_written_is_there_until_it_is_removed() {
    let (service, _) = service();
    let table = service
        .open(&TableSpec { kind: TableType::Internal, name: "x".into() }, &TableOptions::default())
        .unwrap();
    wait(table.update("b", "1")).unwrap();
    wait(table.update("a", "2")).unwrap();
    wait(table.update("b", "3")).unwrap();
    assert_eq!(wait(table.lookup("b")).unwrap().as_deref(), Some("3"));
    let mut walk = Vec::new();
    let mut at = None;
    while let Some((key, value)) = wait(table.after(at.as_deref())).unwrap() {
        walk.push(format!("{key}={value}"));
        at = Some(key);
    }
    assert_eq!(walk, ["a=2", "b=3"]);
    assert_eq!(wait(table.delete("b")), Ok(true));
    assert_eq!(wait(table.delete("b")), Ok(false));
    assert_eq!(wait(table.lookup("b")), Ok(None));
    assert!(wait(table.update("k", &"x".repeat(VALUE_BYTES_MAX + 1))).is_err());
}

#[test]
fn everybody_has_the_same_table_and_it_outlives_them() {
    let file = OnDisk::new();
    let (service, _) = service();
    let (one, other) = (
        service.open(&file.spec(), &TableOptions::default()).unwrap(),
        service.open(&file.spec(), &TableOptions::default()).unwrap(),
    );
    wait(one.update("k", "1")).unwrap();
    wait(one.update("gone", "2")).unwrap();
    wait(other.delete("gone")).unwrap();
    assert_eq!(wait(other.lookup("k")).unwrap().as_deref(), Some("1"));
    drop((one, other));
    let (table, notes) = file.open();
    assert_eq!(wait(table.lookup("k")).unwrap().as_deref(), Some("1"));
    assert_eq!(wait(table.lookup("gone")), Ok(None));
    assert!(notes.take().is_empty());
}

#[test]
fn a_journal_that_is_torn_or_spoilt_anywhere_gives_what_is_before() {
    let file = OnDisk::new();
    let (table, _) = file.open();
    for number in 0..3 {
        wait(table.update(&format!("key {number}"), "value")).unwrap();
    }
    drop(table);
    drop(file.open());
    let whole = file.bytes();
    let record = (whole.len() - 25) / 3;
    for end in 25..whole.len() {
        for spoilt in [false, true] {
            let mut bytes = whole.clone();
            match spoilt {
                false => bytes.truncate(end),
                true => bytes[end] ^= 0x40,
            }
            std::fs::write(file.1.name(), bytes).unwrap();
            let (table, _) = file.open();
            for number in 0..3 {
                let kept = number < (end - 25) / record;
                let found = wait(table.lookup(&format!("key {number}"))).unwrap();
                assert_eq!(found.is_some(), kept, "cut at {end}, {spoilt}");
            }
            wait(table.update("more", "1")).unwrap();
            drop(table);
            let (table, notes) = file.open();
            assert!(wait(table.lookup("more")).unwrap().is_some());
            assert!(notes.take().is_empty());
        }
    }
}

#[test]
fn what_is_no_journal_is_left_alone() {
    let file = OnDisk::new();
    std::fs::write(file.1.name(), "somebody's letter, which is longer than the magic\n").unwrap();
    assert!(
        service()
            .0
            .open(&file.spec(), &TableOptions::default())
            .is_err_and(|reason| reason.contains("no journal"))
    );
    assert!(file.bytes().starts_with(b"somebody"));
}

#[test]
fn a_journal_does_not_grow_without_end() {
    let file = OnDisk::new();
    let (table, _) = file.open();
    let value = "x".repeat(10_000);
    for number in 0..1000 {
        wait(table.update(&format!("{}", number % 3), &value)).unwrap();
    }
    assert!(file.bytes().len() < 2 << 20);
    drop(table);
    let (table, _) = file.open();
    assert_eq!(wait(table.lookup("2")).unwrap().as_deref(), Some(&*value));
}

#[test]
fn a_journal_that_cannot_be_written_anew_is_told_and_goes_on() {
    let file = OnDisk::new();
    // Where the new one would be.
    let in_the_way = format!("{}.new", file.1.name());
    std::fs::create_dir(&in_the_way).unwrap();
    let (table, notes) = file.open();
    let value = "x".repeat(10_000);
    for number in 0..1000 {
        wait(table.update("k", &format!("{number}{value}"))).unwrap();
    }
    let told = notes.take();
    assert!((1..=4).contains(&told.len()), "not for each that is written: {told:?}");
    drop(table);
    let (table, _) = file.open();
    assert_eq!(wait(table.lookup("k")).unwrap(), Some(format!("999{value}").into()));
    std::fs::remove_dir(&in_the_way).unwrap();
    wait(table.update("k", "short")).unwrap();
    assert!(file.bytes().len() < 1000, "and is written anew as soon as that can be done");
}

#[test]
fn only_what_is_approved_is_written_by_proxy() {
    let file = OnDisk::new();
    let approved = [format!("btree:{}", file.0.name())].into();
    let options = TableOptions { proxy_write: Arc::new(approved), ..TableOptions::default() };
    let service = Proxywrite::new(Arc::default());
    let open = |text: &str| service.open(&TableSpec::parse(text, TableType::Hash).unwrap(), &options);
    assert!(open(&format!("proxy:btree:{}", file.0.name())).is_ok());
    assert!(open("proxy:btree:/etc/other").is_err_and(|reason| reason.contains("proxy_write_maps")));
    assert!(open("static:x").is_err());
}
